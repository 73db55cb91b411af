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

// Jitter adds to the wait for an interval, up to a tenth of it or what is asked for,
// and never takes away. A wait that has a spread of its own gets no other.
func TestD19_JitterOfAnIntervalOnlyAdds(t *testing.T) {
	for _, c := range []struct{ jitter, most time.Duration }{{0, 0}, {2 * time.Second, 2 * time.Second}, {time.Hour, 6 * time.Second}} {
		bubble(t, func(t *testing.T) {
			net := newScript(func(c call) reply {
				if c.n == 40 {
					return status(429, "Retry-After", "1000")
				}
				switch {
				case c.n%3 == 0:
					return status(204)
				case c.Header.Get("If-None-Match") != "" && c.n%3 == 1:
					return status(304)
				}
				return ok(fmt.Sprint(c.n), fmt.Sprintf(`"%d"`, c.n))
			})
			r := start(t, net, firehose.Config{Jitter: c.jitter, Resources: []resource.Spec{{URI: uriA, Interval: time.Minute}}})
			pass(75 * time.Minute)
			times := net.times(uriA)
			require.Greater(t, len(times), 45)
			waits := map[time.Duration]bool{}
			for i, at := range times[1:] {
				wait := at - times[i]
				if i == 40 {
					require.GreaterOrEqual(t, wait, 1000*time.Second)
					require.Less(t, wait, 1031*time.Second)
					continue
				}
				require.GreaterOrEqual(t, wait, time.Minute)
				require.LessOrEqual(t, wait, time.Minute+c.most)
				waits[wait] = true
			}
			require.Equal(t, c.jitter > 0, len(waits) > 1)
			require.NoError(t, r.stop())
		})
	}
}

// What a feed asks to be left alone in stays left out, whatever is added.
func TestD19_JitterKeepsOutOfSkippedHours(t *testing.T) {
	var hours strings.Builder
	for h := 1; h < 24; h++ {
		fmt.Fprintf(&hours, "<hour>%d</hour>", h)
	}
	feed := `<?xml version="1.0"?><rss version="2.0"><channel><title>x</title><ttl>7</ttl><skipHours>` + hours.String() + `</skipHours></channel></rss>`
	for _, jitter := range []time.Duration{0, time.Hour} {
		bubble(t, func(t *testing.T) {
			net := newScript(func(c call) reply {
				r := ok(feed, fmt.Sprintf(`"%d"`, c.n))
				r.header["Content-Type"] = "application/rss+xml"
				return r
			})
			begin := time.Now().UTC()
			r := start(t, net, firehose.Config{Jitter: jitter, Seed: 3, Resources: []resource.Spec{{URI: uriA, Interval: 7 * time.Minute}}})
			pass(60 * 24 * time.Hour)
			times := net.times(uriA)
			require.Greater(t, len(times), 60*3)
			first := map[time.Duration]bool{}
			day := -1
			for _, at := range times {
				now := begin.Add(at)
				require.Zero(t, now.Hour(), "a request at %v", now)
				if now.YearDay() != day {
					day = now.YearDay()
					first[at%(24*time.Hour)] = true
				}
			}
			if jitter > 0 {
				require.Greater(t, len(first), 50, "whoever waited for midnight comes at midnight")
			}
			require.NoError(t, r.stop())
		})
	}
}
