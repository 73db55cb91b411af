package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cannedos/cannedos/db"
)

// openingOf returns the opening of a store that one process at a time can have
// open, such as a file with a lock; see [db.Exclusive]. Wrappers are looked
// through if they have a method Unwrap() db.DB. It tells a lease of a crashed
// predecessor, which need not be waited for, from one of another Durable in this
// process, which must.
func openingOf(store db.DB) (db.Owner, bool) {
	for range 32 { // more wrappers than anybody has: one that wraps itself ends
		if x, ok := store.(db.Exclusive); ok {
			return x.Opening(), true
		}
		w, ok := store.(interface{ Unwrap() db.DB })
		if !ok {
			break
		}
		store = w.Unwrap()
	}
	return db.Owner{}, false
}

// exclusiveTTL is how long the lease lasts in a store that only one process can
// have open: longer than any process. The next opening empties it.
const exclusiveTTL = 10 * 365 * 24 * time.Hour

// newRunOwner makes an Owner whose first half is that of the opening, where there
// is one, so that each lease says under which opening it was claimed.
func newRunOwner(store db.DB) db.Owner {
	owner := db.NewOwner()
	if open, ok := openingOf(store); ok {
		copy(owner[:8], open[:8])
	}
	return owner
}

// buryLease empties a lease that was claimed under a former opening of a store that
// only one process can have open: its holder is dead. Whoever claims it meanwhile
// has changed its version, and keeps it.
func (d *Durable) buryLease(ctx context.Context) error {
	open, ok := openingOf(d.store)
	if !ok {
		return nil
	}
	found, err := d.store.Get(ctx, leaseSpace, d.config.Space)
	if err != nil || len(found) == 0 {
		return err
	}
	lease := found[0]
	if lease.Owner.IsZero() || [8]byte(lease.Owner[:8]) == [8]byte(open[:8]) {
		return nil
	}
	_, err = d.store.Write(ctx, db.Write{If: lease.Version, Record: db.Record{
		Space: leaseSpace, ID: d.config.Space, Version: lease.Version + 1,
	}})
	return err
}

// own is the goroutine of a run: it stands by for the lease, reads the journal,
// and keeps the lease until it is lost or Close comes.
func (d *Durable) own(ctx context.Context, r *durableRun) {
	defer r.cancel(nil)
	err := d.buryLease(ctx)
	if err == nil {
		err = d.holdLease(ctx, r)
	}
	d.failed(ctx, r, err)
}

// holdLease stands by for the lease and works under it.
func (d *Durable) holdLease(ctx context.Context, r *durableRun) error {
	spec := db.LeaseSpec{
		Space: leaseSpace, ID: d.config.Space, Owner: d.owner,
		TTL: d.config.TTL, Skew: d.config.Skew, Wait: true,
	}
	work := func(ctx context.Context, l *db.Lease) error { return d.hold(ctx, l, r) }
	if _, ok := openingOf(d.store); !ok {
		return db.Hold(ctx, d.store, spec, work)
	}
	// Nobody else can have the store, so nothing is won by an end that would
	// come while this process is stopped, or the store fails. Only another Durable
	// of this process can hold the lease, and gives it back when it goes: so it is
	// asked for as often as otherwise, and not by a share of its long life.
	spec.TTL, spec.Wait = exclusiveTTL, false
	for {
		err := db.Hold(ctx, d.store, spec, work)
		if !errors.Is(err, db.ErrHeld) {
			return err
		}
		pause := time.NewTimer(d.config.TTL / 3)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}

// failed tells those who wait for a run that never came to own the queue.
func (d *Durable) failed(ctx context.Context, r *durableRun, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.memory != nil {
		return // it did
	}
	d.run = nil
	if cause := context.Cause(ctx); cause != nil {
		r.err = cause
	} else {
		r.err = fmt.Errorf("queue: open space %q: %w", d.config.Space, err)
	}
	close(r.ready)
}

// hold is the work under the lease. Its errors are those of the loading.
func (d *Durable) hold(ctx context.Context, l *db.Lease, r *durableRun) error {
	m, last, err := d.load(ctx)
	if err != nil {
		return err
	}
	j := newJournal(d, l, last)
	d.mu.Lock()
	if d.over != nil || ctx.Err() != nil {
		d.mu.Unlock()
		m.Close()
		return context.Cause(ctx)
	}
	r.memory, r.journal = m, j
	close(r.ready)
	d.mu.Unlock()

	<-ctx.Done()
	d.end(fmt.Errorf("%w: %w", ErrFenced, context.Cause(ctx)))
	return nil
}

// load reads the journal into a new Memory and returns the greatest version in
// it.
func (d *Durable) load(ctx context.Context) (*Memory, int64, error) {
	m, err := NewMemory(d.config.Memory)
	if err != nil {
		return nil, 0, err
	}
	last, err := d.loadInto(ctx, m)
	if err != nil {
		m.Close()
		return nil, 0, err
	}
	return m, last, nil
}

// loadInto holds one record at a time, and removes tombstones past their time.
func (d *Durable) loadInto(ctx context.Context, m *Memory) (last int64, err error) {
	now := time.Now()
	var old []db.Write
	for rec, err := range d.store.Scan(ctx, d.config.Space) {
		if err != nil {
			return 0, err
		}
		last = max(last, rec.Version)
		if isTombstone(rec.Value) {
			if now.After(rec.Until) && len(old) < d.config.Batch {
				old = append(old, db.Write{If: rec.Version, Record: db.Record{Space: rec.Space, ID: rec.ID}})
			}
			continue
		}
		msg, claim, err := readRecord(&rec, now)
		if err != nil {
			return 0, err
		}
		if err := m.load(msg, claim, auxOf(rec.Version, &msg, isStray(rec.Value))); err != nil {
			return 0, fmt.Errorf("queue: journal: record %q of space %q: %w: %w", rec.ID, rec.Space, ErrDamaged, err)
		}
	}
	if len(old) > 0 { // the rest at the next start
		_, err = d.store.Write(ctx, old...)
	}
	return last, err
}
