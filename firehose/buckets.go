package firehose

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// buckets is the one registry of buckets in the process: what answers taught,
// what is in flight, and how many resources have a ticket to be sent next.
//
// A ticket is handed out when a resource goes to the requests queue, and given
// back when its poll is over; it keeps that queue short. A reservation is made
// where the request is sent, and only it decides. Lock order: buckets.mu,
// scopeState.mu, hostState.mu; nothing is called under any of them.
type buckets struct {
	store db.DB // nil: parks and resets live in memory
	owner db.Owner
	space string // of the store

	mu     sync.RWMutex
	scopes map[resource.Scope]*scopeState
	hosts  map[string]*hostState // by origin

	birth    time.Time
	hostCap  int                // Config.HostConcurrency
	sharded  bool               // other shards may reach the same hosts
	domains  []string           // whose hosts count together
	dialects []resource.Dialect // that an answer may speak
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
		v.left = min(lowWater, b.Left())
	}
	return v
}

func newBuckets(store db.DB, owner db.Owner) *buckets {
	return &buckets{birth: time.Now(), store: store, owner: owner, space: bucketSpace, scopes: map[resource.Scope]*scopeState{}, hosts: map[string]*hostState{}}
}

// scope returns the state of a scope, or of the domain that it belongs to, made on
// first use. profile says what the user wants of it.
func (b *buckets) scope(key resource.Scope, profile *resource.Profile) *scopeState {
	now := int64(time.Since(b.birth))
	key.Origin = realm(b.domains, key.Origin)
	b.mu.RLock()
	s := b.scopes[key]
	if s != nil {
		s.touched.Store(now) // under the lock of whoever forgets it
	}
	b.mu.RUnlock()
	if s == nil {
		b.mu.Lock()
		if s = b.scopes[key]; s == nil {
			key.Credential, key.Origin = strings.Clone(key.Credential), strings.Clone(key.Origin) // not a part of a resource's texts
			s = &scopeState{
				key: key, durable: b.store != nil, quotas: map[string]*resource.Bucket{}, tickets: map[resource.ID]string{}, counts: map[string]int{},
				lines: map[string]*lineState{}, saved: map[string]savedBucket{}, rates: map[string]*quotaRate{}, also: map[string][]string{},
				host: b.hostLocked(key.Origin), known: b.dialects,
			}
			s.host.join(s)
			b.scopes[key] = s
		}
		s.touched.Store(now)
		b.mu.Unlock()
	}
	if profile != nil {
		s.configure(profile)
	}
	return s
}

// hostLocked returns the state of a host, made on first use.
func (b *buckets) hostLocked(origin string) *hostState {
	h := b.hosts[origin]
	if h == nil {
		h = &hostState{origin: origin, shared: b.sharded, host: resource.Host{Cap: b.hostCap}}
		b.hosts[origin] = h
	}
	return h
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

// unsavedLocked returns which of the named buckets must be written: a longer
// park, another window, or a window that is running out.
func (s *scopeState) unsavedLocked(names ...string) (keys []resource.BucketKey) {
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			continue
		}
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
	}
	return keys
}

// bucketSpace is where parks and resets are kept, of all shards but for the suffix.
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
		value := encodeBucket(key, s, bucket)
		s.mu.Unlock()
		now.version = was.version + 1
		results, err := b.store.Write(ctx, db.Write{If: was.version, Record: db.Record{
			Space: b.space, ID: bucketID(key), Version: now.version, Owner: b.owner, Value: value,
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
	for rec, err := range b.store.Scan(ctx, b.space) {
		if err != nil {
			return fmt.Errorf("firehose: load buckets: %w", err)
		}
		stored, bucket, err := decodeBucket(rec.Value, now)
		if err != nil {
			// The park in it can't be read. It is safe to wait, and unsafe to go on.
			return fmt.Errorf("firehose: load bucket %q: %w", rec.ID, err)
		}
		key := stored.Key
		s := b.scope(key.Scope, nil)
		s.mu.Lock()
		bucket.TakeOver(now)
		if stored.Dialect != "" {
			s.speakLocked(s.spoken().declared, stored.Dialect)
		}
		if key.Name == "" {
			s.refused.finger = stored.Refused
		}
		if len(stored.Also) > 0 {
			s.also[key.Name] = stored.Also
		}
		bucket.Reserve, bucket.ReservePercent = s.reserve, s.percent
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

// saveAgain is save, until ctx ends or there is no hope.
func (b *buckets) saveAgain(ctx context.Context, keys []resource.BucketKey) error {
	saving, cancel := context.WithTimeoutCause(ctx, saveTimeout, errors.New("firehose: bucket not saved in time"))
	defer cancel()
	err := b.save(saving, keys)
	for wait := 10 * time.Millisecond; err != nil && !hopeless(err) && sleep(saving, wait); wait *= 2 {
		err = b.save(saving, keys)
	}
	return err
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
