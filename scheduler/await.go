package scheduler

import (
	"context"
	"fmt"
	"slices"
)

// watch returns a channel that is closed at the next change of the entry.
func (e *entry) watch() <-chan struct{} {
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	return e.changed
}

// await calls check under the lock at each change of the entry until it says
// done, and when ctx ends returns late's error, also made under
// the lock, from its cause.
func (m *ServiceManager) await(ctx context.Context, e *entry, check func() (done bool, err error), late func(cause error) error) error {
	for {
		m.mu.Lock()
		done, err := check()
		if done {
			m.unlock()
			return err
		}
		changed := e.watch()
		m.unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			cause := context.Cause(ctx) // which asks values of a foreign context
			m.mu.Lock()
			defer m.unlock()
			if done, err := check(); done {
				return err
			}
			return late(cause)
		}
	}
}

// awaitUp waits until a service is up and has begun at least that many runs.
func (m *ServiceManager) awaitUp(ctx context.Context, verb string, e *entry, starts uint64) error {
	check := func() (bool, error) {
		switch {
		case e.gone || e.removed:
			return true, fmt.Errorf("%w: %q was removed", ErrUnknown, e.alias)
		case !m.serving():
			return true, fmt.Errorf("scheduler: %s %q: %w", verb, e.alias, ErrNotServing)
		case !e.want:
			return true, fmt.Errorf("scheduler: %s %q: %w", verb, e.alias, ErrStopped)
		case e.deaf() > 0 && !e.bounce:
			return true, &UnstoppedError{Services: m.unstopped(e)}
		case e.starts < starts || e.down && !e.halted:
			return false, nil
		case e.up():
			return true, nil
		case e.class == dead:
			return true, &endError{verb: verb, alias: e.alias, end: e.end(), err: e.exceptions.latest()}
		}
		return false, nil
	}
	return explained(m.await(ctx, e, check, func(cause error) error {
		return &NotStartedError{
			Blocked: m.blocked(e),
			Cause:   cause,
		}
	}))
}

// awaitRest waits until nothing of a stopped service is live.
func (m *ServiceManager) awaitRest(ctx context.Context, verb string, e *entry) error {
	if m.waitsForItself(ctx, e) {
		return nil
	}
	m.mu.Lock()
	all := e.withDependants()
	m.unlock()
	for _, d := range slices.Backward(all) { // a dependant may run on after a crash of what it comes after
		err := m.await(ctx, d, func() (bool, error) {
			if e.want {
				return true, fmt.Errorf("scheduler: %s %q: started again meanwhile: %w", verb, e.alias, ErrRunning)
			}
			return d.busy == 0, nil
		}, func(cause error) error {
			if d != e {
				return &wrapped{fmt.Sprintf("scheduler: %s %q: %q after it: %v", verb, e.alias, d.alias, d.state()), cause}
			}
			return &wrapped{fmt.Sprintf("scheduler: %s %q: %v", verb, e.alias, e.state()), cause}
		})
		if err != nil {
			return err
		}
	}
	m.mu.Lock()
	left := m.unstopped(all...)
	m.unlock()
	if len(left) > 0 {
		return &UnstoppedError{Services: withStacks(left)}
	}
	return nil
}

// reaches reports whether e comes after the other, directly or not.
func (e *entry) reaches(other *entry) bool {
	return slices.Contains(e.withNeeds(), other)
}

// withNeeds lists e and all that it comes after, each once.
func (e *entry) withNeeds() []*entry { return closure(e, (*entry).needs) }

// withDependants lists e and all that come after it, each once.
func (e *entry) withDependants() []*entry { return closure(e, (*entry).dependants) }

// closure lists e and all that next leads to from it, each once.
func closure(e *entry, next func(*entry) []*entry) []*entry {
	all, seen := []*entry{e}, map[*entry]bool{e: true}
	for i := 0; i < len(all); i++ {
		for _, n := range next(all[i]) {
			if !seen[n] {
				seen[n] = true
				all = append(all, n)
			}
		}
	}
	return all
}

// waitsForItself reports whether ctx belongs to a run that has to end for the
// service to stop, so that waiting for it would be in vain.
func (m *ServiceManager) waitsForItself(ctx context.Context, e *entry) bool {
	for r := runOf(ctx); r != nil; r = r.worker.entry.manager.outer() {
		if own := r.worker.entry; !r.detached && own.manager == m {
			m.mu.Lock()
			defer m.unlock()
			return own == e || own.reaches(e)
		}
	}
	return false
}

// outer returns the run that this scheduler is served in, or nil.
func (m *ServiceManager) outer() *run {
	m.mu.Lock()
	defer m.unlock()
	if m.session == nil {
		return nil
	}
	return m.session.parent
}

// AwaitStarted waits until the services of those aliases, or all of them if
// none is named, are started or completed. Those stopped on purpose are not
// waited for; nor are, if none is named, those that come After one of them. It
// may be called before Serve.
//
// Errors: ErrUnknown; ErrNotServing when Serve is ending; *NotStartedError, which names
// what blocks and why, at once if a service ended for good by failure or its
// abandoned run has not ended, and when ctx ends first.
func (m *ServiceManager) AwaitStarted(ctx context.Context, aliases ...string) error {
	if len(aliases) == 0 {
		return m.awaitAll(ctx, false)
	}
	for _, alias := range aliases {
		m.mu.Lock()
		e, err := m.find("await", alias)
		m.unlock()
		if err != nil {
			return err
		}
		err = m.await(ctx, e, func() (bool, error) {
			switch {
			case e.gone:
				return true, fmt.Errorf("%w: %q was removed", ErrUnknown, alias)
			case m.closing:
				return true, fmt.Errorf("scheduler: await %q: %w", alias, ErrNotServing)
			case e.class == dead:
				return true, &NotStartedError{Blocked: m.blocked(e), Cause: ErrEnded}
			}
			return e.class == settled && !e.down || !e.want, nil
		}, func(cause error) error {
			return &NotStartedError{Blocked: m.blocked(e), Cause: cause}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// awaitAll is AwaitStarted for all. A patient one waits on for a service that
// ended for good, which may yet be started again.
func (m *ServiceManager) awaitAll(ctx context.Context, patient bool) error {
	for {
		m.mu.Lock()
		switch {
		case m.closing:
			m.unlock()
			return fmt.Errorf("scheduler: await all: %w", ErrNotServing)
		case m.counts[dead] > 0 && !patient:
			err := &NotStartedError{Blocked: m.blocked(), Cause: ErrEnded}
			m.unlock()
			return err
		case m.counts[pending]+m.counts[dead] == 0 && m.session != nil:
			m.unlock()
			return nil
		}
		if m.allUp == nil {
			m.allUp = make(chan struct{})
		}
		changed := m.allUp
		m.unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			cause := context.Cause(ctx)
			m.mu.Lock()
			defer m.unlock()
			return &NotStartedError{Blocked: m.blocked(), Cause: cause}
		}
	}
}

// AwaitStopped waits until nothing of the services of those aliases runs, or
// of all of them if none is named, abandoned runs included. It does not stop
// anything. A removed service counts as stopped.
//
// Errors: ErrUnknown; the cause of ctx when it ends first.
func (m *ServiceManager) AwaitStopped(ctx context.Context, aliases ...string) error {
	m.mu.Lock()
	var entries []*entry
	for _, alias := range aliases {
		e, err := m.find("await", alias)
		if err != nil {
			m.unlock()
			return err
		}
		entries = append(entries, e)
	}
	if len(aliases) == 0 {
		entries = m.inOrder()
	}
	m.unlock()
	for _, e := range entries {
		err := m.await(ctx, e, func() (bool, error) {
			return (e.gone || e.state() == Stopped || e.state() == Idle) && e.busy == 0 && m.abandonedOf(e) == 0, nil
		}, func(cause error) error {
			return &wrapped{fmt.Sprintf("scheduler: await end of %q: %v", e.alias, e.state()), cause}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
