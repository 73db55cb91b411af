package scheduler

import (
	"math/rand/v2"
	"time"
)

// Backoff returns how long to wait before the next start, given how many
// unplanned ends in a row there were, the latest included (so at least 1).
// Ends before a good run (see [Spec.GoodRun]), and before Serve or a call of
// Start or Restart, are forgotten. Zero or less starts at once.
//
// It is called without any lock, possibly from several goroutines at the same
// time. If it panics, DefaultBackoff is used and the panic is recorded.
type Backoff func(ends int) time.Duration

const (
	fastBase  = 10 * time.Millisecond
	fastEnds  = 4
	slowBase  = 2 * time.Second
	slowLimit = time.Minute
)

// DefaultBackoff waits 10, 20, 40 and 80 ms before the second to fifth start,
// so that a hiccup is over before anybody notices, and 2, 4, 8, 16, 32 s and
// then a minute before those that follow, so that a broken service is plainly
// seen to be slow. Up to a quarter is added at random, which spreads services
// that failed together.
func DefaultBackoff(ends int) time.Duration {
	d := fastBase << max(0, min(ends, fastEnds)-1)
	if ends > fastEnds {
		// The exponent is capped before the shift, which could overflow.
		d = min(slowBase<<min(ends-fastEnds-1, 10), slowLimit)
	}
	return d + rand.N(d/4)
}
