package firehose_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/firehosetest"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// pass lets time go by.
func pass(d time.Duration) { until(at() + d) }

// slowJournal is a store whose journal is slow for a while.
type slowJournal struct {
	db.DB
	delay *atomic.Int64
}

func (s slowJournal) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if d := time.Duration(s.delay.Load()); d > 0 && writes[0].Record.Space == "queue" {
		<-time.After(d)
	}
	return s.DB.Write(ctx, writes...)
}

// A resource that joins a line while the store is slow lands in a line that
// somebody still watches.
func TestASlowStoreStrandsNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var delay atomic.Int64
		net := newScript(func(c call) reply {
			if c.URL == uriA && c.n == 2 {
				delay.Store(int64(3 * time.Second))
				time.AfterFunc(20*time.Second, func() { delay.Store(0) })
				return reply{slow: 200 * time.Millisecond, status: 429, header: map[string]string{"Retry-After": "10"}}
			}
			return reply{slow: 100 * time.Millisecond, body: fmt.Sprint(c.n), header: map[string]string{"ETag": fmt.Sprintf(`"%d"`, c.n)}}
		})
		specs := []resource.Spec{{URI: uriA, Interval: time.Minute}, {URI: uriB, Interval: 200 * time.Millisecond}}
		r := start(t, net, firehose.Config{Resources: specs, DB: slowJournal{db.NewMemory(), &delay}, Workers: 1})
		pass(20 * time.Minute)
		for _, uri := range []string{uriA, uriB} {
			times := net.times(uri)
			require.Greater(t, times[len(times)-1], 18*time.Minute, "%s is still polled", uri)
		}
		require.NoError(t, r.stop())
	})
}

// copyOf is the store as a kill would leave it now.
func copyOf(t *testing.T, store db.DB) db.DB {
	c := db.NewMemory()
	for _, space := range []string{"queue", "bucket", "registry", "fingerprint"} {
		for rec, err := range store.Scan(t.Context(), space) {
			require.NoError(t, err)
			_, err = c.Write(t.Context(), db.Write{Record: rec})
			require.NoError(t, err)
		}
	}
	return c
}

// Where a claim follows a claim at once, since the sink took longer than the
// interval, the result between them is written all the same.
func TestAClaimThatFollowsAClaimCarriesItsResult(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := db.NewMemory()
		net := newScript(func(c call) reply {
			return reply{body: fmt.Sprint(c.n), header: map[string]string{"X-Poll-Interval": "10", "ETag": fmt.Sprintf(`"%d"`, c.n)}}
		})
		slow := firehose.SinkFunc(func(context.Context, *resource.Response) error {
			<-time.After(12 * time.Second)
			return nil
		})
		specs := []resource.Spec{{URI: uriA, Interval: time.Second}}
		r := start(t, net, firehose.Config{DB: store, Sink: slow, Resources: specs})
		pass(60*time.Second + 500*time.Millisecond)
		killed := copyOf(t, store)
		require.NoError(t, r.stop())
		n := len(net.all(""))

		r = start(t, net, firehose.Config{DB: killed, Resources: specs})
		pass(25 * time.Second)
		calls := net.all("")
		require.Greater(t, len(calls), n)
		require.GreaterOrEqual(t, calls[n].At-calls[n-1].At, 10*time.Second, "the interval that the origin told ten times")
		require.NotEmpty(t, calls[n].Header["If-None-Match"], "the validators of the results that the sink took")
		require.NoError(t, r.stop())
	})
}

// A resource that is asked for differently at the next start is polled so.
func TestAChangedSpecCountsAtTheNextStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := db.NewMemory()
		net := newScript(func(call) reply { return ok("", "") })
		r := start(t, net, firehose.Config{DB: store, Resources: []resource.Spec{{URI: uriA, Interval: 2 * time.Second}}})
		pass(19 * time.Second)
		require.NoError(t, r.stop())
		require.Len(t, net.all(uriA), 10)
		r = start(t, net, firehose.Config{DB: store, Resources: []resource.Spec{{URI: uriA, Interval: time.Hour}}})
		pass(50 * time.Minute)
		require.Len(t, net.all(uriA), 11, "once more as was decided before, then as the user asks now")
		pass(15 * time.Minute)
		require.Len(t, net.all(uriA), 12)
		require.NoError(t, r.stop())
	})
}

// A clean stop leaves no claim behind, though the sink was slower than polling.
func TestACleanStopLeavesNoClaim(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := db.NewMemory()
		net := newScript(func(c call) reply { return reply{body: fmt.Sprint(c.At)} })
		var forfeited atomic.Int64
		config := firehose.Config{
			DB:        store,
			Resources: []resource.Spec{{URI: uriA, Interval: 5 * time.Second}, {URI: uriB, Interval: 5 * time.Second}},
			Sink: firehose.SinkFunc(func(context.Context, *resource.Response) error {
				<-time.After(7 * time.Second)
				return nil
			}),
			Observer: func(e firehose.Event) {
				if e.Kind == firehose.EventForfeited {
					forfeited.Add(1)
				}
			},
		}
		for range 5 {
			r := start(t, net, config)
			pass(41 * time.Second)
			require.NoError(t, r.stop())
		}
		require.Zero(t, forfeited.Load())
	})
}

// A sink that ends its goroutine has refused the response, and is offered it no
// more often than one that returns an error.
func TestASinkThatEndsItsGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply { return reply{body: fmt.Sprint(c.At)} })
		var offers atomic.Int64
		sink := firehose.SinkFunc(func(_ context.Context, r *resource.Response) error {
			if r.Resource.URI == uriA {
				offers.Add(1)
				runtime.Goexit()
			}
			return nil
		})
		r := start(t, net, firehose.Config{Sink: sink, SinkTries: 3, Resources: []resource.Spec{{URI: uriA, Interval: time.Minute}, {URI: uriB, Interval: time.Minute}}})
		pass(time.Hour)
		require.EqualValues(t, 3, offers.Load())
		require.Greater(t, len(net.all(uriB)), 50, "the other one goes on")
		list, err := r.Errors(t.Context(), firehose.QueuePublishError, resource.ID{}, 10)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.NoError(t, r.stop())
	})
}

// A sink that is deaf to the end of its context is seen.
func TestADeafSinkIsSeen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply { return reply{body: fmt.Sprint(c.At)} })
		hear := make(chan struct{})
		sink := firehose.SinkFunc(func(context.Context, *resource.Response) error {
			<-hear
			return nil
		})
		r := start(t, net, firehose.Config{Sink: sink, Resources: resource.List(uriA)})
		pass(firehose.DefaultSinkTimeout + 2*time.Second)
		h := r.Health()
		require.False(t, h.Ready)
		require.Contains(t, strings.Join(h.Reasons, "\n"), "Sink.Take")
		close(hear)
		pass(time.Second)
		require.True(t, r.Health().Ready)
		require.NoError(t, r.stop())
	})
}

// A profile's dialect counts for the scopes of its resources, and no others.
func TestADialectIsThatOfItsScopes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(call) reply { return reply{slow: time.Second, body: "x"} })
		var specs []resource.Spec
		for n := range 8 {
			specs = append(specs,
				resource.Spec{URI: fmt.Sprintf("https://hub.test/%d", n), Profile: "hub", Interval: time.Hour},
				resource.Spec{URI: fmt.Sprintf("https://plain.test/%d", n), Interval: time.Hour})
		}
		r := start(t, net, firehose.Config{Resources: specs, Profiles: map[string]resource.Profile{"hub": {Dialect: "github"}}})
		pass(time.Minute)
		busy := map[string]int{}
		for _, b := range r.Stats().Buckets {
			busy[b.Key.Origin]++
		}
		require.Len(t, busy, 2)
		last := map[string]time.Duration{}
		for _, c := range net.all("") {
			host := strings.Split(c.URL, "/")[2]
			last[host] = max(last[host], c.At)
		}
		require.GreaterOrEqual(t, last["hub.test"], 7*time.Second, "one at a time")
		require.Less(t, last["plain.test"], 4*time.Second, "four at a time")
		require.NoError(t, r.stop())
	})
}

// To take a resource out and to add it again is no reason to ask early, in one
// process or across a restart.
func TestRemoveAndAddKeepTheInterval(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := db.NewMemory()
		net := newScript(func(call) reply {
			return reply{body: "x", header: map[string]string{"ETag": `"1"`, "X-Poll-Interval": "60"}}
		})
		config := firehose.Config{DB: store, Resources: resource.List(uriB)}
		r := start(t, net, config)
		require.NoError(t, r.Add(t.Context(), resource.Spec{URI: uriA}))
		pass(2 * time.Second)
		require.NoError(t, r.Remove(t.Context(), idOf(t, uriA)))
		pass(time.Second)
		require.NoError(t, r.Add(t.Context(), resource.Spec{URI: uriA}))
		pass(10 * time.Second)
		require.Len(t, net.all(uriA), 1)
		require.NoError(t, r.Remove(t.Context(), idOf(t, uriA)))
		require.NoError(t, r.Remove(t.Context(), idOf(t, uriB)))
		require.NoError(t, r.stop())

		r = start(t, net, config)
		require.NoError(t, r.Add(t.Context(), resource.Spec{URI: uriA}))
		pass(30 * time.Second)
		require.Len(t, net.all(uriA), 1)
		require.Len(t, net.all(uriB), 1)
		pass(30 * time.Second)
		require.Len(t, net.all(uriA), 2)
		require.Len(t, net.all(uriB), 2)
		require.NoError(t, r.stop())
	})
}

// Who adds what is still being removed gets it: it is in afterwards, as its Spec
// says now, and no earlier than it might have been asked without.
func TestAddWhileItIsRemoved(t *testing.T) {
	for _, store := range []func() db.DB{func() db.DB { return nil }, func() db.DB { return db.NewMemory() }} {
		bubble(t, func(t *testing.T) {
			net := newScript(func(call) reply {
				return reply{body: "x", slow: 10 * time.Second, header: map[string]string{"X-Poll-Interval": "60"}}
			})
			// One request at a time: B is the head of its line while A is asked.
			r := start(t, net, firehose.Config{
				DB: store(), Resources: resource.List(uriA, uriB),
				Profiles: map[string]resource.Profile{"": {Concurrency: 1}},
			})
			pass(5 * time.Second)
			for _, uri := range []string{uriA, uriB} {
				require.NoError(t, r.Remove(t.Context(), idOf(t, uri)))
				require.NoError(t, r.Add(t.Context(), resource.Spec{URI: uri}))
			}
			require.ErrorIs(t, r.Add(t.Context(), resource.Spec{URI: uriA}), queue.ErrExists, "nothing removes it now")
			pass(3 * time.Minute)
			require.Equal(t, secs(0, 70, 140), net.times(uriA))
			require.GreaterOrEqual(t, len(net.all(uriB)), 2)
			require.NoError(t, r.stop())
		})
	}
}

// A kill in the middle of a removal leaves the wish for it behind. What is listed is
// admitted again by the next start all the same, and not asked early for it.
func TestG1_AListedResourceWhoseRemovalWasCutShort(t *testing.T) {
	for _, gone := range []bool{false, true} { // whether the kill came after it was taken out
		bubble(t, func(t *testing.T) {
			store := db.NewMemory()
			net := newScript(func(call) reply {
				return reply{body: "x", header: map[string]string{"X-Poll-Interval": "60"}}
			})
			config := firehose.Config{DB: store, Resources: resource.List(uriA)}
			r := start(t, net, config)
			pass(10 * time.Second)
			if gone {
				require.NoError(t, r.Remove(t.Context(), idOf(t, uriA)))
			}
			require.NoError(t, r.stop())
			rec := db.Record{Space: "registry", ID: idOf(t, uriA).String(), Owner: db.NewOwner(), Value: []byte(`{"removed":true}`)}
			if gone {
				rec.Value = []byte(`{"removed":true,"rest":"` + epoch.Add(time.Minute).Format(time.RFC3339) + `"}`)
			}
			old, err := store.Get(t.Context(), rec.Space, rec.ID)
			require.NoError(t, err)
			var read int64
			if len(old) > 0 {
				read = old[0].Version
			}
			rec.Version = read + 1
			_, err = store.Write(t.Context(), db.Write{If: read, Record: rec})
			require.NoError(t, err)

			r = start(t, net, config)
			pass(2 * time.Minute)
			require.Equal(t, secs(0, 60, 120), net.times(uriA))
			require.NoError(t, r.stop())
		})
	}
}

// writesOf records the spaces that are written to.
type writesOf struct {
	db.DB
	mu     sync.Mutex
	spaces []string
}

func (s *writesOf) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	s.mu.Lock()
	for _, w := range writes {
		if n := len(s.spaces); n == 0 || s.spaces[n-1] != w.Record.Space {
			s.spaces = append(s.spaces, w.Record.Space)
		}
	}
	s.mu.Unlock()
	return s.DB.Write(ctx, writes...)
}

// A kill at any instant of a Drain or Remove leaves behind until when to rest: it is
// written before the resource goes, and not after it has gone.
func TestG1_TheRestIsWrittenBeforeAResourceGoes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &writesOf{DB: db.NewMemory()}
		net := newScript(func(call) reply {
			return reply{body: "x", header: map[string]string{"X-Poll-Interval": "60"}}
		})
		r := start(t, net, firehose.Config{
			DB: store, Resources: resource.List(uriA, uriB), SinkTries: 1,
			Sink: firehose.SinkFunc(func(_ context.Context, r *resource.Response) error {
				if r.Resource.URI == uriA {
					return errReset
				}
				return nil
			}),
		})
		pass(10 * time.Second)
		for _, end := range []func() error{
			func() error { return r.Drain(t.Context(), idOf(t, uriA)) },
			func() error { return r.Remove(t.Context(), idOf(t, uriB)) },
		} {
			store.mu.Lock()
			store.spaces = nil
			store.mu.Unlock()
			require.NoError(t, end())
			require.Equal(t, []string{"registry", "queue", "registry"}, store.spaces)
		}
		require.NoError(t, r.Add(t.Context(), resource.Spec{URI: uriA}))
		require.NoError(t, r.Add(t.Context(), resource.Spec{URI: uriB}))
		pass(55 * time.Second)
		require.Equal(t, secs(0, 60), net.times(uriA))
		require.Equal(t, secs(0, 60), net.times(uriB))
		require.NoError(t, r.stop())
	})
}

// lazyStore takes a while for everything, another one each time.
type lazyStore struct {
	db.DB
	rng *rand.Rand
	mu  *sync.Mutex
}

func (s lazyStore) linger(ctx context.Context) {
	s.mu.Lock()
	long := time.Duration(s.rng.IntN(40)) * time.Millisecond
	s.mu.Unlock()
	wait(ctx, long)
}

func (s lazyStore) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	defer s.linger(ctx)
	return s.DB.Get(ctx, space, ids...)
}

func (s lazyStore) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	s.linger(ctx)
	defer s.linger(ctx)
	return s.DB.Write(ctx, writes...)
}

func (s lazyStore) Scan(ctx context.Context, space string) iter.Seq2[db.Record, error] {
	return func(yield func(db.Record, error) bool) {
		for rec, err := range s.DB.Scan(ctx, space) {
			s.linger(ctx)
			if !yield(rec, err) {
				return
			}
		}
	}
}

// Whatever is under way when a resource is taken out and added again, and even if
// the process ends between the two: it is polled after that, and never early.
func TestG1_TakenOutAndAddedAtAnyTime(t *testing.T) {
	for seed := range uint64(60) {
		bubble(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			store := lazyStore{db.NewMemory(), rand.New(rand.NewPCG(seed, 2)), new(sync.Mutex)}
			net := newScript(func(call) reply {
				return reply{body: "x", slow: 300 * time.Millisecond, header: map[string]string{"X-Poll-Interval": "2"}}
			})
			config := firehose.Config{DB: store, Resources: resource.List(uriB)}
			r := start(t, net, config)
			require.NoError(t, r.Ready(t.Context()))
			require.NoError(t, r.Add(t.Context(), resource.Spec{URI: uriA}))
			for range 12 {
				pass(time.Duration(rng.IntN(3000)) * time.Millisecond)
				require.NoError(t, r.Remove(t.Context(), idOf(t, uriA)), "seed %d", seed)
				if rng.IntN(3) == 0 {
					require.NoError(t, r.stop())
					r = start(t, net, config)
				}
				require.NoError(t, r.Add(t.Context(), resource.Spec{URI: uriA}), "seed %d", seed)
			}
			n := len(net.all(uriA))
			pass(time.Minute)
			require.Greater(t, len(net.all(uriA)), n+15, "seed %d: it is polled", seed)
			last := -time.Hour
			for _, at := range net.times(uriA) {
				require.GreaterOrEqual(t, at-last, 2*time.Second, "seed %d", seed)
				last = at
			}
			require.NoError(t, r.stop())
		})
	}
}

// A rate that the user declared is not spent anew by each start.
func TestD20_ADeclaredRateOutlivesRestarts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := db.NewMemory()
		net := newScript(func(call) reply { return ok("", "") })
		config := firehose.Config{
			DB: store, Resources: resource.List(uriA, uriB), // of one origin
			Profiles: map[string]resource.Profile{"": {Limit: resource.Limit{Requests: 1, Per: time.Minute}}},
		}
		for range 5 {
			r := start(t, net, config)
			pass(10 * time.Second)
			require.NoError(t, r.stop())
		}
		require.Empty(t, net.all(""), "nobody knows when the run before the first one sent its last request")
		r := start(t, net, config)
		pass(150 * time.Second)
		require.NoError(t, r.stop())
		require.Len(t, net.all(""), 2)
	})
}

// away is a store that can't be written for a while.
type away struct {
	db.DB
	since atomic.Bool
}

func (a *away) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if a.since.Load() {
		return nil, errReset
	}
	return a.DB.Write(ctx, writes...)
}

// A process that has lost its queue to another, or whose store was away for so
// long that it may have, says so instead of trying for ever.
func TestALostQueueEndsServe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &away{DB: db.NewMemory()}
		net := newScript(func(call) reply { return ok("", "") })
		r := start(t, net, firehose.Config{DB: store, Resources: resource.List(uriA)})
		pass(time.Second)
		store.since.Store(true)
		pass(3 * db.DefaultTTL)
		require.False(t, r.Health().Live)
		require.ErrorIs(t, r.stop(), queue.ErrFenced)
	})
}

// A body of 10 GiB, and one that never ends, cost their resource a failure and
// nobody else anything.
func TestBodiesWithoutMeasure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		origin, err := firehosetest.New(firehosetest.Config{Timelines: 2, Concurrency: 1})
		require.NoError(t, err)
		paths := origin.Paths()
		require.NoError(t, origin.Script(paths[0], firehosetest.Step{Kind: firehosetest.Huge}, firehosetest.Step{Kind: firehosetest.Endless}))
		var specs []resource.Spec
		for _, path := range paths {
			specs = append(specs, resource.Spec{URI: "https://origin.test" + path, MediaType: "application/json"})
		}
		bodies := map[string]int{}
		var most int
		r := start(t, newScript(nil), firehose.Config{
			Resources: specs, Transport: origin.RoundTripper(), MaxBody: 1 << 20,
			Sink: firehose.SinkFunc(func(_ context.Context, r *resource.Response) error {
				bodies[r.Resource.URI]++
				most = max(most, len(r.Body))
				return nil
			}),
		})
		pass(15 * time.Minute)
		s := r.Stats()
		require.NoError(t, r.stop())
		require.EqualValues(t, 2, s.Outcomes[resource.Failed.String()])
		require.Greater(t, bodies[specs[0].URI], 3, "it goes on")
		require.Greater(t, bodies[specs[1].URI], 10, "and so does the other one")
		require.Less(t, most, 1<<20)
		require.Zero(t, origin.Verdict().Impolite)
	})
}
