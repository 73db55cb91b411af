package queue

import (
	"context"
	"math"
	"time"
)

// Who waits for a name stands in line. Only the first has its timer set, for the
// instant at which the name must be looked at again; whoever changes what that
// instant is sets the timer anew or, when it has come, wakes the first. A woken
// receiver takes what it may and then does the same for the next one, so that
// one message wakes one receiver, and many wake each other one by one.

// receiver is a Receive that waits.
type receiver struct {
	woken  chan struct{} // has room for the one signal that is ever under way
	timer  *time.Timer
	at     int64 // what the timer is set for, while set
	set    bool
	called bool // woken was sent to, and it hasn't looked yet
}

const maxIdle = 64 // receivers kept for use again

// waitLocked gives the lock up until p must be looked at again, or something has
// ended. The caller looks, or else lets another one look by wakeLocked. Whoever
// waits again goes before the others, for only the first is ever woken.
func (s *memorySession) waitLocked(ctx context.Context, p *place, now int64, again bool) {
	m := s.m
	var r *receiver
	if last := len(m.idle) - 1; last >= 0 {
		r, m.idle = m.idle[last], m.idle[:last]
	} else {
		r = &receiver{woken: make(chan struct{}, 1), timer: time.NewTimer(math.MaxInt64)}
		r.timer.Stop()
	}
	turn := p.receivers.PushBack(r)
	if again {
		p.receivers.MoveToFront(turn)
	}
	m.wakeLocked(p, now)
	m.mu.Unlock()

	select {
	case <-r.woken:
	case <-r.timer.C:
	case <-ctx.Done():
	case <-s.over:
	}

	m.mu.Lock()
	if r.called {
		p.woken--
		select {
		case <-r.woken: // not what ended the wait
		default:
		}
	} else {
		p.receivers.Remove(turn)
	}
	r.timer.Stop()
	r.set, r.called = false, false
	if len(m.idle) < maxIdle && !m.closed {
		m.idle = append(m.idle, r)
	}
}

// wakeLocked wakes the first receiver that waits for p, or sets its timer. It is
// called after each change of p. It never blocks.
func (m *Memory) wakeLocked(p *place, now int64) {
	front := p.receivers.Front()
	if front == nil || p.woken > 0 || m.closed {
		return // nobody waits, or one is about to look, or all know already
	}
	r := front.Value.(*receiver)
	at, ok := m.nextLocked(p, now)
	switch {
	case !ok:
		r.timer.Stop()
		r.set = false
	case at <= now:
		p.receivers.Remove(front)
		p.woken++
		r.called = true
		r.woken <- struct{}{}
	case !r.set || r.at != at:
		r.timer.Reset(time.Duration(at - now))
		r.set, r.at = true, at
	}
}
