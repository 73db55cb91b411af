package scheduler

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// desk is where a worker checks in, run after run. All but turn is guarded by
// the manager; state and stored are changed by the holder of the turn alone,
// save when the alias is removed.
type desk struct {
	turn      chan struct{} // capacity 1: held by the check-in or the load under way
	state     []byte        // the latest check-in, never changed in place; nil: none
	stored    bool          // the store has it
	calls     guarded       // of the store
	instance  *stateCalls   // of an instance that is run again
	forgotten bool          // the alias is removed
}

// stateCalls keeps calls of one instance apart.
type stateCalls struct{ save, restore guarded }

// visit is what one run does at its desk. Guarded by the manager, save what is
// set before Serve.
type visit struct {
	*desk
	calls  *stateCalls
	asking bool          // at an interval
	over   bool          // Serve has returned
	spent  time.Duration // of the time that a stop waits for check-ins
	until  time.Duration // when the last check-in is over at the latest, as an offset
}

// desks are those of all workers that have checked in, or could.
type desks struct {
	byAlias map[string]map[int32]*desk // and the worker's number
	left    []string                   // aliases with desks that were in use when they were forgotten
}

// of returns the desk of a worker. One whose alias was removed and added again
// is taken over only for the sake of a call that may still be out.
func (d *desks) of(w *worker) *desk {
	alias := w.entry.alias
	if d.byAlias == nil {
		d.byAlias = make(map[string]map[int32]*desk)
	}
	if d.byAlias[alias] == nil {
		d.byAlias[alias] = make(map[int32]*desk)
	}
	own := d.byAlias[alias][w.index]
	if own == nil {
		own = &desk{turn: make(chan struct{}, 1)}
		d.byAlias[alias][w.index] = own
	}
	own.forgotten = false
	return own
}

// forget drops what an alias has checked in, and each of its desks as soon as
// no call is out that could write to the store: a later owner of the alias
// must not be overwritten.
func (d *desks) forget(alias string) {
	if len(d.byAlias[alias]) > 0 {
		for _, own := range d.byAlias[alias] {
			own.forgotten, own.state, own.instance = true, nil, nil
		}
		d.left = append(d.left, alias)
	}
	d.left = slices.DeleteFunc(d.left, func(alias string) bool {
		forgotten := 0
		maps.DeleteFunc(d.byAlias[alias], func(_ int32, own *desk) bool {
			if !own.forgotten {
				return false
			}
			forgotten++
			idle := len(own.turn) == 0 && !own.calls.busy
			if idle {
				forgotten--
			}
			return idle
		})
		if len(d.byAlias[alias]) == 0 {
			delete(d.byAlias, alias)
		}
		return forgotten == 0
	})
}

// take waits for the turn, and reports whether it came in time. Under no lock.
func (d *desk) take(done <-chan struct{}, timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case d.turn <- struct{}{}:
		return true
	case <-done:
		return false
	case <-timer.C:
		return false
	}
}

func (d *desk) leave() { <-d.turn }

// until makes a context of base that also ends at the deadline of all, with the
// bound as its cause.
func (b bound) until(base context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	return context.WithDeadlineCause(base, deadline, fmt.Errorf("%w of %v", b.cause, b.timeout))
}

// stateCall is bounded with an error of its own for what is left behind.
func (m *ServiceManager) stateCall(base context.Context, g *guarded, b bound, f func(context.Context) error) outcome {
	out := m.bounded(base, g, b, f)
	if out.err == ErrHandlerBusy {
		out.err = ErrSaveBusy
	}
	return out
}

// stateStore is that of the Config, or of the scheduler around. Under no lock.
func (m *ServiceManager) stateStore() StateStore {
	for m.states == nil {
		outer := m.outer()
		if outer == nil {
			return nil
		}
		m = outer.worker.entry.manager
	}
	return m.states
}

// stateError says at what a check-in or a restore failed. Its text is made
// when asked for, as that of endError is.
type stateError struct {
	verb string
	err  error
}

func (e *stateError) Error() string { return fmt.Sprintf("scheduler: %s state: %v", e.verb, e.err) }

func (e *stateError) Unwrap() error { return e.err }

// restoreFailure carries the way in which a restore failed to the exit of its
// run.
type restoreFailure struct{ outcome }

func (f *restoreFailure) Error() string { return f.err.Error() }

// returned closes the manager's ears for what is asked of a run elsewhere, now
// that its Serve has returned, and makes the outcome of one whose restore has
// failed. It looks at the error itself alone: what a service returns is its
// own. It runs in the goroutine of the run, under no lock.
func (m *ServiceManager) returned(r *run, out outcome) outcome {
	if v := r.gear().visit; v != nil {
		m.mu.Lock()
		v.over = true
		m.unlock()
	}
	if f, ok := out.err.(*restoreFailure); ok {
		return f.outcome
	}
	return out
}

// restore gives a new run the latest check-in. It runs in the goroutine of the
// run, under no lock.
func (m *ServiceManager) restore(r *run, service Service) error {
	_, saves := power[StateSaver](service)
	restorer, restores := power[StateRestorer](service)
	if !saves && !restores {
		return nil
	}
	w := r.worker
	m.mu.Lock()
	if w.run != r { // replaced before it had an instance
		m.unlock()
		return context.Cause(r.Context)
	}
	d := m.desks.of(w)
	if d.instance == nil || w.entry.factory != nil {
		d.instance = &stateCalls{}
	}
	v := &visit{desk: d, calls: d.instance}
	r.equip(func(g *gear) { g.visit = v })
	path := w.path(m.root)
	m.unlock()
	if !restores {
		return nil
	}
	verb := "load"
	state, out := m.latest(r, d, path)
	if out.err == nil && state != nil {
		verb = "restore"
		b := bound{path: path + " restore", timeout: w.entry.options.saveTimeout, cause: ErrSaveTimeout}
		out = m.stateCall(r, &v.calls.restore, b, func(ctx context.Context) error {
			return restorer.RestoreState(ctx, bytes.Clone(state))
		})
	}
	if out.err == nil {
		return nil
	}
	return &restoreFailure{outcome{kind: RestoreFailed, err: &stateError{verb: verb, err: out.err}, stack: out.stack}}
}

// latest returns what was checked in last, or nil: what is kept in memory, or
// else what the store has.
func (m *ServiceManager) latest(r *run, d *desk, path string) ([]byte, outcome) {
	store := m.stateStore()
	m.mu.Lock()
	state := d.state
	m.unlock()
	if state != nil || store == nil {
		return state, outcome{}
	}
	b := bound{path: path + " store", timeout: r.worker.entry.options.saveTimeout, cause: ErrSaveTimeout}
	if !d.take(r.Done(), b.timeout) {
		return nil, outcome{err: cmp.Or(context.Cause(r.Context), ErrSaveBusy)}
	}
	defer d.leave()
	var loaded []byte // not to be read if the call was left behind
	out := m.stateCall(r, &d.calls, b, func(ctx context.Context) (err error) {
		loaded, err = store.LoadState(ctx, path)
		return err
	})
	if out.err != nil {
		return nil, out
	}
	m.mu.Lock()
	defer m.unlock()
	d.state, d.stored = loaded, loaded != nil
	return loaded, outcome{}
}
