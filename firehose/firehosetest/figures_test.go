package firehosetest

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fleetOf runs a fleet of one credential and a hundred resources that want
// twice their budget.
func fleetOf(t *testing.T, cfg Config, with func(f *fleet)) (b BucketFigures, o *Origin) {
	cfg.Timelines, cfg.Limit, cfg.Window, cfg.Rate, cfg.Latency = 100, 500, 10*time.Minute, 1, Instant
	synctest.Test(t, func(t *testing.T) {
		o = mustOrigin(t, cfg)
		f := newFleet(t, o, 1, "api.test")
		if with == nil {
			with = func(f *fleet) { f.run(2 * time.Hour) }
		}
		with(f)
		require.Zero(t, o.Verdict().Impolite)
		list := o.Buckets("Bearer 0")
		require.Len(t, list, 1)
		b = list[0]
		require.Empty(t, o.Buckets("Bearer nobody"))
	})
	return b, o
}

// A client that uses its budget, fairly.
func TestFiguresOfGoodClient(t *testing.T) {
	b, _ := fleetOf(t, Config{}, nil)
	require.Equal(t, "https://api.test", b.Origin)
	require.Equal(t, "core", b.Bucket)
	require.GreaterOrEqual(t, len(b.Windows), 11)
	share, windows := b.Share(0)
	require.Greater(t, share, 0.99)
	require.Positive(t, windows)
	require.Len(t, b.Resources, 100)
	require.Equal(t, "/timelines/0/events", b.Resources[0].Target)
	longest, median := b.Waits(nil)
	require.LessOrEqual(t, longest, 2*median)
	require.Positive(t, b.Resources[7].Mean)
	require.Greater(t, b.Resources[7].Polls, int64(50))
	none, _ := b.Waits(func(string) bool { return false })
	require.Zero(t, none)
	one, same := b.Waits(func(target string) bool { return target == b.Resources[7].Target })
	require.Equal(t, one, same)
}

// A reserve is no waste, and without it being counted it is.
func TestFiguresOfReserve(t *testing.T) {
	b, _ := fleetOf(t, Config{}, func(f *fleet) { f.reserve = 50; f.run(2 * time.Hour) })
	share, _ := b.Share(50)
	require.Greater(t, share, 0.99)
	share, _ = b.Share(0)
	require.Less(t, share, 0.91)
}

// A client that sleeps half of each window, or between windows, is found out.
func TestFiguresOfIdleClient(t *testing.T) {
	for name, idle := range map[string]time.Duration{"within windows": 4 * time.Minute, "between windows": 12 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			b, _ := fleetOf(t, Config{}, func(f *fleet) {
				for range 8 {
					f.run(2 * time.Minute)
					time.Sleep(idle)
				}
			})
			share, windows := b.Share(0)
			require.Positive(t, windows)
			require.Less(t, share, 0.9)
		})
	}
}

// A client that lets one resource starve, though there is room for it.
func TestFiguresOfUnfairClient(t *testing.T) {
	b, _ := fleetOf(t, Config{}, func(f *fleet) {
		f.likes = func(p *polled) bool { return p.path != path0 || time.Since(p.due) > 30*time.Minute }
		f.run(2 * time.Hour)
	})
	longest, median := b.Waits(nil)
	require.Greater(t, longest, 2*median)
	share, _ := b.Share(0)
	require.Greater(t, share, 0.99, "it uses its budget all the same")
}

// What the client can't help is no idleness: outages, secondary limits, and the
// time in which it lies killed; overlapping ones count once.
func TestFiguresInTheDark(t *testing.T) {
	cfg := Config{
		Outages: []Outage{{From: 15 * time.Minute, To: 25 * time.Minute}, {From: 20 * time.Minute, To: 28 * time.Minute, Status: 503}},
		Hosts:   []Host{{Name: "api.test", Outages: []Outage{{From: 45 * time.Minute, To: 50 * time.Minute, Refused: true}}}},
	}
	b, _ := fleetOf(t, cfg, func(f *fleet) {
		f.run(70 * time.Minute)
		f.o.Killed(time.Now())
		time.Sleep(30 * time.Minute)
		f.run(20 * time.Minute)
	})
	share, _ := b.Share(0)
	require.Greater(t, share, 0.97)
	reachable, span := time.Duration(0), time.Duration(0)
	for _, w := range b.Windows {
		reachable += w.Reachable
		span += w.To.Sub(w.From)
	}
	dark := span - reachable
	require.InDelta(t, (13+5+30)*time.Minute, dark, float64(2*time.Second), "of %v", span)
	longest, median := b.Waits(nil)
	require.LessOrEqual(t, longest, 2*median, "nobody could be asked in the dark")
}

// One that still waits counts.
func TestFiguresOfWaiting(t *testing.T) {
	in(t, Config{Timelines: 2, Latency: Instant}, func(t *testing.T, o *Origin) {
		get(t, o, path0)
		time.Sleep(time.Hour)
		get(t, o, "/timelines/1/events")
		b := o.Buckets()
		require.Len(t, b, 1)
		require.Equal(t, []ResourceFigures{
			{Target: "/timelines/0/events", Polls: 1, Longest: 59 * time.Minute}, {Target: "/timelines/1/events", Polls: 1},
		}, b[0].Resources)
		require.Len(t, b[0].Windows, 1, "it has ended, though nobody came back")
		require.Equal(t, 1, b[0].Windows[0].Used)
	})
}

// The number of windows that are remembered is bounded, and of outages.
func TestFiguresAreBounded(t *testing.T) {
	in(t, Config{Window: time.Second, Latency: Instant}, func(t *testing.T, o *Origin) {
		for i := range mostWindows + 50 {
			get(t, o, "/events?"+strconv.Itoa(i%9))
			time.Sleep(2 * time.Second)
			o.Outage(time.Now().Add(-time.Second), time.Now())
		}
		list := o.Buckets()
		require.LessOrEqual(t, len(list[0].Windows), mostWindows+1)
		require.LessOrEqual(t, len(o.outages), mostOutages)
		require.True(t, strings.HasPrefix(list[0].Origin, "http://"))
	})
}
