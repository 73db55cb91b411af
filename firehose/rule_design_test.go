package firehose_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// One worker, and hundreds of resources that wait: for their interval, a limit, the
// reset of their bucket, a host that is down. What is due is asked on time.
func TestD1_NobodyWaitsInAWorker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			switch {
			case strings.HasPrefix(c.URL, "https://api.github.com/"):
				return quota(ok("x", ""), "core", 60, max(0, 5-c.n), 50*time.Minute)
			case strings.HasPrefix(c.URL, "https://limited.test/"):
				return status(429, "Retry-After", "3000")
			case strings.HasPrefix(c.URL, "https://down.test/"):
				return reply{err: errReset}
			case strings.HasPrefix(c.URL, "https://hint.test/"):
				return status(200, "X-Poll-Interval", "3000")
			}
			return ok(fmt.Sprint(c.n), "")
		})
		specs := append(many(50, ""), resource.Spec{URI: uriC, Interval: time.Second})
		for i := range 50 {
			for _, host := range []string{"limited", "down", "hint"} {
				specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://%s.test/%d", host, i), Interval: time.Second})
			}
		}
		r := start(t, net, firehose.Config{Resources: specs, Workers: 1})
		until(40 * time.Minute)
		times := net.times(uriC)
		for i := 1; i < len(times); i++ {
			require.Equal(t, time.Second, times[i]-times[i-1], "request %d", i)
		}
		require.Len(t, times, 40*60+1)
		require.NoError(t, r.stop())
	})
}

// late is a token source that takes its time, whatever its context says.
type late struct {
	naive
	wait time.Duration
}

func (l late) Token(ctx context.Context, credential, origin string) (resource.Token, error) {
	wait(context.Background(), l.wait)
	return l.naive.Token(ctx, credential, origin)
}

// Whatever a resource waits for when it is told to stop, nothing is sent for it any
// more: its interval, the line of its bucket, credit of the sink, its host.
func TestD10_AWaitThatIsCancelledSendsNothing(t *testing.T) {
	block := firehose.SinkFunc(func(ctx context.Context, _ *resource.Response) error {
		<-ctx.Done()
		return context.Cause(ctx)
	})
	for name, c := range map[string]struct {
		config firehose.Config
		reply  reply
	}{
		"interval": {firehose.Config{Resources: fleet(5)}, ok("x", "")},
		"limit":    {firehose.Config{Resources: fleet(5)}, status(429, "Retry-After", "60")},
		"line":     {firehose.Config{Resources: many(5, "")}, quota(ok("x", ""), "core", 60, 0, time.Minute)},
		"pace": {firehose.Config{Resources: many(5, ""), Profiles: map[string]resource.Profile{"": {
			Limit: resource.Limit{Requests: 1, Per: time.Minute}}}}, ok("x", "")},
		"credit": {firehose.Config{Resources: fleet(5), Sink: block, PublishCount: 1, SinkTimeout: time.Hour}, ok("x", "")},
		"host":   {firehose.Config{Resources: fleet(20), HostConcurrency: 1}, reply{slow: 17 * time.Second}},
		"worker": {firehose.Config{Resources: fleet(20), Workers: 1}, reply{slow: 3500 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newScript(func(call) reply { return c.reply })
				r := start(t, net, c.config)
				until(59 * time.Second)
				before := len(net.all(""))
				require.Positive(t, before)
				require.NoError(t, r.stop())
				until(time.Hour)
				require.Len(t, net.all(""), before)
			})
		})
	}
}

// A token that comes when the time of its poll is over is not used.
func TestD10_ATokenThatComesTooLateIsNotSent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(call) reply { return ok("x", "") })
		r := start(t, net, firehose.Config{
			Resources: []resource.Spec{{URI: uriA, Profile: "p"}}, Profiles: map[string]resource.Profile{"p": {Credential: "key"}},
			Tokens: late{naive{bearer(t, "made-up")}, 20 * time.Second}, RequestTimeout: 10 * time.Second,
		})
		until(10 * time.Minute)
		require.Empty(t, net.all(""))
		e := r.explainSpec(resource.Spec{URI: uriA, Profile: "p"})
		require.Equal(t, resource.ReasonToken, e.Why, e.String())
		require.NoError(t, r.stop())
	})
}

// Hundreds of resources wait for a bucket that is exhausted: those of another bucket
// of the same scope, and of other scopes, are asked on time by a single worker.
func TestD14_ALineHoldsUpNoOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		left := 30
		net := newScript(func(c call) reply {
			if strings.Contains(c.URL, "/search/") {
				if left--; left < 0 {
					return quota(status(403), "search", 30, 0, 40*time.Minute)
				}
				return quota(ok(fmt.Sprint(c.n), ""), "search", 30, left, 40*time.Minute)
			}
			return quota(ok(fmt.Sprint(c.n), ""), "core", 5000, 4000, time.Hour)
		})
		specs := []resource.Spec{{URI: "https://api.github.com/core", Interval: 10 * time.Second}, {URI: uriC, Interval: 10 * time.Second}}
		for i := range 300 {
			specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://api.github.com/search/%d", i), Interval: time.Minute})
		}
		r := start(t, net, firehose.Config{Resources: specs, Workers: 1})
		until(30 * time.Minute)
		for _, spec := range specs[:2] {
			times := net.times(spec.URI)
			require.GreaterOrEqual(t, len(times), 175, spec.URI)
			for i := 1; i < len(times); i++ {
				require.True(t, times[i] < time.Minute || times[i]-times[i-1] <= 11*time.Second, "%s at %v", spec.URI, times[i])
			}
		}
		require.NotContains(t, r.sink.kinds(), "limited", "nobody was sent to find out what is known")
		require.NoError(t, r.stop())
	})
}

// Down for eight hours, or paused: each resource is polled once, late, and not for
// each interval that was missed; a bucket whose reset has passed is not overdrawn.
func TestD15_EightHoursDownAreOnePollLate(t *testing.T) {
	const n, allowance, down = 60, 40, 8 * time.Hour
	for name, limited := range map[string]bool{"by the interval": false, "by the bucket": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				left, window := allowance, 0
				net := newScript(func(c call) reply {
					if !limited {
						return ok(fmt.Sprint(c.n), "")
					}
					if now := int(c.At / time.Hour); now != window {
						left, window = allowance, now
					}
					left--
					r := quota(ok(fmt.Sprint(c.n), ""), "core", allowance, max(0, left), time.Duration(window+1)*time.Hour)
					if r.slow = time.Second; left < 0 {
						r.status = 403
					}
					return r
				})
				fast := resource.Profile{Concurrency: 64, Limit: resource.Limit{Requests: 1000, Per: time.Second}}
				config := firehose.Config{DB: db.NewMemory(), Resources: fleet(n), Workers: 64, Profiles: map[string]resource.Profile{"": fast}}
				r := start(t, net, config)
				until(30*time.Minute + 30*time.Second)
				require.NoError(t, r.stop())
				pass(down)
				before, restarted := len(net.all("")), at()
				r = start(t, net, config)
				until(restarted + time.Minute - 1)
				calls := net.all("")[before:]
				most := n
				if limited {
					most = allowance
				}
				require.LessOrEqual(t, len(calls), most)
				require.Greater(t, len(calls), most/2, "but it goes on at once")
				asked := map[string]int{}
				for _, c := range calls {
					asked[c.URL]++
					require.Equal(t, 1, asked[c.URL], c.URL)
				}
				require.NotContains(t, r.sink.kinds(), "limited")

				if !limited { // the same for a pause
					for _, spec := range fleet(n) {
						require.NoError(t, r.Pause(t.Context(), idOf(t, spec.URI)))
					}
					pass(down)
					before, resumed := len(net.all("")), at()
					for _, spec := range fleet(n) {
						require.NoError(t, r.Resume(t.Context(), idOf(t, spec.URI)))
					}
					until(resumed + time.Minute - 1)
					require.Len(t, net.all("")[before:], n)
				}
				require.NoError(t, r.stop())
			})
		})
	}
}

// watched is a queue that counts what is received from it.
type watched struct {
	queue.Queue
	mu       sync.Mutex
	received int
}

func (w *watched) Unwrap() queue.Queue { return w.Queue }

func (w *watched) Open(ctx context.Context) (queue.Session, error) {
	s, err := w.Queue.Open(ctx)
	return watchedSession{s, w}, err
}

type watchedSession struct {
	queue.Session
	w *watched
}

func (s watchedSession) Receive(ctx context.Context, name string, limit int) ([]queue.Delivery, error) {
	got, err := s.Session.Receive(ctx, name, limit)
	s.w.mu.Lock()
	s.w.received += len(got)
	s.w.mu.Unlock()
	return got, err
}

// A wait of hours is decided about once, and not once for each step of a tier.
func TestD18_ALongWaitIsDecidedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		inner, err := queue.NewMemory(queue.MemoryConfig{})
		require.NoError(t, err)
		defer inner.Close()
		w := &watched{Queue: inner}
		net := newScript(func(c call) reply { return ok(fmt.Sprint(c.n), "") })
		specs := fleet(10)
		for i := range specs {
			specs[i].Interval = time.Hour
		}
		r := start(t, net, firehose.Config{Resources: specs, Queue: w})
		until(20*time.Hour + time.Minute)
		polls := len(net.all(""))
		require.Equal(t, 210, polls)
		require.NoError(t, r.stop())
		require.LessOrEqual(t, w.received, 4*polls, "a tier, a line, requests, publish")
	})
}

// Told to stay away beyond the cap: parked and said so, and never asked early.
func TestD21_BeyondTheCapIsParkedAndSaid(t *testing.T) {
	const wait = 30 * time.Hour
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if c.n == 0 {
				return status(429, "Retry-After", fmt.Sprint(int(wait.Seconds())))
			}
			return ok("back", "")
		})
		sink := &taken{}
		r := start(t, net, firehose.Config{Resources: resource.List(uriA), ParkCap: 24 * time.Hour, Sink: sink, Observer: sink.observe})
		until(time.Minute)
		require.Equal(t, []string{"parked"}, sink.kinds())
		e := sink.events[0]
		require.Equal(t, uriA, e.Resource.URI)
		require.Equal(t, resource.Parked, e.Resource.State)
		require.GreaterOrEqual(t, e.Resource.NotBefore.Sub(epoch), wait)
		require.NotEmpty(t, e.Cause)
		got := r.explain(uriA)
		require.Equal(t, resource.Parked, got.State, got.String())
		until(wait - 1)
		require.Len(t, net.all(""), 1)
		until(wait + time.Minute)
		require.Equal(t, []string{"back"}, sink.bodies())
		require.NoError(t, r.stop())
	})
}
