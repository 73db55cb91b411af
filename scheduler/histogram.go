package scheduler

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// A histogram counts durations in cells that grow with them: each power of two
// of nanoseconds is a segment of segmentCells cells of equal width.
//
// A cell of width w > 1 begins at segmentCells*w at least, and a quantile is
// the middle of its cell, at most w/2 away from each duration in it. So the
// relative error of a quantile is below 1/(2*segmentCells) = 1/64, or 1.6 %;
// below 64 ns, where w is 1, there is none. Half the cells would err by 3.2 %,
// twice as many would take twice the memory for what no bound can tell apart.
const (
	cellBits     = 5
	segmentCells = 1 << cellBits
	// segmentCount reaches to longTime: what takes longer than 19 hours is
	// rarely measured, and each power of two more costs 264 bytes.
	segmentCount = 42
	longTime     = time.Duration(1) << (segmentCount - 1 + cellBits)
)

// sumCarry is moved out of a histogram's sum when it is reached. A service with
// 10,000 operations in flight reaches it in ten days.
const sumCarry = 1 << 63

// histogram counts durations without a lock. The zero value is ready to use.
// A segment is allocated with the first duration that falls into it, so that a
// service whose latencies lie within a few powers of two pays for those: 376
// bytes, and 256 for each; with all of them it is 11,128 bytes.
type histogram struct {
	segments [segmentCount]atomic.Pointer[[segmentCells]atomic.Uint64]

	// Written by each record, therefore apart from what is only read by it.
	// There is no count: it is the sum of the cells.
	sum atomic.Uint64 // nanoseconds, without what was carried
	max atomic.Int64
	low atomic.Int64 // MaxInt64 minus the minimum, so that zero means none

	mu      sync.Mutex // a reader's, and once in 292 years of latency a writer's
	carried uint64     // how often sumCarry was taken out of sum
}

// record counts one duration; a negative one counts as zero, and one above
// longTime in the last cell.
//
// A reader goes the other way: it reads the cells first and the extremes last,
// so that no duration it counted lies outside of them.
func (h *histogram) record(d time.Duration) {
	d = max(d, 0)
	raise(&h.max, int64(d))
	raise(&h.low, math.MaxInt64-int64(d))
	segment, cell := cellOf(d)
	cells := h.segments[segment].Load()
	if cells == nil {
		cells = h.grow(segment)
	}
	cells[cell].Add(1)
	if h.sum.Add(uint64(d)) >= sumCarry {
		h.carry()
	}
}

// grow allocates a segment; of two that do so at once the first one wins.
func (h *histogram) grow(segment int) *[segmentCells]atomic.Uint64 {
	h.segments[segment].CompareAndSwap(nil, new([segmentCells]atomic.Uint64))
	return h.segments[segment].Load()
}

// carry keeps the sum from overflowing. Rejected: a second counter that is
// raised when the first one wraps, since a reader between the two is wrong by
// 584 years.
func (h *histogram) carry() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sum.Load() >= sumCarry {
		h.sum.And(sumCarry - 1)
		h.carried++
	}
}

func (h *histogram) total() wideSum {
	h.mu.Lock()
	defer h.mu.Unlock()
	lo, over := bits.Add64(h.carried<<63, h.sum.Load(), 0)
	return wideSum{hi: h.carried>>1 + over, lo: lo}
}

func (h *histogram) shortest() time.Duration {
	return time.Duration(math.MaxInt64 - h.low.Load())
}

// count is the number of durations that were recorded.
func (h *histogram) count() (n uint64) {
	for i := range h.segments {
		if cells := h.segments[i].Load(); cells != nil {
			for j := range cells {
				n += cells[j].Load()
			}
		}
	}
	return n
}

// addTo adds all that was recorded to a snapshot. Durations recorded meanwhile
// are in it or not; its count is always the sum of its cells, while its sum may
// be ahead of it or behind it by what is being recorded.
func (h *histogram) addTo(s *snapshot) {
	var own snapshot
	for i := range h.segments {
		cells := h.segments[i].Load()
		if cells == nil {
			continue
		}
		to := s.segment(i)
		for j := range cells {
			n := cells[j].Load()
			to[j] += n
			own.count += n
		}
	}
	if own.count > 0 {
		own.sum = h.total()
		own.min, own.max = h.shortest(), time.Duration(h.max.Load())
		s.merge(&own) // its cells are there already
	}
}

// since returns what was recorded after prev was read, and brings prev up to
// date. What is added to the histogram meanwhile is in this difference or in
// the next one, never in both.
//
// The extremes of a difference are exact if they are extremes of all that was
// ever recorded; else they are as exact as a quantile. Rejected: a second pair
// of extremes that the reader resets, which would allow for one reader only
// and cost each record two more comparisons.
func (h *histogram) since(prev *snapshot) (delta snapshot) {
	for i := range h.segments {
		cells := h.segments[i].Load()
		if cells == nil {
			continue
		}
		before := prev.segment(i)
		for j := range cells {
			n := cells[j].Load()
			if n == before[j] {
				continue
			}
			delta.segment(i)[j] = n - before[j]
			delta.count += n - before[j]
			before[j] = n
		}
	}
	if delta.count == 0 {
		return delta
	}
	total, shortest, longest := h.total(), h.shortest(), time.Duration(h.max.Load())
	delta.sum = total.minus(prev.sum)
	delta.min, delta.max = shortest, longest // bounds for the quantiles
	first, last := delta.quantile(0), delta.quantile(1000)
	if prev.count > 0 && shortest == prev.min {
		delta.min = first
	}
	if prev.count > 0 && longest == prev.max {
		delta.max = last
	}
	prev.count += delta.count
	prev.sum, prev.min, prev.max = total, shortest, longest
	return delta
}

// snapshot is what a histogram held at some time, what several held together,
// or what was added to one between two times. The zero value is empty. A copy
// shares its cells with the original.
type snapshot struct {
	segments [segmentCount]*[segmentCells]uint64 // nil: nothing in it
	count    uint64                              // the sum of all cells
	failed   uint64                              // of them, those that failed; at most count
	sum      wideSum
	min, max time.Duration // zero if count is
}

func (s *snapshot) segment(i int) *[segmentCells]uint64 {
	if s.segments[i] == nil {
		s.segments[i] = new([segmentCells]uint64)
	}
	return s.segments[i]
}

// merge adds what another snapshot holds, as if all of it had been recorded in
// one histogram. The other one is left as it is.
func (s *snapshot) merge(other *snapshot) {
	s.failed += other.failed
	if other.count == 0 {
		return
	}
	if s.count == 0 || other.min < s.min {
		s.min = other.min
	}
	s.max = max(s.max, other.max)
	s.count += other.count
	s.sum = s.sum.plus(other.sum)
	for i, cells := range other.segments {
		if cells != nil {
			to := s.segment(i)
			for j, n := range cells {
				to[j] += n
			}
		}
	}
}

// quantile returns the duration that this many of a thousand durations don't
// exceed (by nearest rank: it is one that was recorded, give or take the error
// of its cell). It is zero if there are none. The rank is computed in integers,
// since 0.95 times 20 may be more than 19 in floating point.
func (s *snapshot) quantile(permille uint64) time.Duration {
	if s.count == 0 {
		return 0
	}
	rank := max(1, s.count/1000*permille+(s.count%1000*permille+999)/1000)
	for i, cells := range s.segments {
		if cells == nil {
			continue
		}
		for j, n := range cells {
			if n >= rank {
				return s.middle(i, j)
			}
			rank -= n
		}
	}
	return s.max
}

// middle is the duration that stands for those in a cell. What is too long for
// the histogram is in its last cell, for which the maximum stands.
func (s *snapshot) middle(segment, cell int) time.Duration {
	if segment == segmentCount-1 && cell == segmentCells-1 && s.max >= longTime {
		return s.max
	}
	from, width := cellBounds(segment, cell)
	return min(max(from+(width-1)/2, s.min), s.max)
}

// mean is the sum divided by the count.
func (s *snapshot) mean() time.Duration {
	if s.count == 0 {
		return 0
	}
	if s.sum.hi >= s.count { // the sum is ahead of the count
		return s.max
	}
	mean, _ := bits.Div64(s.sum.hi, s.sum.lo, s.count)
	return min(max(time.Duration(min(mean, math.MaxInt64)), s.min), s.max)
}

// cellOf returns the cell that counts d: the duration itself below
// segmentCells, then its power of two and the bits that follow the first one.
func cellOf(d time.Duration) (segment, cell int) {
	v := uint64(min(d, longTime-1))
	if v < segmentCells {
		return 0, int(v)
	}
	segment = bits.Len64(v) - cellBits
	return segment, int(v>>(segment-1)) & (segmentCells - 1)
}

// cellBounds is the inverse: the shortest duration of a cell, and how many it
// spans.
func cellBounds(segment, cell int) (from, width time.Duration) {
	if segment == 0 {
		return time.Duration(cell), 1
	}
	width = 1 << (segment - 1)
	return time.Duration(segmentCells+cell) * width, width
}

// wideSum is a sum of durations in nanoseconds that can't overflow.
type wideSum struct{ hi, lo uint64 }

func (a wideSum) plus(b wideSum) wideSum {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	return wideSum{hi: a.hi + b.hi + carry, lo: lo}
}

func (a wideSum) minus(b wideSum) wideSum {
	lo, borrow := bits.Sub64(a.lo, b.lo, 0)
	return wideSum{hi: a.hi - b.hi - borrow, lo: lo}
}

// raise makes *a at least v.
func raise(a *atomic.Int64, v int64) {
	for old := a.Load(); v > old; old = a.Load() {
		if a.CompareAndSwap(old, v) {
			return
		}
	}
}
