package scheduler

import (
	"fmt"
	"iter"
	"strconv"
	"time"
)

// entry is all that is kept of one alias. Its fields are guarded by the
// manager, except those set once when it is made. It is kept small, since an
// OS may hold a hundred thousand of them.
type entry struct {
	manager *ServiceManager
	alias   string
	service Service        // or
	factory func() Service // makes one for each run
	options *options
	serial  uint64 // order of addition
	links   *links // nil: depends on nobody and nobody on it
	chain   *chain // nil: no handlers
	pool    *pool  // nil: solo is the only worker
	solo    worker

	want    bool  // shall run, as far as Start and Stop said
	bounce  bool  // Restart asked for it to come to rest once
	halted  bool  // a failure halted it
	down    bool  // must come to rest, and stay so
	removed bool  // Remove was called: to be forgotten once at rest
	gone    bool  // forgotten
	class   class // as last counted in the manager
	busy    int32 // workers with a live run

	dropped    uint64        // failures that its chains lost
	starts     uint64        // runs begun
	failures   uint64        // runs that failed
	exceptions *ring         // nil: none yet
	changed    chan struct{} // closed at the next change; nil: nobody waits
}

// worker is one slot of a service: it has at most one run at a time.
type worker struct {
	entry      *entry
	run        *run        // the latest; nil before the first
	timer      *time.Timer // delay, start timeout, stop timeout or backoff: one at a time
	ends       *[]time.Duration
	since      time.Duration // of state, as an offset of the manager's birth
	next       time.Duration // when the timer starts a run, likewise
	generation uint64
	seq        uint64 // counts changes of state; a timer of an older one is void
	streak     int    // unplanned ends in a row
	index      int32  // from 1 in a pool, else 0
	state      State
	end        End
	seen       bool // was ready, or ended for good, since the entry came to rest
}

// pool is what an entry with several workers has in addition.
type pool struct {
	workers []worker
	count   [BackingOff + 1]int // workers in each state
	seen    int                 // workers with seen set
}

// links are an entry's edges in the graph of dependencies.
type links struct {
	needs      []*entry
	dependants []*entry
	blockers   int // needs that are down
	busy       int // dependants with live runs
}

// class is what a service counts as for those who wait for all to be started.
type class uint8

const (
	settled class = iota // started, completed, or stopped on purpose
	pending              // wanted, and not yet started
	dead                 // wanted, but ended by failure
	classes
)

func newEntry(m *ServiceManager, spec *Spec) *entry {
	e := &entry{
		manager: m, alias: spec.Alias, service: spec.Service, factory: spec.Factory,
		options: m.defaults, want: true, down: true,
		chain: newChain(spec.Alias, m.limits.handlerTimeout, spec.PreHook, spec.Handlers, spec.PostHook),
	}
	if !spec.isDefault() {
		o := spec.options()
		e.options = &o
	}
	if spec.Pool > 1 {
		e.pool = &pool{workers: make([]worker, spec.Pool)}
		e.pool.count[Idle] = spec.Pool
	}
	i := int32(0)
	for w := range e.workers() {
		i++
		w.entry, w.since = e, m.now()
		if e.pool != nil {
			w.index = i
		}
	}
	return e
}

// workers yields every worker.
func (e *entry) workers() iter.Seq[*worker] {
	return func(yield func(*worker) bool) {
		if e.pool == nil {
			yield(&e.solo)
			return
		}
		for i := range e.pool.workers {
			if !yield(&e.pool.workers[i]) {
				return
			}
		}
	}
}

func (e *entry) size() int {
	if e.pool == nil {
		return 1
	}
	return len(e.pool.workers)
}

func (e *entry) needs() []*entry {
	if e.links == nil {
		return nil
	}
	return e.links.needs
}

func (e *entry) dependants() []*entry {
	if e.links == nil {
		return nil
	}
	return e.links.dependants
}

func (e *entry) link() *links {
	if e.links == nil {
		e.links = &links{}
	}
	return e.links
}

// state is the worker's, or what the workers of a pool amount to, without
// looking at each.
func (e *entry) state() State {
	if e.pool == nil {
		return e.solo.state
	}
	n := &e.pool.count
	switch {
	case e.down && n[Stopping] > 0:
		return Stopping
	case n[Started] > 0 && e.pool.seen == len(e.pool.workers):
		return Started
	case n[Starting]+n[Started] > 0:
		return Starting
	case n[Stopping] > 0:
		return Stopping
	case n[BackingOff] > 0:
		return BackingOff
	case n[Idle] > 0:
		return Idle
	}
	return Stopped
}

// end is that of the worker that ended worst.
func (e *entry) end() End {
	worst := NotEnded
	for w := range e.workers() {
		worst = max(worst, w.end)
	}
	return worst
}

// up reports whether those that come After may start.
func (e *entry) up() bool {
	switch e.state() {
	case Started:
		return true
	case Stopped:
		return e.end() == Completed
	}
	return false
}

func (e *entry) needsUp() bool {
	for _, need := range e.needs() {
		if !need.up() {
			return false
		}
	}
	return true
}

// ready counts the workers that are started.
func (e *entry) ready() int {
	if e.pool != nil {
		return e.pool.count[Started]
	}
	if e.solo.state == Started {
		return 1
	}
	return 0
}

// zombie reports whether an abandoned run of the worker still runs.
func (w *worker) zombie() bool { return w.run != nil && w.run.abandoned && !w.run.ended }

// zombies counts the workers whose abandoned run still runs.
func (e *entry) zombies() (n int) {
	for w := range e.workers() {
		if w.zombie() {
			n++
		}
	}
	return n
}

// path is the lineage of the worker below a root.
func (w *worker) path(root string) string {
	path := root + "/" + w.entry.alias
	if w.index > 0 {
		path += "/" + strconv.Itoa(int(w.index))
	}
	return path
}

// reason says in words why the entry is not started. It leaves out the failure
// (see culprit), whose Error method is foreign code.
func (e *entry) reason(now time.Duration) string {
	switch e.state() {
	case Started:
		return ""
	case Starting:
		if e.pool != nil {
			return fmt.Sprintf("%d of %d workers ready", e.pool.count[Started], len(e.pool.workers))
		}
		return "has not said Ready"
	case Stopping:
		return "its run has not ended"
	case BackingOff:
		return fmt.Sprintf("starts again in %v", max(0, e.next()-now))
	case Idle:
		return e.idleReason(now)
	}
	switch end := e.end(); end {
	case Abandoned:
		if e.zombies() == 0 {
			return "abandoned; ended since"
		}
		return "abandoned; its run has still not ended"
	case NotEnded:
		return "stopped before it ran"
	default:
		return end.String()
	}
}

// culprit returns the failure for which the entry is not started, if it is one.
func (e *entry) culprit() error {
	switch state, end := e.state(), e.end(); {
	case state == BackingOff && e.failures > 0, state == Stopped && (end == Failed || end == GaveUp):
		return e.exceptions.latest()
	}
	return nil
}

func (e *entry) idleReason(now time.Duration) string {
	waits := ""
	for _, need := range e.needs() {
		if need.up() && !need.down {
			continue
		}
		if waits != "" {
			waits += ", "
		}
		waits += need.alias + " (" + need.state().String() + ")"
	}
	switch next := e.next(); {
	case waits != "":
		return "waits for " + waits
	case next > now:
		return fmt.Sprintf("start delay, %v left", next-now)
	case e.manager.session == nil:
		return "waits for Serve"
	}
	return "about to start"
}

// next is when the earliest worker that waits for a time is started, or zero.
func (e *entry) next() (at time.Duration) {
	for w := range e.workers() {
		if (w.state == Idle || w.state == BackingOff) && w.timer != nil && (at == 0 || w.next < at) {
			at = w.next
		}
	}
	return at
}

// status makes the snapshot. The caller holds the manager's lock.
func (e *entry) status(now time.Duration) Status {
	m := e.manager
	s := Status{
		Alias: e.alias, Path: m.root + "/" + e.alias,
		State: e.state(), End: e.end(), Reason: e.reason(now), Err: e.culprit(),
		Workers: e.size(), Ready: e.ready(), Starts: e.starts, Failures: e.failures,
		Dropped: e.dropped, Exceptions: e.exceptions.all(),
	}
	var since time.Duration
	for w := range e.workers() {
		since = max(since, w.since)
		s.Generation += w.generation
	}
	s.Since = m.birth.Add(since)
	if next := e.next(); next > 0 {
		s.Next = m.birth.Add(next)
	}
	for _, need := range e.needs() {
		s.After = append(s.After, need.alias)
	}
	for r := range m.zombies {
		if r.worker.entry == e {
			s.Abandoned++
		}
	}
	return s
}
