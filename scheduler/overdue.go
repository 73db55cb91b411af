package scheduler

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

var (
	errExitLate  = errors.New("its run is over, but its Backoff function does not return")
	errCurveBusy = errors.New("scheduler: backoff: its call before has not returned")
)

// leaving is a run that is over and whose exit message waits for foreign code.
type leaving struct {
	run   *run
	exit  exit // what it will be, if the foreign code adds nothing
	since time.Duration
	told  bool // it was reported
}

// hungExit is a run that was ended for good though its goroutine hangs.
type hungExit struct {
	guarded
	run *run
}

// leaves notes that a run is over and is about to ask its Backoff function,
// which it must not if the answer is false: it has hung there before, and still
// does. Under no lock.
func (c *cop) leaves(r *run, x *exit, now time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hung[r.worker] != nil {
		return false
	}
	c.exits = append(c.exits, leaving{run: r, exit: *x, since: now})
	r.slot = int32(len(c.exits))
	if c.check == 0 {
		// Not before one can be overdue: a service that restarts all the time
		// wakes the cop once in a while.
		c.check = now + exitBound
		c.wake(c.check)
	}
	return true
}

// left notes that the foreign code of a run has returned. Under no lock.
func (c *cop) left(r *run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.strike(r)
}

// strike takes a run off the list, and reports whether it was there.
func (c *cop) strike(r *run) bool {
	if r.slot == 0 {
		return false
	}
	last := len(c.exits) - 1
	moved := c.exits[last]
	c.exits[r.slot-1] = moved
	moved.run.slot = r.slot
	c.exits[last] = leaving{}
	c.exits = c.exits[:last]
	r.slot = 0
	if last == 0 && cap(c.exits) > keptExits {
		c.exits = nil
	}
	return true
}

// overdue lists runs that should have left, and works out when to look again.
func (c *cop) overdue(now time.Duration) (all []leaving) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.check == 0 || c.check > now {
		return nil
	}
	c.check = 0
	for _, l := range c.exits {
		if l.told {
			continue
		}
		due := l.since + exitBound
		if due <= now {
			all = append(all, l)
			due = now + exitBound
		}
		if c.check == 0 || due < c.check {
			c.check = due
		}
	}
	return all
}

// told notes that a run was reported, and need not be again.
func (c *cop) told(r *run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.slot > 0 {
		c.exits[r.slot-1].told = true
	}
}

// takeOver takes the exit of a run out of its own hands. It is false if the run
// has just left by itself.
func (c *cop) takeOver(r *run) (*hungExit, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.strike(r) {
		return nil, false
	}
	h := &hungExit{run: r}
	if c.hung == nil {
		c.hung = make(map[*worker]*hungExit)
	}
	c.hung[r.worker] = h
	return h, true
}

// watchExits finds the runs that are over though their state does not say so.
// One that is asked to stop, or is starting with a timeout, is left to that.
func (p *patrol) watchExits() (more bool) {
	m := p.manager
	for _, l := range m.cop.overdue(m.now()) {
		if p.report(l) {
			p.release(l)
		}
	}
	return false
}

// report reports a zombie and, unless it is to be recovered, leaves it at that.
func (p *patrol) report(l leaving) (recovers bool) {
	m, r := p.manager, l.run
	if !p.lock() {
		return false
	}
	defer m.unlock()
	w := r.worker
	e := w.entry
	if r.ended || w.run != r || e.down || w.retired || w.state != Started && (w.state != Starting || w.armed) {
		return false
	}
	m.cop.told(r)
	if e.keep == nil {
		e.own().keep = &keep{}
	}
	failure := fmt.Errorf("%w: %w for %v", ErrStalled, errExitLate, rounded(m.now()-l.since))
	m.record(w, &mishap{kind: Stalled, err: failure})
	m.armHook(e)
	m.callHook(w, Stalled, failure)
	if e.options.recover {
		return true
	}
	r.late = true
	e.keep.late++
	m.conditionChanged(e)
	return false
}

// release ends a run on its behalf, with the default curve. Its goroutine
// can't be ended, and is named by reports until it does. Under no lock.
func (p *patrol) release(l leaving) {
	m, r := p.manager, l.run
	hung, ok := m.cop.takeOver(r)
	if !ok {
		return
	}
	m.mu.Lock()
	if !r.ended {
		m.leftBehind[&hung.guarded] = Unstopped{
			Path: r.worker.path(m.root) + " backoff", State: Stopping, Generation: r.generation,
			Since: m.birth.Add(l.since), frame: r.frame(),
		}
	}
	m.unlock()
	r.cancel(ErrRunOver)
	r.endWork(overByEnd)
	m.exited(r, &l.exit)
}

// cameBack follows when a run that was ended on its behalf ends by itself, or
// the other way round. The caller holds the lock.
func (m *ServiceManager) cameBack(r *run) {
	c := &m.cop
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.hung[r.worker]; h != nil && h.run == r {
		delete(c.hung, r.worker)
		delete(m.leftBehind, &h.guarded)
	}
}

// watchManager looks at the manager itself, and says what it can in the log.
// What it finds is in Health too, which does not depend on the cop.
func (p *patrol) watchManager() (more bool) {
	m := p.manager
	now := m.now()
	if now < p.audit {
		return false
	}
	p.audit = now + auditEvery
	if !p.lock() {
		return false
	}
	defer m.unlock()
	if w := m.losses.worker; w != nil && m.losses.failures.n > p.told {
		m.note(slog.LevelWarn, "failures were dropped, the handlers are too slow", w, nil, 0)
	}
	p.told, m.losses.worker = m.losses.failures.n, nil
	late := m.lateness(m.now())
	if late > lockBound && !p.late {
		p.shout(slog.LevelError, "the manager is late", "late", late)
	}
	p.late = late > lockBound
	return false
}
