package scheduler

import (
	"fmt"
)

// Resize changes the number of a pool's workers while it runs. New ones start
// as those of the pool did; those that go are drained if they are [Drainer]s,
// then stopped, and it is the last ones that go. Resize does not wait for
// that: [ServiceManager.Status] shows the workers, and what is ready of them.
// A pool that is started stays so while it grows, so that new workers hold up
// nobody who comes After it. One that is deaf to its stop is abandoned and named
// as any other; if the pool grows again before its run has ended, its place
// waits for that, as does that of one which still drains.
//
// Errors: ErrUnknown; a *SpecError for a service that is no pool and for a size
// that is not between 1 and MaxPool.
func (m *ServiceManager) Resize(alias string, size int) error {
	m.mu.Lock()
	defer m.unlock()
	e, err := m.find("resize", alias)
	switch {
	case err != nil:
		return err
	case e.removed:
		return fmt.Errorf("%w: %q is being removed", ErrUnknown, alias)
	case e.pool == nil:
		return &SpecError{Alias: alias, Field: "Pool", Reason: "is zero, which makes it no pool and not to be resized"}
	case size < 1 || size > MaxPool:
		return &SpecError{Alias: alias, Field: "Pool", Reason: fmt.Sprintf("%d is not between 1 and %d", size, MaxPool)}
	case e.options.timetable != nil && e.options.overlap != Allow && size > 1:
		return &SpecError{Alias: alias, Field: "Pool", Reason: fmt.Sprintf("%d workers under a Schedule need Overlap Allow; at most 1", size)}
	case e.options.timetable != nil && e.options.overlap == Allow && size < 2:
		return &SpecError{Alias: alias, Field: "Pool", Reason: fmt.Sprintf("%d leaves nothing to overlap; at least 2", size)}
	}
	m.resize(e, size)
	m.classify(e)
	m.notify(e)
	m.restand(e)
	return nil
}

// resize runs under the manager's lock, as in transition.go.
func (m *ServiceManager) resize(e *entry, size int) {
	p, was := e.pool, e.state()
	for i := 0; i < len(p.workers) && p.size < size; i++ { // those that were to go and are still here
		if w := p.workers[i]; w.retired {
			w.retire(false)
			if w.state == Stopped && !w.deaf() {
				w.setEnd(NotEnded)
				m.set(w, Idle)
			}
		}
	}
	if p.size < size {
		before := len(p.workers)
		e.grow(size - p.size)
		for _, w := range p.workers[before:] {
			m.tellWatchers(w, EventAdded)
		}
	}
	for _, w := range p.workers {
		if was == Started && !w.retired && !w.seen { // it is not waited for
			w.seen = true
			p.seen++
		}
	}
	for i := len(p.workers) - 1; i >= 0 && p.size > size; i-- {
		w := p.workers[i]
		if w.retired {
			continue
		}
		w.retire(true)
		e.forgetSeen(w)
	}
	for _, w := range append([]*worker(nil), p.workers...) {
		if !w.retired {
			continue
		}
		switch w.state {
		case Idle, BackingOff, Waiting:
			m.rest(w, EndedOnPurpose)
		case Starting, Started:
			m.part(w, true)
		}
	}
	m.keepTick(e)
	m.shrink(e)
	switch {
	case m.session != nil:
		m.settle(e)
	case was == Stopped:
		m.retire(e)
	}
}

// shrink drops retired workers that nothing runs of, from the end, so that
// numbers in lineages stay what they are.
func (m *ServiceManager) shrink(e *entry) {
	e.dropRetired()
	m.classify(e)
	m.restand(e)
}

// dropRetired takes the workers out that were to go and rest, from the end.
func (e *entry) dropRetired() {
	p := e.pool
	for n := len(p.workers); n > 0; n = len(p.workers) {
		w := p.workers[n-1]
		if !w.retired || w.state != Stopped || w.deaf() {
			return
		}
		p.count[Stopped]--
		e.manager.tellWatchers(w, EventRemoved)
		p.workers[n-1] = nil
		p.workers = p.workers[:n-1]
	}
}
