package customqueue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// Queue is a queue.Queue in the memory of the process. Make it with [New]. Its
// methods may be called from any goroutine. It starts no goroutine.
type Queue struct {
	over chan struct{} // closed by Close

	mu     sync.Mutex // held for a few map and heap operations, never while anybody waits
	closed bool
	items  map[resource.ID]*item
	lines  map[string]*line
	last   uint64 // arrival or receipt: both only ever have to be new
}

// item is one message, and who has it in hand.
type item struct {
	m       queue.Message
	from    time.Time // earliest delivery: Due, or the arrival where there is none
	arrival uint64
	index   int // in the heap of its line, while nobody holds it

	holder      *session // nil while it waits
	receipt     uint64
	redelivered bool
}

// New returns an empty queue.
func New() *Queue {
	return &Queue{over: make(chan struct{}), items: map[resource.ID]*item{}, lines: map[string]*line{}}
}

// session is one run's access to the queue.
type session struct {
	q    *Queue
	stop func() bool   // forgets the context that the session was opened with
	over chan struct{} // closed by end

	// Guarded by q.mu.
	ended bool
	held  map[resource.ID]*item
}

// Open begins a session, which ends with ctx or by its Close.
func (q *Queue) Open(ctx context.Context) (queue.Session, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s := &session{q: q, over: make(chan struct{}), held: map[resource.ID]*item{}}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, queue.ErrClosed
	}
	s.stop = context.AfterFunc(ctx, s.end)
	return s, nil
}

// Close ends all sessions and lets go of everybody who waits.
func (q *Queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.over)
		q.items, q.lines = nil, nil
	}
	return nil
}

// Close ends the session.
func (s *session) Close() error {
	s.stop()
	s.end()
	return nil
}

// end gives back what the session holds, each message to its old place.
func (s *session) end() {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	close(s.over)
	if s.q.closed {
		return
	}
	for _, it := range s.held {
		it.holder, it.redelivered = nil, true
		s.q.lineLocked(it.m.Queue).add(it)
	}
	s.held = nil
}

// aliveLocked says whose end it was, the queue's or the session's.
func (s *session) aliveLocked() error {
	switch {
	case s.q.closed:
		return queue.ErrClosed
	case s.ended:
		return queue.ErrSession
	}
	return nil
}

// Receive waits until something of the named queue is due.
func (s *session) Receive(ctx context.Context, name string, limit int) ([]queue.Delivery, error) {
	if limit < 1 {
		return nil, fmt.Errorf("customqueue: receive from %q: limit %d: want 1 or more", name, limit)
	}
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		got, next, changed, err := s.deliver(name, limit)
		if err != nil || len(got) > 0 {
			return got, err
		}
		s.wait(ctx, next, changed)
	}
}

// deliver takes what is due. Where nothing is, it says when the next message
// will be (zero: none waits) and what is closed when one arrives.
func (s *session) deliver(name string, limit int) (got []queue.Delivery, next time.Time, changed <-chan struct{}, err error) {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	if err := s.aliveLocked(); err != nil {
		return nil, time.Time{}, nil, err
	}
	l := s.q.lineLocked(name)
	now := time.Now()
	for len(got) < limit && l.Len() > 0 {
		if it := l.items[0]; now.Before(it.from) {
			next = it.from
			break
		}
		got = append(got, s.holdLocked(l.take(0)))
	}
	return got, next, l.changed, nil
}

// holdLocked puts an item that waits no more into the hands of s.
func (s *session) holdLocked(it *item) queue.Delivery {
	s.q.last++
	it.holder, it.receipt = s, s.q.last
	s.held[it.m.Resource.ID] = it
	return queue.Delivery{Message: it.m, Redelivered: it.redelivered, Receipt: it.receipt}
}

// wait returns when it is worth looking again.
func (s *session) wait(ctx context.Context, next time.Time, changed <-chan struct{}) {
	var due <-chan time.Time
	if !next.IsZero() {
		timer := time.NewTimer(time.Until(next))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-due:
	case <-changed:
	case <-ctx.Done():
	case <-s.over:
	case <-s.q.over:
	}
}
