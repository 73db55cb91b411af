package firehose_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// keptOpen is a store that survives its closing.
type keptOpen struct{ db.DB }

func (keptOpen) Close() error { return nil }

// eachStore runs a test over each kind of durable store; open opens it anew.
func eachStore(t *testing.T, f func(t *testing.T, open func() db.DB)) {
	t.Run("memory", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			store := db.NewMemory()
			f(t, func() db.DB { return keptOpen{store} })
		})
	})
	t.Run("file", func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "state")
		bubble(t, func(t *testing.T) {
			f(t, func() db.DB {
				store, err := db.OpenFile(name)
				require.NoError(t, err)
				return store
			})
		})
	})
}

// A clean restart keeps interval, validators, parks, pauses and what was added;
// what is no longer listed is taken out.
//
// Peer colly-3: what is known lives in memory, unless one brings a store.
func TestCleanRestart(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() db.DB) {
		ctx := t.Context()
		const parked, denied = "https://p.test/", "https://d.test/"
		net := newScript(func(c call) reply {
			switch c.URL {
			case parked:
				return status(429, "Retry-After", "7200")
			case denied:
				return status(403)
			}
			if c.Header.Get("If-None-Match") == `W/"v"` {
				return status(304)
			}
			return ok("v", `W/"v"`)
		})
		config := firehose.Config{Resources: []resource.Spec{
			{URI: uriA, Interval: 10 * time.Minute}, {URI: uriB}, {URI: uriC}, {URI: parked}, {URI: denied}, {URI: "https://e.test/"},
		}}
		store := open()
		config.DB = store
		r := start(t, net, config)
		until(90 * time.Second)
		require.NoError(t, r.Add(ctx, resource.Spec{URI: "https://added.test/", Interval: 20 * time.Minute}))
		require.NoError(t, r.Add(ctx, resource.Spec{URI: "https://removed.test/"}))
		synctest.Wait()
		require.NoError(t, r.Pause(ctx, idOf(t, uriB)))
		require.NoError(t, r.SetInterval(ctx, idOf(t, uriC), 5*time.Minute))
		require.NoError(t, r.Remove(ctx, idOf(t, "https://removed.test/")))
		until(100 * time.Second)
		require.NoError(t, r.stop())
		require.NoError(t, store.Close())
		before := len(net.all(""))

		until(110 * time.Second)
		config.Resources = config.Resources[:5]
		store = open()
		config.DB = store
		r = start(t, net, config)
		require.NoError(t, r.Ready(ctx))
		synctest.Wait()
		require.Len(t, net.all(""), before, "a restart is no reason to ask")
		require.Equal(t, resource.Paused, r.explain(uriB).State)
		require.Len(t, r.errorsIn(firehose.QueueRequestsError), 1)
		for _, gone := range []string{"https://e.test/", "https://removed.test/"} {
			_, err := r.Explain(ctx, idOf(t, gone))
			require.ErrorIs(t, err, firehose.ErrUnknown, gone)
		}
		until(2 * time.Hour)
		require.Equal(t, 10*time.Minute, net.times(uriA)[1])
		require.Equal(t, []string{`W/"v"`}, net.all(uriA)[1].Header["If-None-Match"])
		require.Len(t, net.all(uriB), 2, "paused")
		require.Equal(t, secs(0, 60, 120, 420), net.times(uriC)[:4])
		require.Equal(t, secs(90, 90+20*60), net.times("https://added.test/")[:2])
		require.Len(t, net.all("https://e.test/"), 2)
		require.Len(t, net.all(denied), 1)
		require.Len(t, net.all(parked), 1)
		until(2*time.Hour + time.Minute)
		require.Len(t, net.all(parked), 2)
		require.NoError(t, r.Resume(ctx, idOf(t, uriB)))
		synctest.Wait()
		require.Len(t, net.all(uriB), 3)
		require.NoError(t, r.stop())
		require.NoError(t, store.Close())
	})
}

// mortalDB is a store whose process can die: nothing is written after that.
type mortalDB struct {
	db.DB
	dead *atomic.Bool
}

func (m mortalDB) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if m.dead.Load() {
		return nil, db.ErrClosed
	}
	return m.DB.Write(ctx, writes...)
}

func (m mortalDB) Unwrap() db.DB { return m.DB }

// mortalNet loses requests and answers with its process.
type mortalNet struct {
	http.RoundTripper
	dead *atomic.Bool
}

func (m mortalNet) RoundTrip(req *http.Request) (*http.Response, error) {
	if m.dead.Load() {
		return nil, errReset
	}
	resp, err := m.RoundTripper.RoundTrip(req)
	if m.dead.Load() {
		return nil, errReset
	}
	return resp, err
}

// startMortal serves an OS that can be killed: without a clean stop, and without
// another byte in its store.
func startMortal(t *testing.T, net *script, store db.DB, config firehose.Config) (r *rig, kill func()) {
	t.Helper()
	dead := new(atomic.Bool)
	config.DB, config.Transport = mortalDB{store, dead}, mortalNet{net, dead}
	r = start(t, net, config)
	return r, func() {
		dead.Store(true)
		r.stop()
		require.NoError(t, store.Close())
	}
}

// A claim that a crash left counts as sent: the resource waits its interval from
// the restart, the scope until the request has certainly ended, and the answer
// that was lost is asked for again with the old validators.
//
// Peer url-frontier-3: what becomes of a reservation whose holder dies was
// open: it has to keep others away until the request is certainly over.
func TestD4_CrashWithARequestInFlight(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() db.DB) {
		version := "one"
		net := newScript(func(c call) reply {
			r := ok(version, `"`+version+`"`)
			if c.Header.Get("If-None-Match") == `"`+version+`"` {
				r = status(304)
			}
			if at() > 50*time.Second && at() < 80*time.Second && c.URL == uriA {
				r.slow = 10 * time.Second
			}
			return r
		})
		config := firehose.Config{Resources: []resource.Spec{{URI: uriA}, {URI: uriB, Interval: 5 * time.Minute}, {URI: uriC, Interval: 65 * time.Second}}}
		r, kill := startMortal(t, net, open(), config)
		until(61 * time.Second)
		net.do(func() { version = "two" })
		require.Equal(t, resource.HasOwner, r.explain(uriA).State)
		kill()
		require.Equal(t, []string{"one", "one", "one"}, r.sink.bodies())

		store := open()
		config.DB = store
		restarted := at()
		r = start(t, net, config)
		until(10 * time.Minute)
		require.Contains(t, r.sink.kinds(), "forfeited")
		asked := net.times(uriA)
		require.Equal(t, secs(0, 60), asked[:2])
		require.GreaterOrEqual(t, asked[2], restarted+time.Minute)
		require.Less(t, asked[2], restarted+2*time.Minute)
		require.Equal(t, []string{`"one"`}, net.all(uriA)[2].Header["If-None-Match"])
		require.Contains(t, r.sink.bodies(), "two")
		require.GreaterOrEqual(t, net.times(uriB)[1], 5*time.Minute)
		require.GreaterOrEqual(t, net.times(uriC)[1], 65*time.Second)
		require.NoError(t, r.stop())
		require.NoError(t, store.Close())
	})
}

// While a request of the former run may still be on its way, nothing of its
// scope leaves.
//
// Peer url-frontier-3: what becomes of a reservation whose holder dies was
// open: it has to keep others away until the request is certainly over.
func TestD4_CrashSettlesTheScope(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() db.DB) {
		net := newScript(func(c call) reply {
			r := ok(fmt.Sprint(c.n), "")
			if c.URL == uriA && c.n == 1 {
				r.slow = 10 * time.Minute
			}
			return r
		})
		config := firehose.Config{RequestTimeout: 5 * time.Minute, Resources: []resource.Spec{
			{URI: uriA}, {URI: uriB, Interval: 62 * time.Second}, {URI: uriC, Interval: 62 * time.Second},
		}}
		_, kill := startMortal(t, net, open(), config)
		until(61 * time.Second)
		kill()
		store := open()
		config.DB = store
		r := start(t, net, config)
		until(3 * time.Minute)
		require.Len(t, net.all(uriB), 1, "of the same scope")
		require.GreaterOrEqual(t, len(net.all(uriC)), 2, "another scope goes on")
		until(15 * time.Minute)
		require.GreaterOrEqual(t, net.times(uriB)[1], 60*time.Second+5*time.Minute)
		require.GreaterOrEqual(t, len(net.all(uriB)), 5)
		require.NoError(t, r.stop())
		require.NoError(t, store.Close())
	})
}

// An answer that the sink had not taken is not safe: it is asked for again.
func TestD11_CrashBeforeTheSinkTookIt(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() db.DB) {
		version := "one"
		net := versions(&version)
		stuck := firehose.SinkFunc(func(ctx context.Context, _ *resource.Response) error {
			<-ctx.Done()
			return context.Cause(ctx)
		})
		config := firehose.Config{Resources: resource.List(uriA), Sink: stuck}
		_, kill := startMortal(t, net, open(), config)
		until(10 * time.Second)
		kill()
		config.Sink = nil
		store := open()
		config.DB = store
		r := start(t, net, config)
		until(5 * time.Minute)
		require.Equal(t, []string{"one"}, r.sink.bodies())
		second := net.all(uriA)[1]
		require.NotContains(t, second.Header, "If-None-Match")
		require.GreaterOrEqual(t, second.At, 70*time.Second)
		require.NoError(t, r.stop())
		require.NoError(t, store.Close())
	})
}

// Parks and windows that were told survive a crash: not one request while they
// last.
//
// Peer octokit-9: what several processes share of the limits expires after two
// minutes.
// Peer scrapy-3: the queue outlives the process, and its delays do not.
func TestD20_CrashWhileParked(t *testing.T) {
	for name, c := range map[string]struct {
		reply reply
		until time.Duration
	}{
		"overload":  {status(429, "Retry-After", "1800"), 1800 * time.Second},
		"secondary": {quota(status(403, "Retry-After", "1800"), "core", 5000, 10, time.Hour), 1800 * time.Second},
		"primary":   {quota(status(403), "core", 5000, 0, time.Hour), time.Hour + time.Second},
		"spent":     {quota(ok("last", ""), "core", 5000, 0, time.Hour), time.Hour + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, open func() db.DB) {
				over := false
				net := newScript(func(call) reply {
					if over {
						return quota(ok(fmt.Sprint(at()), ""), "core", 5000, 4000, 3*time.Hour)
					}
					return c.reply
				})
				config := firehose.Config{Resources: many(6, ""), Workers: 16}
				for i := range 3 { // a crash loop is no hammer
					_, kill := startMortal(t, net, open(), config)
					until(time.Duration(i+1) * 2 * time.Minute)
					kill()
				}
				store := open()
				config.DB = store
				r := start(t, net, config)
				until(c.until - 1)
				require.Len(t, net.all(""), 1)
				net.do(func() { over = true })
				until(c.until + 20*time.Second)
				require.Greater(t, len(net.all("")), 30)
				require.NoError(t, r.stop())
				require.NoError(t, store.Close())
			})
		})
	}
}

// What an earlier run left where nobody looks is decided about again: in the
// line of a bucket, and in a tier that is no longer there.
func TestStraysAreFound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := db.NewMemory()
		q, err := queue.NewDurable(store, queue.DurableConfig{})
		require.NoError(t, err)
		s, err := q.Open(t.Context())
		require.NoError(t, err)
		for i, m := range []queue.Message{
			{Queue: "line/https://a.test"}, {Queue: "line/who@https://a.test#what"}, {Queue: "frozen-77", Due: epoch.Add(time.Minute)}, {Queue: "old"},
		} {
			m.Resource, err = resource.New(resource.Spec{URI: fmt.Sprintf("https://a.test/%d", i)}, "")
			require.NoError(t, err)
			if !m.Due.IsZero() {
				m.Resource.NotBefore, m.Resource.State = m.Due, resource.WaitingForInterval
			}
			require.NoError(t, s.Commit(t.Context(), nil, m))
		}
		s.Close()
		q.Close()
		var specs []resource.Spec
		for i := range 4 {
			specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://a.test/%d", i)})
		}
		net := newScript(func(c call) reply { return ok("", "") })
		r := start(t, net, firehose.Config{DB: store, Resources: specs})
		until(90 * time.Second)
		for i, want := range [][]time.Duration{secs(0, 60), secs(0, 60), secs(60), secs(0, 60)} {
			require.Equal(t, want, net.times(specs[i].URI), "%d", i)
		}
		require.NoError(t, r.stop())
	})
}

// What was added comes back from the registry with all that was asked for, also
// where the queue forgets.
func TestRegistryBringsBackWhatWasAdded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := db.NewMemory()
		net := newScript(func(c call) reply { return status(200, "Content-Type", "text/plain") })
		serve := func(profiles map[string]resource.Profile) *rig {
			q, err := queue.NewMemory(queue.MemoryConfig{})
			require.NoError(t, err)
			t.Cleanup(func() { q.Close() })
			return start(t, net, firehose.Config{DB: store, Queue: q, Profiles: profiles, Resources: resource.List(uriC)})
		}
		with := map[string]resource.Profile{"p": {Header: http.Header{"X-P": {"1"}}}}
		r := serve(with)
		synctest.Wait()
		spec := resource.Spec{URI: uriA, Profile: "p", Interval: 10 * time.Minute, MediaType: "text/plain", Priority: 3}
		require.NoError(t, r.Add(t.Context(), spec))
		require.NoError(t, r.Add(t.Context(), resource.Spec{URI: uriB}))
		synctest.Wait()
		require.NoError(t, r.Pause(t.Context(), idOf(t, uriB)))
		until(time.Minute)
		require.NoError(t, r.stop())

		r = serve(nil) // its profile is gone: the others go on
		require.NoError(t, r.Ready(t.Context()))
		until(2 * time.Minute)
		require.NoError(t, r.stop())
		require.Len(t, net.all(uriA), 1)
		require.Len(t, net.all(uriC), 4)

		until(5 * time.Minute)
		r = serve(with)
		until(20 * time.Minute)
		times := net.times(uriA)
		require.Equal(t, []time.Duration{0, 5 * time.Minute, 15 * time.Minute}, times)
		require.Equal(t, "1", net.all(uriA)[2].Header.Get("X-P"))
		require.Equal(t, "text/plain", net.all(uriA)[2].Header.Get("Accept"))
		require.Len(t, net.all(uriB), 1, "still paused")
		require.Equal(t, resource.Paused, r.explain(uriB).State)
	})
}

// Damaged state is named, and nothing is sent on a guess.
func TestDamagedState(t *testing.T) {
	for space, value := range map[string]string{"bucket": "{}", "registry": "{", "queue": "\x01"} {
		t.Run(space, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store, id := db.NewMemory(), resource.NewID()
				_, err := store.Write(t.Context(), db.Write{Record: db.Record{Space: space, ID: id.String(), Version: 1, Value: []byte(value)}})
				require.NoError(t, err)
				net := newScript(func(c call) reply { return ok("", "") })
				r := start(t, net, firehose.Config{DB: store, Resources: resource.List(uriA)})
				until(time.Minute)
				require.Empty(t, net.all(""))
				h := r.Health()
				require.False(t, h.Live)
				require.False(t, h.Ready)
				err = r.stop()
				require.Error(t, err, "Serve says why it can't go on")
				require.Contains(t, strings.Join(h.Reasons, "\n"), err.Error())
				require.Contains(t, err.Error(), space)
			})
		})
	}
}

// A store that fails for a while loses no park.
func TestD20_ParkIsWrittenThroughFaults(t *testing.T) {
	bubble(t, func(t *testing.T) {
		memory := db.NewMemory()
		faulty := &failing{DB: memory}
		net := newScript(func(c call) reply {
			faulty.left.Store(4)
			return status(429, "Retry-After", "1000")
		})
		dead := new(atomic.Bool)
		r := start(t, net, firehose.Config{DB: mortalDB{faulty, dead}, Transport: mortalNet{net, dead}, Resources: resource.List(uriA, uriB)})
		until(5 * time.Second)
		require.Zero(t, faulty.left.Load())
		dead.Store(true)
		r.stop()
		r = start(t, net, firehose.Config{DB: memory, Resources: resource.List(uriA, uriB)})
		until(999 * time.Second)
		require.Len(t, net.all(""), 1)
		require.NoError(t, r.stop())
	})
}

// failing fails so many writes of buckets.
type failing struct {
	db.DB
	left atomic.Int64
}

func (f *failing) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if writes[0].Record.Space == "bucket" && f.left.Load() > 0 {
		f.left.Add(-1)
		return nil, errReset
	}
	return f.DB.Write(ctx, writes...)
}

// A second process with the same store stands by, and takes over when the first
// has stopped.
//
// Peer miniflux-6: nothing is claimed: a second process, or a round that comes
// before an earlier job has run, fetches once more.
// Peer benthos-1: a limit lives in one process, so that several ask several
// times as much as they may.
func TestStandby(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := db.NewMemory()
		config := firehose.Config{DB: store, Resources: resource.List(uriA)}
		one := newScript(func(c call) reply { return ok("", "") })
		two := newScript(func(c call) reply { return ok("", "") })
		first := start(t, one, config)
		until(10 * time.Second)
		second := start(t, two, config)
		until(10 * time.Minute)
		require.Empty(t, two.all(""))
		require.False(t, second.Health().Ready)
		require.True(t, second.Health().Live)
		require.Len(t, one.all(""), 11)
		require.NoError(t, first.stop())
		until(15 * time.Minute)
		require.NotEmpty(t, two.all(""))
		require.Equal(t, 11*time.Minute, two.times(uriA)[0])
		require.NoError(t, second.stop())
	})
}

// A removal and an admission that a crash cut short are finished by the next
// start.
func TestRegistryLeftovers(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() db.DB) {
		net := newScript(func(c call) reply {
			r := ok(fmt.Sprint(c.n), "")
			if c.URL == uriB {
				r.slow = 20 * time.Second
			}
			return r
		})
		r, kill := startMortal(t, net, open(), firehose.Config{})
		synctest.Wait()
		require.NoError(t, r.Add(t.Context(), resource.Spec{URI: uriA}, resource.Spec{URI: uriB}))
		until(10 * time.Second)
		require.NoError(t, r.Remove(t.Context(), idOf(t, uriB)), "in flight: it is to be finished first")
		kill()

		store := open()
		value := fmt.Sprintf(`{"spec":{"id":%q,"uri":%q},"every_ns":%d,"admitting":true}`, idOf(t, uriC), uriC, 10*time.Minute)
		_, err := store.Write(t.Context(), db.Write{Record: db.Record{Space: "registry", ID: idOf(t, uriC).String(), Version: 1, Value: []byte(value)}})
		require.NoError(t, err)
		r = start(t, net, firehose.Config{DB: store})
		until(30 * time.Minute)
		require.Len(t, net.all(uriB), 1)
		_, err = r.Explain(t.Context(), idOf(t, uriB))
		require.ErrorIs(t, err, firehose.ErrUnknown)
		require.GreaterOrEqual(t, len(net.all(uriA)), 28)
		require.Len(t, net.all(uriC), 3)
		found, err := store.Get(t.Context(), "registry", idOf(t, uriA).String(), idOf(t, uriB).String(), idOf(t, uriC).String())
		require.NoError(t, err)
		require.Len(t, found, 3)
		for _, rec := range found {
			require.NotContains(t, string(rec.Value), "admitting")
			require.NotContains(t, string(rec.Value), "removed", "the wish to remove is fulfilled and forgotten")
		}
		require.NoError(t, r.stop())
		require.NoError(t, store.Close())
	})
}

// A start gives what is in already the interval and the media type that are
// asked for now; what SetInterval said counts for more.
func TestRestartWithOtherSpecs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := db.NewMemory()
		net := newScript(func(c call) reply { return status(200, "Content-Type", "text/plain") })
		specs := []resource.Spec{{URI: uriA, Interval: 10 * time.Minute}, {URI: uriB, Interval: 10 * time.Minute}, {URI: uriC, Interval: time.Minute}}
		r := start(t, net, firehose.Config{DB: store, Resources: specs})
		until(time.Second)
		require.NoError(t, r.SetInterval(t.Context(), idOf(t, uriA), time.Minute))
		until(10*time.Minute + 30*time.Second)
		require.NoError(t, r.stop())
		specs[1].Interval, specs[1].MediaType = 5*time.Minute, "text/html"
		specs[2].Interval = 20 * time.Minute
		r = start(t, net, firehose.Config{DB: store, Resources: specs})
		until(40 * time.Minute)
		mins := func(uri string) (all []int) {
			for _, d := range net.times(uri) {
				all = append(all, int(d.Minutes()))
			}
			return all
		}
		require.Equal(t, []int{0, 10, 11, 12}, mins(uriA)[:4])
		require.Equal(t, []int{0, 10, 20}, mins(uriB)[:3], "a wait that was begun is not shortened")
		require.Equal(t, "text/html", net.all(uriB)[2].Header.Get("Accept"))
		require.Equal(t, resource.ReasonMediaType, r.explain(uriB).Why)
		c := mins(uriC)
		require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, c[:11])
		require.Contains(t, [][]int{{30}, {11, 31}}, c[11:], "a longer one counts from the next poll on, at the latest")
		require.NoError(t, r.stop())
	})
}
