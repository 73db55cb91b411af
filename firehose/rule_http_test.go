package firehose_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// Validators are for requests like the one that they came for: a restart that adds
// a header asks without them, and one that changes the user agent does so only
// where the answer varies by that.
func TestH15_ValidatorsAreForTheSameRequest(t *testing.T) {
	agent := func(name string) http.Header { return http.Header{"User-Agent": {name}} }
	for name, c := range map[string]struct {
		vary          string
		before, after http.Header
		conditional   bool
	}{
		"the same":         {"User-Agent, Accept-Language", agent("one"), agent("one"), true},
		"another agent":    {"Accept-Encoding", agent("one"), agent("two"), true},
		"agent, varied":    {"accept, user-agent", agent("one"), agent("two"), false},
		"another language": {"", http.Header{"Accept-Language": {"en"}}, http.Header{"Accept-Language": {"de"}}, false},
		"one more":         {"", nil, http.Header{"X-Version": {"2"}}, false},
		"one less":         {"", http.Header{"X-Version": {"2"}}, nil, false},
		"all of it":        {"*", nil, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := db.NewMemory()
				net := newScript(func(c2 call) reply {
					r := ok(fmt.Sprint(c2.n), `"tag"`)
					r.header["Vary"] = c.vary
					return r
				})
				serve := func(header http.Header) *rig {
					return start(t, net, firehose.Config{
						DB: store, Resources: []resource.Spec{{URI: uriA, Profile: "p"}}, Profiles: map[string]resource.Profile{"p": {Header: header}},
					})
				}
				r := serve(c.before)
				until(30 * time.Second)
				require.NoError(t, r.stop())
				r = serve(c.after)
				until(90 * time.Second)
				require.NoError(t, r.stop())
				calls := net.all(uriA)
				require.Len(t, calls, 2)
				require.Equal(t, c.conditional, calls[1].Header.Get("If-None-Match") == `"tag"`)
			})
		})
	}
}

// An overloaded host that says for how long is asked by nobody until then, whichever
// credential it is of, once several resources were told.
func TestS503_RetryAfterIsForTheHost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		outage := func(at time.Duration) bool { return at >= 5*time.Minute && at < 25*time.Minute }
		net := newScript(func(c call) reply {
			if outage(c.At) {
				return status(503, "Retry-After", "1200")
			}
			return ok("x", `"1"`)
		})
		config := firehose.Config{Profiles: map[string]resource.Profile{}}
		var sources []resource.TokenSource
		for i := range 12 { // credentials, each with a scope of its own at the host
			name := fmt.Sprintf("key-%d", i)
			sources = append(sources, fixed(t, name))
			config.Profiles[name] = resource.Profile{Credential: name}
			for j := range 3 {
				config.Resources = append(config.Resources, resource.Spec{URI: fmt.Sprintf("https://a.test/%d", j), Profile: name, Interval: time.Duration(10_000+700*i+100*j) * time.Millisecond})
			}
		}
		config.Tokens = resource.Keyring(sources...)
		r := start(t, net, config)
		until(25 * time.Minute)
		told := 0
		for _, c := range net.all("") {
			if outage(c.At) {
				told++
				require.Less(t, c.At, 5*time.Minute+20*time.Second, "nothing before the instant that was told")
			}
		}
		require.LessOrEqual(t, told, 6, "of twelve credentials: those who were told, until the host counts as down")
		require.Equal(t, 1, count(r.sink.kinds(), "host-down"))
		until(35 * time.Minute)
		require.Equal(t, 1, count(r.sink.kinds(), "host-up"))
		require.NoError(t, r.stop())
	})
}

// However much is said to remain, and however soon it is said to be back: the
// window of the policy over its quota is the pace, but for what may be caught up
// with.
func TestI9_ThePolicyIsThePace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			return reply{body: fmt.Sprint(c.n), slow: time.Millisecond, header: map[string]string{
				"RateLimit-Policy": `"default";q=10000;w=1000`, "RateLimit": `"default";r=10000;t=10`,
			}}
		})
		specs := fleet(400)
		for i := range specs {
			specs[i].Interval = time.Second
		}
		r := start(t, net, firehose.Config{Resources: specs, Workers: 64, Profiles: map[string]resource.Profile{"": {Concurrency: 64}}})
		until(10 * time.Minute)
		calls := net.all("")
		burst := int(resource.MaxLimitJitter.Seconds() * 10)
		for _, span := range []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute} {
			require.LessOrEqual(t, busiest(calls, span), burst+int(span.Seconds()*10)+1, "in %v", span)
		}
		late := 0
		for _, c := range calls {
			if c.At >= 5*time.Minute {
				late++
			}
		}
		require.InDelta(t, 3000, late, 10, "ten a second, all of it used")
		require.NoError(t, r.stop())
	})
}

// Stripe tells no numbers: the least of the rates that it documents is kept, over
// all endpoints, unless the user declares another.
func TestLStripe_TheDocumentedRateIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		limit resource.Limit
		every time.Duration
	}{
		"documented": {resource.Limit{}, 40 * time.Millisecond},
		"declared":   {resource.Limit{Requests: 80, Per: time.Second}, 12500 * time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newScript(func(c call) reply { return reply{body: fmt.Sprint(c.n), slow: 5 * time.Millisecond} })
				var specs []resource.Spec
				for i := range 100 {
					specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://api.stripe.com/v1/kind-%d/x", i%7) + fmt.Sprint(i), Interval: time.Second})
				}
				r := start(t, net, firehose.Config{Resources: specs, Workers: 32, Profiles: map[string]resource.Profile{"": {Limit: c.limit}}})
				until(time.Minute)
				calls := net.all("")
				for i := 1; i < len(calls); i++ {
					require.GreaterOrEqual(t, calls[i].At-calls[i-1].At, c.every-time.Microsecond, "request %d", i)
				}
				require.Greater(t, len(calls), int(0.9*float64(time.Minute/c.every)))
				require.NoError(t, r.stop())
			})
		})
	}
}

// What of a rejection looks like a page is published to nobody, and what it says of
// its own interval counts for nothing.
func TestD16_BodiesOfRejectionsArePublishedToNobody(t *testing.T) {
	const feed = `<?xml version="1.0"?><rss version="2.0"><channel><title>x</title><ttl>1440</ttl><item><guid>1</guid><title>y</title></item></channel></rss>`
	for _, code := range []int{400, 401, 403, 404, 408, 418, 429, 451, 500, 502, 503, 504} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newScript(func(c call) reply {
					r := reply{body: feed, header: map[string]string{"Content-Type": "application/rss+xml", "Etag": `"rejected"`}}
					if c.n == 1 {
						r.status = code
					} else {
						r.header["Etag"], r.body = `"good"`, "<rss/>"
					}
					return r
				})
				r := start(t, net, firehose.Config{Resources: fleet(1)})
				until(10 * time.Minute)
				require.Equal(t, []string{"<rss/>"}, r.sink.bodies())
				calls := net.all("")
				for _, c := range calls[1:] {
					require.Equal(t, `"good"`, c.Header.Get("If-None-Match"))
				}
				if code != 400 && code != 403 && code != 451 {
					require.Greater(t, len(calls), 3, "not a day later")
				}
				require.NoError(t, r.stop())
			})
		})
	}
}

// However a poll ends, its body is closed, and so its connection is free again.
func TestD17_EveryBodyIsClosed(t *testing.T) {
	replies := []reply{
		ok("x", `"1"`), status(304), status(302, "Location", "/there"), status(302), status(403), status(404), status(429), status(500), status(503),
		{body: "far too long for this"}, {body: "cut", tail: errReset}, {body: "not gzip", header: map[string]string{"Content-Encoding": "gzip"}},
		{status: 404, body: "an endless page", trickle: time.Hour}, {body: "endless", trickle: time.Hour},
		{status: 429, body: "an endless rejection", trickle: time.Hour}, {status: 302, body: "endless", trickle: time.Hour, header: map[string]string{"Location": uriC}},
	}
	for i, answer := range replies {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newScript(func(c call) reply {
					if c.URL == uriA {
						return answer
					}
					return ok("x", "")
				})
				r := start(t, net, firehose.Config{Resources: resource.List(uriA), MaxBody: 8})
				until(10 * time.Minute)
				require.NotEmpty(t, net.all(uriA))
				require.NoError(t, r.stop())
				net.mu.Lock()
				defer net.mu.Unlock()
				require.Zero(t, net.inFlight)
			})
		})
	}
}
