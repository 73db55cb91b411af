package scheduler

import "time"

// As in transition.go, everything here runs under the manager's lock unless it
// says otherwise, and neither waits nor calls foreign code.

// rest ends the life of a worker. If only its surroundings made it stop, it
// goes back to wait for them.
func (m *ServiceManager) rest(w *worker, end End) {
	w.end = end
	if e := w.entry; end == EndedOnPurpose && e.want && !e.halted && !e.removed && m.serving() {
		m.set(w, Idle)
	} else {
		m.set(w, Stopped)
	}
}

// set changes the state of a worker: it voids the timer of the old state and
// tells whoever depends on the new one.
func (m *ServiceManager) set(w *worker, s State) {
	e := w.entry
	was, wasUp := w.state, e.up()
	w.state = s
	w.since = m.now()
	w.seq++
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	if e.pool != nil {
		e.pool.count[was]--
		e.pool.count[s]++
		if !w.seen && (s == Started || s == Stopped) {
			w.seen = true
			e.pool.seen++
		}
	}
	if was.live() && !s.live() {
		m.idle(e)
	} else if !was.live() && s.live() {
		m.occupied(e)
	}
	m.classify(e)
	m.notify(e)
	if up := e.up(); up && !wasUp {
		for _, d := range e.dependants() {
			if !d.down {
				m.settle(d)
			}
		}
	}
}

// occupied counts a worker whose run is live.
func (m *ServiceManager) occupied(e *entry) {
	m.busy++
	e.busy++
	if e.busy == 1 {
		for _, need := range e.needs() {
			need.links.busy++
		}
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
	for _, need := range e.needs() {
		need.links.busy--
		if need.links.busy == 0 && need.down {
			m.settle(need)
		}
	}
	if e.down && (e.links == nil || e.links.busy == 0) {
		m.rested(e)
	}
}

// arm sets the timer of the worker's present state.
func (m *ServiceManager) arm(w *worker, d time.Duration, then func(*worker)) {
	seq := w.seq
	w.next = m.now() + d
	w.timer = time.AfterFunc(d, func() {
		m.mu.Lock()
		defer m.unlock()
		if w.seq == seq { // else: of an older state
			then(w)
		}
	})
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
