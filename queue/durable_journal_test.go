package queue_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// scripted does to each write of the journal what the next step says.
type scripted struct {
	db.DB
	mu    sync.Mutex
	steps []func(store db.DB, writes []db.Write) ([]db.Result, error)
}

func (s *scripted) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if writes[0].Record.Space == "lease" {
		return s.DB.Write(ctx, writes...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.steps) == 0 {
		return s.DB.Write(ctx, writes...)
	}
	step := s.steps[0]
	s.steps = s.steps[1:]
	return step(s.DB, writes)
}

func (s *scripted) next(steps ...func(db.DB, []db.Write) ([]db.Result, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, steps...)
}

func failBefore(db.DB, []db.Write) ([]db.Result, error) { return nil, errStore }

func failAfter(store db.DB, writes []db.Write) ([]db.Result, error) {
	if _, err := store.Write(context.Background(), writes...); err != nil {
		return nil, err
	}
	return nil, errStore
}

// After an error of the store the outcome is unknown: the deliveries stay, and
// the same Commit again, or another one instead, settles it.
func TestDurableUnknownOutcome(t *testing.T) {
	for _, fail := range []struct {
		name string
		step func(db.DB, []db.Write) ([]db.Result, error)
	}{{"before", failBefore}, {"after", failAfter}} {
		for _, c := range []struct {
			name        string
			first, then func(d queue.Delivery) []queue.Message
		}{
			{"claim, the same again",
				func(d queue.Delivery) []queue.Message { return []queue.Message{claim(d, "claimed")} }, nil},
			{"retirement, the same again",
				func(d queue.Delivery) []queue.Message { return nil }, nil},
			{"claim, then a move that needs no record",
				func(d queue.Delivery) []queue.Message { return []queue.Message{claim(d, "claimed")} },
				func(d queue.Delivery) []queue.Message { return []queue.Message{d.To("parked", time.Time{})} }},
			{"retirement, then a move that needs no record",
				func(d queue.Delivery) []queue.Message { return nil },
				func(d queue.Delivery) []queue.Message { return []queue.Message{d.To("parked", time.Time{})} }},
			{"claim, then retirement",
				func(d queue.Delivery) []queue.Message { return []queue.Message{claim(d, "claimed")} },
				func(d queue.Delivery) []queue.Message { return nil }},
		} {
			t.Run(c.name+", failing "+fail.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { unknownOutcome(t, fail.step, c.first, c.then) })
			})
		}
	}
}

func unknownOutcome(t *testing.T, step func(db.DB, []db.Write) ([]db.Result, error), first, then func(queue.Delivery) []queue.Message) {
	store := &scripted{DB: db.NewMemory()}
	d := newDurable(t, store, queue.DurableConfig{})
	s := openSession(t, d)
	m := admission("requests", 1)
	store.next(step)
	require.ErrorIs(t, s.Commit(t.Context(), nil, m), errStore)
	_, _, err := d.Find(t.Context(), m.Resource.ID)
	require.ErrorIs(t, err, queue.ErrNotFound, "an admission of unknown outcome is not in")
	require.NoError(t, s.Commit(t.Context(), nil, m), "the same admission again")
	held := one(t, s, "requests")

	next := first(held)
	store.next(step, step)
	for range 2 {
		require.ErrorIs(t, s.Commit(t.Context(), []queue.Delivery{held}, next...), errStore)
		_, isHeld, err := d.Find(t.Context(), m.Resource.ID)
		require.NoError(t, err)
		require.True(t, isHeld, "a delivery stays with its session")
	}
	if then != nil {
		next = then(held)
	}
	commit(t, s, held, next...)

	// What is in the journal is what was acknowledged.
	require.NoError(t, d.Close())
	again := openSession(t, newDurable(t, store.DB, queue.DurableConfig{}))
	if len(next) == 0 {
		require.NoError(t, again.Commit(t.Context(), nil, m), "retired: it may come in anew")
		return
	}
	got := one(t, again, next[0].Queue)
	require.Equal(t, next[0].Resource.Owner, got.Resource.Owner)
	require.Equal(t, !got.Resource.Owner.IsZero(), got.Redelivered)
}

// A write whose answer is lost, and whose session ends before it is repeated:
// the next holder's move goes into the journal though it needs none by itself.
func TestDurableUnknownOutcomeOutlivesItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &scripted{DB: db.NewMemory()}
		d := newDurable(t, store, queue.DurableConfig{})
		s := openSession(t, d)
		require.NoError(t, s.Commit(t.Context(), nil, admission("requests", 1)))
		held := one(t, s, "requests")
		store.next(failAfter)
		require.ErrorIs(t, s.Commit(t.Context(), []queue.Delivery{held}), errStore, "retired, perhaps")
		require.NoError(t, s.Close())

		s = openSession(t, d)
		held = one(t, s, "requests")
		require.True(t, held.Redelivered)
		commit(t, s, held, held.To("parked", time.Time{}))
		require.NoError(t, d.Close())
		again := openSession(t, newDurable(t, store.DB, queue.DurableConfig{}))
		require.Equal(t, held.Resource.ID, one(t, again, "parked").Resource.ID)
	})
}

// A store that answers nonsense, and one that panics, harm nobody for good.
func TestDurableSurvivesABrokenStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &scripted{DB: db.NewMemory()}
		s := openSession(t, newDurable(t, store, queue.DurableConfig{}))
		store.next(func(db.DB, []db.Write) ([]db.Result, error) { return nil, nil })
		m := admission("requests", 1)
		require.ErrorContains(t, s.Commit(t.Context(), nil, m), "0 results for 1 writes")
		store.next(func(db.DB, []db.Write) ([]db.Result, error) { panic("a bug in the store") })
		require.PanicsWithValue(t, "a bug in the store", func() { s.Commit(t.Context(), nil, m) })
		require.NoError(t, s.Commit(t.Context(), nil, m))
		one(t, s, "requests")
	})
}

// Concurrent Commits share writes, each of a bounded size, and each is told its
// own outcome.
func TestDurableGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandle(newSlow(time.Second))
		d := newDurable(t, h, queue.DurableConfig{Batch: 50})
		s := openSession(t, d)
		began := time.Now()
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				if err := s.Commit(t.Context(), nil, admission("requests", i)); err != nil {
					t.Errorf("Commit %d: %v", i, err)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 200, h.records.Load())
		require.LessOrEqual(t, h.writes.Load(), int64(6), "200 Commits in batches of 50, and the first alone")
		require.LessOrEqual(t, time.Since(began), 6*time.Second)
		depths, err := d.Depths(t.Context())
		require.NoError(t, err)
		require.Equal(t, 200, depths[0].Ready)

		// One Commit that is bigger than a batch.
		h.writes.Store(0)
		var big []queue.Message
		for i := range 175 {
			big = append(big, admission("big", 1000+i))
		}
		require.NoError(t, s.Commit(t.Context(), nil, big...))
		require.EqualValues(t, 4, h.writes.Load())
	})
}

// Values that are too big for one batch are spread over several.
func TestDurableBatchesAreBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandle(db.NewMemory())
		s := openSession(t, newDurable(t, h, queue.DurableConfig{}))
		var big []queue.Message
		for i := range 1000 {
			m := admission("big", i)
			m.Resource.Moved = string(make([]byte, resource.MaxURI))
			big = append(big, m)
		}
		require.NoError(t, s.Commit(t.Context(), nil, big...))
		require.EqualValues(t, 1000, h.records.Load())
		require.GreaterOrEqual(t, h.writes.Load(), int64(2))
	})
}

// Who waits for others to write may leave: before it is its turn without a
// trace, afterwards with an unknown outcome.
func TestDurableCommitHonoursItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSlow(10 * time.Second)
		d := newDurable(t, store, queue.DurableConfig{Batch: 2})
		s := openSession(t, d)
		var all sync.WaitGroup
		late := func(i int, after, patience time.Duration, want error) {
			all.Go(func() {
				time.Sleep(after)
				ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errStop)
				defer cancel()
				err := s.Commit(ctx, nil, admission("requests", i))
				if !errors.Is(err, want) {
					t.Errorf("Commit %d: %v, want %v", i, err, want)
				}
			})
		}
		late(0, 0, time.Second, nil)                      // leads, and sees it through
		late(1, time.Second, time.Hour, nil)              // told to lead the next batch
		late(2, 2*time.Second, 10*time.Second, errStop)   // in that batch, and gone before its end
		late(3, 3*time.Second, 5*time.Second, errStop)    // gone before its turn
		late(4, 4*time.Second, time.Hour, nil)            // moves up
		late(5, 5*time.Second, 15*time.Second+1, errStop) // in the third batch
		late(6, 6*time.Second, time.Hour, nil)            // leads the fourth
		late(7, 6*time.Second+1, 14*time.Second, errStop) // told to lead as its time ends, or gone
		all.Wait()
		store.takes.Store(0)
		for _, i := range []int{2, 3, 5} {
			require.NoError(t, s.Commit(t.Context(), nil, admission("requests", i)), "the same again")
		}
		require.NoError(t, d.Close())
		found := 0
		for _, err := range store.Scan(t.Context(), "queue") {
			require.NoError(t, err)
			found++
		}
		require.GreaterOrEqual(t, found, 7)
	})
}

// Close waits for what is being written, and the lease goes after it.
func TestDurableCloseWaitsForTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandle(newSlow(10 * time.Second))
		d := newDurable(t, h, queue.DurableConfig{})
		s := openSession(t, d)
		var outcome error
		var all sync.WaitGroup
		all.Go(func() { outcome = s.Commit(t.Context(), nil, admission("requests", 1)) })
		synctest.Wait()
		began := time.Now()
		require.NoError(t, d.Close())
		require.Equal(t, 10*time.Second, time.Since(began))
		all.Wait()
		require.NoError(t, outcome, "it is in the journal")
		again := openSession(t, newDurable(t, h.DB, queue.DurableConfig{}))
		one(t, again, "requests")
	})
}

// A store that takes longer than the lease lasts: the claim is never acknowledged.
func TestDurableSlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &scripted{DB: db.NewMemory()}
		h := newHandle(store)
		d := newDurable(t, h, queue.DurableConfig{TTL: 30 * time.Second})
		s := openSession(t, d)
		require.NoError(t, s.Commit(t.Context(), nil, admission("requests", 1)))
		held := one(t, s, "requests")
		store.next(func(inner db.DB, writes []db.Write) ([]db.Result, error) {
			h.cut.Store(true) // no renewal either
			time.Sleep(time.Minute)
			return inner.Write(context.Background(), writes...)
		})
		require.ErrorIs(t, s.Commit(t.Context(), []queue.Delivery{held}, claim(held, "claimed")), queue.ErrFenced)
	})
}

// Retire one and admit another: whatever a crash cuts off, one of them is there.
func TestDurableWritesBeforeItRemoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &scripted{DB: db.NewMemory()}
		d := newDurable(t, store, queue.DurableConfig{})
		s := openSession(t, d)
		require.NoError(t, s.Commit(t.Context(), nil, admission("requests", 1)))
		held := one(t, s, "requests")
		store.next(func(inner db.DB, writes []db.Write) ([]db.Result, error) {
			for _, w := range writes {
				require.NotZero(t, w.Record.Version, "removed before its successor was written")
			}
			return inner.Write(context.Background(), writes...)
		}, failBefore)
		exchange := func() error {
			return s.Commit(t.Context(), []queue.Delivery{held}, admission("requests", 2))
		}
		require.ErrorIs(t, exchange(), errStore)
		require.NoError(t, exchange())
		require.NoError(t, d.Close())
		again := openSession(t, newDurable(t, store.DB, queue.DurableConfig{}))
		require.Equal(t, admission("", 2).Resource.ID, one(t, again, "requests").Resource.ID)
	})
}

// What the dead process had sent arrives after all, when the next one owns the
// queue already: the next one ends, and nothing is claimed twice.
func TestDurableMeetsALateWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := db.NewMemory()
		store := &scripted{DB: inner}
		h := newHandle(store)
		s := openSession(t, newDurable(t, h, queue.DurableConfig{}))
		require.NoError(t, s.Commit(t.Context(), nil, admission("requests", 1)))
		held := one(t, s, "requests")
		var late []db.Write
		store.next(func(_ db.DB, writes []db.Write) ([]db.Result, error) {
			late = writes
			return nil, errStore
		})
		require.ErrorIs(t, s.Commit(t.Context(), []queue.Delivery{held}, claim(held, "claimed")), errStore)
		h.cut.Store(true)

		next := openSession(t, newDurable(t, inner, queue.DurableConfig{}))
		d := one(t, next, "requests")
		results, err := inner.Write(t.Context(), late...)
		require.NoError(t, err)
		require.True(t, results[0].OK)
		require.ErrorIs(t, next.Commit(t.Context(), []queue.Delivery{d}, claim(d, "claimed")), queue.ErrFenced)
		synctest.Wait()
		last := openSession(t, newDurable(t, inner, queue.DurableConfig{}))
		require.True(t, one(t, last, "claimed").Redelivered)
	})
}

// An admission of unknown outcome that is repeated, retired, and arrives after
// all: it finds a tombstone in its way, and nothing comes back. The resource may
// be admitted anew over it. A day later the next process removes what is left.
func TestDurableRetiresByTombstone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &scripted{DB: db.NewMemory()}
		d := newDurable(t, store, queue.DurableConfig{})
		s := openSession(t, d)
		m := admission("requests", 1)
		var late []db.Write
		store.next(func(_ db.DB, writes []db.Write) ([]db.Result, error) {
			late = writes
			return nil, errStore
		})
		arrives := func() {
			t.Helper()
			results, err := store.DB.Write(t.Context(), late...)
			require.NoError(t, err)
			require.False(t, results[0].OK, "a write from before has created a record")
		}
		records := func() (n int) {
			for _, err := range store.DB.Scan(t.Context(), "queue") {
				require.NoError(t, err)
				n++
			}
			return n
		}
		require.ErrorIs(t, s.Commit(t.Context(), nil, m), errStore)
		require.NoError(t, s.Commit(t.Context(), nil, m))
		commit(t, s, one(t, s, "requests"))
		arrives()
		for range 3 { // by this process, and by the next ones
			require.NoError(t, s.Commit(t.Context(), nil, m), "over the tombstone")
			require.NoError(t, d.Close())
			d = newDurable(t, store, queue.DurableConfig{})
			s = openSession(t, d)
			commit(t, s, one(t, s, "requests"))
			arrives()
		}
		require.NoError(t, d.Close())
		for _, c := range []struct {
			after time.Duration
			want  int
		}{{time.Hour, 1}, {24 * time.Hour, 0}} {
			time.Sleep(c.after)
			d = newDurable(t, store, queue.DurableConfig{})
			openSession(t, d)
			_, _, err := d.Find(t.Context(), m.Resource.ID)
			require.ErrorIs(t, err, queue.ErrNotFound)
			require.NoError(t, d.Close())
			require.Equal(t, c.want, records())
		}
	})
}

// Versions are never given twice, not even to a resource that went and came
// back: a write from before finds its target gone.
func TestDurableNeverRepeatsAVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := db.NewMemory()
		seen := map[int64]bool{}
		store := &recording{DB: inner, see: func(w db.Write) {
			if v := w.Record.Version; v != 0 {
				require.Greater(t, v, w.If)
				require.False(t, seen[v], "version %d twice", v)
				seen[v] = true
			}
		}}
		for range 3 {
			d := newDurable(t, store, queue.DurableConfig{})
			s := openSession(t, d)
			for range 5 {
				require.NoError(t, s.Commit(t.Context(), nil, admission("requests", 1)))
				commit(t, s, one(t, s, "requests"))
			}
			require.NoError(t, d.Close())
		}
		require.Len(t, seen, 15)
	})
}

type recording struct {
	db.DB
	see func(db.Write)
}

func (r *recording) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	for _, w := range writes {
		if w.Record.Space == "queue" {
			r.see(w)
		}
	}
	return r.DB.Write(ctx, writes...)
}
