package firehose

import (
	"context"
	"iter"
	"sync"
)

// feedSize is how many events wait for a reader that is slow.
const feedSize = 1024

// feed hands events to those who read them. Its zero value has no reader.
type feed struct {
	mu      sync.Mutex
	readers map[*reader]struct{}
}

// reader is a ring of events between the flow, which never waits, and one who
// reads.
type reader struct {
	ring   []Event
	missed uint64
	wake   chan struct{} // holds at most one sign
}

func (f *feed) send(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for r := range f.readers {
		if len(r.ring) == feedSize { // half of it at once, so that a reader that is far behind costs little
			r.ring = r.ring[:copy(r.ring, r.ring[feedSize/2:])]
			r.missed += feedSize / 2
		}
		r.ring = append(r.ring, e)
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

func (f *feed) join() *reader {
	r := &reader{wake: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers == nil {
		f.readers = map[*reader]struct{}{}
	}
	f.readers[r] = struct{}{}
	return r
}

func (f *feed) leave(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, r)
}

func (f *feed) take(r *reader) []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	events := r.ring
	r.ring = nil
	if len(events) > 0 {
		events[0].Missed, r.missed = r.missed, 0
	}
	return events
}

// Watch yields what happens from the call on, in order, until ctx ends or the
// loop is left; each call of Watch is a reader of its own. The flow never waits
// for a reader: of one that is more than 1024 events behind, the oldest are
// dropped, and the next event that it gets says in Missed how many those were.
func (o *OS) Watch(ctx context.Context) iter.Seq[Event] {
	r := o.f.feed.join()
	context.AfterFunc(ctx, func() { o.f.feed.leave(r) }) // also of one whose loop never began
	return func(yield func(Event) bool) {
		defer o.f.feed.leave(r)
		for {
			for _, e := range o.f.feed.take(r) {
				if !yield(e) {
					return
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-r.wake:
			}
		}
	}
}
