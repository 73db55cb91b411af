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
	Bucket string        // the bucket that it draws from; for a Line, the one that says wait
	Owner  Owner         // who holds it; zero: nobody
	Cause  string        // in words, as far as there is one
}

// Explain says what [Decide] decides, for people. It is pure.
func Explain(r *Resource, s *Snapshot, now time.Time) Explanation {
	d := Decide(r, s, now)
	e := Explanation{
		ID: r.ID, URI: r.URI, State: d.State, Kind: d.Kind, Until: d.At, Why: d.Why, Rule: d.Why.Key(),
		Bucket: r.Key().String(), Owner: r.Owner, Cause: r.Cause,
	}
	if d.Wide {
		e.Bucket = r.Scope().String()
	}
	if d.State == Paused {
		e.Until = time.Time{} // only its user knows
	}
	if !e.Until.IsZero() {
		e.Wait = max(0, e.Until.Sub(now))
	}
	return e
}

// String is one line of text.
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
	if e.Kind == Line {
		fmt.Fprintf(&b, "; bucket %s", e.Bucket)
	}
	if !e.Owner.IsZero() {
		fmt.Fprintf(&b, "; held by %s", e.Owner)
	}
	return b.String()
}
