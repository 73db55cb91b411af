package firehose

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// Wishes that are changed together, by many goroutines and in any order, and by
// another process in between: each change counts once, and nobody waits for ever.
func TestWishesChangeTogether(t *testing.T) {
	for _, durable := range []bool{false, true} {
		var store db.DB
		if durable {
			store = db.NewMemory()
		}
		w, other := newWishes(store, db.NewOwner()), newWishes(store, db.NewOwner())
		ids := make([]resource.ID, 12)
		for i := range ids {
			ids[i] = resource.NewID()
		}
		var mu sync.Mutex
		want := map[resource.ID]time.Duration{}
		var all sync.WaitGroup
		for i := range 8 {
			rng, who := rand.New(rand.NewPCG(uint64(i), 1)), w
			if durable && i == 7 {
				who = other
			}
			all.Go(func() {
				for range 100 {
					var changes []*wishChange
					for _, k := range rng.Perm(len(ids))[:1+rng.IntN(len(ids))] {
						changes = append(changes, &wishChange{id: ids[k]})
					}
					for range 2 { // what the first has left is known to the second
						who.changes(t.Context(), changes, func(_ int, rec *wishRecord) { rec.Interval++ })
						mu.Lock()
						for _, c := range changes {
							if c.err == nil { // it may lose too many races
								want[c.id]++
							}
						}
						mu.Unlock()
					}
				}
			})
		}
		all.Wait()
		require.Empty(t, w.busy)
		for _, id := range ids {
			var got time.Duration
			require.NoError(t, w.change(t.Context(), id, func(rec *wishRecord) { got = rec.Interval }))
			require.Equal(t, want[id], got)
			require.Equal(t, want[id], w.of(id).interval, "in memory")
		}
	}
}

// What goes wrong with one of several wishes is told of that one; what goes wrong
// with the store, of all.
func TestWishesChangeTogetherErrors(t *testing.T) {
	store := &slowDB{DB: db.NewMemory()}
	w, bent := newWishes(store, db.NewOwner()), resource.NewID()
	_, err := store.Write(t.Context(), db.Write{Record: db.Record{Space: wishSpace, ID: bent.String(), Version: 1, Value: []byte("{")}})
	require.NoError(t, err)
	change := func(f func(rec *wishRecord)) (errs []error) {
		changes := []*wishChange{{id: resource.NewID()}, {id: bent}, {id: resource.NewID()}}
		w.changes(t.Context(), changes, func(_ int, rec *wishRecord) { f(rec) })
		for _, c := range changes {
			errs = append(errs, c.err)
			if c.err != nil {
				require.False(t, w.of(c.id).paused, "not in memory before it is in the store")
			}
		}
		return errs
	}
	pause := func(rec *wishRecord) { rec.Paused = true }
	errs := change(pause)
	require.NoError(t, errors.Join(errs[0], errs[2]))
	require.ErrorIs(t, errs[1], resource.ErrEncoding)
	errs = change(func(*wishRecord) {})
	require.NoError(t, errors.Join(errs[0], errs[2]), "nothing to write")

	store.err = errors.New("no luck")
	errs = change(pause)
	require.ErrorIs(t, errs[0], store.err)
	require.ErrorIs(t, errs[1], resource.ErrEncoding)
	require.ErrorIs(t, errs[2], store.err)

	ended, end := context.WithCancel(t.Context())
	end()
	c := wishChange{id: resource.NewID()}
	w.changes(ended, []*wishChange{&c}, func(_ int, rec *wishRecord) { rec.Paused = true })
	require.ErrorIs(t, c.err, context.Canceled)
}

// A resource that was here and has gone since its message was made is not admitted
// without its rest.
func TestG1_AdmittedWithTheRestOfNow(t *testing.T) {
	os, err := New(Config{})
	require.NoError(t, err)
	f := os.f
	defer f.queue.Close()
	session, err := f.queue.Open(t.Context())
	require.NoError(t, err)
	defer session.Close()
	var messages []queue.Message
	for _, uri := range []string{"https://a.test/", "https://b.test/"} {
		r, err := f.newResource(resource.Spec{URI: uri})
		require.NoError(t, err)
		messages = append(messages, queue.Message{Queue: QueueAnalyze, Resource: r})
	}
	ids, rest := []resource.ID{messages[0].Resource.ID, messages[1].Resource.ID}, time.Now().Add(time.Hour)
	require.NoError(t, f.wishes.change(t.Context(), ids[1], func(rec *wishRecord) { rec.Rest = rest }))
	commits := f.admitNew(t.Context(), session, messages, func(r *resource.Resource, err error) { t.Error(r.URI, err) })
	require.EqualValues(t, 1, commits)
	for i, want := range []time.Time{{}, rest} {
		m, _, err := queue.Finder(f.queue.(*queue.Memory)).Find(t.Context(), ids[i])
		require.NoError(t, err)
		require.WithinDuration(t, want, m.Resource.NotBefore, time.Millisecond)
	}
}

// What is still to be removed and waits stays as its Spec says now.
func TestAddGivesWhatStaysItsSpec(t *testing.T) {
	os, err := New(Config{})
	require.NoError(t, err)
	defer os.f.queue.Close()
	specs := resource.List("https://a.test/", "https://b.test/")
	require.NoError(t, os.Add(t.Context(), specs...))
	var ids []resource.ID
	for i := range specs {
		r, err := os.f.newResource(specs[i])
		require.NoError(t, err)
		ids = append(ids, r.ID)
		specs[i].Interval = time.Hour
	}
	require.NoError(t, os.f.wishes.change(t.Context(), ids[0], func(rec *wishRecord) { rec.Removed = true }))
	err = os.Add(t.Context(), specs...)
	require.ErrorIs(t, err, queue.ErrExists)
	require.NotContains(t, err.Error(), "a.test")
	for i, want := range []time.Duration{time.Hour, 0} {
		m, _, err := queue.Finder(os.f.queue.(*queue.Memory)).Find(t.Context(), ids[i])
		require.NoError(t, err)
		require.Equal(t, want, m.Resource.Interval)
	}
}
