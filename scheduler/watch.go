package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"
)

// Bounds of [Directory.Watch].
const (
	DefaultEventBuffer = 256
	MaxEventBuffer     = 1 << 20
)

// EventKind says what an [Event] tells.
type EventKind uint8

const (
	// EventReset: what was told before is void. What there is now follows, an
	// EventPresent for each service. It is the first event, and comes again
	// whenever events were missed.
	EventReset EventKind = iota
	// EventPresent: the service was there when it was looked at after a Reset.
	EventPresent
	// EventSynced: all that is there was told, and nothing waits to be.
	EventSynced
	// EventAdded: the service was added, or its scheduler is served now in one
	// that is watched.
	EventAdded
	// EventChanged: the state changed, or, from Starting to Starting, the next
	// run began.
	EventChanged
	// EventFailed: Failure happened. What follows is told by the EventChanged
	// after it, if anything does.
	EventFailed
	// EventRemoved: the service was removed, or its scheduler is no longer
	// served in the one that is watched.
	EventRemoved
	// EventJudged: the Condition of the service changed; see [Bounds].
	EventJudged
)

var eventNames = [...]string{"reset", "present", "synced", "added", "changed", "failed", "removed", "judged"}

func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// MarshalText makes kinds readable in JSON.
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Event is what happened to a service, or to one worker of a pool: a pool is
// told of by its workers only, save that a failure of all of them together, by
// its Bounds, is told of the pool. The receiver owns it.
type Event struct {
	At         time.Time // of what happened; of a Present, when it was looked at
	Kind       EventKind // what happened
	Path       string    // lineage, with the number of the worker in a pool; empty for Reset and Synced
	Alias      string    // of the service
	Worker     int       // from 1 in a pool; 0 if it is none, or of a failure of all workers
	Generation uint64    // of the latest run, counted for each worker; of a Failed, of the run that failed
	From       State     // of a Changed: the state before
	State      State     // since this event
	End        End       // how the worker came to rest, if it did
	Service    State     // of the whole service: as State, unless it is a pool
	Condition  Condition // of the whole service; of a Judged, since this event
	// Failure is set for a Failed.
	Failure *Exception
	// Missed is the number of events that were lost before a Reset, at least.
	Missed uint64
}

// Watch tells what there is and then what happens, so that whoever follows has
// a live view without gaps: a Reset, a Present for each service, a Synced, and
// from then on an event for each change. A view is a map by Path, cleared by a
// Reset, in which each event but Removed puts its State:
//
//	for event, err := range directory.Watch(ctx, 0) {
//		if err != nil {
//			return err // why ctx has ended
//		}
//		switch event.Kind {
//		case scheduler.EventReset:
//			clear(view)
//		case scheduler.EventRemoved:
//			delete(view, event.Path)
//		case scheduler.EventSynced:
//		default:
//			view[event.Path] = event.State
//		}
//	}
//
// buffer is the number of events that wait for the loop; zero means
// DefaultEventBuffer, and at most MaxEventBuffer is allowed. Nobody ever waits
// for the loop: if it is too slow, what waits is still told, in order; what
// comes after it is lost, and a Reset with the number of lost ones starts the
// view anew. Rejected: to lose the oldest, which leaves a view that is wrong
// with no way to tell in what.
//
// Events of one scheduler come in the order in which they happened. While the
// services are told of after a Reset, changes of those told already may come
// between. Schedulers served inside of this one are told of as well, from when
// they are served until they are not, or are abandoned; their paths tell.
//
// It works before, during, between and after calls of Serve, and may be
// iterated any number of times, also at the same time. It starts no goroutine,
// and it costs the schedulers nothing but while it is iterated.
//
// The last pair has an error: a *SpecError for a buffer out of range, else the
// cause of ctx. A loop may break off at any time.
func (d *Directory) Watch(ctx context.Context, buffer int) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if buffer < 0 || buffer > MaxEventBuffer {
			yield(Event{}, &SpecError{Field: "buffer", Reason: fmt.Sprintf(
				"%d is not between 0, for the default, and %d", buffer, MaxEventBuffer)})
			return
		}
		missed, again := uint64(0), true
		for again {
			w := newWatcher(cmp.Or(buffer, DefaultEventBuffer))
			missed, again = w.follow(ctx, d.manager, missed, yield)
		}
	}
}

// follow tells what there is and what happens until the loop ends, or, with
// again, until events were missed.
func (w *watcher) follow(ctx context.Context, m *ServiceManager, before uint64, yield func(Event, error) bool) (missed uint64, again bool) {
	defer func() { missed = w.end() }()
	m.mu.Lock()
	m.attach(w, false)
	m.unlock()
	if ctx.Err() == nil && !yield(Event{Kind: EventReset, At: time.Now(), Missed: before}, nil) {
		return
	}
	kind := EventPresent
	for {
		if ctx.Err() != nil {
			yield(Event{}, context.Cause(ctx))
			return
		}
		told, f, stale := w.next()
		switch {
		case told.worker != nil:
			if !yield(told.event(), nil) {
				return
			}
		case stale:
			return 0, true
		case f != nil:
			f.list(kind)
		case kind == EventPresent:
			kind = EventAdded
			if !yield(Event{Kind: EventSynced, At: time.Now()}, nil) {
				return
			}
		default:
			select {
			case <-w.wakeup:
			case <-ctx.Done():
			}
		}
	}
}

// watcher is one iteration of Watch, from a Reset to the next.
type watcher struct {
	buffer int
	wakeup chan struct{} // capacity 1: there is something to be done

	// mu is the innermost lock: it is taken under the managers', and nothing
	// is locked under it.
	mu      sync.Mutex
	waiting []told // a ring that grows up to buffer
	head, n int
	stale   bool // the view is to be told anew; nothing is taken any more
	missed  uint64
	over    bool
	feeds   map[*ServiceManager]*feed // of those who tell it
	pending []*feed                   // whose services are to be listed, in turn
}

// told is an event on its way. What takes time to make is made when it is
// delivered.
type told struct {
	Event
	worker *worker
	root   string
}

func (t *told) event() Event {
	e := t.Event
	e.Path = t.worker.path(t.root)
	if e.Failure != nil {
		e.Failure = new(*e.Failure) // others are given it too
	}
	return e
}

func newWatcher(buffer int) *watcher {
	return &watcher{buffer: buffer, wakeup: make(chan struct{}, 1), feeds: make(map[*ServiceManager]*feed)}
}

func (w *watcher) wake() {
	select {
	case w.wakeup <- struct{}{}:
	default:
	}
}

// push makes an event wait for the loop, or makes the view stale.
func (w *watcher) push(t told) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.put(t) {
		w.stale = true
		w.missed++
	}
}

// offer is push for what can be told later as well.
func (w *watcher) offer(t told) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.put(t)
}

// put makes an event wait if there is room. The caller holds mu.
func (w *watcher) put(t told) bool {
	if w.stale || w.n == w.buffer {
		return false
	}
	if w.n == len(w.waiting) {
		bigger := make([]told, min(max(2*w.n, 16), w.buffer))
		n := copy(bigger, w.waiting[w.head:])
		copy(bigger[n:], w.waiting[:w.head])
		w.waiting, w.head = bigger, 0
	}
	w.waiting[(w.head+w.n)%len(w.waiting)] = t
	w.n++
	if w.n == 1 {
		w.wake()
	}
	return true
}

// next returns the next event, or, when none waits, whether the view is stale,
// or what is to be listed.
func (w *watcher) next() (t told, f *feed, stale bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.n > 0:
		t, w.waiting[w.head] = w.waiting[w.head], told{}
		w.head = (w.head + 1) % len(w.waiting)
		w.n--
	case w.stale:
		stale = true
	case len(w.pending) > 0:
		f = w.pending[0]
	}
	return t, f, stale
}

// listed ends the listing of the feed whose turn it was.
func (w *watcher) listed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = slices.Delete(w.pending, 0, 1)
}

// invalidate makes the view stale.
func (w *watcher) invalidate() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stale = true
	w.wake()
}

// end makes nobody tell the watcher any more, and returns how many events were
// missed.
func (w *watcher) end() uint64 {
	w.mu.Lock()
	feeds := w.feeds
	w.feeds, w.over = nil, true
	w.mu.Unlock()
	for m, f := range feeds {
		m.mu.Lock()
		f.closed = true
		m.feeds = slices.DeleteFunc(m.feeds, func(o *feed) bool { return o == f })
		m.unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.missed
}

// forget makes a manager that is not watched any more attachable anew.
func (w *watcher) forget(m *ServiceManager) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.feeds, m)
}
