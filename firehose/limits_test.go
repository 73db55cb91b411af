package firehose_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// many lists n resources of an origin, polled each second.
func many(n int, profile string) (specs []resource.Spec) {
	for i := range n {
		specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://api.github.com/%s%d", profile, i), Profile: profile, Interval: time.Second})
	}
	return specs
}

// quota is the header of an origin that speaks GitHub's dialect.
func quota(r reply, name string, limit, remaining int, reset time.Duration) reply {
	if r.header == nil {
		r.header = map[string]string{}
	}
	r.header["X-RateLimit-Resource"] = name
	r.header["X-RateLimit-Limit"] = fmt.Sprint(limit)
	r.header["X-RateLimit-Remaining"] = fmt.Sprint(remaining)
	r.header["X-RateLimit-Reset"] = unix(reset)
	return r
}

// After a primary limit no request of that bucket leaves before the reset and a
// second, from any of 64 workers with 50 resources (rules G-12, G-16, D-14).
//
// Peer gofri-1: a limit is noted only once a request was rejected: a 200 that
// says that nothing remains is ignored.
// Peer octokit-2: the quota that answers tell is not looked at before a request
// fails.
func TestG16_AllWorkersWaitForTheReset(t *testing.T) {
	for _, slow := range []time.Duration{0, 300 * time.Millisecond} {
		bubble(t, func(t *testing.T) {
			var mu sync.Mutex
			left, reset := 40, 100*time.Second
			net := newScript(func(c call) reply {
				mu.Lock()
				defer mu.Unlock()
				if at() >= reset {
					left, reset = 40, reset+100*time.Second
				}
				r := ok(c.URL+fmt.Sprint(c.n), "")
				if left == 0 {
					r = status(403)
				}
				left = max(0, left-1)
				r.slow = slow
				return quota(r, "core", 40, left, reset)
			})
			r := start(t, net, firehose.Config{
				Resources: many(50, "p"), Profiles: map[string]resource.Profile{"p": {Concurrency: 64}}, Workers: 64,
			})
			until(420 * time.Second)
			calls := net.all("")
			var windows [5]int
			for _, c := range calls {
				windows[c.At/(100*time.Second)]++
				if into := c.At % (100 * time.Second); c.At > 100*time.Second {
					require.GreaterOrEqual(t, into, time.Second, "at %v", c.At)
				}
			}
			require.Equal(t, []int{40, 40, 40, 40}, windows[:4], "all that a window has, and none more")
			asked := map[string]int{}
			for _, c := range calls {
				asked[c.URL]++
			}
			require.Len(t, asked, 50)
			for url, n := range asked {
				require.GreaterOrEqual(t, n, 2, "%s starves", url)
			}
			require.Zero(t, r.Stats().Outcomes["limited"], "nobody was told off")
			require.NoError(t, r.stop())
		})
	}
}

// The origin says 403 with nothing left out of the blue: the same holds.
//
// Peer go-github-12: to wait is declined by design: the caller gets an error,
// and has to come back at the right time.
// Peer octokit-3: a rejected request is tried again only if a callback of the
// program says so.
func TestG12_ARejectionStopsItsBucket(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if at() < 10*time.Second {
				return quota(ok("x", ""), "core", 5000, 4000, time.Hour)
			}
			if at() < time.Hour {
				return quota(status(403), "core", 5000, 0, time.Hour)
			}
			return quota(ok("x", ""), "core", 5000, 4000, 2*time.Hour)
		})
		r := start(t, net, firehose.Config{Resources: many(50, ""), Workers: 64})
		until(10*time.Minute - 1)
		rejected := 0
		for _, c := range net.all("") {
			if c.At >= 10*time.Second {
				rejected++
			}
		}
		require.Equal(t, 1, rejected, "one at a time, and nobody after the first rejection")
		require.EqualValues(t, 1, r.Stats().Events["limited"])
		e := r.explain("https://api.github.com/7")
		require.Equal(t, resource.WaitingForReset, e.State)
		require.Equal(t, resource.ReasonPrimary, e.Why)
		require.Contains(t, e.String(), "primary rate limit: nothing remains before the reset [G-12]; bucket https://api.github.com#core")
		until(time.Hour + time.Second - 1)
		require.Len(t, net.all(""), 10*1+1+lenBefore(net, 10*time.Second)-10)
		until(time.Hour + 40*time.Second)
		require.Greater(t, len(net.all("")), 100)
	})
}

func lenBefore(net *script, d time.Duration) (n int) {
	for _, c := range net.all("") {
		if c.At < d {
			n++
		}
	}
	return n
}

// A secondary limit parks the whole credential, whatever the bucket; another
// credential goes on (rules G-13, G-14).
//
// Peer gofri-6: a secondary limit without any header is handed through to the
// caller, and nothing is parked.
// Peer gofri-10: a secondary limit that shows nothing remaining is taken for
// the primary one, and blocks the bucket for up to an hour.
func TestG14_ASecondaryLimitParksTheCredential(t *testing.T) {
	for name, c := range map[string]struct {
		reply       reply
		least, most time.Duration
	}{
		"Retry-After": {status(403, "Retry-After", "120"), 120 * time.Second, 132 * time.Second},
		"message":     {reply{status: 403, body: `{"message":"You have exceeded a secondary rate limit."}`}, 60 * time.Second, 66 * time.Second},
		"429":         {reply{status: 429, body: "slow down"}, 60 * time.Second, 66 * time.Second},
		"packed": {reply{status: 403, header: map[string]string{"Content-Encoding": "gzip"}, body: gzipped(`{"message":"You have exceeded a secondary rate limit."}`)},
			60 * time.Second, 66 * time.Second},
		"link": {reply{status: 403, body: `{"documentation_url":"https://docs.github.com/rest/overview/rate-limits#secondary-rate-limits"}`},
			60 * time.Second, 66 * time.Second},
		"user id":       {quota(reply{status: 403, body: "API rate limit exceeded for user ID 1"}, "core", 5000, 17, time.Hour), 60 * time.Second, 66 * time.Second},
		"slow body":     {reply{status: 403, body: `You have exceeded a secondary rate limit`, trickle: 5 * time.Second}, 65 * time.Second, 71 * time.Second},
		"remaining 0":   {quota(reply{status: 403, body: "secondary rate limit"}, "core", 5000, 0, 5*time.Minute+20*time.Second), 5*time.Minute + time.Second, 5*time.Minute + 32*time.Second},
		"remaining 0 R": {quota(status(403, "Retry-After", "30", "Gh-Limited-By", "x"), "core", 5000, 0, 10*time.Minute), 30 * time.Second, 33 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				const told = 20 * time.Second
				net := newScript(func(got call) reply {
					other := strings.Contains(got.URL, "two")
					if !other && at() >= told && got.URL == "https://api.github.com/one3" && at() < told+2*time.Second {
						return c.reply
					}
					return quota(ok(fmt.Sprint(got.n), ""), "core", 5000, 4000, time.Hour)
				})
				tokens := resource.Keyring(
					resource.Fixed("one", bearer(t, "1111"), "https://api.github.com"), resource.Fixed("two", bearer(t, "2222"), "https://api.github.com"),
				)
				r := start(t, net, firehose.Config{
					Resources: append(many(10, "one"), many(10, "two")...), Tokens: tokens, Workers: 64,
					Profiles: map[string]resource.Profile{"one": {Credential: "one", Concurrency: 8}, "two": {Credential: "two", Concurrency: 8}},
				})
				until(told + c.most + 30*time.Second)
				var times []time.Duration
				others := 0
				for _, c := range net.all("") {
					switch {
					case strings.Contains(c.URL, "one"):
						times = append(times, c.At)
						require.Equal(t, "Bearer 1111", c.Header.Get("Authorization"))
					case c.At >= told && c.At < told+c.At/10:
						others++
						require.Equal(t, "Bearer 2222", c.Header.Get("Authorization"))
					}
				}
				require.Positive(t, others, "the other credential goes on")
				i := slices.IndexFunc(times, func(d time.Duration) bool { return d > told+time.Second/2 })
				require.GreaterOrEqual(t, times[i]-told, c.least)
				require.LessOrEqual(t, times[i]-told, c.most+time.Second)
				require.Greater(t, len(times), 300, "it comes back")
				require.NoError(t, r.stop())
			})
		})
	}
}

func bearer(t *testing.T, secret string) resource.Token {
	t.Helper()
	token, err := resource.BearerToken(secret)
	require.NoError(t, err)
	return token
}

// While the body of a rejection is on its way nobody knows which limit it is:
// nothing is sent meanwhile.
func TestG16_NothingLeavesWhileARejectionIsRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if at() >= 10*time.Second && at() < 20*time.Second {
				return reply{status: 429, body: "too many", trickle: 8 * time.Second, header: map[string]string{"Retry-After": "100"}}
			}
			return ok(fmt.Sprint(c.n), "")
		})
		var specs []resource.Spec
		for i := range 12 {
			specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://a.test/%d", i), Interval: 10*time.Second + time.Duration(i)*100*time.Millisecond})
		}
		start(t, net, firehose.Config{Resources: specs})
		until(109 * time.Second)
		late := 0
		for _, c := range net.all("") {
			if c.At >= 10*time.Second {
				late++
			}
		}
		require.Equal(t, 1, late)
		until(125 * time.Second)
		require.Greater(t, len(net.all("")), 13)
	})
}

// The strikes of a secondary limit without an instant grow the wait.
//
// Peer octokit-4: the wait after a limit without headers is always a minute,
// and never grows.
func TestG13_WaitsWithoutAnInstantGrow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply { return reply{status: 429} })
		start(t, net, firehose.Config{Resources: resource.List(uriA), Profiles: map[string]resource.Profile{"": {Dialect: "github"}}})
		until(3 * time.Hour)
		times := net.times(uriA)
		for i, base := range []time.Duration{1, 2, 4, 8, 16, 32} {
			require.GreaterOrEqual(t, times[i+1]-times[i], base*time.Minute)
			require.LessOrEqual(t, times[i+1]-times[i], base*time.Minute+min(base*6*time.Second, 30*time.Second))
		}
	})
}

// A rate of the user's own paces an origin that tells none, also over redirects
// of which each is a request.
//
// Peer benthos-2: a fixed window lets twice the rate through where two windows
// meet.
// Peer changedetection-2: there is no delay for a domain.
func TestG10_ADeclaredRatePaces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if c.URL == uriB {
				return status(302, "Location", "/c")
			}
			return ok(c.URL+fmt.Sprint(c.n), "")
		})
		specs := []resource.Spec{{URI: uriB, Interval: time.Second}}
		for i := range 30 {
			specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://a.test/%d", i), Interval: time.Second})
		}
		r := start(t, net, firehose.Config{
			Resources: specs, Profiles: map[string]resource.Profile{"": {Limit: resource.Limit{Requests: 30, Per: time.Minute}}}, Workers: 64,
		})
		until(10 * time.Minute)
		calls := net.all("")
		for i := 1; i < len(calls); i++ {
			require.GreaterOrEqual(t, calls[i].At-calls[i-1].At, 2*time.Second-time.Microsecond, "call %d", i)
		}
		require.GreaterOrEqual(t, len(calls), 295, "at the rate that was asked for")
		asked := map[string]int{}
		for _, c := range calls {
			asked[c.URL]++
		}
		require.Len(t, asked, 32)
		for i := range 30 {
			require.InDelta(t, 9.5, asked[specs[i+1].URI], 2, "fair: %v", asked)
		}
		require.GreaterOrEqual(t, asked["https://a.test/c"], 4, "the redirect is followed when its turn comes")
		require.Zero(t, r.Stats().Outcomes["failed"])
		require.NoError(t, r.stop())
	})
}

// Concurrency: GitHub one at a time, others four, as the user says where the
// user does; of several profiles of a scope the strictest counts.
//
// Peer octokit-1: requests are put into fixed groups, and ten go at once to a
// host that asks for one at a time.
func TestG11_ConcurrencyByDialectAndByTheUser(t *testing.T) {
	for name, c := range map[string]struct {
		origin   string
		profiles map[string]resource.Profile
		want     int
	}{
		"github":    {"https://api.github.com", map[string]resource.Profile{"p": {}}, 1},
		"plain":     {"https://a.test", map[string]resource.Profile{"p": {}}, 4},
		"user":      {"https://a.test", map[string]resource.Profile{"p": {Concurrency: 9}}, 9},
		"hub user":  {"https://api.github.com", map[string]resource.Profile{"p": {Concurrency: 7}}, 7},
		"strictest": {"https://a.test", map[string]resource.Profile{"p": {Concurrency: 9}, "q": {Concurrency: 2}}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newScript(func(call) reply {
					return reply{body: "x", slow: 500 * time.Millisecond, trickle: 500 * time.Millisecond}
				})
				config := firehose.Config{Profiles: c.profiles, Workers: 32}
				names := slices.Sorted(func(yield func(string) bool) {
					for n := range c.profiles {
						if !yield(n) {
							return
						}
					}
				})
				for i := range 40 {
					config.Resources = append(config.Resources, resource.Spec{URI: fmt.Sprintf("%s/%d", c.origin, i), Profile: names[i%len(names)], Interval: time.Second})
				}
				start(t, net, config)
				until(time.Minute)
				require.Equal(t, c.want, net.together())
				require.InDelta(t, 60*c.want, len(net.all("")), float64(3*c.want))
			})
		})
	}
}

// What is reserved is left for other programs (Profile.Reserve).
//
// Peer airbyte-5: its users find that it uses up the whole quota, of which
// their other programs live.
func TestG9_Reserve(t *testing.T) {
	bubble(t, func(t *testing.T) {
		left := 100
		net := newScript(func(c call) reply {
			left--
			return quota(ok(fmt.Sprint(left), ""), "core", 100, left, time.Hour)
		})
		r := start(t, net, firehose.Config{Resources: many(5, ""), Profiles: map[string]resource.Profile{"": {Reserve: 60}}})
		until(time.Hour)
		require.Len(t, net.all(""), 40)
		e := r.explain("https://api.github.com/1")
		require.Equal(t, resource.ReasonReserve, e.Why, e.String())
	})
}

// Two buckets of one scope are told apart: one that is exhausted holds up no
// other.
func TestD14_AnExhaustedBucketHoldsUpNoOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if strings.HasSuffix(c.URL, "search") {
				return quota(ok(fmt.Sprint(c.n), ""), "search", 10, max(0, 9-c.n), time.Hour)
			}
			return quota(ok(fmt.Sprint(c.n), ""), "core", 5000, 5000-c.n, time.Hour)
		})
		r := start(t, net, firehose.Config{Resources: append(many(1, ""), resource.Spec{URI: "https://api.github.com/search", Interval: time.Second})})
		until(10*time.Minute - 1)
		require.Len(t, net.all("https://api.github.com/search"), 10)
		require.Len(t, net.all("https://api.github.com/0"), 600)
		s := r.Stats()
		names := map[string]firehose.BucketStats{}
		for _, b := range s.Buckets {
			names[b.Key.String()] = b
		}
		search := names["https://api.github.com#search"]
		require.EqualValues(t, 0, search.Remaining)
		require.EqualValues(t, 10, search.Limit)
		require.WithinDuration(t, epoch.Add(time.Hour), search.Reset, time.Second)
		require.Equal(t, 1, search.Line)
		require.True(t, search.Known)
		require.EqualValues(t, 4401, names["https://api.github.com#core"].Remaining)
		require.NoError(t, r.stop())
	})
}

// An origin that invents a bucket for each answer does not fill the memory, and
// a name that no store can keep is none.
func TestBucketNamesAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			name := fmt.Sprintf("bucket-%d", c.n)
			if c.n%2 == 1 {
				name = strings.Repeat("\xff", c.n%100+1)
			}
			return quota(ok(fmt.Sprint(c.n), ""), name, 5000, 4000, time.Hour)
		})
		r := start(t, net, firehose.Config{Resources: resource.List(uriA), Profiles: map[string]resource.Profile{"": {}}})
		synctest.Wait()
		require.NoError(t, r.SetInterval(context.Background(), idOf(t, uriA), time.Second))
		until(2 * time.Hour)
		require.Greater(t, len(net.all(uriA)), 100)
		require.LessOrEqual(t, len(r.Stats().Buckets), 257)
		require.NoError(t, r.stop())
	})
}
