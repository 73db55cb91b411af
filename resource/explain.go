package resource

import (
	"fmt"
	"strings"
	"time"
)

// Explanation answers "why is this waiting, until when, and who holds it".
type Explanation struct {
	ID     ID            // of the resource
	URI    string        // what is polled
	State  State         // what it is doing
	Kind   Kind          // how it goes on
	Until  time.Time     // zero: not known, or not waiting
	Wait   time.Duration // from the instant asked about to Until; 0 where that is zero or past
	Why    Reason        // the rule behind it
	Rule   string        // key of RULES.md
	Bucket string        // the bucket that says wait: a quota, a scope, or an origin whose host says so; else the one that it draws from. Empty: a limit is its own alone
	Owner  Owner         // who holds it; zero: nobody
	Cause  string        // in words, as far as there is one
}

// Explain says what [Decide] decides, for people. It is pure.
func Explain(r *Resource, s *Snapshot, now time.Time) Explanation {
	d := Decide(r, s, now)
	e := Explanation{ID: r.ID, URI: r.URI, Bucket: r.Key().String(), Owner: r.Owner, Cause: r.Cause}
	e.Follow(d, now)
	met := d.Kind == At && d.Why.limit() // the resource has met it itself
	switch {
	case d.Wide && s.Host.Admit(now).Kind != Ready:
		e.Bucket = r.Origin
	case d.Wide, met && s.Scope.parkedFor(d.Why, now):
		e.Bucket = r.Scope().String()
	case met && !s.Quota.parkedFor(d.Why, now) && !(d.Why == ReasonPrimary && s.Quota.inForce(now) && s.Quota.exhausted()):
		e.Bucket = ""
	}
	return e
}

// Follow replaces what the explanation says of the decision. It is for those who
// know more than a snapshot does, such as who else waits.
func (e *Explanation) Follow(d Decision, now time.Time) {
	e.State, e.Kind, e.Until, e.Why, e.Rule, e.Wait = d.State, d.Kind, d.At, d.Why, d.Why.Key(), 0
	if d.State == Paused || d.Kind == Fault {
		e.Until = time.Time{} // only its user knows
	}
	if !e.Until.IsZero() {
		e.Wait = max(0, e.Until.Sub(now))
	}
}

// parkedFor reports whether the bucket is parked for that reason.
func (b *Bucket) parkedFor(why Reason, now time.Time) bool { return b.Why == why && ahead(b.Park, now) }

// String is one line of text. It holds no secret.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.URI, e.State)
	switch {
	case e.Kind == Ready:
		b.WriteString(", may be requested now")
	case e.Kind == Fault:
		b.WriteString(", will not be requested again by itself")
	case e.State == Paused:
		b.WriteString(", until it is resumed")
	case e.Until.IsZero() && e.Why == ReasonSink:
		b.WriteString(", until the sink has taken its response")
	case e.Until.IsZero() && e.Why == ReasonTurn:
		b.WriteString(", until they have gone")
	case e.Until.IsZero():
		b.WriteString(", until an answer in flight arrives")
	default:
		fmt.Fprintf(&b, ", until %s (in %v)", e.Until.UTC().Format("2006-01-02T15:04:05.000Z"), e.Wait.Round(time.Millisecond))
	}
	fmt.Fprintf(&b, ": %s", e.Why)
	if e.Rule != "" {
		fmt.Fprintf(&b, " [%s]", e.Rule)
	}
	if e.Cause != "" {
		fmt.Fprintf(&b, " (%s)", e.Cause)
	}
	if e.Bucket != "" && (e.Kind == Line || e.Kind == At && e.Why.limit()) {
		fmt.Fprintf(&b, "; bucket %s", e.Bucket)
	}
	if !e.Owner.IsZero() {
		fmt.Fprintf(&b, "; held by %s", e.Owner)
	}
	return b.String()
}

// limit reports whether a reason is a limit, which a bucket has learnt as well.
func (r Reason) limit() bool {
	switch r {
	case ReasonPrimary, ReasonSecondary, ReasonOverload, ReasonCredential:
		return true
	}
	return false
}
