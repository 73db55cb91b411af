package scheduler

import (
	"context"
	"log/slog"
	"time"
)

// Service is what a Scheduler runs.
type Service interface {
	// Serve runs until its work is done or ctx ends. ctx ends when nothing new
	// may be taken; what is then in flight may be finished under [Work], which
	// ends at the stop timeout.
	//
	// What a return means is said by [Spec.Restart]. Whatever else ends the
	// run (an error, a panic, runtime.Goexit) is caught, kept and treated as a
	// failure; after ctx has ended, nil and ctx's own error both mean a clean
	// stop.
	//
	// Under one alias, one instance is never run twice at the same time; it is
	// run again after an end unless the Spec has a Factory. A panic in a
	// goroutine that Serve started by itself can't be caught by anybody else
	// and ends the process.
	Serve(ctx context.Context) error
}

// Func is a Service made of one function.
type Func func(ctx context.Context) error

// Serve calls f.
func (f Func) Serve(ctx context.Context) error { return f(ctx) }

// Ready says that the run that ctx belongs to is ready: it ends the start
// timeout and lets the services that come After it start. A service whose
// [Spec.StartTimeout] is above zero must call it; for the others it has no
// effect, since they count as started when Serve is entered.
//
// Ready may be called from any goroutine and any number of times; calls after
// the first, after the end of the run, or outside a run do nothing.
func Ready(ctx context.Context) {
	if r := runOf(ctx); r != nil && !r.detached {
		r.worker.entry.manager.ready(r)
	}
}

// Extend asks for more time to become ready: the start may now take d from
// now, unless it may take longer already, and never longer in all than
// [Spec.StartLimit]. It is to be asked again as the start goes on, so that one
// that hangs is found. doing says in words what takes the time; reports of what
// blocks a start show it.
//
// Errors: ErrStartLimit if the start may go on for less than d (its message
// says how long); ErrNotStarting if the run is ready, has no start timeout, is
// asked to stop, or will be and its time is over, and outside a run. It may be
// called from any goroutine.
func Extend(ctx context.Context, d time.Duration, doing string) error {
	r := runOf(ctx)
	if r == nil || r.detached {
		return ErrNotStarting
	}
	return r.worker.entry.manager.extend(r, d, doing)
}

// Work returns a context for work in flight. It has ctx's values but not its
// end: it ends when the stop timeout of the run has passed (its cause is then
// [ErrStopTimeout]), or when the run is over ([ErrRunOver]), whichever is
// first, and thereby fences what an abandoned run still holds.
//
// Outside a run, and in a [Handler], it returns ctx itself.
func Work(ctx context.Context) context.Context {
	r := runOf(ctx)
	if r == nil || r.detached {
		return ctx
	}
	switch c := ctx.(type) {
	case *run:
		return r.workContext()
	case *workContext, *valueContext:
		return c
	}
	return &valueContext{Context: r.workContext(), values: context.WithoutCancel(ctx)}
}

// Logger returns the logger of the run that ctx belongs to. Every line
// carries the lineage of the service in the attribute "service", for example
// os/scheduler/analyzer, and os/scheduler/requestor/2 for the second worker of
// a pool. Outside a run it discards; it is never nil.
func Logger(ctx context.Context) *slog.Logger {
	if r := runOf(ctx); r != nil {
		return r.lineage()
	}
	return slog.New(slog.DiscardHandler)
}
