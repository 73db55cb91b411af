package firehose_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// busiest is the most requests in any span of that length.
func busiest(calls []call, span time.Duration) (most int) {
	first := 0
	for i := range calls {
		for calls[i].At-calls[first].At >= span {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// GitHub allows 900 points a minute, of which a request costs one, and tells so in
// no answer: no minute has more, however fast answers come and however many may
// be in flight, unless the user declares a rate.
func TestG10_NoMoreThan900PointsAMinute(t *testing.T) {
	for name, c := range map[string]struct {
		profile resource.Profile
		within  bool
	}{
		"by default":  {resource.Profile{}, true},
		"in parallel": {resource.Profile{Concurrency: 8}, true},
		"declared":    {resource.Profile{Limit: resource.Limit{Requests: 50, Per: time.Second}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newScript(func(c call) reply {
					r := quota(ok(fmt.Sprint(c.n), ""), "core", 100_000, 90_000, time.Hour)
					r.slow = 10 * time.Millisecond
					return r
				})
				r := start(t, net, firehose.Config{Resources: many(100, ""), Profiles: map[string]resource.Profile{"": c.profile}, Workers: 64})
				until(2 * time.Minute)
				most := busiest(net.all(""), time.Minute)
				require.Equal(t, c.within, most <= 900, "%d in a minute", most)
				require.Greater(t, most, 890, "and what is allowed is used")
				require.NoError(t, r.stop())
			})
		})
	}
}

// GitHub allows 90 seconds of computing a minute, to be estimated by the times of
// answers: while they come one at a time, these can't be more than the time that
// passes and one answer that began before.
func TestG10_AnswersTakeNoLongerThanTimePasses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const longest = firehose.DefaultRequestTimeout - time.Millisecond
		slow := func(c call) time.Duration { return time.Duration(1+c.At%17) * longest / 17 }
		net := newScript(func(c call) reply {
			r := quota(ok(fmt.Sprint(c.n), ""), "core", 100_000, 90_000, time.Hour)
			r.slow = slow(c)
			return r
		})
		r := start(t, net, firehose.Config{Resources: many(50, ""), Workers: 64})
		until(2 * time.Hour)
		calls := net.all("")
		require.Greater(t, len(calls), 200)
		for i := range calls {
			busy, end := time.Duration(0), calls[i].At+slow(calls[i])
			for j := i; j >= 0; j-- { // those that ended in the minute before this one did
				if ended := calls[j].At + slow(calls[j]); ended > end-time.Minute && ended <= end {
					busy += slow(calls[j])
				}
			}
			require.LessOrEqual(t, busy, 90*time.Second, "in the minute until %v", end)
		}
		require.NoError(t, r.stop())
	})
}

// Once an answer has said to stay away, nothing leaves before it is over: not from
// any of 64 workers, for any of a thousand resources, of which hundreds were let out
// already and stand in the requests queue.
func TestG16_NothingLeavesWhileParked(t *testing.T) {
	const told, slow = 10 * time.Second, time.Second
	hub := func(r reply) reply { return quota(r, "core", 1e7, 9e6, time.Hour) }
	plain := func(r reply) reply { return r }
	for name, c := range map[string]struct {
		as    func(reply) reply
		reply reply
		wait  time.Duration
	}{
		"secondary":   {hub, hub(status(403, "Retry-After", "600")), 600 * time.Second},
		"primary":     {hub, quota(status(403), "core", 1e7, 0, 11*time.Minute), 650 * time.Second},
		"a minute":    {hub, reply{status: 429, body: "secondary rate limit"}, time.Minute},
		"429":         {plain, status(429, "Retry-After", "600"), 600 * time.Second},
		"429, a word": {plain, status(429), time.Minute},
		"503":         {plain, status(503, "Retry-After", "600"), 600 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				said := false
				net := newScript(func(got call) reply {
					r := c.as(ok(fmt.Sprint(got.n), ""))
					if !said && got.At >= told {
						said, r = true, c.reply
					}
					r.slow = slow
					return r
				})
				specs := fleet(1000)
				for i := range specs {
					specs[i].Interval = time.Second
				}
				profile := resource.Profile{Concurrency: 400}
				r := start(t, net, firehose.Config{Resources: specs, Profiles: map[string]resource.Profile{"": profile}, Workers: 64})
				until(told + c.wait + 40*time.Second)
				var next time.Duration
				parked, before := 0, 0
				for _, call := range net.all("") {
					switch {
					case call.At < told:
						before++
					case call.At <= told+slow+70*time.Millisecond:
						// it left before the answer came
					case call.At < told+slow+c.wait:
						parked++
					case next == 0:
						next = call.At
					}
				}
				require.Greater(t, before, 100, "it was busy until then")
				require.Zero(t, parked)
				require.NotZero(t, next, "it comes back")
				require.NoError(t, r.stop())
			})
		})
	}
}

// A request that was let out before the answer to one of its kin told that nothing
// is left is not sent after it.
func TestG16_KinCountWhenTheRequestIsSent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			r := quota(ok(fmt.Sprint(c.n), ""), "core", 5000, 4000, time.Hour)
			if strings.Contains(c.URL, "/search/") {
				r = quota(ok(fmt.Sprint(c.n), ""), "search", 1, 0, time.Hour)
			}
			r.slow = time.Second
			return r
		})
		specs := []resource.Spec{{URI: "https://api.github.com/core", Interval: time.Hour}}
		for i := range 20 {
			specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://api.github.com/search/%d", i), Interval: time.Minute})
		}
		r := start(t, net, firehose.Config{Resources: specs, Workers: 1, Profiles: map[string]resource.Profile{"": {Concurrency: 8}}})
		until(50 * time.Minute)
		require.Len(t, net.all(""), 2)
		require.NoError(t, r.stop())
	})
}

// What a profile adds to requests is for the origin of its resources: a redirect to
// another one carries none of it but what says which content is wanted, and by whom.
func TestG18_HeadersOfAProfileStayAtTheirOrigin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			switch c.URL {
			case uriA:
				return status(302, "Location", "/b")
			case uriB:
				return status(302, "Location", uriC)
			}
			if c.Header.Get("If-None-Match") != "" {
				return status(304)
			}
			return ok("there", `"1"`)
		})
		r := start(t, net, firehose.Config{
			Resources: []resource.Spec{{URI: uriA, Profile: "p", MediaType: ""}},
			Profiles: map[string]resource.Profile{"p": {Header: map[string][]string{
				"X-Vault-Key": {"made up"}, "User-Agent": {"me"}, "Accept": {"text/html"}, "Accept-Language": {"de"},
			}}},
		})
		until(5 * time.Minute)
		for _, uri := range []string{uriA, uriB} {
			for _, c := range net.all(uri) {
				require.Equal(t, "made up", c.Header.Get("X-Vault-Key"), "inside the origin")
			}
		}
		require.NotEmpty(t, net.all(uriC))
		for _, c := range net.all(uriC) {
			require.NotContains(t, c.Header, "X-Vault-Key")
			require.Equal(t, "me", c.Header.Get("User-Agent"))
			require.Equal(t, "text/html", c.Header.Get("Accept"))
			require.Equal(t, "de", c.Header.Get("Accept-Language"))
		}
		require.Equal(t, []string{"there"}, r.sink.bodies(), "and validators go on to work")
		require.NoError(t, r.stop())
	})
}

// Two credentials of one origin, whose answers cross: each teaches the one that
// sent it, and no other.
func TestD5_AnAnswerTeachesTheCredentialThatSentIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		left := map[string]int{"Bearer 1111": 20, "Bearer 2222": 3000}
		net := newScript(func(c call) reply {
			who := c.Header.Get("Authorization")
			left[who] = max(0, left[who]-1)
			r := quota(ok(fmt.Sprint(c.n), ""), "core", 5000, left[who], time.Hour)
			r.slow = time.Duration(c.At%7) * 100 * time.Millisecond
			return r
		})
		r := start(t, net, firehose.Config{
			Resources: append(many(10, "one"), many(10, "two")...), Workers: 32,
			Profiles: map[string]resource.Profile{"one": {Credential: "one", Concurrency: 4}, "two": {Credential: "two", Concurrency: 4}},
			Tokens: resource.Keyring(
				resource.Fixed("one", bearer(t, "1111"), "https://api.github.com"), resource.Fixed("two", bearer(t, "2222"), "https://api.github.com"),
			),
		})
		until(10 * time.Minute)
		sent := map[string]int{}
		for _, c := range net.all("") {
			sent[c.Header.Get("Authorization")]++
		}
		require.Equal(t, 20, sent["Bearer 1111"], "until nothing of its own was left")
		require.Equal(t, 3000, sent["Bearer 2222"])
		require.NotContains(t, r.sink.kinds(), "limited")
		for _, b := range r.Stats().Buckets {
			if b.Key.Name != "" {
				require.Zero(t, b.Remaining, b.Key.String())
			}
		}
		require.NoError(t, r.stop())
	})
}

// A body that changes sooner than the origin's poll interval is no licence to ask
// sooner, nor is a user who wishes it.
func TestE9_AQuickBodyIsNoLicence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			version := fmt.Sprintf(`"%d"`, c.At/(10*time.Second))
			if c.Header.Get("If-None-Match") == version {
				return status(304, "X-Poll-Interval", "60")
			}
			return reply{body: version, header: map[string]string{"Etag": version, "X-Poll-Interval": "60"}}
		})
		r := start(t, net, firehose.Config{Resources: []resource.Spec{{URI: "https://api.github.com/events", Interval: time.Second}}})
		until(time.Hour)
		calls := net.all("")
		require.Len(t, calls, 61)
		for i := 1; i < len(calls); i++ {
			require.GreaterOrEqual(t, calls[i].At-calls[i-1].At, time.Minute)
		}
		require.Len(t, r.sink.bodies(), 61, strings.Join(r.sink.kinds(), " "))
		require.NoError(t, r.stop())
	})
}

// Only GitHub says that a 304 costs nothing. At any other origin one that tells
// nothing of the quota counts, whatever it may have cost.
func TestG5_A304IsFreeAtGitHubAlone(t *testing.T) {
	for _, origin := range []struct {
		uri  string
		want int
	}{{"https://api.github.com/events", 121}, {"https://api.test/events", 3}} {
		bubble(t, func(t *testing.T) {
			net := newScript(func(c call) reply {
				if c.n > 0 {
					return status(304, "ETag", `"1"`)
				}
				r := ok("x", `"1"`)
				r.header["X-RateLimit-Limit"], r.header["X-RateLimit-Remaining"], r.header["X-RateLimit-Reset"] = "3", "2", unix(time.Hour)
				return r
			})
			token, err := resource.BearerToken("secret")
			require.NoError(t, err)
			r := start(t, net, firehose.Config{
				Resources: []resource.Spec{{URI: origin.uri, Interval: time.Second}},
				Tokens:    resource.Fixed("c", token, origin.uri),
			})
			pass(2 * time.Minute)
			require.Len(t, net.all(""), origin.want)
			require.NoError(t, r.stop())
		})
	}
}
