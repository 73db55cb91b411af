package queue

import (
	"math"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/resource"
)

// jumped returns t as the clocks would have read it if the wall clock had been
// set on by so many seconds and the monotonic one not. Package time has no way
// to make such an instant, and only a jump of the real clock would: so this
// reaches into its representation, and checks that it hit what it meant.
func jumped(t *testing.T, at time.Time, seconds int64) time.Time {
	wall := (*uint64)(unsafe.Pointer(&at))
	before := at
	*wall += uint64(seconds << 30)
	require.Zero(t, at.Sub(before), "the monotonic reading is as it was")
	require.Equal(t, time.Duration(seconds)*time.Second, at.Round(0).Sub(before.Round(0)))
	return at
}

// TestD9_ClockPairs: what counts is the monotonic distance where there is one, and
// else the distance on the wall clock from now, whatever that has jumped before.
func TestD9_ClockPairs(t *testing.T) {
	t.Parallel()
	base := time.Now()
	c := clock{base: base}
	const hour = 3600
	for _, c2 := range []struct {
		name string
		now  time.Time
		at   time.Time
		want time.Duration
	}{
		{"no jump", base.Add(time.Second), base.Add(time.Minute), time.Minute},
		{"past", base.Add(time.Second), base.Add(-time.Minute), -time.Minute},
		{"wall set on before the instant was taken", base.Add(time.Second), jumped(t, base.Add(time.Minute), hour), time.Minute},
		{"wall set back before the instant was taken", base.Add(time.Second), jumped(t, base.Add(time.Minute), -hour), time.Minute},
		{"wall set on before now", jumped(t, base.Add(time.Second), hour), base.Add(time.Minute), time.Minute},
		{"wall only", base.Add(time.Second), base.Add(time.Minute).Round(0), time.Minute},
		{"wall only, in another zone", base.Add(time.Second), base.Add(time.Minute).UTC(), time.Minute},
		{"wall only, from before the wall was set on", jumped(t, base.Add(time.Second), hour), base.Add(time.Minute).Round(0), time.Minute - time.Hour},
		{"wall only, from after the wall was set on", jumped(t, base.Add(time.Second), hour), jumped(t, base.Add(time.Minute), hour).Round(0), time.Minute},
		{"wall only, from after the wall was set back", jumped(t, base.Add(time.Second), -hour), jumped(t, base.Add(time.Minute), -hour).Round(0), time.Minute},
		{"further than 292 years", base.Add(time.Second), base.Round(0).AddDate(5000, 0, 0), math.MaxInt64},
		{"longer ago than 292 years", base.Add(time.Second), time.Unix(-1<<40, 0), math.MinInt64 + time.Second},
	} {
		t.Run(c2.name, func(t *testing.T) {
			t.Parallel()
			got := c.nanos(c2.at, c2.now)
			require.Equal(t, c2.want, time.Duration(got))

			// And back: the same distance, with a monotonic reading.
			back := c.instant(got)
			if c2.want < math.MaxInt64 && c2.want > math.MinInt64/2 {
				require.Equal(t, c2.want, back.Sub(base))
				require.NotEqual(t, back, back.Round(0), "a monotonic reading")
				require.Equal(t, got, c.nanos(back, c2.now))
			}

			// The same of an instant inside a resource, through its value.
			m := Message{Queue: "a", Resource: resource.Resource{NotBefore: c2.at}}
			m.Resource.ID = resource.ID{1}
			if check(&m) != nil {
				return // out of the bounds of an encoding: refused
			}
			v := value(c.appendValue(nil, &m, 1, c2.now))
			r := decoded(c, v, m.Resource).Resource
			require.Equal(t, c2.want, r.NotBefore.Sub(base))
			require.NotEqual(t, r.NotBefore, r.NotBefore.Round(0), "a monotonic reading")
			require.True(t, r.Asked.IsZero(), "an instant that is none stays none")
		})
	}
}

func TestD22_AddSaturates(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, math.MaxInt64, add(math.MaxInt64-1, 2))
	require.EqualValues(t, math.MinInt64, add(math.MinInt64+1, -2))
	require.EqualValues(t, -1, add(math.MaxInt64, math.MinInt64))
}
