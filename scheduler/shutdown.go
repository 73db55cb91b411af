package scheduler

import (
	"context"
	"fmt"
)

// Shutdown ends Serve gently: dependants first, each service is drained if it
// is a [Drainer], within its DrainTimeout, and stopped within its StopTimeout; a
// Scheduler inside is shut down in the same way. One that has not said Ready has
// nothing to complete and is only stopped. When ctx or the context of Serve ends
// first, what still drains is stopped without.
//
// It returns what Serve returns, when Serve does; ErrNotServing if Serve does
// not run. A Serve that has not begun yet hears nothing of it: who calls Serve
// in a goroutine ends it by its context then. A service that shuts down the
// scheduler it runs in must not wait for itself: it gets nil at once.
func (m *ServiceManager) Shutdown(ctx context.Context) error {
	s := m.beginShutdown()
	if s == nil {
		return fmt.Errorf("scheduler: shut down: %w", ErrNotServing)
	}
	if m.servesRunOf(ctx) {
		return nil
	}
	defer after(ctx, m.hurryAll)()
	<-s.over
	return s.result
}

// beginShutdown makes Serve end gently, unless it ends already, and returns its
// session; nil if there is none. Under no lock.
func (m *ServiceManager) beginShutdown() *session {
	m.mu.Lock()
	defer m.unlock()
	s := m.session
	if s != nil && !m.closing && !s.exiting {
		m.gentle = true
		s.exiting = true
		close(s.exit)
	}
	return s
}

// servesRunOf reports whether ctx belongs to a run of this scheduler, however
// deep inside; under no lock.
func (m *ServiceManager) servesRunOf(ctx context.Context) bool {
	for r := runOf(ctx); r != nil; r = r.worker.entry.manager.outer() {
		if r.worker.entry.manager == m {
			return true
		}
	}
	return false
}

// drainIn shuts the scheduler down if it is served in that run, whose service
// calls Serve and is no Drainer. What Serve returns is that service's to judge.
func (m *ServiceManager) drainIn(ctx context.Context, r *run) error {
	m.mu.Lock()
	served := m.session != nil && m.session.parent == r
	m.unlock()
	if !served {
		return nil
	}
	_ = m.shutdownWithin(ctx)
	return ctx.Err()
}

// shutdownWithin is Shutdown as a [Drainer] does it: when ctx ends first it
// returns, since to wait for the hard stop is up to Serve's caller. Nil if Serve
// does not run.
func (m *ServiceManager) shutdownWithin(ctx context.Context) error {
	s := m.beginShutdown()
	if s == nil || m.servesRunOf(ctx) {
		return nil
	}
	select {
	case <-s.over:
		return s.result
	case <-ctx.Done():
		m.hurryAll()
		return ctx.Err()
	}
}
