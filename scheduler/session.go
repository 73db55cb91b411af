package scheduler

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"
)

// session is one call of Serve.
type session struct {
	base         context.Context // of the runs: never ends with Serve's
	parent       *run            // the run that Serve is called in, or nil
	handling     context.Context // of the handlers
	stopHandling context.CancelCauseFunc
	release      context.CancelFunc // of base, at the end
	exit         chan struct{}      // closed when the session is to end though Serve's context has not
	exiting      bool               // exit is closed
	exitPath     string             // of the service that ended the session
	exitErr      error              // its failure; nil if it was none
	up           bool               // the start is over: nothing was left of it, save for what is dead
	over         chan struct{}      // closed when Serve is about to return
	result       error              // of Serve; set before over is closed
	wakeup       chan struct{}      // capacity 1: something came to rest
	chains       int                // goroutines of chains
	deaf         bool               // chains are not started or continued any more
	patrol       *patrol            // the cop's goroutine
}

func (s *session) wake() {
	if s == nil {
		return
	}
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// open begins a session and starts what is wanted.
func (m *ServiceManager) open(ctx context.Context) (*session, <-chan struct{}, error) {
	parent := runOf(ctx)
	if parent != nil && parent.detached {
		parent = nil
	}
	s := &session{
		base: context.WithoutCancel(ctx), parent: parent,
		exit: make(chan struct{}), over: make(chan struct{}), wakeup: make(chan struct{}, 1), release: func() {},
	}
	root, logger := m.name, m.own
	if parent != nil {
		outer := parent.worker.entry.manager
		base, outerRoot := outer.logging()
		// Of a known type, so that runs derived from it under the lock call no
		// Value method of a context between.
		s.base, s.release = context.WithCancel(Work(ctx))
		root = parent.worker.path(outerRoot)
		if logger == nil {
			logger = base
		}
	}
	s.handling, s.stopHandling = context.WithCancelCause(context.WithoutCancel(ctx))

	m.mu.Lock()
	defer m.unlock()
	if m.session != nil {
		s.release()
		s.stopHandling(ErrNotServing)
		return nil, nil, ErrServing
	}
	if m.root != root {
		m.rewatch()
	}
	m.session, m.root, m.logger = s, root, logger
	m.watchWall()
	logged := m.openLog()
	all := m.inOrder()
	m.restarts = nil
	for _, g := range m.groups {
		g.ends, g.failing, g.halted, g.busy = nil, nil, nil, 0
	}
	for _, e := range all {
		if e.want {
			e.halted = false
		}
		e.held = false
		m.revive(e)
	}
	m.launches.more = make([]*run, 0, len(all))
	for _, e := range all {
		m.refresh(e)
		m.classify(e) // also one that was down and stays so, and is halted no more
	}
	m.notifyAll()
	m.beginPatrol(s)
	return s, logged, nil
}

// encloses reports whether another scheduler is served in the run; under no lock.
func (r *run) encloses(other *ServiceManager) bool {
	m := r.worker.entry.manager
	m.mu.Lock()
	inner := r.inner
	m.unlock()
	if inner == nil || inner == other {
		return false
	}
	inner.mu.Lock()
	defer inner.unlock()
	return inner.session != nil && inner.session.parent == r
}

// encloses notes that a scheduler is served in a run of this one.
func (m *ServiceManager) encloses(r *run, inner *ServiceManager) {
	m.mu.Lock()
	defer m.unlock()
	r.own().inner = inner
	m.watchInside(r)
}

// holds notes that a scheduler is still inside a run, as it was inside of the one
// before, though its Serve had no time to begin.
func (m *ServiceManager) holds(r *run, inner *ServiceManager) {
	m.mu.Lock()
	defer m.unlock()
	if r.inner == nil && r.former == inner {
		r.own().inner = inner
	}
}

// close ends a session; see Serve.
func (m *ServiceManager) close(ctx context.Context, s *session, logged <-chan struct{}) error {
	m.mu.Lock()
	m.closing = true
	m.reserve(m.busy)
	m.notifyAll()
	for _, e := range m.inOrder() {
		m.refresh(e)
		m.retire(e)
		m.notify(e)
	}
	m.unlock()
	stop := after(ctx, m.hurryAll)
	m.drain(s)
	stop()
	stuck := m.endPatrol(s)

	m.mu.Lock()
	m.log.closed = true
	m.unlock()
	select {
	case m.log.wakeup <- struct{}{}:
	default:
	}
	timeout := time.NewTimer(m.limits.handlerTimeout)
	defer timeout.Stop()
	select {
	case <-logged:
	case <-timeout.C:
		stuck = true
	}

	m.mu.Lock()
	left := m.unstopped()
	if stuck {
		left = append(left, Unstopped{
			Path: m.root + " log", State: Stopping,
			Since: time.Now().Add(-m.limits.handlerTimeout), For: m.limits.handlerTimeout,
		})
	}
	m.unwatchInside()
	m.session, m.closing, m.gentle = nil, false, false
	if m.wall.timer != nil {
		m.wall.timer.Stop()
		m.wall.timer = nil
	}
	for r := range m.abandoned {
		r.fails(nil, r.failure) // what follows from it has followed: its end is no failure of the next session
	}
	for _, e := range m.directory.entries {
		m.notify(e)
	}
	m.unlock()
	s.release()
	var unstopped, failed error
	if len(left) > 0 {
		unstopped = &UnstoppedError{Services: withStacks(left)}
	}
	if s.exitErr != nil {
		failed = &wrapped{"scheduler: " + s.exitPath + " ended the scheduler", s.exitErr}
	}
	if failed == nil || unstopped == nil {
		return cmp.Or(failed, unstopped)
	}
	return errors.Join(failed, unstopped)
}

// reserve makes room for the stop of so many runs: to grow it step by step is
// most of the garbage of the end of a hundred thousand.
func (m *ServiceManager) reserve(runs int) {
	m.effects = slices.Grow(m.effects, runs)
	m.deadlines.heap = slices.Grow(m.deadlines.heap, runs)
}

// drain waits until every run has ended or was abandoned, which takes at most
// as long as the stop timeouts along the graph, and then for the handlers, at
// most as long as one failure takes the slowest chain.
func (m *ServiceManager) drain(s *session) {
	defer s.stopHandling(ErrNotServing)
	var grace <-chan time.Time
	for {
		m.mu.Lock()
		busy, chains, deaf := m.busy, s.chains, s.deaf
		done := busy == 0 && chains == 0 && m.effecting.Load() == 0
		if done {
			s.deaf = true // what still happens, as the end of an abandoned run, is told to nobody
		}
		m.unlock()
		if done {
			return
		}
		if busy == 0 && grace == nil && !deaf {
			timer := time.NewTimer(m.grace)
			defer timer.Stop()
			grace = timer.C
		}
		select {
		case <-s.wakeup:
		case <-grace:
			m.mu.Lock()
			s.deaf = true
			m.unlock()
			s.stopHandling(ErrNotServing)
			grace = nil
		}
	}
}

// logging returns the logger, or nil, and the lineage of the scheduler.
func (m *ServiceManager) logging() (*slog.Logger, string) {
	m.mu.Lock()
	defer m.unlock()
	return m.logger, m.root
}

// runBase returns what contexts of the present session's runs derive from.
func (m *ServiceManager) runBase() context.Context {
	m.mu.Lock()
	defer m.unlock()
	if m.session == nil { // only abandoned runs are left, whose work is over
		return context.Background()
	}
	return m.session.base
}
