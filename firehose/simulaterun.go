package firehose

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// simulation is one run. Its instants have no monotonic reading, and nothing in
// it looks at a clock.
type simulation struct {
	simWorld
	t      *terrain
	until  time.Time
	agenda agenda
	units  []simUnit
	scopes []simScope

	free     int  // workers that have nothing to do
	requests fifo // units that wait for a worker, with a ticket
	script   *script
}

// simUnit is a resource in a simulation.
type simUnit struct {
	*unit
	r    resource.Resource
	due  time.Time // since when it may be sent
	seen time.Time // when the answer was made that it knows; zero: none
	tag  uint64    // of the representation
	page int       // of a walk over the pages of a feed; 0: page one

	sent    time.Time
	drawn   string // the name of the bucket that its request was taken from
	verdict verdict
	sure    bool  // the request carried validators
	items   int64 // that came in until the request arrived

	requests, polls, same int64
	first, last           time.Time // polls that were sent
	longest               time.Duration
	missed, gaps          int64
	ended                 bool
}

// simScope is what the registry of buckets would hold of a scope.
type simScope struct {
	plan     *planScope
	index    int // in simulation.scopes
	own      resource.Bucket
	quotas   map[string]*resource.Bucket
	presumed string
	kin      kin
	lines    []*simLine
	wake     time.Time // the instant of the occasion that is planned; zero: none
	origin   simOrigin
	parsers  []resource.Parser // by bucket of the plan
	counts   []simCounts       // by bucket of the plan
}

// simLine is the line of one bucket.
type simLine struct {
	name    string
	waiting fifo
	blocked bool // in one pass of release
}

// simCounts are the counters behind SimCounts.
type simCounts struct {
	SimCounts
	waits []int64 // by cell of a histogram
	max   time.Duration
}

// simEpoch is when a simulation begins, on the clock of its origins. It is a
// whole second, and late enough for a reset in Unix seconds to make sense.
const simEpoch = 1_767_225_600 // 2026-01-01T00:00:00Z

func newSimulation(c SimConfig, t *terrain) *simulation {
	begun := time.Unix(simEpoch, 0).UTC()
	s := &simulation{
		simWorld: simWorld{cfg: &c, rng: rand.New(rand.NewPCG(c.Seed, 0x5eed)), begun: begun, now: begun},
		t:        t, until: begun.Add(c.For), units: make([]simUnit, len(t.units)), scopes: make([]simScope, len(t.scopes)),
		free: t.cfg.Workers, script: newScript(),
	}
	for i := range t.scopes {
		p, sc := &t.scopes[i], &s.scopes[i]
		*sc = simScope{plan: p, index: i, quotas: map[string]*resource.Bucket{}, counts: make([]simCounts, len(p.buckets))}
		sc.own.Cap, sc.own.Reserve = p.cap, p.reserve
		sc.origin = simOrigin{name: p.key.Origin}
		for j := range p.buckets {
			q := p.buckets[j].quota
			sc.origin.quotas = append(sc.origin.quotas, simQuota{limit: q.Requests, window: q.Window, free: q.NotModifiedFree})
			sc.parsers = append(sc.parsers, simParser(&sc.origin.quotas[j]))
		}
	}
	for i := range t.units {
		s.units[i] = simUnit{unit: &t.units[i], r: t.units[i].r, due: begun}
		s.agenda.add(0, occasionDue, i)
	}
	return s
}

// run goes from occasion to occasion until the time is over.
func (s *simulation) run(ctx context.Context) error {
	for n := 0; len(s.agenda.heap) > 0; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		o := s.agenda.next()
		now := s.begun.Add(time.Duration(o.at))
		if !now.Before(s.until) {
			return nil
		}
		s.now = now
		switch o.what {
		case occasionDue:
			s.place(o.who)
		case occasionAnswer:
			s.answer(o.who)
		case occasionWake:
			if sc := &s.scopes[o.who]; sc.wake.Equal(now) {
				sc.wake = time.Time{}
				s.release(sc)
			}
		}
	}
	return nil
}

func (s *simulation) plan(at time.Time, what uint8, who int) {
	s.agenda.add(int64(at.Sub(s.begun)), what, who)
}

// nameOf is the bucket that a unit is taken to draw from.
func (sc *simScope) nameOf(u *simUnit) string {
	if u.r.Bucket != "" {
		return u.r.Bucket
	}
	if bucket := sc.kin.guess(u.r.URI); bucket != "" {
		return bucket
	}
	return sc.presumed
}

// quota is a named bucket inside the scope; nil for no name.
func (sc *simScope) quota(name string) *resource.Bucket {
	if name == "" {
		return nil
	}
	q := sc.quotas[name]
	if q == nil {
		q = &resource.Bucket{Reserve: sc.plan.reserve}
		sc.quotas[name] = q
	}
	return q
}

// decide says how a unit goes on. The next page of a walk waits for its buckets
// alone.
func (s *simulation) decide(sc *simScope, u *simUnit) resource.Decision {
	snap := resource.Snapshot{Scope: sc.own, Quota: resource.Bucket{Answered: true}}
	if q := sc.quota(sc.nameOf(u)); q != nil {
		snap.Quota = *q
	}
	if u.page == 0 {
		return resource.Decide(&u.r, &snap, s.now)
	}
	d := snap.Scope.Admit(s.now)
	if d.Wide = d.Kind != resource.Ready; !d.Wide {
		d = snap.Quota.Admit(s.now)
	}
	return d
}

// place puts a unit where its decision says. Who finds a line joins it.
func (s *simulation) place(i int) {
	u := &s.units[i]
	sc := &s.scopes[u.scope]
	d := s.decide(sc, u)
	name := sc.nameOf(u)
	switch {
	case d.Kind == resource.At:
		u.due = d.At
		s.plan(d.At, occasionDue, i)
	case d.Kind == resource.Fault:
		u.ended = true
		sc.counts[u.bucket].Ended++
	case d.Kind == resource.Ready && sc.line(name).waiting.len() == 0:
		s.take(sc, i)
	default:
		sc.line(name).waiting.add(i)
		if d.Kind == resource.Line {
			s.wakeAt(sc, d.At)
			return
		}
		s.release(sc) // the head of the line may go as well
	}
}

func (sc *simScope) line(name string) *simLine {
	for _, l := range sc.lines {
		if l.name == name {
			return l
		}
	}
	l := &simLine{name: name}
	sc.lines = append(sc.lines, l)
	return l
}

// wakeAt sees to it that the lines of a scope are looked at by then. A zero
// instant is that of an answer in flight, which does so by itself.
func (s *simulation) wakeAt(sc *simScope, at time.Time) {
	if at.IsZero() || !sc.wake.IsZero() && !at.Before(sc.wake) {
		return
	}
	sc.wake = at
	s.plan(at, occasionWake, sc.index)
}

// release lets out of the lines of a scope whom their buckets admit, the one
// that has been due for longest first.
func (s *simulation) release(sc *simScope) {
	for _, l := range sc.lines {
		l.blocked = false
	}
	for {
		var l *simLine
		for _, other := range sc.lines {
			if other.waiting.len() > 0 && !other.blocked &&
				(l == nil || s.units[other.waiting.first()].due.Before(s.units[l.waiting.first()].due)) {
				l = other
			}
		}
		if l == nil {
			return
		}
		i := l.waiting.first()
		u := &s.units[i]
		if name := sc.nameOf(u); name != l.name { // an answer has named its bucket since it joined
			l.waiting.take()
			sc.line(name).waiting.add(i)
			continue
		}
		switch d := s.decide(sc, u); d.Kind {
		case resource.Ready:
			l.waiting.take()
			s.take(sc, i)
		case resource.Line:
			s.wakeAt(sc, d.At)
			if d.Wide {
				return
			}
			l.blocked = true
		default:
			l.waiting.take()
			s.place(i)
		}
	}
}

// take reserves a request, and sends it if a worker is free.
func (s *simulation) take(sc *simScope, i int) {
	u := &s.units[i]
	u.drawn = sc.nameOf(u)
	sc.own.Take()
	if q := sc.quota(u.drawn); q != nil {
		q.Take()
	}
	if s.free == 0 {
		s.requests.add(i)
		return
	}
	s.send(sc, i)
}

// drop ends a reservation.
func (sc *simScope) drop(u *simUnit, how func(*resource.Bucket)) {
	how(&sc.own)
	if q := sc.quota(u.drawn); q != nil {
		how(q)
	}
}

// pump gives workers that are free to who waits for one. What was admitted is
// looked at again: a bucket may have been parked since.
func (s *simulation) pump() {
	for s.free > 0 && s.requests.len() > 0 {
		i := s.requests.take()
		u := &s.units[i]
		sc := &s.scopes[u.scope]
		sc.drop(u, (*resource.Bucket).Release)
		if d := s.decide(sc, u); d.Kind != resource.Ready {
			s.place(i)
			continue
		}
		u.drawn = sc.nameOf(u)
		sc.drop(u, (*resource.Bucket).Take)
		s.send(sc, i)
	}
}

// send lets a request leave. The origin counts it at once, and its answer takes
// the latency.
func (s *simulation) send(sc *simScope, i int) {
	u := &s.units[i]
	s.free--
	u.sent = s.now
	if spacing := sc.plan.spacing; spacing > 0 {
		sc.own.Slot = s.now.Add(spacing)
	}
	counts := &sc.counts[u.bucket]
	wait := s.now.Sub(u.due)
	counts.wait(wait)
	u.longest = max(u.longest, wait)
	counts.Requests++
	u.requests++
	if u.page == 0 {
		counts.Polls++
		u.polls++
		if u.first.IsZero() {
			u.first = s.now
		}
		u.last = s.now
	}
	u.sure = u.page == 0 && !u.r.Validators.IsZero()
	u.items = -1
	u.verdict = sc.origin.arrive(&s.simWorld, u.bucket, u.sure, u.r.Credential != "", func() (changed bool) {
		changed, u.items = s.changes(u.unit, u.seen)
		return changed
	})
	s.plan(s.now.Add(u.t.Latency), occasionAnswer, i)
}
