package firehose

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// wishRaces is how often a wish that another process changes as well is tried.
const wishRaces = 16

// wishChange is a change of the wish for one resource, one of several that are
// made together.
type wishChange struct {
	id     resource.ID
	known  bool      // stored was read or written before; else it is read
	stored db.Record // what the store holds, as far as is known; zero: nothing
	err    error     // why it was not made; of a write, the outcome is unknown
}

// change applies f to the record of a resource, by compare-and-set, and then in
// memory. f may be called more than once.
func (w *wishes) change(ctx context.Context, id resource.ID, f func(*wishRecord)) error {
	c := wishChange{id: id}
	w.changes(ctx, []*wishChange{&c}, func(_ int, rec *wishRecord) { f(rec) })
	return c.err
}

// changes makes changes of different resources together: with one read of those
// that are not known, and one write, and further ones for those only that another
// process was faster with. f gets the number of the change, may be called more than
// once for each, and for none whose record can't be read.
func (w *wishes) changes(ctx context.Context, all []*wishChange, f func(i int, rec *wishRecord)) {
	leave, err := w.enter(ctx, all)
	for _, c := range all {
		if c.err = nil; err != nil {
			c.err = fmt.Errorf("firehose: wish for %v: %w", c.id, err)
		}
	}
	if err != nil {
		return
	}
	defer leave()
	if w.store == nil {
		for i, c := range all {
			v := w.of(c.id)
			rec := wishRecord{Paused: v.paused, Removed: v.removed, Interval: v.interval, Rest: v.rest}
			f(i, &rec)
			w.changed(c.id, &rec)
		}
		return
	}
	if err := w.read(ctx, all); err != nil {
		for _, c := range all {
			c.err = fmt.Errorf("firehose: read wish for %v: %w", c.id, err)
		}
		return
	}
	open := make([]int, len(all))
	for i := range open {
		open[i] = i
	}
	for range wishRaces {
		if open = w.write(ctx, all, open, f); len(open) == 0 {
			return
		}
	}
	for _, i := range open {
		all[i].err = fmt.Errorf("firehose: wish for %v: lost %d races in a row", all[i].id, wishRaces)
	}
}

// enter waits until nobody else in this process changes the wish for any of the
// resources: else memory could keep what the store has seen replaced. It takes all
// or none, so that two who want the same ones never wait for each other.
func (w *wishes) enter(ctx context.Context, all []*wishChange) (leave func(), err error) {
	for {
		before, over := w.occupy(all)
		if before == nil {
			return func() {
				w.mu.Lock()
				for _, c := range all {
					delete(w.busy, c.id)
				}
				w.mu.Unlock()
				close(over)
			}, nil
		}
		select {
		case <-before:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// occupy says of the resources that they are being changed, or returns what is
// closed when a change that is under way is over.
func (w *wishes) occupy(all []*wishChange) (before <-chan struct{}, over chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range all {
		if before := w.busy[c.id]; before != nil {
			return before, nil
		}
	}
	over = make(chan struct{})
	for _, c := range all {
		w.busy[c.id] = over
	}
	return nil, over
}

// read looks up those that are not known.
func (w *wishes) read(ctx context.Context, all []*wishChange) error {
	var ids []string
	for _, c := range all {
		if !c.known {
			ids = append(ids, c.id.String())
		}
	}
	if len(ids) == 0 {
		return nil
	}
	found, err := w.store.Get(ctx, w.space, ids...)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.known {
			continue
		}
		if c.known, c.stored = true, (db.Record{}); len(found) > 0 && found[0].ID == ids[0] {
			c.stored, found = found[0], found[1:]
		}
		ids = ids[1:]
	}
	return nil
}

// write makes those changes that are open, over what is known of them, and returns
// those that found something else.
func (w *wishes) write(ctx context.Context, all []*wishChange, open []int, f func(i int, rec *wishRecord)) (lost []int) {
	var sent []int
	var records []wishRecord
	var writes []db.Write
	for _, i := range open {
		c := all[i]
		rec, err := decodeWish(c.stored)
		if err != nil {
			c.err = err
			continue
		}
		f(i, &rec)
		next, needed, err := w.over(c, &rec)
		switch {
		case err != nil:
			c.err = err
		case !needed:
			w.changed(c.id, &rec)
		default:
			sent, records, writes = append(sent, i), append(records, rec), append(writes, next)
		}
	}
	if len(writes) == 0 {
		return nil
	}
	results, err := w.store.Write(ctx, writes...)
	if err == nil && len(results) != len(writes) {
		err = fmt.Errorf("the store returned %d results for %d writes", len(results), len(writes))
	}
	for k, i := range sent {
		switch c := all[i]; {
		case err != nil:
			c.err = fmt.Errorf("firehose: write wish for %v: %w", c.id, err)
		case !results[k].OK:
			c.stored = results[k].Current
			lost = append(lost, i)
		default:
			if c.stored = writes[k].Record; c.stored.Version == 0 {
				c.stored = db.Record{}
			}
			w.changed(c.id, &records[k])
		}
	}
	return lost
}

// over is the write that stores a record over what is known. A record that wishes
// for nothing is deleted, which takes no write where there is none.
func (w *wishes) over(c *wishChange, rec *wishRecord) (next db.Write, needed bool, err error) {
	read := c.stored.Version
	next = db.Write{If: read, Record: db.Record{Space: w.space, ID: c.id.String(), Version: read + 1, Owner: w.owner}}
	if *rec == (wishRecord{}) {
		next.Record.Version = 0
		return next, read != 0, nil
	}
	if next.Record.Value, err = json.Marshal(rec); err != nil {
		return next, false, fmt.Errorf("firehose: encode wish: %w", err)
	}
	return next, true, nil
}

// changed sets what this process has wished for, which [wishes.load] may have
// read before.
func (w *wishes) changed(id resource.ID, rec *wishRecord) {
	w.mu.Lock()
	if w.store != nil && w.fresh != nil {
		w.fresh[id] = struct{}{}
	}
	if w.gone != nil && (rec.Spec == nil || rec.Removed) {
		w.gone[id] = struct{}{}
	}
	w.mu.Unlock()
	w.set(id, rec.wish())
}

// add wishes for resources that are to be admitted, with the instant before which
// each may not be asked, should it have been here before. A removal that is under
// way is withdrawn, and withdrawn says so; a pause stays.
func (w *wishes) add(ctx context.Context, all []*addition) {
	changes := make([]*wishChange, len(all))
	for i, a := range all {
		changes[i] = &a.wish
	}
	w.changes(ctx, changes, func(i int, rec *wishRecord) {
		a := all[i]
		w.mu.Lock()
		delete(w.again, a.r.ID)
		if a.withdrawn = rec.Removed; a.withdrawn {
			w.again[a.r.ID] = a.r.Spec
		}
		delete(w.leaving, a.r.ID) // who takes it out now fulfils no wish
		w.mu.Unlock()
		rec.Spec, rec.Every, rec.Admitting, rec.Removed = &a.r.Spec, a.r.Interval, true, false
		a.r.Rest(resource.Rebase(rec.Rest, time.Now()))
	})
}

// admitted notes that what add wished for is in.
func (w *wishes) admitted(ctx context.Context, all []*addition) {
	changes := make([]*wishChange, len(all))
	w.mu.Lock()
	for i, a := range all {
		delete(w.again, a.r.ID)
		changes[i] = &a.wish
	}
	w.mu.Unlock()
	if w.store == nil {
		return
	}
	w.changes(ctx, changes, func(_ int, rec *wishRecord) { rec.Admitting = false })
}

// settle notes that what an Add of an earlier run has wished for is in.
func (w *wishes) settle(ctx context.Context, ids []resource.ID) error {
	if len(ids) == 0 {
		return nil
	}
	changes := make([]*wishChange, len(ids))
	for i, id := range ids {
		changes[i] = &wishChange{id: id}
	}
	w.changes(ctx, changes, func(_ int, rec *wishRecord) { rec.Admitting = false })
	for _, c := range changes {
		if c.err != nil {
			return c.err
		}
	}
	return nil
}
