package scheduler

import (
	"fmt"
	"log/slog"
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
	r.failing = failure
	r.stopAsked = m.now()
	m.set(w, Stopping)
	m.arm(w, m.stopTimeout(w), m.abandon)
	m.effects = append(m.effects, effect{run: r, cause: cause})
	m.note(slog.LevelDebug, "stopping", w, nil, 0)
}

func (m *ServiceManager) stopTimeout(w *worker) time.Duration {
	if d := w.entry.options.stopTimeout; d > 0 {
		return d
	}
	// Locks are taken from the outer scheduler to the inner one only.
	if inner := w.run.inner; inner != nil {
		return DefaultStopTimeout + inner.stopBudget()
	}
	return DefaultStopTimeout
}

// abandon gives up on a run that is deaf to its stop.
func (m *ServiceManager) abandon(w *worker) {
	r := w.run
	r.abandoned = true
	m.zombies[r] = struct{}{}
	m.effects = append(m.effects, effect{run: r, cause: ErrStopTimeout, work: true})
	after := m.now() - r.stopAsked
	m.fail(w, Exception{Kind: Deaf, Err: fmt.Errorf("%w: still running %v after it was asked to stop", ErrStopTimeout, after), End: Abandoned})
	m.rest(w, Abandoned)
}

// exited takes the one exit message of a run; under no lock.
func (m *ServiceManager) exited(r *run, x exit) {
	m.mu.Lock()
	defer m.unlock()
	w := r.worker
	e := w.entry
	r.ended = true
	delete(m.zombies, r)
	if w.run != r { // replaced while it was abandoned
		m.note(slog.LevelInfo, "abandoned run ended", w, x.err, 0)
		m.notify(e)
		m.forget(e)
		return
	}
	asked := r.stopAsked > 0
	switch {
	case asked && r.failing == nil, e.down:
		if x.err != nil && !(asked && x.clean) {
			m.fail(w, Exception{Kind: x.kind, Err: x.err, stack: x.stack, End: EndedOnPurpose})
		}
		m.ended(w, r)
	case r.failing != nil:
		m.note(slog.LevelDebug, "run that failed to start ended", w, x.err, 0)
		x.outcome = outcome{kind: StartTimedOut, err: r.failing}
		m.unplanned(w, x)
	default:
		m.unplanned(w, x)
	}
	m.forget(e)
}

// ended brings a worker to rest whose run ended after a stop was asked, in
// time or long after it was abandoned.
func (m *ServiceManager) ended(w *worker, r *run) {
	e := w.entry
	if !r.abandoned {
		if r.failing != nil {
			m.rest(w, Failed)
		} else {
			m.rest(w, EndedOnPurpose)
		}
	} else {
		m.note(slog.LevelInfo, "abandoned run ended", w, nil, m.now()-r.stopAsked)
		if !e.down {
			m.set(w, Idle)
		}
	}
	if !e.down {
		m.settle(e)
	}
	m.notify(e)
}

// unplanned decides what follows an end that nobody asked for.
func (m *ServiceManager) unplanned(w *worker, x exit) {
	w.streak = x.streak
	end, delay := m.verdict(w, x.err), max(0, x.delay)
	if end != NotEnded {
		delay = 0
	}
	if x.curve.err != nil {
		m.record(w, Exception{Kind: CurveFailed, Err: x.curve.err, stack: x.curve.stack})
	}
	failed := x.err != nil
	switch {
	case failed && x.kind != StartTimedOut: // whose handlers were told already
		m.fail(w, Exception{Kind: x.kind, Err: x.err, stack: x.stack, End: end, Delay: delay})
	case end == NotEnded:
		m.note(slog.LevelInfo, "ended, will be started again", w, x.err, delay)
	default:
		m.note(slog.LevelDebug, "ended", w, x.err, 0)
	}
	switch {
	case end != NotEnded:
		m.rest(w, end)
		if failed {
			m.condemn(w, x.err)
		}
	case delay == 0:
		m.launch(w)
	default:
		m.set(w, BackingOff)
		m.arm(w, delay, m.launch)
	}
}

// condemn carries out ExitOnError and HaltOnFailure.
func (m *ServiceManager) condemn(w *worker, err error) {
	e := w.entry
	switch {
	case e.options.exitOnError:
		if s := m.session; s.exitErr == nil {
			s.exitPath, s.exitErr = w.path(m.root), err
			close(s.exit)
		}
	case e.options.haltOnFailure:
		e.halted = true
		m.refresh(e)
	}
}

// verdict returns how an unplanned end comes to rest, or NotEnded for another
// start.
func (m *ServiceManager) verdict(w *worker, err error) End {
	o := w.entry.options
	switch {
	case !o.restarts(err) && err == nil:
		return Completed
	case !o.restarts(err):
		return Failed
	case o.retryLimit > 0 && w.overLimit(m.now(), o):
		return GaveUp
	}
	return NotEnded
}

// overLimit counts a restart in the sliding window, unless it is full.
func (w *worker) overLimit(now time.Duration, o *options) bool {
	if w.ends == nil {
		w.ends = new([]time.Duration)
	}
	ends := *w.ends
	for len(ends) > 0 && now-ends[0] >= o.retryWindow {
		ends = ends[1:]
	}
	full := len(ends) >= o.retryLimit
	if !full {
		ends = append(ends, now)
	}
	*w.ends = ends
	return full
}

// fail counts and records a failure of a run, and tells its handlers.
func (m *ServiceManager) fail(w *worker, x Exception) {
	w.entry.failures++
	x = m.record(w, x)
	m.tell(w.entry.chain, w, x)
	m.tell(m.osChain, w, x)
}

// record completes an exception and keeps it.
func (m *ServiceManager) record(w *worker, x Exception) Exception {
	e := w.entry
	x.At = m.birth.Add(m.now())
	x.Alias, x.Path = e.alias, w.path(m.root)
	if x.Generation == 0 {
		x.Generation = w.generation
	}
	if e.exceptions == nil {
		e.exceptions = &ring{}
	}
	e.exceptions.add(x, m.limits.exceptions)
	m.noteException(w, x)
	return x
}
