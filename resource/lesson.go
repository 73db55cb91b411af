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
	// Dialect is the name of the one that read the answer. Because says in a few
	// words why it was that one: by what it was detected, "named", or "spoken
	// before".
	Dialect string
	Because string

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

	// Spacing is the wait between two requests that uses the quota up evenly, as
	// the origin's policy tells it: its window over its quota. Whoever spreads
	// what remains over the time to the reset keeps at least this distance, however
	// much is said to remain (rule I-9). Zero: not told.
	Spacing time.Duration

	// Also are further quotas that the same request drew from, at most MaxAlso.
	// The one above is the first of the origin's list and not the one with least
	// left, so that a resource keeps its bucket.
	Also []Quota

	// Concurrency is how many requests may be in flight together by the word of
	// the origin. Zero: it said nothing.
	Concurrency int

	// Kind is the limit that rejected the request, or NoLimit.
	Kind LimitKind
	// Until is the instant before which nothing may be sent: of the scope when
	// Wide, else of the bucket. Fallback says that the origin named none, so
	// that the bucket's growing fallback counts instead.
	Until    time.Time
	Fallback bool
	Wide     bool
	// Spared says that it was not the quota above that rejected the request, but
	// those of Also that say so (rule I-10).
	Spared bool
	// Own says that the limit counts for the resource alone, by the word of its
	// profile: no bucket learns it. Whoever knows the profile sets it.
	Own bool
	// Jitter is from [0,1): where in the spread that is added to a wait it falls.
	Jitter float64

	// Failure says that the answer is no word of the service behind the limit:
	// a 5xx. It neither confirms nor clears anything.
	Failure bool

	// Evidence says in words what the verdict rests on. It holds no secret and
	// no text of the origin beyond header values of numbers and dates.
	Evidence string

	// Doubt says in words where the answer left more than one reading open, such
	// as a reset in a unit that nobody named, and which was taken: the one that
	// waits longer, or none. Empty: nothing was in doubt. It holds no secret.
	Doubt string
}

// MaxAlso bounds [Lesson.Also].
const MaxAlso = 8

// Quota is one of several quotas that a request drew from, as its answer tells
// it.
type Quota struct {
	// Bucket is its name, never empty.
	Bucket string
	// Limit, Remaining, Reset, Window and Spacing are as in a [Lesson]. A zero
	// Reset says that no numbers were told.
	Limit, Remaining int64
	Reset, Window    time.Time
	Spacing          time.Duration
	// Rejected says that this is one of the quotas that refused the request.
	// Nothing may be drawn from it before Until; zero: no instant was named.
	Rejected bool
	Until    time.Time
}

// dropQuota forgets what the answer told of quotas.
func (l *Lesson) dropQuota() {
	l.Named, l.Bucket, l.Also, l.Spared, l.Concurrency, l.Doubt = false, "", nil, false, 0, ""
	l.dropNumbers()
}

// dropNumbers forgets what the answer told of the quota but for its name.
func (l *Lesson) dropNumbers() {
	l.HasQuota, l.Limit, l.Remaining, l.Reset, l.Window, l.Spacing = false, 0, 0, time.Time{}, time.Time{}, 0
}

// sane bounds what a dialect of the user's may have said.
func (l *Lesson) sane() {
	if len(l.Bucket) > MaxBucket || l.Limit < 0 || l.Remaining < 0 {
		l.dropQuota()
	}
	l.Spacing, l.Concurrency = max(0, l.Spacing), max(0, l.Concurrency)
	if len(l.Also) == 0 {
		l.Spared = false
		return
	}
	rejected := false
	kept := make([]Quota, 0, min(len(l.Also), MaxAlso))
	for _, q := range l.Also {
		if q.Bucket == "" || len(q.Bucket) > MaxBucket || q.Limit < 0 || q.Remaining < 0 || len(kept) == MaxAlso {
			continue
		}
		q.Spacing = max(0, q.Spacing)
		rejected = rejected || q.Rejected
		kept = append(kept, q)
	}
	l.Also, l.Spared = kept, l.Spared && rejected
}

// Split divides a lesson between the two buckets that the request drew from:
// the scope as a whole, and the quota inside it. named says that there is such a
// quota, because the answer or the resource has a name for it; else the scope
// learns everything. What one of them does not learn is no good news for it: a
// rejection that parks the quota forgives the scope nothing, and the reverse.
// What the quotas of Also learn, [Lesson.For] says.
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
		if l.Spared && !l.Wide {
			quota.Kind, quota.Failure = NoLimit, true
		}
	}
	return scope, quota
}

// For returns what the bucket of q, one of Also, learns from the answer.
func (l *Lesson) For(q *Quota) Lesson {
	own := *l
	own.Named, own.Bucket, own.Also, own.Spared, own.Concurrency = true, q.Bucket, nil, false, 0
	own.HasQuota, own.Limit, own.Remaining, own.Reset, own.Window = !q.Reset.IsZero(), q.Limit, q.Remaining, q.Reset, q.Window
	own.Spacing = q.Spacing
	switch {
	case l.Kind == NoLimit:
	case q.Rejected && !l.Wide:
		own.Until, own.Fallback = q.Until, q.Until.IsZero()
	default:
		own.Kind, own.Failure = NoLimit, true
	}
	return own
}
