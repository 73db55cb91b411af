package firehose

import (
	"net/http"
	"net/url"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// answer takes in what an origin said.
func (s *simulation) answer(i int) {
	u := &s.units[i]
	sc := &s.scopes[u.scope]
	s.free++
	sc.origin.inFlight--
	v := &u.verdict
	a := resource.Answer{
		Origin: u.r.Origin, Status: v.status, Conditional: u.sure, Sent: u.sent, Received: s.now, Jitter: s.rng.Float64(),
	}
	if v.status == http.StatusOK && u.page == 0 {
		u.tag++
	}
	parser := &sc.parsers[u.bucket]
	if v.status == 0 {
		a.Trouble = resource.ReasonNetwork
	} else {
		q := &sc.origin.quotas[u.bucket]
		a.Header = s.script.write(v, q, sc.plan.buckets[u.bucket].name, u.tag, u.t.PollInterval, s.now, s.cfg.Secondary.RetryAfter)
	}
	if v.secondary {
		a.Excerpt = []byte(secondaryText)
	}
	lesson := parser.Lesson(&a)
	sc.settle(u, &a, &lesson)
	s.mean(sc, u, &a, &lesson, parser)
	s.place(i)
	s.release(sc)
	s.pump()
}

// settle teaches the buckets, as a reservation of the registry does.
func (sc *simScope) settle(u *simUnit, a *resource.Answer, l *resource.Lesson) {
	if a.Status == 0 {
		sc.drop(u, func(b *resource.Bucket) { b.Lose(a.Sent, a.Received) })
		return
	}
	name := u.drawn
	if l.Named {
		name = l.Bucket
		if sc.presumed == "" {
			sc.presumed = name
		}
		if uri, err := url.Parse(u.r.URI); u.r.Bucket == "" && err == nil {
			sc.kin.learn(uri.Path, name, sc.presumed)
		}
	}
	if old := sc.quota(u.drawn); old != nil && name != u.drawn {
		old.Release() // it was presumed wrongly
	}
	q := sc.quota(name)
	scope, quota := l.Split(q != nil)
	free := a.Status == http.StatusNotModified && u.r.Credential != ""
	if q != nil {
		if name != u.drawn {
			q.Take()
		}
		q.Settle(&quota, a.Sent, a.Received, free)
	}
	sc.own.Settle(&scope, a.Sent, a.Received, free)
}

// mean writes into a unit what an answer meant for it, and counts it.
func (s *simulation) mean(sc *simScope, u *simUnit, a *resource.Answer, l *resource.Lesson, parser *resource.Parser) {
	counts := &sc.counts[u.bucket]
	switch {
	case a.Status == http.StatusTooManyRequests: // as the origin sees it, however it was understood
		counts.Primary++
	case u.verdict.secondary:
		counts.Secondary++
	case a.Status == 0 || a.Status >= 500:
		counts.Failed++
	}
	u.due = s.now
	if u.page > 0 {
		if u.page++; a.Status != http.StatusOK || u.page >= u.t.Feed.Pages {
			u.page = 0 // read, or given up: page one is asked for again in its time
		}
		return
	}
	result := parser.Apply(&u.r, a, l)
	if result.Outcome != resource.Modified && result.Outcome != resource.NotModified {
		return
	}
	if result.Outcome == resource.NotModified {
		counts.NotModified++
		u.same++
	} else if u.t.Feed.Pages > 1 {
		u.page = 1
	}
	if window := int64(u.t.Feed.Window); u.items >= 0 && u.t.Feed.Rate > 0 {
		missed := max(0, u.items-window)
		counts.Items += u.items
		counts.Missed += missed
		u.missed += missed
		if u.items >= window {
			counts.Gaps++
			u.gaps++
		}
	}
	u.seen = a.Sent
}

func (c *simCounts) wait(d time.Duration) {
	n := cell(uint64(max(0, d)))
	if n >= len(c.waits) {
		c.waits = append(c.waits, make([]int64, n+1-len(c.waits))...)
	}
	c.waits[n]++
	c.max = max(c.max, d)
}
