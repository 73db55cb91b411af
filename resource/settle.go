package resource

import "time"

// Lose ends a request whose answer never came: it may have been counted. sent
// is when it left, now when it was given up.
func (b *Bucket) Lose(sent, now time.Time) {
	b.Release()
	if b.askedAfter(sent) {
		b.noWord(now, false)
		return
	}
	b.unsaid(now)
}

// unsaid counts a request as spent that nobody knows the cost of. Only the
// answer to a request that leaves later can tell: the origin may count this one
// as late as now.
func (b *Bucket) unsaid(now time.Time) {
	if b.Known {
		b.Unsaid++
		if now.After(b.unsaidAt) {
			b.unsaidAt = now
		}
	}
}

// Settle ends a request with what its answer taught: l as [Lesson.Split] deals
// it out, sent when the request left, now when its answer was received. free
// says that it cost no quota (a 304, rule G-5).
func (b *Bucket) Settle(l *Lesson, sent, now time.Time, free bool) {
	b.Release()
	asked := b.askedAfter(sent)
	current := !sent.Before(b.Park) // nothing leaves while parked: others left before the park was known
	b.Answered = b.Answered || current
	told := l.HasQuota && b.learnQuota(l, sent, now)
	switch {
	case told && (!asked || b.Reset.After(now) || !b.exhausted()):
		b.edges, b.ProbeFrom = 0, time.Time{}
	case asked:
		b.noWord(now, !told && !l.Failure && !l.Cached && l.Kind == NoLimit)
	default:
		late := l.HasQuota && sent.Before(b.since) // it was counted in a window that is over
		if !free && !l.Cached && !late {
			b.unsaid(now)
		}
		if b.edges == 0 {
			b.ProbeFrom = time.Time{}
		}
	}
	b.learnLimit(l, now, current)
}

// askedAfter reports whether a request sent then asked what comes after the
// window that is known.
func (b *Bucket) askedAfter(sent time.Time) bool { return b.Known && !b.inForce(sent) }

// noWord notes that a request after the reset brought no word of a new window.
// Nothing is concluded from the first ones. An exhausted bucket is an edge case
// and waits before it asks again; served without a word several times in a row,
// the limit is no longer told, and forgotten.
func (b *Bucket) noWord(now time.Time, served bool) {
	b.edges = satInc(b.edges)
	switch {
	case served && b.edges >= believed:
		b.Known, b.Unsaid, b.edges = false, 0, 0
	case b.exhausted():
		b.ProbeFrom, b.probeWhy = now.Add(grow(EdgeWait, b.edges-1, MaxLimitWait)), ReasonEdge
	}
}

// learnQuota reconciles what is known with what an answer says (rules D-6, D-7):
// the same window takes the minimum, a newer reset replaces, an older one is
// ignored unless it comes with a rejection and nothing left. told says that the
// answer spoke of the window that is now known.
func (b *Bucket) learnQuota(l *Lesson, sent, now time.Time) (told bool) {
	d := l.Window.Sub(b.window)
	switch {
	case !b.Known, d > windowSlack, d > 0 && b.askedAfter(sent):
		b.adopt(l, now)
	case d >= -windowSlack:
		b.Limit = l.Limit
		b.Remaining = max(0, min(b.Remaining, l.Remaining))
		if l.Reset.After(b.Reset) {
			b.Reset = within(l.Reset, now)
		}
		b.older = 0
	case !b.learnOlder(l, sent, now):
		return false
	}
	if sent.After(b.unsaidAt) {
		b.Unsaid = 0
	}
	return true
}

// adopt takes over a window that was not known.
func (b *Bucket) adopt(l *Lesson, now time.Time) {
	b.Known, b.Limit, b.Remaining = true, l.Limit, max(0, l.Remaining)
	b.Reset, b.window, b.since, b.older = within(l.Reset, now), l.Window, now, 0
	b.lag = spread(b.Reset.Sub(now), l.Jitter)
}

// learnOlder hears of a window that ends before the known one. Mostly that is
// an answer out of order. But an origin may also take back a window that it
// told by mistake or by a wrong clock: when several in a row that were asked for
// since say so, they are believed, since else the mistake would hold until its
// reset.
func (b *Bucket) learnOlder(l *Lesson, sent, now time.Time) (adopted bool) {
	if l.Kind != NoLimit && l.Remaining == 0 {
		b.park(now.Add(LimitFallback), now, ReasonPrimary)
	}
	if sent.Before(b.since) {
		return false
	}
	if b.older = satInc(b.older); b.older < believed {
		return false
	}
	b.adopt(l, now)
	return true
}

// learnLimit parks the bucket when the answer was a rejection. Rejections of
// requests that were in flight together are one incident and one strike, and an
// answer from before the park, which is not current, forgives nothing.
func (b *Bucket) learnLimit(l *Lesson, now time.Time, current bool) {
	if l.Kind == NoLimit {
		if current && !l.Failure && !l.Cached {
			b.Strikes = 0
		}
		return
	}
	if current || b.Strikes == 0 {
		b.Strikes = satInc(b.Strikes)
	}
	// An origin that says "now" and refuses again meets our own backoff.
	until := now.Add(grow(time.Second, b.Strikes-1, MaxLimitWait))
	switch {
	case l.Fallback:
		wait := LimitFallback
		if l.Kind == CredentialLimit { // only another token helps, and [Bucket.Renew] says when there is one
			wait = CredentialWait
		}
		until = now.Add(grow(wait, b.Strikes-1, MaxLimitWait))
		b.Answered = false // nobody said when it is over: one request alone finds out
	case l.Until.After(until):
		until = within(l.Until, now)
	}
	b.park(until.Add(spread(until.Sub(now), l.Jitter)), now, l.Kind.reason())
}

// park only ever lengthens: an old word cannot clear a newer deadline (rule D-8).
func (b *Bucket) park(until, now time.Time, why Reason) {
	if until.After(b.Park) {
		b.Park, b.Why = within(until, now), why
	}
}
