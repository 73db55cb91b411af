package firehose_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

func TestSNet_AHostThatIsDownIsLeftAlone(t *testing.T) {
	leftAlone(t, reply{err: errors.New("connection reset by peer")})
}

func TestS500_AHostThatFailsIsLeftAlone(t *testing.T) { leftAlone(t, status(500)) }

func TestS503_AHostThatIsOverloadedIsLeftAlone(t *testing.T) { leftAlone(t, status(503)) }

// leftAlone: a host that is down is asked by one request at a time, less and less
// often, whichever credential it is of, and when it is back everything goes on soon.
func leftAlone(t *testing.T, down reply) {
	bubble(t, func(t *testing.T) {
		outage := func(at time.Duration) bool { return at >= 5*time.Minute && at < 65*time.Minute }
		net := newScript(func(c call) reply {
			if outage(c.At) && strings.HasPrefix(c.URL, "https://a.test/") {
				return down
			}
			return ok("x", `"1"`)
		})
		config := firehose.Config{
			Profiles: map[string]resource.Profile{"one": {Credential: "one"}, "two": {Credential: "two"}},
			Tokens:   resource.Keyring(fixed(t, "one"), fixed(t, "two")),
		}
		for i := range 40 {
			config.Resources = append(config.Resources, resource.Spec{
				URI: fmt.Sprintf("https://a.test/%d", i), Profile: []string{"one", "two"}[i%2], Interval: 10 * time.Second,
			})
		}
		config.Resources = append(config.Resources, resource.Spec{URI: uriC, Interval: 10 * time.Second})
		r := start(t, net, config)
		until(65 * time.Minute)
		var during []time.Duration
		for _, c := range net.all("") {
			if strings.HasPrefix(c.URL, "https://a.test/") && outage(c.At) {
				during = append(during, c.At)
			}
		}
		require.Less(t, len(during), 130, "an hour of 40 resources that want to be asked every 10 s")
		require.Greater(t, len(during), 8, "but it is asked")
		require.Contains(t, r.sink.kinds(), "host-down")
		require.NotContains(t, r.sink.kinds(), "host-up")
		e := r.explainSpec(config.Resources[7])
		require.Equal(t, resource.WaitingForServerAlive, e.State, e.String())

		until(65*time.Minute + 20*time.Minute)
		require.Contains(t, r.sink.kinds(), "host-up")
		last := net.times("https://a.test/0")
		require.Greater(t, last[len(last)-1], 65*time.Minute)
		require.Len(t, net.all(uriC), 85*6+1, "the other host goes on")
		require.Equal(t, 1, count(r.sink.kinds(), "host-down"))
		require.NoError(t, r.stop())
	})
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

func fixed(t *testing.T, name string) resource.TokenSource {
	token, err := resource.BearerToken("made-up-" + name)
	require.NoError(t, err)
	return resource.Fixed(name, token, "https://a.test")
}

// One resource that always fails is its own affair.
func TestSNet_OneBrokenResourceDoesNotStopItsHost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if c.URL == "https://a.test/0" {
				return status(500)
			}
			return ok("x", "")
		})
		r := start(t, net, firehose.Config{Resources: fleet(3)})
		until(time.Hour)
		require.NotContains(t, r.sink.kinds(), "host-down")
		require.Len(t, net.all("https://a.test/1"), 61)
		require.NoError(t, r.stop())
	})
}

// Requests to one host are bounded over all credentials.
//
// Peer miniflux-10: several requests go to one host at once, for which hosts
// ban it.
func TestG11_HostConcurrency(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(call) reply { return reply{body: "x", slow: time.Second} })
		config := firehose.Config{
			HostConcurrency: 3,
			Profiles:        map[string]resource.Profile{},
		}
		var sources []resource.TokenSource
		for i := range 8 {
			name := fmt.Sprintf("key-%d", i)
			sources = append(sources, fixed(t, name))
			config.Profiles[name] = resource.Profile{Credential: name, Concurrency: 8}
			for j := range 5 {
				config.Resources = append(config.Resources, resource.Spec{URI: fmt.Sprintf("https://a.test/%d", j), Profile: name, Interval: 20 * time.Second})
			}
		}
		config.Tokens = resource.Keyring(sources...)
		r := start(t, net, config)
		until(10 * time.Minute)
		require.Equal(t, 3, net.together())
		require.Greater(t, len(net.all("")), 1000, "40 resources every 20 s or so")
		require.NoError(t, r.stop())
	})
}

// quotaOf answers as an origin that counts down a quota in windows of an hour.
func quotaOf(limit int) *script {
	left, window := limit, 0
	return newScript(func(c call) reply {
		if now := int(c.At / time.Hour); now != window {
			left, window = limit, now
		}
		head := map[string]string{
			"X-Ratelimit-Limit": strconv.Itoa(limit), "X-Ratelimit-Resource": "core",
			"X-Ratelimit-Reset": strconv.FormatInt(epoch.Add(time.Duration(window+1)*time.Hour).Unix(), 10),
		}
		if left == 0 {
			head["X-Ratelimit-Remaining"] = "0"
			return reply{status: 429, header: head}
		}
		left--
		head["X-Ratelimit-Remaining"] = strconv.Itoa(left)
		return reply{body: fmt.Sprint(c.n), header: head}
	})
}

// A quota that is spread lasts until its reset, and is used up all the same.
func TestG10_SpreadOverTheWindow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := quotaOf(600)
		config := firehose.Config{Resources: fleet(30), Profiles: map[string]resource.Profile{"": {Spread: true}}}
		r := start(t, net, config)
		until(4 * time.Hour)
		for hour := range 4 {
			halves := [2]int{}
			for _, c := range net.all("") {
				if int(c.At/time.Hour) == hour {
					halves[c.At%time.Hour/(30*time.Minute)]++
				}
			}
			require.GreaterOrEqual(t, halves[0]+halves[1], 590, "hour %d", hour)
			require.InDelta(t, halves[0], halves[1], 40, "hour %d", hour)
		}
		require.NotContains(t, r.sink.kinds(), "limited")
		require.NoError(t, r.stop())
	})
}

// A share of each window is left for others.
//
// Peer airbyte-5: its users find that it uses up the whole quota, of which
// their other programs live.
func TestG9_ReservePercent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := quotaOf(600)
		r := start(t, net, firehose.Config{Resources: fleet(30), Profiles: map[string]resource.Profile{"": {ReservePercent: 25}}})
		until(59 * time.Minute)
		require.Len(t, net.all(""), 450)
		require.NoError(t, r.stop())
	})
}

// A limit of a resource alone makes no other wait.
//
// Peer freshrss-1: a Retry-After that one route was given froze all routes of
// its domain.
func TestS429_AloneByProfile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if c.URL == "https://a.test/0" && c.At < 30*time.Minute {
				return reply{status: 429, header: map[string]string{"Retry-After": "600"}}
			}
			return ok("x", "")
		})
		r := start(t, net, firehose.Config{Resources: fleet(3), Profiles: map[string]resource.Profile{"": {Alone: true}}})
		until(30*time.Minute - time.Second)
		require.Len(t, net.all("https://a.test/1"), 30)
		require.LessOrEqual(t, len(net.all("https://a.test/0")), 3)
		until(time.Hour)
		require.Greater(t, len(net.all("https://a.test/0")), 10)
		require.NoError(t, r.stop())
	})
}

// Of the resources that wait for a bucket the higher priority comes first, and the
// lower not never (rule D-14).
func TestD14_Priorities(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := quotaOf(60)
		specs := fleet(90)
		for i := range specs {
			specs[i].Priority = int8(1 - i%3) // 1, 0, -1
		}
		r := start(t, net, firehose.Config{Resources: specs})
		until(12 * time.Hour)
		var polls [3]int
		for _, c := range net.all("") {
			n, err := strconv.Atoi(strings.TrimPrefix(c.URL, "https://a.test/"))
			require.NoError(t, err)
			polls[n%3]++
		}
		require.Greater(t, polls[0], polls[1]*4/3)
		require.Greater(t, polls[1], polls[2]*4/3)
		require.GreaterOrEqual(t, polls[2], 60, "nobody is passed over for ever")
		require.NoError(t, r.stop())
	})
}

// Several policies of one answer hold together (rule I-7).
func TestI7_TheWorstOfSeveralPolicies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		burst, daily := map[int]int{}, 0
		net := newScript(func(c call) reply {
			now := int(c.At / time.Minute)
			reset := (now+1)*60 - int(c.At/time.Second)
			burst[now]++
			daily++
			head := map[string]string{
				"RateLimit-Policy": `"burst";q=10;w=60, "daily";q=100;w=86400`,
				"RateLimit":        fmt.Sprintf(`"burst";r=%d;t=%d, "daily";r=%d;t=%d`, max(0, 10-burst[now]), reset, max(0, 100-daily), 86400-int(c.At/time.Second)),
			}
			if burst[now] > 10 || daily > 100 {
				return reply{status: 429, header: head}
			}
			return reply{body: fmt.Sprint(c.n), header: head}
		})
		r := start(t, net, firehose.Config{Resources: fleet(20)})
		until(23 * time.Hour)
		require.Len(t, net.all(""), 100)
		require.NotContains(t, r.sink.kinds(), "limited")
		net.do(func() {
			for _, n := range burst {
				require.LessOrEqual(t, n, 10)
			}
		})
		until(25 * time.Hour)
		require.Greater(t, len(net.all("")), 100, "the next day")
		require.NoError(t, r.stop())
	})
}

// A dialect of the user's is detected before the others.
func TestLOthers_ADialectOfTheUsers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			return reply{body: fmt.Sprint(c.n), header: map[string]string{"X-Credits": "0", "X-Credits-Back": "300"}}
		})
		r := start(t, net, firehose.Config{Resources: fleet(2), Dialects: []resource.Dialect{{
			Name: "credits", Concurrency: 1,
			Detect: func(_ string, h http.Header) string {
				if h.Get("X-Credits") != "" {
					return "X-Credits"
				}
				return ""
			},
			Read: func(a *resource.Answer, l *resource.Lesson) {
				left, ok := a.Count("X-Credits")
				wait, ok2 := a.Seconds("X-Credits-Back")
				if ok && ok2 {
					l.QuotaFor(a, 1, left, wait)
				}
			},
		}}})
		until(time.Hour)
		require.InDelta(t, 12, len(net.all("")), 2, "one in five minutes, for both")
		require.NoError(t, r.stop())
	})
}

// What a feed says of its own interval counts, also after a 304 (rule L-Feeds).
//
// Peer miniflux-2: freshness and ttl count after a 200 only; a 304 falls back
// to the shortest interval.
func TestLFeeds_TheFeedsOwnInterval(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if c.Header.Get("If-None-Match") != "" {
				return status(304)
			}
			return reply{
				header: map[string]string{"Etag": `"1"`, "Content-Type": "application/rss+xml; charset=utf-8"},
				body:   `<?xml version="1.0"?><rss version="2.0"><channel><title>x</title><ttl>30</ttl><item><title>y</title></item></channel></rss>`,
			}
		})
		r := start(t, net, firehose.Config{Resources: fleet(1)})
		until(5*time.Hour + time.Minute)
		require.Len(t, net.all(""), 11)
		require.NoError(t, r.stop())
	})
}

// Unusual quiet and its end are events (rule E-11).
func TestE11_QuietIsAnEvent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if c.At > 2*time.Hour && c.At < 6*time.Hour {
				return ok("the same", `"same"`)
			}
			return ok(fmt.Sprint(c.n), "")
		})
		r := start(t, net, firehose.Config{Resources: fleet(1)})
		until(5 * time.Hour)
		require.Equal(t, []string{"quiet"}, r.sink.kinds())
		until(7 * time.Hour)
		require.Equal(t, []string{"quiet", "lively"}, r.sink.kinds())
		require.NoError(t, r.stop())
	})
}

// Everybody who watches gets the events from then on, in order.
func TestWatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if c.n%2 == 1 {
				return status(500)
			}
			return ok("x", "")
		})
		r := start(t, net, firehose.Config{Resources: fleet(1)})
		var got [2]taken
		for i := range got {
			events := r.Watch(t.Context())
			go func() {
				for e := range events {
					got[i].observe(e)
				}
			}()
		}
		until(20 * time.Minute)
		require.Greater(t, len(got[0].kinds()), 10)
		require.Equal(t, r.sink.kinds(), got[0].kinds())
		require.Equal(t, got[0].kinds(), got[1].kinds())
		got[0].mu.Lock()
		first := append([]firehose.Event(nil), got[0].events...)
		got[0].mu.Unlock()
		for _, e := range first {
			require.Equal(t, "https://a.test/0", e.Resource.URI)
			require.Equal(t, "https://a.test", e.Scope.Origin)
		}
		slow := r.Watch(t.Context())
		until(30 * time.Hour)
		for e := range slow {
			require.NotZero(t, e.Missed, "the oldest were dropped")
			break
		}
		require.Equal(t, "failing", got[1].kinds()[0])
		require.NoError(t, r.stop())
	})
}
