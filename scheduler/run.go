package scheduler

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
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
	readyAt         atomic.Int64
	held            atomic.Pointer[gear]
	streak          int32         // unplanned ends in a row before this run
	slot            int32         // in cop.exits, from 1; zero: not there; guarded by the cop
	stopping        atomic.Bool   // to stop, on purpose
	over            atomic.Uint32 // an overBy: why its work has ended, or is to be born ended

	// Guarded by the manager, as what follows.
	*rare                   // to be written through own
	stopAsked time.Duration // when, as an offset of the manager's birth
	entered   bool          // it has its instance
	drains    bool          // which is a Drainer
	saves     bool          // which is a StateSaver
	failed    bool          // counted as a failure
	abandoned bool
	ended     bool
	late      bool // is over, though its state doesn't say so

	detached bool // carries lineage to a handler; is no run; never changed
}

// rare is what most runs never have: those without share one of the manager's,
// which stays blank.
type rare struct {
	instance Service         // that a factory made
	inner    *ServiceManager // of a scheduler that is served in this run
	former   *ServiceManager // of the one that was served in the run before
	failing  error           // it was asked to stop because of this failure
	failure  Kind            // of failing
	doing    string          // what it says it does while it starts
	parting  *parting        // of a run that is Draining
}

// own returns the run's rare fields for writing.
func (r *run) own() *rare {
	if r.rare == &r.worker.entry.manager.blank.rare {
		r.rare = &rare{}
	}
	return r.rare
}

// fails notes for which failure the run is asked to stop; nil: for none.
func (r *run) fails(failure error, kind Kind) {
	if failure != nil || r.failing != nil {
		r.own().failing, r.rare.failure = failure, kind
	}
}

// gear is what a run holds that asked for it. It is never changed, but replaced:
// see equip.
type gear struct {
	logger *slog.Logger
	meter  *Meter
	visit  *visit // of one that checks in or is given back what was; set before Serve
	work   *workContext
}

// gear returns what the run holds now.
func (r *run) gear() gear {
	if g := r.held.Load(); g != nil {
		return *g
	}
	return gear{}
}

// equip changes what the run holds.
func (r *run) equip(change func(*gear)) {
	for {
		old, g := r.held.Load(), gear{}
		if old != nil {
			g = *old
		}
		change(&g)
		if r.held.CompareAndSwap(old, &g) {
			return
		}
	}
}

// served returns the instance of a run that was entered.
func (r *run) served() Service {
	if s := r.worker.entry.service; s != nil {
		return s
	}
	return r.instance
}

// overBy says why a run's work has ended.
type overBy uint32

const (
	notOver overBy = iota
	overByEnd
	overByTimeout
)

func (o overBy) cause() error {
	if o == overByTimeout {
		return ErrStopTimeout
	}
	return ErrRunOver
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
	r := &run{rare: &w.entry.manager.blank.rare, worker: w, generation: w.generation, streak: w.streak}
	r.Context, r.cancel = context.WithCancelCause(base)
	return r
}

// lineage makes the logger on first use: most services log, but thousands of
// idle ones need not hold one.
func (r *run) lineage() *slog.Logger {
	if l := r.gear().logger; l != nil {
		return l
	}
	m := r.worker.entry.manager
	base, root := m.logging()
	if base == nil {
		return slog.New(slog.DiscardHandler)
	}
	l := withLineage(base, r.worker.path(root))
	r.equip(func(g *gear) { g.logger = l })
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
	work := r.gear().work
	if work == nil {
		work = r.makeWork()
	}
	// Who ends it says so before he looks for it: one of the two sees the other.
	if over := overBy(r.over.Load()); over != notOver {
		work.end(over.cause())
	}
	return work
}

// makeWork makes the work context, unless another goroutine is faster.
func (r *run) makeWork() (work *workContext) {
	ctx, end := context.WithCancelCause(r.worker.entry.manager.runBase())
	made := &workContext{Context: ctx, run: r, end: end}
	r.equip(func(g *gear) {
		if g.work == nil {
			g.work = made
		}
		work = g.work
	})
	if work != made {
		end(nil)
	}
	return work
}

// endWork ends the work context, present or future, by what was first.
func (r *run) endWork(by overBy) {
	r.over.CompareAndSwap(uint32(notOver), uint32(by))
	if work := r.gear().work; work != nil {
		work.end(overBy(r.over.Load()).cause())
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
// is large enough for it; only Goexit leaves no other place. The frames below
// are kept small for that: to copy the stack of each of ten thousand services
// that fail at once into a larger one is a fifth of a storm.
//
//go:noinline
func (r *run) execute() { // stack.go looks for it by name
	out := r.guard()
	if out == nil && r.stopping.Load() && r.gear().visit == nil {
		r.endWork(overByEnd)
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
	if service == nil {
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
	curve  *outcome      // what went wrong in the curve that delay is from; nil: nothing
}

// exit makes it and sends it, in the goroutine of the run.
//
//go:noinline
func (r *run) exit(out *outcome) {
	var x exit
	r.reckon(&x, out)
	r.sendExit(&x)
}

// reckon works out what an exit is, under no lock, so that foreign code (the
// curve, methods of the error) can hold up nobody else. That may call Goexit,
// from which it does not return: it then sends what is known, which is set
// before to what is safe: the default curve, and a stop that wasn't clean.
//
//go:noinline
func (r *run) reckon(x *exit, out *outcome) {
	done := false
	defer func() {
		if !done {
			r.sendExit(x)
		}
	}()
	m, o := r.worker.entry.manager, r.worker.entry.options
	x.outcome, x.streak = m.returned(r, *out), int(r.streak)+1
	if at := r.readyAt.Load(); at > 0 && m.now()-time.Duration(at) >= o.goodRun {
		x.streak = 1
	}
	cause := context.Cause(r.Context)
	if cause != ErrStopping && o.restarts(cmp.Or(cause, x.err)) {
		x.delay = DefaultBackoff(x.streak)
		if o.backoff != nil {
			if m.cop.leaves(r, x, m.now()) {
				x.ask(o.backoff)
				m.cop.left(r)
			} else {
				x.curve = &outcome{err: errCurveBusy}
			}
		}
	}
	if cause != nil {
		x.cleanStop()
	}
	m.lastCheckIn(r, (cause == nil || cause == ErrStopping) && (x.err == nil || x.clean))
	done = true
}

//go:noinline
func (r *run) sendExit(x *exit) {
	r.cancel(ErrRunOver)
	r.endWork(overByEnd)
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
			x.curve = &outcome{err: &wrapped{"scheduler: backoff", curve.err}, stack: curve.stack}
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
