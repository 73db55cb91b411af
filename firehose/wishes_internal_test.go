package firehose

import (
	"context"
	"errors"
	"fmt"
	"iter"
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
		retire(t, w, id)
		require.True(t, w.of(id).paused, "there was no removal to fulfil")
		require.NoError(t, w.change(t.Context(), id, func(r *wishRecord) { r.Removed = true }))
		retire(t, w, id)
		retire(t, w, id)
		require.Zero(t, w.of(id))
		require.NoError(t, w.change(t.Context(), id, func(r *wishRecord) { r.Paused = true }))
		require.NoError(t, w.forget(t.Context(), &resource.Resource{Spec: resource.Spec{ID: id}}))
		require.Zero(t, w.of(id))
		require.Zero(t, w.count.Load())
	}
}

// retire fulfils a removal, if there is one.
func retire(t *testing.T, w *wishes, id resource.ID) (done bool) {
	t.Helper()
	gone := &resource.Resource{Spec: resource.Spec{ID: id}}
	turn, err := w.leave(t.Context(), gone)
	require.NoError(t, err)
	if turn == 0 {
		return false
	}
	again, err := w.done(t.Context(), gone, turn)
	require.NoError(t, err)
	require.Nil(t, again)
	return true
}

// addWish wishes for one resource, as Add does.
func addWish(t *testing.T, w *wishes, r *resource.Resource) *addition {
	t.Helper()
	a := &addition{r: *r, wish: wishChange{id: r.ID}}
	w.add(t.Context(), []*addition{a})
	require.NoError(t, a.wish.err)
	return a
}

// keptWish is what the store has of a wish.
func keptWish(t *testing.T, w *wishes, id resource.ID) wishRecord {
	t.Helper()
	c := wishChange{id: id}
	require.NoError(t, w.read(t.Context(), []*wishChange{&c}))
	rec, err := decodeWish(c.stored)
	require.NoError(t, err)
	return rec
}

// What is added while it is being removed is wanted again: whoever takes it out
// learns so, whether its Add has come before or after. What is removed again after
// that is gone.
func TestWishesWithdrawn(t *testing.T) {
	for _, store := range []db.DB{nil, db.NewMemory()} {
		w := newWishes(store, db.NewOwner())
		r, err := resource.New(resource.Spec{URI: "https://a.test/"}, "")
		require.NoError(t, err)
		remove := func() {
			require.NoError(t, w.change(t.Context(), r.ID, func(rec *wishRecord) { rec.Removed = true }))
		}
		add := func(want bool) {
			require.Equal(t, want, addWish(t, w, &r).withdrawn)
			require.False(t, w.of(r.ID).removed)
		}
		leave := func() uint64 {
			turn, err := w.leave(t.Context(), &r)
			require.NoError(t, err)
			return turn
		}
		done := func(turn uint64, want bool) {
			again, err := w.done(t.Context(), &r, turn)
			require.NoError(t, err)
			require.Equal(t, want, again != nil)
		}
		in := func() {
			a := &addition{r: r, wish: wishChange{id: r.ID}}
			w.admitted(t.Context(), []*addition{a})
			require.NoError(t, a.wish.err)
		}
		add(false)
		in()

		remove() // withdrawn before it has begun
		add(true)
		require.Zero(t, leave())

		remove() // withdrawn when it has begun
		turn := leave()
		add(true)
		done(turn, true)
		require.Zero(t, leave(), "told once")

		remove() // and admitted before it has ended
		turn = leave()
		add(true)
		in()
		done(turn, false)

		remove() // and wished for again, of what is in again
		turn = leave()
		add(true)
		in()
		remove()
		done(turn, false)
		require.True(t, w.of(r.ID).removed, "it is for the next one to fulfil")
		done(leave(), false)
		require.False(t, w.of(r.ID).removed)

		add(false) // and wished for again before it was in
		remove()
		turn = leave()
		add(true)
		remove()
		done(turn, false)
		require.Zero(t, w.of(r.ID))
		require.Empty(t, w.again)
		require.Empty(t, w.leaving)
		if store != nil {
			add(false)
			wanted, err := w.remove(t.Context(), r.ID)
			require.NoError(t, err)
			require.True(t, wanted, "a start that does not list it leaves it")
			require.False(t, w.of(r.ID).removed)
		}
	}
}

// lateScan hands out what it has read when the test lets it.
type lateScan struct {
	db.DB
	read, goOn chan struct{}
}

func (s *lateScan) Scan(ctx context.Context, space string) iter.Seq2[db.Record, error] {
	return func(yield func(db.Record, error) bool) {
		var all []db.Record
		for rec, err := range s.DB.Scan(ctx, space) {
			if err == nil {
				all = append(all, rec)
			}
		}
		close(s.read)
		<-s.goOn
		for _, rec := range all {
			if !yield(rec, nil) {
				return
			}
		}
	}
}

// What is wished for while the wishes of an earlier run are read is not replaced
// by those: neither a removal that was withdrawn, nor a record that had nothing to say.
func TestWishesChangeWhileTheyAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &lateScan{DB: db.NewMemory(), read: make(chan struct{}), goOn: make(chan struct{})}
		r, err := resource.New(resource.Spec{URI: "https://a.test/"}, "")
		require.NoError(t, err)
		rested, err := resource.New(resource.Spec{URI: "https://b.test/"}, "")
		require.NoError(t, err)
		before := newWishes(store.DB, db.NewOwner())
		require.NoError(t, before.change(t.Context(), r.ID, func(rec *wishRecord) { rec.Removed = true }))
		require.NoError(t, before.change(t.Context(), rested.ID, func(rec *wishRecord) { rec.Rest = time.Now().Add(time.Second) }))
		time.Sleep(time.Minute) // its rest is over

		w := newWishes(store, db.NewOwner())
		loaded := make(chan error)
		go func() { loaded <- w.load(t.Context()) }()
		<-store.read
		for _, r := range []*resource.Resource{&r, &rested} {
			addWish(t, w, r)
		}
		close(store.goOn)
		require.NoError(t, <-loaded)
		require.False(t, w.of(r.ID).removed)
		for _, id := range []resource.ID{r.ID, rested.ID} {
			kept := keptWish(t, w, id)
			require.NotNil(t, kept.Spec)
			require.False(t, kept.Removed)
		}
	})
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
	wanted, err := again.remove(t.Context(), id)
	require.NoError(t, err)
	require.False(t, wanted)
	require.True(t, again.of(id).removed)

	for _, bad := range []string{"{", `{"paused":3}`} {
		bent := resource.NewID()
		_, err := store.Write(t.Context(), db.Write{Record: db.Record{Space: wishSpace, ID: bent.String(), Version: 1, Value: []byte(bad)}})
		require.NoError(t, err)
		require.ErrorContains(t, w.change(t.Context(), bent, pause), fmt.Sprintf("record %q", bent))
		_, err = w.remove(t.Context(), bent)
		require.Error(t, err)
	}
	require.ErrorContains(t, again.load(t.Context()), "record ")
}
