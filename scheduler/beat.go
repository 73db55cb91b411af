package scheduler

import "time"

// beat is what the cop keeps of one entry. The fields up to wary belong to its
// goroutine, of which there is one at a time, as long as the beat is not in the
// heap.
type beat struct {
	entry  *entry
	gauge  *gauge
	bounds *Bounds

	due     time.Duration // the earlier of the next two
	tick    time.Duration // when the window ends
	stallAt time.Duration // when the runs are looked at for progress
	since   time.Duration // when the window began
	seen    snapshot      // likewise; unused without bounds
	wary    bool          // a run was stalled at the last look

	// Guarded by the cop's mutex.
	place     int  // in the heap, from 1; zero: not there
	dismissed bool // its alias is removed

	// Guarded by the manager.
	started time.Duration // since when the entry is Started; zero: it is not
	conduct conduct
	stalled map[*run]struct{} // runs that make no progress, told already
	stall   string            // how the latest of them did not, in words
}

func newBeat(e *entry, now time.Duration) *beat {
	b := &beat{entry: e, gauge: newGauge(e.manager.birth), bounds: &e.options.bounds}
	b.since = now
	b.tick = later(now, b.bounds.Window)
	b.stallAt = later(now, b.bounds.Stall)
	b.moved(now)
	b.plan()
	return b
}

// plan works out when the beat is due.
func (b *beat) plan() {
	b.due = b.tick
	if b.bounds.Stall > 0 {
		b.due = min(b.due, b.stallAt)
	}
}

// moved follows when a worker of the entry has changed its state. What was held
// against a service ends when it is not started any more: the next run has done
// nothing. The caller holds the manager's lock.
func (b *beat) moved(now time.Duration) {
	switch started := b.entry.state() == Started; {
	case !started:
		b.started, b.conduct = 0, conduct{}
	case b.started == 0:
		b.started = now
	}
}

// beatHeap has the beat that is due first in front.
type beatHeap []*beat

func (h beatHeap) Len() int           { return len(h) }
func (h beatHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h beatHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

func (h *beatHeap) Push(b any) {
	*h = append(*h, b.(*beat))
	(*h)[len(*h)-1].place = len(*h)
}

func (h *beatHeap) Pop() any {
	old := *h
	b := old[len(old)-1]
	b.place = 0
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return b
}

// read returns the window that ends now, and begins the next one.
func (b *beat) read(now time.Duration) *window {
	w := &window{begin: b.since, latency: b.gauge.window(&b.seen)}
	w.operations, w.failed = w.latency.count, w.latency.failed
	b.since = now
	return w
}
