package scheduler

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Everything in this file is decided from what it is given: it reads no clock
// and takes no lock.

// window is what was measured from one reading to the next.
type window struct {
	begin              time.Duration
	operations, failed uint64
	latency            snapshot
}

// allFailed reports whether all operations of the window failed.
func (w *window) allFailed() bool { return w.operations > 0 && w.failed == w.operations }

// broken says in words which bounds the window breaks.
func (b *Bounds) broken(s *snapshot) string {
	if s.count == 0 {
		return ""
	}
	var all []string
	for _, l := range b.latencies() {
		if l.limit == 0 {
			continue
		}
		if took := l.measure(s); l.breaks(took) {
			all = append(all, fmt.Sprintf("%s of %v is above %v", l.name, rounded(took), l.limit))
		}
	}
	return strings.Join(all, ", ")
}

// measure returns what the bound bounds.
func (b *latencyBound) measure(s *snapshot) time.Duration {
	switch b.permille {
	case maxPermille:
		return s.max
	case meanPermille:
		return s.mean()
	}
	return s.quantile(b.permille)
}

// breaks reports whether what was measured is above the bound. A quantile, and
// the maximum of a window, are only known to lie in a cell of the histogram:
// for a doubt the service is not blamed, so that what takes as long as is
// allowed is allowed.
func (b *latencyBound) breaks(took time.Duration) bool {
	if b.permille == meanPermille || b.limit >= longTime {
		return took > b.limit
	}
	segment, cell := cellOf(took)
	allowed, last := cellOf(b.limit)
	return segment > allowed || segment == allowed && cell > last
}

// conduct is what a service's windows hold against it.
type conduct struct {
	slow    int    // windows in a row that broke a bound
	failing int    // windows in a row all of whose operations failed
	concern string // in words; empty: nothing
}

// finding is what follows from a window.
type finding uint8

const (
	nothingNew finding = iota
	foundBad           // for the first time since it was good
	foundGood          // for the first time since it was bad
)

// take judges a window. A verdict is reached once; it is over with a window
// that is good in every respect.
func (c *conduct) take(bounds *Bounds, w *window) finding {
	if w.operations < uint64(bounds.Samples) {
		return nothingNew
	}
	broken := bounds.broken(&w.latency)
	c.slow = oneMoreIf(broken != "", c.slow)
	c.failing = oneMoreIf(w.allFailed(), c.failing)
	was, concern := c.concern, ""
	switch {
	case c.failing >= bounds.Windows:
		concern = fmt.Sprintf("all operations failed in %d windows of %v, %d in the latest", c.failing, bounds.Window, w.operations)
	case c.slow >= bounds.Windows:
		concern = fmt.Sprintf("%s, in %d windows of %v", broken, c.slow, bounds.Window)
	case c.failing > 0 || c.slow > 0:
		return nothingNew
	}
	c.concern = concern
	switch cmp.Compare(len(concern), 0) - cmp.Compare(len(was), 0) {
	case 1:
		return foundBad
	case -1:
		return foundGood
	}
	return nothingNew
}

func oneMoreIf(more bool, n int) int {
	if more {
		return n + 1
	}
	return 0
}

// later adds a time to wait to an offset; what is too far off is never.
func later(now, wait time.Duration) time.Duration {
	const never = time.Duration(1<<63 - 1)
	if wait > never-now {
		return never
	}
	return now + wait
}
