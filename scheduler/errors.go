package scheduler

import (
	"errors"
	"fmt"
)

// What Add, New, Start, Stop, Restart, Remove, Replace and the waiting calls
// can answer. Each is found with errors.Is.
var (
	// ErrSpec marks a Spec or Config that contradicts itself; the error is a
	// [*SpecError].
	ErrSpec = errors.New("scheduler: invalid spec")
	// ErrExists: a service of that alias is registered already.
	ErrExists = errors.New("scheduler: alias is taken")
	// ErrUnknown: no service of that alias is registered (any more).
	ErrUnknown = errors.New("scheduler: unknown alias")
	// ErrServing: Serve was called while Serve is running.
	ErrServing = errors.New("scheduler: already serving")
	// ErrNotServing: the call needs a scheduler whose Serve runs and was not
	// asked to end.
	ErrNotServing = errors.New("scheduler: not serving")
	// ErrRunning: Start of a service that is started already.
	ErrRunning = errors.New("scheduler: already running")
	// ErrStopped: the service was stopped on purpose while the call waited for
	// its start, or a service that it comes After is stopped on purpose.
	ErrStopped = errors.New("scheduler: stopped on purpose")
	// ErrEnded: the service ended for good (it failed or gave up) while the
	// call waited for its start. The failure is wrapped beside it.
	ErrEnded = errors.New("scheduler: ended")
	// ErrDependants: Remove of a service that others come After.
	ErrDependants = errors.New("scheduler: has dependants")
	// ErrGaveUp: a service, its group or the scheduler reached its RetryLimit,
	// and the scheduler ended because of it. The failure is wrapped beside it.
	ErrGaveUp = errors.New("scheduler: gave up")
	// ErrNotScheduled: Trigger of a service that has no Schedule.
	ErrNotScheduled = errors.New("scheduler: has no schedule")
	// ErrAbandoned: a run that was abandoned at its stop timeout still runs,
	// therefore no new generation is started.
	ErrAbandoned = errors.New("scheduler: abandoned run has not ended")
)

// What [Find] and [Lookup] can answer beside ErrUnknown.
var (
	// ErrNoDirectory: the context does not belong to a run.
	ErrNoDirectory = errors.New("scheduler: context carries no directory")
	// ErrNotStarted: the service is registered but not started now.
	ErrNotStarted = errors.New("scheduler: not started")
	// ErrType: the service is not of the type asked for.
	ErrType = errors.New("scheduler: service has another type")
)

// Causes of the end of a context, and errors of an [Exception].
var (
	// ErrStopping is the cause of a run's context when it is asked to stop.
	ErrStopping = errors.New("scheduler: stop asked")
	// ErrStartTimeout: Ready was not said within the start timeout.
	ErrStartTimeout = errors.New("scheduler: start timeout")
	// ErrNotStarting: Extend of a run that has no start timeout to be extended.
	ErrNotStarting = errors.New("scheduler: not starting")
	// ErrStartLimit: Extend was cut short, since the start may take no longer.
	ErrStartLimit = errors.New("scheduler: start limit")
	// ErrDrainTimeout: Drain did not return within the drain timeout.
	ErrDrainTimeout = errors.New("scheduler: drain timeout")
	// ErrSaveTimeout: SaveState or RestoreState did not return within the save
	// timeout.
	ErrSaveTimeout = errors.New("scheduler: save timeout")
	// ErrStalled: operations were in flight, and there was no progress for as
	// long as the service's Bounds allow.
	ErrStalled = errors.New("scheduler: stalled")
	// ErrBounds: a service broke its Bounds, or all of its operations failed.
	ErrBounds = errors.New("scheduler: bounds broken")
	// ErrStopTimeout: the run did not end within the stop timeout.
	ErrStopTimeout = errors.New("scheduler: stop timeout")
	// ErrRunOver is the cause of a run's contexts once the run has ended.
	ErrRunOver = errors.New("scheduler: run is over")
	// ErrGoexit: the run ended by runtime.Goexit (as t.FailNow does).
	ErrGoexit = errors.New("scheduler: service called runtime.Goexit")
	// ErrHandlerTimeout: a handler did not return within its timeout.
	ErrHandlerTimeout = errors.New("scheduler: handler timeout")
	// ErrHandlerBusy: a handler was skipped, because its call before, which
	// timed out, still runs.
	ErrHandlerBusy = errors.New("scheduler: handler still busy")
)

// endError is ErrEnded with the failure. Its text is made when asked for: the
// failure's Error method is foreign code, and the error is made under a lock.
type endError struct {
	verb, alias string
	end         string
	err         error // nil: none, as of a service that completed too often
}

func (e *endError) Error() string {
	text := fmt.Sprintf("scheduler: %s %q: %s", e.verb, e.alias, e.end)
	if e.err != nil {
		text += ": " + e.err.Error()
	}
	return text
}

func (e *endError) Unwrap() []error { return withCause(ErrEnded, e.err) }

// withCause lists both, or the first if there is no second.
func withCause(err, cause error) []error {
	if cause == nil {
		return []error{err}
	}
	return []error{err, cause}
}

// wrapped is an error behind some words. Its text is made when asked for, by
// whoever asks: the error's Error method is foreign code.
type wrapped struct {
	words string
	err   error
}

func (e *wrapped) Error() string { return e.words + ": " + e.err.Error() }

func (e *wrapped) Unwrap() error { return e.err }

// gaveUpError is ErrGaveUp with the failure, lazy as endError is.
type gaveUpError struct{ err error }

func (e *gaveUpError) Error() string {
	if e.err == nil {
		return ErrGaveUp.Error()
	}
	return ErrGaveUp.Error() + ": " + e.err.Error()
}

func (e *gaveUpError) Unwrap() []error { return withCause(ErrGaveUp, e.err) }

// SpecError says which field of which Spec (or of the Config, when Alias is
// empty) is refused, and why. errors.Is finds ErrSpec in it, and Err if set.
type SpecError struct {
	Alias  string // as given, possibly empty
	Field  string // name of the field
	Reason string // the value, and what is allowed
	Err    error  // ErrExists or ErrUnknown where one applies, else nil
}

func (e *SpecError) Error() string {
	if e.Alias == "" {
		return fmt.Sprintf("scheduler: %s: %s", e.Field, e.Reason)
	}
	return fmt.Sprintf("scheduler: service %q: %s: %s", e.Alias, e.Field, e.Reason)
}

// Unwrap returns ErrSpec and, if set, Err.
func (e *SpecError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrSpec}
	}
	return []error{ErrSpec, e.Err}
}
