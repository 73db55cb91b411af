package queue_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

func newDurable(t *testing.T, store db.DB, config queue.DurableConfig) *queue.Durable {
	t.Helper()
	d, err := queue.NewDurable(store, config)
	require.NoError(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func openSession(t *testing.T, q queue.Queue) queue.Session {
	t.Helper()
	s, err := q.Open(t.Context())
	require.NoError(t, err)
	return s
}

// admission returns a message that is due at once.
func admission(name string, n int) queue.Message {
	r, err := resource.New(resource.Spec{URI: fmt.Sprintf("https://host.example/%d", n)}, "")
	if err != nil {
		panic(err)
	}
	return queue.Message{Queue: name, Resource: r}
}

func one(t *testing.T, s queue.Session, name string) queue.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ds, err := s.Receive(ctx, name, 1)
	require.NoError(t, err)
	return ds[0]
}

func claim(d queue.Delivery, name string) queue.Message {
	m := d.To(name, time.Time{})
	m.Resource.Claim(resource.NewOwner(), time.Now(), time.Now().Add(time.Minute))
	return m
}

func commit(t *testing.T, s queue.Session, d queue.Delivery, next ...queue.Message) {
	t.Helper()
	require.NoError(t, s.Commit(t.Context(), []queue.Delivery{d}, next...))
}

func TestDurableConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		config queue.DurableConfig
		field  string
	}{
		{queue.DurableConfig{Space: "\xff"}, "Space"},
		{queue.DurableConfig{Space: "lease"}, "Space"},
		{queue.DurableConfig{TTL: -1}, "TTL"},
		{queue.DurableConfig{TTL: time.Microsecond}, "TTL"},
		{queue.DurableConfig{Skew: -1}, "Skew"},
		{queue.DurableConfig{TTL: time.Second, Skew: time.Second}, "Skew"},
		{queue.DurableConfig{Batch: -1}, "Batch"},
		{queue.DurableConfig{Batch: db.MaxBatch + 1}, "Batch"},
		{queue.DurableConfig{Memory: queue.MemoryConfig{Capacity: -1}}, "Capacity"},
	} {
		_, err := queue.NewDurable(db.NewMemory(), c.config)
		require.ErrorContains(t, err, "Config."+c.field)
	}
	_, err := queue.NewDurable(nil, queue.DurableConfig{})
	require.ErrorContains(t, err, "store")
}

// Which Commits cost a record. A poll costs two.
func TestDurableJournalsClaimsAndResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandle(db.NewMemory())
		s := openSession(t, newDurable(t, h, queue.DurableConfig{}))
		costs := func(want int, what string, f func()) {
			t.Helper()
			before := h.records.Load()
			f()
			require.EqualValues(t, want, h.records.Load()-before, what)
		}
		var d queue.Delivery
		costs(1, "admission", func() { require.NoError(t, s.Commit(t.Context(), nil, admission("analyze", 1))) })
		for range 3 {
			costs(0, "moves before the claim", func() {
				d = one(t, s, "analyze")
				commit(t, s, d, d.To("frozen-50", time.Now().Add(time.Second)))
				d = one(t, s, "frozen-50")
				commit(t, s, d, d.To("requests", time.Time{}))
				d = one(t, s, "requests")
			})
			costs(1, "claim", func() { commit(t, s, d, claim(d, "claimed")) })
			costs(0, "moves of what is claimed", func() {
				d = one(t, s, "claimed")
				m := d.To("publish", time.Time{})
				m.Response = &resource.Response{Status: 200}
				m.Resource.Validators.ETag = `"new"`
				commit(t, s, d, m)
				d = one(t, s, "publish")
			})
			costs(1, "claimed again by the same", func() {
				m := d.To("publish", time.Time{})
				m.Resource.Claim(d.Resource.Owner, time.Now().Add(time.Second), time.Now().Add(time.Minute))
				commit(t, s, d, m)
			})
			d = one(t, s, "publish")
			costs(1, "claimed by another", func() { commit(t, s, d, claim(d, "publish")) })
			d = one(t, s, "publish")
			costs(1, "result", func() {
				m := d.To("analyze", time.Time{})
				m.Resource.Unclaim()
				commit(t, s, d, m)
			})
		}
		d = one(t, s, "analyze")
		bury := d.To("analyze-error", time.Time{})
		bury.Cause = "no such dialect"
		costs(1, "burial", func() { commit(t, s, d, bury) })
		d = one(t, s, "analyze-error")
		costs(0, "buried elsewhere, for the same cause", func() {
			m := d.To("error", time.Time{})
			m.Cause = d.Cause
			commit(t, s, d, m)
		})
		d = one(t, s, "error")
		costs(1, "buried for another cause", func() {
			m := d.To("error", time.Time{})
			m.Cause = "no credential"
			commit(t, s, d, m)
		})
		d = one(t, s, "error")
		costs(1, "dug out", func() { commit(t, s, d, d.To("analyze", time.Time{})) })
		d = one(t, s, "analyze")
		costs(1, "retirement", func() { commit(t, s, d) })
		costs(0, "nothing", func() { require.NoError(t, s.Commit(t.Context(), nil)) })
		found := 0
		for _, err := range h.DB.Scan(t.Context(), "queue") {
			require.NoError(t, err)
			found++
		}
		require.Zero(t, found, "records of a queue that is empty")
	})
}

// A claim that is written into the delivery in place is a claim as well.
func TestDurableComparesWithWhatItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandle(db.NewMemory())
		s := openSession(t, newDurable(t, h, queue.DurableConfig{}))
		require.NoError(t, s.Commit(t.Context(), nil, admission("requests", 1)))
		d := one(t, s, "requests")
		d.Resource.Claim(resource.NewOwner(), time.Now(), time.Now().Add(time.Minute))
		before := h.records.Load()
		commit(t, s, d, d.To("requests", time.Time{}))
		require.EqualValues(t, 1, h.records.Load()-before)
	})
}

// A second process stands by; it takes over when the lease of the first is over,
// and by then the first has ended itself, though nothing but time told it to.
func TestDurableTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := db.NewMemory()
		h := newHandle(store)
		config := queue.DurableConfig{TTL: 30 * time.Second, Skew: 3 * time.Second}
		first, second := newDurable(t, h, config), newDurable(t, newHandle(store), config)
		require.NotEqual(t, first.Owner(), second.Owner())
		s := openSession(t, first)
		require.NoError(t, s.Commit(t.Context(), nil, admission("requests", 1), admission("requests", 2)))
		d := one(t, s, "requests")
		sent := claim(d, "claimed")
		commit(t, s, d, sent)
		held := one(t, s, "requests")
		waiting := make(chan error, 1)
		go func() {
			_, err := s.Receive(t.Context(), "nothing", 1)
			waiting <- err
		}()

		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, errStop)
		defer cancel()
		_, err := second.Open(ctx)
		require.ErrorIs(t, err, errStop, "the first renews its lease")
		_, _, err = second.Find(t.Context(), d.Resource.ID)
		require.ErrorIs(t, err, queue.ErrStandby)
		_, err = second.Depths(t.Context())
		require.ErrorIs(t, err, queue.ErrStandby)
		_, err = second.List(t.Context(), "requests", resource.ID{}, 1)
		require.ErrorIs(t, err, queue.ErrStandby)

		h.cut.Store(true)
		cut := time.Now()
		s2, err := second.Open(t.Context())
		require.NoError(t, err)
		took := time.Since(cut)
		require.GreaterOrEqual(t, took, 20*time.Second)
		require.LessOrEqual(t, took, 35*time.Second)

		err = <-waiting
		require.ErrorIs(t, err, queue.ErrFenced, "Receive of the first")
		require.ErrorIs(t, err, queue.ErrClosed, "fenced is closed for whoever knows no more")
		require.ErrorIs(t, err, db.ErrLost)
		require.ErrorIs(t, s.Commit(t.Context(), []queue.Delivery{held}, claim(held, "claimed")), queue.ErrFenced)
		require.ErrorIs(t, s.Commit(t.Context(), []queue.Delivery{held}, held.To("analyze", time.Time{})), queue.ErrFenced)
		_, err = first.Open(t.Context())
		require.ErrorIs(t, err, queue.ErrFenced)
		_, _, err = first.Find(t.Context(), d.Resource.ID)
		require.ErrorIs(t, err, queue.ErrFenced)
		require.NoError(t, first.Close())

		again := one(t, s2, "claimed")
		require.True(t, again.Redelivered)
		require.Equal(t, sent.Resource.Owner, again.Resource.Owner)
		require.Equal(t, held.Resource.ID, one(t, s2, "requests").Resource.ID)
	})
}

var errStop = errors.New("the test has waited long enough")

// One process comes back from a pause before its timers run: its write loses, or
// comes without the lease, and either ends it.
func TestDurableLosesItsRecordToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := db.NewMemory()
		d := newDurable(t, store, queue.DurableConfig{})
		s := openSession(t, d)
		require.NoError(t, s.Commit(t.Context(), nil, admission("requests", 1), admission("requests", 2)))
		held := one(t, s, "requests")
		other := one(t, s, "requests")

		found, err := store.Get(t.Context(), "queue", held.Resource.ID.String())
		require.NoError(t, err)
		theirs := found[0]
		theirs.Version += 1000
		theirs.Owner = db.NewOwner()
		results, err := store.Write(t.Context(), db.Write{If: found[0].Version, Record: theirs})
		require.NoError(t, err)
		require.True(t, results[0].OK)

		commit(t, s, other, other.To("analyze", time.Time{})) // memory alone
		err = s.Commit(t.Context(), []queue.Delivery{held}, claim(held, "claimed"))
		require.ErrorIs(t, err, queue.ErrFenced)
		require.ErrorContains(t, err, held.Resource.ID.String())
		_, err = s.Receive(t.Context(), "analyze", 1)
		require.ErrorIs(t, err, queue.ErrFenced, "nothing more is delivered")

		synctest.Wait() // the lease is given back, so a new one need not wait
		began := time.Now()
		next := openSession(t, newDurable(t, store, queue.DurableConfig{}))
		require.Zero(t, time.Since(began))
		one(t, next, "requests")
	})
}

func TestDurableCloseHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := db.NewMemory()
		first := newDurable(t, store, queue.DurableConfig{})
		s := openSession(t, first)
		require.NoError(t, s.Commit(t.Context(), nil, admission("requests", 1)))
		second := newDurable(t, store, queue.DurableConfig{})
		opened := make(chan error, 1)
		go func() {
			_, err := second.Open(t.Context())
			opened <- err
		}()
		synctest.Wait()
		require.NoError(t, first.Close())
		began := time.Now()
		require.NoError(t, <-opened)
		require.LessOrEqual(t, time.Since(began), db.DefaultTTL/2)
		_, err := s.Receive(t.Context(), "requests", 1)
		require.ErrorIs(t, err, queue.ErrClosed)
		require.NotErrorIs(t, err, queue.ErrFenced)

		third := newDurable(t, store, queue.DurableConfig{})
		require.NoError(t, third.Close(), "Close of what was never opened")
		fourth := newDurable(t, store, queue.DurableConfig{})
		go func() {
			_, err := fourth.Open(t.Context())
			opened <- err
		}()
		synctest.Wait()
		require.NoError(t, fourth.Close(), "Close while it stands by")
		require.ErrorIs(t, <-opened, queue.ErrClosed)
	})
}

// Many open at once; each may give up, and only the last one's leaving ends the
// attempt.
func TestDurableOpenHonoursItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := db.NewMemory()
		first := newDurable(t, store, queue.DurableConfig{})
		openSession(t, first)
		second := newDurable(t, store, queue.DurableConfig{})
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() {
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Duration(i)*time.Minute, errStop)
				defer cancel()
				if _, err := second.Open(ctx); !errors.Is(err, errStop) {
					t.Errorf("Open %d: %v", i, err)
				}
			})
		}
		all.Wait()
		time.Sleep(time.Hour)
		require.NoError(t, first.Close())
		openSession(t, newDurable(t, store, queue.DurableConfig{Space: "queue"})) // nobody stands by any more

		ended, cancel := context.WithCancelCause(t.Context())
		cancel(errStop)
		_, err := second.Open(ended)
		require.ErrorIs(t, err, errStop)
	})
}

// A new attempt right behind one that was given up.
func TestDurableOpenAfterAnAttemptWasGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := db.NewMemory()
		first := newDurable(t, store, queue.DurableConfig{})
		openSession(t, first)
		second := newDurable(t, store, queue.DurableConfig{})
		for range 20 {
			ctx, cancel := context.WithCancelCause(t.Context())
			opened := make(chan error, 2)
			go func() {
				_, err := second.Open(ctx)
				opened <- err
			}()
			synctest.Wait()
			cancel(errStop)
			short, stop := context.WithTimeoutCause(t.Context(), time.Second, errStop)
			go func() {
				_, err := second.Open(short)
				opened <- err
			}()
			require.ErrorIs(t, <-opened, errStop)
			require.ErrorIs(t, <-opened, errStop)
			stop()
		}
		require.NoError(t, first.Close())
		openSession(t, second)
	})
}

// A store that one process at a time can have open: a lease that was claimed
// under a former opening is dead; one of this opening is not.
func TestDurableDoesNotWaitForTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "q.db")
		config := queue.DurableConfig{TTL: time.Hour}
		file, err := db.OpenFile(path)
		require.NoError(t, err)
		h := newHandle(file)
		dead := newDurable(t, h, config)
		s := openSession(t, dead)
		require.NoError(t, s.Commit(t.Context(), nil, admission("requests", 1)))
		h.cut.Store(true)
		require.NoError(t, file.Close())

		file, err = db.OpenFile(path)
		require.NoError(t, err)
		defer file.Close()
		h = newHandle(file)
		began := time.Now()
		alive := newDurable(t, h, config)
		s = openSession(t, alive)
		require.Zero(t, time.Since(began), "waited for a dead one")
		one(t, s, "requests")

		ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Hour, errStop)
		defer cancel()
		_, err = newDurable(t, h, config).Open(ctx)
		require.ErrorIs(t, err, errStop, "the lease of another Durable in this process")
		require.NoError(t, alive.Close())
	})
}

// Two in one process over one file: the second waits for the first, and not for
// long once that has gone.
func TestDurableStandsByInOneProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStore(t, "file")
		first := newDurable(t, store, queue.DurableConfig{})
		s := openSession(t, first)
		require.NoError(t, s.Commit(t.Context(), nil, admission("requests", 1)))
		second := newDurable(t, store, queue.DurableConfig{})
		opened := make(chan error, 1)
		go func() {
			_, err := second.Open(t.Context())
			opened <- err
		}()
		time.Sleep(10 * time.Minute)
		require.Empty(t, opened, "the first has it")
		require.NoError(t, first.Close())
		began := time.Now()
		require.NoError(t, <-opened)
		require.LessOrEqual(t, time.Since(began), db.DefaultTTL)
	})
}

func TestDurableRefusesDamagedRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := db.NewMemory()
		d := newDurable(t, store, queue.DurableConfig{})
		s := openSession(t, d)
		m := admission("requests", 1)
		m.Due = time.Now().Add(time.Hour)
		require.NoError(t, s.Commit(t.Context(), nil, m))
		require.NoError(t, d.Close())
		id := m.Resource.ID.String()
		found, err := store.Get(t.Context(), "queue", id)
		require.NoError(t, err)
		good := found[0]
		put := func(id string, value []byte) {
			t.Helper()
			found, err := store.Get(t.Context(), "queue", id)
			require.NoError(t, err)
			w := db.Write{Record: db.Record{Space: "queue", ID: id, Version: 1 << 61, Value: value}}
			if len(found) > 0 {
				w.If, w.Record.Version = found[0].Version, found[0].Version+1
			}
			results, err := store.Write(t.Context(), w)
			require.NoError(t, err)
			require.True(t, results[0].OK)
		}
		for _, c := range []struct {
			name  string
			value []byte
			want  error
		}{
			{"empty", nil, queue.ErrDamaged},
			{"cut off", good.Value[:len(good.Value)-1], queue.ErrDamaged},
			{"cut off in its head", good.Value[:5], queue.ErrDamaged},
			{"longer", append(append([]byte(nil), good.Value...), 0), queue.ErrDamaged},
			{"version 0", append([]byte{0}, good.Value[1:]...), queue.ErrDamaged},
			{"flags of nobody", append([]byte{2, 0xff}, good.Value[2:]...), queue.ErrDamaged},
			{"newer", append([]byte{3}, good.Value[1:]...), queue.ErrNewer},
		} {
			put(id, c.value)
			_, err := newDurable(t, store, queue.DurableConfig{}).Open(t.Context())
			require.ErrorIs(t, err, c.want, c.name)
			require.ErrorContains(t, err, id, c.name)
		}
		put(id, good.Value)
		put("somebody else", good.Value)
		broken := newDurable(t, store, queue.DurableConfig{})
		_, err = broken.Open(t.Context())
		require.ErrorIs(t, err, queue.ErrDamaged)
		require.ErrorContains(t, err, "somebody else")

		// Mended, the same Durable opens.
		found, err = store.Get(t.Context(), "queue", "somebody else")
		require.NoError(t, err)
		_, err = store.Write(t.Context(), db.Write{If: found[0].Version, Record: db.Record{Space: "queue", ID: "somebody else"}})
		require.NoError(t, err)
		s = openSession(t, broken)
		got, _, err := broken.Find(t.Context(), m.Resource.ID)
		require.NoError(t, err)
		require.True(t, m.Due.Equal(got.Due))
		require.Equal(t, m.Resource.URI, got.Resource.URI)
		require.NoError(t, s.Close())
	})
}

func TestDurableOpenTellsErrorsOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, name := range []string{"memory", "file"} {
			h := newHandle(openStore(t, name))
			d := newDurable(t, h, queue.DurableConfig{})
			h.cut.Store(true)
			_, err := d.Open(t.Context())
			require.ErrorIs(t, err, errKilled)
			h.cut.Store(false)
			openSession(t, d) // and it may be tried again
			require.NoError(t, d.Close())
		}
	})
}
