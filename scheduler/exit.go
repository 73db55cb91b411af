package scheduler

import (
	"fmt"
	"log/slog"
	"math"
	"time"
)

// As in transition.go, everything here runs under the manager's lock unless it
// says otherwise, and neither waits nor calls foreign code.

// askStop ends a run's context. failure is nil if the stop is on purpose.
func (m *ServiceManager) askStop(w *worker, failure error) {
	r := w.run
	cause := ErrStopping
	if failure != nil {
		cause = failure
	}
	r.fails(failure, r.failure)
	r.stopAsked = m.now()
	if failure == nil {
		r.stopping.Store(true)
	}
	m.set(w, Stopping)
	m.arm(w, m.stopTimeout(w))
	m.effects = append(m.effects, effect{cancel: r.cancel, cause: cause})
	m.note(slog.LevelDebug, "stopping", w, nil, 0)
}

func (m *ServiceManager) stopTimeout(w *worker) time.Duration {
	if d := w.entry.options.stopTimeout; d > 0 {
		return d
	}
	// Locks are taken from the outer scheduler to the inner one only.
	if inner := w.run.inner; inner != nil {
		return plus(DefaultStopTimeout, inner.stopBudget(false))
	}
	return DefaultStopTimeout
}

// abandon gives up on a run that is deaf to its stop.
func (m *ServiceManager) abandon(w *worker) {
	if m.checksInLast(w) {
		return
	}
	r := w.run
	r.abandoned = true
	m.unwatch(r)
	m.abandoned[r] = struct{}{}
	w.entry.own().abandoned++
	m.effects = append(m.effects, effect{cancel: r.cancel, cause: ErrStopTimeout, work: r})
	after := m.now() - r.stopAsked
	m.fail(w, &mishap{kind: Deaf, err: fmt.Errorf("%w: still running %v after it was asked to stop", ErrStopTimeout, after), end: Abandoned})
	m.rest(w, Abandoned)
	r.within((*ServiceManager).unwatchInside)
	m.replaceDeaf(w, r)
}

// replaceDeaf goes on without a run that was abandoned, as Replace does, if the
// Spec says Recover. If the run was stopped for a failure, that counts against
// the limits and is backed off from as any other; by the default curve, since
// the user's is not called under the lock.
func (m *ServiceManager) replaceDeaf(w *worker, r *run) {
	e := w.entry
	if !e.options.recover || e.factory == nil || e.down || w.retired {
		return
	}
	if r.failing != nil {
		x := exit{outcome: outcome{kind: r.failure, err: r.failing}, streak: int(r.streak) + 1}
		x.delay = DefaultBackoff(x.streak)
		m.unplanned(w, &x)
		if w.run == r {
			w.run = nil
		}
		return
	}
	w.run = nil
	w.setEnd(NotEnded)
	m.set(w, Idle)
	m.settleWorker(w)
}

// exited takes the one exit message of a run; under no lock.
func (m *ServiceManager) exited(r *run, x *exit) {
	m.mu.Lock()
	defer m.unlock()
	w := r.worker
	e := w.entry
	if r.ended { // by the cop, since what came after Serve's return took too long
		m.cameBack(r)
		m.note(slog.LevelDebug, "late end of a run that was given up for over", w, x.err, 0)
		return
	}
	r.ended = true
	m.unwatch(r)
	m.found(r)
	if w.run != r { // replaced while it was abandoned
		m.note(slog.LevelInfo, "abandoned run ended", w, x.err, 0)
		m.notify(e)
		m.forget(e)
		return
	}
	asked := r.stopAsked > 0 || r.parting != nil // also if a Start meanwhile wants it to be up again
	switch {
	case asked && r.failing == nil, e.down, w.retired:
		if x.err != nil && !(asked && x.clean) {
			m.failBy(w, x, EndedOnPurpose, 0)
		}
		m.ended(w, r)
	case r.failing != nil:
		m.note(slog.LevelDebug, "run that had failed ended", w, x.err, 0)
		x.outcome = outcome{kind: r.failure, err: r.failing}
		m.unplanned(w, x)
	default:
		m.unplanned(w, x)
	}
	m.forget(e)
}

// found follows when a run that may have been abandoned has ended.
func (m *ServiceManager) found(r *run) {
	if _, ok := m.abandoned[r]; ok {
		delete(m.abandoned, r)
		r.worker.entry.own().abandoned--
	}
}

// exitedClean is exited for the most common end, a nil return after a stop was
// asked on purpose: thousands of services may end so at the same time.
func (m *ServiceManager) exitedClean(r *run) {
	m.mu.Lock()
	defer m.unlock()
	w := r.worker
	if r.ended { // by the cop
		m.cameBack(r)
		return
	}
	r.ended = true
	m.unwatch(r)
	m.found(r)
	if w.run == r {
		m.ended(w, r)
	} else { // replaced while it was abandoned
		m.note(slog.LevelInfo, "abandoned run ended", w, nil, 0)
		m.notify(w.entry)
	}
	m.forget(w.entry)
}

// ended brings a worker to rest whose run ended after a stop was asked, in
// time or long after it was abandoned.
func (m *ServiceManager) ended(w *worker, r *run) {
	e := w.entry
	if !r.abandoned {
		end := EndedOnPurpose
		if r.failing != nil && !(m.waits(w) && e.options.restarts(r.failing)) {
			end = Failed
		}
		m.rest(w, end)
	} else {
		m.note(slog.LevelInfo, "abandoned run ended", w, nil, m.now()-r.stopAsked)
		switch {
		case w.retired:
			m.shrink(e)
		case m.waits(w): // also if what it comes after is down, which it starts with
			m.set(w, Idle)
		}
	}
	if !e.down {
		m.settleWorker(w)
	}
	m.notify(e)
}

// unplanned decides what follows an end that nobody asked for.
func (m *ServiceManager) unplanned(w *worker, x *exit) {
	w.streak = int32(min(x.streak, math.MaxInt32-1))
	x.delay = max(0, x.delay)
	if x.curve != nil {
		m.recordCurve(w, x.curve)
	}
	if w.entry.options.timetable != nil {
		m.ticked(w, x)
		return
	}
	end, escalates := m.verdict(w, x)
	if end != NotEnded {
		x.delay = 0
	}
	failed := x.err != nil
	switch {
	case failed && x.err != w.run.failing: // whose handlers were told already
		m.failBy(w, x, end, x.delay)
	case end == NotEnded:
		m.note(slog.LevelInfo, "ended, will be started again", w, x.err, x.delay)
	default:
		m.note(slog.LevelDebug, "ended", w, x.err, 0)
	}
	switch {
	case end != NotEnded:
		m.rest(w, end)
		if failed {
			m.condemn(w, x.err)
		}
		if escalates {
			m.endSession(w, &gaveUpError{err: x.err})
		}
	case w.entry.group() != nil:
		m.set(w, BackingOff)
		m.hold(w.entry)
		m.backOff(w, x.delay)
	default:
		if x.delay > 0 {
			m.set(w, BackingOff)
		}
		m.backOff(w, x.delay)
	}
}

// backOff waits for the next start, if there is anything to wait for.
func (m *ServiceManager) backOff(w *worker, delay time.Duration) {
	if delay > 0 {
		m.arm(w, delay)
		return
	}
	m.launch(w)
}

// condemn carries out ExitOnError, HaltOnFailure and RollBack.
func (m *ServiceManager) condemn(w *worker, err error) {
	e := w.entry
	o := e.options
	rolledBack := o.rollBack && w.run.rollsBack()
	switch {
	case o.exitOnError, rolledBack && !m.session.up:
		m.endSession(w, err)
	case o.haltOnFailure, rolledBack:
		e.halted = true
		m.refresh(e)
		m.classify(e)
	}
}

// rollsBack reports whether the run, which failed, is a start that failed.
func (r *run) rollsBack() bool { return r.streak == 0 && r.readyAt.Load() == 0 }

// endSession makes Serve end because of a worker. A nil error is no failure.
func (m *ServiceManager) endSession(w *worker, err error) {
	if s := m.session; s != nil && !s.exiting {
		s.exiting = true
		s.exitPath, s.exitErr = w.path(m.root), err
		close(s.exit)
	}
}

// endedForGood follows when the last worker of a service came to rest, and
// nobody asked for that.
func (m *ServiceManager) endedForGood(w *worker) {
	e := w.entry
	end := e.end()
	if !m.serving() || !e.want || e.state() != Stopped || e.haltedBy() != nil || end == EndedOnPurpose || end == Abandoned {
		return
	}
	var err error
	if end != Completed {
		err = e.exceptions.latest()
		m.haltGroup(e)
	}
	switch o := e.options; {
	case o.significant && m.lastSignificant(e):
		m.endSession(w, err)
	case o.escalate && end == GaveUp:
		m.endSession(w, &gaveUpError{err: err})
	}
}

// lastOneStopped follows when a service rests that was stopped or removed. With
// AllSignificant it may have been the last, after others that ended by
// themselves; the latest of these is what ends the scheduler. If all were
// stopped, whoever did it goes on.
func (m *ServiceManager) lastOneStopped(e *entry) {
	if !m.serving() || !m.limits.allSignificant || !e.options.significant || e.state() != Stopped || !m.lastSignificant(e) {
		return
	}
	var latest *worker
	for _, o := range m.directory.entries {
		if !o.options.significant || !o.endedByItself() {
			continue
		}
		for w := range o.workers() {
			if latest == nil || w.since > latest.since {
				latest = w
			}
		}
	}
	if latest == nil {
		return
	}
	var err error
	if o := latest.entry; o.end() != Completed {
		err = o.exceptions.latest()
	}
	m.endSession(latest, err)
}

// lastSignificant reports whether the end of a significant service ends the
// scheduler.
func (m *ServiceManager) lastSignificant(e *entry) bool {
	if !m.limits.allSignificant {
		return true
	}
	for _, o := range m.directory.entries {
		if o != e && o.options.significant && !o.over() {
			return false
		}
	}
	return true
}

// over reports whether a service has ended, and nothing but Start will start it
// again.
func (e *entry) over() bool {
	if e.halted {
		return true
	}
	return e.state() == Stopped && !e.want || e.endedByItself()
}

// endedByItself reports whether a service rests, and nobody asked for that.
func (e *entry) endedByItself() bool {
	end := e.end()
	return e.state() == Stopped && (end == Completed || end == Failed || end == GaveUp)
}

// verdict returns how an unplanned end comes to rest, or NotEnded for another
// start; and whether it ends the scheduler too, since a limit was reached that
// is not the service's own.
func (m *ServiceManager) verdict(w *worker, x *exit) (end End, escalates bool) {
	o := w.entry.options
	now := m.now()
	if !o.restarts(x.err) {
		if x.err == nil {
			return Completed, false
		}
		return Failed, false
	}
	if o.rollBack && x.err != nil && w.run.rollsBack() {
		return Failed, false
	}
	if o.retryLimit > 0 {
		if w.ends == nil {
			w.ends = &instants{}
		}
		if w.ends.over(now, o.retryLimit, o.retryWindow) {
			return GaveUp, false
		}
	}
	return m.overSharedLimit(w)
}

// overSharedLimit counts another restart against the limits that are not the
// service's own, and returns what verdict does.
func (m *ServiceManager) overSharedLimit(w *worker) (end End, escalates bool) {
	now := m.now()
	if g := w.entry.options.group; g != nil && g.RetryLimit > 0 && g.ends.over(now, g.RetryLimit, g.RetryWindow) {
		return GaveUp, g.Escalate
	}
	if l := &m.limits; l.retryLimit > 0 && m.restarts.over(now, l.retryLimit, l.retryWindow) {
		return GaveUp, true
	}
	return NotEnded, false
}

// failBy is fail for a run that has ended. It is not inlined, nor is
// recordCurve, so that what they make is not on the stack afterwards.
//
//go:noinline
func (m *ServiceManager) failBy(w *worker, x *exit, end End, delay time.Duration) {
	m.fail(w, &mishap{kind: x.kind, err: x.err, stack: x.stack, end: end, delay: delay})
}

//go:noinline
func (m *ServiceManager) recordCurve(w *worker, curve *outcome) {
	m.record(w, &mishap{kind: CurveFailed, err: curve.err, stack: curve.stack})
}

// fail records a failure of a run and tells its handlers. A run that fails more
// than once, as one that is deaf after its start timeout, is counted once. What
// has happened stays the caller's.
func (m *ServiceManager) fail(w *worker, x *mishap) {
	if !w.run.failed {
		w.run.failed = true
		w.entry.own().failures++
	}
	m.record(w, x)
	if w.entry.chain != nil || m.osChain != nil {
		m.tellHandlers(w, x)
	}
}

//go:noinline
func (m *ServiceManager) tellHandlers(w *worker, x *mishap) {
	failure := m.exception(w, x)
	m.tell(w.entry.chain, w, failure)
	m.tell(m.osChain, w, failure)
}

// record completes what has happened and keeps it.
func (m *ServiceManager) record(w *worker, x *mishap) {
	e := w.entry
	x.at, x.index = m.now(), w.index
	if x.generation == 0 {
		x.generation = w.generation
	}
	if e.exceptions == nil {
		e.own().exceptions = &ring{}
	}
	e.exceptions.add(x, m.limits.exceptions)
	if m.logger != nil {
		m.noteException(w, x)
	}
	if len(m.feeds) > 0 {
		m.tellFailed(w, x)
	}
}

// exception makes what is told of a mishap of a worker, now.
func (m *ServiceManager) exception(w *worker, x *mishap) Exception {
	return x.exception(w.entry, m.root)
}
