package firehose

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/cannedos/cannedos/resource"
)

// scopeState is one scope with the quotas inside it, under one lock.
type scopeState struct {
	key     resource.Scope
	durable bool // there is a store, and so there may have been a run before this one

	touched atomic.Int64 // when it was last looked up: nanoseconds since the registry was made
	host    *hostState
	known   []resource.Dialect // that an answer may speak

	speech atomic.Pointer[speech] // what each answer is read by, for whom the lock is too busy
	hasKin atomic.Bool            // kin is not empty

	mu       sync.Mutex
	own      resource.Bucket             // the scope as a whole: concurrency, secondary limits, probes
	quotas   map[string]*resource.Bucket // by the name that answers gave them
	presumed string                      // what a resource is taken to draw from until an answer has named it
	kin      kin                         // comes before what is presumed
	tickets  map[resource.ID]string      // resources on their way through requests, with their bucket's name
	counts   map[string]int              // of tickets, by bucket
	pace     *rate.Limiter               // declared by the user; nil: none
	paced    bool                        // the user declared the rate; a dialect does not change it
	capped   bool                        // the user set the concurrency; a dialect does not change it
	reserve  int64
	percent  uint8                 // of each window that is reserved
	spreads  bool                  // a profile asks for quotas to be spread over their windows
	rates    map[string]*quotaRate // of quotas, by name
	also     map[string][]string   // further quotas that what draws from one draws from, too
	refused  refusal
	reading  int // rejections whose bodies are being read: nothing is sent until it is known what they say
	lines    map[string]*lineState
	saved    map[string]savedBucket // what the store holds
}

// lineState says that resources wait, or are about to wait, for a bucket.
type lineState struct {
	queue   string        // the name of its queue; never changed
	length  int           // resources that joined and have not left
	pending int           // of them, those whose move has not ended yet
	running bool          // the Gate has a goroutine for it
	poked   bool          // joined since that goroutine last looked
	changed chan struct{} // holds at most one sign that the bucket may admit now
}

// configure applies what a profile declares. Where profiles of one scope
// differ, the strictest counts.
func (s *scopeState) configure(p *resource.Profile) {
	if p.Limit.IsZero() && p.Concurrency == 0 && p.Reserve == 0 && p.ReservePercent == 0 && !p.Spread && p.Dialect == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if spacing := p.Limit.Spacing(); spacing > 0 {
		if limit := rate.Every(spacing); s.pace == nil {
			s.pace = rate.NewLimiter(limit, 1)
			if s.durable { // when the former run sent its last one is not known
				s.pace.AllowN(time.Now(), 1)
			}
		} else if limit < s.pace.Limit() {
			s.pace.SetLimit(limit)
		}
	}
	s.paced = s.paced || !p.Limit.IsZero()
	if p.Dialect != "" {
		s.speakLocked(p.Dialect, s.spoken().dialect)
		if d, err := resource.DialectNamed(s.known, p.Dialect); err == nil && !s.capped && s.own.Cap == 0 {
			s.own.Cap = d.Concurrency
		}
	}
	if p.Concurrency > 0 && (!s.capped || p.Concurrency < s.own.Cap) {
		s.own.Cap, s.capped = p.Concurrency, true
	}
	s.spreads = s.spreads || p.Spread
	if p.Reserve > s.reserve || p.ReservePercent > s.percent {
		s.reserve, s.percent = max(s.reserve, p.Reserve), max(s.percent, p.ReservePercent)
		for _, q := range s.quotas {
			q.Reserve, q.ReservePercent = s.reserve, s.percent
		}
		s.own.Reserve, s.own.ReservePercent = s.reserve, s.percent
	}
}

// nameLocked resolves the bucket that a resource draws from: the one that answers
// have named, else the one that others of its scope draw from.
func (s *scopeState) nameLocked(bucket string) string {
	if bucket == "" {
		return s.presumed
	}
	return bucket
}

func (s *scopeState) name(bucket string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nameLocked(bucket)
}

func (s *scopeState) quotaLocked(name string) *resource.Bucket {
	if name == "" {
		return nil
	}
	q := s.quotas[name]
	if q == nil {
		q = &resource.Bucket{Reserve: s.reserve, ReservePercent: s.percent}
		s.quotas[name] = q
	}
	return q
}

// explain is what a ticket would be answered for r, without handing one out.
// head says that r is the head of its line.
func (s *scopeState) explain(r resource.Resource, now time.Time, head bool) resource.Explanation {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, snap, d := s.decideLocked(&r, now, head)
	_, r.Bucket = s.snapshotLocked(r.Bucket, now) // the one that says wait, of several
	r.Origin = s.key.Origin                       // or the domain that it counts with
	e := resource.Explain(&r, &snap, now)
	if d.Wide && e.Kind == resource.Ready {
		e.Bucket = s.key.String()
	}
	if d.Kind != resource.Fault {
		e.Follow(d, now)
	}
	return e
}

// snapshotLocked leaves the host out, which has a lock of its own. It says which
// quota it shows.
func (s *scopeState) snapshotLocked(bucket string, now time.Time) (snap resource.Snapshot, name string) {
	snap.Scope = s.own
	if s.reading > 0 { // as before the first answer: one is in flight, and it decides
		snap.Scope.Answered, snap.Scope.InFlight = false, max(1, s.own.InFlight)
	}
	if s.pace != nil {
		snap.Scope.Slot = slot(s.pace, now)
	}
	snap.Quota.Answered = true
	name = s.nameLocked(bucket)
	shown := name
	if q := s.quotaLocked(name); q != nil {
		q, shown = s.worstLocked(name, now)
		snap.Quota = *q
	}
	counts := &snap.Scope
	if name != "" {
		counts = &snap.Quota
	}
	for _, l := range s.ratesLocked(name, now) {
		if l != nil {
			counts.Slot = later(counts.Slot, slot(l, now))
		}
	}
	return snap, shown
}

// worstLocked returns which of the quotas that a request draws from holds it up,
// and for longest (rule I-7).
func (s *scopeState) worstLocked(name string, now time.Time) (*resource.Bucket, string) {
	q, also := s.quotaLocked(name), s.also[name]
	if len(also) == 0 {
		return q, name
	}
	worst := q.Admit(now)
	for _, other := range also {
		b := s.quotaLocked(other)
		if d := b.Admit(now); d.Kind != resource.Ready && (worst.Kind == resource.Ready || d.At.After(worst.At)) {
			q, worst, name = b, d, other
		}
	}
	return q, name
}

// slot is the first instant at which a limiter lets one more go; zero: now.
func slot(l *rate.Limiter, now time.Time) (at time.Time) {
	if l.TokensAt(now) < 1 {
		r := l.ReserveN(now, 1)
		at = now.Add(r.DelayFrom(now))
		r.CancelAt(now)
	}
	return at
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// quotaRate is what keeps the requests of one quota apart.
type quotaRate struct {
	spread *rate.Limiter // over the rest of its window; nil: not asked for
	policy *rate.Limiter // as the origin tells it (rule I-9); nil: not told
}

// ratesLocked returns the rates that count for a quota now, brought up to date;
// nil for those that don't. What is left for one second is not worth a wait.
func (s *scopeState) ratesLocked(name string, now time.Time) (active [2]*rate.Limiter) {
	r := s.rates[name]
	if r != nil {
		active[0] = r.policy
	}
	if !s.spreads {
		return active
	}
	b := &s.own
	if name != "" {
		b = s.quotaLocked(name)
	}
	rest := b.Reset.Sub(now)
	if !b.Known || rest <= time.Second || b.Spare() == 0 {
		return active
	}
	limit := rate.Limit(float64(b.Spare()) / rest.Seconds())
	if r = s.rateLocked(name); r.spread == nil {
		r.spread = rate.NewLimiter(limit, 1)
	}
	r.spread.SetLimitAt(now, limit)
	active[1] = r.spread
	return active
}

func (s *scopeState) rateLocked(name string) *quotaRate {
	r := s.rates[name]
	if r == nil {
		r = &quotaRate{}
		s.rates[name] = r
	}
	return r
}

// atOnce is for how long an origin's own rate may have been idle and be caught
// up with: as long as the jitter that is added to a reset.
const atOnce = resource.MaxLimitJitter

// policyLocked takes over the rate that an origin tells of a quota: its window
// over its quota, however much is said to remain (rule I-9).
func (s *scopeState) policyLocked(name string, spacing time.Duration, now time.Time) {
	if spacing <= 0 {
		return
	}
	limit, burst := rate.Every(spacing), int(max(1, atOnce/spacing))
	r := s.rateLocked(name)
	if r.policy == nil {
		r.policy = rate.NewLimiter(limit, burst)
	} else if r.policy.Limit() != limit {
		r.policy.SetLimitAt(now, limit)
		r.policy.SetBurstAt(now, burst)
	}
}

// ticket decides about r and, when it is ready, hands out a ticket in the same
// step. Resources on their way count as in flight. fromLine says that r is the
// head of its line; everybody else joins a line that exists.
func (s *scopeState) ticket(r *resource.Resource, now time.Time, fromLine bool) resource.Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, _, d := s.decideLocked(r, now, fromLine)
	if d.Kind != resource.Ready {
		s.dropTicketLocked(r.ID) // of a service that ended with it
		return d
	}
	if _, again := s.tickets[r.ID]; !again {
		s.tickets[r.ID] = name
		s.counts[name]++
		s.host.ticket(1)
	}
	return d
}

// decideLocked decides about r by what is in flight and on the way, in the bucket
// whose name it returns, and shows what it went by.
func (s *scopeState) decideLocked(r *resource.Resource, now time.Time, fromLine bool) (name string, snap resource.Snapshot, d resource.Decision) {
	snap, _ = s.snapshotLocked(r.Bucket, now)
	name = s.nameLocked(r.Bucket)
	_, again := s.tickets[r.ID]
	snap.Host = s.host.snapshot(again)
	if !again {
		snap.Scope.InFlight = max(snap.Scope.InFlight, len(s.tickets))
		snap.Quota.InFlight = max(snap.Quota.InFlight, s.counts[name])
	}
	d = resource.Decide(r, &snap, now)
	if l := s.lines[name]; d.Kind == resource.Ready && l != nil && l.length > 0 && !fromLine {
		d = resource.Decision{Kind: resource.Line, State: resource.WaitingForReset, Why: resource.ReasonTurn}
	}
	if d.Kind == resource.Ready && !again {
		s.slotTakenLocked(name, now, &d)
	}
	return name, snap, d
}

// slotTakenLocked makes d a wait if the slot that a rate leaves free is for a
// resource that is on its way already.
func (s *scopeState) slotTakenLocked(name string, now time.Time, d *resource.Decision) {
	wait := func(l *rate.Limiter, wide bool) {
		next := now.Add(time.Duration(float64(time.Second) / float64(l.Limit())))
		*d = resource.Decision{Kind: resource.Line, State: resource.WaitingForReset, At: next, Why: resource.ReasonPace, Wide: wide}
	}
	if s.pace != nil && len(s.tickets) > s.own.InFlight {
		wait(s.pace, true)
		return
	}
	onTheWay, inFlight := len(s.tickets), s.own.InFlight
	if q := s.quotas[name]; q != nil {
		onTheWay, inFlight = s.counts[name], q.InFlight
	}
	if onTheWay <= inFlight {
		return
	}
	for _, l := range s.ratesLocked(name, now) {
		if l != nil && l.TokensAt(now) < float64(onTheWay-inFlight+1) {
			wait(l, name == "")
		}
	}
}

// room is about how many resources the bucket of a name admits now, from 1 to
// most: as many as are worth taking out of its line at once. Each is decided for
// itself.
func (s *scopeState) room(name string, most int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.quotas[name]
	if s.pace != nil || s.spreads || s.rates[name] != nil || len(s.also[name]) > 0 || s.reading > 0 || !s.own.Answered || q != nil && !q.Answered {
		return 1
	}
	host := s.host.snapshot(false)
	if host.Trips > 0 {
		return 1
	}
	left := int64(most)
	capped := func(bound, inFlight int) {
		if bound > 0 {
			left = min(left, int64(bound-inFlight))
		}
	}
	capped(host.Cap, host.InFlight)
	capped(s.own.Cap, max(s.own.InFlight, len(s.tickets)))
	known := &s.own
	if q != nil {
		capped(q.Cap, max(q.InFlight, s.counts[name]))
		known = q
	}
	if known.Known {
		left = min(left, known.Spare()-int64(len(s.tickets)))
	}
	return int(max(1, left))
}

// giveBack ends a ticket. Without one it does nothing.
func (s *scopeState) giveBack(id resource.ID) {
	s.mu.Lock()
	had := s.dropTicketLocked(id)
	s.mu.Unlock()
	if had {
		s.signal()
	}
}

func (s *scopeState) dropTicketLocked(id resource.ID) (had bool) {
	name, had := s.tickets[id]
	if had {
		delete(s.tickets, id)
		s.host.ticket(-1)
		if s.counts[name]--; s.counts[name] == 0 {
			delete(s.counts, name)
		}
	}
	return had
}

// holdBack keeps the scope from sending until letGo: an answer says that it is a
// rejection, and its body is still to tell of which kind.
func (s *scopeState) holdBack() (letGo func()) {
	s.mu.Lock()
	s.reading++
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		s.reading--
		s.mu.Unlock()
		s.signal()
	}
}

// maxQuotas bounds the names of quotas that one scope may be taught.
const maxQuotas = 256

// bound takes the names of quotas out of a lesson if there are too many already,
// or if no store could keep them. The bucket that the request was taken from
// counts then.
func (s *scopeState) bound(l *resource.Lesson) {
	if !l.Named && len(l.Also) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.Named && !s.mayKnowLocked(l.Bucket) {
		l.Named, l.Bucket, l.HasQuota = false, "", false
	}
	l.Also = slices.DeleteFunc(l.Also, func(q resource.Quota) bool { return q.Bucket == l.Bucket || !s.mayKnowLocked(q.Bucket) })
	if len(l.Also) == 0 {
		l.Spared = false
	}
}

func (s *scopeState) mayKnowLocked(name string) bool {
	_, known := s.quotas[name]
	return known || len(s.quotas) < maxQuotas && utf8.ValidString(name)
}

const (
	plainDialect  = "plain"  // fits when no other does
	githubDialect = "github" // the one whose origin says that a 304 costs nothing (rule G-5); nobody else is believed to
)

// speech is how a scope speaks of its limits. It is never changed, but replaced.
type speech struct {
	declared string // the dialect that a profile names; empty: none does
	dialect  string // the most specific one that any answer has spoken; empty: none has
}

// spoken returns how the scope has spoken so far.
func (s *scopeState) spoken() speech {
	if known := s.speech.Load(); known != nil {
		return *known
	}
	return speech{}
}

// speakLocked notes how the scope speaks.
func (s *scopeState) speakLocked(declared, dialect string) {
	if now := (speech{declared, dialect}); now != s.spoken() {
		s.speech.Store(&now)
	}
}

// signal tells the lines of a scope that something may be admitted now.
func (s *scopeState) signal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		select {
		case l.changed <- struct{}{}:
		default: // a sign is there already
		}
	}
}
