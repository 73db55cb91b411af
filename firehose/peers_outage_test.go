package firehose_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// After eight hours in which nobody ran, what was missed is one poll each, within
// what is allowed at once: no herd, and no catching up (rule D-15).
//
// Peer changedetection-3: after a restart everything that is overdue is fetched
// at once.
// Peer scrapy-3: the queue outlives the process, and its delays do not.
func TestD15_ALongPauseIsOnePollEach(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply { return slowReply(ok(fmt.Sprint(c.n), ""), 100*time.Millisecond) })
		config := firehose.Config{DB: db.NewMemory(), Profiles: map[string]resource.Profile{"": {Limit: resource.Limit{Requests: 60, Per: time.Minute}}}}
		for i := range 200 {
			config.Resources = append(config.Resources, resource.Spec{URI: fmt.Sprintf("https://a.test/%d", i), Interval: 10 * time.Minute})
		}
		r := start(t, net, config)
		until(time.Hour)
		require.NoError(t, r.stop())
		until(9 * time.Hour)
		before := len(net.all(""))
		r = start(t, net, config)
		until(9*time.Hour + time.Minute)
		require.InDelta(t, 60, len(net.all(""))-before, 2, "in the first minute, of 200 that are overdue")
		until(9*time.Hour + 9*time.Minute)
		require.Equal(t, before+200, len(net.all("")), "once each")
		require.LessOrEqual(t, net.together(), 4)
		require.NoError(t, r.stop())
	})
}

// The error page of a refusal is read by nobody as news, and a refusal is no
// reason to ask again at once (rules D-16, G-15).
//
// Peer gharchive-3: the body of a 403 is taken for a list of events, which fails,
// and the next request follows in less than a second.
// Peer miniflux-9: three errors end a feed until a human looks.
// Peer httpcache-2: whatever is neither 200 nor 304 throws the stored tag away.
func TestD16_ARefusalIsNoNewsAndNoHotLoop(t *testing.T) {
	for _, code := range []int{404, 429, 500, 502, 503} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newScript(func(c call) reply {
					if c.n >= 1 && c.n <= 4 {
						return reply{status: code, body: `{"message":"no","documentation_url":"x"}`, header: map[string]string{"Etag": `"error page"`}}
					}
					if c.n > 4 && c.Header.Get("If-None-Match") == `"1"` {
						return status(304)
					}
					return ok(`[{"id":"1"}]`, `"1"`)
				})
				r := start(t, net, firehose.Config{Resources: []resource.Spec{{URI: uriA, Interval: time.Second}}})
				until(time.Hour)
				times := net.times(uriA)
				for i := 2; i <= 4; i++ {
					require.GreaterOrEqual(t, times[i]-times[i-1], 2*time.Second, "%v", times[:6])
				}
				for _, c := range net.all(uriA)[1:] {
					require.Equal(t, `"1"`, c.Header.Get("If-None-Match"), "the tag outlives the failures")
				}
				require.Greater(t, len(times), 100, "four failures are no end")
				require.Equal(t, []string{`[{"id":"1"}]`}, r.sink.bodies())
				require.NoError(t, r.stop())
			})
		})
	}
}

// Without an answer for half a day everything is still there, and is asked for
// when the host is back.
//
// Peer nutch-2: the queue of a host that fails is purged at a threshold, and
// fetches go on that were begun before.
func TestSNet_AnOutageLosesNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if c.At > time.Minute && c.At < 12*time.Hour {
				return reply{err: errReset}
			}
			return ok(fmt.Sprint(c.n), "")
		})
		r := start(t, net, firehose.Config{Resources: fleet(60)})
		until(14 * time.Hour)
		synctest.Wait()
		for _, spec := range fleet(60) {
			times := net.times(spec.URI)
			require.Greater(t, times[len(times)-1], 13*time.Hour+55*time.Minute, spec.URI)
		}
		for _, name := range firehose.ErrorQueues() {
			require.Empty(t, r.errorsIn(name))
		}
		require.NoError(t, r.stop())
	})
}
