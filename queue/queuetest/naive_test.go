package queuetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// naive is the simplest correct queue: one mutex, one slice, and everybody who
// waits is woken whenever anything changes. A fault breaks it in one way.
type naive struct {
	fault fault
	room  int // messages; 0: no bound

	mu       sync.Mutex
	closed   bool
	changed  chan struct{} // closed and replaced at each change
	items    []*item
	names    []string
	arrivals uint64
	receipts uint64
	buffer   []queue.Delivery // of the fault sharedBatch
	disk     *disk
}

type item struct {
	m       queue.Message
	from    time.Time
	arrival uint64
	holder  *naiveSession
	receipt uint64
	again   bool
	alias   *queue.Message // of the fault aliasingIn
}

type naiveSession struct {
	q     *naive
	ended bool
	stop  func() bool
}

func newNaive(f fault, room int, d *disk) *naive {
	if d == nil {
		d = &disk{items: map[resource.ID]item{}}
	}
	q := &naive{fault: f, room: room, changed: make(chan struct{}), disk: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, it := range d.items {
		if f == forgettingClaims && !it.m.Resource.Owner.IsZero() {
			continue
		}
		it.again = !it.m.Resource.Owner.IsZero() && f != unmarkedClaims
		it.holder = nil
		q.items = append(q.items, &it)
		q.arrivals = max(q.arrivals, it.arrival)
		q.nameLocked(it.m.Queue)
	}
	return q
}

func (q *naive) changedLocked() {
	close(q.changed)
	q.changed = make(chan struct{})
}

func (q *naive) nameLocked(name string) {
	if !slices.Contains(q.names, name) {
		q.names = append(q.names, name)
	}
}

func (q *naive) Open(ctx context.Context) (queue.Session, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, queue.ErrClosed
	}
	s := &naiveSession{q: q}
	if q.fault != deafSession {
		s.stop = context.AfterFunc(ctx, func() { s.end() })
	}
	return s, nil
}

func (q *naive) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		q.changedLocked()
	}
	return nil
}

func (s *naiveSession) Close() error {
	if s.stop != nil {
		s.stop()
	}
	s.end()
	return nil
}

func (s *naiveSession) end() {
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	for _, it := range q.items {
		if it.holder != s {
			continue
		}
		if q.fault == losingSessions {
			continue
		}
		it.holder, it.again = nil, q.fault != unmarked
		if q.fault == redeliveringEarly {
			it.from = time.Now()
		}
	}
	if q.fault == droppingResponses {
		for _, it := range q.items {
			if it.again {
				it.m.Response = nil
			}
		}
	}
	if q.fault == lateRedelivery {
		changed := q.changed
		time.AfterFunc(time.Second, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			if q.changed == changed {
				q.changedLocked()
			}
		})
		return
	}
	q.changedLocked()
}

func (s *naiveSession) aliveLocked() error {
	switch {
	case s.q.closed:
		return queue.ErrClosed
	case s.ended && s.q.fault != immortalSession:
		return queue.ErrSession
	}
	return nil
}

func (s *naiveSession) Receive(ctx context.Context, name string, limit int) ([]queue.Delivery, error) {
	q := s.q
	if limit < 1 && q.fault != anyLimit {
		return nil, fmt.Errorf("naive: limit %d, want 1 or more", limit)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for {
		q.mu.Lock()
		if err := s.aliveLocked(); err != nil {
			q.mu.Unlock()
			return nil, err
		}
		got, wait := s.takeLocked(name, limit)
		changed := q.changed
		q.mu.Unlock()
		if len(got) > 0 {
			return got, nil
		}
		if err := q.wait(ctx, changed, wait); err != nil {
			return nil, err
		}
		if q.fault == nilNil {
			return nil, nil
		}
	}
}

// wait until something changes, a message is due, or ctx ends.
func (q *naive) wait(ctx context.Context, changed <-chan struct{}, d time.Duration) error {
	due := time.NewTimer(d)
	defer due.Stop()
	done := ctx.Done()
	if q.fault == deaf {
		done = nil
	}
	select {
	case <-changed:
	case <-due.C:
	case <-done:
		if q.fault == plainContextError {
			return ctx.Err()
		}
		return context.Cause(ctx)
	}
	return nil
}

// takeLocked hands out what is due, and says how long to wait for the next.
func (s *naiveSession) takeLocked(name string, limit int) (got []queue.Delivery, wait time.Duration) {
	q := s.q
	now := time.Now()
	wait = 1000 * time.Hour
	var due []*item
	for _, it := range q.items {
		held := it.holder != nil && q.fault != manyHolders
		if held || (it.m.Queue != name && q.fault != mixedNames) {
			continue
		}
		from := it.from
		switch q.fault {
		case early:
			from = from.Add(-50 * time.Millisecond)
		case truncatedDue:
			from = from.Truncate(time.Millisecond)
		case late:
			from = from.Add(2 * time.Second)
		case neverDue:
			if from.After(now) || !it.m.Due.IsZero() {
				continue
			}
		}
		if from.After(now) {
			wait = min(wait, from.Sub(now))
			continue
		}
		due = append(due, it)
	}
	slices.SortFunc(due, q.compare)
	if q.fault == moreThanMax {
		limit++
	}
	if limit < 1 {
		limit = 1
	}
	if len(due) > limit {
		due = due[:limit]
	}
	if q.fault == sharedBatch {
		got = q.buffer[:0]
	}
	for _, it := range due {
		got = append(got, s.deliverLocked(it))
	}
	q.buffer = got
	return got, wait
}

func (q *naive) compare(a, b *item) int {
	c := a.from.Compare(b.from)
	switch {
	case q.fault == unordered:
		return bytes.Compare(a.m.Resource.ID[:], b.m.Resource.ID[:])
	case c != 0 && q.fault != orderOfArrival:
		return c
	case q.fault == lastInFirstOut:
		return int(b.arrival) - int(a.arrival)
	}
	return int(a.arrival) - int(b.arrival)
}

func (s *naiveSession) deliverLocked(it *item) queue.Delivery {
	q := s.q
	q.receipts++
	it.holder, it.receipt = s, q.receipts
	if it.alias != nil {
		version := it.m.Resource.Version
		it.m = *it.alias
		it.m.Resource.Version = version
	}
	d := queue.Delivery{Message: it.m, Redelivered: it.again, Receipt: it.receipt}
	if q.fault == copiedResponse && d.Response != nil {
		d.Response = new(*d.Response)
	}
	return d
}

func (q *naive) findLocked(id resource.ID) *item {
	i := slices.IndexFunc(q.items, func(it *item) bool { return it.m.Resource.ID == id })
	if i < 0 {
		return nil
	}
	return q.items[i]
}

func (s *naiveSession) Commit(ctx context.Context, done []queue.Delivery, next ...queue.Message) error {
	q := s.q
	for {
		q.mu.Lock()
		changed := q.changed
		err := s.commitLocked(done, next)
		q.mu.Unlock()
		if !errors.Is(err, errRoom) {
			return err
		}
		if err := q.wait(ctx, changed, 1000*time.Hour); err != nil {
			return err
		}
	}
}

var errRoom = errors.New("naive: no room")

// plan is a Commit that was checked.
type plan struct {
	gone  []*item          // held by the session, and in done
	next  []*queue.Message // moves and admissions
	given map[resource.ID]bool
}

func (s *naiveSession) commitLocked(done []queue.Delivery, next []queue.Message) error {
	q := s.q
	if err := s.aliveLocked(); err != nil {
		return err
	}
	p, err := s.planLocked(done, next)
	if err != nil {
		if q.fault == partialCommit {
			q.applyLocked(plan{gone: p.gone})
		}
		return err
	}
	for i := range next {
		if q.fault == changingCallers {
			next[i].Resource.Version++
		}
	}
	q.applyLocked(p)
	return nil
}

func (s *naiveSession) planLocked(done []queue.Delivery, next []queue.Message) (p plan, err error) {
	q := s.q
	if err := q.refuse(next); err != nil {
		return p, err
	}
	lost := &queue.LostError{}
	passed := map[resource.ID]bool{}
	p.given = map[resource.ID]bool{}
	moves := map[resource.ID]bool{}
	for i := range next {
		moves[next[i].Resource.ID] = true
	}
	for _, d := range done {
		it := q.findLocked(d.Resource.ID)
		held := it != nil && it.holder == s && it.receipt == d.Receipt && it.m.Resource.Version == d.Resource.Version
		switch {
		case held, it != nil && q.fault == anyVersion, it != nil && it.holder == s && q.fault == oldReceipts,
			it != nil && it.holder != nil && it.m.Resource.Version == d.Resource.Version && q.fault == anySession:
			p.gone = append(p.gone, it)
			p.given[d.Resource.ID] = true
		case it != nil && it.m.Resource.Version > d.Resource.Version && moves[d.Resource.ID] && q.fault != strictRepeat:
			passed[d.Resource.ID] = true
		default:
			lost.IDs = append(lost.IDs, d.Resource.ID)
		}
	}
	if len(lost.IDs) > 0 && q.fault == ignoringLost {
		for _, id := range lost.IDs {
			passed[id] = true
		}
		lost.IDs = nil
	}
	if len(lost.IDs) > 0 {
		if q.fault == wrongLost {
			lost.IDs = lost.IDs[:1]
		}
		return p, lost
	}
	exists := &queue.ExistsError{}
	admitted := 0
	for i := range next {
		m := &next[i]
		id := m.Resource.ID
		switch {
		case passed[id]:
			continue
		case p.given[id]:
		case q.findLocked(id) != nil && q.fault == clobbering:
			p.gone = append(p.gone, q.findLocked(id))
		case q.findLocked(id) != nil && q.fault != twoCopies:
			exists.IDs = append(exists.IDs, id)
		default:
			admitted++
		}
		p.next = append(p.next, m)
	}
	if len(exists.IDs) > 0 {
		return p, exists
	}
	return p, q.roomLocked(p, admitted)
}

// roomLocked keeps moves from waiting: only what is admitted counts.
func (q *naive) roomLocked(p plan, admitted int) error {
	if q.room == 0 {
		return nil
	}
	after := len(q.items) - len(p.gone) + len(p.next)
	if admitted > 0 && after > q.room && q.fault != boundless {
		return errRoom
	}
	if q.fault == blockingMoves && len(p.next) > 0 && len(q.items)+len(p.next) > q.room {
		return errRoom
	}
	return nil
}

func (q *naive) refuse(next []queue.Message) error {
	if q.fault == acceptingAll {
		return nil
	}
	seen := map[resource.ID]bool{}
	for i := range next {
		m := &next[i]
		if m.Queue == "" || len(m.Queue) > queue.MaxName {
			return fmt.Errorf("%w: name of %d bytes", queue.ErrRefused, len(m.Queue))
		}
		if _, err := m.Resource.MarshalBinary(); err != nil {
			return fmt.Errorf("%w: %w", queue.ErrRefused, err)
		}
		if seen[m.Resource.ID] {
			return fmt.Errorf("%w: resource %v twice", queue.ErrRefused, m.Resource.ID)
		}
		seen[m.Resource.ID] = true
	}
	return nil
}

func (q *naive) applyLocked(p plan) {
	moved := func(it *item) bool {
		return slices.ContainsFunc(p.next, func(m *queue.Message) bool { return m.Resource.ID == it.m.Resource.ID })
	}
	q.items = slices.DeleteFunc(q.items, func(it *item) bool {
		return slices.Contains(p.gone, it) && (moved(it) || q.fault != keepingRetired)
	})
	for _, it := range p.gone {
		q.disk.delete(q.fault, it.m.Resource.ID)
	}
	for _, m := range p.next {
		if q.fault == lossy && m.Resource.Polls%50 == 49 || q.fault == forgettingNext && p.given[m.Resource.ID] {
			continue
		}
		q.arriveLocked(m)
	}
	if q.fault != sleepyMoves {
		q.changedLocked()
	}
}

func (q *naive) arriveLocked(given *queue.Message) {
	q.arrivals++
	it := &item{m: *given, from: given.Due, arrival: q.arrivals}
	if it.from.IsZero() {
		it.from = time.Now()
	}
	if q.fault != constantVersion {
		it.m.Resource.Version++
	}
	switch q.fault {
	case aliasingIn:
		it.alias = given
	case droppingCause:
		it.m.Cause = ""
	case droppingField:
		it.m.Resource.Digest = 0
	case clippingTexts:
		it.m.Resource.URI = it.m.Resource.URI[:min(len(it.m.Resource.URI), 4096)]
	}
	q.items = append(q.items, it)
	q.nameLocked(it.m.Queue)
	q.disk.put(q.fault, *it)
}
