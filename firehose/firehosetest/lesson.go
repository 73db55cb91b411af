package firehosetest

import "time"

// outcome is what an answer means for the pace of its resource.
type outcome int

const (
	answered outcome = iota // 200 or 304 with what was asked for
	moved                   // a redirect
	limited                 // a primary or secondary limit
	failed                  // try again later
	refused                 // do not try again
)

// lesson is what an answer tells.
type lesson struct {
	status  int
	outcome outcome
	begun   instant       // the header was begun; for a Watcher: it was received
	wait    time.Duration // X-Poll-Interval of page one
	pause   time.Duration // the larger of it and max-age, if known
	retry   instant       // Retry-After of a failure or 429
	tag     bool
	vary    uint64
	window  instant // reset told by X-RateLimit-Reset
	nothing bool    // X-RateLimit-Remaining: 0
	burst   instant // reset of the second policy
	partial bool    // its client closed the body before its end
	park    instant // rejected until
	renew   bool    // the token is no longer good: ask again with another one
	whole   bool    // the park is of the scope, not of the bucket

	burstNothing bool // nothing remains by the second policy

	away   string // origin to which it redirects
	target *resourceKey
}

// finish ends a request, teaches what its answer told, and says when the
// resource may be polled again. A nil lesson is a request without any answer.
func (o *oracle) finish(f *flight, l *lesson, fate fate, now instant) {
	if f.over {
		return
	}
	o.land(f, now)
	if fate == cutByClient {
		f.dispel(o.settle, now)
	}
	if l == nil {
		l = &lesson{outcome: failed}
	}
	r := f.res
	if f.died != 0 {
		fate = unread
		if l.begun == 0 || l.begun > f.died {
			return // nobody was there to be told
		}
	}
	r.settle()
	r.last = l.facts(f, o.backoff, fate, now)
	r.fate, r.from = fate, f
	if f.charged && fate != complete {
		r.bucket.lose()
	}
	o.learnLimits(r.bucket, l, fate, now)
	if f.died != 0 {
		return
	}
	o.plan(f, l, fate, now)
	if fate != complete {
		return
	}
	if l.away != "" && l.away != r.scope.origin.name {
		r.scope.redirect(l.away)
	}
	o.announce(f, l)
	if f.from != nil && r.last.fresh && !l.tag {
		f.from.known.tag = false // this was its 200 too, and cleared its validators (H-10)
	}
	switch {
	case !f.poll || l.outcome != answered || l.partial:
	case l.status == 304:
		f.counted = &o.counts.NotModified
		*f.counted++
	case l.status == 200:
		f.counted = &o.counts.Modified
		*f.counted++
	}
}

// facts are what the resource itself is told. A failure that tells no time
// asks for the least backoff; a client that cancelled saw no failure.
func (l *lesson) facts(f *flight, backoff time.Duration, fate fate, now instant) facts {
	t := facts{at: now, park: l.park, tag: l.tag, vary: l.vary, fresh: l.outcome == answered && !l.partial}
	if f.poll && l.outcome == answered {
		t.next = l.begun.add(l.wait)
	}
	switch {
	case l.outcome == failed || l.outcome == refused:
		t.floor = max(l.begun.add(backoff), l.retry)
		t.fresh = l.status == 200 && !l.partial
		switch {
		case f.again || l.renew:
			t.floor = 0
		case l.begun == 0:
			t.floor = now.add(backoff)
		}
	case fate == cutByOrigin:
		t.floor = now.add(backoff)
	case l.outcome == moved:
		t.floor = l.retry
	}
	return t
}

// maxRedirects bounds the origins remembered per scope.
const maxRedirects = 64

func (s *scope) redirect(to string) {
	if s.redirects == nil {
		s.redirects = map[string]struct{}{}
	}
	if len(s.redirects) < maxRedirects {
		s.redirects[to] = struct{}{}
	}
}

// revoke takes back that an answer was completed: handing over its last bytes
// turned out to fail.
func (o *oracle) revoke(f *flight) {
	r := f.res
	if r.from != f || r.fate != complete {
		return
	}
	r.fate = cutByClient
	if f.counted != nil {
		*f.counted--
	}
	if f.charged {
		r.bucket.lose()
	}
	r.scope.park.forget(r.last.at)
	r.bucket.forget(r.last.at)
}

// learnLimits takes over what an answer told of its bucket and scope.
func (o *oracle) learnLimits(b *bucket, l *lesson, fate fate, now instant) {
	p := &b.park
	if l.whole {
		p = &b.scope.park
	}
	if fate != complete {
		p.lost = max(p.lost, l.park)
		return
	}
	if l.park > p.until {
		p.until, p.told = l.park, now
	}
	if l.window != 0 {
		b.told.learn(l.window, now, o.slack)
		if l.nothing {
			b.zero.learn(l.window, now, o.slack)
		}
	}
	if l.burst != 0 && b.burst != nil {
		b.burst.told.learn(l.burst, now, o.slack)
		if l.burstNothing {
			b.burst.zero.learn(l.burst, now, o.slack)
		}
	}
}

// plan says when a prompt client would poll the resource again, and whether
// the answer holds back its bucket, its scope or everybody at the origin.
func (o *oracle) plan(f *flight, l *lesson, fate fate, now instant) {
	r := f.res
	s, d := r.scope, &r.due
	if l.pause > 0 {
		d.interval = l.pause
	}
	lost := fate != complete
	switch {
	case lost || l.status >= 500:
		s.origin.advance(o, now)
		s.origin.down.strike(now, now)
	case s.origin.down.end != 0:
		s.origin.advance(o, now)
		s.origin.down.clear(now)
	}
	if l.park != 0 {
		s.advance(o, now)
		if l.whole {
			s.held.strike(now, l.park)
		} else {
			r.bucket.held.pause(l.park)
		}
	} else if l.nothing && l.window > now {
		s.advance(o, now)
		r.bucket.held.pause(l.window)
	} else if l.burstNothing && l.burst > now {
		s.advance(o, now)
		r.bucket.held.pause(l.burst)
	} else if !lost {
		s.held.forgive()
		r.bucket.held.forgive()
	}
	if f.poll {
		o.schedule(f, l, lost, now)
	}
}

// schedule says when page one is due again.
func (o *oracle) schedule(f *flight, l *lesson, lost bool, now instant) {
	r := f.res
	d := &r.due
	interval := max(d.interval, o.wishes[r.key.target])
	d.permit = 0
	switch {
	case f.from != nil: // it is the redirected one that is polled
		return
	case !lost && (l.outcome == refused || l.status == 301 || l.status == 308):
		d.failing.clear(now)
		return
	case !lost && l.outcome == limited:
		r.bucket.pace.enter(r, now, interval)
	case !lost && l.outcome == answered:
		d.failing.clear(now)
		if interval > 0 {
			d.permit = l.begun.add(interval)
		}
		travel := f.arrived.since(f.sent)
		r.bucket.pace.enter(r, now.add(interval).add(travel), interval)
	default: // failed, moved or lost
		d.failing.strike(now, max(now, l.retry))
		r.bucket.pace.enter(r, max(d.failing.until, now.add(interval)), interval)
	}
}
