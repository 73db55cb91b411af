package firehosetest

// flight is one request, from its arrival to the end of its answer.
type flight struct {
	res     *resource
	from    *resource // was redirected to res
	sent    instant   // not after its arrival; the arrival itself on a socket
	arrived instant
	remote  bool    // came through a socket
	poll    bool    // for page one
	died    instant // its client was killed; zero: it lives
	charged bool    // counted against the primary limit
	window  instant // of that limit
	burst   instant // of the second one
	again   bool    // if it is reset, its transport may send it again at once
	over    bool    // ended
	counted *int64  // its answer, as modified or not
	doubts  []doubt
}

// request is what the oracle must know of a request beyond its resource.
type request struct {
	sent       instant
	remote     bool
	authorized bool
	validator  validator
	vary       uint64 // hash of Accept, and of the token if that may change
}

// validator says what If-None-Match held.
type validator int

const (
	noValidator validator = iota
	handedOut             // byte for byte
	foreign               // anything else
)

// arrive judges a request and puts it in flight.
func (o *oracle) arrive(r *resource, q request, now instant) *flight {
	f := &flight{res: r, sent: q.sent, arrived: now, remote: q.remote, poll: r.key.page == 1}
	lost := r.settle()
	f.from = o.follow(r)
	unknown := false

	timely := o.judgeTime(f, lost, now, &unknown)
	timely = o.judgeLimits(f, lost, now, &unknown) && timely
	o.judgeFlights(f, now, &unknown)
	o.judgeHeaders(f, q)

	if unknown {
		o.counts.Unknowable++
	}
	o.depart(f, timely, now)
	return f
}

// settle takes over what the last answer told, and returns what an answer told
// that did not arrive.
func (r *resource) settle() (lost facts) {
	switch r.fate {
	case complete:
		r.known.merge(r.last)
	case cutByOrigin: // its client saw the failure and nothing else
		r.known.floor = max(r.known.floor, r.last.floor)
		lost = facts{next: r.last.next, park: r.last.park}
	case unread:
		lost = r.last
	case cutByClient:
		lost = facts{next: r.last.next, park: r.last.park}
	}
	r.fate = noAnswer
	return lost
}

// judgeTime counts Early (G-1, H-1, S-backoff).
func (o *oracle) judgeTime(f *flight, lost facts, now instant, unknown *bool) (timely bool) {
	k := &f.res.known
	switch {
	case now < k.next || now < k.floor:
		o.counts.Early++
		return false
	case now < lost.next || now < lost.floor:
		*unknown = true
		return false
	}
	return true
}

// judgeLimits counts Parked (G-12, G-16) or else Overdraft (G-7, D-2).
func (o *oracle) judgeLimits(f *flight, lost facts, now instant, unknown *bool) (timely bool) {
	b := f.res.bucket
	s := b.scope
	switch {
	case f.res.known.park > now,
		s.park.until > now && o.knew(f, s.park.told),
		b.park.until > now && o.knew(f, b.park.told):
		o.counts.Parked++
		return false
	case lost.park > now, s.park.lost > now, b.park.lost > now:
		*unknown = true
		return false
	}
	timely = o.judgeQuota(f, &b.quota, now, unknown)
	if timely && b.burst != nil {
		timely = o.judgeQuota(f, b.burst, now, unknown)
	}
	return timely
}

// judgeQuota counts Overdraft by one of the quotas.
func (o *oracle) judgeQuota(f *flight, b *quota, now instant, unknown *bool) (timely bool) {
	window := b.told.reset > now && o.knew(f, b.told.at)
	zero := b.zero.reset > now && o.knew(f, b.zero.at)
	exhausted := !o.blind && b.truth.remaining == 0
	switch {
	case zero && (exhausted || o.blind), window && exhausted && b.truth.lost == 0:
		o.counts.Overdraft++
		return false
	case exhausted && b.truth.lost > 0:
		*unknown = true
		return false
	}
	return true
}

// knew reports whether the sender of a request can have known what another
// request had been told. Through a RoundTripper both instants are the client's
// own. On a socket the request may have left before the answer was read, if
// the client may have several in flight.
func (o *oracle) knew(f *flight, told instant) bool {
	if f.remote && o.cap > 1 {
		told = told.add(o.settle)
	}
	return told <= f.sent
}

// judgeFlights counts Overlap (D-4) and Concurrency (G-10, G-11).
func (o *oracle) judgeFlights(f *flight, now instant, unknown *bool) {
	r, s := f.res, f.res.scope
	if r.inFlight > 0 {
		o.counts.Overlap++
		o.suspect(f, &o.counts.Overlap, r.inFlight, now, func(other *flight) bool { return other.res == r })
	} else if r.dead > 0 {
		*unknown = true
	}
	if s.inFlight >= o.cap {
		o.counts.Concurrency++
		o.suspect(f, &o.counts.Concurrency, s.inFlight-o.cap+1, now, func(other *flight) bool { return other.res.scope == s })
	}
}

// judgeHeaders counts BadValidator (G-4), Unconditional (H-6) and
// CredentialLeak (G-18). An answer that was lost gave no validator: asking for
// it again without one is right, not merely excusable.
func (o *oracle) judgeHeaders(f *flight, q request) {
	k := &f.res.known
	switch {
	case q.validator == foreign:
		o.counts.BadValidator++
	case q.validator == noValidator && f.from == nil && k.tag && k.vary == q.vary:
		o.counts.Unconditional++
	}
	if s := f.res.scope; q.authorized {
		home := o.homes[s.cred]
		if home == s.origin.name {
			return
		}
		if h := o.scopes[scopeKey{home, s.cred}]; h != nil {
			if _, led := h.redirects[s.origin.name]; led {
				o.counts.CredentialLeak++
			}
		}
	}
}

// depart puts a request in flight.
func (o *oracle) depart(f *flight, timely bool, now instant) {
	r, c := f.res, &o.counts
	o.reopen(r.bucket, now)
	o.awake(now)
	c.Requests++
	if f.poll {
		c.Polls++
		if r.requests == 0 {
			c.Resources++
		}
		if timely && r.inFlight == 0 {
			o.permitted++
			o.recordLateness(r, now)
			o.recordWait(r, now)
		}
	}
	r.leave()
	r.requests++
	r.inFlight++
	r.scope.inFlight++
	o.inFlight++
	o.flights[f] = struct{}{}
	c.MaxInFlight = max(c.MaxInFlight, int64(o.inFlight))
}

func (o *oracle) recordLateness(r *resource, now instant) {
	if r.due.permit == 0 {
		return
	}
	b := r.bucket
	since := max(r.due.permit, b.held.free, b.scope.held.free, b.scope.origin.down.free, o.kill.free)
	if now >= since {
		o.late.record(now.since(since))
	}
}

// land takes a request out of the air.
func (o *oracle) land(f *flight, now instant) {
	f.over = true
	delete(o.flights, f)
	if f.died != 0 {
		f.res.dead--
		return
	}
	f.res.scope.advance(o, now)
	f.res.inFlight--
	f.res.scope.inFlight--
	o.inFlight--
}

// killed says that all clients died.
func (o *oracle) killed(at, now instant) {
	o.counts.Kills++
	o.advanceAll(now)
	for f := range o.flights {
		if f.died != 0 {
			continue
		}
		f.died = at
		o.counts.InFlightAtKills++
		f.res.inFlight--
		f.res.dead++
		f.res.scope.inFlight--
		o.inFlight--
		if f.charged {
			f.res.bucket.lose()
		}
		if f.poll {
			o.schedule(f, &lesson{outcome: failed}, true, now)
		}
	}
	since := at - instant(o.unread)
	for _, s := range o.scopes {
		s.park.forget(since)
		for _, b := range s.buckets {
			b.forget(since)
		}
		for _, r := range s.resources {
			if r.fate == noAnswer || r.fate == unread || r.last.at < since {
				continue
			}
			if r.fate == complete && r.from.charged {
				r.bucket.lose()
			}
			r.fate = unread
			o.counts.InFlightAtKills++
		}
	}
	o.kill.pause(now)
	o.kills = addOutage(o.kills, outage{from: at, to: never})
}

func (p *park) forget(since instant) {
	if p.told >= since {
		p.lost = max(p.lost, p.until)
		p.until = 0
	}
}

func (f *windowFact) forget(since instant) {
	if f.at >= since {
		*f = windowFact{}
	}
}
