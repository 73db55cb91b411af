package firehose_test

import (
	"fmt"
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
				if c.Header.Get("If-None-Match") != "" && c.n%2 == 1 {
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
