package scheduler

import (
	"fmt"
	"time"
)

// Defaults of [Bounds].
const (
	DefaultBoundsWindow  = 10 * time.Second
	DefaultBoundsWindows = 3
	DefaultBoundsSamples = 1
)

// Limits of [Bounds]; beyond them they are refused.
const (
	MinBoundsWindow  = 100 * time.Millisecond
	MaxBoundsWindows = 1000
	MinStall         = time.Millisecond
)

// Bounds say what a service is expected to do, and what follows when it does
// not. The cop judges the operations that the service tells its [Meter] of, in
// windows, from when the service is Started and until it is to stop: a window
// that is not wholly within that time is thrown away, and what was held against
// a run ends with it. The workers of a pool are judged together, as long as the
// pool is Started, save for Stall.
//
// A service that is metered, and all of whose operations fail for several
// windows, is found whether anything is set here or not. One that never asks
// for its Meter is not watched.
//
// What the cop finds is the service's [Condition], one line of the log, and one
// [Exception]; it is told once, not in every window, until it was over.
type Bounds struct {
	// Window is the length of a window. Not below MinBoundsWindow. Zero:
	// DefaultBoundsWindow.
	Window time.Duration
	// Windows is the number of windows in a row that must break a bound for a
	// verdict. At most MaxBoundsWindows. Zero: DefaultBoundsWindows.
	Windows int
	// Samples is the number of operations below which a window is not judged:
	// it neither breaks a bound nor shows that it is kept. Zero:
	// DefaultBoundsSamples.
	Samples int

	// P50, P75, P95, P98, P99, P999, Max and Mean bound the latency of the
	// operations of a window. What is above by less than the inexactness of
	// [Latency], 3 %, may pass; what is not above never breaks a bound. A
	// quantile may not be allowed more than a higher one, nor Mean more than
	// Max. Zero: no bound.
	P50, P75, P95, P98, P99, P999, Max, Mean time.Duration
	// Stall is the longest time without progress while operations are in
	// flight; a run that has none is parked and not judged. Progress is an
	// operation that ended, and [Meter.Progress]. A run that stalls is a
	// zombie, which is reported, and ended and restarted if the Spec says
	// Recover or the Bounds say Restart; of a pool only that worker. Not judged
	// in windows: it is found within a moment. Not below MinStall. Zero: no
	// bound.
	Stall time.Duration

	// Restart makes a verdict a failure of the run: it is asked to stop, and
	// restarted as the Spec says; all workers of a pool are, since they share
	// their windows. A verdict is otherwise a warning, until a window is good.
	Restart bool
	// Hook is called at each verdict, as a Handler is at failures: in a
	// goroutine of its own, within its timeout, and skipped while its call
	// before still runs. The kind of the Exception is Convicted or Stalled.
	// What the Hook does wrong is recorded, and is no failure of the service.
	// Nil Handle: none.
	Hook Handler
}

func (b Bounds) isZero() bool {
	return b.Window == 0 && b.Windows == 0 && b.Samples == 0 && !b.boundsLatency() &&
		b.Stall == 0 && !b.Restart && b.Hook.Handle == nil && b.Hook.Name == "" && b.Hook.Timeout == 0
}

// latencyBound is one bound with its name, and what it bounds.
type latencyBound struct {
	name     string
	limit    time.Duration // zero: no bound
	permille uint64        // the quantile; maxPermille for Max, meanPermille for Mean
}

// What isn't found by snapshot.quantile.
const (
	maxPermille  = 1000
	meanPermille = maxPermille + 1
)

// latencies are the bounds of latency: first what is ordered, from lower to higher.
func (b *Bounds) latencies() [8]latencyBound {
	return [...]latencyBound{
		{"P50", b.P50, 500}, {"P75", b.P75, 750}, {"P95", b.P95, 950}, {"P98", b.P98, 980},
		{"P99", b.P99, 990}, {"P999", b.P999, 999}, {"Max", b.Max, maxPermille}, {"Mean", b.Mean, meanPermille},
	}
}

func (b *Bounds) boundsLatency() bool {
	for _, l := range b.latencies() {
		if l.limit != 0 {
			return true
		}
	}
	return false
}

func (b Bounds) resolve() Bounds {
	if b.Window == 0 {
		b.Window = DefaultBoundsWindow
	}
	if b.Windows == 0 {
		b.Windows = DefaultBoundsWindows
	}
	if b.Samples == 0 {
		b.Samples = DefaultBoundsSamples
	}
	return b
}

// validate refuses what can't be meant.
func (b Bounds) validate(alias string) error {
	refuse := func(field, format string, args ...any) error {
		return &SpecError{Alias: alias, Field: "Bounds." + field, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case b.Window != 0 && b.Window < MinBoundsWindow:
		return refuse("Window", "%v is below %v; zero means the default", b.Window, MinBoundsWindow)
	case b.Windows < 0 || b.Windows > MaxBoundsWindows:
		return refuse("Windows", "%d is not between 0, for the default, and %d", b.Windows, MaxBoundsWindows)
	case b.Samples < 0:
		return refuse("Samples", "%d is negative; zero means the default", b.Samples)
	case b.Stall != 0 && b.Stall < MinStall:
		return refuse("Stall", "%v is below %v; zero means no bound", b.Stall, MinStall)
	}
	if field, reason := b.voidBound(); field != "" {
		return refuse(field, "%s", reason)
	}
	hook := b.Hook
	switch {
	case hook.Handle == nil && hook.Name == "" && hook.Timeout == 0:
		return nil
	case hook.Handle == nil:
		return refuse("Hook", "handler %q has a nil Handle", hook.Name)
	case hook.Name == "":
		return refuse("Hook", "the handler has no Name, by which its own failures are told")
	case hook.Timeout < 0:
		return refuse("Hook", "handler %q: Timeout %v is negative; zero means the default", hook.Name, hook.Timeout)
	}
	return nil
}

// voidBound finds a bound of latency that is negative, or that can't be broken
// without another one being broken. Equal ones pass: it is how one says that
// nothing may take longer than that.
func (b *Bounds) voidBound() (field, reason string) {
	var lower latencyBound
	for _, l := range b.latencies() {
		switch {
		case l.limit < 0:
			return l.name, fmt.Sprintf("%v is negative; zero means no bound", l.limit)
		case l.limit == 0:
			continue
		case l.permille == meanPermille:
			if b.Max > 0 && b.Max < l.limit {
				return l.name, fmt.Sprintf("%v is above the Max of %v, which is broken before it", l.limit, b.Max)
			}
		case lower.limit > l.limit:
			return lower.name, fmt.Sprintf("%v is above the %s of %v, which is broken before it", lower.limit, l.name, l.limit)
		default:
			lower = l
		}
	}
	return "", ""
}
