package firehose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// wishes is the desired state: what users want of resources, beside what the
// queue says of where they are. Without a DB it lives in memory. Only wishes
// that differ from "poll it as its Spec says" take room.
type wishes struct {
	store db.DB
	owner db.Owner
	space string // of the store

	count atomic.Int64 // of byID: none is the usual case, and free
	mu    sync.RWMutex
	byID  map[resource.ID]wish
	busy  map[resource.ID]chan struct{} // being changed; closed when that is over
	sweep int                           // size of byID from which rests that are over are looked for
	fresh map[resource.ID]struct{}      // changed before load came to them; nil: it is over

	// again are those whose removal was withdrawn, since they were added again, and
	// leaving those that somebody takes out, by the turn in which that was begun.
	// Who has taken one out that is among again admits it again.
	again   map[resource.ID]resource.Spec
	leaving map[resource.ID]uint64
	turns   uint64

	gone map[resource.ID]struct{} // see [wishes.noteGone]
}

// wish is what a user wants of one resource. The zero wish is: poll it.
type wish struct {
	paused, removed bool
	interval        time.Duration // zero: that of the Spec
	rest            time.Time     // the instant before which it may not be asked, should it be admitted again
}

// idle reports whether nothing is wished for any more at the instant now.
func (v wish) idle(now time.Time) bool {
	if !v.rest.After(now) {
		v.rest = time.Time{}
	}
	return v == wish{}
}

// wishSpace is where wishes are kept, of all shards but for the suffix.
const wishSpace = "registry"

// wishRecord is a wish in the store. Spec is set for resources that came by Add:
// the next start admits them again. Its form for people leaves the interval out,
// which stands beside it.
type wishRecord struct {
	Spec      *resource.Spec `json:"spec,omitempty"`
	Every     time.Duration  `json:"every_ns,omitempty"`
	Admitting bool           `json:"admitting,omitempty"` // Add has begun and not ended
	Paused    bool           `json:"paused,omitempty"`
	Removed   bool           `json:"removed,omitempty"`
	Interval  time.Duration  `json:"interval_ns,omitempty"`

	// Rest outlives a resource that was taken out: admitted again, it may not be
	// asked before.
	Rest time.Time `json:"rest,omitzero"`
}

func newWishes(store db.DB, owner db.Owner) *wishes {
	return &wishes{
		store: store, owner: owner, space: wishSpace, byID: map[resource.ID]wish{}, busy: map[resource.ID]chan struct{}{},
		fresh: map[resource.ID]struct{}{}, again: map[resource.ID]resource.Spec{}, leaving: map[resource.ID]uint64{},
	}
}

// of returns the wish for one resource.
func (w *wishes) of(id resource.ID) wish {
	if w.count.Load() == 0 {
		return wish{}
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.byID[id]
}

func (w *wishes) set(id resource.ID, v wish) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if v.idle(now) {
		delete(w.byID, id)
	} else {
		w.byID[id] = v
	}
	if len(w.byID) > max(w.sweep, 1024) {
		maps.DeleteFunc(w.byID, func(_ resource.ID, v wish) bool { return v.idle(now) })
		w.sweep = 2 * len(w.byID)
	}
	w.count.Store(int64(len(w.byID)))
}

func (r *wishRecord) wish() wish {
	return wish{paused: r.Paused, removed: r.Removed, interval: r.Interval, rest: r.Rest}
}

func decodeWish(rec db.Record) (w wishRecord, err error) {
	if rec.Version == 0 {
		return w, nil
	}
	if err := json.Unmarshal(rec.Value, &w); err != nil {
		return w, fmt.Errorf("firehose: record %q of space %q: %w: %w", rec.ID, rec.Space, resource.ErrEncoding, err)
	}
	if w.Spec != nil {
		w.Spec.Interval = w.Every
	}
	return w, nil
}

// removed lists the resources that are wished away.
func (w *wishes) removed() (all []resource.ID) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for id, v := range w.byID {
		if v.removed {
			all = append(all, id)
		}
	}
	return all
}

// remove wishes a resource away, unless it came by Add and is wanted still.
func (w *wishes) remove(ctx context.Context, id resource.ID) (wanted bool, err error) {
	err = w.change(ctx, id, func(r *wishRecord) {
		if wanted = r.Spec != nil && !r.Removed; !wanted {
			r.Removed = true
		}
	})
	return wanted, err
}

// leave says that a resource is about to be taken out, and writes its rest before
// that: whoever adds it from here on, or after a crash, finds it. turn is for done;
// zero: its removal was withdrawn, and it stays.
func (w *wishes) leave(ctx context.Context, gone *resource.Resource) (turn uint64, err error) {
	err = w.change(ctx, gone.ID, func(rec *wishRecord) {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.again, gone.ID) // of what is in
		if turn = 0; rec.Removed {
			rec.Rest = restOf(gone).Rest
			w.turns++
			turn = w.turns
			w.leaving[gone.ID] = turn
		}
	})
	return turn, err
}

// done forgets the wish to remove a resource, which has been fulfilled. What
// remains is its rest: see [wishes.forget]. If the removal was withdrawn since leave,
// and nobody has admitted it since, again is what has to be admitted.
func (w *wishes) done(ctx context.Context, gone *resource.Resource, turn uint64) (again *resource.Spec, err error) {
	err = w.change(ctx, gone.ID, func(rec *wishRecord) {
		w.mu.Lock()
		defer w.mu.Unlock()
		again = nil
		switch spec, pending := w.again[gone.ID]; {
		case rec.Removed && (pending || w.leaving[gone.ID] == turn): // else it is a later removal, of what is in again
			*rec = restOf(gone)
		case pending && !rec.Removed:
			again = &spec
		}
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		delete(w.again, gone.ID)
	}
	if w.leaving[gone.ID] == turn {
		delete(w.leaving, gone.ID)
	}
	return again, err
}

// forget takes out all that is known of a wish, with its resource, but for the
// instant before which the resource may not be asked: to take it out and to add
// it again is no reason to ask early.
func (w *wishes) forget(ctx context.Context, gone *resource.Resource) error {
	return w.change(ctx, gone.ID, func(r *wishRecord) { *r = restOf(gone) })
}

func restOf(gone *resource.Resource) (rest wishRecord) {
	r, now := *gone, time.Now()
	r.Forfeit(now) // its request may be under way
	if r.NotBefore.After(now) {
		rest.Rest = r.NotBefore
	}
	return rest
}

// load reads the wishes of earlier runs.
func (w *wishes) load(ctx context.Context) error {
	var over []resource.ID
	now := time.Now()
	w.mu.Lock()
	if w.fresh == nil { // a second time
		w.fresh = map[resource.ID]struct{}{}
	}
	w.mu.Unlock()
	for rec, err := range w.records(ctx) {
		if err != nil {
			return err
		}
		rec.Rest = resource.Rebase(rec.Rest, now)
		if err := w.loaded(ctx, rec); err != nil {
			return err
		}
		if rec.Spec == nil && rec.wish().idle(now) {
			over = append(over, rec.id)
		}
	}
	w.mu.Lock()
	w.fresh = nil
	w.mu.Unlock()
	for _, id := range over {
		err := w.change(ctx, id, func(r *wishRecord) {
			if r.Spec == nil && r.wish().idle(now) { // still
				*r = wishRecord{}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// loaded takes over a record that was read, unless its wish was changed since: who
// adds a resource right after a start must not find it removed by what an earlier
// run has wished.
func (w *wishes) loaded(ctx context.Context, rec storedWish) error {
	leave, err := w.enter(ctx, []*wishChange{{id: rec.id}})
	if err != nil {
		return err
	}
	defer leave()
	w.mu.RLock()
	_, fresh := w.fresh[rec.id]
	w.mu.RUnlock()
	if !fresh {
		w.set(rec.id, rec.wish())
	}
	return nil
}

// noteGone notes from here to over which resources are removed, for [wishes.isGone].
// Who admits what the registry names would else bring back what was removed since
// it was read.
func (w *wishes) noteGone() (over func()) {
	note := func(to map[resource.ID]struct{}) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.gone = to
	}
	note(map[resource.ID]struct{}{})
	return func() { note(nil) }
}

// isGone reports whether a resource that came by Add was removed since noteGone.
// It may have been added again: whoever did that admits it.
func (w *wishes) isGone(id resource.ID) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	_, gone := w.gone[id]
	return gone
}

// storedWish is a record with the resource that it is for.
type storedWish struct {
	id    resource.ID
	owner db.Owner // who wrote it last
	wishRecord
}

// records streams the stored wishes.
func (w *wishes) records(ctx context.Context) iter.Seq2[storedWish, error] {
	return func(yield func(storedWish, error) bool) {
		if w.store == nil {
			return
		}
		for rec, err := range w.store.Scan(ctx, w.space) {
			if err != nil {
				yield(storedWish{}, fmt.Errorf("firehose: load wishes: %w", err))
				return
			}
			id, err := resource.ParseID(rec.ID)
			stored, err2 := decodeWish(rec)
			if err := errors.Join(err, err2); err != nil {
				yield(storedWish{}, err)
				return
			}
			if !yield(storedWish{id, rec.Owner, stored}, nil) {
				return
			}
		}
	}
}
