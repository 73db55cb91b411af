package queue

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/internal/packed"
	"github.com/cannedos/cannedos/resource"
)

// decoded reads a value whose resource shares the texts of r.
func decoded(c clock, v value, r resource.Resource) (m Message) {
	shared := sharedBy(&r, v.flags())
	var text strings.Builder
	v.writeTexts(&text)
	if text.Len() != v.textLen() {
		panic("textLen says something else than writeTexts writes")
	}
	c.decode(&m, v, text.String(), &shared)
	return m
}

// kept is a message as a value keeps it: with a monotonic reading in its
// instants, and without what its slot has.
func kept(c clock, m Message, now time.Time) Message {
	r := &m.Resource
	for _, t := range []*time.Time{&r.Claimed, &r.ClaimUntil, &r.Asked, &r.Answered, &r.Changed, &r.NotBefore} {
		if !t.IsZero() {
			*t = c.instant(c.nanos(*t, now))
		}
	}
	m.Queue, m.Due, m.Response = "", time.Time{}, nil
	return m
}

// TestValueKeepsEverything: every field of a resource, whichever are set beside
// it and however long it is, is what the encoding of package resource would have
// made of it. A field that is new and forgotten here fails.
func TestValueKeepsEverything(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 3))
	now := time.Now()
	c := clock{base: now.Add(-time.Hour)}
	var b []byte
	for i := range 5000 {
		m := Message{Queue: "a", Attempts: int(rng.Int64() >> rng.IntN(63)), Cause: randomText(rng)}
		fillAtRandom(rng, reflect.ValueOf(&m.Resource).Elem(), now, i%2 == 0)
		require.NoError(t, check(&m), "seed %d", seed)
		encoded, err := m.Resource.MarshalBinary()
		require.NoError(t, err, "seed %d", seed)
		require.NoError(t, new(resource.Resource).UnmarshalBinary(encoded), "seed %d", seed)

		b = c.appendValue(append(b[:0], "before"...), &m, m.Resource.Version, now)
		v := value(b[len("before"):])
		require.Equal(t, "before", string(b[:len("before")]))
		require.LessOrEqual(t, len(v), maxValue)
		require.Equal(t, v, append(v[:len(v):len(v)], "what is left in its class"...).whole())
		require.Equal(t, m.Resource.ID, *v.id())
		require.Equal(t, m.Resource.Version, v.version())
		require.Equal(t, m.Resource.State, v.state())
		require.Equal(t, kept(c, m, now), decoded(c, v, m.Resource), "seed %d", seed)
	}
}

// fillAtRandom sets the fields of a resource, or only some of them, within their
// bounds.
func fillAtRandom(rng *rand.Rand, v reflect.Value, now time.Time, all bool) {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		if name == "Base" && !v.FieldByName("Interval").IsZero() {
			f.Set(reflect.ValueOf(time.Unix(rng.Int64N(1<<32), 0).UTC()))
			continue
		}
		if !all && rng.IntN(2) == 0 && name != "ID" && name != "Spec" || name == "Base" {
			continue
		}
		switch x := f.Addr().Interface().(type) {
		case *resource.Spec, *resource.Validators, *resource.Hint:
			fillAtRandom(rng, f, now, all)
		case *time.Time:
			*x = now.Add(time.Duration(rng.Int64() >> rng.IntN(40) >> 3))
		case *time.Duration:
			if *x = time.Duration(rng.Int64N(int64(resource.MaxInterval))); rng.IntN(2) == 0 {
				*x = x.Truncate(time.Second)
			}
		case *resource.State:
			*x = resource.State(rng.IntN(len(resource.States())))
		case *resource.Reason:
			*x = resource.Reason(rng.IntN(int(resource.ReasonTurn)))
		case *resource.ID:
			*x = resource.NewID()
		case *resource.Owner:
			*x = resource.Owner(resource.NewID())
		case *string:
			*x = randomText(rng)
			if name == "Origin" && rng.IntN(2) == 0 {
				uri := v.Addr().Interface().(*resource.Resource).URI
				*x = uri[:rng.IntN(len(uri)+1)]
				if rng.IntN(2) == 0 {
					*x = uri[:packed.OriginLen(uri)]
				}
			}
			if rng.IntN(2) == 0 {
				switch name {
				case "URI":
					*x = "https://" + *x
				case "ETag":
					*x = fmt.Sprintf(`W/"%0*x"`, 8*rng.IntN(17), rng.Uint32())[2*rng.IntN(2):]
				case "LastModified":
					*x = now.Add(-time.Duration(rng.Int64N(1 << 60))).UTC().Format(http.TimeFormat)
				}
			}
		case *bool:
			*x = rng.IntN(2) == 0
		case *uint32:
			if *x = rng.Uint32() >> rng.IntN(32); name == "SkipHours" {
				*x = *x >> 9
			}
		case *uint8:
			*x = uint8(rng.Uint32()) >> 2
		default:
			switch f.Kind() {
			case reflect.Uint16, reflect.Uint64:
				f.SetUint(rng.Uint64() >> (64 - f.Type().Bits()) >> rng.IntN(f.Type().Bits()))
			case reflect.Int8, reflect.Int64:
				f.SetInt(rng.Int64() >> 1 >> (64 - f.Type().Bits()) >> rng.IntN(f.Type().Bits()))
			default:
				panic("a field of a type that this test has no values of: " + name)
			}
		}
	}
}

// randomText has no more bytes than any text of a resource may have.
func randomText(rng *rand.Rand) string {
	b := make([]byte, rng.IntN(1+rng.IntN(resource.MaxName)))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return string(b)
}

// FuzzValue: whatever the stores of package resource can give back, a value keeps.
func FuzzValue(f *testing.F) {
	r := benchResource(1)
	for _, r := range []resource.Resource{{}, r} {
		b, err := r.MarshalBinary()
		require.NoError(f, err)
		f.Add(b, 7, "cause")
	}
	f.Fuzz(func(t *testing.T, b []byte, attempts int, cause string) {
		m := Message{Queue: "a", Attempts: attempts, Cause: cause}
		if m.Resource.UnmarshalBinary(b) != nil || check(&m) != nil {
			return
		}
		now := time.Now()
		c := clock{base: now}
		v := value(c.appendValue(nil, &m, m.Resource.Version, now))
		require.LessOrEqual(t, len(v), maxValue)
		require.Equal(t, kept(c, m, now), decoded(c, v, m.Resource))
	})
}

// TestValueBounds: the longest message that is not refused has room in the arena.
func TestValueBounds(t *testing.T) {
	t.Parallel()
	text := func(n int) string { return strings.Repeat("x", n) }
	r := benchResource(1)
	r.URI, r.Hop, r.Moved, r.Origin = text(resource.MaxURI), text(resource.MaxURI), text(resource.MaxURI), text(resource.MaxURI)
	r.Validators = resource.Validators{ETag: text(resource.MaxValidator), LastModified: text(resource.MaxValidator)}
	r.Cause, r.Bucket, r.Profile = text(resource.MaxCause), text(resource.MaxBucket), text(resource.MaxName)
	m := Message{Queue: text(MaxName), Resource: r, Cause: text(resource.MaxCause)}
	require.NoError(t, check(&m))
	c := clock{base: time.Now()}
	require.LessOrEqual(t, len(c.appendValue(nil, &m, 1<<62, c.base)), maxValue)

	for name, spoil := range map[string]func(m *Message){
		"no id":         func(m *Message) { m.Resource.ID = resource.ID{} },
		"version":       func(m *Message) { m.Resource.Version = -1 },
		"attempts":      func(m *Message) { m.Attempts = -1 },
		"cause":         func(m *Message) { m.Cause += "x" },
		"URI":           func(m *Message) { m.Resource.URI += "x" },
		"profile":       func(m *Message) { m.Resource.Profile += "x" },
		"interval":      func(m *Message) { m.Resource.Interval = -1 },
		"poll interval": func(m *Message) { m.Resource.PollInterval = -1 },
		"state":         func(m *Message) { m.Resource.State = 99 },
		"reason":        func(m *Message) { m.Resource.Why = 199 },
		"hint":          func(m *Message) { m.Resource.Hint.SkipDays = 255 },
		"instant":       func(m *Message) { m.Resource.Asked = time.Unix(-1, 0) },
		"far instant":   func(m *Message) { m.Resource.NotBefore = time.Unix(1<<40, 0) },
	} {
		bad := m
		spoil(&bad)
		require.ErrorIs(t, check(&bad), ErrRefused, name)
	}
}

func TestSharedTexts(t *testing.T) {
	t.Parallel()
	r := benchResource(1)
	require.Equal(t, texts{"github", "GITHUB_TOKEN", "https://api.github.com", "core", "application/json", r.Variant}, sharedBy(&r, 0))
	for _, flag := range []uint32{withOrigin, withOriginOfURI} {
		shared := sharedBy(&r, flag)
		require.Empty(t, shared.origin, "costs nothing where the URI begins with it")
	}

	n := newInterner()
	a := n.hold(&r, withOrigin, 0)
	require.Equal(t, a, n.hold(&r, withOrigin, a))
	require.Equal(t, a, n.hold(&r, withOrigin, 77), "whatever is guessed")
	require.NotEqual(t, a, n.hold(&r, 0, a), "an origin that the URI doesn't begin with")
	other := r
	other.Variant++
	c := n.hold(&other, withOrigin, a)
	require.NotEqual(t, a, c)
	n.release(c)
	other.Bucket = "search"
	b := n.hold(&other, withOrigin, a)
	require.NotEqual(t, a, b)
	for range 3 {
		n.release(a)
	}
	require.Len(t, n.byTexts, 2)
	r.Bucket = "another"
	require.Equal(t, a, n.hold(&r, withOrigin, b), "a number that is free is used again")
}
