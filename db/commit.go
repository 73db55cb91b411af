package db

import (
	"context"
	"errors"
	"fmt"
)

// batchBytes bounds what writers that wait are put into one write of the log.
// A single call may exceed it, up to its own limits.
const batchBytes = 4 << 20

// request is one call of Write on its way through a batch. Everything that a
// batch reads of it was copied before it was queued: its writer may be gone
// by then, with its context, and reuse its values.
type request struct {
	writes  []requestWrite
	frames  []byte
	results []Result
	err     error
	done    chan struct{} // closed when results or err are there
}

type requestWrite struct {
	key          recordKey
	expect, next int64
	end          int // of its frame in frames; it begins where the last ends
}

type recordKey struct{ space, id string }

// change is what the batch being put together does to a record.
type change struct {
	version  int64
	from, to int // of the frame in the batch
}

func newRequest(writes []Write, s salt) *request {
	size := 0
	for i := range writes {
		r := &writes[i].Record
		size += frameHead + len(r.Space) + len(r.ID) + len(r.Value) + 40
	}
	q := &request{
		writes:  make([]requestWrite, len(writes)),
		frames:  make([]byte, 0, size),
		results: make([]Result, len(writes)),
		done:    make(chan struct{}),
	}
	for i := range writes {
		w := &writes[i]
		q.frames = appendFrame(q.frames, s, &w.Record)
		q.writes[i] = requestWrite{recordKey{w.Record.Space, w.Record.ID}, w.If, w.Record.Version, len(q.frames)}
	}
	if len(writes) == 0 {
		close(q.done)
	}
	return q
}

func (q *request) finish(err error) {
	q.err = err
	close(q.done)
}

func (q *request) finished() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}

// Write implements [DB]. What it answers with OK is on disk.
//
// A context that ends while the call waits for its turn gives an error and
// nothing was done; one that ends later gives an error and the outcome is
// unknown. After an I/O error, whose own outcome is unknown, every Write
// returns ErrFailed until the file is opened again.
func (f *File) Write(ctx context.Context, writes ...Write) ([]Result, error) {
	if err := CheckWrites(writes...); err != nil {
		return nil, fmt.Errorf("db: write: %w", err)
	}
	if ctx.Err() != nil {
		return nil, contextError(ctx, "write")
	}
	q := newRequest(writes, f.salt)
	if err := f.enqueue(q); err != nil {
		return nil, fmt.Errorf("db: write: %w", err)
	}
	// Whoever gets the token writes for all; the others get their results
	// from it. So no goroutine is needed, and none has to be woken twice.
	select {
	case f.token <- struct{}{}:
		f.lead(q)
		<-f.token
	case <-q.done:
	case <-ctx.Done():
		if f.withdraw(q) {
			return nil, fmt.Errorf("%w (nothing was done)", contextError(ctx, "write"))
		}
		return nil, fmt.Errorf("%w (the outcome is unknown)", contextError(ctx, "write"))
	}
	if q.err != nil {
		return nil, fmt.Errorf("db: write: %w", q.err)
	}
	return q.results, nil
}

func (f *File) enqueue(q *request) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing {
		return ErrClosed
	}
	if f.failed != nil {
		return fmt.Errorf("%w: %w", ErrFailed, f.failed)
	}
	if len(q.writes) > 0 {
		f.pending = append(f.pending, q)
	}
	return nil
}

// withdraw takes a request back that no batch has taken yet.
func (f *File) withdraw(q *request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, p := range f.pending {
		if p == q {
			f.pending = append(f.pending[:i:i], f.pending[i+1:]...)
			return true
		}
	}
	return false
}

// lead writes batches until q is done. The token is held. Requests are taken
// in order of arrival, so this ends with q's own batch at the latest.
func (f *File) lead(q *request) {
	for !q.finished() {
		f.commit(f.take())
	}
}

// take returns the requests of the next batch.
func (f *File) take() []*request {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, size := 0, 0
	for n < len(f.pending) && (n == 0 || size+len(f.pending[n].frames) <= batchBytes) {
		size += len(f.pending[n].frames)
		n++
	}
	batch := f.pending[:n:n]
	f.pending = f.pending[n:]
	return batch
}

// commit decides a batch, writes what won, and only then makes it visible and
// answers. The token is held.
func (f *File) commit(batch []*request) {
	if f.failed != nil {
		for _, q := range batch {
			q.finish(fmt.Errorf("%w: %w", ErrFailed, f.failed))
		}
		return
	}
	clear(f.changes)
	f.batch = f.batch[:0]
	errs := make([]error, len(batch))
	for i, q := range batch {
		errs[i] = f.decide(q)
	}
	if len(f.batch) > 0 {
		if err := f.append(); err != nil {
			for i := range errs {
				errs[i] = err
			}
		} else {
			f.publish()
		}
	}
	for i, q := range batch {
		q.finish(errs[i])
	}
	if cap(f.batch) > 2*batchBytes {
		f.batch = nil
	}
}

// decide compares each write of a request with the log and with the batch so
// far, and appends the frames of the winners to the batch. An error leaves the
// rest of the request out.
func (f *File) decide(q *request) error {
	from := 0
	for i := range q.writes {
		w := &q.writes[i]
		frame := q.frames[from:w.end]
		from = w.end
		won, current, err := f.compare(w)
		if err != nil {
			return fmt.Errorf("%w (the outcome of the whole call is unknown)", err)
		}
		q.results[i] = Result{OK: won, Current: current}
		if !won {
			continue
		}
		if len(f.batch) == 0 {
			setSynced(frame, f.salt)
		}
		at := len(f.batch)
		f.batch = append(f.batch, frame...)
		f.changes[w.key] = change{w.next, at, len(f.batch)}
	}
	return nil
}

// compare reports whether a write wins, or what it loses to.
func (f *File) compare(w *requestWrite) (won bool, current Record, err error) {
	if c, ok := f.changes[w.key]; ok {
		if c.version == w.expect || c.version == 0 {
			return c.version == w.expect, Record{}, nil
		}
		frame := append([]byte(nil), f.batch[c.from:c.to]...)
		current, err = f.decode(frame, f.end+int64(c.from))
		return false, current, err
	}
	if t := f.tables[w.key.space]; t != nil {
		if slot, ok := t.find(w.key.id); ok {
			if version, _ := t.at(slot); version == w.expect {
				return true, Record{}, nil
			}
			current, err = f.read(f.log, *t.places.at(slot))
			return false, current, err
		}
	}
	return w.expect == 0, Record{}, nil
}

// append puts the batch on disk. If that fails the log is cut back to what is
// acknowledged, as far as the disk still can, and takes nothing more: after a
// failed fsync nobody knows what the cache of the operating system is worth.
func (f *File) append() error {
	if f.end+int64(len(f.batch)) > maxFile {
		return fmt.Errorf("%w: the file would grow beyond %d bytes", ErrTooLarge, int64(maxFile))
	}
	_, err := f.log.WriteAt(f.batch, f.end)
	if err == nil {
		err = f.log.Sync()
	}
	if err == nil {
		return nil
	}
	if cut := f.log.Truncate(f.end); cut != nil {
		err = errors.Join(err, cut)
	}
	f.mu.Lock()
	f.failed = err
	f.mu.Unlock()
	return fmt.Errorf("%w (the outcome is unknown)", err)
}

// publish makes the batch, which is on disk, visible.
func (f *File) publish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, c := range f.changes {
		f.applyLocked(key.space, key.id, c.version, newLocation(f.end+int64(c.from), c.to-c.from))
	}
	f.end += int64(len(f.batch))
	if f.opt.renamesOpen && !f.compacting && !f.closing && f.dueLocked() {
		f.compacting = true
		f.compactions.Go(f.compactBeside)
	}
}

// applyLocked makes a frame that is on disk the newest of its record.
func (f *File) applyLocked(space, id string, version int64, at location) {
	t := f.tables[space]
	if t != nil {
		if slot, ok := t.find(id); ok {
			f.live -= int64(t.places.at(slot).size())
		}
	}
	if version == 0 {
		if t != nil {
			t.remove(id)
			if t.n == 0 {
				delete(f.tables, space) // as Memory does, for the same reason
			}
		}
		return
	}
	if t == nil {
		t = &fileTable{index: newIndex()}
		f.tables[space] = t
	}
	slot := t.put(id, version, nil)
	if slot == t.places.len() {
		t.places.push(at)
	} else {
		*t.places.at(slot) = at
	}
	f.live += int64(at.size())
	if f.compacting {
		f.moved = append(f.moved, move{t, slot, at})
	}
}
