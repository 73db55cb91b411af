package scheduler

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

var errNilService = errors.New("scheduler: Factory returned nil")

// Everything in this file runs under the manager's lock unless it says
// otherwise, and neither waits nor calls foreign code.

// refresh works out anew whether a service must be down, tells those that come
// after it, and acts on it.
func (m *ServiceManager) refresh(e *entry) {
	down := !m.serving() || !e.want || e.bounce || e.halted || e.held || (e.links != nil && e.links.blockers > 0)
	if down == e.down {
		if down && e.pool == nil && e.solo.state == BackingOff {
			m.settle(e) // which it was spared, see keepsBackoff
		}
		return
	}
	e.down = down
	if !down {
		e.gentle = false
	}
	m.restand(e) // the state of a pool says whether it is down
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
	m.notify(e)
	m.lateStarts(e)
}

// lateStarts makes up for the start timeouts that passed while a service that is
// to be up again was to stop.
func (m *ServiceManager) lateStarts(e *entry) {
	if e.options.startTimeout == 0 {
		return
	}
	for w := range e.workers() {
		if w.state == Starting && !w.armed && !e.down {
			m.startTimedOut(w)
		}
	}
}

// settle brings a service closer to where it shall be, as far as its
// neighbours in the graph allow; each of them calls it again when it moved.
func (m *ServiceManager) settle(e *entry) {
	if !e.down {
		if e.needsUp() {
			for w := range e.workers() {
				if w.state == Idle && !w.armed && !w.retired && !w.deaf() {
					m.begin(w)
				}
			}
		}
		return
	}
	for w := range e.workers() {
		switch w.state {
		case Idle, Waiting:
			m.rest(w, EndedOnPurpose)
		case BackingOff:
			if !m.keepsBackoff(e) {
				m.rest(w, EndedOnPurpose)
			}
		case Stopped:
			if !m.waits(w) {
				m.disarm(w) // it is not brought back
			}
		}
	}
	if e.links != nil && e.links.busy > 0 {
		return // those that come after it stop first
	}
	for w := range e.workers() {
		m.part(w, e.gentle || m.gentle)
	}
	if e.busy == 0 {
		m.rested(e)
	}
}

// settleWorker is settle for one worker of a service that shall be up.
func (m *ServiceManager) settleWorker(w *worker) {
	if w.state == Idle && !w.armed && !w.retired && !w.deaf() && w.entry.needsUp() {
		m.begin(w)
	}
}

// rested follows when a service that must be down has no live run.
func (m *ServiceManager) rested(e *entry) {
	if e.pool != nil {
		e.pool.seen = 0
		for w := range e.workers() {
			// One that ended for good does not start with the others.
			if w.seen = w.state == Stopped && (w.end == Completed || w.end == Failed || w.end == GaveUp) && !w.retired; w.seen {
				e.pool.seen++
			}
		}
	}
	e.gentle = false
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
// and retry limit. Those with an abandoned run that still runs are left out,
// and so is a service that was stopped on purpose or halted, also while it
// restarted.
func (m *ServiceManager) revive(e *entry) {
	if !e.want || e.halted {
		return
	}
	for w := range e.workers() {
		if w.retired {
			continue
		}
		switch w.state {
		case Stopped, BackingOff, Idle:
			w.streak, w.ends = 0, nil
			if w.deaf() {
				continue
			}
			if w.state != Idle {
				w.setEnd(NotEnded)
				e.forgetSeen(w)
				m.set(w, Idle)
			}
		}
	}
}

// begin starts a worker that is idle, after its delay.
func (m *ServiceManager) begin(w *worker) {
	if delay := w.entry.options.startDelay; delay > 0 {
		m.arm(w, delay)
		return
	}
	m.launch(w)
}

// launch starts a run, or goes back to wait for what it comes after, or for a
// tick.
func (m *ServiceManager) launch(w *worker) {
	e := w.entry
	if e.down || !e.needsUp() { // a run that is due is made once what it comes after is back
		w.due = w.due && !e.down
		if w.state != Idle || w.armed {
			m.set(w, Idle)
		}
		if g := e.group(); g != nil && g.failing == e {
			m.regroup(g)
		}
		return
	}
	if e.options.timetable != nil && !w.due {
		m.enroll(w)
		return
	}
	w.due = false
	w.generation++
	w.setEnd(NotEnded)
	if e.pool != nil {
		e.pool.starts++
	}
	before := w.run
	w.run = newRun(w, m.session.base)
	if before != nil && (before.inner != nil || before.former != nil) {
		w.run.own().former = cmp.Or(before.inner, before.former)
	}
	m.set(w, Starting)
	if d := e.options.startTimeout; d > 0 {
		m.arm(w, d)
	}
	m.note(slog.LevelDebug, "starting", w, nil, 0)
	m.launches.add(w.run)
}

// entered is called by a run once it has its instance; under no lock.
func (m *ServiceManager) entered(r *run, service Service) {
	_, drains := power[Drainer](service)
	_, saves := power[StateSaver](service)
	m.mu.Lock()
	defer m.unlock()
	r.entered = true
	if r.worker.entry.service == nil {
		r.own().instance = service
	}
	r.drains, r.saves = drains, saves
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
	if r.saves {
		m.arm(w, w.entry.options.saveEvery)
	}
	level := slog.LevelDebug // hundreds of first starts, and each run of a schedule, tell nobody anything
	if r.generation > 1 && w.entry.options.timetable == nil {
		level = slog.LevelInfo
	}
	m.note(level, "started", w, nil, 0)
}

// extend lengthens a start; under no lock.
func (m *ServiceManager) extend(r *run, d time.Duration, doing string) error {
	m.mu.Lock()
	defer m.unlock()
	w := r.worker
	if w.run != r || w.state != Starting || !w.armed {
		return ErrNotStarting
	}
	if doing != r.doing {
		r.own().doing = doing
	}
	until, limit := plus(m.now(), max(0, d)), plus(w.since, w.entry.options.startLimit)
	if granted := min(until, limit); granted > w.next {
		m.arm(w, granted-m.now())
	}
	if until > limit {
		return fmt.Errorf("%w of %v: %v left", ErrStartLimit, w.entry.options.startLimit, max(0, limit-m.now()))
	}
	return nil
}

// startTimedOut follows when Ready was not said in time. The failure is known
// now; what follows it is decided when the run has ended.
func (m *ServiceManager) startTimedOut(w *worker) {
	e := w.entry
	if e.down {
		return // it is stopped anyway once those that come after it have, see lateStarts
	}
	failure := &NotStartedError{Cause: fmt.Errorf("%w of %v", ErrStartTimeout, w.next-w.since)}
	if inner := w.run.inner; inner != nil {
		failure.Blocked = inner.blockedInside()
	}
	if len(failure.Blocked) == 0 {
		failure.Blocked = []Blocked{{
			Path: w.path(m.root), State: Starting, Reason: w.run.startingReason(), For: m.now() - w.since,
		}}
	}
	m.convict(w, StartTimedOut, failure)
}

// convict asks a run to stop that has failed though it has not ended. What
// follows is decided when it has.
func (m *ServiceManager) convict(w *worker, kind Kind, failure error) {
	m.fail(w, &mishap{kind: kind, err: failure})
	w.run.fails(failure, kind)
	m.condemn(w, failure)
	if w.state == Starting || w.state == Started { // else: condemned and already asked
		m.askStop(w, failure)
	}
}
