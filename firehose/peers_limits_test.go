package firehose_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// counted is an origin of one quota whose answers come late and in any order.
// What a request costs is settled when it arrives; that is told when its answer
// has been on the way for as long as chance wants.
type counted struct {
	rng    *rand.Rand
	limit  int
	long   time.Duration
	sent   map[int]int // by window
	ups    bool        // requests are late, too
	lost   bool        // and so some answers get lost
	over   int
	inside int // answers that were overtaken by a later one of the same window
	last   time.Duration
}

func (o *counted) answer(c call) reply {
	now := c.At
	if o.ups {
		now += time.Duration(o.rng.IntN(300)) * time.Millisecond
	}
	window := int(now / o.long)
	o.sent[window]++
	left := o.limit - o.sent[window]
	r := ok(fmt.Sprint(c.n), "")
	if left < 0 {
		o.over++
		r = status(403)
	}
	r.slow = now - c.At + time.Duration(o.rng.IntN(4000))*time.Millisecond
	r.trickle = time.Duration(o.rng.IntN(500)) * time.Millisecond
	if o.lost && o.rng.IntN(40) == 0 {
		r.err = errReset
	}
	if c.At+r.slow < o.last {
		o.inside++
	}
	o.last = c.At + r.slow
	return quota(r, "core", o.limit, max(0, left), time.Duration(window+1)*o.long)
}

// However 64 workers and the order of answers mix, a bucket of 100 a window never
// sends more, and uses all of it (rules D-2, D-6, G-16).
//
// Peer go-github-2: answers that come late overwrite what newer ones have told.
// Peer url-frontier-1: whether the delay is over was asked first and noted later,
// so that two clients got the same turn.
// Peer octokit-2: the quota that answers tell is not looked at before a request
// fails.
func TestD6_APoolOf64NeverSendsMoreThan100AWindow(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				origin := &counted{
					rng: rand.New(rand.NewPCG(seed, 9)), limit: 100, long: time.Minute, sent: map[int]int{}, ups: seed%2 == 1, lost: seed%3 == 2,
				}
				net := newScript(origin.answer)
				r := start(t, net, firehose.Config{
					Resources: many(300, "p"), Profiles: map[string]resource.Profile{"p": {Concurrency: 64}}, Workers: 64, Seed: seed + 1,
				})
				until(10 * time.Minute)
				net.do(func() {
					require.Zero(t, origin.over, "beyond the limit: %v", origin.sent)
					require.Greater(t, origin.inside, 100, "answers overtake each other")
					total := 0
					for window := range 10 {
						require.LessOrEqual(t, origin.sent[window], 100)
						if !origin.lost { // without an answer after a reset a minute is waited for the next
							require.GreaterOrEqual(t, origin.sent[window], 95, "window %d is used", window)
						}
						total += origin.sent[window]
					}
					require.Greater(t, total, 500)
				})
				require.Greater(t, net.together(), 30, "many at once")
				require.LessOrEqual(t, net.together(), 64)
				require.Zero(t, r.Stats().Outcomes["limited"])
				require.NoError(t, r.stop())
			})
		})
	}
}

// What a request draws from is what its answer says, whatever its path looks
// like, and a name that no list has is a bucket like any other.
//
// Peer gofri-2: what is asked before a request goes by a form of the path that is
// empty for ordinary addresses, so that everything counts as the main bucket.
// Peer gofri-3: that table of paths has some of them misspelt.
// Peer gofri-4: a bucket that the table does not know is thrown away.
// Peer go-github-3: the bucket is guessed from the path, although the answer has
// been parsed and names it.
func TestLGitHub_NoBucketIsGuessedFromAPath(t *testing.T) {
	bubble(t, func(t *testing.T) {
		buckets := map[string]string{
			"/search/code": "core", "/audit_log": "audit_log_streaming_2", "/a%2Fb": "never_heard_of", "/rate_limit": "search", "/": "integration_manifest",
		}
		spent := map[string]int{}
		net := newScript(func(c call) reply {
			name := buckets[strings.TrimPrefix(c.URL, "https://api.github.com")]
			if name == "core" {
				return quota(ok(fmt.Sprint(c.n), ""), name, 5000, 4000, time.Hour)
			}
			spent[name]++
			return quota(ok(fmt.Sprint(c.n), ""), name, 3, max(0, 3-spent[name]), time.Hour)
		})
		var specs []resource.Spec
		for path := range buckets {
			specs = append(specs, resource.Spec{URI: "https://api.github.com" + path, Interval: time.Minute})
		}
		slices.SortFunc(specs, func(a, b resource.Spec) int { return strings.Compare(a.URI, b.URI) })
		r := start(t, net, firehose.Config{Resources: specs})
		until(60*time.Minute - 1)
		for path, name := range buckets {
			e := r.explainSpec(resource.Spec{URI: "https://api.github.com" + path})
			require.Equal(t, "https://api.github.com#"+name, e.Bucket, path)
			if name == "core" {
				require.Equal(t, 60, len(net.times("https://api.github.com"+path)))
			} else {
				require.Equal(t, 3, len(net.times("https://api.github.com"+path)), "%s: and no more before the reset", path)
			}
		}
		require.NoError(t, r.stop())
	})
}

// Two limits that overlap: the end of the shorter one is not the end of both.
//
// Peer gofri-5: the timer of an older limit clears whatever is noted when it
// fires, and so forgets a newer one.
// Peer go-github-5: there is one note of secondary limits, which the latest
// answer overwrites.
func TestD8_TheEndOfAnOldParkEndsNoNewerOne(t *testing.T) {
	for name, waits := range map[string][2]int{"the longer one second": {60, 300}, "the longer one first": {300, 60}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newScript(func(c call) reply {
					if c.At < 10*time.Second || c.At > 100*time.Second && c.n > 1 {
						return ok(fmt.Sprint(c.n), "")
					}
					i := 0
					if c.URL == uriB {
						i = 1
					}
					r := status(429, "Retry-After", fmt.Sprint(waits[i]))
					r.slow = time.Duration(1+i) * time.Second
					return r
				})
				r := start(t, net, firehose.Config{Resources: []resource.Spec{{URI: uriA, Interval: 10 * time.Second}, {URI: uriB, Interval: 10 * time.Second}}})
				until(5 * time.Minute)
				require.Len(t, net.all(""), 4, "both were on their way, and nobody after them")
				until(6 * time.Minute)
				require.Greater(t, len(net.all("")), 8)
				require.NoError(t, r.stop())
			})
		})
	}
}

// An origin whose clock is wrong refuses until its own reset, and at that very
// second still: it is met by its clock and a second later, without one refusal.
//
// Peer octokit-5: with a clock that differs, or at the second of the reset,
// clients came too early and were refused again.
func TestG12_AnOriginWithAnotherClockIsNeverMetEarly(t *testing.T) {
	for _, skew := range []time.Duration{-3 * time.Hour, -40 * time.Second, -900 * time.Millisecond, 900 * time.Millisecond, 40 * time.Second, 3 * time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				left, reset := 10, 5*time.Minute+skew // on the origin's clock
				net := newScript(func(c call) reply {
					its := c.At + skew
					if its > reset+500*time.Millisecond {
						left, reset = 10, reset+5*time.Minute
					}
					r := ok(fmt.Sprint(c.n), "")
					if left == 0 {
						r = status(403)
					}
					left = max(0, left-1)
					r = quota(r, "core", 10, left, reset)
					r.header["Date"] = epoch.Add(its).Format(http.TimeFormat)
					return r
				})
				r := start(t, net, firehose.Config{Resources: many(4, "")})
				until(time.Hour)
				require.Zero(t, r.Stats().Outcomes["limited"])
				require.Greater(t, len(net.all("")), 100)
				require.NoError(t, r.stop())
			})
		})
	}
}

// A resource gives up for its own secondary limits, never for its neighbours'.
//
// Peer octokit-6: all requests share one count of tries, so that a request gives
// up that was never tried again.
func TestG13_NobodyGivesUpForItsNeighbours(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(call) reply { return reply{status: 403, body: "You have exceeded a secondary rate limit."} })
		r := start(t, net, firehose.Config{Resources: many(12, "")})
		until(5 * 24 * time.Hour)
		asked := map[string]int{}
		for _, c := range net.all("") {
			asked[c.URL]++
		}
		require.Greater(t, len(net.all("")), 10)
		require.Empty(t, r.errorsIn(firehose.QueueRequestsError), "asked so often: %v", asked)
		require.Equal(t, "https://api.github.com", r.explain("https://api.github.com/3").Bucket)
		require.NoError(t, r.stop())
	})
}

// Of resources that were all sent away for the same time none comes back early,
// and they do not come back together.
//
// Peers retryablehttp-7, benthos-3 and miniflux-7: there is no jitter, so that all
// come back at the same instant.
// Peer stormcrawler-2: hosts that block on the same schedule would all be asked
// at once, had it not been mended.
func TestI12_WhoWasSentAwayTogetherDoesNotComeBackTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if c.n == 0 {
				return status(429, "Retry-After", "600")
			}
			return ok("x", "")
		})
		var specs []resource.Spec
		for i := range 100 {
			specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://%d.test/", i), Interval: 10 * time.Minute})
		}
		r := start(t, net, firehose.Config{Resources: specs, Workers: 100})
		until(19 * time.Minute)
		seconds := map[time.Duration]int{}
		for _, spec := range specs {
			times := net.times(spec.URI)
			require.Len(t, times, 2)
			require.GreaterOrEqual(t, times[1], 600*time.Second)
			require.Less(t, times[1], 631*time.Second)
			seconds[times[1]/time.Second]++
		}
		require.Greater(t, len(seconds), 20)
		for second, n := range seconds {
			require.Less(t, n, 15, "in second %d", second)
		}
		require.NoError(t, r.stop())
	})
}
