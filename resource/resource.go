package resource

import "time"

// Resource is a [Spec] plus its life: a plain value, copied and never shared.
//
// Instants are zero where the event has not happened. An instant made in this
// process carries a monotonic reading, and only that counts for waits; one that
// was decoded is tied to the clock of this process by [Resource.Rebase].
type Resource struct {
	Spec

	// Version counts the moves of the resource. The queue raises it; everybody
	// else passes on what was received. Zero means never admitted.
	Version int64

	// Credential is the name of the credential that its requests carry, empty
	// for none. With Origin it is the resource's [Scope]. Both are fixed when
	// the resource is admitted, before anything is sent.
	Credential string
	Origin     string

	// Bucket is the name of the quota inside the scope, as answers have named
	// it. Empty: not named so far, the scope itself counts.
	Bucket string

	State State
	Why   Reason // the rule behind State
	Cause string // in words, for Error, EdgeError, Parked and Gone; bounded by MaxCause

	// Owner and Claimed are set together: Owner is about to send, or has sent,
	// a request for this resource, and the result is not known. ClaimUntil is
	// when that request has certainly ended.
	Owner      Owner
	Claimed    time.Time
	ClaimUntil time.Time

	Asked     time.Time // when the request of the last answer left
	Answered  time.Time // when the last answer was received
	Changed   time.Time // when the last new representation was received
	NotBefore time.Time // no request before this instant; zero: none has to be waited for

	// PollInterval is the last X-Poll-Interval that the origin sent, kept while
	// answers carry none (rule G-2).
	PollInterval time.Duration

	// Hint is what the body of the last 200 said of its own interval, kept for the
	// answers without a body (rule L-Feeds).
	Hint Hint

	Validators Validators
	Digest     uint64 // of the last body published, to tell a 200 that changed nothing; zero: none

	Polls    uint32 // requests that came to an end, answered or not
	Modified uint32 // new representations
	Failures uint16 // failures in a row; an answer that is none sets it back to 0
	Quiet    uint32 // answers in a row that changed nothing

	// Hop is where the next request goes instead of URI, once: a redirect has led
	// there, into another scope. Origin and Credential are then those of Hop.
	Hop string

	// Moved is where a permanent redirect points that has not been confirmed
	// often enough to be stored as the URI; Seen counts the confirmations.
	Moved string
	Seen  uint8

	// Gones counts 410s in a row, but for failures between them (rule H-13).
	Gones uint8

	// Hops counts the redirects since URI was asked that each became a request of
	// their own; at most MaxHops.
	Hops uint8

	// Variant is a keyed fingerprint of those headers of a request, credential
	// included, that the validators belong to: a request with others must not
	// carry them (rules H-15, E-8). Zero: not known.
	Variant uint64

	// Hushed says that the present quiet is unusual and was told; Lull is the
	// longest that ended: so many answers in a row changed nothing.
	Hushed bool
	Lull   uint32
}

// Validators are what makes the next request conditional, byte for byte as the
// origin sent them. Empty means none.
type Validators struct {
	ETag         string `json:"etag,omitempty"`          // with its quotes, and W/ where it is weak
	LastModified string `json:"last_modified,omitempty"` // a date, but never read as one
}

// IsZero reports whether there are no validators.
func (v Validators) IsZero() bool { return v == Validators{} }

// New returns the resource that spec asks for, never requested and so ready at
// once. credential is the name of the credential that its requests will carry.
// The error is a [*FieldError].
func New(spec Spec, credential string) (Resource, error) {
	if err := spec.Validate(); err != nil {
		return Resource{}, err
	}
	if err := checkName("Credential", credential); err != nil {
		return Resource{}, err
	}
	origin, _ := originOf(spec.URI)
	if spec.ID.IsZero() {
		spec.ID = spec.derivedID()
	}
	return Resource{Spec: spec, Credential: credential, Origin: origin}, nil
}

// Page returns the child of r that stands for a further page of it: with an ID
// derived from that of r and from the URI, validators of its own, and what r has
// for the rest. It is never admitted to a queue: its requests are made in the
// course of a poll of r, which alone says when. The error is a [*FieldError] for
// a URI that a [Spec] may not hold, or of another origin than r.
func (r *Resource) Page(uri string) (Resource, error) {
	origin, err := originOf(uri)
	if err != nil {
		return Resource{}, err
	}
	if origin != r.Origin {
		return Resource{}, &FieldError{"URI", clipURI(uri), "a page of the same origin, " + r.Origin}
	}
	return Resource{
		// The shortest interval there is: a page waits for what its answers ask for,
		// and for nothing that was meant for r.
		Spec:       Spec{ID: DeriveID(r.ID, "page\n"+uri), URI: uri, Interval: 1, Profile: r.Profile, MediaType: r.MediaType, Priority: r.Priority},
		Credential: r.Credential, Origin: r.Origin, Bucket: r.Bucket,
	}, nil
}

// Scope returns what the resource is handled under: known before its first
// request.
func (r *Resource) Scope() Scope { return Scope{Credential: r.Credential, Origin: r.Origin} }

// Key returns the bucket that the resource is known to draw from.
func (r *Resource) Key() BucketKey { return BucketKey{Scope: r.Scope(), Name: r.Bucket} }

// Target is where the next request goes.
func (r *Resource) Target() string {
	if r.Hop != "" {
		return r.Hop
	}
	return r.URI
}

// Claim marks the resource as taken by owner for a request that is over by
// until. It is written before the request leaves.
func (r *Resource) Claim(owner Owner, now, until time.Time) {
	r.Owner, r.Claimed, r.ClaimUntil = owner, now, until
	r.State, r.Why = HasOwner, ReasonClaimed
}

// Unclaim takes a claim back whose request certainly never left.
func (r *Resource) Unclaim() {
	r.Owner, r.Claimed, r.ClaimUntil = Owner{}, time.Time{}, time.Time{}
	if r.State == HasOwner {
		r.State, r.Why = Idle, ReasonNone
	}
}

// Forfeit ends a claim whose answer is lost: nobody knows whether the request
// left, so it counts as sent, and the resource waits its interval from now
// (rule D-4). Validators stay as they were, so a lost answer is asked for again.
func (r *Resource) Forfeit(now time.Time) {
	if r.Owner.IsZero() {
		return
	}
	r.Unclaim()
	next := now.Add(r.Effective())
	if next.After(r.NotBefore) {
		r.NotBefore = next
	}
	r.State, r.Why = WaitingForInterval, ReasonForfeited
}

// Rest keeps a resource that was never asked from being asked before the instant
// until: it was known before, and taken out. Zero, or an instant that is not
// later than what it waits for, changes nothing.
func (r *Resource) Rest(until time.Time) {
	if until.After(r.NotBefore) {
		r.NotBefore, r.State, r.Why = until, WaitingForInterval, ReasonInterval
	}
}

// Effective is the wait between two polls as far as it does not depend on one
// answer: the user's wish or the origin's X-Poll-Interval, whichever is longer
// (rule G-3), and [DefaultInterval] where there is neither.
func (r *Resource) Effective() time.Duration {
	if wait := max(r.Interval, r.PollInterval); wait > 0 {
		return wait
	}
	return DefaultInterval
}

// Rebase ties the instants of a decoded resource to the clock of this process,
// so that a later jump of the wall clock changes no wait. now is time.Now().
// Instants that carry a monotonic reading already are left alone.
func (r *Resource) Rebase(now time.Time) {
	for _, t := range []*time.Time{&r.Claimed, &r.ClaimUntil, &r.Asked, &r.Answered, &r.Changed, &r.NotBefore} {
		*t = Rebase(*t, now)
	}
}

// Rebase returns the instant t, which came from a store, on the clock of now,
// which is time.Now(): the same distance on the wall clock, with a monotonic
// reading (rule D-9). A zero t stays zero.
func Rebase(t, now time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return now.Add(t.Sub(now))
}
