package resource

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	instant := func() time.Time {
		if rng.IntN(3) == 0 {
			return time.Time{}
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
	r.Version, r.Credential, r.Bucket = rng.Int64()>>rng.IntN(63), text(MaxName), text(MaxBucket)
	switch rng.IntN(3) {
	case 0:
		r.Origin = text(MaxURI)
	case 1:
		r.Origin = r.URI[:rng.IntN(len(r.URI)+1)]
	}
	r.State, r.Why, r.Cause = State(rng.IntN(int(states))), Reason(rng.IntN(int(reasons))), text(MaxCause)
	r.Claimed, r.ClaimUntil, r.Asked, r.Answered, r.Changed, r.NotBefore = instant(), instant(), instant(), instant(), instant(), instant()
	r.PollInterval = time.Duration(rng.Int64() >> rng.IntN(63))
	r.Validators = Validators{text(MaxValidator), text(MaxValidator)}
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

// The bytes of both versions are in the stores of users: what changes here needs a
// new version and a decoder for the old one.
func TestBinary_Golden(t *testing.T) {
	empty := Resource{}
	for _, c := range []struct {
		name string
		r    Resource
		hex  string
	}{
		{"zero", empty, "01" + "00" + strings.Repeat("00", 16) + "0000000000" + "00" + "0000"},
		{"full", full1(), goldenResource},
		{"version 2", full(), goldenResource2},
	} {
		b, err := c.r.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, c.hex, hex.EncodeToString(b), c.name)
		var back Resource
		require.NoError(t, back.UnmarshalBinary(b))
		require.Equal(t, c.r, back, c.name)
	}
}

func TestBinary_Damage(t *testing.T) {
	r := full()
	b, err := r.MarshalBinary()
	require.NoError(t, err)
	untouched := Resource{Version: 7}
	for n := range b {
		back := untouched
		require.ErrorIs(t, back.UnmarshalBinary(b[:n]), ErrEncoding, "cut at %d", n)
		require.Equal(t, untouched, back)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"bytes left over":   func(b []byte) []byte { return append(b, 0) },
		"version 0":         func(b []byte) []byte { b[0] = 0; return b },
		"beyond the bound":  func(b []byte) []byte { return append(b, make([]byte, MaxEncoded)...) },
		"unknown flag":      func(b []byte) []byte { return append([]byte{2, 0xff, 0xff, 0xff, 0x0f}, b[5:]...) },
		"hint in version 1": func(b []byte) []byte { b[0] = 1; return b },
		"reason of 2 in 1":  func([]byte) []byte { b, _ := (&Resource{Why: ReasonFeed}).MarshalBinary(); b[0] = 1; return b },
		"base before 1970":  func(b []byte) []byte { return bytes.Replace(b, nanos(at(7*sec)), []byte{0xff, 0, 0, 0, 0, 0, 0, 0}, 1) },
		"base in fractions": func(b []byte) []byte { return bytes.Replace(b, nanos(at(7*sec)), nanos(at(7*sec+1)), 1) },
		"mark of 2": func(b []byte) []byte {
			return bytes.Replace(b, []byte{3, 1, 0xf0, 0xa2, 4}, []byte{3, 2, 0xf0, 0xa2, 4}, 1)
		},
		"unknown state":     func(b []byte) []byte { b[5+16+1] = byte(states); return b },
		"unknown reason":    func(b []byte) []byte { b[5+16+2] = byte(reasons); return b },
		"instant in 2500":   func(b []byte) []byte { return bytes.Replace(b, nanos(at(sec)), []byte{0xff, 0, 0, 0, 0, 0, 0, 0}, 1) },
		"uvarint of 11":     func([]byte) []byte { return append([]byte{1}, bytes.Repeat([]byte{0xff}, 11)...) },
		"lengths over text": func([]byte) []byte { return append(append([]byte{1, 0}, make([]byte, 22)...), 0x80, 0x01, 0x00, 'x') },
	} {
		back := untouched
		err := back.UnmarshalBinary(damage(bytes.Clone(b)))
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
	require.EqualError(t, err, "resource: encoding of a newer version: version 3, this program knows 2")
	require.Equal(t, untouched, back)
}

func nanos(t time.Time) []byte {
	r := Resource{Claimed: t}
	b, _ := r.MarshalBinary()
	return b[len(b)-2-8 : len(b)-2]
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

func TestJSON_RoundTrip(t *testing.T) {
	for name, r := range map[string]Resource{"zero": {}, "full": full()} {
		text, err := json.Marshal(r)
		require.NoError(t, err)
		var back Resource
		require.NoError(t, json.Unmarshal(text, &back), name)
		require.Equal(t, r, back, name)
	}
	require.JSONEq(t, `{
		"id": "3f1b3b5c-0000-0000-0000-000000000000",
		"uri": "https://api.example.com/events", "interval": "1m30s", "origin": "https://api.example.com",
		"state": "waiting-for-reset", "why": "secondary rate limit", "rule": "G-13", "why_code": 9,
		"not_before": "2026-01-01T00:00:01Z", "validators": {"etag": "\"x\""}
	}`, func() string {
		id, _ := ParseID("3f1b3b5c-0000-0000-0000-000000000000")
		text, err := json.Marshal(Resource{
			Spec:   Spec{ID: id, URI: "https://api.example.com/events", Interval: 90 * time.Second},
			Origin: "https://api.example.com", State: WaitingForReset, Why: ReasonSecondary,
			NotBefore: at(sec).In(time.FixedZone("elsewhere", 3600)), Validators: Validators{ETag: `"x"`},
		})
		require.NoError(t, err)
		return string(text)
	}())
	embedding := struct {
		Resource
	}{full()}
	text, err := json.Marshal(embedding)
	require.NoError(t, err)
	require.Contains(t, string(text), `"validators"`)
}

func TestJSON_Spec(t *testing.T) {
	s := Spec{ID: DeriveID(ID{}, "x"), URI: "https://a.example/", Interval: 90 * time.Second, Profile: "p", MediaType: "text/html", Priority: 2}
	for _, v := range []any{s, &s} {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		require.JSONEq(t, `{"id":"`+s.ID.String()+`","uri":"https://a.example/","interval":"1m30s","profile":"p","media_type":"text/html","priority":2}`, string(text))
		var back Spec
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, s, back)
	}
	text, err := json.Marshal([]Spec{{URI: "https://a.example/"}})
	require.NoError(t, err)
	require.Equal(t, `[{"uri":"https://a.example/"}]`, string(text))
	for in, want := range map[string]string{
		`{"uri":"x","interval":"-1s"}`:  `resource: interval: "-1s": want a duration of 0 or more, such as 1m30s`,
		`{"uri":"x","interval":"soon"}`: `resource: interval: "soon": want a duration of 0 or more, such as 1m30s`,
		`{"id":"1234"}`:                 `resource: ID: "1234": want 36 characters as in 6ba7b810-9dad-11d1-80b4-00c04fd430c8`,
	} {
		kept := s
		require.EqualError(t, json.Unmarshal([]byte(in), &kept), want)
		require.Equal(t, s, kept)
	}
	require.Error(t, json.Unmarshal([]byte(`{"interval":90}`), &s))
}

func TestJSON_ProfileAndExplanation(t *testing.T) {
	p := Profile{
		Header: header("User-Agent", "mirror/1"), Dialect: "github", Credential: "GITHUB_TOKEN",
		Limit: Limit{100, time.Minute}, Concurrency: 2, Reserve: 50,
	}
	text, err := json.Marshal(p)
	require.NoError(t, err)
	require.JSONEq(t, `{"header":{"User-Agent":["mirror/1"]},"dialect":"github","credential":"GITHUB_TOKEN",
		"limit":{"requests":100,"per":"1m0s"},"concurrency":2,"reserve":50}`, string(text))
	var back Profile
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, p, back)
	text, err = json.Marshal(Profile{})
	require.NoError(t, err)
	require.Equal(t, `{}`, string(text))
	require.EqualError(t, json.Unmarshal([]byte(`{"limit":{"requests":1,"per":"often"}}`), &back),
		`resource: per: "often": want a duration of 0 or more, such as 1m30s`)

	r := full()
	r.Owner, r.NotBefore = Owner{}, time.Time{}
	e := Explain(&r, &Snapshot{Scope: Bucket{Answered: true, Park: at(90 * sec), Why: ReasonSecondary}}, at(0))
	text, err = json.Marshal(e)
	require.NoError(t, err)
	require.JSONEq(t, `{
		"id":"`+r.ID.String()+`","uri":"https://api.example.com/events?per_page=100","state":"waiting-for-reset","kind":"line",
		"until":"2026-01-01T00:01:30Z","wait":"1m30s","why":"secondary rate limit","rule":"G-13","why_code":9,
		"bucket":"GITHUB_TOKEN@https://api.example.com","cause":"because"
	}`, string(text))
	var again Explanation
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, e, again)
	for _, bad := range []string{`{"wait":"long"}`, `{"why_code":200}`, `{"kind":"maybe"}`, `{"state":"odd"}`, `[]`} {
		require.Error(t, json.Unmarshal([]byte(bad), &again), bad)
	}
	for _, bad := range []string{`{"interval":"x"}`, `{"poll_interval":"x"}`, `{"why_code":200}`, `{"owner":"x"}`, `[]`} {
		require.Error(t, json.Unmarshal([]byte(bad), &r), bad)
	}
	for _, bad := range []string{`{"requests":"x"}`, `[]`} {
		require.Error(t, json.Unmarshal([]byte(bad), &p.Limit), bad)
	}
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
	goldenBucket = "010309000200640a01001886733ac29f10001886733ac29f10001886725317fff2001886725fe6415800000000000000" +
		"0000"
)
