package firehose_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// Whatever is waited for when the OS is told to stop, nothing leaves after that,
// and the stop does not wait for it (rules D-1, D-10).
//
// Peer gofri-8: that a wait was cancelled is not looked at, and the request is
// sent all the same.
// Peer retryablehttp-5: the wait goes on beyond the deadline of the caller.
func TestD10_AStopDuringAnyWaitSendsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		answer   func(c call) reply
		profile  resource.Profile
		inFlight bool
	}{
		"interval":          {always(status(200)), resource.Profile{}, false},
		"retry-after":       {always(status(429, "Retry-After", "3600")), resource.Profile{}, false},
		"no quota":          {always(quota(status(200), "core", 9, 0, time.Hour)), resource.Profile{}, false},
		"secondary":         {always(status(429)), resource.Profile{Dialect: "github"}, false},
		"declared rate":     {always(status(200)), resource.Profile{Limit: resource.Limit{Requests: 1, Per: time.Hour}}, false},
		"concurrency":       {always(slowReply(status(200), time.Hour)), resource.Profile{Concurrency: 1}, true},
		"host down":         {always(status(500)), resource.Profile{}, false},
		"refused":           {always(status(401)), resource.Profile{Credential: "key"}, false},
		"reading rejection": {always(reply{status: 403, body: "secondary", trickle: time.Hour}), resource.Profile{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newScript(c.answer)
				var specs []resource.Spec
				for i := range 20 {
					specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://k.test/%d", i), Profile: "p", Interval: 30 * time.Second})
				}
				r := start(t, net, firehose.Config{
					Resources: specs, Profiles: map[string]resource.Profile{"p": c.profile}, RequestTimeout: time.Hour, StopTimeout: 5 * time.Second,
					Tokens: resource.Fixed("key", bearer(t, "made-up"), "https://k.test"),
				})
				until(10*time.Second + time.Millisecond)
				sent, stopped := len(net.all("")), at()
				require.NoError(t, r.stop())
				if c.inFlight {
					require.LessOrEqual(t, at()-stopped, 6*time.Second)
				} else {
					require.LessOrEqual(t, at()-stopped, time.Second)
				}
				until(3 * time.Hour)
				require.Equal(t, sent, len(net.all("")))
			})
		})
	}
}

// A request that takes long is in flight for as long as that: nobody gets its
// place meanwhile, and its resource is not asked for a second time.
//
// Peer octokit-8: a place is free again after a minute, though the slow request
// that has it still runs.
// Peer httpcache-4: two requests for the same thing are both sent.
// Peer miniflux-6: nothing is claimed, so what comes round before an earlier job
// has run fetches once more.
func TestG11_ASlowRequestKeepsItsPlace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if c.n == 1 {
				return reply{body: "x", slow: 3 * time.Minute, trickle: 4 * time.Minute}
			}
			return ok(fmt.Sprint(c.n), "")
		})
		specs := []resource.Spec{{URI: uriA, Interval: time.Second}, {URI: uriB, Interval: time.Second}, {URI: uriC, Interval: 10 * time.Second}}
		r := start(t, net, firehose.Config{
			Resources: specs, Profiles: map[string]resource.Profile{"": {Concurrency: 1}}, RequestTimeout: 10 * time.Minute, Workers: 8,
		})
		until(10 * time.Second)
		require.ErrorIs(t, r.Add(t.Context(), resource.Spec{URI: uriA, Interval: time.Second}), queue.ErrExists, "the same is one resource")
		until(7*time.Minute + 500*time.Millisecond)
		require.Equal(t, secs(0, 1), net.times(uriA), "in flight until its body has ended")
		require.Equal(t, secs(0), net.times(uriB))
		until(8*time.Minute + 10*time.Second)
		require.Equal(t, secs(0, 421), net.times(uriB)[:2])
		require.Equal(t, secs(0, 1), net.times(uriA)[:2])
		require.Less(t, len(net.all(uriA)), 3)
		require.LessOrEqual(t, net.together(), 2, "one of each origin")
		require.NoError(t, r.stop())
	})
}

// A backlog of one host, parked or slow, holds no worker and delays nobody else:
// each resource of other hosts is asked for at its own instant.
//
// Peer miniflux-4: the bound for each host is applied after the batch was chosen,
// so that a batch of one host starves the others.
// Peer miniflux-5: and it is a bound of each batch, not of what is in flight.
// Peer miniflux-8: a batch is sent at once, whatever each member's own instant.
// Peer colly-1: a worker sleeps through the wait while it holds the place.
// Peer stormcrawler-1: a change that slept in the fetcher was proposed, and refused.
// Peer airbyte-4: a wait for the quota blocks the whole stream.
// Peer middleware-1: waiting inside the client blocks whoever called it.
func TestD14_ABacklogOfOneHostDelaysNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			switch {
			case strings.HasPrefix(c.URL, "https://parked.test/"):
				return status(429, "Retry-After", "1800")
			case strings.HasPrefix(c.URL, "https://slow.test/"):
				return slowReply(status(200), 20*time.Second)
			}
			return ok(fmt.Sprint(c.n), "")
		})
		var specs []resource.Spec
		for i := range 300 {
			specs = append(specs,
				resource.Spec{URI: fmt.Sprintf("https://parked.test/%d", i), Interval: time.Second},
				resource.Spec{URI: fmt.Sprintf("https://slow.test/%d", i), Interval: time.Second})
		}
		wishes := []time.Duration{7 * time.Second, 11 * time.Second, 13500 * time.Millisecond}
		for i, wish := range wishes {
			specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://%d.test/", i), Interval: wish})
		}
		// The slow host takes four workers; one is left for all the others.
		r := start(t, net, firehose.Config{Resources: specs, Workers: 5})
		until(20 * time.Minute)
		for i, wish := range wishes {
			times := net.times(fmt.Sprintf("https://%d.test/", i))
			for n, got := range times {
				require.Equal(t, time.Duration(n)*wish, got, "poll %d each %v", n, wish)
			}
			require.Equal(t, int(20*time.Minute/wish)+1, len(times))
		}
		parked := 0
		for _, c := range net.all("") {
			if strings.HasPrefix(c.URL, "https://parked.test/") {
				parked++
			}
		}
		require.Equal(t, 1, parked)
		require.LessOrEqual(t, net.together(), 5)
		require.NoError(t, r.stop())
	})
}

// A process that stands by is not the one to tell: a wish there fails, and says
// so, instead of doing nothing (rule D-3).
//
// Peer url-frontier-2: to block a queue or change its delay did nothing, and said
// nothing, on a node that did not own it.
// Peers benthos-1 and airbyte-3: limits live in one process, so that several
// processes ask several times as much as they may.
func TestD3_AWishAtAStandbyFailsLoudly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, ctx := db.NewMemory(), t.Context()
		net := newScript(func(c call) reply { return ok("", "") })
		config := firehose.Config{DB: store, Resources: resource.List(uriA)}
		owner := start(t, net, config)
		until(10 * time.Second)
		standby := start(t, net, config)
		until(20 * time.Second)
		a := idOf(t, uriA)
		for name, err := range map[string]error{
			"pause": standby.Pause(ctx, a), "resume": standby.Resume(ctx, a), "remove": standby.Remove(ctx, a),
			"interval": standby.SetInterval(ctx, a, time.Hour),
		} {
			require.ErrorIs(t, err, queue.ErrStandby, name)
		}
		patience, cancel := context.WithTimeout(ctx, 5*time.Second) // these wait to be the owner, for as long as they are let
		defer cancel()
		require.ErrorIs(t, standby.Replay(patience, a), context.DeadlineExceeded)
		require.ErrorIs(t, standby.Add(patience, resource.Spec{URI: uriB}), context.DeadlineExceeded)
		_, err := standby.Explain(ctx, a)
		require.ErrorIs(t, err, queue.ErrStandby)
		until(5*time.Minute - 1)
		require.Equal(t, 5, len(net.all("")), "one process asks, and it was not told to stop")
		require.NoError(t, owner.Pause(ctx, a))
		until(10 * time.Minute)
		require.Equal(t, 5, len(net.all("")))
		require.NoError(t, owner.stop())
		until(20 * time.Minute)
		require.Equal(t, resource.Paused, standby.explain(uriA).State, "what the owner was told goes over to the next")
		require.Equal(t, 5, len(net.all("")))
		require.NoError(t, standby.stop())
	})
}

// Another Accept header makes every tag worthless, as another token does: the
// next request goes without, once.
//
// Peer conditional-1: GitHub's tags are made from the token, Accept and Cookie
// beside the body, so that whoever changes one of them asks with dead tags.
func TestE8_AnotherAcceptAsksUnconditionallyOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			tag := `"` + c.Header.Get("Accept") + `"`
			if c.Header.Get("If-None-Match") == tag {
				return status(304)
			}
			return ok("the same", tag)
		})
		store := db.NewMemory()
		run := func(accept string, until time.Duration) {
			r := start(t, net, firehose.Config{
				Resources: []resource.Spec{{URI: uriA, Profile: "p"}}, DB: store,
				Profiles: map[string]resource.Profile{"p": {Header: http.Header{"Accept": {accept}}}},
			})
			pass(until)
			require.NoError(t, r.stop())
		}
		run("text/plain", 5*time.Minute)
		run("text/html", 5*time.Minute)
		run("text/html", 5*time.Minute)
		var conditional []bool
		for _, c := range net.all("") {
			conditional = append(conditional, c.Header.Get("If-None-Match") != "")
			if tag := c.Header.Get("If-None-Match"); tag != "" {
				require.Equal(t, `"`+c.Header.Get("Accept")+`"`, tag, "no dead tag is sent")
			}
		}
		bare := 0
		for _, is := range conditional {
			if !is {
				bare++
			}
		}
		require.Equal(t, 2, bare, "once with each: %v", conditional)
		require.Greater(t, len(conditional), 12)
	})
}
