package resource

import (
	"fmt"
	"time"
)

// LimitKind tells the limits of origins apart (rules G-12 to G-15).
type LimitKind uint8

// The kinds. The zero LimitKind is no limit.
const (
	NoLimit         LimitKind = iota
	PrimaryLimit              // the quota of a window is used up
	SecondaryLimit            // too many, too fast or too expensive by rules that are not told
	OverloadLimit             // 429 without more, or 503 with Retry-After
	CredentialLimit           // 401: nothing more with this credential for now (rule S-401)
	limitKinds
)

var limitKindNames = [limitKinds]string{"none", "primary", "secondary", "overload", "credential"}

// String returns the name in lower case.
func (k LimitKind) String() string {
	if k < limitKinds {
		return limitKindNames[k]
	}
	return fmt.Sprintf("limit-%d", uint8(k))
}

// MarshalText returns the name.
func (k LimitKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func (k LimitKind) reason() Reason {
	switch k {
	case PrimaryLimit:
		return ReasonPrimary
	case SecondaryLimit:
		return ReasonSecondary
	case OverloadLimit:
		return ReasonOverload
	case CredentialLimit:
		return ReasonCredential
	}
	return ReasonNone
}

// Lesson is what one answer teaches about the buckets that its request drew from.
type Lesson struct {
	// Dialect is the name of the one that read the answer.
	Dialect string

	// Cached says that a cache served the answer: it tells no quota and cost
	// none (rule C-7).
	Cached bool

	// Named says that the answer named its bucket, as Bucket.
	Named  bool
	Bucket string

	// HasQuota says that Limit, Remaining and Reset were told. Reset is on the
	// clock of this process; Window is the same instant as the origin wrote it,
	// which is what tells windows apart.
	HasQuota         bool
	Limit, Remaining int64
	Reset, Window    time.Time

	// Kind is the limit that rejected the request, or NoLimit.
	Kind LimitKind
	// Until is the instant before which nothing may be sent: of the scope when
	// Wide, else of the bucket. Fallback says that the origin named none, so
	// that the bucket's growing fallback counts instead.
	Until    time.Time
	Fallback bool
	Wide     bool
	// Jitter is from [0,1): where in the spread that is added to a wait it falls.
	Jitter float64

	// Failure says that the answer is no word of the service behind the limit:
	// a 5xx. It neither confirms nor clears anything.
	Failure bool

	// Evidence says in words what the verdict rests on. It holds no secret and
	// no text of the origin beyond header values of numbers and dates.
	Evidence string
}

// dropQuota forgets what the answer told of a quota.
func (l *Lesson) dropQuota() {
	l.Named, l.Bucket = false, ""
	l.HasQuota, l.Limit, l.Remaining, l.Reset, l.Window = false, 0, 0, time.Time{}, time.Time{}
}

// Split divides a lesson between the two buckets that the request drew from:
// the scope as a whole, and the quota inside it. named says that there is such a
// quota, because the answer or the resource has a name for it; else the scope
// learns everything. What one of them does not learn is no good news for it: a
// rejection that parks the quota forgives the scope nothing, and the reverse.
func (l *Lesson) Split(named bool) (scope, quota Lesson) {
	scope, quota = *l, *l
	if !named {
		return scope, Lesson{Dialect: l.Dialect, Jitter: l.Jitter}
	}
	scope.HasQuota = false
	rejected := l.Kind != NoLimit
	if other := &scope; rejected {
		if l.Wide {
			other = &quota
		}
		other.Kind, other.Failure = NoLimit, true
	}
	return scope, quota
}
