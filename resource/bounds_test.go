package resource

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A value at its bound is within it, and the next one is not. (What the rules
// say of bounds is tested with the rules.)

func TestBounds_NamesOfWhatIsUnknown(t *testing.T) {
	require.Equal(t, "kind-4", kinds.String())
	require.Equal(t, "limit-5", limitKinds.String())
	require.Equal(t, "outcome-10", outcomes.String())
	require.Equal(t, fmt.Sprintf("reason-%d", reasons), reasons.String())
	require.Empty(t, reasons.Key())
	require.Equal(t, fmt.Sprintf("state-%d", states), states.String())
	for i := range byte(kinds) {
		require.NotContains(t, Kind(i).String(), "-")
	}
}

func TestBounds_ShareOfAWait(t *testing.T) {
	require.Equal(t, time.Duration(math.MaxInt64), part(math.MaxInt64, 1), "all of it, to the nanosecond")
	require.Zero(t, part(math.MaxInt64, 0))
	require.Zero(t, part(sec, math.NaN()))
}

func TestBounds_Encoding(t *testing.T) {
	r := full1()
	r.Interval, r.Why = MaxInterval, lastReason1
	text, err := appendOld(nil, &r)
	require.NoError(t, err)
	require.EqualValues(t, firstVersion, text[0])
	require.NoError(t, new(Resource).UnmarshalBinary(text))
	r.Why++
	text, err = appendOld(nil, &r)
	require.NoError(t, err)
	require.EqualValues(t, secondVersion, text[0], "version 1 did not know this reason")
	require.NoError(t, new(Resource).UnmarshalBinary(text))
	text, err = r.MarshalBinary()
	require.NoError(t, err)
	require.EqualValues(t, encodingVersion, text[0])
	require.ErrorContains(t, new(Resource).UnmarshalBinary(text[:1]), "at byte 1 of 1")
	require.ErrorContains(t, new(Resource).UnmarshalBinary(append(text, 0)), "at byte")

	r.Interval++
	_, err = r.MarshalBinary()
	require.Error(t, err)

	long := make([]byte, MaxEncoded+1)
	require.ErrorContains(t, r.UnmarshalBinary(long), "longer than the bound")
	require.ErrorContains(t, r.UnmarshalBinary(long[1:]), "unknown version at byte 1 of 49152")
}

func TestBounds_Tokens(t *testing.T) {
	value := strings.Repeat("v", maxHeaderValue)
	_, err := HeaderToken("X-Api-Key", value)
	require.NoError(t, err)
	_, err = HeaderToken("X-Api-Key", value+"v")
	require.Error(t, err)
}

// Each counter is kept, also where the others are zero.
func TestBounds_EachCounterAlone(t *testing.T) {
	for i := range 4 {
		r := *newborn(t)
		r.Polls, r.Modified, r.Failures, r.Quiet = 0, 0, 0, 0
		switch i {
		case 0:
			r.Polls = 1
		case 1:
			r.Modified = 1
		case 2:
			r.Failures = 1
		case 3:
			r.Quiet = 1
		}
		text, err := r.MarshalBinary()
		require.NoError(t, err)
		var back Resource
		require.NoError(t, back.UnmarshalBinary(text))
		require.Equal(t, r, back)
	}
}

func TestBounds_Endpoints(t *testing.T) {
	word := strings.Repeat("w", 32)
	for path, want := range map[string]string{
		"/" + strings.Repeat("x", MaxURI-1): "/*", "/" + strings.Repeat("x", MaxURI): "",
		strings.Repeat("/abc", MaxBucket/4):             strings.Repeat("/abc", MaxBucket/4),
		strings.Repeat("/abc", MaxBucket/4-1) + "/abcd": "",
		"/zones/azure":   "/zones/azure",
		"/" + word:       "/" + word,
		"/" + word + "w": "/*",
		"/v1.1/x":        "/v1.1/x",
		"/v10.1/x":       "/*/x",
	} {
		require.Equal(t, want, endpoint(path), "%.40q", path)
	}
}

func TestBounds_HintOfAFeed(t *testing.T) {
	last := time.Unix(lastSecond, 0).UTC()
	require.Equal(t, last, Hint{Interval: time.Hour, Base: last}.normal().Base)
	require.Zero(t, Hint{Interval: time.Hour, Base: last.Add(sec)}.normal().Base)
	require.Equal(t, at(0), Hint{Base: at(sec)}.due(at(0), time.Hour), "a base without an interval says nothing")
}

func TestBounds_NumbersOfHeaders(t *testing.T) {
	for n, want := range map[int]bool{firstEpoch - 1: false, firstEpoch: true, lastEpoch: true, lastEpoch + 1: false} {
		_, ok := got(200, "X-Reset", strconv.Itoa(n)).Unix("X-Reset")
		require.Equal(t, want, ok, n)
	}
	var l Lesson
	require.True(t, l.QuotaFor(got(200), 1, 1, MaxInterval))
	require.False(t, l.QuotaFor(got(200), 1, 1, MaxInterval+1))
}

func TestBounds_NamesOfBuckets(t *testing.T) {
	name := strings.Repeat("n", MaxBucket)
	l := Lesson{Bucket: name, Also: []Quota{{Bucket: name}, {Bucket: name + "n"}}}
	l.sane()
	require.Equal(t, name, l.Bucket)
	require.Equal(t, []Quota{{Bucket: name}}, l.Also)
}

func TestBounds_Dates(t *testing.T) {
	for text, want := range map[string]bool{
		"1969-12-31T23:59:59Z": false, "1970-01-01T00:00:00Z": true, "2200-12-31T23:59:59Z": true, "2201-01-01T00:00:00Z": false,
		"2026-01-01T00:00:00." + strings.Repeat("1", 19) + "Z": true, "2026-01-01T00:00:00." + strings.Repeat("1", 20) + "Z": false,
	} {
		_, ok := date(text)
		require.Equal(t, want, ok, text)
	}
}

// What servers send is read without the standard library, from the first to the
// last of everything that fits, and what this reads the standard library reads
// alike.
func TestH2_TheShortWayTakesWhatServersSend(t *testing.T) {
	for _, year := range []int{1970, 2026, 2200} {
		for month := time.January; month <= time.December; month++ {
			for _, day := range []int{1, 9, 10, 22, 28} {
				for _, want := range []time.Time{
					time.Date(year, month, day, 0, 0, 0, 0, time.UTC), time.Date(year, month, day, 23, 59, 59, 0, time.UTC),
				} {
					got, ok := fixdate(want.Format(http.TimeFormat))
					require.True(t, ok, want)
					require.Equal(t, want, got)
				}
			}
		}
	}
	const good = "Sun, 06 Nov 1994 08:49:37 GMT"
	_, ok := fixdate(good)
	require.True(t, ok)
	for i := range good { // each byte matters
		for _, c := range []byte{'x', '/', ':'} {
			if good[i] == c {
				continue
			}
			_, ok := fixdate(good[:i] + string(c) + good[i+1:])
			require.False(t, ok, "%c at %d", c, i)
		}
	}
	for from, to := range map[string]string{"Sun": "unM", "06": "00", "Nov": "anF", "1994": "1969", "08:": "24:", ":49:": ":60:", ":37": ":60", " GMT": " GMT "} {
		_, ok := fixdate(strings.Replace(good, from, to, 1))
		require.False(t, ok, to)
	}
	for _, day := range []string{"29", "30", "31"} {
		_, ok := fixdate(strings.Replace(good, "06", day, 1))
		require.False(t, ok, "who knows how long the month is")
	}
	for text, want := range map[string]bool{
		"Thu, 31 Dec 1969 23:59:59 GMT": false, "Sat, 31 Jan 1970 00:00:00 GMT": true,
		"Wed, 31 Dec 2200 23:59:59 GMT": true, "Thu, 29 Jan 2201 00:00:00 GMT": false, "Thu, 01 Jan 2201 00:00:00 GMT": false,
	} {
		_, ok := HTTPDate(text)
		require.Equal(t, want, ok, text)
	}
}

func TestBounds_NumbersOfEncodings(t *testing.T) {
	plain := Resource{Spec: Spec{URI: "u"}} // of which no flag is set but for its origin
	text, err := plain.MarshalBinary()
	require.NoError(t, err)
	require.Len(t, text, 1+2+2+1+2)
	for flags, want := range map[uint64]bool{0: true, originOfURI: true, flagsEnd: false, flagsEnd + originOfURI: false} {
		odd := append(binary.AppendUvarint([]byte{encodingVersion}, flags), text[3:]...)
		require.Equal(t, want, new(Resource).UnmarshalBinary(odd) == nil, "%#x", flags)
	}
	plain.Hint.SkipDays = 1
	text, err = appendOld(nil, &plain)
	require.NoError(t, err)
	require.NoError(t, new(Resource).UnmarshalBinary(text))
	text[0] = firstVersion
	require.Error(t, new(Resource).UnmarshalBinary(text), "version 1 knew no hints")

	empty := (&Bucket{}).AppendBinary(nil)
	for limit, want := range map[uint64]bool{math.MaxInt64 / 2: true, math.MaxInt64/2 + 1: false, math.MaxInt64 + 1: false} {
		odd := append(binary.AppendUvarint(bytes.Clone(empty[:6]), limit), empty[7:]...)
		require.Equal(t, want, new(Bucket).UnmarshalBinary(odd, at(0)) == nil, limit)
	}
	b := Bucket{Park: time.Unix(lastSecond, 0)}
	require.NoError(t, b.UnmarshalBinary(b.AppendBinary(nil), at(0)))
	require.EqualValues(t, lastSecond, b.Park.Unix())
}

func TestBounds_Specs(t *testing.T) {
	const home = "https://api.example.com/"
	for s, want := range map[Spec]bool{
		{URI: home + strings.Repeat("x", MaxURI-len(home))}:                true,
		{URI: home + strings.Repeat("x", MaxURI-len(home)+1)}:              false,
		{URI: home, MediaType: "text/" + strings.Repeat("x", MaxName-5)}:   true,
		{URI: home, MediaType: "text/" + strings.Repeat("x", MaxName-5+1)}: false,
	} {
		require.Equal(t, want, s.Validate() == nil, "%.40v", s)
	}
}

func TestH4_ADateAsFarAwayAsIsBelieved(t *testing.T) {
	for away, want := range map[time.Duration]time.Time{maxSkew: at(maxSkew), -maxSkew: at(-maxSkew), maxSkew + sec: at(0)} {
		require.Equal(t, want, serverNow(header("Date", httpDate(away)), at(0)), away)
	}
}

func TestH1_NumbersThatAreInstants(t *testing.T) {
	for n, want := range map[int64]string{
		firstEpoch - 1: "", firstEpoch: "Unix seconds in Retry-After", lastEpoch: "Unix seconds in Retry-After",
		lastEpoch + 1: "Retry-After beyond a century", firstEpoch*1000 - 1: "Retry-After beyond a century",
		firstEpoch * 1000: "Unix milliseconds in Retry-After", lastEpoch * 1000: "Unix milliseconds in Retry-After",
		lastEpoch*1000 + 1: "Retry-After beyond a century",
	} {
		_, odd, ok := RetryAfter(strconv.FormatInt(n, 10), at(0), at(0))
		require.True(t, ok)
		require.Equal(t, want, odd, n)
	}
}
