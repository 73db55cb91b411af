package firehose

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// window is an origin that counts: so many requests in a window, and then none.
type window struct {
	mu    sync.Mutex
	limit int
	long  time.Duration
	begun time.Time
	sent  int
	most  int
	over  int // requests beyond the limit
}

func (w *window) ask(rng *rand.Rand) (l resource.Lesson) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Sub(w.begun) >= w.long {
		w.begun, w.sent = now.Truncate(time.Second), 0
	}
	w.sent++
	w.most = max(w.most, w.sent)
	l = resource.Lesson{
		Dialect: "github", Named: true, Bucket: "core", HasQuota: true, Limit: int64(w.limit), Remaining: int64(max(0, w.limit-w.sent)),
		Reset: w.begun.Add(w.long), Window: w.begun.Add(w.long).Round(0).UTC(), Jitter: rng.Float64(),
	}
	if w.sent > w.limit {
		w.over++
		l.Kind, l.Until = resource.PrimaryLimit, l.Reset.Add(time.Second)
	}
	return l
}

// However 64 goroutines and the order of answers mix: a bucket of 100 a window
// never hands out more, and always all of it.
//
// Peer url-frontier-1: whether the delay is over was asked first and noted
// later, so that two clients got the same turn.
func TestD2_BucketNeverOverdrawn(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
			b := newBuckets(nil, db.Owner{})
			profile := &resource.Profile{Concurrency: 64}
			s := b.scope(resource.Scope{Origin: "https://a.test"}, profile)
			origin := &window{limit: 100, long: time.Minute}
			end := time.Now().Add(5 * time.Minute)
			var all sync.WaitGroup
			total := 0
			for i := range 64 {
				all.Go(func() {
					rng := rand.New(rand.NewPCG(seed, uint64(i)))
					for time.Now().Before(end) {
						r, d := s.take("core", time.Now(), nil)
						if r == nil {
							require.NotEqual(t, resource.Ready, d.Kind)
							time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
							continue
						}
						sent := time.Now()
						lesson := origin.ask(rng)
						time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond) // answers come in any order
						switch rng.IntN(20) {
						case 0:
							r.lose(nil, sent, time.Now())
						default:
							r.settle(&lesson, sent, time.Now(), false, &resource.Dialect{Concurrency: 64})
							time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
							r.release(nil)
						}
						r.release(nil) // twice is none
						r.lose(nil, sent, time.Now())
						origin.mu.Lock()
						total++
						origin.mu.Unlock()
					}
				})
			}
			all.Wait()
			require.Zero(t, origin.over, "seed %d", seed)
			require.LessOrEqual(t, origin.most, 100)
			require.GreaterOrEqual(t, total, 200, "seed %d: nothing is left unused for long", seed)
			for _, level := range s.levels() {
				require.Zero(t, level.InFlight)
			}
		})
	}
}

// The same without any sleep, for the race detector.
func TestD2_BucketTogether(t *testing.T) {
	b := newBuckets(db.NewMemory(), db.NewOwner())
	s := b.scope(resource.Scope{Origin: "https://a.test"}, &resource.Profile{Concurrency: 8, Reserve: 3})
	var all sync.WaitGroup
	var mu sync.Mutex
	sent := 0
	reset := time.Now().Add(time.Hour)
	for i := range 64 {
		all.Go(func() {
			for range 200 {
				r, _ := s.take("", time.Now(), nil)
				if r == nil {
					continue
				}
				mu.Lock()
				sent++
				remaining := int64(100 - sent)
				mu.Unlock()
				l := resource.Lesson{Dialect: "github", Named: true, Bucket: "core", HasQuota: true, Limit: 100, Remaining: max(0, remaining), Reset: reset, Window: reset.Round(0).UTC()}
				keys := r.settle(&l, time.Now(), time.Now(), false, &resource.Dialect{Concurrency: 4})
				if err := b.save(context.Background(), keys); err != nil {
					t.Error(err)
				}
				r.release(nil)
				id := resource.ID{byte(i)}
				s.ticket(&resource.Resource{Spec: resource.Spec{ID: id}}, time.Now(), false)
				s.giveBack(id)
				s.levels()
			}
		})
	}
	all.Wait()
	require.Equal(t, 97, sent, "3 are reserved")
	require.Empty(t, s.tickets)
	require.Empty(t, s.counts)
}

// What is saved is what is loaded, whatever races there were, and it makes the
// next run wait.
func TestD20_BucketsAreRestored(t *testing.T) {
	store := db.NewMemory()
	b := newBuckets(store, db.NewOwner())
	now := time.Now()
	long := strings.Repeat("name", 60)
	key := resource.Scope{Credential: "key", Origin: "https://a.test"}
	s := b.scope(key, nil)
	r, _ := s.take("", now, nil)
	park := now.Add(time.Hour)
	l := resource.Lesson{Dialect: "github", Named: true, Bucket: long, HasQuota: true, Limit: 10, Remaining: 4, Reset: park, Window: park.UTC(), Kind: resource.SecondaryLimit, Wide: true, Until: park}
	keys := r.settle(&l, now, now, false, &resource.Dialect{Concurrency: 1})
	require.Len(t, keys, 2)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := b.save(context.Background(), keys); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.Empty(t, func() []resource.BucketKey { s.mu.Lock(); defer s.mu.Unlock(); return s.unsavedLocked("", long) }())

	again := newBuckets(store, db.NewOwner())
	require.NoError(t, again.load(t.Context(), time.Now(), slog.New(slog.DiscardHandler)))
	restored := again.scope(key, nil)
	none, d := restored.take("", time.Now(), nil)
	require.Nil(t, none)
	require.Equal(t, resource.ReasonSecondary, d.Why)
	require.WithinDuration(t, park, d.At, time.Second)
	require.Equal(t, speech{dialect: "github"}, restored.spoken())
	require.Equal(t, long, restored.name(""))
	for i, level := range restored.levels() {
		require.EqualValues(t, []int64{0, 4}[i], level.Remaining)
	}
	require.Len(t, slices.Collect(again.all()), 1)
	require.Error(t, again.save(t.Context(), []resource.BucketKey{{Scope: resource.Scope{Origin: "\xff"}}}), "no store keeps that name")
}

// What is left of a window is written down answer by answer when it is little,
// and a claim of the former run is taken off it: a kill overdraws nothing.
func TestD20_LastRequestsOfAWindowOutliveAKill(t *testing.T) {
	store := db.NewMemory()
	key := resource.Scope{Credential: "c", Origin: "https://a.test"}
	core := resource.BucketKey{Scope: key, Name: "core"}
	now := time.Now()
	answer := func(b *buckets, remaining int64) {
		r, d := b.scope(key, nil).take("core", now, nil)
		require.NotNil(t, r, d)
		l := resource.Lesson{
			Dialect: "github", Named: true, Bucket: "core", HasQuota: true, Limit: 100, Remaining: remaining,
			Reset: now.Add(time.Hour), Window: now.Add(time.Hour).Round(time.Second),
		}
		require.NoError(t, b.save(t.Context(), r.settle(&l, now, now, false, &resource.Dialect{Concurrency: 1})))
		r.release(nil)
	}
	first := newBuckets(store, db.NewOwner())
	for _, remaining := range []int64{99, 50, 3, 2} {
		answer(first, remaining)
	}
	restart := func(claims int) (admitted int) {
		b := newBuckets(store, db.NewOwner())
		require.NoError(t, b.load(t.Context(), now, slog.New(slog.DiscardHandler)))
		for range claims {
			b.settling(core, now)
		}
		r, _ := b.scope(key, nil).take("core", now, nil)
		if r == nil {
			return 0
		}
		return 1
	}
	require.Equal(t, 1, restart(0), "one at least is left")
	require.Zero(t, restart(1), "it may be the one that the former run was sending")
	require.Zero(t, restart(2))
}

// The claim of a former run keeps a scope quiet until it has certainly ended.
func TestSettling(t *testing.T) {
	b := newBuckets(nil, db.Owner{})
	key := resource.Scope{Origin: "https://a.test"}
	now := time.Now()
	b.settling(resource.BucketKey{Scope: key}, now.Add(time.Minute))
	b.settling(resource.BucketKey{Scope: key}, now.Add(10*time.Second)) // never shortens
	s := b.scope(key, nil)
	none, d := s.take("", now, nil)
	require.Nil(t, none)
	require.Equal(t, resource.ReasonSettling, d.Why)
	require.Equal(t, now.Add(time.Minute), d.At)
	r, _ := s.take("", now.Add(time.Minute), nil)
	require.NotNil(t, r)
	none, _ = s.take("", now.Add(time.Minute), nil)
	require.Nil(t, none, "one alone")
	r.release(nil)
}

// A ticket that a service left behind does not count when its resource is
// placed elsewhere.
func TestTicketsOfDeadServices(t *testing.T) {
	b := newBuckets(nil, db.Owner{})
	s := b.scope(resource.Scope{Origin: "https://a.test"}, &resource.Profile{Concurrency: 1})
	now := time.Now()
	one, two := resource.Resource{Spec: resource.Spec{ID: resource.NewID()}}, resource.Resource{Spec: resource.Spec{ID: resource.NewID()}}
	require.Equal(t, resource.Ready, s.ticket(&one, now, false).Kind)
	require.Equal(t, resource.Ready, s.ticket(&one, now, false).Kind, "again is no second one")
	require.Equal(t, resource.Line, s.ticket(&two, now, false).Kind)
	one.NotBefore = now.Add(time.Minute)
	require.Equal(t, resource.At, s.ticket(&one, now, false).Kind)
	require.Equal(t, resource.Ready, s.ticket(&two, now, false).Kind)
	s.giveBack(two.ID)
	s.giveBack(two.ID)
	require.Empty(t, s.tickets)
}

// Names of queues and of records stay within their bounds, and apart.
func TestBucketIDs(t *testing.T) {
	seen := map[string]bool{}
	for n := range 300 {
		for _, last := range "ab" {
			key := resource.BucketKey{Scope: resource.Scope{Credential: "c", Origin: "https://a.test"}, Name: strings.Repeat("x", n) + string(last)}
			id, line := bucketID(key), lineName(key)
			require.LessOrEqual(t, len(id), 200)
			require.LessOrEqual(t, len(line), 256)
			require.True(t, isLine(line))
			require.False(t, seen[id], fmt.Sprint(n))
			seen[id] = true
		}
	}
}
