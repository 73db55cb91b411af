package scheduler

import "log/slog"

// As in transition.go, everything here runs under the manager's lock unless it
// says otherwise, and neither waits nor calls foreign code.

// rest ends the life of a worker. If only its surroundings made it stop, it
// goes back to wait for them.
func (m *ServiceManager) rest(w *worker, end End) {
	e := w.entry
	if end != EndedOnPurpose || w.generation > 0 { // else: it never ran
		w.setEnd(end)
	}
	if end == EndedOnPurpose && m.waits(w) {
		m.set(w, Idle)
		return
	}
	m.set(w, Stopped)
	if w.retired {
		e.shrink()
		return
	}
	if end == GaveUp && e.options.recover {
		m.arm(w, e.options.retryWindow)
	}
	if end != EndedOnPurpose || e.halted {
		m.endedForGood(w)
	}
}

// waits reports whether a worker that only its surroundings keep from running
// starts again with them.
func (m *ServiceManager) waits(w *worker) bool {
	e := w.entry
	return e.want && !e.halted && !e.removed && !w.retired && m.serving()
}

// bringBack gives a service that gave up a fresh go.
func (m *ServiceManager) bringBack(w *worker) {
	e := w.entry
	if e.down || w.end != GaveUp {
		return
	}
	m.note(slog.LevelInfo, "is brought back", w, nil, 0)
	m.unhaltGroup(e)
	w.streak, w.ends = 0, nil
	w.setEnd(NotEnded)
	m.set(w, Idle)
	m.settle(e)
}

// set changes the state of a worker: it voids the timer of the old state and
// tells whoever depends on the new one.
func (m *ServiceManager) set(w *worker, s State) {
	e := w.entry
	was, wasUp := w.state, e.up()
	w.state = s
	now := m.now()
	if was == Started {
		e.uptime += now - w.since
	}
	w.since = now
	m.disarm(w)
	if e.pool != nil {
		e.pool.count[was]--
		e.pool.count[s]++
		if !w.seen && !w.retired && (s == Started || s == Stopped || s == Waiting) {
			w.seen = true
			e.pool.seen++
		}
	}
	m.tellChanged(w, was) // before the changes that this one leads to
	if was.live() && !s.live() {
		m.idle(e)
	} else if !was.live() && s.live() {
		m.occupied(e)
	}
	if e.keep != nil && e.keep.beat != nil {
		e.keep.beat.moved(now)
	}
	m.classify(e)
	m.notify(e)
	if e.up() && !wasUp {
		m.cameUp(e)
	}
	if g := e.group(); g != nil && g.failing == e && (was == BackingOff || was == Idle) {
		m.regroup(g)
	}
}

// cameUp lets those start that waited for an entry.
func (m *ServiceManager) cameUp(e *entry) {
	for _, d := range e.dependants() {
		if d.down {
			continue
		}
		m.settle(d)
		if d.state() == Stopped && d.up() { // stands for e
			m.cameUp(d)
		}
	}
}

// occupied counts a worker whose run is live.
func (m *ServiceManager) occupied(e *entry) {
	m.busy++
	e.busy++
	if e.busy == 1 && !e.followed() {
		e.engaged()
	}
}

// idle counts a worker whose run is over or abandoned, and lets those stop
// that waited for it.
func (m *ServiceManager) idle(e *entry) {
	m.busy--
	if m.busy == 0 {
		m.session.wake()
	}
	e.busy--
	if e.busy > 0 {
		return
	}
	if e.held {
		defer m.regroup(e.group())
	}
	if e.followed() {
		return
	}
	m.released(e)
	if e.down {
		m.rested(e)
	}
}

// followed reports whether something that comes after the entry, directly or
// not, has a live run.
func (e *entry) followed() bool { return e.links != nil && e.links.busy > 0 }

// engaged tells those that the entry comes after that it, or what comes after
// it, has a live run again.
func (e *entry) engaged() {
	for _, need := range e.needs() {
		need.links.busy++
		if need.links.busy == 1 && need.busy == 0 {
			need.engaged()
		}
	}
}

// released tells those that the entry comes after that neither it nor what
// comes after it has a live run any more. Also one that is down itself, as a
// crash may leave it, keeps those in order that come before and after it.
func (m *ServiceManager) released(e *entry) {
	for _, need := range e.needs() {
		need.links.busy--
		if need.links.busy > 0 {
			continue
		}
		if need.busy == 0 {
			m.released(need)
		}
		if need.down {
			m.settle(need)
		}
	}
}

// desire notes whether a service shall run, for it and those that come after it.
func (m *ServiceManager) desire(e *entry, want bool) {
	e.want = want
	m.switchOff(e)
}

// switchOff works out anew whether a service is off.
func (m *ServiceManager) switchOff(e *entry) {
	off := !e.want || e.links != nil && e.links.off > 0
	if off == e.off {
		return
	}
	e.off = off
	for _, d := range e.dependants() {
		if off {
			d.links.off++
		} else {
			d.links.off--
		}
		m.switchOff(d)
	}
	m.classify(e)
}

// classify counts an entry anew for those who wait for all to be started.
func (m *ServiceManager) classify(e *entry) {
	if e.gone {
		return
	}
	c := pending
	switch {
	case !e.want || e.up():
		c = settled
	case e.halted:
		c = dead
	case e.state() == Stopped && e.end() != NotEnded && e.end() != EndedOnPurpose:
		c = dead
	case e.off: // what it comes after was stopped on purpose: to wait for it would be for ever
		c = settled
	}
	m.counts[e.class]--
	e.class = c
	m.counts[c]++
	if m.counts[pending] == 0 || c == dead {
		m.notifyAll()
	}
}

// notifyAll wakes those who wait for all to be started.
func (m *ServiceManager) notifyAll() {
	if m.allUp != nil {
		close(m.allUp)
		m.allUp = nil
	}
}

// notify wakes those who wait for a change of the entry.
func (m *ServiceManager) notify(e *entry) {
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}
