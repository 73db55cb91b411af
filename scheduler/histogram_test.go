package scheduler

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// maxError is what a quantile is promised to be off by.
const maxError = 1.0 / 64

// distributions are shapes of latency, drawn from a generator.
func distributions() map[string]func(*rand.Rand) time.Duration {
	ms := float64(time.Millisecond)
	return map[string]func(*rand.Rand) time.Duration{
		"uniform":     func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(time.Second))) },
		"exponential": func(r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * 3 * ms) },
		"log-normal":  func(r *rand.Rand) time.Duration { return time.Duration(math.Exp(r.NormFloat64()*2) * ms) },
		"constant":    func(*rand.Rand) time.Duration { return 12_345_678 },
		"bimodal": func(r *rand.Rand) time.Duration {
			if r.IntN(10) == 0 {
				return time.Duration(20e9 + r.NormFloat64()*1e9)
			}
			return time.Duration(200 + r.Int64N(100))
		},
		"few nanoseconds": func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(64)) },
	}
}

func (h *histogram) read() *snapshot {
	s := new(snapshot)
	h.addTo(s)
	return s
}

func cellSum(s *snapshot) (n uint64) {
	for _, cells := range s.segments {
		if cells != nil {
			for _, c := range cells {
				n += c
			}
		}
	}
	return n
}

// Each duration has one cell, which spans less than a 32nd of it.
func TestCellsTileTheDurations(t *testing.T) {
	next := time.Duration(0)
	for segment := range segmentCount {
		for cell := range segmentCells {
			from, width := cellBounds(segment, cell)
			require.Equal(t, next, from, "segment %d, cell %d", segment, cell)
			for _, d := range []time.Duration{from, from + width/2, from + width - 1} {
				s, c := cellOf(d)
				require.Equal(t, [2]int{segment, cell}, [2]int{s, c}, "of %d", d)
			}
			require.True(t, width == 1 || width*segmentCells <= from, "segment %d, cell %d", segment, cell)
			next = from + width
		}
	}
	require.Equal(t, longTime, next)
	require.Greater(t, longTime, 19*time.Hour)
}

func TestQuantilesAgainstSortedSamples(t *testing.T) {
	for name, draw := range distributions() {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 2, 7, 100, 1000, 20_011} {
				generator := rand.New(rand.NewPCG(1, uint64(size)))
				var h histogram
				samples, sum := make([]time.Duration, size), time.Duration(0)
				for i := range samples {
					samples[i] = draw(generator)
					sum += samples[i]
					h.record(samples[i])
				}
				slices.Sort(samples)
				s := h.read()
				l := s.latency()
				require.Equal(t, uint64(size), l.Count)
				require.Equal(t, samples[0], l.Min)
				require.Equal(t, samples[size-1], l.Max)
				require.Equal(t, sum/time.Duration(size), l.Mean)
				for permille, got := range map[int]time.Duration{500: l.P50, 750: l.P75, 950: l.P95, 980: l.P98, 990: l.P99, 999: l.P999} {
					exact := samples[max(1, (size*permille+999)/1000)-1]
					if off := math.Abs(float64(got - exact)); off > float64(exact)*maxError {
						t.Errorf("%d samples: quantile %d/1000 is %v, should be %v: off by %.2f %%", size, permille, got, exact, off/float64(exact)*100)
					}
				}
				require.LessOrEqual(t, s.quantile(1000), l.Max)
				require.GreaterOrEqual(t, s.quantile(0), l.Min)
			}
		})
	}
}

// The rank of a quantile is exact where floating point is not.
func TestQuantileRanks(t *testing.T) {
	for n := 1; n <= 2000; n++ {
		s := snapshot{count: uint64(n), max: 1}
		for _, permille := range []int{0, 1, 500, 750, 950, 980, 990, 999, 1000} {
			rank := max(1, (n*permille+999)/1000)
			// All below the rank in one cell, the others in the next.
			s.segments[0] = &[segmentCells]uint64{uint64(rank - 1), uint64(n - rank + 1)}
			require.Equal(t, time.Duration(1), s.quantile(uint64(permille)), "%d/1000 of %d", permille, n)
			s.segments[0] = &[segmentCells]uint64{uint64(rank), uint64(n - rank)}
			require.Equal(t, time.Duration(0), s.quantile(uint64(permille)), "%d/1000 of %d", permille, n)
		}
	}
}

func TestHistogramEdges(t *testing.T) {
	for name, c := range map[string]struct {
		samples             []time.Duration
		min, max, mean, p50 time.Duration
	}{
		"none":       {},
		"zero":       {samples: []time.Duration{0}},
		"negative":   {samples: []time.Duration{-time.Hour, math.MinInt64, -1}},
		"one":        {samples: []time.Duration{1}, min: 1, max: 1, mean: 1, p50: 1},
		"below long": {samples: []time.Duration{longTime - 1}, min: longTime - 1, max: longTime - 1, mean: longTime - 1, p50: longTime - 1},
		"long":       {samples: []time.Duration{longTime}, min: longTime, max: longTime, mean: longTime, p50: longTime},
		"too long": {
			samples: []time.Duration{longTime * 2, longTime * 4}, min: longTime * 2, max: longTime * 4,
			mean: longTime * 3, p50: longTime * 4,
		},
		"longest": {
			samples: slices.Repeat([]time.Duration{math.MaxInt64}, 5), min: math.MaxInt64, max: math.MaxInt64,
			mean: math.MaxInt64, p50: math.MaxInt64,
		},
		"both ends": {samples: []time.Duration{-1, math.MaxInt64}, max: math.MaxInt64, mean: math.MaxInt64 / 2},
	} {
		t.Run(name, func(t *testing.T) {
			var h histogram
			for _, d := range c.samples {
				h.record(d)
			}
			l := h.read().latency()
			require.Equal(t, uint64(len(c.samples)), l.Count)
			require.Equal(t, uint64(len(c.samples)), h.count())
			require.Equal(t, []time.Duration{c.min, c.max, c.mean, c.p50}, []time.Duration{l.Min, l.Max, l.Mean, l.P50})
		})
	}
}

// The sum is exact beyond what 64 bits hold, in a histogram, in a merge and in
// a difference.
func TestSumBeyond64Bits(t *testing.T) {
	var h histogram
	want, prev := new(big.Int), new(snapshot)
	big128 := func(w wideSum) *big.Int {
		v := new(big.Int).SetUint64(w.hi)
		return v.Add(v.Lsh(v, 64), new(big.Int).SetUint64(w.lo))
	}
	generator := rand.New(rand.NewPCG(2, 2))
	for range 1000 {
		d := time.Duration(generator.Int64())
		h.record(d)
		want.Add(want, big.NewInt(int64(d)))
		delta := h.since(prev)
		require.Equal(t, big.NewInt(int64(d)), big128(delta.sum))
		require.Equal(t, want, big128(prev.sum))
	}
	s := h.read()
	require.Equal(t, want, big128(s.sum))
	s.merge(h.read())
	require.Equal(t, want.Lsh(want, 1), big128(s.sum))
	require.Equal(t, want.Div(want, big.NewInt(2000)).Int64(), int64(s.mean()))
}

// A sum that is read ahead of the cells gives no mean beyond the extremes.
func TestMeanStaysBetweenTheExtremes(t *testing.T) {
	ahead := snapshot{count: 1, min: 3, max: 5, sum: wideSum{lo: math.MaxUint64}}
	require.Equal(t, time.Duration(5), ahead.mean())
	ahead.sum.hi = 1
	require.Equal(t, time.Duration(5), ahead.mean())
	require.Equal(t, time.Duration(3), (&snapshot{count: 1, min: 3, max: 5}).mean())
}

func TestHistogramMemory(t *testing.T) {
	var h histogram
	segment := unsafe.Sizeof(*h.segments[0].Load())
	require.Equal(t, uintptr(256), segment)
	require.Equal(t, uintptr(376), unsafe.Sizeof(h))
	require.Equal(t, uintptr(11_128), unsafe.Sizeof(h)+segmentCount*segment)

	for range 1000 {
		h.record(time.Millisecond)
		h.record(time.Millisecond + 1)
	}
	used := 0
	for i := range h.segments {
		if h.segments[i].Load() != nil {
			used++
		}
	}
	require.Equal(t, 1, used)
}

func TestMergeIsAsRecordedInOne(t *testing.T) {
	var whole histogram
	merged := new(snapshot)
	merged.merge(new(snapshot))
	generator := rand.New(rand.NewPCG(3, 3))
	for _, draw := range distributions() {
		var part histogram
		for range 1000 {
			d := draw(generator)
			whole.record(d)
			part.record(d)
		}
		s := part.read()
		merged.merge(s)
		merged.merge(new(snapshot))
		require.Equal(t, part.read(), s, "what is merged is left as it is")
	}
	require.Equal(t, whole.read(), merged)
	require.Equal(t, whole.read().latency(), merged.latency())

	other := new(snapshot)
	whole.addTo(other)
	whole.addTo(other)
	merged.merge(whole.read())
	require.Equal(t, merged, other, "adding to a snapshot is merging one")
}

// Many record while others read: nothing is lost, and what is read fits
// together.
func TestHistogramInParallel(t *testing.T) {
	const writers, each = 4, 20_000
	var h histogram
	var reading, writing sync.WaitGroup
	over := make(chan struct{})
	total := make([]snapshot, 2)
	for i := range total {
		reading.Go(func() {
			prev := new(snapshot)
			for last := false; ; {
				s := h.read()
				if s.count != cellSum(s) || s.max > 1<<40 || (s.count > 0 && s.quantile(1000) > s.max) {
					t.Errorf("count %d, sum of cells %d, max %v", s.count, cellSum(s), s.max)
				}
				delta := h.since(prev)
				if delta.count != cellSum(&delta) || prev.count != cellSum(prev) {
					t.Errorf("window of %d has %d in its cells", delta.count, cellSum(&delta))
				}
				total[i].merge(&delta)
				if last {
					return
				}
				select {
				case <-over:
					last = true // once more: all is recorded now
				default:
				}
			}
		})
	}
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				h.record(time.Duration(w*each+i) << (i % 24))
			}
		})
	}
	writing.Wait()
	close(over)
	reading.Wait()

	var alone histogram
	for w := range writers {
		for i := range each {
			alone.record(time.Duration(w*each+i) << (i % 24))
		}
	}
	want := alone.read()
	require.Equal(t, want, h.read())
	for _, s := range total {
		require.Equal(t, want.segments, s.segments, "the windows tile what was recorded")
		require.Equal(t, [2]uint64{want.count, want.sum.lo}, [2]uint64{s.count, s.sum.lo})
	}
}

// Two that reach a segment, or the carry, at once do it once.
func TestHistogramRacesForFirst(t *testing.T) {
	for range 200 {
		var h histogram
		h.sum.Store(sumCarry - 1)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { h.record(1) })
		}
		all.Wait()
		require.Equal(t, uint64(4), h.count())
		require.Equal(t, wideSum{lo: sumCarry + 3}, h.total())
	}
	var h histogram
	h.carry() // somebody else did
	require.Equal(t, wideSum{}, h.total())
}

// A difference has exact extremes where they are records, and else estimates
// as good as a quantile.
func TestDifferences(t *testing.T) {
	var h histogram
	prev := new(snapshot)
	for i, step := range []struct {
		record   []time.Duration
		min, max time.Duration
		exact    bool
	}{
		{record: nil},
		{record: []time.Duration{5000, 7001}, min: 5000, max: 7001, exact: true},
		{record: nil},
		{record: []time.Duration{6001}, min: 6001, max: 6001},
		{record: []time.Duration{6001, 9999}, min: 6001, max: 9999},
		{record: []time.Duration{4567, 9998}, min: 4567, max: 9998},
		{record: []time.Duration{3970, 123_456}, min: 3970, max: 123_456, exact: true},
		{record: []time.Duration{3}, min: 3, max: 3, exact: true},
	} {
		for _, d := range step.record {
			h.record(d)
		}
		delta := h.since(prev)
		require.Equal(t, uint64(len(step.record)), delta.count, "step %d", i)
		tolerance := maxError
		if step.exact {
			tolerance = 0
		}
		require.InDelta(t, float64(step.min), float64(delta.min), float64(step.min)*tolerance, "step %d", i)
		require.InDelta(t, float64(step.max), float64(delta.max), float64(step.max)*tolerance, "step %d", i)
		require.Equal(t, h.read(), prev, "step %d", i)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	var h histogram
	generator := rand.New(rand.NewPCG(4, 4))
	for range 10_000 {
		h.record(time.Duration(generator.ExpFloat64() * float64(time.Millisecond)))
	}
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		s := new(snapshot)
		for b.Loop() {
			h.addTo(s)
		}
	})
	b.Run("window", func(b *testing.B) {
		b.ReportAllocs()
		prev := new(snapshot)
		for b.Loop() {
			h.record(time.Millisecond)
			h.since(prev)
		}
	})
	b.Run("quantiles", func(b *testing.B) {
		b.ReportAllocs()
		s := h.read()
		for b.Loop() {
			s.latency()
		}
	})
}
