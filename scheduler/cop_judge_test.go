package scheduler

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// windowOf is a window of operations that took so long.
func windowOf(failed uint64, took ...time.Duration) *window {
	var h histogram
	for _, d := range took {
		h.record(d)
	}
	w := &window{operations: uint64(len(took)), failed: failed}
	h.addTo(&w.latency)
	return w
}

func TestConduct(t *testing.T) {
	const ms = time.Millisecond
	bounds := Bounds{P50: 10 * ms, Max: 100 * ms, Windows: 2, Samples: 2}.resolve()
	good, slow := windowOf(0, ms, ms, ms), windowOf(0, 20*ms, 20*ms, ms)
	failing, both := windowOf(2, ms, ms), windowOf(2, 200*ms, 200*ms)
	few, half := windowOf(1, 200*ms), windowOf(1, ms, ms)
	for _, c := range []struct {
		name     string
		windows  []*window
		findings string // of each: - nothing, b bad, g good
		concern  string
	}{
		{"good", []*window{good, good, good}, "---", ""},
		{"slow", []*window{slow, slow}, "-b", "P50 of 20ms is above 10ms, in 2 windows of 10s"},
		{"told once", []*window{slow, slow, slow, slow}, "-b--", "P50 of 20ms is above 10ms, in 4 windows of 10s"},
		{"interrupted", []*window{slow, good, slow, good, slow}, "-----", ""},
		{"few are not counted", []*window{slow, few, few, slow}, "---b", "P50 of 20ms is above 10ms, in 2 windows of 10s"},
		{"few clear nothing", []*window{slow, slow, few}, "-b-", "P50 of 20ms is above 10ms, in 2 windows of 10s"},
		{"cleared", []*window{slow, slow, good, good}, "-bg-", ""},
		{"cleared and again", []*window{slow, slow, good, slow, slow}, "-bg-b", "P50 of 20ms is above 10ms, in 2 windows of 10s"},
		{"failing", []*window{failing, failing}, "-b", "all operations failed in 2 windows of 10s, 2 in the latest"},
		{"half of them", []*window{half, half, half}, "---", ""},
		{"slow, then failing", []*window{slow, slow, failing, failing}, "-b--", "all operations failed in 2 windows of 10s, 2 in the latest"},
		{"not good yet", []*window{slow, slow, failing, good}, "-b-g", ""},
		{"slow failures", []*window{slow, both}, "-b", "P50 of 200ms is above 10ms, Max of 200ms is above 100ms, in 2 windows of 10s"},
		{"no operations", []*window{{}, {}, {}}, "---", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var conduct conduct
			var got strings.Builder
			for _, w := range c.windows {
				got.WriteString(string("-bg"[conduct.take(&bounds, w)]))
			}
			require.Equal(t, c.findings, got.String())
			require.Equal(t, c.concern, conduct.concern)
		})
	}
}

// A duration of a bound never breaks it, nor does one below; what is above by
// more than a cell of the histogram does, for each bound there is.
func TestBoundIsFair(t *testing.T) {
	for i, b := range (&Bounds{}).latencies() {
		for limit := time.Duration(1); limit < 100*time.Hour; limit = limit*9/7 + 1 {
			b.limit = limit
			one := func(d time.Duration) bool {
				return b.breaks(b.measure(&windowOf(0, d).latency))
			}
			require.False(t, one(limit), "%s of %v", b.name, limit)
			require.False(t, one(limit-1), "%s of %v", b.name, limit)
			require.True(t, one(limit+limit/20+1), "%s of %v", b.name, limit)
		}
		require.Equal(t, i < 7, b.permille < meanPermille)
	}
}

// A quantile judges what it is named after: of a thousand operations, so many
// may be slow.
func TestBoundsAreWhatTheyAreNamed(t *testing.T) {
	for _, c := range []struct {
		bounds Bounds
		slow   int // of a thousand
	}{
		{Bounds{P50: 1}, 500},
		{Bounds{P75: 1}, 250},
		{Bounds{P95: 1}, 50},
		{Bounds{P98: 1}, 20},
		{Bounds{P99: 1}, 10},
		{Bounds{P999: 1}, 1},
		{Bounds{Max: 1}, 0},
		{Bounds{Mean: 999}, 999},
	} {
		took := make([]time.Duration, 1000)
		for i := range c.slow {
			took[i] = 1000
		}
		require.Empty(t, c.bounds.broken(&windowOf(0, took...).latency), "%+v", c.bounds)
		took[999] = 1000
		require.Equal(t, c.slow == 999, c.bounds.Mean > 0)
		require.NotEmpty(t, c.bounds.broken(&windowOf(0, took...).latency), "%+v", c.bounds)
	}
	require.Empty(t, (&Bounds{P50: 1}).broken(&snapshot{}))
}

// A success is not overlooked.
func TestAllFailed(t *testing.T) {
	for _, c := range []struct {
		operations, failed uint64
		want               bool
	}{
		{0, 0, false}, {1, 0, false}, {1, 1, true}, {1000, 999, false},
		{1000, 1000, true}, {1 << 40, 1 << 39, false},
	} {
		w := window{operations: c.operations, failed: c.failed}
		require.Equal(t, c.want, w.allFailed(), "%+v", c)
	}
}

func TestLater(t *testing.T) {
	const never = time.Duration(1<<63 - 1)
	require.Equal(t, 3*time.Second, later(time.Second, 2*time.Second))
	require.Equal(t, never, later(time.Second, never))
	require.Equal(t, never, later(1, never-1))
}

func TestConditionNames(t *testing.T) {
	require.Equal(t, "healthy degraded zombie dead Condition(4)",
		fmt.Sprintf("%v %v %v %v %v", Healthy, Degraded, Zombie, Dead, Condition(4)))
	text, err := Zombie.MarshalText()
	require.NoError(t, err)
	require.Equal(t, "zombie", string(text))
}

// A service that fails as fast as it can is found.
func TestFastFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTestGauge()
		b := &beat{gauge: g, bounds: &Bounds{}}
		stop := make(chan struct{})
		done := make(chan struct{})
		end := sync.OnceFunc(func() {
			close(stop)
			<-done
		})
		defer end()
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					g.record(g.now(), time.Microsecond, true)
				}
			}
		}()
		for windows := 0; windows < 100; {
			if w := b.read(g.now()); w.operations > 0 {
				require.True(t, w.allFailed(), "%d of %d", w.failed, w.operations)
				windows++
			}
		}
		end()
		g.record(g.now(), time.Microsecond, false)
		b.read(g.now())
		g.record(g.now(), time.Microsecond, false)
		require.False(t, b.read(g.now()).allFailed())
	})
}

// A curve that hangs and its run are on the list until either is through, in
// whatever order runs leave.
func TestExitsInAnyOrder(t *testing.T) {
	c := &cop{}
	var runs []*run
	for i := range 10 {
		runs = append(runs, &run{worker: &worker{}})
		require.True(t, c.leaves(runs[i], &exit{streak: i}, time.Duration(i)))
	}
	require.Empty(t, c.overdue(exitBound-1))
	require.Len(t, c.overdue(exitBound+4), 5)
	for _, i := range []int{3, 9, 0, 5, 5} {
		c.left(runs[i])
	}
	require.Len(t, c.overdue(2*exitBound+5), 6)
	c.told(runs[1])
	c.told(runs[3])
	require.Len(t, c.overdue(4*exitBound), 5)
	hung, ok := c.takeOver(runs[2])
	require.True(t, ok)
	require.Same(t, runs[2], hung.run)
	_, ok = c.takeOver(runs[2])
	require.False(t, ok)
	require.False(t, c.leaves(&run{worker: runs[2].worker}, &exit{}, 0), "its curve hangs")
	for _, l := range c.exits {
		require.Same(t, l.run, runs[l.exit.streak])
		require.Same(t, l.run, c.exits[l.run.slot-1].run)
	}
	for _, r := range runs {
		c.left(r)
	}
	require.Empty(t, c.exits)
	require.Empty(t, c.overdue(10*exitBound))
	require.Zero(t, c.check, "nothing wakes the cop any more")
	for range 2 * keptExits {
		r := &run{worker: &worker{}}
		runs = append(runs, r)
		c.leaves(r, &exit{outcome: outcome{err: errors.New("kept")}}, 0)
	}
	for _, r := range runs {
		c.left(r)
	}
	require.Zero(t, cap(c.exits), "a storm is not remembered")
}
