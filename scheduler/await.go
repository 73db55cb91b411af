package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// watch returns a channel that is closed at the next change of the entry.
func (e *entry) watch() <-chan struct{} {
	if e.changed == nil {
		e.own().changed = make(chan struct{})
	}
	return e.changed
}

// watchAll returns a channel that is closed when nothing is left to be started,
// when a service has ended for good, won't start because of one that has, or is
// removed, and when Serve begins or ends.
func (m *ServiceManager) watchAll() <-chan struct{} {
	if m.allUp == nil {
		m.allUp = make(chan struct{})
	}
	return m.allUp
}

// await calls check under the lock at each change of the entry until it says
// done, and when ctx ends returns late's error, also made under the lock, from
// its cause.
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
		case e.class == barred:
			return true, m.barredError(e)
		case e.halted && e.class.over(): // by what ended meanwhile: it starts no more, asked or not
			return true, e.endError(verb)
		case e.starts() < starts || e.down:
			return false, nil
		case e.up():
			return true, nil
		case e.class.over():
			return true, e.endError(verb)
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
// none is named, are started or completed, at the same time. Those stopped on purpose are not
// waited for; nor are, if none is named, those that come After one of them. It
// may be called before Serve.
//
// Errors: ErrUnknown, also if one is removed meanwhile; ErrNotServing when Serve
// is ending; *NotStartedError, which names what blocks and why, at once if a
// service, or one that it comes After, ended for good by failure or its
// abandoned run has not ended, and when ctx ends first.
func (m *ServiceManager) AwaitStarted(ctx context.Context, aliases ...string) error {
	if len(aliases) == 0 {
		return m.awaitAll(ctx, forNone)
	}
	entries, err := m.findAll("await", aliases)
	if err != nil {
		return err
	}
	for {
		m.mu.Lock()
		waits, err := m.waitsOf(entries)
		if err != nil || len(waits) == 0 {
			m.unlock()
			return err
		}
		changed, others := waits[0].watch(), m.watchAll()
		m.unlock()
		select {
		case <-changed:
		case <-others: // it may be in vain for one whose turn it isn't
		case <-ctx.Done():
			cause := context.Cause(ctx) // which asks values of a foreign context
			m.mu.Lock()
			defer m.unlock()
			if waits, err = m.waitsOf(entries); err != nil || len(waits) == 0 {
				return err
			}
			return &NotStartedError{Blocked: m.blocked(waits...), Cause: cause}
		}
	}
}

// waitsOf lists those that AwaitStarted still waits for, or says why that would
// be in vain. The caller holds the lock.
func (m *ServiceManager) waitsOf(entries []*entry) (waits []*entry, err error) {
	for _, e := range entries {
		switch {
		case e.gone || e.removed:
			return nil, fmt.Errorf("%w: %q was removed", ErrUnknown, e.alias)
		case m.closing:
			return nil, fmt.Errorf("scheduler: await %q: %w", e.alias, ErrNotServing)
		case e.class == barred:
			return nil, m.barredError(e)
		case e.class.over():
			return nil, &NotStartedError{Blocked: m.blocked(e), Cause: ErrEnded}
		case e.want && !e.met():
			waits = append(waits, e)
		}
	}
	return waits, nil
}

// findAll looks aliases up, and returns each entry once, in the order of their
// addition; under no lock.
func (m *ServiceManager) findAll(verb string, aliases []string) ([]*entry, error) {
	m.mu.Lock()
	defer m.unlock()
	all := make([]*entry, 0, len(aliases))
	for _, alias := range aliases {
		e, err := m.find(verb, alias)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.serial, b.serial) })
	return slices.Compact(all), nil
}

// endError says that an entry has ended, and by which failure: of the member of
// its group that halted it, if one did. The caller holds the lock.
func (e *entry) endError(verb string) error {
	err := &endError{verb: verb, alias: e.alias, end: cmp.Or(e.end().String(), "halted"), err: e.exceptions.latest()}
	if by := e.haltedBy(); by != nil {
		err.end, err.err = e.haltedReason(by), by.exceptions.latest()
	}
	return err
}

// barredError says that an entry won't start, and names what is dead of what it
// comes after. The caller holds the lock.
func (m *ServiceManager) barredError(e *entry) error {
	all := slices.DeleteFunc(e.withNeeds(), func(o *entry) bool { return o != e && !o.dead() })
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.serial, b.serial) })
	return &NotStartedError{Blocked: m.blocked(all...), Cause: ErrEnded}
}

// patience is what follows for who waits for all when a service ended for good.
type patience uint8

const (
	forNone    patience = iota // it is an error
	forTheRest                 // it, and what comes after it, is not waited for
	forRepair                  // it may yet be started again, unless its Spec says that it is run once, whatever comes of it
)

// awaitAll is AwaitStarted for all.
func (m *ServiceManager) awaitAll(ctx context.Context, waits patience) error {
	for {
		m.mu.Lock()
		switch {
		case m.closing:
			m.unlock()
			return fmt.Errorf("scheduler: await all: %w", ErrNotServing)
		case m.counts[dead]+m.counts[spent] > 0 && waits == forNone:
			err := &NotStartedError{Blocked: m.blocked(), Cause: ErrEnded}
			m.unlock()
			return err
		case m.session == nil || m.counts[pending] > 0:
		case waits == forTheRest || m.counts[barred]+m.counts[dead] == 0:
			m.unlock()
			return nil
		}
		changed := m.watchAll()
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

// AwaitStopped waits until each of the services of those aliases, or all of them
// if none is named, is Stopped or Idle, and nothing of it runs, abandoned runs
// included. One that is BackingOff or Waiting will run by itself, and is waited
// for. It does not stop anything. A removed service counts as stopped.
//
// Errors: ErrUnknown; the cause of ctx when it ends first.
func (m *ServiceManager) AwaitStopped(ctx context.Context, aliases ...string) error {
	entries, err := m.findAll("await", aliases)
	if err != nil {
		return err
	}
	if len(aliases) == 0 {
		m.mu.Lock()
		entries = m.inOrder()
		m.unlock()
	}
	for {
		for _, e := range entries {
			err := m.await(ctx, e, func() (bool, error) { return e.stopped(), nil }, func(cause error) error {
				return &wrapped{fmt.Sprintf("scheduler: await end of %q: %v", e.alias, e.state()), cause}
			})
			if err != nil {
				return err
			}
		}
		m.mu.Lock()
		again := slices.ContainsFunc(entries, func(e *entry) bool { return !e.stopped() }) // was started meanwhile
		m.unlock()
		if !again {
			return nil
		}
	}
}

// stopped reports whether nothing of the entry runs, or will by itself. The
// caller holds the lock.
func (e *entry) stopped() bool {
	return (e.gone || e.state() == Stopped || e.state() == Idle) && e.busy == 0 && e.abandoned == 0
}
