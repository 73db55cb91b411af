package scheduler

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// guarded is foreign code that is called for a bounded time, again and again,
// but never twice at once.
type guarded struct {
	busy bool // a call runs, possibly left behind; guarded by the manager
}

// bound says how long a call may take, and how it is named if it takes longer.
type bound struct {
	path    string // in reports
	timeout time.Duration
	cause   error // wrapped by the cause of the call's context at the timeout
}

// settleTime is what a call gets to return in once its context is over.
// Without it, one that obeys would race with being called deaf.
const settleTime = 100 * time.Millisecond

// bounded calls foreign code in a goroutine of its own, since what ignores its
// context can only be left behind: it is then named by reports until it
// returns, and not called again. ErrHandlerBusy if it runs already. Under no
// lock.
func (m *ServiceManager) bounded(base context.Context, g *guarded, b bound, f func(context.Context) error) outcome {
	m.mu.Lock()
	busy := g.busy
	g.busy = true
	m.unlock()
	if busy {
		return outcome{err: ErrHandlerBusy}
	}
	ctx, cancel := context.WithTimeoutCause(base, b.timeout, fmt.Errorf("%w of %v", b.cause, b.timeout))
	defer cancel()
	done := make(chan outcome, 1)
	go g.call(m, func() error {
		err := f(ctx)
		if err != nil && err == ctx.Err() {
			err = context.Cause(ctx) // which says more
		}
		return err
	}, done)
	select {
	case out := <-done:
		return out
	case <-ctx.Done():
	}
	settle := time.NewTimer(settleTime)
	defer settle.Stop()
	select {
	case out := <-done:
		return out
	case <-settle.C:
		m.leave(g, b)
		return outcome{err: context.Cause(ctx)}
	}
}

// call is the goroutine of a call.
//
//go:noinline
func (g *guarded) call(m *ServiceManager, f func() error, done chan<- outcome) { // stack.go looks for it by name
	call(f, func(out outcome) {
		m.mu.Lock()
		g.busy = false
		delete(m.leftBehind, g)
		m.unlock()
		done <- out
	})
	runtime.KeepAlive(g) // for the traceback
}

// leave notes a call that is deaf to its timeout, for reports.
func (m *ServiceManager) leave(g *guarded, b bound) {
	m.mu.Lock()
	defer m.unlock()
	if g.busy { // else: it has just returned
		m.leftBehind[g] = Unstopped{Path: b.path, State: Stopping, Since: time.Now().Add(-settleTime), frame: g.frame()}
	}
}
