package firehose

import (
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/cannedos/cannedos/resource"
)

// reservation is the right to send one request, and the duty to say what came
// of it: exactly one of settle, lose and release, and then done.
type reservation struct {
	s     *scopeState
	name  string
	also  []string // further quotas that were taken from; not changed
	probe *probe   // of the host; nil: it is none
	ended bool
}

// take checks and takes in one step, where the request is sent. A decision other
// than Ready says why nothing may be sent now. p is the right to probe the host,
// which the reservation ends; without one it stays the caller's.
func (s *scopeState) take(bucket string, now time.Time, p *probe) (*reservation, resource.Decision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap, _ := s.snapshotLocked(bucket, now)
	d := snap.Scope.Admit(now)
	if d.Kind == resource.Ready {
		d = snap.Quota.Admit(now)
	}
	if d.Kind != resource.Ready {
		return nil, d
	}
	if d := s.host.take(now, p); d.Kind != resource.Ready {
		return nil, d
	}
	name := s.nameLocked(bucket)
	rates := s.ratesLocked(name, now)
	if s.pace != nil && !s.pace.AllowN(now, 1) { // else the snapshot had a slot
		s.host.heard(nil)
		return nil, resource.Decision{Kind: resource.Line, State: resource.WaitingForReset, At: now.Add(time.Millisecond), Why: resource.ReasonPace}
	}
	for _, l := range rates {
		if l != nil {
			l.AllowN(now, 1)
		}
	}
	s.own.Take()
	r := &reservation{s: s, name: name, also: s.also[name], probe: p}
	r.quotasLocked(func(q *resource.Bucket) { q.Take() })
	return r, d
}

// quotasLocked calls do for each quota that the request draws from.
func (r *reservation) quotasLocked(do func(*resource.Bucket)) {
	if q := r.s.quotaLocked(r.name); q != nil {
		do(q)
	}
	for _, name := range r.also {
		do(r.s.quotaLocked(name))
	}
}

// release ends a reservation whose request certainly never left, or whose answer
// was heard of. told is what that tells of the host; nil: nothing.
func (r *reservation) release(told *hearsay) EventKind {
	return r.end(told, func(b *resource.Bucket) { b.Release() })
}

// lose ends a reservation whose answer never came.
func (r *reservation) lose(told *hearsay, sent, now time.Time) EventKind {
	return r.end(told, func(b *resource.Bucket) { b.Lose(sent, now) })
}

func (r *reservation) end(told *hearsay, how func(*resource.Bucket)) EventKind {
	s := r.s
	s.mu.Lock()
	if r.ended {
		s.mu.Unlock()
		return noEvent
	}
	r.ended = true
	how(&s.own)
	r.quotasLocked(how)
	s.mu.Unlock()
	news, changed := s.host.heard(told)
	r.probe.end()
	if changed {
		s.host.signal()
	} else {
		s.signal()
	}
	return news
}

// heard tells the host what an answer says of it. The request stays in flight
// until release.
func (r *reservation) heard(told *hearsay) EventKind {
	news, changed := r.s.host.heard(told)
	r.s.host.hold()
	if changed {
		r.s.host.signal()
	}
	return news
}

// settle teaches the buckets what the header of an answer said. The request
// stays in flight until release: its body is still on the way. It returns the
// buckets whose park or reset has to be written down.
func (r *reservation) settle(l *resource.Lesson, sent, now time.Time, free bool, spoken *resource.Dialect) (changed []resource.BucketKey) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suggestedLocked(spoken, now)
	if said := s.spoken(); said.dialect == "" || l.Dialect != plainDialect { // an error page of a proxy does not make a GitHub less of one
		s.speakLocked(said.declared, l.Dialect)
	}
	name := r.name
	if l.Named {
		name = l.Bucket
		if s.presumed == "" {
			s.presumed = name
		}
	}
	if old := s.quotaLocked(r.name); old != nil && name != r.name {
		old.Release() // it was presumed wrongly, and cost this bucket nothing
	}
	q := s.quotaLocked(name)
	scope, quota := l.Split(q != nil)
	if q != nil {
		if name != r.name {
			q.Take()
		}
		q.Settle(&quota, sent, now, free)
		q.Take()
	}
	s.own.Settle(&scope, sent, now, free)
	s.own.Take()
	s.policyLocked(name, l.Spacing, now)
	switch { // what the origin says of requests in flight together
	case l.Concurrency == 0:
	case q != nil:
		q.Cap = l.Concurrency
	case !s.capped:
		s.own.Cap = l.Concurrency
	}
	r.name = name
	if q != nil {
		r.settleOthersLocked(l, sent, now, free)
	}
	if !s.durable {
		return nil
	}
	return s.unsavedLocked(append([]string{"", name}, r.also...)...)
}

// strikes is how often in a row the buckets of the request were limited.
func (r *reservation) strikes() uint8 {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	n := r.s.own.Strikes
	r.quotasLocked(func(q *resource.Bucket) { n = max(n, q.Strikes) })
	return n
}

// suggestedLocked takes over what a dialect suggests and the user did not say.
func (s *scopeState) suggestedLocked(d *resource.Dialect, now time.Time) {
	if !s.capped && d.Concurrency > 0 && (s.own.Cap == 0 || d.Concurrency < s.own.Cap) {
		s.own.Cap = d.Concurrency
	}
	if spacing := d.Limit.Spacing(); spacing > 0 && !s.paced && s.pace == nil {
		s.pace = rate.NewLimiter(rate.Every(spacing), 1)
		s.pace.AllowN(now, 1)
	}
}

// settleOthersLocked teaches the further quotas that the request drew from: those
// that the answer lists, and those of the answers before it, which it says
// nothing of.
func (r *reservation) settleOthersLocked(l *resource.Lesson, sent, now time.Time, free bool) {
	s, before := r.s, r.also
	silent := *l
	silent.HasQuota, silent.Also = false, nil
	if silent.Kind != resource.NoLimit {
		silent.Kind, silent.Failure = resource.NoLimit, true
	}
	for _, name := range before {
		listed := slices.ContainsFunc(l.Also, func(q resource.Quota) bool { return q.Bucket == name })
		if b := s.quotaLocked(name); !listed {
			b.Settle(&silent, sent, now, free)
			b.Take()
		}
	}
	if len(l.Also) == 0 {
		return
	}
	names := make([]string, len(l.Also), len(l.Also)+len(before))
	for i := range l.Also {
		told := &l.Also[i]
		names[i] = told.Bucket
		b := s.quotaLocked(told.Bucket)
		if !slices.Contains(before, told.Bucket) {
			b.Take()
		}
		lesson := l.For(told)
		b.Settle(&lesson, sent, now, free)
		b.Take()
		s.policyLocked(told.Bucket, told.Spacing, now)
	}
	s.also[r.name] = names[:len(names):len(names)]
	for _, name := range before { // their requests are still to be ended
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	r.also = names
}
