package main

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations in cells that grow with them: 64 to each power of
// two of nanoseconds, so that a cell is 1.6 % wide. The zero histogram is empty.
type histogram struct {
	cells [cellsInAll]atomic.Int64
}

const (
	cellBits   = 6
	cellsInAll = (64 - cellBits) << cellBits
)

// add counts a duration; one below zero counts as zero.
func (h *histogram) add(d time.Duration) {
	v := uint64(max(0, d))
	shift := max(0, bits.Len64(v)-1-cellBits)
	h.cells[shift<<cellBits+int(v>>shift)].Add(1)
}

// quantile is what so many percent of the durations were no longer than; zero if
// there are none.
func (h *histogram) quantile(percent int64) time.Duration {
	total := h.count()
	rank, seen := (total*percent+99)/100, int64(0)
	for i := range h.cells {
		if seen += h.cells[i].Load(); seen >= rank && seen > 0 {
			shift := max(0, i>>cellBits-1)
			first := i - shift<<cellBits
			return time.Duration((uint64(first)+1)<<shift - 1)
		}
	}
	return 0
}

func (h *histogram) count() (total int64) {
	for i := range h.cells {
		total += h.cells[i].Load()
	}
	return total
}
