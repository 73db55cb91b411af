package pebble

import (
	"context"
	"errors"
	"fmt"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cannedos/cannedos/db"
)

// batchBytes bounds what writers that wait are put into one commit. A single
// call may exceed it, up to its own limits.
const batchBytes = 4 << 20

// request is one call of Write on its way through a commit. Everything that a
// commit reads of it was copied before it was queued: its writer may be gone
// by then, with its context, and reuse its values.
type request struct {
	writes  []requestWrite
	size    int
	results []db.Result
	err     error
	done    chan struct{} // closed when results or err are there
}

type requestWrite struct {
	key          []byte
	value        []byte // as appendValue writes it; none for a delete
	expect, next int64
}

// change is what the commit being put together does to a record.
type change struct {
	version int64
	value   []byte
}

func newRequest(writes []db.Write) *request {
	q := &request{
		writes:  make([]requestWrite, len(writes)),
		results: make([]db.Result, len(writes)),
		done:    make(chan struct{}),
	}
	const fixed = 1 + 10 + 1 + 8 + 16 // what the encoding adds at most
	for i := range writes {
		r := &writes[i].Record
		q.size += fixed + len(r.Space) + len(r.ID) + len(r.Value)
	}
	buf := make([]byte, 0, q.size)
	for i := range writes {
		w := &writes[i]
		q.writes[i].expect, q.writes[i].next = w.If, w.Record.Version
		from := len(buf)
		buf = appendKey(buf, w.Record.Space, w.Record.ID)
		q.writes[i].key = buf[from:len(buf):len(buf)]
		if w.Record.Version != 0 {
			from = len(buf)
			buf = appendValue(buf, &w.Record)
			q.writes[i].value = buf[from:len(buf):len(buf)]
		}
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

// Write implements [db.DB]. What it answers with OK is on disk.
//
// A context that ends while the call waits for its turn gives an error and
// nothing was done; one that ends later gives an error and the outcome is
// unknown. After an I/O error, whose own outcome is unknown, every Write
// returns [db.ErrFailed] until the directory is opened again.
func (s *Store) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if err := db.CheckWrites(writes...); err != nil {
		return nil, fmt.Errorf("pebble: write: %w", err)
	}
	if ctx.Err() != nil {
		return nil, contextError(ctx, "write")
	}
	q := newRequest(writes)
	if err := s.enqueue(q); err != nil {
		return nil, fmt.Errorf("pebble: write: %w", err)
	}
	// Whoever gets the token commits for all; the others get their results
	// from it. So no goroutine is needed, and none has to be woken twice.
	select {
	case s.token <- struct{}{}:
		s.lead(ctx, q)
		<-s.token
	case <-q.done:
	case <-ctx.Done():
	}
	if !q.finished() {
		if s.withdraw(q) {
			return nil, fmt.Errorf("%w (nothing was done)", contextError(ctx, "write"))
		}
		return nil, fmt.Errorf("%w (the outcome is unknown)", contextError(ctx, "write"))
	}
	if q.err != nil {
		return nil, fmt.Errorf("pebble: write: %w", q.err)
	}
	return q.results, nil
}

// errFailed is the error of a Write after the store has failed.
func errFailed(cause error) error { return fmt.Errorf("%w: %w", db.ErrFailed, cause) }

func (s *Store) enqueue(q *request) error {
	failure := s.fence.failure()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return db.ErrClosed
	}
	if failure != nil {
		return errFailed(failure)
	}
	if len(q.writes) > 0 {
		s.pending = append(s.pending, q)
	}
	return nil
}

// withdraw takes a request back that no commit has taken yet.
func (s *Store) withdraw(q *request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.pending {
		if p == q {
			s.pending = append(s.pending[:i:i], s.pending[i+1:]...)
			return true
		}
	}
	return false
}

// lead commits until q is done, or ctx ends while the engine lags behind. The
// token is held. Requests are taken in order of arrival, so this ends with q's
// own commit at the latest.
func (s *Store) lead(ctx context.Context, q *request) {
	for !q.finished() {
		if !s.throttle(ctx) {
			return
		}
		s.commit(s.take())
	}
}

// How far tables may lag behind before writers wait.
const (
	maxMemTables = 4  // times MemTableBytes, not written to tables
	maxSublevels = 20 // of tables that a read may have to look into and that wait to be merged
)

// throttle waits while the engine is too far behind, and reports whether it is
// not, or has failed. It is looked at each half of a memtable.
func (s *Store) throttle(ctx context.Context) bool {
	if s.committed-s.checked < s.config.MemTableBytes/2 {
		return true
	}
	for {
		m := s.engine.Metrics()
		if m.MemTable.Size <= uint64(maxMemTables*s.config.MemTableBytes) && m.Levels[0].Sublevels <= maxSublevels {
			s.checked = s.committed
			return true
		}
		select {
		case <-s.progress:
		case <-s.fence.tripped:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// take returns the requests of the next commit.
func (s *Store) take() []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, size := 0, 0
	for n < len(s.pending) && (n == 0 || size+s.pending[n].size <= batchBytes) {
		size += s.pending[n].size
		n++
	}
	batch := s.pending[:n:n]
	s.pending = s.pending[n:]
	return batch
}

// commit decides a batch, puts what won on disk, and only then makes it
// visible and answers. The token is held.
func (s *Store) commit(batch []*request) {
	failure := s.fence.failure()
	if failure != nil {
		for _, q := range batch {
			q.finish(errFailed(failure))
		}
		return
	}
	clear(s.changes)
	errs := make([]error, len(batch))
	won := s.engine.NewBatch()
	for i, q := range batch {
		if errs[i] = s.decide(won, q); errs[i] != nil {
			errs[i] = fmt.Errorf("%w (the outcome of the whole call is unknown)", errs[i])
		}
	}
	if !won.Empty() {
		if err := s.apply(won); err != nil {
			for i := range errs {
				errs[i] = fmt.Errorf("%w (the outcome is unknown)", err)
			}
		}
	}
	for i, q := range batch {
		q.finish(errs[i])
	}
}

// decide compares each write of a request with the present view and with the
// batch so far, and adds the winners to the batch. An error leaves the rest of
// the request out.
func (s *Store) decide(won *engine.Batch, q *request) error {
	for i := range q.writes {
		w := &q.writes[i]
		ok, current, err := s.compare(w)
		if err != nil {
			return err
		}
		q.results[i] = db.Result{OK: ok, Current: current}
		if !ok {
			continue
		}
		if w.next == 0 {
			err = won.Delete(w.key, nil)
		} else {
			err = won.Set(w.key, w.value, nil)
		}
		if err != nil {
			return err
		}
		s.changes[string(w.key)] = change{w.next, w.value}
	}
	return nil
}

// compare reports whether a write wins, or what it loses to.
func (s *Store) compare(w *requestWrite) (won bool, current db.Record, err error) {
	if c, ok := s.changes[string(w.key)]; ok {
		if c.version != w.expect && c.version != 0 {
			current, err = decodeRecord(w.key, c.value)
		}
		return c.version == w.expect, current, err
	}
	var stored int64
	err = s.lookUp(s.current, w.key, func(value []byte) (err error) {
		if stored, _, err = decodeVersion(value); err == nil && stored != w.expect {
			current, err = decodeRecord(w.key, value)
		}
		return err
	})
	return err == nil && stored == w.expect, current, err
}

// apply puts a batch on disk and publishes it.
func (s *Store) apply(won *engine.Batch) error {
	s.committed += int64(won.Len())
	var snapshot *engine.Snapshot
	err := s.guard(func() error {
		if err := errors.Join(won.Commit(engine.Sync), won.Close()); err != nil {
			return err
		}
		snapshot = s.engine.NewSnapshot()
		return nil
	})
	if err != nil {
		s.fence.trip(err, harmless("%v", []any{err}))
	}
	// What the fence has kept from the engine counts.
	if failure := s.fence.failure(); failure != nil {
		if snapshot != nil {
			_ = snapshot.Close() // never fails
		}
		return failure
	}
	s.publish(snapshot)
	return nil
}
