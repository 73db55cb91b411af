package db

import (
	"context"
	"time"
)

// leaseContext is a context given out for work under a lease.
type leaseContext struct{ cancel context.CancelCauseFunc }

// leaseContexts are contexts to be cancelled, outside of locks.
type leaseContexts map[*leaseContext]struct{}

func (c leaseContexts) cancel(cause error) {
	for lc := range c {
		lc.cancel(cause)
	}
}

// Context returns a context for work under the lease. It ends when parent
// ends, when cancel is called, and when the lease may not be worked under any
// more: Skew before Until unless the lease is renewed first, when a renewal
// finds it taken, or on Release; [context.Cause] is then ErrLost or
// ErrReleased. Call cancel when the work is done. It has no deadline, since
// renewals move it. No goroutine waits.
func (l *Lease) Context(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	ctx, cancelCause := context.WithCancelCause(parent)
	lc := &leaseContext{cancelCause}
	now := time.Now()
	l.mu.Lock()
	ended := l.checkLocked(now)
	over := l.over
	if over == nil {
		l.contexts[lc] = struct{}{}
		if l.timer == nil {
			l.timer = time.AfterFunc(l.remaining(now), l.expire)
		}
	}
	l.mu.Unlock()
	ended.cancel(over)
	if over != nil {
		cancelCause(over)
	}
	return ctx, func() {
		l.mu.Lock()
		delete(l.contexts, lc)
		if len(l.contexts) == 0 {
			l.stopTimerLocked()
		}
		l.mu.Unlock()
		cancelCause(nil)
	}
}

// expire is what the timer calls. A renewal may have come first.
func (l *Lease) expire() {
	l.mu.Lock()
	now := time.Now()
	ended := l.checkLocked(now)
	err := l.over
	if err == nil && l.timer != nil {
		l.timer.Reset(l.remaining(now))
	}
	l.mu.Unlock()
	ended.cancel(err)
}

// checkLocked ends the lease if its time is up, and returns what to cancel.
func (l *Lease) checkLocked(now time.Time) leaseContexts {
	if l.over != nil || l.remaining(now) > 0 {
		return nil
	}
	return l.endLocked(ErrLost)
}

// endLocked ends the lease unless it has ended before, and returns what to
// cancel.
func (l *Lease) endLocked(why error) leaseContexts {
	if l.over != nil {
		return nil
	}
	l.over = why
	l.stopTimerLocked()
	ended := l.contexts
	l.contexts = nil
	return ended
}

func (l *Lease) stopTimerLocked() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// remaining is how long work may go on, by whichever of the two clocks went
// further: the monotonic one stands still while a machine sleeps, and the
// other one may be set. mu is held, or nobody else has the lease yet.
func (l *Lease) remaining(now time.Time) time.Duration {
	return l.spec.TTL - l.spec.Skew - elapsed(now.Sub(l.since), now.Round(0).Sub(l.since.Round(0)))
}

// elapsed errs to the side of too much.
func elapsed(monotonic, wall time.Duration) time.Duration { return max(monotonic, wall) }
