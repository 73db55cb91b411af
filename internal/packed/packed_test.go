package packed

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTags(t *testing.T) {
	hash := strings.Repeat("0123456789abcdef", 8)
	for _, digits := range []int{8, 16, 32, 40, 64, 96, 128} {
		for _, prefix := range []string{"", "W/"} {
			tag := prefix + `"` + hash[:digits] + `"`
			b, form := AppendTag([]byte("x"), tag)
			require.True(t, form.Valid())
			require.Len(t, b, 1+digits/2)
			require.Equal(t, digits/2, form.Size())
			require.Equal(t, len(tag), form.Len())
			require.Equal(t, "x"+tag, string(AppendTagText([]byte("x"), form, b[1:])))
		}
	}
	for _, tag := range []string{
		"", `"`, `""`, `W/`, `W/""`, `"` + hash[:7] + `"`, `"` + hash[:9] + `"`, `"` + hash + hash[:8] + `"`, hash[:10], `"` + hash[:8], hash[:8] + `"`,
		`w/"` + hash[:8] + `"`, `"` + strings.ToUpper(hash[:16]) + `"`, `"` + hash[:7] + `g"`, `"` + hash[:7] + `o"`, `"` + hash[:7] + `/"`, `"` + hash[:7] + `:"`, `"` + hash[:7] + "`" + `"`, `"` + hash[:7] + "\xe1" + `"`, `"é123456"`, `W/W/"` + hash[:8] + `"`, ` "` + hash[:8] + `"`,
	} {
		b, form := AppendTag([]byte("x"), tag)
		require.Zero(t, form, "%q", tag)
		require.Equal(t, "x", string(b))
	}
	for c := range 256 {
		tag := `"` + hash[:3] + string([]byte{byte(c)}) + hash[:4] + `"`
		_, form := AppendTag(nil, tag)
		require.Equal(t, strings.Contains("0123456789abcdef", string([]byte{byte(c)})), form != 0, "%q", tag)
	}
	for f := range 256 {
		form := TagForm(f)
		require.Equal(t, f >= 2 && f <= 2*mostDigits/digitsStep+1, form.Valid())
		require.False(t, form.Valid() && form.Len() > mostTag)
	}
}

func FuzzTag(f *testing.F) {
	for _, s := range []string{`W/"0123456789abcdef"`, `"d41d8cd98f00b204e9800998ecf8427e"`, `"x"`, ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, tag string) {
		b, form := AppendTag(nil, tag)
		if form == 0 {
			require.Empty(t, b)
			return
		}
		require.True(t, form.Valid())
		require.Len(t, b, form.Size())
		require.Equal(t, tag, string(AppendTagText(nil, form, b)))
	})
}

func TestDates(t *testing.T) {
	last := time.Unix(1<<32-1, 0)
	rng := rand.New(rand.NewPCG(1, 2))
	check := func(at time.Time) {
		text := at.UTC().Format(http.TimeFormat)
		b, ok := AppendDate(nil, text)
		require.True(t, ok, text)
		require.Len(t, b, DateSize)
		require.Equal(t, text, string(AppendDateText(nil, b)))
	}
	for day := time.Unix(0, 0); !day.After(last); day = day.Add(24 * time.Hour) {
		check(day)
	}
	for range 10_000 {
		check(time.Unix(int64(rng.Uint32()), 0))
	}
	check(last)
	for _, text := range []string{
		"", "Sun, 06 Nov 1994 08:49:37 GM", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
		"Mon, 06 Nov 1994 08:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC", "sun, 06 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:60 GMT", "Sun, 06 Nov 1994 08-49:37 GMT",
		"Sun, 00 Nov 1994 08:49:37 GMT", "Tue, 31 Feb 1994 08:49:37 GMT", "Sun, 6  Nov 1994 08:49:37 GMT", "Sun, 06 ovD 1994 08:49:37 GMT",
		"Wed, 31 Dec 1969 23:59:59 GMT", "Sun, 07 Feb 2106 06:28:16 GMT", "Sun, 06 Nov 199: 08:49:37 GMT", "Sun, 06 Nov  994 08:49:37 GMT",
	} {
		b, ok := AppendDate(nil, text)
		require.False(t, ok, text)
		require.Empty(t, b)
	}
}

func FuzzDate(f *testing.F) {
	for _, s := range []string{"Sun, 06 Nov 1994 08:49:37 GMT", "Thu, 29 Feb 2024 23:59:59 GMT", "Thu, 29 Feb 2100 00:00:00 GMT", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, ok := AppendDate(nil, text)
		if ok {
			require.Equal(t, text, string(AppendDateText(nil, b)))
		}
		at, err := time.Parse(http.TimeFormat, text)
		canonical := err == nil && at.Format(http.TimeFormat) == text && at.Unix() >= 0 && at.Unix() < 1<<32
		require.Equal(t, canonical, ok, "all of the form are packed, and nothing else")
	})
}

func TestInstants(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 4))
	edges := []int64{0, 1, -1, math.MaxInt64, math.MinInt64, 1 << 61, -1 << 61, 1<<61 - 1, int64(time.Second), math.MaxInt64 / 4}
	for range 50_000 {
		var at Instants
		base := rng.Int64() >> rng.IntN(64)
		for i := range at {
			switch at[i] = base; rng.IntN(4) {
			case 0:
				at[i] += (rng.Int64() - math.MaxInt64/2) >> rng.IntN(64)
			case 1:
				at[i] += int64(time.Second) * (rng.Int64N(1<<20) - 1<<19)
			case 2:
				at[i] = edges[rng.IntN(len(edges))]
			}
		}
		set := uint8(1 + rng.IntN(1<<len(at)-1))
		b := AppendInstants(nil, &at, set)
		require.LessOrEqual(t, len(b), 8+5*10)
		var back Instants
		require.Equal(t, len(b), ReadInstants(append(b[:len(b):len(b)], 1, 2, 3), &back, set), "seed %d", seed)
		for i := range at {
			if set&(1<<i) == 0 {
				at[i] = 0
			}
		}
		require.Equal(t, at, back, "seed %d", seed)
		for n := range b {
			require.Zero(t, ReadInstants(b[:n], &back, set), "cut off")
		}
	}
	// One that was polled and waits for a day.
	at := Instants{Asked: 1e18 - 80e6, Answered: 1e18, Changed: 1e18, NotBefore: 1e18 + 86400e9}
	require.Len(t, AppendInstants(nil, &at, 1<<Asked|1<<Answered|1<<Changed|1<<NotBefore), 8+5+1+3)
}

func FuzzInstants(f *testing.F) {
	at := Instants{1, 2, 3, 4, 5, 1e18}
	f.Add(AppendInstants(nil, &at, 1<<len(at)-1), uint8(1<<len(at)-1))
	f.Fuzz(func(t *testing.T, b []byte, set uint8) {
		set &= 1<<len(at) - 1
		if set == 0 {
			return
		}
		var at, back Instants
		n := ReadInstants(b, &at, set)
		if n == 0 {
			return
		}
		require.LessOrEqual(t, n, len(b))
		again := AppendInstants(nil, &at, set)
		require.Equal(t, len(again), ReadInstants(again, &back, set))
		require.Equal(t, at, back)
	})
}

func TestWaits(t *testing.T) {
	for _, d := range []time.Duration{0, 1, time.Second, time.Second + 1, 24 * time.Hour, math.MaxInt64, math.MaxInt64 / time.Second * time.Second} {
		b := AppendWait(nil, d)
		v, n := binary.Uvarint(b)
		require.Equal(t, len(b), n)
		back, ok := Wait(v)
		require.True(t, ok)
		require.Equal(t, d, back)
	}
	_, ok := Wait(uint64(math.MaxInt64/int64(time.Second)+1) << 1)
	require.False(t, ok)
}

func TestOriginLen(t *testing.T) {
	for uri, want := range map[string]string{
		"https://h/x": "https://h", "https://h:8080/": "https://h:8080", "http://h/?x": "http://h", "https://h": "https://h",
		"": "", "h/x": "", "https://": "https://", "http://": "http://", "http:/": "", "ftp://h/x": "", "https://h?x": "https://h?x",
	} {
		require.Equal(t, want, uri[:OriginLen(uri)])
	}
}

func BenchmarkPacked(b *testing.B) {
	tag, date := `W/"`+strings.Repeat("0123456789abcdef", 4)+`"`, "Mon, 02 Feb 2026 17:00:23 GMT"
	buf := make([]byte, 0, 256)
	packedTag, form := AppendTag(nil, tag)
	packedDate, _ := AppendDate(nil, date)
	at := Instants{Asked: 1e18 - 80e6, Answered: 1e18, Changed: 1e18, NotBefore: 1e18 + 86400e9}
	const set = 1<<Asked | 1<<Answered | 1<<Changed | 1<<NotBefore
	packedAt := AppendInstants(nil, &at, set)
	for name, f := range map[string]func(){
		"tag":           func() { AppendTag(buf, tag) },
		"tag text":      func() { AppendTagText(buf, form, packedTag) },
		"date":          func() { AppendDate(buf, date) },
		"date text":     func() { AppendDateText(buf, packedDate) },
		"instants":      func() { AppendInstants(buf, &at, set) },
		"read instants": func() { ReadInstants(packedAt, &at, set) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}
