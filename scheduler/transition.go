package scheduler

import (
	"errors"
	"fmt"
	"log/slog"
)

var errNilService = errors.New("scheduler: Factory returned nil")

// Everything in this file runs under the manager's lock unless it says
// otherwise, and neither waits nor calls foreign code.

// refresh works out anew whether a service must be down, tells those that come
// after it, and acts on it.
func (m *ServiceManager) refresh(e *entry) {
	down := !m.serving() || !e.want || e.bounce || e.halted || (e.links != nil && e.links.blockers > 0)
	if down == e.down {
		return
	}
	e.down = down
	for _, d := range e.dependants() {
		if down {
			d.links.blockers++
		} else {
			d.links.blockers--
		}
		m.refresh(d)
	}
	m.settle(e)
	m.classify(e)
}

// settle brings a service closer to where it shall be, as far as its
// neighbours in the graph allow; each of them calls it again when it moved.
func (m *ServiceManager) settle(e *entry) {
	if !e.down {
		if e.needsUp() {
			for w := range e.workers() {
				if w.state == Idle && w.timer == nil && !w.zombie() {
					m.begin(w)
				}
			}
		}
		return
	}
	for w := range e.workers() {
		if w.state == Idle || w.state == BackingOff {
			m.rest(w, EndedOnPurpose)
		}
	}
	if e.links != nil && e.links.busy > 0 {
		return // those that come after it stop first
	}
	for w := range e.workers() {
		if w.state == Starting || w.state == Started {
			m.askStop(w, nil)
		}
	}
	if e.busy == 0 {
		m.rested(e)
	}
}

// rested follows when a service that must be down has no live run.
func (m *ServiceManager) rested(e *entry) {
	if e.pool != nil {
		e.pool.seen = 0
	}
	for w := range e.workers() {
		w.seen = false
	}
	m.notify(e)
	m.forget(e)
	if e.bounce {
		e.bounce = false
		if m.serving() {
			m.revive(e)
		}
		m.refresh(e)
	}
}

// revive gives workers at rest a fresh go: what was is forgotten by backoff
// and retry limit. Those with an abandoned run that still runs are left out.
func (m *ServiceManager) revive(e *entry) {
	for w := range e.workers() {
		switch w.state {
		case Stopped, BackingOff, Idle:
			w.streak, w.ends = 0, nil
			if w.zombie() {
				continue
			}
			if w.state != Idle {
				w.end = NotEnded
				m.set(w, Idle)
			}
		}
	}
}

// begin starts a worker that is idle, after its delay.
func (m *ServiceManager) begin(w *worker) {
	if delay := w.entry.options.startDelay; delay > 0 {
		m.arm(w, delay, m.launch)
		return
	}
	m.launch(w)
}

// launch starts a run, or goes back to wait for what it comes after.
func (m *ServiceManager) launch(w *worker) {
	e := w.entry
	if e.down || !e.needsUp() {
		if w.state != Idle || w.timer != nil {
			m.set(w, Idle)
		}
		return
	}
	w.generation++
	w.end = NotEnded
	e.starts++
	w.run = newRun(w, m.session.base)
	m.set(w, Starting)
	if d := e.options.startTimeout; d > 0 {
		m.arm(w, d, m.startTimedOut)
	}
	m.note(slog.LevelDebug, "starting", w, nil, 0)
	go w.run.execute()
}

// entered is called by a run once it has its instance; under no lock.
func (m *ServiceManager) entered(r *run, service Service) {
	m.mu.Lock()
	defer m.unlock()
	r.instance = service
	if r.worker.entry.options.startTimeout == 0 {
		m.started(r)
	}
}

// ready is called by Ready; under no lock.
func (m *ServiceManager) ready(r *run) {
	if r.readyAt.Load() != 0 {
		return
	}
	m.mu.Lock()
	defer m.unlock()
	m.started(r)
}

// started makes a run that is starting started. A verdict of a run that is not
// the worker's latest, or not starting any more, is dropped.
func (m *ServiceManager) started(r *run) {
	w := r.worker
	if w.run != r || w.state != Starting {
		return
	}
	r.readyAt.Store(int64(m.now()))
	m.set(w, Started)
	level := slog.LevelDebug // hundreds of first starts tell nobody anything
	if r.generation > 1 {
		level = slog.LevelInfo
	}
	m.note(level, "started", w, nil, 0)
}

// startTimedOut follows when Ready was not said in time. The failure is known
// now; what follows it is decided when the run has ended.
func (m *ServiceManager) startTimedOut(w *worker) {
	e := w.entry
	if e.down {
		return // it is stopped anyway once those that come after it have
	}
	failure := &NotStartedError{Cause: fmt.Errorf("%w of %v", ErrStartTimeout, e.options.startTimeout)}
	if inner := w.run.inner; inner != nil {
		failure.Blocked = inner.blockedInside()
	}
	if len(failure.Blocked) == 0 {
		failure.Blocked = []Blocked{{
			Path: w.path(m.root), State: Starting, Reason: "has not said Ready", For: e.options.startTimeout,
		}}
	}
	m.fail(w, Exception{Kind: StartTimedOut, Err: failure})
	m.condemn(w, failure)
	if w.state == Starting { // else: condemned and already asked
		m.askStop(w, failure)
	}
	w.run.failing = failure
}
