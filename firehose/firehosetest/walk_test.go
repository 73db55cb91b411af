package firehosetest

import (
	"maps"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A walk that was cut short is no reading: the gap since the last whole one is
// right, although the walk overlaps what comes next.
func TestItemsBrokenWalk(t *testing.T) {
	var list []Arrival
	for i := range 2000 {
		list = append(list, Arrival{After: time.Duration(i) * 100 * time.Millisecond, ID: strconv.Itoa(i)})
	}
	in(t, Config{Replay: list, ReplayFrom: 40 * time.Second, Latency: Instant, PollInterval: 15 * time.Second}, func(t *testing.T, o *Origin) {
		walk := func(pages ...string) time.Time {
			for _, p := range pages {
				require.Equal(t, 200, get(t, o, feedPath+"&page="+p).StatusCode)
			}
			return time.Now()
		}
		first := walk("1", "2", "3")
		time.Sleep(40 * time.Second)
		walk("1") // 400 new ones, 100 of them read
		time.Sleep(15 * time.Second)
		last := walk("1", "2", "3") // 150 new ones: it overlaps the broken walk
		all := func(g ...ReportedGap) ItemVerdict { return o.Items(ItemReport{Gaps: g}) }
		v := all(ReportedGap{From: first, To: last})
		require.EqualValues(t, 2, v.Observations)
		require.Zero(t, v.Overlaps+v.Spanning+v.Silent+v.Empty)
		require.EqualValues(t, 250, v.NeverShown)
		require.EqualValues(t, 250, all().Silent)
		time.Sleep(15 * time.Second)
		again := walk("1", "2")
		v = all(ReportedGap{From: first, To: again})
		require.EqualValues(t, 1, v.Spanning, "the last two overlap")
		time.Sleep(15 * time.Second)
		walk("1", "3") // page two is missing, and with it the overlap
		require.EqualValues(t, 3, all().Observations)
		time.Sleep(rereadTime / 2)
		walk("1", "2")
		require.EqualValues(t, 4, all().Observations)
		walk("1")
		require.EqualValues(t, 4, all().Observations, "read once more")
	})
}

// An answer that nothing is new is an observation, and moves the beginning of
// the next gap.
func TestItemsUnchanged(t *testing.T) {
	in(t, Config{Replay: at(0, 1, 2, 300, 301, 302), Latency: Instant}, func(t *testing.T, o *Origin) {
		tag := ""
		poll := func(want int) time.Time {
			a := get(t, o, "/events", "If-None-Match", tag)
			require.Equal(t, want, a.StatusCode)
			tag = a.Header.Get("ETag")
			return time.Now()
		}
		time.Sleep(time.Minute)
		poll(200)
		time.Sleep(time.Minute)
		since := poll(304)
		time.Sleep(4 * time.Minute)
		to := poll(200)
		v := o.Items(ItemReport{Gaps: []ReportedGap{{From: since, To: to}, {From: to, To: to.Add(time.Hour)}}})
		require.EqualValues(t, 1, v.Spanning, "it begins after the 304, and spans the overlap all the same")
		require.EqualValues(t, 2, v.Observations)
		require.EqualValues(t, 6, v.Shown)
	})
}

// A reader that crashes forgets its last reading: nothing is lost silently, and
// what it publishes again is counted.
func TestItemsUnderCrashes(t *testing.T) {
	for _, times := range []int{1, 10} {
		t.Run(strconv.Itoa(times)+"x", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := mustOrigin(t, Config{Replay: Overlay(MadeArrivals(5, time.Hour), times), ReplayFrom: 3 * time.Minute})
				r := newReader(t, o, feedPath)
				for n := range 50 {
					kept := *r
					kept.seen, kept.pages = maps.Clone(r.seen), maps.Clone(r.pages)
					tags := map[string]string{}
					for target, m := range r.c.polls {
						tags[target] = m.tag
					}
					r.read()
					if n%7 == 3 {
						o.Killed(time.Now())
						kept.report = r.report // what was told, was told
						*r = kept
						for target, m := range r.c.polls {
							m.tag = tags[target]
						}
					}
					time.Sleep(time.Minute)
				}
				v := o.Items(r.report)
				t.Logf("%+v", v)
				require.Zero(t, o.Verdict().Impolite)
				require.Zero(t, v.Lost+v.LostInGap+v.Silent+v.Unknowable+v.Spanning+v.Unshown)
				require.Equal(t, v.Shown, v.Once+v.Repeated)
				require.Equal(t, times == 1, v.Duplicates > 0, "at ten times the rate nothing comes again")
				require.Equal(t, times == 1, v.Gaps == 0)
			})
		})
	}
}
