package queue

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/resource"
)

// TestValueShowsTheID: the index reads ids out of values, so the encoding must
// show them near its front, whatever else it holds.
func TestValueShowsTheID(t *testing.T) {
	t.Parallel()
	c := newClock(time.Now())
	bare := Message{Queue: "a", Resource: resource.Resource{Spec: resource.Spec{ID: resource.NewID()}}}
	full := Message{Queue: "a", Resource: benchResource(1), Attempts: 1 << 40, Cause: strings.Repeat("c", resource.MaxCause)}
	zeros := bare
	zeros.Resource.ID = resource.ID{15: 1}
	for _, m := range []Message{bare, full, zeros} {
		b, shared, idAt, err := c.appendValue([]byte("before"), &m, 1<<60, time.Now())
		require.NoError(t, err)
		v := value(b[len("before"):])
		require.Equal(t, m.Resource.ID, resource.ID(v[idAt:]))
		require.EqualValues(t, 1<<60, v.version())
		require.Equal(t, v, append(v, "what is left in its class"...).whole())
		require.LessOrEqual(t, len(v), maxValue)

		var got Message
		require.NoError(t, c.decode(&got, v, &shared))
		require.Equal(t, m.Cause, got.Cause)
		require.Equal(t, m.Attempts, got.Attempts)
		require.Equal(t, m.Resource.Scope(), got.Resource.Scope())
		v[valueHead] = 99 // no such version of an encoding
		require.Error(t, c.decode(&got, v, &shared))
	}
}

func TestSharedTexts(t *testing.T) {
	t.Parallel()
	r := benchResource(1)
	r.Origin = "https://not-of-the-uri.example"
	want := r
	shared := split(&r)
	require.Empty(t, r.Profile+r.Credential+r.Origin+r.Bucket+r.MediaType)
	shared.join(&r)
	require.Equal(t, want, r)

	r = benchResource(1)
	shared = split(&r)
	require.Equal(t, "https://api.github.com", r.Origin, "costs nothing where the URI begins with it")
	require.Empty(t, shared.origin)

	n := newInterner()
	a := n.hold(shared, 0)
	require.Equal(t, a, n.hold(shared, a))
	require.Equal(t, a, n.hold(shared, 77), "whatever is guessed")
	other := shared
	other.bucket = "search"
	b := n.hold(other, a)
	require.NotEqual(t, a, b)
	for range 3 {
		n.release(a)
	}
	require.Len(t, n.byTexts, 1)
	require.Equal(t, a, n.hold(texts{bucket: "core"}, b), "a number that is free is used again")
}
