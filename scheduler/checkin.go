package scheduler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// MaxState is the largest state that can be checked in, in bytes. It bounds
// what the scheduler keeps, and is what a store has to take.
const MaxState = 1 << 20

// What a check-in can fail with, beside the errors of the service and of the
// store. Each is found with errors.Is in the Exception.
var (
	// ErrStateTooLarge: SaveState returned more than MaxState bytes.
	ErrStateTooLarge = errors.New("scheduler: state is too large")
	// ErrSaveBusy: SaveState, RestoreState or the store was not called, since
	// its call before, which timed out, still runs.
	ErrSaveBusy = errors.New("scheduler: save still busy")
)

// StateSaver is the optional power of a service to check in its state, so that
// a later run can go on from there; see [StateRestorer]. Wrappers are looked
// through if they have a method Unwrap() Service.
type StateSaver interface {
	// SaveState returns the state of the run, at most MaxState bytes. It is
	// called at three occasions, and never twice at once:
	//
	//   - every Spec.SaveEvery while the run is Started,
	//   - before the run is asked to stop, should it be deaf to that,
	//   - after Serve has returned nil, or has heard its stop: the final state.
	//
	// So it is called beside Serve, and after it. A run that has not been
	// Started has nothing to tell and is not asked; nor is one that failed or
	// was abandoned, since its state is suspect: what it checked in before
	// stays.
	//
	// A nil slice means that there is nothing new to keep: the check-in before
	// stays. An empty one that is not nil replaces it. The bytes are copied
	// when SaveState has returned, so that a buffer can be used again. After
	// an error, a panic, or more than MaxState bytes the check-in before stays
	// too, and an Exception of the kind SaveFailed says so.
	//
	// ctx ends at Spec.SaveTimeout, and with the run's [Work]. A call that has
	// not returned a tenth of a second after is left behind: reports name it by
	// the lineage of the run followed by " save", what it returns is dropped,
	// and SaveState is not called again until it has returned.
	SaveState(ctx context.Context) ([]byte, error)
}

// StateRestorer is the optional power of a service to be given back the state
// that was checked in last, by whichever run of its alias, in this process or
// in one before.
type StateRestorer interface {
	// RestoreState takes the state over. It is called in each run before
	// Serve, which is not called unless it returns nil; and not at all if
	// nothing has been checked in. state belongs to the service. An instance
	// that is run again goes back to its latest check-in as a new one does.
	//
	// An error, a panic, and a store that can't be read are failures of the run
	// (RestoreFailed), which is tried again as the Spec says: nothing starts
	// from nothing silently. What can do so returns nil for a state that it
	// can't read.
	//
	// The time counts against Spec.StartTimeout. ctx ends at Spec.SaveTimeout
	// and when the run is asked to stop; what does not return then is left
	// behind and named, as in SaveState, with " restore".
	RestoreState(ctx context.Context, state []byte) error
}

// StateStore keeps what services check in beyond the process. Package db has
// one. The methods are called from many goroutines, but those for one path
// never at the same time. They are to return when ctx ends, which is at
// Spec.SaveTimeout; a call that does not is left behind and named by the path
// followed by " store", and the path is left alone until it has returned.
//
// Nothing is ever deleted: what a service checked in outlives its Remove, and
// is the user's to delete. Rejected: to write an empty state in its place, which
// RestoreState would be given as if the service had checked it in.
type StateStore interface {
	// SaveState replaces what is kept for a path, which is the lineage of a
	// service or worker, such as os/scheduler/requestor/2. state is not nil,
	// at most MaxState bytes, and must not be changed; it may be kept. After
	// an error the state is sent again with the next check-in.
	SaveState(ctx context.Context, path string, state []byte) error
	// LoadState returns what is kept for a path, and nil if that is nothing:
	// an empty state is not nil. The slice must not be changed afterwards.
	LoadState(ctx context.Context, path string) ([]byte, error)
}

// occasion is why a run is asked for its state.
type occasion uint8

const (
	atInterval occasion = iota
	beforeStop          // while the run is Draining
	afterEnd            // in the run's goroutine, before its exit message
)

// heard reports whether what a run checks in counts: that of an older
// generation, or of a run that failed, must not replace what is kept. The
// caller holds the lock.
func (r *run) heard(o occasion) bool {
	if r.worker.run != r || r.abandoned || r.ended || r.failing != nil {
		return false
	}
	return o == afterEnd || !r.gear().visit.over
}

// asked reports whether a run may be asked for its state now. The caller holds
// the lock.
func (r *run) asked(o occasion) bool {
	switch o {
	case atInterval:
		return r.heard(o) && r.worker.state == Started
	case beforeStop:
		return r.heard(o) && r.worker.state == Draining
	}
	return r.heard(o) && r.readyAt.Load() != 0
}

// checkInDue follows when a run is to check in. The caller holds the lock.
func (m *ServiceManager) checkInDue(w *worker) {
	m.arm(w, w.entry.options.saveEvery)
	v := w.run.gear().visit
	if v == nil || v.asking {
		return // the check-in before goes on
	}
	v.asking = true
	m.session.chains++
	go m.intervalCheckIn(m.session, w.run)
}

// intervalCheckIn is a goroutine that Serve waits for. Rejected: one for the
// life of each run, which costs thousands of services their stacks.
func (m *ServiceManager) intervalCheckIn(s *session, r *run) {
	m.ask(s, r, atInterval)
	m.mu.Lock()
	defer m.unlock()
	r.gear().visit.asking = false
	s.chains--
	s.wake()
}

// checkIn asks a run for its state before it is asked to stop. Under no lock.
func (m *ServiceManager) checkIn(s *session, r *run) { m.ask(s, r, beforeStop) }

// lastCheckIn asks a run for its final state whose Serve has ended well. It runs
// in the goroutine of the run, under no lock.
func (m *ServiceManager) lastCheckIn(r *run, well bool) {
	v := r.gear().visit
	if v == nil || !r.saves || !well {
		return
	}
	m.mu.Lock()
	s := m.session
	v.until = plus(m.now(), plus(r.worker.entry.options.saveTimeout, 3*settleTime))
	m.unlock()
	if s != nil { // else: it was abandoned
		m.ask(s, r, afterEnd)
	}
}

// checksInLast puts off the abandonment of a run whose Serve has returned,
// while it is asked for its final state. The caller holds the lock.
func (m *ServiceManager) checksInLast(w *worker) bool {
	v := w.run.gear().visit
	if v == nil || v.until <= m.now() {
		return false
	}
	m.arm(w, v.until-m.now())
	return true
}

// saveBudget is how long check-ins may put off the end of a run. The caller
// holds the lock.
func (m *ServiceManager) saveBudget(w *worker) time.Duration {
	if !w.run.saves {
		return 0
	}
	return plus(w.entry.options.saveTimeout, 4*settleTime)
}

// ask asks a run for its state, keeps it and stores it, within one SaveTimeout
// for all that, and for all that a stop waits for. Under no lock.
func (m *ServiceManager) ask(s *session, r *run, o occasion) {
	v, total := r.gear().visit, r.worker.entry.options.saveTimeout
	if v == nil {
		return
	}
	m.mu.Lock()
	left := total - v.spent
	path := r.worker.path(m.root)
	m.unlock()
	if left <= 0 {
		return // the stop has waited long enough
	}
	begin := time.Now()
	b := bound{path: path + " save", timeout: total, cause: ErrSaveTimeout}
	deadline := begin.Add(left)
	saved, stored := outcome{err: ErrSaveBusy}, outcome{}
	if v.take(nil, left) {
		saved = m.save(r, o, b, deadline)
		if saved.err == nil || time.Now().Before(deadline) {
			b.path = path + " store"
			stored = m.store(s.base, v.desk, path, b, deadline)
		}
		v.leave()
	}
	m.saveFailed(r, o, "save", saved)
	m.saveFailed(r, o, "store", stored)
	if o == beforeStop {
		m.mu.Lock()
		v.spent = time.Since(begin)
		if saved.err == ErrSaveBusy || stored.err == ErrSaveBusy {
			v.spent = total // nor will it return in time
		}
		m.unlock()
	}
}

// save asks a run for its state and keeps it. The turn is held.
func (m *ServiceManager) save(r *run, o occasion, b bound, deadline time.Time) outcome {
	v := r.gear().visit
	m.mu.Lock()
	may, before, instance := r.asked(o), v.state, r.served()
	m.unlock()
	if !may {
		return outcome{}
	}
	// Not the run's own context, which has ended when the final state is asked
	// for.
	ctx, cancel := b.until(r.workContext(), deadline)
	defer cancel()
	var state []byte // as same, not to be read if the call was left behind
	same := true
	out := m.stateCall(ctx, &v.calls.save, b, func(ctx context.Context) error {
		saver, ok := power[StateSaver](instance)
		if !ok {
			return nil // the wrapper has changed its mind
		}
		got, err := saver.SaveState(ctx)
		switch {
		case err != nil:
			return err
		case len(got) > MaxState:
			return fmt.Errorf("%w: %d bytes, at most %d", ErrStateTooLarge, len(got), MaxState)
		}
		same = got == nil || before != nil && bytes.Equal(got, before)
		if !same {
			state = bytes.Clone(got)
		}
		return nil
	})
	m.mu.Lock()
	defer m.unlock()
	if !r.heard(o) {
		return outcome{} // it does not count, nor does what went wrong
	}
	if out.err == nil && !same {
		v.state, v.stored = state, false
	}
	return out
}

// store writes the latest check-in to the store, if that does not have it. The
// turn is held, and a call that was left behind keeps others away from the path:
// so no older state can come to lie over a newer one.
func (m *ServiceManager) store(base context.Context, d *desk, path string, b bound, deadline time.Time) outcome {
	store := m.stateStore()
	m.mu.Lock()
	state, stored := d.state, d.stored
	m.unlock()
	if store == nil || state == nil || stored {
		return outcome{}
	}
	ctx, cancel := b.until(base, deadline)
	defer cancel()
	out := m.stateCall(ctx, &d.calls, b, func(ctx context.Context) error {
		return store.SaveState(ctx, path, state)
	})
	m.mu.Lock()
	defer m.unlock()
	d.stored = out.err == nil
	return out
}

// saveFailed records what went wrong at a check-in. Under no lock.
func (m *ServiceManager) saveFailed(r *run, o occasion, verb string, out outcome) {
	if out.err == nil || out.err == ErrSaveBusy && o == atInterval {
		return // what is left behind was recorded once, and reports name it
	}
	m.mu.Lock()
	defer m.unlock()
	m.record(r.worker, &mishap{
		generation: r.generation, kind: SaveFailed, err: &stateError{verb: verb, err: out.err}, stack: out.stack,
	})
}
