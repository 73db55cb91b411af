package firehose_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

var errSink = errors.New("the sink is not in the mood")

// versions answers each request with the present version of one text, and with
// a 304 to whoever has it.
func versions(version *string) *script {
	return newScript(func(c call) reply {
		etag := `"` + *version + `"`
		if c.Header.Get("If-None-Match") == etag {
			return status(304)
		}
		return ok(*version, etag)
	})
}

// A sink that fails is offered the same response again, later and later, and its
// validators are not stored before it has taken it.
func TestD11_SinkIsRetried(t *testing.T) {
	bubble(t, func(t *testing.T) {
		version := "one"
		net := versions(&version)
		sink := &taken{}
		var offers []time.Duration
		var first *resource.Response
		sink.refuse = func(n int, r *resource.Response) error {
			offers = append(offers, at())
			if first == nil {
				first = r
			}
			require.Same(t, first, r)
			switch n {
			case 0, 1:
				return errSink
			case 2:
				panic("the sink panics")
			}
			return nil
		}
		r := start(t, net, firehose.Config{Resources: resource.List(uriA), Sink: sink})
		until(100 * time.Millisecond)
		e := r.explain(uriA)
		require.Equal(t, firehose.QueuePublish, e.Queue)
		require.Equal(t, resource.HasOwner, e.State)
		until(59 * time.Second)
		require.Len(t, offers, 4)
		require.Equal(t, []string{"one"}, sink.bodies())
		for i := range 3 {
			require.GreaterOrEqual(t, offers[i+1]-offers[i], 200*time.Millisecond<<i)
		}
		s := r.Stats()
		require.EqualValues(t, 3, s.SinkErrors)
		require.EqualValues(t, 1, s.Published)
		require.Zero(t, s.Publishing)
		require.Zero(t, s.Holding)
		until(61 * time.Second)
		require.Equal(t, `"one"`, net.all(uriA)[1].Header.Get("If-None-Match"))
	})
}

// After SinkTries it is given up: an event, publish-error, the validators of
// before; a replay fetches and publishes the same content again.
func TestD11_WhatTheSinkRefusesIsNotStored(t *testing.T) {
	for _, cause := range []error{errSink, errors.New(strings.Repeat("long and é ", 500)), fmt.Errorf("odd \xff\x00 text")} {
		bubble(t, func(t *testing.T) {
			version := "one"
			var sick atomic.Bool
			net := versions(&version)
			sink := &taken{refuse: func(int, *resource.Response) error {
				if sick.Load() {
					return cause
				}
				return nil
			}}
			r := start(t, net, firehose.Config{Resources: resource.List(uriA, uriB), Sink: sink, SinkTries: 3, Observer: sink.observe})
			until(30 * time.Second)
			net.do(func() { version = "two" })
			sick.Store(true)
			until(10 * time.Minute)
			require.Equal(t, []string{"one", "one"}, sink.bodies())
			require.EqualValues(t, 6, r.Stats().SinkErrors)
			require.ElementsMatch(t, []string{"dropped", "buried", "dropped", "buried"}, sink.kinds())
			buried := r.errorsIn(firehose.QueuePublishError)
			require.Len(t, buried, 2)
			require.Contains(t, buried[0].Cause, "sink: "+cause.Error()[:4])
			require.LessOrEqual(t, len(buried[0].Cause), resource.MaxCause)
			require.Equal(t, resource.Validators{ETag: `"one"`}, buried[0].Resource.Validators)
			require.Equal(t, resource.Parked, r.explain(uriA).State)
			require.Equal(t, resource.Fault, r.explain(uriA).Kind)
			require.Len(t, net.all(uriA), 2, "parked until a replay")
			require.Zero(t, r.Stats().Publishing)

			sick.Store(false)
			ctx := context.Background()
			require.NoError(t, r.Replay(ctx, idOf(t, uriA)))
			require.ErrorIs(t, r.Replay(ctx, idOf(t, uriA)), firehose.ErrUnknown)
			synctest.Wait()
			require.Equal(t, []string{"one", "one", "two"}, sink.bodies())
			require.Equal(t, `"one"`, net.all(uriA)[2].Header.Get("If-None-Match"))
			until(12 * time.Minute)
			require.Equal(t, `"two"`, net.all(uriA)[3].Header.Get("If-None-Match"), "and now it is stored")

			require.NoError(t, r.Drain(ctx, idOf(t, uriB)))
			require.ErrorIs(t, r.Drain(ctx, idOf(t, uriB)), firehose.ErrUnknown)
			_, err := r.Explain(ctx, idOf(t, uriB))
			require.ErrorIs(t, err, firehose.ErrUnknown)
			require.Empty(t, r.errorsIn(firehose.QueuePublishError))
			require.NoError(t, r.stop())
		})
	}
}

// Errors pages through an error queue in order of id.
func TestErrorsPages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(call) reply { return status(403) })
		var specs []resource.Spec
		for i := range 25 {
			specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://a.test/%d", i)})
		}
		r := start(t, net, firehose.Config{Resources: specs})
		until(time.Second)
		ctx := context.Background()
		seen := map[resource.ID]bool{}
		var after resource.ID
		for _, want := range []int{10, 10, 5, 0} {
			page, err := r.Errors(ctx, firehose.QueueRequestsError, after, 10)
			require.NoError(t, err)
			require.Len(t, page, want)
			for _, b := range page {
				require.False(t, seen[b.Resource.ID])
				require.Equal(t, "status 403: forbidden, and not by a limit", b.Cause)
				require.Equal(t, firehose.QueueRequestsError, b.Queue)
				seen[b.Resource.ID], after = true, b.Resource.ID
			}
		}
		require.Len(t, seen, 25)
		var field *firehose.FieldError
		_, err := r.Errors(ctx, "requests", after, 10)
		require.ErrorAs(t, err, &field)
		require.Equal(t, firehose.FieldError{Field: "queue", Value: `"requests"`, Want: "one of analyze-error, requests-error, publish-error"}, *field)
		_, err = r.Errors(ctx, firehose.QueueRequestsError, after, 0)
		require.Error(t, err)

		// Several at once: those that are not there are named, the others done.
		unknown := resource.NewID()
		one, two := idOf(t, specs[0].URI), idOf(t, specs[1].URI)
		err = r.Drain(ctx, one, unknown, two)
		require.ErrorIs(t, err, firehose.ErrUnknown)
		require.ErrorContains(t, err, unknown.String())
		require.NotContains(t, err.Error(), one.String())
		require.Len(t, r.errorsIn(firehose.QueueRequestsError), 23)
	})
}

// A sink slower than polling slows polling: what is in flight or waits for it
// never exceeds the credits.
func TestBackPressure(t *testing.T) {
	for name, config := range map[string]firehose.Config{
		"count": {PublishCount: 5, Workers: 8},
		"bytes": {PublishBytes: 5 * 2000, Workers: 2},
		"one":   {PublishCount: 1, Workers: 16},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var mu sync.Mutex
				waiting, most := 0, 0
				add := func(n int) {
					mu.Lock()
					defer mu.Unlock()
					waiting += n
					most = max(most, waiting)
				}
				net := newScript(func(c call) reply {
					add(1)
					return ok(strings.Repeat("x", 1000)+fmt.Sprint(c.URL, c.n), "")
				})
				for i := range 50 {
					config.Resources = append(config.Resources, resource.Spec{URI: fmt.Sprintf("https://a.test/%d", i), Interval: time.Second})
				}
				config.Profiles = map[string]resource.Profile{"": {Concurrency: 50}}
				config.Sink = firehose.SinkFunc(func(ctx context.Context, r *resource.Response) error {
					err := wait(ctx, 3*time.Second)
					add(-1)
					return err
				})
				r := start(t, net, config)
				until(10 * time.Minute)
				mu.Lock()
				defer mu.Unlock()
				require.LessOrEqual(t, most, 5+2)
				if config.PublishCount > 0 {
					require.LessOrEqual(t, most, config.PublishCount)
				}
				require.InDelta(t, 200, len(net.all("")), 10, "as fast as the sink")
				require.Zero(t, r.Stats().Outcomes["failed"], "nothing failed for having waited")
				require.LessOrEqual(t, r.Stats().Publishing, max(5, config.PublishCount)+2)
				asked := map[string]int{}
				for _, c := range net.all("") {
					asked[c.URL]++
				}
				require.Len(t, asked, 50, "none starves")
			})
		})
	}
}

// A pause, and a removal, count for what waits for a credit.
func TestWishesWhileWaitingForCredit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		net := newScript(func(c call) reply { return ok(c.URL, "") })
		r := start(t, net, firehose.Config{
			Resources: resource.List(uriA, uriB, uriC), PublishCount: 1,
			Sink: firehose.SinkFunc(func(ctx context.Context, _ *resource.Response) error {
				select {
				case <-release:
				case <-ctx.Done():
				}
				return ctx.Err()
			}),
		})
		until(time.Second)
		require.Len(t, net.all(""), 1)
		first := net.all("")[0].URL
		var paused, removed string
		for _, uri := range []string{uriA, uriB, uriC} {
			switch {
			case uri == first:
			case paused == "":
				paused = uri
				require.NoError(t, r.Pause(t.Context(), idOf(t, uri)))
			default:
				removed = uri
				require.NoError(t, r.Remove(t.Context(), idOf(t, uri)))
			}
		}
		close(release)
		until(30 * time.Minute)
		require.Empty(t, net.all(paused))
		require.Empty(t, net.all(removed))
		require.Len(t, net.all(first), 31)
		require.Equal(t, resource.Paused, r.explain(paused).State)
		_, err := r.Explain(t.Context(), idOf(t, removed))
		require.ErrorIs(t, err, firehose.ErrUnknown)
	})
}

// A token source that panics costs no credit, and is no reason to ask early.
func TestTokenSourcePanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply { return ok(fmt.Sprint(c.n), "") })
		r := start(t, net, firehose.Config{
			Resources: []resource.Spec{{URI: uriA, Interval: time.Minute, Profile: "p"}}, PublishCount: 2,
			Profiles: map[string]resource.Profile{"p": {Credential: "key"}},
			Tokens:   &moody{}, Workers: 4,
		})
		until(2 * time.Hour)
		require.Zero(t, r.Stats().Publishing)
		require.Greater(t, len(net.all(uriA)), 20)
		times := net.times(uriA)
		for i := 1; i < len(times); i++ {
			require.GreaterOrEqual(t, times[i]-times[i-1], time.Minute)
		}
		require.EqualValues(t, len(times), r.Stats().Polls)
		require.NoError(t, r.Pause(t.Context(), id(t, resource.Spec{URI: uriA, Profile: "p"})))
		for _, e := range r.sink.events {
			require.NotContains(t, e.Cause, "0451")
		}
	})
}

// moody is a token source that panics every other time.
type moody struct {
	mu sync.Mutex
	n  int
}

func (*moody) Credential(string) string { return "" }

func (m *moody) Token(context.Context, string, string) (resource.Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.n++; m.n%2 == 0 {
		panic("no token today, it was 0451")
	}
	return resource.Token{}, nil
}

// An observer that panics is its own problem.
func TestObserverPanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply { return status(429) })
		r := start(t, net, firehose.Config{Resources: resource.List(uriA), Observer: func(firehose.Event) { panic("observer") }})
		until(10 * time.Minute)
		require.EqualValues(t, 4, r.Stats().Outcomes["limited"])
		require.Len(t, net.all(uriA), 4)
		require.True(t, r.Health().Ready)
	})
}

// A sink call ends at SinkTimeout, with the reason.
func TestSinkTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply { return ok("x", "") })
		r := start(t, net, firehose.Config{
			Resources: resource.List(uriA), SinkTimeout: 4 * time.Second, SinkTries: 2,
			Sink: firehose.SinkFunc(func(ctx context.Context, _ *resource.Response) error {
				<-ctx.Done()
				return context.Cause(ctx)
			}),
		})
		until(20 * time.Second)
		buried := r.errorsIn(firehose.QueuePublishError)
		require.Len(t, buried, 1)
		require.Contains(t, buried[0].Cause, "sink timeout")
		require.GreaterOrEqual(t, at(), 8*time.Second)
	})
}

// Publishers run together, and never twice for the same resource.
func TestPublishersRunTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		busy, most, inside := map[resource.ID]bool{}, 0, 0
		net := newScript(func(c call) reply { return ok(fmt.Sprint(c.n), "") })
		config := firehose.Config{Publishers: 6, Profiles: map[string]resource.Profile{"": {Concurrency: 20}}}
		for i := range 20 {
			config.Resources = append(config.Resources, resource.Spec{URI: fmt.Sprintf("https://a.test/%d", i), Interval: time.Second})
		}
		config.Sink = firehose.SinkFunc(func(ctx context.Context, r *resource.Response) error {
			mu.Lock()
			inside++
			most = max(most, inside)
			twice := busy[r.Resource.ID]
			busy[r.Resource.ID] = true
			mu.Unlock()
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				inside--
				delete(busy, r.Resource.ID)
			}()
			if twice {
				t.Error("two at once for one resource")
			}
			return wait(ctx, time.Second)
		})
		start(t, net, config)
		until(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, 6, most)
	})
}

// A stop publishes what is ready, and finishes what is in flight.
func TestStopPublishesWhatIsReady(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply { return reply{body: c.URL, slow: 2 * time.Second} })
		sink := &taken{refuse: func(int, *resource.Response) error { time.Sleep(time.Second); return nil }}
		var specs []resource.Spec
		for i := range 8 {
			specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://a.test/%d", i)})
		}
		q, err := queue.NewMemory(queue.MemoryConfig{})
		require.NoError(t, err)
		defer q.Close()
		r := start(t, net, firehose.Config{Resources: specs, Sink: sink, Profiles: map[string]resource.Profile{"": {Concurrency: 8}}, Queue: q})
		until(3 * time.Second) // the first is known, the others are in flight
		require.NoError(t, r.stop())
		require.Len(t, net.all(""), 8)
		require.Len(t, sink.bodies(), 8)
		require.Less(t, at(), 20*time.Second)
		depths, err := q.Depths(t.Context())
		require.NoError(t, err)
		for _, d := range depths {
			if d.Name == firehose.QueuePublish || d.Name == firehose.QueueRequests {
				require.Zero(t, d.Ready+d.Held+d.Waiting, d.Name)
			}
		}
	})
}

// What waits in the requests queue at a stop was not sent, and does not count
// as sent.
func TestStopWithdrawsWhatWasNotSent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply { return reply{body: c.URL, slow: 2 * time.Second} })
		q, err := queue.NewMemory(queue.MemoryConfig{})
		require.NoError(t, err)
		defer q.Close()
		config := firehose.Config{Profiles: map[string]resource.Profile{"": {Concurrency: 40}}, Workers: 2, Queue: q}
		for i := range 40 {
			config.Resources = append(config.Resources, resource.Spec{URI: fmt.Sprintf("https://a.test/%d", i)})
		}
		r := start(t, net, config)
		until(5 * time.Second)
		require.NoError(t, r.stop())
		sent := len(net.all(""))
		require.Less(t, sent, 10)
		idle := 0
		for _, spec := range config.Resources {
			m, held, err := q.Find(t.Context(), idOf(t, spec.URI))
			require.NoError(t, err)
			require.False(t, held)
			require.True(t, m.Resource.Owner.IsZero(), "a claim is left")
			if m.Resource.Polls == 0 {
				idle++
				require.True(t, m.Resource.NotBefore.IsZero())
			}
		}
		require.Equal(t, 40-sent, idle)
		start(t, net, config)
		until(time.Minute)
		require.Len(t, net.all(""), 40, "the rest follows, and nothing is asked twice")
	})
}
