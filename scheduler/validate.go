package scheduler

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
)

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
	case s.Pool > 0 && s.Factory == nil:
		return refuse("Pool", "%d workers need a Factory, since one instance can't run twice", s.Pool)
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"StartDelay", s.StartDelay}, {"StartTimeout", s.StartTimeout}, {"StartLimit", s.StartLimit},
		{"DrainTimeout", s.DrainTimeout}, {"StopTimeout", s.StopTimeout},
		{"RetryWindow", s.RetryWindow}, {"GoodRun", s.GoodRun},
		{"SaveEvery", s.SaveEvery}, {"SaveTimeout", s.SaveTimeout},
	} {
		if d.value < 0 {
			return refuse(d.field, "%v is negative; zero means the default", d.value)
		}
	}
	if s.SaveEvery != 0 && s.SaveEvery < MinSaveEvery {
		return refuse("SaveEvery", "%v is below %v; zero means the default", s.SaveEvery, MinSaveEvery)
	}
	for _, contradiction := range []func() (field, reason string){
		s.startContradiction, s.restartContradiction, s.endContradiction, s.scheduleContradiction,
	} {
		if field, reason := contradiction(); reason != "" {
			return refuse(field, "%s", reason)
		}
	}
	if s.Schedule != nil {
		if err := s.Schedule.validate(s.Alias); err != nil {
			return err
		}
	}
	for i, alias := range s.After {
		if alias == s.Alias {
			return refuse("After", "the service comes after itself")
		}
		if slices.Contains(s.After[:i], alias) {
			return refuse("After", "%q is listed twice", alias)
		}
	}
	if err := s.Bounds.validate(s.Alias); err != nil {
		return err
	}
	return validateChain(s.Alias, s.PreHook, s.Handlers, s.PostHook)
}

// startContradiction finds a pair of settings of which one makes the other
// void, and returns the void one's field and the reason; or two empty strings.
func (s *Spec) startContradiction() (field, reason string) {
	switch {
	case s.StartTimeout == 0 && s.StartLimit > 0:
		return "StartLimit", "set without StartTimeout, which it belongs to"
	case s.StartTimeout == 0 && s.RollBack:
		return "RollBack", "set without StartTimeout, without which the service counts as started once Serve is entered"
	case s.StartLimit > 0 && s.StartLimit < s.StartTimeout:
		return "StartLimit", fmt.Sprintf("%v is below the StartTimeout of %v, which it caps", s.StartLimit, s.StartTimeout)
	}
	return "", ""
}

// endContradiction is startContradiction for what follows an end for good.
func (s *Spec) endContradiction() (field, reason string) {
	neverEnds := s.Restart == Permanent && s.RetryLimit == 0 && !s.HaltOnFailure && !s.ExitOnError && !s.RollBack && s.Group == "" && s.Schedule == nil
	switch {
	case s.Escalate && s.RetryLimit == 0:
		return "Escalate", "set without RetryLimit, without which the service never gives up"
	case s.Escalate && s.Recover:
		return "Recover", "set with Escalate, which ends the scheduler instead"
	case s.Significant && neverEnds:
		return "Significant", "set for a service that never ends by itself: Restart is permanent, without RetryLimit"
	case s.Significant && s.Recover && s.RetryLimit > 0:
		return "Recover", "set with Significant, which ends the scheduler instead"
	case s.Recover && (s.ExitOnError || s.HaltOnFailure):
		return "Recover", "set with ExitOnError or HaltOnFailure, after which nothing is brought back"
	case s.Recover && s.Restart == Temporary:
		return "Recover", "set with Restart temporary, which never restarts"
	}
	return "", ""
}

// scheduleContradiction is startContradiction for services that run at instants.
func (s *Spec) scheduleContradiction() (field, reason string) {
	switch {
	case s.Schedule == nil:
		return "", ""
	case s.Schedule.Overlap == Allow && s.Pool < 2:
		return "Schedule.Overlap", fmt.Sprintf("runs that overlap need a Pool of at least 2 to bound them, and it is %d", s.Pool)
	case s.Schedule.Overlap != Allow && s.Pool > 1:
		return "Pool", fmt.Sprintf("%d workers under a Schedule need Overlap Allow, since otherwise one runs at a time", s.Pool)
	case s.Schedule.Overlap == Allow && s.Factory == nil:
		return "Factory", "not set, and Schedule.Overlap Allow needs one, since one instance can't run twice"
	case s.RollBack:
		return "RollBack", "set with a Schedule: there is no start to roll back"
	case s.Escalate:
		return "Escalate", "set with a Schedule, under which a service that reached its RetryLimit waits for the next tick"
	case s.Significant && s.ticksForEver():
		return "Significant", "set for a schedule that never ends by itself; it needs Schedule.At, or an end at a failure: Restart temporary, ExitOnError, HaltOnFailure"
	}
	return "", ""
}

// ticksForEver reports whether nothing that its runs do ends the schedule. What
// a Group or the Config limits is their retries.
func (s *Spec) ticksForEver() bool {
	retries := s.Group != "" && s.Restart == Transient
	return s.Schedule.At.IsZero() && s.Restart != Temporary && !s.ExitOnError && !s.HaltOnFailure && !retries
}

// restartContradiction is startContradiction for what follows an end.
func (s *Spec) restartContradiction() (field, reason string) {
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
	case s.Schedule != nil && s.Restart == Permanent:
		never = "with a Schedule and Restart permanent"
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
		return "is empty"
	case len(alias) > MaxAlias:
		return fmt.Sprintf("is %d bytes long; at most %d are allowed", len(alias), MaxAlias)
	case strings.ContainsRune(alias, '/'):
		return "contains '/', which separates the steps of a lineage"
	case strings.ContainsFunc(alias, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }):
		return "contains a character that can't be printed"
	}
	return ""
}

// isNil finds a nil pointer or function behind an interface, which would only
// show as a panic in each run, or at each check-in.
func isNil(what any) bool {
	v := reflect.ValueOf(what)
	switch v.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Chan, reflect.Slice:
		return v.IsNil()
	}
	return false
}
