package firehose

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// Changes of one wish from many goroutines, and from another process in between,
// are all kept, and memory holds what the store does.
func TestWishesRace(t *testing.T) {
	for _, durable := range []bool{false, true} {
		var store db.DB
		if durable {
			store = db.NewMemory()
		}
		w, id := newWishes(store, db.NewOwner()), resource.NewID()
		other := newWishes(store, db.NewOwner())
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				for range 50 {
					who := w
					if durable && i%8 == 7 {
						who = other
					}
					err := who.change(context.Background(), id, func(r *wishRecord) { r.Interval++ })
					for err != nil && i%8 == 7 { // it may lose too many races, and then has changed nothing
						err = who.change(context.Background(), id, func(r *wishRecord) { r.Interval++ })
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		require.NoError(t, w.change(t.Context(), id, func(r *wishRecord) { r.Paused = true }))
		require.Equal(t, wish{paused: true, interval: 16 * 50}, w.of(id))
		require.Empty(t, w.busy)
		require.NoError(t, w.done(t.Context(), &resource.Resource{Spec: resource.Spec{ID: id}}))
		require.True(t, w.of(id).paused, "there was no removal to fulfil")
		require.NoError(t, w.change(t.Context(), id, func(r *wishRecord) { r.Removed = true }))
		require.NoError(t, w.done(t.Context(), &resource.Resource{Spec: resource.Spec{ID: id}}))
		require.NoError(t, w.done(t.Context(), &resource.Resource{Spec: resource.Spec{ID: id}}))
		require.Zero(t, w.of(id))
		require.NoError(t, w.change(t.Context(), id, func(r *wishRecord) { r.Paused = true }))
		require.NoError(t, w.forget(t.Context(), &resource.Resource{Spec: resource.Spec{ID: id}}))
		require.Zero(t, w.of(id))
		require.Zero(t, w.count.Load())
	}
}

// slowDB lets a write take so long.
type slowDB struct {
	db.DB
	wait time.Duration
	err  error
}

func (s *slowDB) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	time.Sleep(s.wait)
	if s.err != nil {
		return nil, s.err
	}
	return s.DB.Write(ctx, writes...)
}

// Who waits for another change of the same wish can be called off; others are
// not held up.
func TestWishesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, id := newWishes(&slowDB{DB: db.NewMemory(), wait: time.Minute}, db.NewOwner()), resource.NewID()
		var all sync.WaitGroup
		all.Go(func() { w.change(t.Context(), id, func(r *wishRecord) { r.Paused = true }) })
		synctest.Wait()
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, w.change(soon, id, func(r *wishRecord) { r.Paused = false }), context.DeadlineExceeded)
		begun := time.Now()
		require.NoError(t, w.change(t.Context(), resource.NewID(), func(r *wishRecord) { r.Paused = true }))
		require.Equal(t, time.Minute, time.Since(begun))
		all.Wait()
		require.True(t, w.of(id).paused)
	})
}

func TestWishesErrors(t *testing.T) {
	store := &slowDB{DB: db.NewMemory(), err: errors.New("no luck")}
	w, id := newWishes(store, db.NewOwner()), resource.NewID()
	pause := func(r *wishRecord) { r.Paused = true }
	require.ErrorContains(t, w.change(t.Context(), id, pause), "no luck")
	require.Zero(t, w.of(id), "not in memory before it is in the store")
	store.err = nil
	require.NoError(t, w.change(t.Context(), id, pause))

	again := newWishes(store, db.NewOwner())
	require.NoError(t, again.load(t.Context()))
	require.True(t, again.of(id).paused)
	added, err := again.added(t.Context(), id)
	require.NoError(t, err)
	require.False(t, added)

	for _, bad := range []string{"{", `{"paused":3}`} {
		bent := resource.NewID()
		_, err := store.Write(t.Context(), db.Write{Record: db.Record{Space: wishSpace, ID: bent.String(), Version: 1, Value: []byte(bad)}})
		require.NoError(t, err)
		require.ErrorContains(t, w.change(t.Context(), bent, pause), fmt.Sprintf("record %q", bent))
		_, err = w.added(t.Context(), bent)
		require.Error(t, err)
	}
	require.ErrorContains(t, again.load(t.Context()), "record ")
}
