package firehose

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// buckets is the one registry of buckets in the process: what answers taught,
// what is in flight, and how many resources have a ticket to be sent next.
//
// A ticket is handed out when a resource goes to the requests queue, and given
// back when its poll is over; it keeps that queue short. A reservation is made
// where the request is sent, and only it decides. Lock order: buckets.mu, then
// scopeState.mu; nothing is called under either.
type buckets struct {
	store db.DB // nil: parks and resets live in memory
	owner db.Owner

	mu     sync.RWMutex
	scopes map[resource.Scope]*scopeState
}

// scopeState is one scope with the quotas inside it, under one lock.
type scopeState struct {
	key     resource.Scope
	durable bool // there is a store, and so there may have been a run before this one

	mu       sync.Mutex
	own      resource.Bucket             // the scope as a whole: concurrency, secondary limits, probes
	quotas   map[string]*resource.Bucket // by the name that answers gave them
	presumed string                      // what a resource is taken to draw from until an answer has named it
	dialect  string                      // the most specific one that any answer has spoken
	declared string                      // the one that a profile names; empty: none does
	tickets  map[resource.ID]string      // resources on their way through requests, with their bucket's name
	counts   map[string]int              // of tickets, by bucket
	pace     *rate.Limiter               // declared by the user; nil: none
	capped   bool                        // the user set the concurrency; a dialect does not change it
	reserve  int64
	reading  int // rejections whose bodies are being read: nothing is sent until it is known what they say
	lines    map[string]*lineState
	saved    map[string]savedBucket // what the store holds
}

// lineState says that resources wait, or are about to wait, for a bucket.
type lineState struct {
	length  int           // resources that joined and have not left
	pending int           // of them, those whose move has not ended yet
	running bool          // the Gate has a goroutine for it
	poked   bool          // joined since that goroutine last looked
	changed chan struct{} // holds at most one sign that the bucket may admit now
}

// savedBucket is what was last written of a bucket: enough to see whether it
// must be written again.
type savedBucket struct {
	version     int64
	park, reset time.Time
	left        int64 // requests that remain, where they are few; else lowWater
}

// lowWater is what remains of a window from where on each answer is written
// down: with a claim on top, nothing is taken for there that is not.
const lowWater = 8

// level is what of a bucket must be written when it changes.
func level(b *resource.Bucket) savedBucket {
	v := savedBucket{park: b.Park, reset: b.Reset, left: lowWater}
	if b.Known {
		v.left = max(0, min(lowWater, b.Remaining-b.Reserve))
	}
	return v
}

func newBuckets(store db.DB, owner db.Owner) *buckets {
	return &buckets{store: store, owner: owner, scopes: map[resource.Scope]*scopeState{}}
}

// scope returns the state of a scope, made on first use. profile says what the
// user wants of it.
func (b *buckets) scope(key resource.Scope, profile *resource.Profile) *scopeState {
	b.mu.RLock()
	s := b.scopes[key]
	b.mu.RUnlock()
	if s == nil {
		b.mu.Lock()
		if s = b.scopes[key]; s == nil {
			s = &scopeState{
				key: key, durable: b.store != nil, quotas: map[string]*resource.Bucket{}, tickets: map[resource.ID]string{}, counts: map[string]int{},
				lines: map[string]*lineState{}, saved: map[string]savedBucket{},
			}
			b.scopes[key] = s
		}
		b.mu.Unlock()
	}
	if profile != nil {
		s.configure(profile)
	}
	return s
}

// all yields every scope.
func (b *buckets) all() iter.Seq[*scopeState] {
	return func(yield func(*scopeState) bool) {
		b.mu.RLock()
		scopes := make([]*scopeState, 0, len(b.scopes))
		for _, s := range b.scopes {
			scopes = append(scopes, s)
		}
		b.mu.RUnlock()
		for _, s := range scopes {
			if !yield(s) {
				return
			}
		}
	}
}

// configure applies what a profile declares. Where profiles of one scope
// differ, the strictest counts.
func (s *scopeState) configure(p *resource.Profile) {
	if p.Limit.IsZero() && p.Concurrency == 0 && p.Reserve == 0 && p.Dialect == "" {
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
	if p.Dialect != "" {
		s.declared = p.Dialect
		if d, err := resource.DialectNamed(p.Dialect); err == nil && !s.capped && s.own.Cap == 0 {
			s.own.Cap = d.Concurrency
		}
	}
	if p.Concurrency > 0 && (!s.capped || p.Concurrency < s.own.Cap) {
		s.own.Cap, s.capped = p.Concurrency, true
	}
	if p.Reserve > s.reserve {
		s.reserve = p.Reserve
		for _, q := range s.quotas {
			q.Reserve = s.reserve
		}
		s.own.Reserve = s.reserve
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
		q = &resource.Bucket{Reserve: s.reserve}
		s.quotas[name] = q
	}
	return q
}

// snapshot is the state of the buckets of one resource, as the Analyzer sees it.
func (s *scopeState) snapshot(bucket string, now time.Time) resource.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshotLocked(bucket, now)
}

func (s *scopeState) snapshotLocked(bucket string, now time.Time) (snap resource.Snapshot) {
	snap.Scope = s.own
	if s.reading > 0 { // as before the first answer: one is in flight, and it decides
		snap.Scope.Answered, snap.Scope.InFlight = false, max(1, s.own.InFlight)
	}
	if s.pace != nil && s.pace.TokensAt(now) < 1 {
		r := s.pace.ReserveN(now, 1)
		snap.Scope.Slot = now.Add(r.DelayFrom(now))
		r.CancelAt(now)
	}
	snap.Quota.Answered = true
	if q := s.quotaLocked(s.nameLocked(bucket)); q != nil {
		snap.Quota = *q
	}
	return snap
}

// ticket decides about r and, when it is ready, hands out a ticket in the same
// step. Resources on their way count as in flight. fromLine says that r is the
// head of its line; everybody else joins a line that exists.
func (s *scopeState) ticket(r *resource.Resource, now time.Time, fromLine bool) resource.Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := s.snapshotLocked(r.Bucket, now)
	name := s.nameLocked(r.Bucket)
	_, again := s.tickets[r.ID]
	if !again {
		snap.Scope.InFlight = max(snap.Scope.InFlight, len(s.tickets))
		snap.Quota.InFlight = max(snap.Quota.InFlight, s.counts[name])
	}
	d := resource.Decide(r, &snap, now)
	if l := s.lines[name]; d.Kind == resource.Ready && l != nil && l.length > 0 && !fromLine {
		d = resource.Decision{Kind: resource.Line, State: resource.WaitingForReset, Why: resource.ReasonConcurrency}
	}
	if d.Kind == resource.Ready && !again && s.pace != nil && len(s.tickets) > s.own.InFlight {
		// The slot that is free is for a resource that is on its way already.
		next := now.Add(time.Duration(float64(time.Second) / float64(s.pace.Limit())))
		d = resource.Decision{Kind: resource.Line, State: resource.WaitingForReset, At: next, Why: resource.ReasonPace, Wide: true}
	}
	if d.Kind != resource.Ready {
		s.dropTicketLocked(r.ID) // of a service that ended with it
		return d
	}
	if !again {
		s.tickets[r.ID] = name
		s.counts[name]++
	}
	return d
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

// bound takes the name of a quota out of a lesson if there are too many already,
// or if no store could keep it. The bucket that the request was taken from
// counts then.
func (s *scopeState) bound(l *resource.Lesson) {
	if !l.Named {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.quotas[l.Bucket]; !known && (len(s.quotas) >= maxQuotas || !utf8.ValidString(l.Bucket)) {
		l.Named, l.Bucket, l.HasQuota = false, "", false
	}
}

// reservation is the right to send one request, and the duty to say what came
// of it: exactly one of settle, lose and release, and then done.
type reservation struct {
	s     *scopeState
	name  string
	ended bool
}

// reserve checks and takes in one step, where the request is sent. A decision
// other than Ready says why nothing may be sent now.
func (s *scopeState) take(bucket string, now time.Time) (*reservation, resource.Decision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := s.snapshotLocked(bucket, now)
	d := snap.Scope.Admit(now)
	if d.Kind == resource.Ready {
		d = snap.Quota.Admit(now)
	}
	if d.Kind == resource.Ready && s.pace != nil && !s.pace.AllowN(now, 1) {
		d = resource.Decision{Kind: resource.Line, State: resource.WaitingForReset, At: now.Add(time.Millisecond), Why: resource.ReasonPace}
	}
	if d.Kind != resource.Ready {
		return nil, d
	}
	name := s.nameLocked(bucket)
	s.own.Take()
	if q := s.quotaLocked(name); q != nil {
		q.Take()
	}
	return &reservation{s: s, name: name}, d
}

// release ends a reservation whose request certainly never left.
func (r *reservation) release() {
	r.end(func(b *resource.Bucket) { b.Release() })
}

// lose ends a reservation whose answer never came.
func (r *reservation) lose(sent, now time.Time) {
	r.end(func(b *resource.Bucket) { b.Lose(sent, now) })
}

func (r *reservation) end(how func(*resource.Bucket)) {
	s := r.s
	s.mu.Lock()
	if r.ended {
		s.mu.Unlock()
		return
	}
	r.ended = true
	how(&s.own)
	if q := s.quotaLocked(r.name); q != nil {
		how(q)
	}
	s.mu.Unlock()
	s.signal()
}

// settle teaches the buckets what the header of an answer said. The request
// stays in flight until release: its body is still on the way. It returns the
// buckets whose park or reset has to be written down.
func (r *reservation) settle(l *resource.Lesson, sent, now time.Time, free bool, concurrency int) (changed []resource.BucketKey) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.capped && (s.own.Cap == 0 || concurrency < s.own.Cap) {
		s.own.Cap = concurrency
	}
	if s.dialect == "" || s.dialect == plainDialect {
		s.dialect = l.Dialect // an error page of a proxy does not make a GitHub less of one
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
	r.name = name
	return s.unsavedLocked("", name)
}

// unsavedLocked returns which of the named buckets must be written: a longer
// park, another window, or a window that is running out.
func (s *scopeState) unsavedLocked(names ...string) (keys []resource.BucketKey) {
	for _, name := range names {
		b := s.quotas[name]
		if name == "" {
			b = &s.own
		} else if b == nil {
			continue
		}
		was := s.saved[name]
		now := level(b)
		window := b.Known && b.Reset.Sub(was.reset).Abs() > 5*time.Second
		low := now.left != was.left && (now.left < lowWater || was.version > 0)
		if b.Park.After(was.park) || window || low {
			keys = append(keys, resource.BucketKey{Scope: s.key, Name: name})
		}
		if len(names) == 2 && names[0] == names[1] {
			break
		}
	}
	return keys
}

// plainDialect is the dialect that fits when no other does.
const plainDialect = "plain"

// spoken returns the dialect to read the next answer with; empty: detect it.
func (s *scopeState) spoken() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.declared != "":
		return s.declared
	case s.dialect == plainDialect:
		return ""
	}
	return s.dialect
}

// bucketSpace is where parks and resets are kept.
const bucketSpace = "bucket"

// save writes the buckets of one scope, each over what was last written. It is
// called without a lock; two that race leave the newer one, since the loser
// reads the winner's version and writes again.
func (b *buckets) save(ctx context.Context, keys []resource.BucketKey) error {
	if b.store == nil {
		return nil
	}
	for _, key := range keys {
		if err := b.saveOne(ctx, key); err != nil {
			return fmt.Errorf("firehose: save bucket %s: %w", key, err)
		}
	}
	return nil
}

func (b *buckets) saveOne(ctx context.Context, key resource.BucketKey) error {
	s := b.scope(key.Scope, nil)
	for range 8 {
		s.mu.Lock()
		bucket := &s.own
		if key.Name != "" {
			bucket = s.quotaLocked(key.Name)
		}
		now := level(bucket)
		was := s.saved[key.Name]
		value := encodeBucket(key, s.dialect, bucket)
		s.mu.Unlock()
		now.version = was.version + 1
		results, err := b.store.Write(ctx, db.Write{If: was.version, Record: db.Record{
			Space: bucketSpace, ID: bucketID(key), Version: now.version, Owner: b.owner, Value: value,
		}})
		if err != nil {
			return err
		}
		if !results[0].OK {
			now = was
			now.version = results[0].Current.Version
		}
		s.mu.Lock()
		if s.saved[key.Name].version < now.version {
			s.saved[key.Name] = now
		}
		s.mu.Unlock()
		if results[0].OK {
			return nil
		}
	}
	return fmt.Errorf("lost 8 races in a row")
}

// load reads what an earlier run wrote. Until the instant from of each scope a
// request of that run may still be on its way; settling says when that is.
func (b *buckets) load(ctx context.Context, now time.Time, log *slog.Logger) error {
	if b.store == nil {
		return nil
	}
	for rec, err := range b.store.Scan(ctx, bucketSpace) {
		if err != nil {
			return fmt.Errorf("firehose: load buckets: %w", err)
		}
		key, dialect, bucket, err := decodeBucket(rec.Value, now)
		if err != nil {
			// The park in it can't be read. It is safe to wait, and unsafe to go on.
			return fmt.Errorf("firehose: load bucket %q: %w", rec.ID, err)
		}
		s := b.scope(key.Scope, nil)
		s.mu.Lock()
		bucket.TakeOver(now)
		if dialect != "" {
			s.dialect = dialect
		}
		bucket.Reserve = s.reserve
		saved := level(&bucket)
		saved.version = rec.Version
		s.saved[key.Name] = saved
		if key.Name == "" {
			bucket.Cap = s.own.Cap
			s.own = bucket
		} else {
			s.quotas[key.Name] = &bucket
			if s.presumed == "" {
				s.presumed = key.Name
			}
		}
		s.mu.Unlock()
		log.Debug("bucket restored", "bucket", key.String(), "park", bucket.Park, "reset", bucket.Reset)
	}
	return nil
}

// settling leaves a scope alone until the instant: a request of a run that has
// ended may still be on its way.
//
// The request counts as spent in the named bucket, for the same reason.
func (b *buckets) settling(key resource.BucketKey, until time.Time) {
	s := b.scope(key.Scope, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.quotaLocked(s.nameLocked(key.Name)); q != nil {
		q.Take()
		q.TakeOver(until)
	} else {
		s.own.Take()
	}
	s.own.TakeOver(until)
}

// bucketID is the key of a bucket in the store, bounded whatever its names.
func bucketID(key resource.BucketKey) string {
	id := key.String()
	if len(id) <= 200 {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return id[:160] + hex.EncodeToString(sum[:16])
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
