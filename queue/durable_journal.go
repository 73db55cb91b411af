package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// A journal brings changes of resources into the store, in batches that
// concurrent Commits share. There is no goroutine for it: a Commit that finds
// nobody writing leads, writes one batch with itself in it, and hands over to
// the first of those that came meanwhile.
//
//	waiting ──► in the batch of a leader ──► done
//	   │  └───► told to lead: writes the next batch, itself in it
//	   └──────► its context ends: taken back, nothing was written
//
// A change goes over the version that the journal holds, and over nothing else.
// One that loses has met the write of another process, which owns the queue by
// now: that is the end of this one. The exception are resources that are unsure,
// because a former write of this run had no known outcome: their next change goes
// over what that one has left.
type journal struct {
	store db.DB
	space string
	owner db.Owner
	lease *db.Lease
	most  int           // writes in one call of the store
	limit time.Duration // for one batch
	fence func(error)   // ends the Durable

	last int64 // version given last; the leader's

	mu      sync.Mutex
	waiting []*journalRequest
	leading bool
	idle    chan struct{}        // closed when nobody leads any more; nil while nobody asks
	unsure  map[resource.ID]sent // at most one for each resource that a Commit failed for
}

// Versions begin at the token of the lease, shifted by so many bits. A run may
// write 2^28 records in the time of one renewal of its lease, which raises the
// next token by one at the least, before its versions could meet those of another
// run. Memory keeps a version and three marks in 63 bits: that leaves 32 bits for
// the token, which last for 1,300 years of the default renewals.
const tokenBits = 28

// newJournal returns the journal of a run that owns the queue by l and has read
// versions up to last.
func newJournal(d *Durable, l *db.Lease, last int64) *journal {
	return &journal{
		store: d.store, space: d.config.Space, owner: d.owner, lease: l,
		most: d.config.Batch, limit: d.config.TTL, fence: d.end,
		last: max(last, l.Token()<<tokenBits), unsure: map[resource.ID]sent{},
	}
}

// sent says what was sent of a resource without a known outcome.
type sent uint8

const (
	sentPut sent = 1 << iota
	sentDelete
	sentCreate // with sentPut: a write that goes over nothing
)

const (
	journalBytes  = 4 << 20 // values in one call of the store
	journalRounds = 8       // how often a change is sent that loses to its own run
)

// journalRequest is what one Commit wants written.
type journalRequest struct {
	changes []journalChange
	told    chan struct{} // with room for the one signal that it is done or has to lead

	// Guarded by the lock of the journal.
	taken     bool // a leader has it
	abandoned bool // nobody waits for it any more
	lead      bool
	err       error
}

// journalChange is the next state of one resource. From take to finish it
// belongs to the leader.
type journalChange struct {
	id     resource.ID
	known  int64  // version that the journal holds, as far as this run knows; 0: none
	value  []byte // nil: the record goes
	retire bool   // value is a tombstone, or nil

	base    int64 // version that it goes over
	version int64 // written last; 0: none
	unsure  sent  // without a known outcome before this change
	done    bool
}

// commit writes changes, of different resources, and sets their versions. After
// an error the outcome is unknown and the same may be sent again, except after
// ErrFenced.
func (j *journal) commit(ctx context.Context, changes []journalChange) error {
	r := &journalRequest{changes: changes, told: make(chan struct{}, 1)}
	j.mu.Lock()
	j.waiting = append(j.waiting, r)
	lead := !j.leading
	j.leading = true
	j.mu.Unlock()
	if !lead {
		select {
		case <-r.told:
		case <-ctx.Done():
			if j.abandon(r) {
				return fmt.Errorf("queue: journal: %w", context.Cause(ctx))
			}
		}
		if !r.lead {
			return r.err
		}
	}
	// Others depend on this batch: it isn't cut short for one of them.
	j.batch(context.WithoutCancel(ctx))
	return r.err
}

// abandon takes back a request whose caller has to go, and reports false if it
// is done already or has to lead.
func (j *journal) abandon(r *journalRequest) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case <-r.told:
		return false
	default:
	}
	r.abandoned = true
	if r.taken { // on its way, and nobody will hear of its outcome
		j.markLocked(r)
		return true
	}
	for i := range j.waiting {
		if j.waiting[i] == r {
			j.waiting = append(j.waiting[:i], j.waiting[i+1:]...)
			break
		}
	}
	return true
}

// markLocked notes that a request has no known outcome. It reads only what no
// leader writes.
func (j *journal) markLocked(r *journalRequest) {
	for i := range r.changes {
		c := &r.changes[i]
		switch was := j.unsure[c.id]; {
		case c.retire && c.value == nil:
			j.unsure[c.id] = was | sentDelete
		case c.known == 0 || was&sentDelete != 0:
			j.unsure[c.id] = was | sentPut | sentCreate
		default:
			j.unsure[c.id] = was | sentPut
		}
	}
}

// unsureOf reports of each entry what was sent without a known outcome. It
// returns nil for nothing at all.
func (j *journal) unsureOf(entries []journaled) []sent {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.unsure) == 0 {
		return nil
	}
	all := make([]sent, len(entries))
	for i := range entries {
		all[i] = j.unsure[entries[i].ID]
	}
	return all
}

var (
	errSlowStore  = errors.New("queue: journal: the store took longer than the lease lasts")
	errLeaderDied = errors.New("queue: journal: the store panicked under another Commit")
	errUnsettled  = fmt.Errorf("queue: journal: a record changed %d times under its owner", journalRounds)
)

// batch writes what waits, as far as it fits, and hands over.
func (j *journal) batch(ctx context.Context) {
	batch := j.take()
	err := errLeaderDied
	defer func() {
		j.finish(batch, err)
		if errors.Is(err, ErrFenced) {
			j.fence(err)
		}
	}()
	ctx, release := j.lease.Context(ctx)
	defer release()
	limited, cancel := context.WithTimeoutCause(ctx, j.limit, errSlowStore)
	defer cancel()
	written := j.write(limited, batch)
	// Whatever was written, it may not be worked on without the lease.
	if lost := j.lease.Err(); errors.Is(lost, db.ErrReleased) {
		written = ErrClosed
	} else if lost != nil {
		written = fmt.Errorf("%w: %w", ErrFenced, lost)
	}
	err = written
}

// take takes the requests of a batch: the first, and as many as fit behind it.
func (j *journal) take() []*journalRequest {
	j.mu.Lock()
	defer j.mu.Unlock()
	n, writes, size := 0, 0, 0
	for _, r := range j.waiting {
		writes += len(r.changes)
		for i := range r.changes {
			size += len(r.changes[i].value)
		}
		if n > 0 && (writes > j.most || size > journalBytes) {
			break
		}
		n++
		r.taken = true
		for i := range r.changes {
			c := &r.changes[i]
			c.base, c.unsure = c.known, j.unsure[c.id]
		}
	}
	batch := append([]*journalRequest(nil), j.waiting[:n]...)
	j.waiting = append(j.waiting[:0], j.waiting[n:]...)
	return batch
}

// write sends the changes of a batch. Those that remove a record go last where
// their Commit writes others: a crash in between leaves too much, never too
// little.
func (j *journal) write(ctx context.Context, batch []*journalRequest) error {
	var now, later []*journalChange
	for _, r := range batch {
		puts := false
		for i := range r.changes {
			puts = puts || !r.changes[i].retire
		}
		for i := range r.changes {
			if c := &r.changes[i]; c.retire && puts {
				later = append(later, c)
			} else {
				now = append(now, c)
			}
		}
	}
	for _, changes := range [][]*journalChange{now, later} {
		for len(changes) > 0 {
			n, size := 0, 0
			for n < len(changes) && n < j.most && (n == 0 || size+len(changes[n].value) <= journalBytes) {
				size += len(changes[n].value)
				n++
			}
			if err := j.settle(ctx, changes[:n]); err != nil {
				return err
			}
			changes = changes[n:]
		}
	}
	return nil
}

// settle sends changes until each is in force, or another process shows.
func (j *journal) settle(ctx context.Context, changes []*journalChange) error {
	writes := make([]db.Write, 0, len(changes))
	for range journalRounds {
		writes = writes[:0]
		for _, c := range changes {
			writes = append(writes, j.next(c))
		}
		results, err := j.store.Write(ctx, writes...)
		if err != nil {
			return fmt.Errorf("queue: journal: %w", err)
		}
		if len(results) != len(writes) {
			return fmt.Errorf("queue: journal: the store returned %d results for %d writes", len(results), len(writes))
		}
		var again []*journalChange
		for i, c := range changes {
			current := &results[i].Current
			switch {
			case writes[i].Won(results[i]):
				c.done = true
			case j.mayGoOver(c, current):
				c.base = current.Version
				again = append(again, c)
			default:
				return fmt.Errorf("%w: resource %v was written by %v", ErrFenced, c.id, current.Owner)
			}
		}
		if len(again) == 0 {
			return nil
		}
		changes = again
	}
	return errUnsettled
}

// next returns the write that brings a change about. No version is ever given
// twice, not even to a resource that went and came back: so what is still on its
// way from before finds its target gone.
func (j *journal) next(c *journalChange) db.Write {
	w := db.Write{If: c.base, Record: db.Record{Space: j.space, ID: c.id.String()}}
	if c.value == nil {
		return w
	}
	j.last = max(j.last, c.base) + 1
	c.version = j.last
	w.Record.Version, w.Record.Owner, w.Record.Value = c.version, j.owner, c.value
	if c.retire {
		w.Record.Until = time.Now().Add(tombLife)
	}
	return w
}

// mayGoOver reports whether a change that lost may be sent again over what it
// lost to: what a former write of this run has left there, or, for an admission,
// the tombstone of whoever was there before.
func (j *journal) mayGoOver(c *journalChange, current *db.Record) bool {
	switch {
	case current.Version == 0:
		return c.unsure&sentDelete != 0
	case c.unsure&sentPut != 0 && current.Owner == j.owner:
		return true
	case c.known == 0 && !c.retire && isTombstone(current.Value):
		setStray(c.value)
		return true
	}
	return false
}

// finish tells the callers of a batch, and the one that leads next.
func (j *journal) finish(batch []*journalRequest, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range batch {
		done := true
		for i := range r.changes {
			done = done && r.changes[i].done
		}
		if !done || errors.Is(err, ErrClosed) {
			r.err = err
		}
		if r.err != nil || r.abandoned {
			j.markLocked(r)
		} else {
			for i := range r.changes {
				delete(j.unsure, r.changes[i].id)
			}
		}
		r.told <- struct{}{}
	}
	if len(j.waiting) > 0 {
		next := j.waiting[0]
		next.lead = true
		next.told <- struct{}{}
		return
	}
	j.leading = false
	if j.idle != nil {
		close(j.idle)
		j.idle = nil
	}
}

// drain waits until nobody writes. Nobody may begin any more.
func (j *journal) drain() {
	j.mu.Lock()
	if !j.leading {
		j.mu.Unlock()
		return
	}
	if j.idle == nil {
		j.idle = make(chan struct{})
	}
	idle := j.idle
	j.mu.Unlock()
	<-idle
}
