package scheduler

import (
	"fmt"
	"time"
)

// Defaults of a [Spec].
const (
	DefaultStopTimeout  = 10 * time.Second
	DefaultDrainTimeout = 30 * time.Second
	DefaultRetryWindow  = 10 * time.Minute
	DefaultGoodRun      = time.Minute
	DefaultSaveEvery    = time.Minute
	DefaultSaveTimeout  = 5 * time.Second
)

// MinSaveEvery is the least [Spec.SaveEvery]: a state is asked for, compared and
// written each time, which below it would keep a core busy.
const MinSaveEvery = 100 * time.Millisecond

// startLimitFactor times StartTimeout is the default of Spec.StartLimit.
const startLimitFactor = 10

// Bounds of a [Spec]; beyond them it is refused.
const (
	MaxAlias      = 128     // bytes
	MaxRetryLimit = 10_000  // remembered instants, per worker
	MaxPool       = 100_000 // workers
)

// RestartPolicy says what follows when a run ends without having been asked
// to stop.
type RestartPolicy int

const (
	// Permanent: started again whatever ended it, a nil return included.
	Permanent RestartPolicy = iota
	// Transient: started again after a failure; a nil return completes it.
	Transient
	// Temporary: never started again. A nil return completes it, a failure
	// ends it. The entry with its record stays until Remove.
	Temporary
)

func (p RestartPolicy) String() string {
	switch p {
	case Permanent:
		return "permanent"
	case Transient:
		return "transient"
	case Temporary:
		return "temporary"
	}
	return fmt.Sprintf("RestartPolicy(%d)", int(p))
}

// MarshalText makes policies readable in JSON.
func (p RestartPolicy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Spec describes one service, or one pool of them. It is copied when added;
// the zero value of each field but Alias, Service and Factory is a default.
type Spec struct {
	// Alias names the service in its scheduler. At most MaxAlias bytes,
	// printable, without '/', which separates the steps of a lineage.
	Alias string

	// Service is the instance to run, again after each end. Exactly one of
	// Service and Factory is set.
	Service Service
	// Factory makes an instance for each run: for restarts with fresh state,
	// and for pools. It is called in the goroutine of the run, its time counts
	// against StartTimeout, and what it panics with is a failure of the run;
	// so is a nil result.
	Factory func() Service

	// StartDelay is waited before the first run that follows Serve, Add, Start,
	// the start of a dependency, or the restart of its Group because of another
	// service; restarts after an end wait for Backoff instead. Zero: none.
	StartDelay time.Duration
	// StartTimeout bounds the time from the call of Serve (or Factory) until
	// Ready. If it passes, the run has failed and is asked to stop. Neither
	// StartDelay nor waiting for After counts against it. Zero: the service
	// need not say Ready and counts as started when Serve is entered.
	StartTimeout time.Duration
	// StartLimit caps what [Extend] can lengthen StartTimeout to. Zero: ten
	// times StartTimeout.
	StartLimit time.Duration
	// RollBack undoes a start that failed instead of trying it again: if the
	// first run since the service was last at rest fails before it was Ready,
	// then during the start of the scheduler Serve stops what was started,
	// dependants first, and returns the failure; later, that is once nothing is
	// left that may yet be started for the first time, the service ends as
	// Failed, those that come After it stop, and Start, which waited for it,
	// says why. It needs a StartTimeout, without which no start can fail.
	RollBack bool
	// DrainTimeout bounds the Drain of a [Drainer] before its run is asked to
	// stop. Zero: DefaultDrainTimeout, and for a Scheduler inside a Scheduler
	// as long as its own services may take.
	DrainTimeout time.Duration
	// StopTimeout bounds the time from the end of the run's context until
	// Serve has returned; then the run is abandoned. Zero: DefaultStopTimeout,
	// and for a Scheduler inside a Scheduler as long as its own services may
	// take.
	StopTimeout time.Duration

	// Restart says what follows an end. Zero: Permanent.
	Restart RestartPolicy
	// RetryLimit is the number of restarts within RetryWindow, counted for
	// each worker, after which the next end gives the service up. At most
	// MaxRetryLimit. Zero: no limit. Only unplanned ends count.
	RetryLimit int
	// RetryWindow is the sliding window of RetryLimit. Zero:
	// DefaultRetryWindow. Note that a slow Backoff may never fill a short one.
	RetryWindow time.Duration
	// Backoff is the wait before a restart. Nil: DefaultBackoff.
	Backoff Backoff
	// GoodRun is how long a run must have been ready for the ends before it to
	// be forgotten by Backoff. Zero: DefaultGoodRun.
	GoodRun time.Duration

	// Escalate makes the end of a service that gives up (see RetryLimit) end
	// the scheduler: Serve stops everything and returns the failure, which a
	// scheduler around it takes for the failure of one of its own services.
	Escalate bool
	// Significant makes the end of the service, whenever it comes to rest by
	// itself, end the scheduler: Serve stops everything and returns nil if the
	// service completed, else its failure. See also Config.AllSignificant.
	Significant bool
	// Recover brings back what the manager finds dead or hung, instead of only
	// reporting it: a service that gave up is given a fresh go after each
	// RetryWindow; one that stalls (see Bounds.Stall), or whose run is over
	// though its state does not say so, is ended and restarted as after a
	// failure; and if it has a Factory, an abandoned run is replaced at once,
	// as by [ServiceManager.Replace]; if it was ended for a failure, after
	// DefaultBackoff, and counted against RetryLimit.
	Recover bool
	// Group names the [Group] of the Config that the service belongs to. One
	// with a Schedule can only belong to a group with OneForOne, whose limits
	// then count its retries. Empty: none, which is one-for-one.
	Group string

	// After lists aliases that must be started (or completed) before this one
	// starts, and that stop only after this one has stopped. It holds through
	// one that has completed, too: this one then comes after what that came
	// after.
	After []string

	// PreHook, Handlers and PostHook are called in this order for each failure
	// of the service. The chain of the Config follows its own order beside it.
	// A hook with a nil Handle is none.
	PreHook  Handler
	Handlers []Handler
	PostHook Handler
	// ExitOnError makes any failure end the scheduler: Serve stops everything
	// and returns the error. Not those of a run that was asked to stop.
	ExitOnError bool
	// HaltOnFailure makes any failure end the service, whatever Restart says,
	// and stop those that come After it, until Start is called. Not those of a
	// run that was asked to stop.
	HaltOnFailure bool

	// Pool makes the service a pool of so many interchangeable workers, each
	// an instance of its own from Factory, restarted for itself;
	// [ServiceManager.Resize] changes the number. Zero: no pool.
	Pool int

	// Schedule makes the service run at instants instead of all the time; its
	// run ends with a nil return, and holds nothing until the next. Under a
	// Schedule, Permanent waits for the next tick whatever ended a run;
	// Transient tries a failed run again after Backoff, and after RetryLimit
	// waits for the next tick; Temporary ends the schedule at a failure. Nil:
	// run all the time.
	Schedule *Schedule

	// SaveEvery is the time between two check-ins of a [StateSaver]. Not below
	// MinSaveEvery. Zero: DefaultSaveEvery.
	SaveEvery time.Duration
	// SaveTimeout bounds one check-in, which is SaveState and the writing of
	// it to the store together; all check-ins that one stop waits for; and, at
	// a start, the reading of the store and RestoreState each. What does not
	// return is left behind a tenth of a second later. Zero:
	// DefaultSaveTimeout.
	SaveTimeout time.Duration

	// Bounds are what the cop watches the service for. Zero: nothing but that
	// its operations do not all fail.
	Bounds Bounds

	// Meta is whatever else shall be known of the service; the [Directory]
	// shows it. It is copied.
	Meta map[string]string
}
