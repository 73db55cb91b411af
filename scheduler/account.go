package scheduler

import "log/slog"

// As in transition.go, everything here runs under the manager's lock unless it
// says otherwise, and neither waits nor calls foreign code.

// rest ends the life of a worker. If only its surroundings made it stop, it
// goes back to wait for them.
func (m *ServiceManager) rest(w *worker, end End) {
	e := w.entry
	w.due = false // a schedule begins anew

	if end != EndedOnPurpose || w.generation > 0 { // else: it never ran
		w.setEnd(end)
	}
	if end == EndedOnPurpose && m.waits(w) {
		m.set(w, Idle)
		return
	}
	m.set(w, Stopped)
	if w.retired {
		m.shrink(e)
	} else if end == GaveUp && e.options.recover {
		m.arm(w, e.options.retryWindow)
	}
	switch {
	case !e.want:
		m.lastOneStopped(e)
	case w.retired || end != EndedOnPurpose || e.halted: // it may leave those that have ended
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
	if w.end != GaveUp || !m.waits(w) {
		return
	}
	m.note(slog.LevelInfo, "is brought back", w, nil, 0)
	m.unhaltGroup(e)
	w.streak, w.ends = 0, nil
	w.setEnd(NotEnded)
	m.set(w, Idle)
	if !e.down { // else it starts with what keeps it down
		m.settleWorker(w)
	}
}

// set changes the state of a worker: it voids the timer of the old state and
// tells whoever depends on the new one.
func (m *ServiceManager) set(w *worker, s State) {
	e := w.entry
	was := w.state
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
	if l := e.links; l != nil && l.stands && !e.stands() {
		m.restand(e) // before anybody is started who needs it
	}
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
	m.restand(e)
	if g := e.group(); g != nil && g.failing == e && was == BackingOff {
		m.regroup(g)
	}
}

// restand works out anew whether an entry stands, tells those that come after
// it, and lets those start that waited for it. It is told on only where it
// changes anything: paths through a graph may be as many as 2 to the power of
// its depth.
func (m *ServiceManager) restand(e *entry) {
	l := e.links
	if l == nil || l.stands == e.stands() {
		return
	}
	l.stands = !l.stands
	for _, d := range l.dependants { // all are told before one is started
		if l.stands {
			d.links.lacking--
		} else {
			d.links.lacking++
		}
	}
	for _, d := range l.dependants {
		if d.state() == Stopped { // if it has completed, it stands for e
			m.restand(d)
		} else if !d.down && d.links.lacking == 0 {
			m.settle(d)
		}
	}
}

// occupied counts a worker whose run is live.
func (m *ServiceManager) occupied(e *entry) {
	m.busy++
	e.busy++
	if e.busy > 1 {
		return
	}
	if e.held {
		e.group().busy++
	}
	if !e.followed() {
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
		e.group().busy--
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
	m.notify(e)
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
		if e.options.restart == Temporary && e.end() == Failed {
			c = spent
		}
	case e.off: // what it comes after was stopped on purpose: to wait for it would be for ever
		c = settled
	case e.busy == 0 && e.links != nil && e.links.barred > 0:
		c = barred
	}
	was := e.class
	m.counts[was]--
	e.class = c
	m.counts[c]++
	turned := c == barred && was != c
	if m.counts[pending] == 0 || c.over() || turned {
		m.notifyAll()
	}
	if turned {
		m.notify(e)
	}
	m.rebar(e)
}

// rebar works out anew whether an entry bars, and counts those anew that come
// after it.
func (m *ServiceManager) rebar(e *entry) {
	l := e.links
	if l == nil || l.bars == e.bars() {
		return
	}
	l.bars = !l.bars
	for _, d := range l.dependants {
		if l.bars {
			d.links.barred++
		} else {
			d.links.barred--
		}
		m.classify(d)
	}
}

// notifyAll wakes those who wait for several services to be started.
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
		e.own().changed = nil
	}
}
