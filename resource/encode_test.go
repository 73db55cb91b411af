package resource

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/internal/packed"
)

// full is a resource with every field set.
func full() Resource {
	return Resource{
		Spec: Spec{
			ID: DeriveID(ID{}, "full"), URI: "https://api.example.com/events?per_page=100", Interval: 90 * time.Second,
			Profile: "mirror", MediaType: "application/json", Priority: -3,
		},
		Version: 41, Credential: "GITHUB_TOKEN", Origin: "https://api.example.com", Bucket: "core",
		State: HasOwner, Why: ReasonClaimed, Cause: "because",
		Owner: Owner(DeriveID(ID{}, "run")), Claimed: at(1 * sec), ClaimUntil: at(2 * sec),
		Asked: at(3 * sec), Answered: at(4 * sec), Changed: at(5 * sec), NotBefore: at(6*sec + 7),
		PollInterval: time.Minute, Validators: Validators{`W/"7a3f"`, "Thu, 01 Jan 2026 00:00:00 GMT"}, Digest: 0xfeedfacecafebeef,
		Polls: 300, Modified: 20, Failures: 2, Quiet: 1,
		Hop: "https://other.example.net/x", Moved: "https://other.example.net/y", Seen: 2, Gones: 1,
		Hops: 3, Variant: 1<<63 + 5, Hushed: true, Lull: 70_000,
		Hint: Hint{Interval: 2 * time.Hour, SkipHours: 1<<3 | 1<<23, SkipDays: 1 << time.Sunday, Base: at(7 * sec)},
	}
}

// full1 is a resource with every field set that version 1 can hold.
func full1() Resource {
	r := full()
	r.Hint, r.Hops, r.Variant, r.Hushed, r.Lull = Hint{}, 0, 0, false, 0
	return r
}

// random is a resource within the bounds of its fields.
func random(rng *rand.Rand) Resource {
	text := func(most int) string {
		if rng.IntN(3) == 0 {
			return ""
		}
		b := make([]byte, rng.IntN(most+1)>>rng.IntN(8))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return string(b)
	}
	near := rng.Int64N(lastSecond)
	instant := func() time.Time {
		switch rng.IntN(4) {
		case 0:
			return time.Time{}
		case 1:
			return time.Unix(near, rng.Int64N(1e9)).UTC()
		}
		return time.Unix(rng.Int64N(lastSecond+1), rng.Int64N(1e9)).UTC()
	}
	var r Resource
	for i := range r.ID {
		r.ID[i], r.Owner[i] = byte(rng.Uint32()), byte(rng.Uint32())
	}
	if rng.IntN(2) == 0 {
		r.Owner = Owner{}
	}
	r.URI, r.Profile, r.MediaType = text(MaxURI), text(MaxName), text(MaxName)
	r.Interval, r.Priority = time.Duration(rng.Int64N(int64(MaxInterval)+1)), int8(rng.Uint32())
	if rng.IntN(4) == 0 {
		r.ID, r.Priority = ID{}, 0
		r.Interval = r.Interval.Truncate(time.Second)
	}
	r.Version, r.Credential, r.Bucket = rng.Int64()>>rng.IntN(63), text(MaxName), text(MaxBucket)
	r.State, r.Why, r.Cause = State(rng.IntN(int(states))), Reason(rng.IntN(int(reasons))), text(MaxCause)
	r.Claimed, r.ClaimUntil, r.Asked, r.Answered, r.Changed, r.NotBefore = instant(), instant(), instant(), instant(), instant(), instant()
	r.PollInterval = time.Duration(rng.Int64() >> rng.IntN(63))
	r.Validators = Validators{text(MaxValidator), text(MaxValidator)}
	if rng.IntN(2) == 0 {
		r.URI = "https://" + r.URI[:min(len(r.URI), MaxURI-8)]
		r.Validators.ETag = fmt.Sprintf(`W/"%0*x"`, 8*rng.IntN(17), rng.Uint32())[2*rng.IntN(2):]
		r.Validators.LastModified = time.Unix(rng.Int64N(1<<33)-1<<31, 0).UTC().Format(http.TimeFormat)
	}
	switch rng.IntN(4) {
	case 0:
		r.Origin = text(MaxURI)
	case 1:
		r.Origin = r.URI[:rng.IntN(len(r.URI)+1)]
	case 2:
		r.Origin = r.URI[:packed.OriginLen(r.URI)]
	}
	r.Digest = rng.Uint64() >> rng.IntN(64)
	r.Polls, r.Modified, r.Failures, r.Quiet = rng.Uint32()>>rng.IntN(32), rng.Uint32()>>rng.IntN(32), uint16(rng.Uint32()>>rng.IntN(32)), rng.Uint32()
	if rng.IntN(2) == 0 {
		r.Hint = Hint{time.Duration(rng.Int64N(int64(MaxInterval) + 1)), rng.Uint32(), uint8(rng.Uint32()), instant()}.normal()
	}
	r.Hop, r.Moved, r.Seen, r.Gones = text(MaxURI), text(MaxURI), uint8(rng.Uint32()), uint8(rng.Uint32())
	if rng.IntN(2) == 0 {
		r.Hops, r.Variant, r.Hushed, r.Lull = uint8(rng.Uint32()), rng.Uint64(), rng.IntN(2) == 0, rng.Uint32()>>rng.IntN(32)
	}
	return r
}

func TestBinary_RoundTrip(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 2))
	for range 3000 {
		r := random(rng)
		b, err := r.MarshalBinary()
		require.NoError(t, err, "seed %d", seed)
		require.LessOrEqual(t, len(b), MaxEncoded, "seed %d", seed)
		var back Resource
		require.NoError(t, back.UnmarshalBinary(b), "seed %d", seed)
		require.Equal(t, r, back, "seed %d", seed)
	}
	r := full()
	b, err := r.AppendBinary([]byte("before"))
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(b, []byte("before")), "it appends")
	var back Resource
	require.NoError(t, back.UnmarshalBinary(b[6:]))
	clear(b)
	require.Equal(t, r, back, "and the decoded value keeps nothing of the bytes")
}

// What former programs wrote is read as it was meant, and cut off it is not read.
func TestBinary_FormerVersions(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 3))
	for i := range 1000 {
		r := random(rng)
		if i%2 == 0 {
			r.Hint, r.Hops, r.Variant, r.Hushed, r.Lull = Hint{}, 0, 0, false, 0
		}
		b, err := appendOld(nil, &r)
		require.NoError(t, err, "seed %d", seed)
		var back Resource
		require.NoError(t, back.UnmarshalBinary(b), "seed %d", seed)
		require.Equal(t, r, back, "seed %d", seed)
		require.ErrorIs(t, back.UnmarshalBinary(b[:rng.IntN(len(b))]), ErrEncoding)
		require.ErrorIs(t, back.UnmarshalBinary(append(b, 0)), ErrEncoding)
	}
}

// A resource of a GitHub mirror takes what its URI, its hashes and its counters
// take, and little more.
func TestBinary_IsSmall(t *testing.T) {
	r := *newborn(t)
	r.Validators = Validators{`W/"` + strings.Repeat("0123456789abcdef", 4) + `"`, "Mon, 02 Feb 2026 17:00:23 GMT"}
	r.Asked, r.Answered, r.Changed, r.NotBefore = at(0), at(80*time.Millisecond+1), at(80*time.Millisecond+1), at(24*time.Hour+80*time.Millisecond+1)
	r.PollInterval, r.Digest, r.Variant, r.Polls, r.Version = 24*time.Hour, 1<<63, 1<<63, 1, 7
	with, err := r.MarshalBinary()
	require.NoError(t, err)
	r.ID = ID{}
	without, err := r.MarshalBinary()
	require.NoError(t, err)
	require.Equal(t, 16, len(with)-len(without))
	const (
		head      = 1 + 3 + 2 + 1
		instants  = 8 + 5 + 1 + 3
		numbers   = 3 + 8 + 4 + 8
		validates = 1 + 32 + 4
	)
	texts := 1 + len(r.URI) - len("https://")
	for _, name := range []string{r.Profile, r.Credential, r.Bucket, r.MediaType} {
		if name != "" {
			texts += 1 + len(name)
		}
	}
	require.Len(t, without, head+instants+numbers+validates+texts)
}

// The bytes of all versions are in the stores of users: what changes here needs a
// new version and a decoder for the old one.
func TestBinary_Golden(t *testing.T) {
	for _, c := range []struct {
		name string
		r    Resource
		hex  string
	}{
		{"zero", Resource{}, "03" + "8008" + "0000" + "00" + "00"},
		{"full", full(), goldenResource3},
		{"packed", small(), goldenPacked},
	} {
		b, err := c.r.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, c.hex, hex.EncodeToString(b), c.name)
	}
	for _, c := range []struct {
		name string
		r    Resource
		hex  string
	}{
		{"zero, version 1", Resource{}, "01" + "00" + strings.Repeat("00", 16) + "0000000000" + "00" + "0000"},
		{"version 1", full1(), goldenResource},
		{"version 2", full(), goldenResource2},
		{"version 3", full(), goldenResource3},
		{"version 3, packed", small(), goldenPacked},
	} {
		b, err := hex.DecodeString(c.hex)
		require.NoError(t, err)
		var back Resource
		require.NoError(t, back.UnmarshalBinary(b), c.name)
		require.Equal(t, c.r, back, c.name)
		for n := range b {
			require.ErrorIs(t, back.UnmarshalBinary(b[:n]), ErrEncoding, "%s, cut at %d", c.name, n)
		}
	}
}

// small is a resource of which everything is packed that can be.
func small() Resource {
	return Resource{
		Spec: Spec{URI: "https://api.example.com/events", Interval: time.Minute}, Origin: "https://api.example.com", Version: 300,
		State: WaitingForInterval, Why: ReasonInterval, Polls: 200, Modified: 100,
		Asked: at(1 * sec), Answered: at(2*sec - 5), Changed: at(-3 * sec), NotBefore: at(62*sec - 5),
		Validators: Validators{`"d41d8cd98f00b204e9800998ecf8427e"`, "Thu, 01 Jan 2026 00:00:00 GMT"},
	}
}

func TestBinary_Damage(t *testing.T) {
	r := full()
	b, err := r.MarshalBinary()
	require.NoError(t, err)
	tight := small()
	s, err := tight.MarshalBinary()
	require.NoError(t, err)
	old1, old2 := full1(), full()
	first, err := appendOld(nil, &old1)
	require.NoError(t, err)
	second, err := appendOld(nil, &old2)
	require.NoError(t, err)
	untouched := Resource{Version: 7}
	for n := range b {
		back := untouched
		require.ErrorIs(t, back.UnmarshalBinary(b[:n]), ErrEncoding, "cut at %d", n)
		require.Equal(t, untouched, back)
	}
	replaced := func(b []byte, old, new []byte) []byte {
		require.Equal(t, 1, bytes.Count(b, old))
		return bytes.Replace(b, old, new, 1)
	}
	far := []byte{0, 0, 0, 0, 0, 0, 0, 0xff}
	wide := []byte{0xff, 0, 0, 0, 0, 0, 0, 0}
	const state = 1 + 5 + 16
	for name, damaged := range map[string][]byte{
		"bytes left over":   append(bytes.Clone(b), 0),
		"version 0":         append([]byte{0}, b[1:]...),
		"beyond the bound":  append(bytes.Clone(b), make([]byte, MaxEncoded)...),
		"unknown flag":      append([]byte{3, 0xff, 0xff, 0xff, 0xff, 0x0f}, b[6:]...),
		"base before 1970":  replaced(b, nanos(at(7*sec)), wide),
		"base in fractions": replaced(b, nanos(at(7*sec)), nanos(at(7*sec+1))),
		"mark of 2":         replaced(b, []byte{2, 1, 3, 1, 0xf0, 0xa2, 4}, []byte{2, 1, 3, 2, 0xf0, 0xa2, 4}),
		"unknown state":     append(append(bytes.Clone(b[:state]), byte(states)), b[state+1:]...),
		"unknown reason":    append(append(bytes.Clone(b[:state+1]), byte(reasons)), b[state+2:]...),
		"instant in 2500":   replaced(b, littleNanos(at(4*sec)), far),
		"uvarint of 11":     append([]byte{3}, bytes.Repeat([]byte{0xff}, 11)...),
		"lengths over text": {3, 0, 0, 0, 0, 0x80, 0x01, 'x'},
		"origin over URI":   append(binary.AppendUvarint([]byte{3}, originInURI), 0, 0, 0, 1, 2, 'x'),
		"form of a tag":     replaced(s, []byte{8, 'a', 'p', 'i'}, []byte{1, 'a', 'p', 'i'}),
		"tag too long":      replaced(s, []byte{8, 'a', 'p', 'i'}, []byte{34, 'a', 'p', 'i'}),
		"URI too long":      append(binary.AppendUvarint(append(binary.AppendUvarint([]byte{3}, secureURI|originOfURI), 0, 0, 0), MaxURI-7), make([]byte, MaxURI-7)...),

		"hint in version 1":        append([]byte{1}, second[1:]...),
		"reason of 2 in 1":         append([]byte{1}, reasonOf2(t)[1:]...),
		"base before 1970, 2":      replaced(second, nanos(at(7*sec)), wide),
		"mark of 2, 2":             replaced(second, []byte{3, 1, 0xf0, 0xa2, 4}, []byte{3, 2, 0xf0, 0xa2, 4}),
		"unknown flag, 2":          append([]byte{2, 0xff, 0xff, 0xff, 0x0f}, second[5:]...),
		"unknown flag, 1":          append([]byte{1, 0xff, 0xff, 0xff, 0x01}, first[4:]...),
		"unknown state, 2":         append(append(bytes.Clone(second[:22]), byte(states)), second[23:]...),
		"instant in 2500, 2":       replaced(second, nanos(at(sec)), wide),
		"lengths over text, 1":     append(append([]byte{1, 0}, make([]byte, 22)...), 0x80, 0x01, 0x00, 'x'),
		"origin longer than URI 1": append(append(binary.AppendUvarint([]byte{1}, oldOriginInURI), make([]byte, 22)...), 1, 2, 'x'),
	} {
		back := untouched
		err := back.UnmarshalBinary(damaged)
		require.ErrorIs(t, err, ErrEncoding, name)
		require.NotErrorIs(t, err, ErrNewer, name)
		require.Equal(t, untouched, back, name)
	}
	newer := bytes.Clone(b)
	newer[0] = encodingVersion + 1
	back := untouched
	err = back.UnmarshalBinary(newer)
	require.ErrorIs(t, err, ErrNewer)
	require.NotErrorIs(t, err, ErrEncoding, "nobody throws it away")
	require.EqualError(t, err, "resource: encoding of a newer version: version 4, this program knows 3")
	require.Equal(t, untouched, back)
}

func reasonOf2(t *testing.T) []byte {
	b, err := appendOld(nil, &Resource{Why: ReasonFeed})
	require.NoError(t, err)
	return b
}

func nanos(t time.Time) []byte { return binary.BigEndian.AppendUint64(nil, uint64(t.UnixNano())) }

func littleNanos(t time.Time) []byte {
	return binary.LittleEndian.AppendUint64(nil, uint64(t.UnixNano()))
}

func TestBinary_FieldsBeyondTheirBounds(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n+1) }
	for field, r := range map[string]Resource{
		"URI": {Spec: Spec{URI: long(MaxURI)}}, "Origin": {Origin: long(MaxURI)}, "MediaType": {Spec: Spec{MediaType: long(MaxName)}},
		"ETag": {Validators: Validators{ETag: long(MaxValidator)}}, "LastModified": {Validators: Validators{LastModified: long(MaxValidator)}},
		"Cause": {Cause: long(MaxCause)}, "Moved": {Moved: long(MaxURI)}, "Hop": {Hop: long(MaxURI)}, "Profile": {Spec: Spec{Profile: long(MaxName)}},
		"Credential": {Credential: long(MaxName)}, "Bucket": {Bucket: long(MaxBucket)},
		"Interval": {Spec: Spec{Interval: MaxInterval + 1}}, "PollInterval": {PollInterval: -1}, "Version": {Version: -1},
		"Hint": {Hint: Hint{SkipHours: allHours}}, "State": {State: states}, "Why": {Why: reasons},
		"Claimed": {Claimed: at(0).AddDate(200, 0, 0)}, "NotBefore": {NotBefore: time.Unix(-1, 0)}, "Changed": {Changed: time.Unix(lastSecond+1, 0)},
		"ClaimUntil": {ClaimUntil: time.Unix(-1, 0)}, "Asked": {Asked: time.Unix(-1, 0)}, "Answered": {Answered: time.Unix(-1, 0)},
	} {
		b, err := r.AppendBinary([]byte("kept"))
		e, ok := errors.AsType[*FieldError](err)
		require.True(t, ok, field)
		require.Equal(t, field, e.Field)
		require.Equal(t, "kept", string(b))
		require.Equal(t, err, r.Encodable())
	}
	text := func(n int) string { return strings.Repeat("x", n) }
	r := Resource{
		Spec:   Spec{URI: text(MaxURI), MediaType: text(MaxName), Profile: text(MaxName), Interval: MaxInterval},
		Origin: text(MaxURI), Moved: text(MaxURI), Hop: text(MaxURI), Cause: text(MaxCause), Bucket: text(MaxBucket),
		Credential: text(MaxName), Validators: Validators{text(MaxValidator), text(MaxValidator)},
		State: states - 1, Why: reasons - 1, NotBefore: time.Unix(lastSecond, 999_999_999).UTC(), Claimed: time.Unix(0, 0).UTC(),
	}
	require.NoError(t, r.Encodable())
	b, err := r.MarshalBinary()
	require.NoError(t, err)
	var back Resource
	require.NoError(t, back.UnmarshalBinary(b))
	require.Equal(t, r, back, "the edges are inside")

	most := uint64(0)
	for _, n := range textBounds {
		most += n + 3
	}
	require.Less(t, most+200, uint64(MaxEncoded), "a resource within its bounds fits")
}

func TestBucketBinary_RoundTrip(t *testing.T) {
	now := time.Now()
	b := Bucket{
		Known: true, Limit: 5000, Remaining: 10, Reset: now.Add(time.Hour), window: at(0), lag: 3 * time.Second,
		Unsaid: 2, unsaidAt: now.Add(-sec), Park: now.Add(time.Minute), Why: ReasonSecondary, Strikes: 3,
		Answered: true, ProbeFrom: now.Add(2 * time.Minute), probeWhy: ReasonEdge, edges: 4,
	}
	var back Bucket
	require.NoError(t, back.UnmarshalBinary(b.AppendBinary(nil), now))
	require.Contains(t, back.Park.String(), " m=", "tied to the clock of now")
	require.Equal(t, b, back)
	require.NoError(t, back.UnmarshalBinary((&Bucket{}).AppendBinary(nil), now))
	require.Equal(t, Bucket{}, back)

	b.InFlight, b.Cap, b.Reserve, b.Slot = 5, 7, 9, now
	require.NoError(t, back.UnmarshalBinary(b.AppendBinary([]byte("x"))[1:], now))
	require.EqualValues(t, 7, back.Unsaid, "what is in flight counts as spent")
	require.Zero(t, back.InFlight+back.Cap+int(back.Reserve))
}

// A process that forgets its park with every crash hammers whoever asked it to
// stay away. The encoding holds the deadline on the wall clock.
//
// Peer octokit-9: what several processes share of the limits expires after two
// minutes.
func TestD20_ParksAndResetsOutliveTheProcess(t *testing.T) {
	b := known(0, at(1000*sec))
	b.Take()
	b.Settle(&Lesson{Kind: SecondaryLimit, Until: at(300 * sec)}, at(sec), at(2*sec), false)
	kept := b.AppendBinary(nil)
	later := at(100 * sec) // another process, whose monotonic clock knows nothing of the first
	var next Bucket
	require.NoError(t, next.UnmarshalBinary(kept, later))
	next.TakeOver(later)
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, At: at(300 * sec), Why: ReasonSecondary}, next.Admit(later))
	require.Equal(t, at(1001*sec), next.Admit(at(300*sec)).At)
}

func TestBucketBinary_GoldenAndDamage(t *testing.T) {
	b := known(10, at(1000*sec))
	b.Park, b.Why, b.Strikes = at(60*sec), ReasonSecondary, 2
	b.unsaid(at(5 * sec))
	b.since = time.Time{}
	kept := b.AppendBinary(nil)
	require.Equal(t, goldenBucket, hex.EncodeToString(kept))
	var back Bucket
	require.NoError(t, back.UnmarshalBinary(kept, at(0)))
	require.Equal(t, b, back)

	untouched := Bucket{Limit: 7}
	for n := range kept {
		back := untouched
		require.ErrorIs(t, back.UnmarshalBinary(kept[:n], at(0)), ErrEncoding, "cut at %d", n)
		require.Equal(t, untouched, back)
	}
	for at1, value := range map[int]byte{0: 0, 2: byte(reasons), 3: byte(reasons), len(kept) - 40: 0xff} {
		damaged := bytes.Clone(kept)
		damaged[at1] = value
		back := untouched
		require.ErrorIs(t, back.UnmarshalBinary(damaged, at(0)), ErrEncoding, "byte %d", at1)
		require.Equal(t, untouched, back)
	}
	require.ErrorIs(t, back.UnmarshalBinary(append(bytes.Clone(kept), 0), at(0)), ErrEncoding)
	newer := bytes.Clone(kept)
	newer[0] = math.MaxUint8
	require.ErrorIs(t, back.UnmarshalBinary(newer, at(0)), ErrNewer)
}

const (
	goldenResource = "01ffff7fc92ef1f033d487f4802802c825bc4e51fd041f0201298088aca3cf02a837b48a136c80eea53d75cec39a3610" +
		"188672522994ca0018867252652f940018867252a0ca5e0018867252dc6528001886725317fff20018867253539abc07" +
		"80b09dc2df01feedfacecafebeefac021402012b1710081d071b060c041b68747470733a2f2f6170692e6578616d706c" +
		"652e636f6d2f6576656e74733f7065725f706167653d3130306170706c69636174696f6e2f6a736f6e572f2237613366" +
		"225468752c203031204a616e20323032362030303a30303a303020474d546265636175736568747470733a2f2f6f7468" +
		"65722e6578616d706c652e6e65742f796d6972726f724749544855425f544f4b454e636f726568747470733a2f2f6f74" +
		"6865722e6578616d706c652e6e65742f78"
	goldenResource2 = "02ffffff07c92ef1f033d487f4802802c825bc4e51fd041f0201298088aca3cf02a837b48a136c80eea53d75cec39a36" +
		"10188672522994ca0018867252652f940018867252a0ca5e0018867252dc6528001886725317fff20018867253539abc" +
		"0780b09dc2df01feedfacecafebeefac021402018080c58bc6d1018880800401188672538f3586008000000000000005" +
		"0301f0a2042b1710081d071b060c041b68747470733a2f2f6170692e6578616d706c652e636f6d2f6576656e74733f70" +
		"65725f706167653d3130306170706c69636174696f6e2f6a736f6e572f2237613366225468752c203031204a616e2032" +
		"3032362030303a30303a303020474d546265636175736568747470733a2f2f6f746865722e6578616d706c652e6e6574" +
		"2f796d6972726f724749544855425f544f4b454e636f726568747470733a2f2f6f746865722e6578616d706c652e6e65" +
		"742f78"
	goldenResource3 = "03ffdfbfff03c92ef1f033d487f4802802c825bc4e51041f29fdb401a837b48a136c80eea53d75cec39a3610002865dc" +
		"5272861881d0acf30e069ca0d9e61d81f085da2c81a0d9e61d78feedfacecafebeefac02140201800000000000000502" +
		"010301f0a204c0708880800401188672538f358600231008071b060c041b6170692e6578616d706c652e636f6d2f6576" +
		"656e74733f7065725f706167653d3130306170706c69636174696f6e2f6a736f6e572f22376133662200b95569626563" +
		"6175736568747470733a2f2f6f746865722e6578616d706c652e6e65742f796d6972726f724749544855425f544f4b45" +
		"4e636f726568747470733a2f2f6f746865722e6578616d706c652e6e65742f78"
	goldenPacked = "039ffd010103ac0278fb932f6552728618edcfacf30eed8fdfc04af201c80164000016086170692e6578616d706c652e" +
		"636f6d2f6576656e7473d41d8cd98f00b204e9800998ecf8427e00b95569"
	goldenBucket = "010309000200640a01001886733ac29f10001886733ac29f10001886725317fff2001886725fe6415800000000000000" +
		"0000"
)
