package scheduler

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
)

// entry is all that is kept of one alias. Its fields are guarded by the
// manager, except those set once when it is made. It is kept small, since an
// OS may hold a hundred thousand of them.
type entry struct {
	*extra   // to be written through own
	*options // never written
	alias    string
	service  Service // nil: factory makes one for each run
	serial   uint64  // order of addition
	solo     worker

	want    bool  // shall run, as far as Start and Stop said
	off     bool  // is not wanted, or comes after one that is off
	bounce  bool  // Restart asked for it to come to rest once
	halted  bool  // a failure halted it
	held    bool  // its group is restarting
	gentle  bool  // is to be drained before it is asked to stop
	down    bool  // must come to rest, and stay so
	removed bool  // Remove was called: to be forgotten once at rest
	gone    bool  // forgotten
	class   class // as last counted in the manager
	busy    int32 // workers with a live run

	uptime time.Duration // that workers were started, without those that are now
}

// extra is what most entries never have: those without share one of the
// manager's, which stays blank.
type extra struct {
	factory    func() Service
	links      *links        // nil: depends on nobody and nobody on it
	chain      *chain        // nil: no handlers
	pool       *pool         // nil: solo is the only worker
	keep       *keep         // nil: nothing of it yet
	exceptions *ring         // nil: none yet
	dropped    uint64        // failures that its chains lost
	failures   uint64        // runs that failed
	abandoned  int           // abandoned runs that still run, those that were replaced included
	changed    chan struct{} // closed at the next change; nil: nobody waits
}

// own returns the entry's extra fields for writing.
func (e *entry) own() *extra {
	if e.extra == &e.manager.blank.extra {
		e.extra = &extra{}
	}
	return e.extra
}

// blank is what entries and runs refer to as long as nothing rare is known of
// them. It is never written.
type blank struct {
	extra extra
	rare  rare
}

// worker is one slot of a service: it has at most one run at a time.
type worker struct {
	entry      *entry
	run        *run          // the latest; nil before the first
	ends       *instants     // that count against RetryLimit
	since      time.Duration // of state, as an offset of the manager's birth
	next       time.Duration // when something is due for it, if armed; likewise
	generation uint64
	streak     int32 // unplanned ends in a row
	index      int32 // from 1 in a pool, else 0
	state      State
	end        End
	armed      bool // waits for next: delay, timeout, backoff or tick, as its state says
	seen       bool // was ready, or ended for good, since the entry came to rest
	due        bool // of a scheduled service: the next launch is a run
	retired    bool // of a pool: is to go once at rest
}

// pool is what an entry with several workers has in addition.
type pool struct {
	workers []*worker
	size    int                // workers that are not retired
	count   [states]int        // workers in each state, the retired included
	seen    int                // workers with seen set, without the retired
	starts  uint64             // runs begun, also of workers that are gone
	ends    [Abandoned + 1]int // workers with each end, without the retired
}

// keep is what only some services need: of a schedule, of statistics, of
// state that was checked in.
type keep struct {
	table     *timetable // of the schedule, from its present start
	tick      time.Time  // that is waited for
	next      time.Time  // when the run for it is due: with its jitter
	accounted time.Time  // up to which ticks were served or counted as skipped
	skipped   uint64     // ticks that fell into a run, or that nobody was there for
	queued    int        // ticks that wait for the run to end

	beat *beat // nil: no run of it asked for its Meter
	hook *step // of its Bounds; nil: never called
	late int   // runs that are over though their state doesn't say so
}

// now is the time by the clock that the schedule follows.
func (k *keep) now() time.Time {
	if k.table.wallClock() {
		return time.Now().Round(0)
	}
	return time.Now()
}

// links are an entry's edges in the graph of dependencies.
type links struct {
	needs      []*entry
	dependants []*entry
	blockers   int  // needs that are down
	off        int  // needs that are off
	busy       int  // dependants that have live runs, or are followed by some that have
	lacking    int  // needs that don't stand
	barred     int  // needs that bar
	stands     bool // as last told the dependants
	bars       bool // likewise
}

// class is what a service counts as for those who wait for all to be started.
type class uint8

const (
	settled class = iota // started, completed, or stopped on purpose
	pending              // wanted, and not yet started
	barred               // likewise, and it won't be: what it comes after is dead
	dead                 // wanted, but ended by failure
	spent                // likewise, of one that is run once, whatever comes of it
	classes
)

// over reports whether the service has ended by failure.
func (c class) over() bool { return c == dead || c == spent }

func newEntry(m *ServiceManager, spec *Spec, o *options) *entry {
	e := &entry{
		extra: &m.blank.extra, options: o, alias: spec.Alias, service: spec.Service, want: true, down: true,
	}
	if spec.Factory != nil {
		e.own().factory = spec.Factory
	}
	if c := newChain(spec.Alias, m.limits.handlerTimeout, spec.PreHook, spec.Handlers, spec.PostHook); c != nil {
		e.own().chain = c
	}
	if o.timetable != nil {
		e.own().keep = &keep{}
	}
	if spec.Pool > 0 {
		e.own().pool = &pool{}
		e.grow(spec.Pool)
	} else {
		e.solo.entry, e.solo.since = e, m.now()
	}
	return e
}

// grow adds idle workers to a pool.
func (e *entry) grow(n int) {
	p := e.pool
	made := make([]worker, n)
	now := e.manager.now()
	for i := range made {
		w := &made[i]
		w.entry, w.since, w.index = e, now, int32(len(p.workers)+1)
		p.workers = append(p.workers, w)
	}
	p.size += n
	p.count[Idle] += n
	p.ends[NotEnded] += n
}

// workers yields every worker.
func (e *entry) workers() iter.Seq[*worker] {
	return func(yield func(*worker) bool) {
		if e.pool == nil {
			yield(&e.solo)
			return
		}
		for _, w := range e.pool.workers {
			if !yield(w) {
				return
			}
		}
	}
}

// starts counts the runs that were begun.
func (e *entry) starts() uint64 {
	if e.pool == nil {
		return e.solo.generation
	}
	return e.pool.starts
}

func (e *entry) size() int {
	if e.pool == nil {
		return 1
	}
	return e.pool.size
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
		e.own().links = &links{stands: e.up(), bars: e.dead()}
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
	case e.down && n[Draining] > 0:
		return Draining
	case e.down && n[Stopping] > 0:
		return Stopping
	case n[Started] > 0 && e.pool.seen >= e.pool.size:
		return Started
	case n[Starting]+n[Started] > 0:
		return Starting
	case n[Waiting] > 0:
		return Waiting
	case n[Draining] > 0:
		return Draining
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
	if e.pool == nil {
		return e.solo.end
	}
	for worst := Abandoned; worst > NotEnded; worst-- {
		if e.pool.ends[worst] > 0 {
			return worst
		}
	}
	return NotEnded
}

// up reports whether those that come After may start.
func (e *entry) up() bool {
	state := e.state()
	switch {
	case state == Stopped:
		return e.end() == Completed
	case e.options.timetable != nil:
		return state != Idle
	}
	// Not while it drains: that ends with its stop, also if Start was called
	// meanwhile. A pool's workers that go are nobody's business.
	return state == Started
}

// completed reports whether the entry has done what it was to do.
func (e *entry) completed() bool { return e.state() == Stopped && e.end() == Completed }

// met reports whether nothing of the entry is waited for. One that has completed
// has done so, whatever becomes of what it came after; another Serve wants it
// again.
func (e *entry) met() bool {
	return e.class == settled && (!e.down || e.completed() && e.manager.serving())
}

// setEnd notes how the worker came to rest.
func (w *worker) setEnd(end End) {
	if p := w.entry.pool; p != nil && !w.retired {
		p.ends[w.end]--
		p.ends[end]++
	}
	w.end = end
}

// retire makes a worker of a pool go once it rests, or takes that back.
func (w *worker) retire(goes bool) {
	p := w.entry.pool
	w.retired = goes
	if goes {
		p.size--
		p.ends[w.end]--
	} else {
		p.size++
		p.ends[w.end]++
	}
}

// group is the one whose strategy it is subject to, or nil.
func (e *entry) group() *group { return e.options.group }

func (e *entry) needsUp() bool {
	if g := e.group(); g != nil && g.failing == e && g.gathering() {
		return false
	}
	return e.links == nil || e.links.lacking == 0
}

// stands reports whether those that come after may start, as far as this one
// is concerned. One that has completed stands for what it came after.
func (e *entry) stands() bool {
	return e.up() && (e.state() != Stopped || e.links == nil || e.links.lacking == 0)
}

// dead reports whether the entry has ended for good by failure. One whose
// abandoned run still runs may start by itself, after that.
func (e *entry) dead() bool { return e.class.over() && (e.halted || e.end() != Abandoned) }

// bars reports whether those that come after won't start, as long as nobody
// starts what is dead. One that has completed stands for what it came after.
func (e *entry) bars() bool {
	return e.dead() || e.class == barred || e.state() == Stopped && e.up() && e.links.barred > 0
}

// haltedBy returns the member of its group whose end halted the entry, or nil.
func (e *entry) haltedBy() *entry {
	if g := e.group(); e.halted && g != nil {
		return g.halted[e]
	}
	return nil
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

// forgetSeen makes a pool wait for the worker to be ready.
func (e *entry) forgetSeen(w *worker) {
	if w.seen {
		w.seen = false
		e.pool.seen--
	}
}

// deaf reports whether an abandoned run of the worker still runs.
func (w *worker) deaf() bool { return w.run != nil && w.run.abandoned && !w.run.ended }

// deaf counts the workers whose abandoned run still runs.
func (e *entry) deaf() (n int) {
	for w := range e.workers() {
		if w.deaf() {
			n++
		}
	}
	return n
}

// path is the lineage of the worker below a root.
func (w *worker) path(root string) string { return w.entry.path(root, w.index) }

// path is that of the worker of a number.
func (e *entry) path(root string, index int32) string {
	path := root + "/" + e.alias
	if index > 0 {
		path += "/" + strconv.Itoa(int(index))
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
			return fmt.Sprintf("%d of %d workers ready", e.pool.count[Started], e.pool.size)
		}
		return e.solo.run.startingReason()
	case Draining:
		return "finishes its work before it stops"
	case Waiting:
		return e.waitingReason(now)
	case Stopping:
		return "its run has not ended"
	case BackingOff:
		return fmt.Sprintf("starts again in %v", max(0, e.next()-now))
	case Idle:
		return e.idleReason(now)
	}
	if by := e.haltedBy(); by != nil {
		return e.haltedReason(by)
	}
	switch end := e.end(); end {
	case GaveUp:
		if next := e.next(); next > 0 {
			return fmt.Sprintf("gave up; is brought back in %v", max(0, next-now))
		}
		return end.String()
	case Abandoned:
		if e.deaf() == 0 {
			return "abandoned; ended since"
		}
		return "abandoned; its run has still not ended"
	case NotEnded:
		return "stopped before it ran"
	default:
		return end.String()
	}
}

func (e *entry) haltedReason(by *entry) string {
	return fmt.Sprintf("its group %s ended with %s", e.group().name, by.alias)
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
	waits := strings.Join(e.waitsFor(make(map[*entry]bool)), ", ")
	switch next := e.next(); {
	case e.held && waits == "":
		return "waits for its group " + e.group().name + " to restart"
	case waits != "":
		return "waits for " + waits
	case next > now:
		return fmt.Sprintf("start delay, %v left", next-now)
	case e.manager.session == nil:
		return "waits for Serve"
	}
	return "about to start"
}

// waitsFor names what keeps the entry from being started, with its state, each
// once: without those in named, which it adds to.
func (e *entry) waitsFor(named map[*entry]bool) (all []string) {
	for _, need := range e.needs() {
		if named[need] {
			continue
		}
		named[need] = true
		switch {
		case need.completed(): // and stands for what it came after
			all = append(all, need.waitsFor(named)...)
		case !need.up() || need.down:
			all = append(all, need.alias+" ("+need.state().String()+")")
		}
	}
	return all
}

// next is when the earliest worker that waits for a time is started, or zero.
func (e *entry) next() (at time.Duration) {
	for w := range e.workers() {
		starts := w.state == Idle || w.state == BackingOff || w.state == Waiting || w.state == Stopped
		if starts && w.armed && (at == 0 || w.next < at) {
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
		Workers: e.size(), Ready: e.ready(), Starts: e.starts(), Failures: e.failures,
		Dropped: e.dropped, Exceptions: e.exceptions.all(e, m.root),
	}
	s.Condition, s.Concern = e.condition(now)
	var since time.Duration
	for w := range e.workers() {
		since = max(since, w.since)
		s.Generation += w.generation
	}
	if e.keep != nil {
		s.Skipped = e.keep.skipped
	}
	s.Since = m.birth.Add(since)
	if next := e.next(); next > 0 {
		s.Next = m.birth.Add(next)
	}
	if s.State == Waiting {
		s.Next = e.keep.next
	}
	for _, need := range e.needs() {
		s.After = append(s.After, need.alias)
	}
	s.Abandoned = e.abandoned
	return s
}
