package resource

import (
	"net/http"
	"time"
)

// Answer is what came back for one request, as a [Parser] needs it: everything
// but the body.
type Answer struct {
	Origin      string      // of the URL that answered
	Path        string      // of that URL, without its query; empty: not known, and limits by endpoint are then those of the scope
	Status      int         // HTTP status; 0 when there was no answer
	Header      http.Header // as net/http canonicalises it; may be nil
	Excerpt     []byte      // the beginning of the body of a rejection: dialects look for their markers in it
	Conditional bool        // the request carried validators
	Sent        time.Time   // when the request left
	Received    time.Time   // when the header had arrived, or when it was clear that none would
	Finished    time.Time   // when the body had been read; zero: there was none to read
	Digest      uint64      // of the body of a 200; zero: not known
	Hint        Hint        // what the body of a 200 says of its own interval, by [FeedHint]; zero: nothing

	// Trouble says what went wrong beside the status: ReasonNetwork, ReasonTLS,
	// ReasonBroken, ReasonMediaType, ReasonToken, or ReasonMoved for redirects
	// that lead in a circle, too far or nowhere. Cause says it in words.
	Trouble Reason
	Cause   string

	// Target is where the redirect leads, when Status is one that was not
	// followed because it leads into another scope. Permanent is the last URL of
	// the permanent redirects at the beginning of the chain, empty for none.
	Target    string
	Permanent string

	// Strikes is how often in a row the bucket of the request was limited, this
	// answer included.
	Strikes uint8

	// Jitter is a random number from [0,1): where in the spread of an added wait
	// this answer falls.
	Jitter float64
}

// at is the instant from which waits count: when the client had all of it.
func (a *Answer) at() time.Time {
	if a.Finished.After(a.Received) {
		return a.Finished
	}
	return a.Received
}

// spread is the additive jitter of a wait for a limit: U(0, min(10 %, 30 s))
// (rule S-backoff).
func spread(wait time.Duration, share float64) time.Duration {
	return part(min(max(0, wait)/10, MaxLimitJitter), share)
}

// part is a share of d. A share outside [0,1] counts as the nearer end, so that
// no jitter ever shortens a wait (rule D-19).
func part(d time.Duration, share float64) time.Duration {
	switch {
	case share >= 1:
		return d
	case share > 0:
		return time.Duration(float64(d) * share)
	}
	return 0 // not a number, too
}

// backoff is the wait after the n-th failure in a row: d = min(most, base*2^n),
// plus U(0, d/2). It never shrinks to nothing (rule S-backoff).
func backoff(base time.Duration, n uint16, most time.Duration, share float64) time.Duration {
	d := grow(base, uint8(min(n, 255)), most)
	return d + part(d/2, share)
}
