package firehose

import (
	"math"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// The arithmetic of a plan, in seconds. A resource with the interval T whose
// answer takes l comes round every T + l, as long as nothing holds it up. Where
// a bucket grants less than that, its line grows until what comes round is what
// the bucket grants: the interactive response time law of closed queueing
// networks, X = N / (Z + R). Two shapes of wait are told apart.
//
// When there are more resources than a window grants requests, the line is never
// empty, and everybody waits the same R for each poll.
//
// When there are fewer, each of them is polled at the beginning of a window, and
// again and again at its own pace until the quota is used up; then all wait for
// the reset. A resource of a long interval loses less by that than one of a
// short interval, so a common R would be wrong by a quarter for both.

// pace is what one resource, or a sum of them, does in a second.
type pace struct {
	polls     float64 // requests of page one
	requests  float64 // pages included
	charged   float64 // requests that cost quota
	unchanged float64 // polls that are answered by a 304
	busy      float64 // seconds in which a request is in flight
}

// plus is p and n times q.
func (p pace) plus(q pace, n float64) pace {
	return pace{
		p.polls + n*q.polls, p.requests + n*q.requests, p.charged + n*q.charged,
		p.unchanged + n*q.unchanged, p.busy + n*q.busy,
	}
}

// class is the resources of one bucket that are alike.
type class struct {
	every, latency float64
	change         float64 // mean seconds between changes; 0: always
	share          float64 // of 304, whatever the interval
	pages          float64
	free           bool // a 304 costs nothing

	count  float64
	period float64 // mean seconds from one poll to the next: the result
	result pace    // of one of them
}

// cycle is how long a poll and its wait take if nothing holds them up. The
// interval counts from the end of page one, and a walk over all pages may be
// longer than that.
func (c *class) cycle() float64 { return max(c.every+c.latency, c.pages*c.latency) }

// poll is what a poll does on average, gap seconds after the one before.
func (c *class) poll(gap float64) pace {
	same := c.share
	if c.change > 0 {
		same = math.Exp(-gap / c.change)
	}
	p := pace{polls: 1, unchanged: same, requests: 1 + (1-same)*(c.pages-1)}
	p.charged = p.requests
	if c.free {
		p.charged -= same
	}
	p.busy = p.requests * c.latency
	return p
}

// steady is the pace at one poll every period seconds.
func (c *class) steady(period float64) pace { return pace{}.plus(c.poll(period), 1/period) }

// bucketFlow is a bucket in the arithmetic.
type bucketFlow struct {
	classes []class
	known   bool
	quota   float64 // that may be spent in a window
	lasting float64 // of a window, until the next one is used
	active  float64 // share of the time in which it admits requests: a result
}

// lasting is how long a window holds that was used up: the reset is a whole
// second on either clock, AfterReset and the jitter of a limit come on top.
func lasting(window time.Duration) float64 {
	roundings := time.Second // half of one for the reset, half of one for the Date header
	return (window + roundings + resource.AfterReset + min(window/10, resource.MaxLimitJitter)/2).Seconds()
}

// total is the sum over all classes.
func (b *bucketFlow) total() (sum pace) {
	for i := range b.classes {
		sum = sum.plus(b.classes[i].result, b.classes[i].count)
	}
	return sum
}

// solve sets the results, where each poll waits extra seconds for a cause
// outside of the quota.
func (b *bucketFlow) solve(extra, concurrency float64) {
	b.even(extra)
	b.active = 1
	// A window that is used up lasts longer, and what piles up meanwhile uses up
	// the next one, too: what counts is the longer one.
	if !b.known || b.total().charged <= b.quota/b.lasting {
		return
	}
	if spent := b.burst(0, extra, concurrency); spent >= b.quota {
		granted := b.quota / b.lasting
		b.even(least(func(wait float64) bool { b.even(wait); return b.total().charged <= granted }, extra))
		return
	}
	low, high := 0.0, b.lasting
	for high-low > 1e-6*b.lasting {
		if mid := (low + high) / 2; b.burst(mid, extra, concurrency) < b.quota {
			low = mid
		} else {
			high = mid
		}
	}
	// What is spent is a step function of the time, since alike resources poll at
	// the same moment: the quota ends inside of a step.
	more := b.burst(high, extra, concurrency)
	above := make([]pace, len(b.classes))
	for i := range b.classes {
		above[i] = b.classes[i].result
	}
	less := b.burst(low, extra, concurrency)
	part := 0.0
	if more > less {
		part = min(1, max(0, (b.quota-less)/(more-less)))
	}
	for i := range b.classes {
		c := &b.classes[i]
		c.result = pace{}.plus(c.result, 1-part).plus(above[i], part)
		c.period = 1 / c.result.polls
	}
	b.active = high / b.lasting
}

// even lets each poll wait the same time longer than its own interval.
func (b *bucketFlow) even(wait float64) {
	for i := range b.classes {
		c := &b.classes[i]
		c.period = c.cycle() + wait
		c.result = c.steady(c.period)
	}
}

// burst lets the bucket admit requests for the first seconds of each window
// only, and returns what is spent in a window.
func (b *bucketFlow) burst(active, extra, concurrency float64) float64 {
	backlog := 0.0 // of seconds of requests that wait for the reset
	for i := range b.classes {
		c := &b.classes[i]
		backlog += c.count * c.latency * min(1, (b.lasting-active)/(c.cycle()+extra))
	}
	head := min(active, backlog/concurrency) / 2
	for i := range b.classes {
		c := &b.classes[i]
		c.result = c.rhythm(active, b.lasting, head, extra)
		c.period = 1 / c.result.polls
	}
	return b.total().charged * b.lasting
}

// rhythmWindows is how many windows are looked at, at most, for the rhythm of a
// resource to repeat.
const rhythmWindows = 64

// rhythm is the pace of a resource that may be polled in the first active
// seconds of each window only: it begins head seconds after a reset, keeps its
// own pace as long as it may, and begins anew after the first pause in which it
// falls due.
func (c *class) rhythm(active, window, head, extra float64) (sum pace) {
	cycle := c.cycle() + extra
	at := head
	for at < rhythmWindows*window {
		begun := math.Floor(at/window) * window
		n := max(0, math.Ceil((begun+active-at)/cycle)-1) // more of them in this window
		sum = sum.plus(c.poll(cycle), n)
		at += n * cycle
		due := at + cycle
		begun = math.Floor(due/window) * window
		if due-begun >= active {
			next := begun + window + head
			return pace{}.plus(sum.plus(c.poll(next-at), 1), 1/(next-head))
		}
		sum = sum.plus(c.poll(cycle), 1)
		at = due
	}
	return pace{}.plus(sum, 1/(at-head))
}

// least is the smallest wait from at on that satisfies enough, within a
// millionth. There is one, since a longer wait costs less.
func least(enough func(wait float64) bool, at float64) float64 {
	low, high := at, at+1
	for !enough(high) && high < 1e15 {
		low, high = high, 2*high
	}
	for high-low > 1e-6*high+1e-9 {
		if mid := (low + high) / 2; enough(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return high
}

// scopeFlow is a scope in the arithmetic: its buckets share what may be in
// flight, and the declared rate.
type scopeFlow struct {
	buckets     []bucketFlow
	concurrency float64
	spacing     float64 // seconds between two requests
	wait        float64 // of each poll, for its turn: a result
}

// use is the part in use of what the scope lets through while its buckets admit
// requests: by what is in flight, and by the declared rate.
func (s *scopeFlow) use() (flight, rate float64) {
	for i := range s.buckets {
		sum := s.buckets[i].total()
		flight += sum.busy / s.concurrency / s.buckets[i].active
		rate += sum.requests * s.spacing / s.buckets[i].active
	}
	return flight, rate
}

// solve lets polls wait for their turn until no more is in flight than may be.
func (s *scopeFlow) solve() (by resource.Reason) {
	fits := func(wait float64) bool {
		for i := range s.buckets {
			s.buckets[i].solve(wait, s.concurrency)
		}
		flight, rate := s.use()
		return flight <= 1 && rate <= 1
	}
	if fits(0) {
		return resource.ReasonNone
	}
	by = resource.ReasonConcurrency
	if flight, rate := s.use(); rate > flight {
		by = resource.ReasonPace
	}
	s.wait = least(fits, 0)
	fits(s.wait)
	return by
}

// crowd lets the polls of all scopes wait for a worker, until there are enough.
func crowd(scopes []scopeFlow, workers float64) (wait float64) {
	base := make([][][]float64, len(scopes))
	for i := range scopes {
		base[i] = make([][]float64, len(scopes[i].buckets))
		for j := range scopes[i].buckets {
			for _, c := range scopes[i].buckets[j].classes {
				base[i][j] = append(base[i][j], c.period)
			}
		}
	}
	busy := func() (sum float64) {
		for i := range scopes {
			for j := range scopes[i].buckets {
				sum += scopes[i].buckets[j].total().busy
			}
		}
		return sum
	}
	if busy() <= workers {
		return 0
	}
	fits := func(wait float64) bool {
		for i := range scopes {
			for j := range scopes[i].buckets {
				for k := range scopes[i].buckets[j].classes {
					c := &scopes[i].buckets[j].classes[k]
					c.period = base[i][j][k] + wait
					c.result = c.steady(c.period)
				}
			}
		}
		return busy() <= workers
	}
	wait = least(fits, 0)
	fits(wait)
	return wait
}
