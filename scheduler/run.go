package scheduler

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// run is one generation of a worker, and the context that its Serve is given.
// Being the context itself saves an allocation per service.
type run struct {
	context.Context // ends when nothing new may be taken
	cancel          context.CancelCauseFunc
	worker          *worker
	generation      uint64
	streak          int         // unplanned ends in a row before this run
	detached        bool        // carries lineage to a handler; is no run
	slot            int32       // in cop.exits, from 1; zero: not there; guarded by the cop
	stopping        atomic.Bool // to stop, on purpose
	readyAt         atomic.Int64
	logger          atomic.Pointer[slog.Logger]
	meter           atomic.Pointer[Meter] // nil: not asked for

	// mu guards work. It is never held together with another lock.
	mu   sync.Mutex
	work *workContext
	over error // why work has ended or is to be born ended

	// Guarded by the manager.
	instance  Service
	inner     *ServiceManager // of a scheduler that is served in this run
	stopAsked time.Duration   // when, as an offset of the manager's birth
	failing   error           // it was asked to stop because of this failure
	failure   Kind            // of failing
	doing     string          // what it says it does while it starts
	parting   *parting        // of a run that is Draining
	drains    bool            // the instance is a Drainer
	saves     bool            // the instance is a StateSaver
	failed    bool            // counted as a failure
	visit     *visit          // of one that checks in or is given back what was; set before Serve
	abandoned bool
	ended     bool
	late      bool // is over, though its state doesn't say so
}

// startingReason says what is waited for; the caller holds the manager's lock.
func (r *run) startingReason() string {
	if r.doing != "" {
		return "has not said Ready: " + r.doing
	}
	return "has not said Ready"
}

type runKey struct{}

func (r *run) Value(key any) any {
	if key == (runKey{}) {
		return r
	}
	return r.Context.Value(key)
}

// String keeps fmt from reading a context's insides while they change.
func (r *run) String() string { return "scheduler.run" }

func runOf(ctx context.Context) *run {
	r, _ := ctx.Value(runKey{}).(*run)
	return r
}

func newRun(w *worker, base context.Context) *run {
	r := &run{worker: w, generation: w.generation, streak: w.streak}
	r.Context, r.cancel = context.WithCancelCause(base)
	return r
}

// lineage makes the logger on first use: most services log, but thousands of
// idle ones need not hold one.
func (r *run) lineage() *slog.Logger {
	if l := r.logger.Load(); l != nil {
		return l
	}
	m := r.worker.entry.manager
	base, root := m.logging()
	if base == nil {
		return slog.New(slog.DiscardHandler)
	}
	l := withLineage(base, r.worker.path(root))
	r.logger.Store(l)
	return l
}

// workContext is the context for work in flight of a run.
type workContext struct {
	context.Context
	run *run
	end context.CancelCauseFunc
}

func (c *workContext) Value(key any) any {
	if key == (runKey{}) {
		return c.run
	}
	return c.Context.Value(key)
}

func (c *workContext) String() string { return "scheduler.Work" }

// workContext is made on first use: an idle service holds one context.
func (r *run) workContext() *workContext {
	base := r.worker.entry.manager.runBase()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.work == nil {
		ctx, end := context.WithCancelCause(base)
		r.work = &workContext{Context: ctx, run: r, end: end}
		if r.over != nil {
			end(r.over)
		}
	}
	return r.work
}

// endWork ends the work context, present or future.
func (r *run) endWork(cause error) {
	r.mu.Lock()
	work := r.work
	if r.over == nil {
		r.over = cause
	}
	r.mu.Unlock()
	if work != nil {
		work.end(cause)
	}
}

// valueContext has the end of a run's work and the values of another context.
type valueContext struct {
	context.Context
	values context.Context // without cancel, so that the end is looked up in Context
}

func (c *valueContext) Value(key any) any {
	if v := c.values.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

func (c *valueContext) String() string { return "scheduler.Work" }

// execute is the goroutine of a run. What follows its end is done after a panic
// was unwound and outside of deferred calls, where the goroutine's first stack
// is large enough for it; only Goexit leaves no other place.
//
//go:noinline
func (r *run) execute() { // stack.go looks for it by name
	out := r.guard()
	if out == nil && r.stopping.Load() && r.visit == nil {
		r.endWork(ErrRunOver)
		r.worker.entry.manager.exitedClean(r)
		return
	}
	if out == nil {
		out = &outcome{}
	}
	r.exit(out)
}

// guard calls serve and returns how it ended, or nil for a nil return. It does
// not return from Goexit, for which it calls exit.
//
//go:noinline
func (r *run) guard() (out *outcome) {
	returned := false
	defer func() {
		if !returned {
			out = r.fell(recover())
		}
	}()
	err := r.serve()
	returned = true
	if err != nil {
		out = &outcome{err: err}
	}
	return out
}

// fell makes the outcome of a panic with a value, or of Goexit.
//
//go:noinline
func (r *run) fell(value any) *outcome {
	out := fallen(value)
	if out.kind == Exited {
		r.exit(&out)
	}
	return &out
}

func (r *run) serve() error {
	e := r.worker.entry
	service := e.service
	if e.factory != nil {
		service = e.factory()
		if service == nil || isNil(service) {
			return errNilService
		}
	}
	if err := e.manager.restore(r, service); err != nil {
		return err
	}
	e.manager.entered(r, service)
	return service.Serve(r)
}

// exit is the one message that a run ends with.
type exit struct {
	outcome
	clean  bool          // the error only says that a stop was heard
	streak int           // unplanned ends in a row, if this is one
	delay  time.Duration // before the next start, if there is one
	curve  outcome       // what went wrong in the curve that delay is from
}

// exit sends it. It runs in the goroutine of the run, under no lock, so that
// foreign code (the curve, methods of the error) can hold up nobody else.
//
//go:noinline
func (r *run) exit(out *outcome) {
	m, o := r.worker.entry.manager, r.worker.entry.options
	x := exit{outcome: m.returned(r, *out), streak: r.streak + 1}
	if at := r.readyAt.Load(); at > 0 && m.now()-time.Duration(at) >= o.goodRun {
		x.streak = 1
	}
	// Deferred, since foreign code may call Goexit. What comes of it is set
	// before to what is safe: the default curve, and a stop that wasn't clean.
	defer r.sendExit(&x)
	cause := context.Cause(r.Context)
	if cause != ErrStopping && o.restarts(cmp.Or(cause, x.err)) {
		x.delay = DefaultBackoff(x.streak)
		if o.backoff != nil {
			if m.cop.leaves(r, x, m.now()) {
				x.ask(o.backoff)
				m.cop.left(r)
			} else {
				x.curve = outcome{err: errCurveBusy}
			}
		}
	}
	if cause != nil {
		x.cleanStop()
	}
	m.lastCheckIn(r, (cause == nil || cause == ErrStopping) && (x.err == nil || x.clean))
}

func (r *run) sendExit(x *exit) {
	r.cancel(ErrRunOver)
	r.endWork(ErrRunOver)
	m := r.worker.entry.manager
	m.cop.left(r)
	m.exited(r, x)
}

// ask asks the user's curve for the delay.
func (x *exit) ask(backoff Backoff) {
	call(func() error {
		x.delay = backoff(x.streak)
		return nil
	}, func(curve outcome) {
		if curve.err != nil {
			x.curve = outcome{err: &wrapped{"scheduler: backoff", curve.err}, stack: curve.stack}
		}
	})
}

// cleanStop finds out whether the error only says that a stop was heard.
func (x *exit) cleanStop() {
	if x.err != nil {
		call(func() error {
			x.clean = errors.Is(x.err, context.Canceled) || errors.Is(x.err, ErrStopping)
			return nil
		}, func(outcome) {})
	}
}

// restarts reports whether an unplanned end with that error leads to another
// start, as far as the Spec alone says.
func (o *options) restarts(err error) bool {
	switch {
	case err != nil && (o.exitOnError || o.haltOnFailure), o.restart == Temporary:
		return false
	case o.restart == Transient:
		return err != nil
	}
	return true
}
