package firehosetest

import (
	"math/bits"
	"time"
)

// histogram counts durations in microseconds, exactly below 32 and to one part
// in 32 above. It is of fixed size, whatever it counts.
type histogram struct {
	counts [64 * 32]int64
	total  int64
}

func (h *histogram) record(d time.Duration) {
	h.counts[slotOf(uint64(max(d.Microseconds(), 0)))]++
	h.total++
}

func slotOf(us uint64) int {
	if us < 32 {
		return int(us)
	}
	shift := bits.Len64(us) - 6
	return (shift+1)*32 + int(us>>shift) - 32
}

// quantile returns the middle of the slot that holds the quantile, in
// milliseconds; zero when nothing was counted.
func (h *histogram) quantile(q float64) float64 {
	rank := int64(q * float64(h.total))
	for slot, n := range h.counts {
		if rank -= n; rank < 0 {
			return middleOf(slot) / 1000
		}
	}
	return 0
}

func middleOf(slot int) float64 {
	if slot < 32 {
		return float64(slot)
	}
	shift := slot/32 - 1
	low := uint64(32+slot%32) << shift
	return float64(low) + float64(uint64(1)<<shift-1)/2
}
