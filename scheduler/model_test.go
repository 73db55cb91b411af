package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cannedos/cannedos/scheduler"
)

// model is what the documentation promises, in the small: it knows what was
// asked of each service and what its runs see, and nothing of how the scheduler
// does it. Where two things happen at the same instant, it takes either order.
type model struct {
	t    *testing.T
	seed uint64
	calm atomic.Bool // no more faults

	mu     sync.Mutex
	realms []*realm // the outermost first
	byPath map[string]*node
	calls  map[*call]struct{} // of handlers and Drain that have not returned
	gentle span               // Drain or Shutdown is under way
	tested map[string]int     // how often a promise was put to the test
	ops    int
	found  int // differences
}

// realm is one scheduler of the tree.
type realm struct {
	*scheduler.Scheduler
	model   *model
	path    string
	nodes   []*node // in the order of addition
	resting span    // its Serve does not run, or was asked to end
	trigger time.Time
	limited bool // its Config has a RetryLimit
}

// rest notes that Serve was asked to end, or begins.
func (r *realm) rest(on bool) {
	switch {
	case on && r.resting.on == 0:
		r.resting.begin()
	case !on && r.resting.on > 0:
		r.resting.end()
	}
}

// node is one service of the tree. All below spec is guarded by the model.
type node struct {
	*realm
	alias  string
	path   string
	spec   scheduler.Spec
	role   role
	group  scheduler.Group
	after  []*node
	before []*node // those that come after it
	inside *realm  // of a scheduler that runs as this service

	lives    []*life // runs that have not returned
	starts   int     // since it was added
	failures int
	size     int // workers
	want     want
	wantAt   time.Time
	muddled  bool // two calls of the same instant asked for different things
	owned    bool // a driver is adding it again, or resizing it
	stopped  bool // Stop returned nil, and nobody asked for a start since
	absent   span // it is not registered, or is being removed
	starting span // Start, Restart, Replace or Add is under way
	stopping span // Stop, Drain, Restart or Remove is under way
	unwanted span // it is stopped on purpose, as far as is known
	replaced span
	up       span      // some run of it is ready
	deaf     span      // some abandoned run of it has not ended
	done     bool      // it completed
	excused  time.Time // when it was last given a reason to be stopped
	touched  time.Time // when anything was last asked of it
	fall     *fall     // its latest end by itself, until the run after it

	gently time.Time            // when it was last asked to drain
	late   map[string]time.Time // by worker, when a handler was last told of its start timeout
	trace  []event
}

// life is one run.
type life struct {
	*node
	path       string // with the worker's number
	gen        int    // of a service that is no pool
	entered    time.Time
	deadline   time.Time // to be ready
	ready      bool
	draining   bool
	drainFrom  time.Time
	drainAsked time.Time // of a scheduler inside; zero: it was not
	asked      time.Time // when its context ended; zero: it has not
	cause      error
	deafAt     time.Time // when it was abandoned
	over       bool
	late       bool // it was not ready in time
	counted    bool // as a failure
	spare      bool // of a pool: a Resize may end it
}

// fall is the end of a group's member that takes others along.
type fall struct {
	at    time.Time
	gen   int
	along []*life
	told  bool // a handler was told that it is started again after delay
	delay time.Duration
}

type want int

const (
	yes want = iota
	no
	perhaps
)

// span is something that is so from time to time.
type span struct {
	on    int
	from  time.Time // of the latest time
	until time.Time // of the latest time that is over
}

func (s *span) begin() {
	if s.on++; s.on == 1 {
		s.from = time.Now()
	}
}

func (s *span) end() {
	s.on--
	s.until = time.Now()
}

// since reports whether it was so at that instant or later.
func (s *span) since(t time.Time) bool { return s.on > 0 || !s.until.IsZero() && !s.until.Before(t) }

// event is a line of a node's trace, put into words only when it is printed.
type event struct {
	at     time.Time
	alias  string
	format string
	args   []any
}

const traced = 60

func (n *node) note(format string, args ...any) { n.noteAt(time.Now(), format, args...) }

func (n *node) noteAt(at time.Time, format string, args ...any) {
	if len(n.trace) == traced {
		n.trace = slices.Delete(n.trace, 0, 1)
	}
	n.trace = append(n.trace, event{at: at, alias: n.alias, format: format, args: args})
}

// history lists the latest events of a node, of its group, and of what it comes
// after.
func (n *node) history() []event {
	all := slices.Clone(n.trace)
	for _, o := range n.nodes {
		if o != n && (slices.Contains(n.after, o) || o.spec.Group != "" && o.spec.Group == n.spec.Group) {
			all = append(all, o.trace...)
		}
	}
	slices.SortStableFunc(all, func(a, b event) int { return a.at.Compare(b.at) })
	return all[max(0, len(all)-traced):]
}

// differ reports a difference between the promises and what is seen. The lock
// is held.
func (m *model) differ(n *node, promise, format string, args ...any) {
	m.found++
	if m.found > 3 { // the rest follows from these
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %s\nseed %d: go test ./scheduler -run 'TestRandom$' -random.first %d -random.seeds 1\n",
		promise, n.path, fmt.Sprintf(format, args...), m.seed, m.seed)
	b.WriteString("(the same dice again; goroutines that are ready at the same instant may run in another order)\n")
	for _, e := range n.history() {
		fmt.Fprintf(&b, "  %s %-6s %s\n", e.at.Format("15:04:05.000000000"), e.alias, fmt.Sprintf(e.format, e.args...))
	}
	m.t.Error(b.String())
}

// soon calls check with the lock held once all that happens at this instant has
// happened.
func (m *model) soon(check func()) {
	time.AfterFunc(1, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		check()
	})
}

// lineage is the log: it gives the lines of the scheduler to the traces, and to
// a run that asks by askPath the name of its worker.
type lineage struct{ m *model }

type askPath struct{}

func (h lineage) Enabled(context.Context, slog.Level) bool { return true }
func (h lineage) WithGroup(string) slog.Handler            { return h }
func (h lineage) WithAttrs([]slog.Attr) slog.Handler       { return h }

func (h lineage) Handle(ctx context.Context, r slog.Record) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "service" {
			return true
		}
		if path, asks := ctx.Value(askPath{}).(*string); asks {
			*path = a.Value.String()
		} else if n := h.m.nodeOf(a.Value.String()); n != nil {
			n.noteAt(r.Time, "    log: %s%s", r.Message, attrs(r))
		}
		return true
	})
	return nil
}

// attrs puts a line's attributes into words when it is printed.
type attrs slog.Record

func (a attrs) String() string {
	text := ""
	slog.Record(a).Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	return text
}

// nodeOf finds the node of a run's path.
func (m *model) nodeOf(path string) *node {
	if n := m.byPath[path]; n != nil {
		return n
	}
	return m.byPath[path[:max(0, strings.LastIndexByte(path, '/'))]]
}

// walk calls visit for n, what comes after it, and what runs inside of those,
// each at least once.
func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, d := range n.before {
		d.walk(visit)
	}
	if n.inside != nil {
		for _, d := range n.inside.nodes {
			d.walk(visit)
		}
	}
}

// excuse notes that something may stop n, and with it all that walk visits.
func (n *node) excuse() {
	now := time.Now()
	n.walk(func(d *node) { d.excused, d.touched = now, now })
}

func (r *realm) excuse() {
	r.trigger = time.Now()
	for _, n := range r.nodes {
		n.excuse()
	}
}

// along lists those that a restart of n takes along.
func (n *node) along() []*node {
	if n.spec.Pool > 0 || n.spec.Group == "" || n.group.Strategy == scheduler.OneForOne {
		return nil
	}
	var all []*node
	later := false
	for _, o := range n.nodes {
		if o == n {
			later = true
		} else if o.spec.Group == n.spec.Group && (later || n.group.Strategy == scheduler.OneForAll) {
			all = append(all, o)
		}
	}
	return all
}

// count notes a failure of a run, once.
func (l *life) count() {
	if !l.counted {
		l.counted = true
		l.failures++
	}
}

// enter notes the begin of a run, and holds it against what is promised.
func (n *node) enter(ctx context.Context) *life {
	m := n.model
	var path string
	scheduler.Logger(ctx).InfoContext(context.WithValue(ctx, askPath{}, &path), "who am I?")
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if n.spec.Factory == nil {
		n.starts++
	}
	l := &life{node: n, path: path, gen: n.starts, entered: now, deadline: now.Add(n.spec.StartTimeout)}
	n.note("run %s begins", path)
	if m.nodeOf(path) != n {
		m.differ(n, "lineage", "a run is told that it is %q", path)
	}
	others := slices.Clone(n.lives)
	m.soon(func() { l.checkAlone(others) })
	if n.stopped {
		m.differ(n, "stopped stays stopped", "runs though Stop returned nil and nobody asked for a start")
	}
	if n.resting.on > 0 && n.resting.from.Before(now) {
		m.differ(n, "serving", "runs though Serve does not")
	}
	n.lives = append(n.lives, l)
	n.done = false
	if n.spec.StartTimeout == 0 || n.inside != nil { // a scheduler says Ready by itself
		l.ready = true
		n.up.begin()
	}
	if n.spec.Pool > 0 {
		l.spare = l.index() > n.size
	}
	n.checkGroup(l)
	m.soon(func() { n.checkNeeds(now) })
	context.AfterFunc(ctx, func() { l.askedToStop(ctx) })
	return l
}

// checkAlone holds a start against the runs before it.
func (l *life) checkAlone(others []*life) {
	for _, o := range others {
		switch {
		case o.path != l.path:
		case o.deafAt.IsZero():
			l.model.differ(l.node, "two at once", "%s runs twice", l.path)
		case !l.replaced.since(o.deafAt) && !(l.spec.Recover && l.spec.Factory != nil) && !o.over:
			l.model.differ(l.node, "two at once", "%s runs beside its abandoned run, and nobody called Replace", l.path)
		}
	}
}

// index is the number of the worker.
func (l *life) index() (i int) {
	_, _ = fmt.Sscan(l.path[strings.LastIndexByte(l.path, '/')+1:], &i)
	return i
}

// checkNeeds holds a start against the graph.
func (n *node) checkNeeds(at time.Time) {
	n.model.tested["start after what it comes after"] += len(n.after)
	for _, need := range n.after {
		if !need.up.since(at) && !need.done {
			n.model.differ(n, "start after what it comes after", "starts at %v while %s is not up", at.Format("15:04:05.000000000"), need.alias)
		}
	}
}

// checkGroup holds a start against the strategy of its group.
func (n *node) checkGroup(l *life) {
	now := time.Now()
	if f := n.fall; f != nil {
		n.fall = nil
		n.model.soon(func() {
			for _, o := range f.along {
				if !f.told {
					return
				}
				n.model.tested["group restarts together"]++
				if !o.over && o.deafAt.IsZero() {
					n.model.differ(o.node, "group restarts together", "run %d goes on across the restart of %s", o.gen, n.alias)
				}
			}
		})
	}
	for _, mate := range n.nodes {
		f := mate.fall
		if f == nil || !f.told || mate == n || !slices.ContainsFunc(f.along, func(o *life) bool { return o.node == n }) {
			continue
		}
		if now.Equal(f.at) { // it may have been on its way
			continue
		}
		if mate.touched.After(f.at) || mate.starting.since(f.at) || mate.stopping.since(f.at) || n.touched.After(f.at) {
			continue
		}
		n.model.tested["group waits"]++
		if now.Before(f.at.Add(f.delay)) {
			n.model.differ(n, "group waits", "starts %v after the end of %s, whose backoff of %v is not over", now.Sub(f.at), mate.alias, f.delay)
		}
	}
}

// readied notes that a run is about to say Ready.
func (l *life) readied() {
	l.model.mu.Lock()
	defer l.model.mu.Unlock()
	if !l.ready && l.asked.IsZero() {
		l.ready = true
		l.up.begin()
		l.note("ready")
	}
}

// askedToStop notes the end of a run's context, and asks whether it may end.
func (l *life) askedToStop(ctx context.Context) {
	cause := context.Cause(ctx)
	if errors.Is(cause, scheduler.ErrRunOver) {
		return
	}
	n, m := l.node, l.model
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.over { // it ended at the same instant, before we were told
		return
	}
	now := time.Now()
	l.asked, l.cause = now, cause
	l.note("asked to stop: %v", cause)
	l.late = !l.ready && n.spec.StartTimeout > 0 && now.Equal(l.deadline)
	if l.ready {
		l.up.end()
	}
	switch {
	case errors.Is(cause, scheduler.ErrStartTimeout):
		m.tested["start timeout"]++
		if l.inside == nil && !l.late {
			m.differ(n, "start timeout", "said to be over %v after its begin, ready %v", now.Sub(l.entered), l.ready)
		}
		l.count()
		l.fell(true)
	case errors.Is(cause, scheduler.ErrStopping):
		if l.late { // and a failure at its start stops it for good
			l.fell(true)
			m.soon(func() {
				if n.late[l.path].Equal(now) { // else another worker of the pool was
					l.count()
				}
			})
		}
		m.soon(func() { l.checkStop(now) })
	default:
		m.differ(n, "causes", "its context ends by %v", cause)
	}
	if n.inside != nil {
		n.inside.excuse()
		n.inside.rest(true)
	}
	context.AfterFunc(scheduler.Work(ctx), func() { l.workEnds(context.Cause(scheduler.Work(ctx))) })
}

// checkStop holds the stop of a run against what was asked, and the graph.
func (l *life) checkStop(at time.Time) {
	m := l.model
	m.tested["stop for a reason"]++
	if l.excused.Before(l.entered) && !l.spare {
		m.differ(l.node, "stop for a reason", "the run of %v is stopped, and nobody asked for it since %v",
			l.entered.Format("15:04:05.000000000"), l.excused.Format("15:04:05.000000000"))
	}
	if l.spare || l.spec.Pool > 0 && l.up.on > 0 { // the pool does not stop
		return
	}
	for _, d := range l.before {
		for _, o := range d.lives {
			m.tested["dependants stop first"]++
			leaving := l.draining && l.drainFrom.Before(o.entered) // which nothing turns back
			if o.entered.Before(at) && o.deafAt.IsZero() && !leaving {
				m.differ(l.node, "dependants stop first", "is stopped while %s runs", o.path)
			}
		}
	}
}

// workEnds notes that a run was abandoned.
func (l *life) workEnds(cause error) {
	if !errors.Is(cause, scheduler.ErrStopTimeout) {
		return
	}
	m := l.model
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.over {
		m.differ(l.node, "abandoned", "though %s had returned", l.path)
		return
	}
	l.deafAt = time.Now()
	l.note("abandoned")
	l.deaf.begin()
	l.count()
	if l.spec.Recover && !errors.Is(l.cause, scheduler.ErrStopping) { // which is followed now
		l.fell(true)
	}
	m.tested["abandoned at its own stop timeout"]++
	if took := l.deafAt.Sub(l.asked); l.inside != nil || took != l.spec.StopTimeout {
		m.differ(l.node, "abandoned at its own stop timeout", "after %v", took)
	}
}

// leave notes the end of a run; failed says whether it ended by a failure of
// its own.
func (l *life) leave(failed bool) {
	m := l.model
	m.mu.Lock()
	defer m.mu.Unlock()
	l.over = true
	l.note("run %s ends, failed %v", l.path, failed)
	l.lives = slices.DeleteFunc(l.lives, func(o *life) bool { return o == l })
	if l.ready && l.asked.IsZero() {
		l.up.end()
	}
	if !l.deafAt.IsZero() {
		l.deaf.end()
	}
	if failed {
		l.count()
	}
	if l.late { // which is followed now
		l.fell(true)
	}
	if l.spare {
		l.shrunk()
	}
	if l.asked.IsZero() {
		l.done = !failed && l.spec.Restart != scheduler.Permanent
		l.fell(failed)
	}
}

// shrunk notes that a worker of a pool may have gone, and all others have ended
// for good.
func (n *node) shrunk() {
	if n.spec.Significant || n.spec.Escalate {
		n.realm.excuse()
	}
}

// fell notes whom the end of a run that nobody asked for may take along.
func (l *life) fell(failed bool) {
	n := l.node
	f := &fall{at: time.Now(), gen: l.gen}
	for _, o := range n.along() {
		for _, run := range o.lives {
			if run.deafAt.IsZero() {
				f.along = append(f.along, run)
			}
		}
		o.excuse()
	}
	n.fall = f
	s := n.spec
	switch {
	case s.ExitOnError && failed, s.RollBack && failed, s.Escalate, s.Significant, n.group.Escalate, n.limited:
		n.realm.excuse()
	case s.HaltOnFailure:
		n.excuse()
	}
}

// told is what the scheduler says of a failure before it goes on.
func (m *model) told(_ context.Context, x scheduler.Exception) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodeOf(x.Path)
	if n == nil {
		return nil
	}
	if x.Kind == scheduler.StartTimedOut {
		n.late[x.Path] = time.Now()
	}
	n.note("told of %v: %v, end %v, delay %v", x.Kind, x.Err, x.End, x.Delay)
	ended := x.Kind == scheduler.Returned || x.Kind == scheduler.Panicked || x.Kind == scheduler.Exited
	if f := n.fall; f != nil && ended && x.End == scheduler.NotEnded && f.gen == int(x.Generation) {
		f.told, f.delay = true, x.Delay
	}
	return nil
}

// unstopped lists what is abandoned and still runs, of those nodes or of all
// and then of handlers and drains too.
func (m *model) unstopped(at time.Time, only map[*node]bool, r *realm) map[string]int {
	all := map[string]int{}
	for n := range maps.Values(m.byPath) {
		if only != nil && !only[n] || !strings.HasPrefix(n.path, r.path+"/") {
			continue
		}
		for _, l := range n.lives {
			if !l.deafAt.IsZero() && !l.deafAt.After(at) {
				all[l.path]++
			}
		}
	}
	for c := range m.calls {
		if only == nil && strings.HasPrefix(c.path, r.path+"/") && c.leftBehind(at) {
			all[c.path]++
		}
	}
	return all
}
