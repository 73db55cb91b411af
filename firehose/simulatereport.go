package firehose

import (
	"math"
	"time"
)

// report sums up a run.
func (s *simulation) report() SimReport {
	r := SimReport{For: s.cfg.For, Seed: s.cfg.Seed, Resources: make([]SimResource, len(s.units))}
	total := simCounts{}
	for i := range s.scopes {
		sc := &s.scopes[i]
		for j := range sc.counts {
			b, c, q := &sc.plan.buckets[j], &sc.counts[j], &sc.origin.quotas[j]
			k := SimBucket{Key: sc.plan.keyOf(b), SimCounts: c.done(), Charged: q.charged}
			if allowed := b.quota.Requests - sc.plan.reserve; q.limit > 0 && allowed > 0 {
				k.Used = float64(k.Charged) / float64(allowed) / (float64(s.cfg.For) / float64(b.quota.Window))
			}
			r.Buckets = append(r.Buckets, k)
			total.add(c)
		}
	}
	r.Total = total.done()
	for i := range s.units {
		u := &s.units[i]
		plan := &s.t.scopes[u.scope]
		line := SimResource{
			ID: u.r.ID, URI: u.r.URI, Bucket: plan.keyOf(&plan.buckets[u.bucket]), Requests: u.requests, Polls: u.polls, NotModified: u.same,
			Longest: u.longest, Missed: u.missed, Gaps: u.gaps, State: u.r.State,
		}
		if u.polls > 1 {
			line.Interval = u.last.Sub(u.first) / time.Duration(u.polls-1)
		}
		r.Resources[i] = line
	}
	return r
}

// add adds the counters of a bucket.
func (c *simCounts) add(o *simCounts) {
	c.Requests += o.Requests
	c.Polls += o.Polls
	c.NotModified += o.NotModified
	c.Primary += o.Primary
	c.Secondary += o.Secondary
	c.Failed += o.Failed
	c.Ended += o.Ended
	c.Items += o.Items
	c.Missed += o.Missed
	c.Gaps += o.Gaps
	if n := len(o.waits) - len(c.waits); n > 0 {
		c.waits = append(c.waits, make([]int64, n)...)
	}
	for i, n := range o.waits {
		c.waits[i] += n
	}
	c.max = max(c.max, o.max)
}

// done is the counters with what follows from them.
func (c *simCounts) done() SimCounts {
	v := c.SimCounts
	if v.Polls > 0 {
		v.Unchanged = float64(v.NotModified) / float64(v.Polls)
	}
	v.Wait = Quantiles{Count: v.Requests, Max: c.max}
	at := func(share float64) time.Duration {
		rank, seen := int64(math.Ceil(share*float64(v.Requests))), int64(0)
		for i, n := range c.waits {
			if seen += n; seen >= rank && n > 0 {
				return min(time.Duration(cellTop(i)), c.max)
			}
		}
		return 0
	}
	v.Wait.P50, v.Wait.P95, v.Wait.P99 = at(0.50), at(0.95), at(0.99)
	return v
}
