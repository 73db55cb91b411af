package scheduler

import (
	"context"
	"log/slog"
	"time"
)

// Drainer is the optional power of a service to complete what it has before
// it is stopped. It is used by [Scheduler.Shutdown], [ServiceManager.Drain] and
// [ServiceManager.Resize]; a hard stop leaves it out.
type Drainer interface {
	// Drain takes nothing new and returns when nothing is left to be done,
	// while Serve still runs and its context has not ended. ctx ends at the
	// drain timeout, or when the stop is made a hard one. After it, whatever
	// it returned, Serve's context ends. Serve may also return by itself, which
	// is the stop that was asked for, also if Start is called meanwhile: the
	// service then starts anew.
	Drain(ctx context.Context) error
}

// power finds an optional power of a service, through wrappers that have a
// method Unwrap() Service. It calls foreign code.
func power[T any](s Service) (T, bool) {
	for range maxWrappers {
		if t, ok := s.(T); ok {
			return t, true
		}
		wrapper, ok := s.(interface{ Unwrap() Service })
		if !ok {
			break
		}
		s = wrapper.Unwrap()
	}
	var zero T
	return zero, false
}

// maxWrappers bounds the search through wrappers, so that one that wraps
// itself can't hang it.
const maxWrappers = 32

// parting is what a run does between being told that it will be stopped and
// the end of its context: it drains, if asked gently, and checks in.
type parting struct {
	instance Service         // of the run
	drains   bool            // and has not been hurried
	inner    *ServiceManager // of a scheduler in the run, drained unless the instance is a Drainer
	ctx      context.Context // of Drain
	cancel   context.CancelCauseFunc
	timeout  time.Duration // of Drain
	drain    guarded
}

// Drain completes the work of a service and of those that come After it, and
// then stops them as Stop does: dependants first, each of them drained if it is
// a [Drainer] or a Scheduler, within its DrainTimeout, and stopped within its
// StopTimeout. When ctx ends first, or Stop is called, what still drains is
// stopped without, and Drain goes on to wait for that.
//
// Errors: those of Stop, without that of ctx.
func (m *ServiceManager) Drain(ctx context.Context, alias string) error {
	m.mu.Lock()
	e, err := m.find("drain", alias)
	if err != nil {
		m.unlock()
		return err
	}
	m.desire(e, false)
	for _, d := range e.withDependants() {
		if !d.down { // else it is being stopped otherwise, or rests
			d.gentle = d.busy > 0
		}
	}
	m.refresh(e)
	m.retire(e)
	m.unlock()
	defer after(ctx, func() {
		m.mu.Lock()
		defer m.unlock()
		m.harden(e)
	})()
	return m.awaitRest(context.WithoutCancel(ctx), "drain", e)
}

// after calls f once ctx has ended, unless stop is called before; stop waits
// for a call that is under way.
func after(ctx context.Context, f func()) (stop func()) {
	done := make(chan struct{})
	unregister := context.AfterFunc(ctx, func() {
		defer close(done)
		f()
	})
	return func() {
		if !unregister() {
			<-done
		}
	}
}

// hurryAll makes a gentle end of the session a hard one.
func (m *ServiceManager) hurryAll() {
	m.mu.Lock()
	defer m.unlock()
	m.gentle = false
	for _, e := range m.directory.entries {
		e.gentle = false
		m.hurry(e)
	}
}

// What follows runs under the manager's lock unless it says otherwise.

// part brings a live run closer to its end: it drains if that is asked, checks
// in if it can, and is then asked to stop.
func (m *ServiceManager) part(w *worker, gently bool) {
	r := w.run
	switch w.state {
	case Starting:
		m.askStop(w, r.failing)
	case Started:
		if r.failing != nil { // it was convicted, and its state is suspect
			m.askStop(w, r.failing)
			return
		}
		drains := gently && (r.drains || r.inner != nil)
		if !drains && !r.saves {
			m.askStop(w, nil)
			return
		}
		p := &parting{instance: r.served(), drains: drains, timeout: m.drainTimeout(w)}
		if !r.drains {
			p.inner = r.inner
		}
		p.ctx, p.cancel = context.WithCancelCause(r)
		r.own().parting = p
		m.set(w, Draining)
		m.arm(w, m.partTimeout(w, drains))
		m.note(slog.LevelDebug, "draining", w, nil, 0)
		m.session.chains++
		go m.farewell(m.session, r, p, drains)
	case Draining:
		if !gently {
			m.hurryWorker(w)
		}
	}
}

// harden makes the stop of a service, and of those that come after it, a hard
// one.
func (m *ServiceManager) harden(e *entry) {
	for _, d := range e.withDependants() {
		d.gentle = false
		m.hurry(d)
	}
}

// hurry ends what drains of an entry, in favour of a stop.
func (m *ServiceManager) hurry(e *entry) {
	for w := range e.workers() {
		if w.state == Draining {
			m.hurryWorker(w)
		}
	}
}

func (m *ServiceManager) hurryWorker(w *worker) {
	p := w.run.parting
	if !p.drains {
		return
	}
	p.drains = false
	m.effects = append(m.effects, effect{cancel: p.cancel, cause: ErrStopping})
	m.arm(w, plus(settleTime, m.partTimeout(w, false)))
}

// partTimeout bounds a parting. It leaves those that obey their contexts the
// time to say so.
func (m *ServiceManager) partTimeout(w *worker, drains bool) time.Duration {
	r := w.run
	var timeout time.Duration
	if drains && (r.drains || r.inner != nil) {
		timeout = plus(m.drainTimeout(w), 2*settleTime)
	}
	if r.saves {
		timeout = plus(timeout, plus(w.entry.options.saveTimeout, 2*settleTime))
	}
	return timeout
}

func (m *ServiceManager) drainTimeout(w *worker) time.Duration {
	if d := w.entry.options.drainTimeout; d > 0 {
		return d
	}
	if inner := w.run.inner; inner != nil {
		return plus(DefaultDrainTimeout, inner.stopBudget(true))
	}
	return DefaultDrainTimeout
}

// drainTimedOut follows when neither Drain nor SaveState has returned though
// their contexts have ended.
func (m *ServiceManager) drainTimedOut(w *worker) { m.askStop(w, nil) }

// farewell is the goroutine of a parting; Serve waits for it.
func (m *ServiceManager) farewell(s *session, r *run, p *parting, drains bool) {
	w := r.worker
	if drains {
		out := m.bounded(p.ctx, &p.drain, bound{
			path: w.path(m.lineage()) + " drain", timeout: p.timeout, cause: ErrDrainTimeout,
		}, func(ctx context.Context) error {
			if p.inner != nil {
				return p.inner.drainIn(ctx, r)
			}
			drainer, ok := power[Drainer](p.instance) // which calls foreign code too
			if !ok {                                  // any more
				return nil
			}
			return drainer.Drain(ctx)
		})
		if out.err != ErrRunOver { // which says that Serve returned first, as it may
			m.foreignFailed(r, DrainFailed, "drain", out)
		}
	}
	if r.saves {
		m.checkIn(s, r)
	}
	p.cancel(nil)
	m.mu.Lock()
	defer m.unlock()
	if w.run == r && w.state == Draining {
		m.askStop(w, nil)
	}
	s.chains--
	s.wake()
}

// foreignFailed records what a call beside Serve did wrong; under no lock.
func (m *ServiceManager) foreignFailed(r *run, kind Kind, verb string, out outcome) {
	if out.err == nil {
		return
	}
	err := &wrapped{"scheduler: " + verb, out.err}
	m.mu.Lock()
	defer m.unlock()
	m.record(r.worker, &mishap{generation: r.generation, kind: kind, err: err, stack: out.stack})
}

// lineage returns the lineage of the scheduler; under no lock.
func (m *ServiceManager) lineage() string {
	_, root := m.logging()
	return root
}
