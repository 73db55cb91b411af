package resource

import (
	"net/http"
	"strings"
	"time"
)

// Defaults of a [Parser].
const (
	DefaultFreshnessCap = 24 * time.Hour  // longest wait that Cache-Control, Expires or a feed's own interval may cause alone
	DefaultParkCap      = time.Hour       // a longer wait that the origin asked for is reported as Parked
	FailureBackoff      = 2 * time.Second // the first wait after a failure of the origin, then doubling
	MaxFailureBackoff   = time.Hour       // and at most this
	MaxSlowBackoff      = 24 * time.Hour  // longest interval of a resource that is not found
	GoneConfirmations   = 2               // 410s in a row that retire a resource (rule H-13)
	MoveConfirmations   = 3               // permanent redirects in a row that are stored (rule H-12)
	MaxHops             = 10              // redirects of one poll (rule H-12)
	SecondaryTries      = 8               // secondary limits in a row of its own, without an instant, after which a resource gives up (rule G-13)
)

// Parser reads answers. The zero Parser detects the dialect and has the
// defaults; it is a plain value and safe for concurrent use.
type Parser struct {
	// Dialect reads the limits of all answers. One without Read: detected from
	// each of them.
	Dialect Dialect

	// Dialects are those that may be detected, in the order in which they are
	// tried. Nil means those of the function of that name. It is not changed.
	Dialects []Dialect

	// Spoken is the name of the dialect that the scope has spoken before: the
	// Dialect of an earlier [Lesson]. It reads the answers that do not say as much
	// of themselves, such as error pages. Empty, or a name that is not among
	// Dialects: none.
	Spoken string

	// FreshnessCap bounds the wait that Cache-Control, Expires or what a feed
	// says of its own interval may cause alone. Zero means DefaultFreshnessCap.
	FreshnessCap time.Duration

	// ParkCap is the wait beyond which a resource counts as Parked. The wait
	// itself is never shortened (rule D-21). Zero means DefaultParkCap.
	ParkCap time.Duration
}

// Lesson reads what an answer teaches about its buckets. It is called before the
// body has been read, but for the beginning of a rejection's, so that a park is
// known, and can be written down, before anybody acts on the answer.
func (p *Parser) Lesson(a *Answer) (l Lesson) {
	p.read(a, &l)
	if a.Status == 0 {
		return l
	}
	switch {
	case a.Status == http.StatusUnauthorized:
		// What it tells of a quota is that of the address, not of the credential
		// that was not accepted (rule D-5).
		l.dropQuota()
		l.Kind, l.Wide, l.Fallback, l.Until, l.Evidence = CredentialLimit, true, true, time.Time{}, "status 401"
	case a.Status == http.StatusTooManyRequests && l.Kind == NoLimit:
		l.Kind, l.Wide, l.Fallback, l.Evidence = OverloadLimit, true, true, "status 429"
	}
	l.Cached = cached(a.Header)
	if l.Cached {
		l.dropQuota()
	}
	l.sane()
	if l.Kind != NoLimit && l.Doubt != "" {
		l.Evidence += "; " + l.Doubt
	}
	return l
}

// Result is what an answer meant for its resource.
type Result struct {
	Outcome Outcome
	// Publish says that there is something for the sink: a new representation,
	// or the news that the resource is gone.
	Publish bool
	// Ended says that the resource is not to be requested again by itself: its
	// State is Error or Gone, and Cause says why.
	Ended bool
	// Relocated says that the URI was replaced by the confirmed target of
	// permanent redirects.
	Relocated bool
	// Hushed says that the resource has been quiet for unusually long, as measured
	// by how often it changed before, and Woken that such a quiet has ended. Each
	// is told once (rule E-11).
	Hushed, Woken bool
	// Rescoped says that the next request goes to another origin than the one
	// that was asked: Origin is set, Bucket is empty. Which credential goes there
	// is for the caller to say, who has the token source: it must set Credential.
	Rescoped bool
}

// Apply writes into r what the final answer of a poll meant for it: timings,
// validators, counters, state, and the end of the claim. l is the lesson of the
// same answer. It is pure but for r.
func (p *Parser) Apply(r *Resource, a *Answer, l *Lesson) Result {
	r.Owner, r.Claimed, r.ClaimUntil = Owner{}, time.Time{}, time.Time{}
	r.Polls = satAdd(r.Polls)
	r.Cause = ""
	if a.Status != 0 {
		r.Asked, r.Answered = a.Sent, a.Received
	}
	if l.Named && len(l.Bucket) <= MaxBucket {
		r.Bucket = l.Bucket
	}
	if wait, ok := pollInterval(a.Header); ok {
		r.PollInterval = wait
	}
	target := r.Target()
	x := applying{p: p, r: r, a: a, l: *l}
	x.floor()
	res := x.status()
	x.feed(res)
	x.park(res)
	x.hush(&res)
	res.Rescoped = r.Target() != target && x.rescope()
	return res
}

// pollInterval reads X-Poll-Interval: seconds, a fraction rounded up. Of several
// the longest counts.
func pollInterval(h http.Header) (wait time.Duration, ok bool) {
	for _, line := range h["X-Poll-Interval"] {
		if n, valid := roundedUp(strings.TrimSpace(line)); valid {
			wait, ok = max(wait, time.Duration(min(n, int64(MaxInterval/time.Second)))*time.Second), true
		}
	}
	return wait, ok
}

func satAdd(n uint32) uint32 { return n + min(1, ^n) }

func satAdd16(n uint16) uint16 { return n + min(1, ^n) }

func satAdd8(n uint8) uint8 { return n + min(1, ^n) }
