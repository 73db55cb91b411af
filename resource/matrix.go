package resource

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// applying is one Apply at work.
type applying struct {
	p     *Parser
	r     *Resource
	a     *Answer
	l     Lesson
	retry time.Time // the answer's Retry-After; zero: none
}

// floor sets the instant that every answer leaves: the interval, and a
// Retry-After whatever the status (rule G-3).
func (x *applying) floor() {
	r := x.r
	r.State, r.Why, r.NotBefore = WaitingForInterval, ReasonInterval, x.a.at().Add(r.Effective())
	if r.PollInterval > r.Interval {
		r.Why = ReasonPollInterval
	}
	if until, _, ok := retryAfter(x.a); ok {
		x.retry = until
		x.wait(until, WaitingForInterval, ReasonRetryAfter)
	}
}

// wait makes the resource wait until the instant, if that is later.
func (x *applying) wait(until time.Time, state State, why Reason) {
	if until.After(x.r.NotBefore) {
		x.r.NotBefore, x.r.State, x.r.Why = within(until, x.a.at()), state, why
	}
}

// status is the matrix of RULES.md: what each status means for a resource.
func (x *applying) status() Result {
	a := x.a
	switch s := a.Status; {
	case a.Trouble == ReasonMediaType:
		return x.fail(ReasonMediaType, x.slow())
	case a.Trouble == ReasonTLS, a.Trouble == ReasonToken, a.Trouble == ReasonMoved:
		return x.fail(a.Trouble, x.slow())
	case s == 0 && a.Trouble == ReasonNone:
		return x.fail(ReasonNetwork, x.quick())
	case s == 0:
		return x.fail(a.Trouble, x.quick())
	case s == http.StatusUnauthorized:
		x.fail(ReasonCredential, x.slow())
		return Result{Outcome: Unauthorized}
	case x.l.Kind != NoLimit:
		return x.limited()
	case a.Trouble != ReasonNone:
		return x.fail(a.Trouble, x.quick())
	case s == http.StatusOK:
		return x.modified()
	case s == http.StatusNotModified:
		return x.notModified()
	case s == http.StatusAccepted:
		return x.empty(ReasonNotReady)
	case s == http.StatusNoContent:
		return x.empty(ReasonInterval)
	case s == 301 || s == 302 || s == 303 || s == 307 || s == 308:
		return x.moved()
	default:
		return x.refused(s)
	}
}

// refused is the part of the matrix for answers of 4xx and 5xx that are no
// limits, and for those that nobody expects.
func (x *applying) refused(s int) Result {
	switch s {
	case 400, 422:
		return x.end(Rejected, ReasonRequest)
	case 403:
		return x.end(Forbidden, ReasonForbidden)
	case 451:
		return x.end(Forbidden, ReasonLegal)
	case 404:
		return x.fail(ReasonNotFound, x.slow())
	case 408, 425:
		return x.fail(ReasonTimeout, x.quick())
	case 410:
		return x.gone()
	case 500, 502, 503, 504:
		return x.fail(ReasonServer, x.quick())
	}
	switch {
	case s >= 500:
		return x.fail(ReasonServer, x.slow())
	case s >= 400:
		return x.fail(ReasonRequest, x.slow())
	}
	return x.fail(ReasonProtocol, x.slow()) // a 206, a 300: nothing that the request asked for
}

// succeed ends every count of what went wrong.
func (x *applying) succeed() {
	x.r.Failures, x.r.Gones, x.r.Hop, x.r.Hops = 0, 0, "", 0
}

// empty is a 202 or 204: the origin is well and has nothing to show.
func (x *applying) empty(why Reason) Result {
	x.succeed()
	x.r.Quiet = satAdd(x.r.Quiet)
	if why == ReasonNotReady && x.r.Why != ReasonRetryAfter {
		x.r.Why = why
	}
	return Result{Outcome: Empty}
}

// limited leaves the wait to the bucket, which has learnt it from the same
// answer. The resource has failed in nothing, and a hop is still to be made. But
// secondary limits without an instant end it when both its scope and the resource
// itself have met several in a row: by the strikes of the scope alone it would end
// for what others were refused.
func (x *applying) limited() Result {
	r := x.r
	r.Cause = bound(x.l.Evidence)
	if x.l.Own {
		return x.ownLimit()
	}
	if x.l.Kind == SecondaryLimit && x.l.Fallback {
		r.Failures = satAdd16(r.Failures)
		if x.a.Strikes >= SecondaryTries && r.Failures >= SecondaryTries {
			r.Hop, r.Hops = "", 0
			r.State, r.Why = Error, ReasonSecondary
			r.Cause = bound(fmt.Sprintf("%d secondary limits in a row: %s", x.a.Strikes, x.l.Evidence))
			return Result{Outcome: Limited, Ended: true}
		}
	}
	if until := within(x.l.Until, x.a.at()); !x.l.Fallback && !until.Before(r.NotBefore) {
		r.NotBefore, r.State, r.Why = until, WaitingForReset, x.l.Kind.reason()
	}
	return Result{Outcome: Limited}
}

// ownLimit is a limit that counts for the resource alone, which no bucket has
// learnt: its failures in a row make the fallback grow.
func (x *applying) ownLimit() Result {
	r, now := x.r, x.a.at()
	r.Failures = satAdd16(r.Failures)
	until := x.l.Until
	if least := now.Add(grow(LimitFallback, uint8(min(r.Failures-1, 255)), MaxLimitWait)); x.l.Fallback || !until.After(now) {
		until = least
	}
	x.wait(until.Add(spread(until.Sub(now), x.a.Jitter)), WaitingForReset, x.l.Kind.reason())
	r.State, r.Why = WaitingForReset, x.l.Kind.reason()
	return Result{Outcome: Limited}
}

// gone retires the resource when a second 410 confirms the first (rule H-13).
func (x *applying) gone() Result {
	r := x.r
	r.Hop, r.Hops = "", 0
	r.Failures, r.Gones = satAdd16(r.Failures), satAdd8(r.Gones)
	if r.Why = ReasonGone; r.Gones < GoneConfirmations {
		r.Cause = "status 410, to be confirmed"
		return Result{Outcome: Failed}
	}
	r.State, r.Cause = Gone, "status 410, confirmed"
	return Result{Outcome: Retired, Publish: true, Ended: true}
}

// end stops the resource: to ask again cannot help.
func (x *applying) end(o Outcome, why Reason) Result {
	r := x.r
	r.Hop, r.Hops = "", 0
	r.Failures = satAdd16(r.Failures)
	r.State, r.Why, r.Cause = Error, why, fmt.Sprintf("status %d: %s", x.a.Status, why)
	return Result{Outcome: o, Ended: true}
}

// fail counts a failure and backs off.
func (x *applying) fail(why Reason, wait time.Duration) Result {
	r, a := x.r, x.a
	r.Hop, r.Hops = "", 0
	r.Failures = satAdd16(r.Failures)
	x.wait(a.at().Add(wait), WaitingForServerAlive, why)
	r.State, r.Why = WaitingForServerAlive, why
	switch {
	case a.Cause != "":
		r.Cause = bound(a.Cause)
	case r.Cause == "" && a.Status != 0:
		r.Cause = fmt.Sprintf("status %d: %s", a.Status, why)
	case r.Cause == "":
		r.Cause = why.String()
	}
	return Result{Outcome: Failed}
}

// quick is the wait after a failure that is likely to pass.
func (x *applying) quick() time.Duration {
	return backoff(FailureBackoff, x.r.Failures, MaxFailureBackoff, x.a.Jitter)
}

// slow is the wait after a failure that is likely to stay.
func (x *applying) slow() time.Duration {
	return backoff(max(x.r.Effective(), FailureBackoff), satAdd16(x.r.Failures), MaxSlowBackoff, x.a.Jitter)
}

// park names a long wait that the origin asked for what it is.
func (x *applying) park(res Result) {
	limit := x.p.ParkCap
	if limit <= 0 {
		limit = DefaultParkCap
	}
	r := x.r
	asked := res.Outcome == Limited || !x.retry.IsZero() && !r.NotBefore.After(x.retry)
	if !res.Ended && asked && r.NotBefore.Sub(x.a.at()) > limit {
		r.State = Parked
		if r.Cause == "" {
			r.Cause = "the origin asked for a wait beyond the cap"
		}
	}
}

// Quiet counts as unusual when chance would bring it about once in a million
// streaks, by the share of answers that brought something new so far, and when it
// is twice as long as any before: what sleeps at night is told of once.
const (
	usualChanges = 20 // fewer tell nothing of what is usual
	unusualQuiet = 14 // ln of a million, rounded up: so many changes were to be expected meanwhile
)

// hush finds out whether a resource is quiet beyond what is usual for it, or is
// so no more (rule E-11).
func (x *applying) hush(res *Result) {
	r := x.r
	switch res.Outcome {
	case Modified:
		res.Woken, r.Hushed = r.Hushed, false
	case NotModified, Empty:
		changes, quiet := uint64(r.Modified), uint64(r.Quiet)
		if !r.Hushed && r.Modified >= usualChanges && quiet*changes > unusualQuiet*uint64(r.Polls) && quiet > 2*uint64(r.Lull) {
			r.Hushed, res.Hushed = true, true
		}
	}
}

// bound cuts a cause to what is kept of it, at a rune.
func bound(s string) string {
	if len(s) <= MaxCause {
		return s
	}
	return strings.ToValidUTF8(s[:MaxCause], "")
}
