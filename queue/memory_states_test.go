package queue_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// TestStatesAreThoseOfTheMessages admits, moves and retires at random, and holds
// the counters against what List shows.
func TestStatesAreThoseOfTheMessages(t *testing.T) {
	m, err := queue.NewMemory(queue.MemoryConfig{})
	require.NoError(t, err)
	defer m.Close()
	s, err := m.Open(t.Context())
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	states := resource.States()
	random := func(r *resource.Resource) {
		r.State = states[rng.IntN(len(states))]
		r.Interval = time.Duration(rng.IntN(2)) * time.Hour // moves what the encoding has behind
		r.Priority = int8(rng.IntN(256) - 128)
	}
	for range 300 {
		r, err := resource.New(resource.Spec{ID: resource.NewID(), URI: "https://example.org/"}, "")
		require.NoError(t, err)
		random(&r)
		require.NoError(t, s.Commit(t.Context(), nil, queue.Message{Queue: "a", Resource: r}))
	}
	for range 1000 {
		got, err := s.Receive(t.Context(), "a", 1+rng.IntN(5))
		require.NoError(t, err)
		var next []queue.Message
		for i := range got {
			if rng.IntN(10) == 0 && len(got) > 1 && i > 0 {
				continue // retired
			}
			n := got[i].To("a", time.Time{})
			random(&n.Resource)
			next = append(next, n)
		}
		require.NoError(t, s.Commit(t.Context(), got, next...))
		if len(next) < len(got) { // so that the queue does not run dry
			for range len(got) - len(next) {
				r, err := resource.New(resource.Spec{ID: resource.NewID(), URI: "https://example.org/"}, "")
				require.NoError(t, err)
				require.NoError(t, s.Commit(t.Context(), nil, queue.Message{Queue: "a", Resource: r}))
			}
		}
	}
	want := map[resource.State]int{}
	page, err := m.List(t.Context(), "a", resource.ID{}, 1000)
	require.NoError(t, err)
	for _, n := range page {
		want[n.Resource.State]++
	}
	counts, err := m.States(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, counts)
	require.NoError(t, m.Close())
	_, err = m.States(t.Context())
	require.ErrorIs(t, err, queue.ErrClosed)
}
