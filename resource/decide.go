package resource

import (
	"fmt"
	"time"
)

// Kind is the way in which a resource goes on.
type Kind uint8

// The kinds of decision. The zero Kind is Ready.
const (
	Ready Kind = iota // it may be requested now
	At                // it waits for an instant
	Line              // it waits in the line of its bucket
	Fault             // it has ended; State and Why say how
	kinds
)

var kindNames = [kinds]string{"ready", "at", "line", "fault"}

// String returns the name in lower case.
func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// MarshalText returns the name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a name; the error is a [*FieldError].
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kindNames {
		if name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return &FieldError{"Kind", clip(string(text)), "ready, at, line or fault"}
}

// Decision says how a resource goes on, and by which rule.
type Decision struct {
	Kind  Kind
	State State     // what the resource is doing meanwhile
	At    time.Time // At: the instant. Line: the first instant that can change it, zero when only an answer in flight can
	Why   Reason    // the rule behind it
	Wide  bool      // Line: it is the scope as a whole that says wait, and not the quota inside it
}

// pausedFor is how long a paused resource is left alone before it is looked at
// again. A Resume takes it out of turn, so nobody waits for this.
const pausedFor = time.Hour

// Decide says how r goes on at the instant now, given its buckets. It is pure
// and allocates nothing. Order of the checks: error, pause, owner, interval, and
// then of the host whether it answers, and of the scope and of the quota: park,
// edge case, concurrency, limit, rate.
// An edge case is one of a bucket, so a resource that is not due has no part in
// it, and no business in its line.
//
// A snapshot is advisory: a Ready resource is checked again, and its request
// reserved, when it is sent.
func Decide(r *Resource, s *Snapshot, now time.Time) (d Decision) {
	switch r.State {
	case Error, Gone:
		d.Kind, d.State, d.Why = Fault, r.State, r.Why
		return d
	case Paused:
		d.Kind, d.State, d.At, d.Why = At, Paused, now.Add(pausedFor), ReasonPaused
		return d
	}
	if !r.Owner.IsZero() {
		// When nobody holds the claim any more its answer is lost, and it counts as
		// sent at the latest instant possible.
		if at := r.ClaimUntil.Add(r.Effective()); now.Before(at) {
			d.Kind, d.State, d.At, d.Why = At, HasOwner, at, ReasonClaimed
			return d
		}
	}
	if ahead(r.NotBefore, now) {
		d.Kind, d.State, d.At, d.Why = At, r.State, r.NotBefore, r.Why
		if r.State == Idle || r.State == HasOwner {
			d.State, d.Why = WaitingForInterval, ReasonInterval
		}
		return d
	}
	if s.Host.admit(now, &d); d.Kind != Ready {
		d.Wide = true
		return d
	}
	if s.Scope.admit(now, &d); d.Kind != Ready {
		d.Wide = true
		return d
	}
	if s.Quota.admit(now, &d); d.Kind == Ready && r.Polls == 0 {
		d.Why = ReasonNever
	}
	return d
}
