package scheduler

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Defaults of a [Spec].
const (
	DefaultStopTimeout = 10 * time.Second
	DefaultRetryWindow = 10 * time.Minute
	DefaultGoodRun     = time.Minute
)

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

	// StartDelay is waited before the first run that follows Serve, Add, Start
	// or the start of a dependency; restarts after an end wait for Backoff
	// instead. Zero: none.
	StartDelay time.Duration
	// StartTimeout bounds the time from the call of Serve (or Factory) until
	// Ready. If it passes, the run has failed and is asked to stop. Neither
	// StartDelay nor waiting for After counts against it. Zero: the service
	// need not say Ready and counts as started when Serve is entered.
	StartTimeout time.Duration
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

	// After lists aliases that must be started (or completed) before this one
	// starts, and that stop only after this one has stopped.
	After []string

	// PreHook, Handlers and PostHook are called in this order for each failure
	// of the service. The chain of the Config follows its own order beside it.
	// A hook with a nil Handle is none.
	PreHook  Handler
	Handlers []Handler
	PostHook Handler
	// ExitOnError makes any failure end the scheduler: Serve stops everything
	// and returns the error.
	ExitOnError bool
	// HaltOnFailure makes any failure end the service, whatever Restart says,
	// and stop those that come After it, until Start is called.
	HaltOnFailure bool

	// Pool is the number of interchangeable workers, each an instance of its
	// own from Factory, restarted for itself. Zero and one: a single one.
	Pool int
}

// options is what a Spec resolves to beside its alias and instance. Services
// that leave everything at its default share one, since thousands of them are
// common.
type options struct {
	startDelay, startTimeout, stopTimeout time.Duration
	restart                               RestartPolicy
	retryLimit                            int
	retryWindow                           time.Duration
	backoff                               Backoff
	goodRun                               time.Duration
	exitOnError, haltOnFailure            bool
}

func (s *Spec) options() options {
	o := options{
		startDelay: s.StartDelay, startTimeout: s.StartTimeout, stopTimeout: s.StopTimeout,
		restart: s.Restart, retryLimit: s.RetryLimit, retryWindow: s.RetryWindow,
		backoff: s.Backoff, goodRun: s.GoodRun,
		exitOnError: s.ExitOnError, haltOnFailure: s.HaltOnFailure,
	}
	if o.retryWindow == 0 {
		o.retryWindow = DefaultRetryWindow
	}
	if o.goodRun == 0 {
		o.goodRun = DefaultGoodRun
	}
	return o
}

// isDefault reports whether the spec sets nothing that options holds.
func (s *Spec) isDefault() bool {
	return s.StartDelay == 0 && s.StartTimeout == 0 && s.StopTimeout == 0 &&
		s.Restart == Permanent && s.RetryLimit == 0 && s.RetryWindow == 0 &&
		s.Backoff == nil && s.GoodRun == 0 && !s.ExitOnError && !s.HaltOnFailure
}

// validate refuses what can't be meant, without looking at other services.
func (s *Spec) validate() error {
	refuse := func(field, format string, args ...any) error {
		return &SpecError{Alias: s.Alias, Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	if reason := badAlias(s.Alias); reason != "" {
		return refuse("Alias", "%s", reason)
	}
	switch {
	case s.Service == nil && s.Factory == nil:
		return refuse("Service", "neither Service nor Factory is set; exactly one must be")
	case s.Service != nil && s.Factory != nil:
		return refuse("Service", "both Service and Factory are set; exactly one must be")
	case s.Service != nil && isNil(s.Service):
		return refuse("Service", "holds a nil %T", s.Service)
	case s.Pool < 0 || s.Pool > MaxPool:
		return refuse("Pool", "%d is not between 0 and %d", s.Pool, MaxPool)
	case s.Pool > 1 && s.Factory == nil:
		return refuse("Pool", "%d workers need a Factory, since one instance can't run twice", s.Pool)
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"StartDelay", s.StartDelay}, {"StartTimeout", s.StartTimeout}, {"StopTimeout", s.StopTimeout},
		{"RetryWindow", s.RetryWindow}, {"GoodRun", s.GoodRun},
	} {
		if d.value < 0 {
			return refuse(d.field, "%v is negative; zero means the default", d.value)
		}
	}
	if field, reason := s.contradiction(); reason != "" {
		return refuse(field, "%s", reason)
	}
	for i, alias := range s.After {
		if alias == s.Alias {
			return refuse("After", "the service comes after itself")
		}
		if slices.Contains(s.After[:i], alias) {
			return refuse("After", "%q is listed twice", alias)
		}
	}
	return validateChain(s.Alias, s.PreHook, s.Handlers, s.PostHook)
}

// contradiction finds a pair of restart settings of which one makes the other
// void, and returns the void one's field and the reason; or two empty strings.
func (s *Spec) contradiction() (field, reason string) {
	switch {
	case s.Restart < Permanent || s.Restart > Temporary:
		return "Restart", fmt.Sprintf("%v is none of permanent, transient, temporary", s.Restart)
	case s.RetryLimit < 0 || s.RetryLimit > MaxRetryLimit:
		return "RetryLimit", fmt.Sprintf("%d is not between 0 and %d", s.RetryLimit, MaxRetryLimit)
	case s.RetryWindow > 0 && s.RetryLimit == 0:
		return "RetryWindow", "set without RetryLimit, which it belongs to"
	case s.ExitOnError && s.HaltOnFailure:
		return "HaltOnFailure", "set with ExitOnError, which ends the scheduler at the same failure"
	}
	never := ""
	switch {
	case s.Restart == Temporary:
		never = "with Restart temporary"
	case s.Restart == Transient && s.ExitOnError:
		never = "with Restart transient and ExitOnError"
	case s.Restart == Transient && s.HaltOnFailure:
		never = "with Restart transient and HaltOnFailure"
	}
	switch {
	case never == "":
		return "", ""
	case s.RetryLimit > 0:
		return "RetryLimit", "set " + never + ", which never restarts"
	case s.Backoff != nil:
		return "Backoff", "set " + never + ", which never restarts"
	case s.GoodRun > 0:
		return "GoodRun", "set " + never + ", which never restarts"
	}
	return "", ""
}

func badAlias(alias string) string {
	switch {
	case alias == "":
		return "empty"
	case len(alias) > MaxAlias:
		return fmt.Sprintf("%d bytes long; at most %d are allowed", len(alias), MaxAlias)
	case strings.ContainsRune(alias, '/'):
		return "contains '/', which separates the steps of a lineage"
	case strings.ContainsFunc(alias, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }):
		return "contains a character that can't be printed"
	}
	return ""
}

// isNil finds a nil pointer or function behind the interface, which would only
// show as a panic in each run.
func isNil(s Service) bool {
	v := reflect.ValueOf(s)
	switch v.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Chan, reflect.Slice:
		return v.IsNil()
	}
	return false
}
