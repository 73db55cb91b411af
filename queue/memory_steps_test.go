package queue

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/resource"
)

// stepsLocked counts what the structures of m have done so far: slots put into
// or loaded in a wheel, entries put somewhere in a heap, entries of the index
// looked at or moved by a split.
func (m *Memory) stepsLocked() (n int) {
	for _, p := range m.places {
		n += p.wheel.steps + p.near.steps + p.late.steps
	}
	return n + m.index.steps
}

// dues are the ways in which messages may be due that a wheel finds hardest.
var dues = map[string]func(rng *rand.Rand, now time.Time) time.Time{
	"a minute": func(rng *rand.Rand, now time.Time) time.Time {
		return now.Add(time.Duration(rng.Int64N(int64(time.Minute))))
	},
	"one instant": func(_ *rand.Rand, now time.Time) time.Time { return now.Add(time.Second) },
	"one tick": func(rng *rand.Rand, now time.Time) time.Time {
		return now.Add(time.Second + time.Duration(rng.IntN(1e6)))
	},
	"a year": func(rng *rand.Rand, now time.Time) time.Time {
		return now.Add(time.Duration(rng.Int64N(365 * 24 * 3600 * 1e9)))
	},
	"at once": func(*rand.Rand, time.Time) time.Time { return time.Time{} },
	"the past": func(rng *rand.Rand, now time.Time) time.Time {
		return now.Add(-time.Duration(rng.Int64N(int64(time.Hour))))
	},
}

// TestStepsPerMessage counts, and looks at no clock: whatever is done with a
// message takes a number of steps that grows no faster than the logarithm of how
// many wait.
func TestStepsPerMessage(t *testing.T) {
	t.Parallel()
	for name, due := range dues {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const small, big = 1 << 11, 1 << 15
			few, many := countSteps(t, small, due), countSteps(t, big, due)
			for operation, n := range many {
				t.Logf("%s: %.1f steps with %d waiting, %.1f with %d", operation, few[operation], small, n, big)
				bound := 6 + 2*math.Log2(big)
				require.LessOrEqual(t, n, bound, "%s: more steps than a heap of four and a few", operation)
				require.LessOrEqual(t, n, 2+1.5*few[operation]*math.Log2(big)/math.Log2(small), "%s: grows too fast", operation)
			}
		})
	}
}

// countSteps lets n messages go through all that can be done with them, and
// returns the steps of each, for one message.
func countSteps(t *testing.T, n int, due func(*rand.Rand, time.Time) time.Time) map[string]float64 {
	m := newMemory(t, 0)
	s := openSession(t, m)
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	steps := map[string]float64{}
	before := 0
	count := func(operation string, messages int) {
		m.mu.Lock()
		defer m.mu.Unlock()
		now := m.stepsLocked()
		steps[operation] += float64(now-before) / float64(messages)
		before = now
	}

	var ids []resource.ID
	for i := 0; i < n; i += benchBatch {
		var next []Message
		for k := i; k < i+benchBatch; k++ {
			r := benchResource(k)
			ids = append(ids, r.ID)
			next = append(next, Message{Queue: "a", Resource: r, Due: due(rng, time.Now())})
		}
		require.NoError(t, s.Commit(t.Context(), nil, next...))
	}
	count("admission", n)

	for range n / 4 {
		_, _, err := m.Find(t.Context(), ids[rng.IntN(n)])
		require.NoError(t, err)
	}
	count("find", n/4)

	rng.Shuffle(n, func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	for _, id := range ids[:n/4] {
		d, err := s.Take(t.Context(), id)
		require.NoError(t, err)
		require.NoError(t, s.Commit(t.Context(), []Delivery{d}, d.To("a", due(rng, time.Now()))))
	}
	count("take and put back", n/4)

	m.pushClock(366 * 24 * time.Hour)
	held := openSession(t, m)
	receive(t, held, n)
	require.NoError(t, held.Close())
	count("receive and give back", n)

	left := n
	for left > 0 {
		ds, err := s.Receive(t.Context(), "a", benchBatch)
		require.NoError(t, err)
		left -= len(ds)
		var next []Message
		for i := range ds {
			next = append(next, ds[i].To("b", due(rng, time.Now())))
		}
		require.NoError(t, s.Commit(t.Context(), ds, next...))
	}
	count("move", n)

	m.pushClock(366 * 24 * time.Hour)
	for left = n; left > 0; {
		ds, err := s.Receive(t.Context(), "b", benchBatch)
		require.NoError(t, err)
		require.NoError(t, s.Commit(t.Context(), ds))
		left -= len(ds)
	}
	count("receive and retire", n)
	return steps
}

// receive takes n messages and leaves them in the hands of s.
func receive(t *testing.T, s *memorySession, n int) {
	for n > 0 {
		ds, err := s.Receive(t.Context(), "a", benchBatch)
		require.NoError(t, err)
		n -= len(ds)
	}
}
