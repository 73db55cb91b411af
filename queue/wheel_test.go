package queue

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// wheelOf returns a wheel at pos with messages of these dues, and their slots.
func wheelOf(pos int64, dues ...int64) (*wheel, *slab, []int32) {
	w, s := &wheel{pos: pos}, &slab{}
	var slots []int32
	for i, due := range dues {
		n := s.take()
		s.at(n).due = due
		s.at(n).setSeq(uint64(i + 1))
		w.insert(s, n)
		slots = append(slots, n)
	}
	return w, s, slots
}

// pass turns the wheel to tick in steps of most and returns the dues that came
// out, in the order of the heap. No step may touch more than most.
func pass(t *testing.T, w *wheel, s *slab, tick int64, most int) (dues []int64, steps int) {
	near := heap{is: inNear}
	for done := false; !done; steps++ {
		var n int
		n, done = w.turn(s, &near, tick, most)
		require.LessOrEqual(t, n, most)
		require.Less(t, steps, 1_000_000, "the wheel doesn't come to an end")
		for len(near.entries) > 0 && tickOf(near.entries[0].due) < w.pos {
			e := near.entries[0]
			near.remove(s, e.slot)
			require.Equal(t, inNear, s.at(e.slot).is())
			dues = append(dues, e.due)
		}
	}
	require.Empty(t, near.entries)
	return dues, steps
}

func TestWheelTimeline(t *testing.T) {
	t.Parallel()
	const (
		tick = int64(1) << tickBits
		year = int64(365 * 24 * time.Hour)
	)
	for _, c := range []struct {
		name   string
		pos    int64
		dues   []int64
		passed int64 // tick that is passed
		want   []int64
	}{
		{"this tick", 0, []int64{5, 0, tick - 1}, 0, []int64{0, 5, tick - 1}},
		{"the next tick isn't passed yet", 0, []int64{tick}, 0, nil},
		{"level 0, last bucket", 0, []int64{span*tick - 1, 7}, span - 1, []int64{7, span*tick - 1}},
		{"level 1, first bucket", 0, []int64{span * tick, 7}, span, []int64{7, span * tick}},
		{"level 1 before level 0, inserted later", 0, []int64{span*tick + 1, span * tick}, 3 * span, []int64{span * tick, span*tick + 1}},
		{"level 2", 0, []int64{year, 2 * year, 3}, tickOf(year), []int64{3, year}},
		{"before the base", tickOf(-year), []int64{-3, -year, 9}, 0, []int64{-year, -3, 9}},
		{"the end of time", 0, []int64{math.MaxInt64, 1}, tickOf(math.MaxInt64), []int64{1, math.MaxInt64}},
		{"the beginning of time", tickOf(math.MinInt64), []int64{0, math.MinInt64, math.MaxInt64}, 1, []int64{math.MinInt64, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, s, _ := wheelOf(c.pos, c.dues...)
			require.Equal(t, slices.Min(c.dues), w.earliest(s, math.MaxInt))
			got, _ := pass(t, w, s, c.passed, 2)
			require.Equal(t, c.want, got)
			require.Equal(t, len(c.dues)-len(c.want), w.count)
		})
	}
}

// TestWheelAgainstSort inserts, removes and passes at random, with waits that
// reach every level, and expects what sorting would give.
func TestWheelAgainstSort(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		w, s, _ := wheelOf(0)
		in := map[int32]int64{}
		now := int64(0)
		for range 300 {
			for range r.IntN(20) {
				n := s.take()
				due := w.pos<<tickBits + r.Int64N(1<<(1+r.IntN(61)))
				s.at(n).due = due
				w.insert(s, n)
				in[n] = due
			}
			for n := range in {
				if r.IntN(8) == 0 {
					w.remove(s, n)
					s.give(n)
					delete(in, n)
				}
			}
			if r.IntN(3) == 0 {
				w.pourAhead(s, r.IntN(10))
			}
			now = max(now, w.pos<<tickBits) + r.Int64N(1<<(1+r.IntN(58)))
			var want []int64
			for n, due := range in {
				if tickOf(due) <= tickOf(now) {
					want = append(want, due)
					delete(in, n)
				}
			}
			slices.Sort(want)
			got, _ := pass(t, w, s, tickOf(now), 1+r.IntN(50))
			require.Equal(t, want, got, "seed %d", seed)
			require.Equal(t, len(in), w.count, "seed %d", seed)
			if w.pos > 1<<42 {
				break // 146 years
			}
		}
	}
}

// TestWheelPoursAhead: with a little done on each occasion there is nothing left
// to do when a big bucket of an upper level begins.
func TestWheelPoursAhead(t *testing.T) {
	t.Parallel()
	const n = 50_000
	w, s, _ := wheelOf(0)
	first := int64(span) << tickBits // the first bucket of level 1 that is out of reach of level 0
	for i := range int64(n) {
		slot := s.take()
		s.at(slot).due = first + i%(1<<(levelBits+tickBits))
		w.insert(s, slot)
	}
	w.pos = span / 2 // from here on level 0 reaches it
	at, ok := w.start()
	require.True(t, ok)
	require.Equal(t, w.pos<<tickBits, at, "now, and not only when the bucket begins")
	for range n / 50 {
		require.Equal(t, 50, w.pourAhead(s, 50))
	}
	require.Zero(t, w.pourAhead(s, 50))
	at, _ = w.start()
	require.Equal(t, first, at)
	near := heap{is: inNear}
	touched, _ := w.turn(s, &near, span, math.MaxInt)
	require.Equal(t, len(near.entries), touched, "nothing but the tick itself is touched")
	require.Positive(t, touched)
}

// TestWheelPoursOnlyWhatItReaches: a bucket whose end lies outside the window
// below stays as it is.
func TestWheelPoursOnlyWhatItReaches(t *testing.T) {
	t.Parallel()
	last := (int64(span)+1<<levelBits)<<tickBits - 1 // end of the first bucket of level 1 that is used
	w, s, _ := wheelOf(0, last, last-1)
	w.pos = span/2 - 1
	w.pourAhead(s, 100)
	require.Nil(t, w.levels[0])
	w.pos++
	w.pourAhead(s, 1)
	require.NotNil(t, w.levels[0])
	got, _ := pass(t, w, s, tickOf(last), 10)
	require.Equal(t, []int64{last - 1, last}, got)
}

// TestWheelUpperLevelFirst: of two buckets that begin at once the upper one is
// poured before the lower one is passed.
func TestWheelUpperLevelFirst(t *testing.T) {
	t.Parallel()
	at := int64(span) << tickBits
	w, s, _ := wheelOf(0, at) // into level 1
	got, _ := pass(t, w, s, span/2, 10)
	require.Empty(t, got)
	n := s.take()
	s.at(n).due = at
	w.insert(s, n) // into level 0
	got, _ = pass(t, w, s, span, 10)
	require.Equal(t, []int64{at, at}, got)
}

// TestD18_AMessageIsTouchedSeldomWhateverItsWait counts, with no clock, what a message costs over its way through
// the wheel: how often it is touched doesn't depend on how many there are.
func TestD18_AMessageIsTouchedSeldomWhateverItsWait(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1_000, 30_000} {
		for _, wait := range []time.Duration{time.Minute, time.Hour, 300 * 24 * time.Hour} {
			w, s, _ := wheelOf(0)
			for i := range n {
				slot := s.take()
				s.at(slot).due = int64(i) * int64(wait) / int64(n)
				w.insert(s, slot)
			}
			near := heap{is: inNear}
			touched := 0
			for done := false; !done; {
				var k int
				k, done = w.turn(s, &near, tickOf(int64(wait)), stepSize)
				touched += k
			}
			require.Zero(t, w.count)
			require.LessOrEqual(t, touched, levels*n, "%d messages within %v", n, wait)
		}
	}
}

// TestWheelKeepsNoPages: what has passed leaves one page at most.
func TestWheelKeepsNoPages(t *testing.T) {
	t.Parallel()
	w, s, slots := wheelOf(0, 1, 1<<30, 1<<37, 1<<50, 1<<60)
	w.remove(s, slots[3])
	pass(t, w, s, 1<<41, 10)
	for k, l := range w.levels {
		if l != nil {
			require.Zero(t, l.pages, "level %d", k)
			require.Zero(t, l.used, "level %d", k)
		}
	}
	_, ok := w.start()
	require.False(t, ok)
}
