package scheduler

import (
	"math"
	"slices"
	"time"
)

// deadline is an instant at which something is due for a worker. It is void
// unless the worker still waits for exactly that instant.
type deadline struct {
	at     time.Duration // as an offset of the manager's birth
	worker *worker
}

func (d deadline) void() bool { return !d.worker.armed || d.worker.next != d.at }

// deadlines are all that a manager waits for: delays, ticks, timeouts and
// backoffs, a heap with one timer before it. What is no longer waited for stays
// inside until it is due or the void outnumber the rest, so that to disarm
// costs nothing. Guarded by the manager. Rejected: a timer of the runtime for
// each, which costs ten times the memory and, for thousands that stop at the
// same time, as long as the stop itself.
type deadlines struct {
	heap  []deadline
	voids int
	timer *time.Timer
	rings time.Duration // when the timer fires; zero: it doesn't
}

// deadlineBatch bounds what is done in one hold of the lock.
const deadlineBatch = 64

// plus adds durations of which one may be as good as for ever.
func plus(a, b time.Duration) time.Duration {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// multiple multiplies a duration that may be as good as for ever.
func multiple(n int, d time.Duration) time.Duration {
	if d > math.MaxInt64/time.Duration(n) {
		return math.MaxInt64
	}
	return time.Duration(n) * d
}

// arm makes a worker wait until then in its present state, instead of what it
// waited for before; see fire for what follows.
func (m *ServiceManager) arm(w *worker, d time.Duration) {
	m.disarm(w)
	w.armed = true
	w.next = plus(m.now(), max(d, 0))
	q := &m.deadlines
	q.push(deadline{at: w.next, worker: w})
	m.wind()
}

// disarm makes a worker wait for nothing.
func (m *ServiceManager) disarm(w *worker) {
	if !w.armed {
		return
	}
	w.armed = false
	m.deadlines.voids++
	m.deadlines.tidy()
}

// wind sets the timer to the earliest deadline, if it would ring too late.
func (m *ServiceManager) wind() {
	q := &m.deadlines
	if len(q.heap) == 0 {
		return
	}
	at := q.heap[0].at
	if q.rings != 0 && q.rings <= at {
		return
	}
	q.rings = at
	wait := max(0, at-m.now())
	if q.timer == nil {
		q.timer = time.AfterFunc(wait, m.ring)
		return
	}
	q.timer.Reset(wait)
}

// ring is the timer's goroutine; under no lock.
func (m *ServiceManager) ring() {
	for m.ringBatch() {
	}
}

// ringBatch does what is due, and reports whether more is.
func (m *ServiceManager) ringBatch() bool {
	m.mu.Lock()
	defer m.unlock()
	q := &m.deadlines
	q.rings = 0
	more := m.fireDue()
	q.tidy()
	if !more {
		m.wind()
	}
	return more
}

// fireDue does what is due, and reports whether it stopped before the end of
// that.
func (m *ServiceManager) fireDue() bool {
	q := &m.deadlines
	for range deadlineBatch {
		if len(q.heap) == 0 {
			return false
		}
		if d := q.heap[0]; d.void() {
			q.pop()
			q.voids--
		} else if d.at > m.now() {
			return false
		} else {
			q.pop()
			d.worker.armed = false
			m.fire(d.worker)
		}
	}
	return true
}

// fire does what a worker's state has waited for.
func (m *ServiceManager) fire(w *worker) {
	switch w.state {
	case Idle, BackingOff:
		m.launch(w)
	case Waiting:
		m.tick(w)
	case Starting:
		m.startTimedOut(w)
	case Started:
		m.checkInDue(w)
	case Draining:
		m.drainTimedOut(w)
	case Stopping:
		m.abandon(w)
	case Stopped:
		m.bringBack(w)
	}
}

// tidy drops what is void once it is the most of it, and room that a crowd has
// left.
func (q *deadlines) tidy() {
	if q.voids == len(q.heap) || q.voids > deadlineBatch && q.voids > len(q.heap)/2 {
		q.purge()
	}
	if room := cap(q.heap); room > 4*deadlineBatch && room > 8*len(q.heap) {
		q.heap = slices.Clone(q.heap)
	}
}

// purge drops what is void. One that was armed again for an instant that it was
// armed for before is inside twice, of which one is as good as void.
func (q *deadlines) purge() {
	kept := q.heap[:0]
	for _, d := range q.heap {
		if !d.void() {
			kept = append(kept, d)
			d.worker.armed = false // so that its twin is void
		}
	}
	for _, d := range kept {
		d.worker.armed = true
	}
	clear(q.heap[len(kept):])
	q.heap, q.voids = kept, 0
	if len(kept) == 0 {
		q.heap = nil
		if q.timer != nil {
			q.timer.Stop()
			q.rings = 0
		}
		return
	}
	for i := len(kept)/2 - 1; i >= 0; i-- {
		q.down(i)
	}
}

func (q *deadlines) push(d deadline) {
	q.heap = append(q.heap, d)
	i := len(q.heap) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if q.heap[parent].at <= d.at {
			break
		}
		q.heap[i] = q.heap[parent]
		i = parent
	}
	q.heap[i] = d
}

func (q *deadlines) pop() {
	last := len(q.heap) - 1
	q.heap[0] = q.heap[last]
	q.heap[last] = deadline{}
	q.heap = q.heap[:last]
	if last > 0 {
		q.down(0)
	}
}

func (q *deadlines) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(q.heap) {
			return
		}
		if right := child + 1; right < len(q.heap) && q.heap[right].at < q.heap[child].at {
			child = right
		}
		if q.heap[i].at <= q.heap[child].at {
			return
		}
		q.heap[i], q.heap[child] = q.heap[child], q.heap[i]
		i = child
	}
}
