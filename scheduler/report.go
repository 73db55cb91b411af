package scheduler

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Unstopped is one run that did not end, or one call of foreign code beside the
// runs that did not return.
type Unstopped struct {
	// Path is the lineage of the service or worker. For a call it is followed by
	// " drain", " save", " restore", " store", " backoff", or " handler " and the
	// name of the handler. For the Logger it is the lineage of the scheduler
	// followed by " log", and for an error whose text Health asked for by
	// " text of an error".
	Path       string
	State      State         // Stopped for an abandoned run, else Stopping
	Generation uint64        // of the run; 0 for a call, save for " backoff"
	Since      time.Time     // when it was asked to stop; of a call, when its context ended; of a " backoff", when it was called
	For        time.Duration // from Since to the making of the report
	// Stack is where it hangs: what it waits for, as "[chan receive, 2
	// minutes]\n", and the calls as "function\n\tfile:line\n", the innermost
	// first, without those of this package around it, at most 32. It is given
	// for the first ten of a report, and empty if it has ended meanwhile.
	Stack string

	frame string // by which a traceback names its goroutine
}

// UnstoppedError lists what did not stop, by path, through all schedulers
// below the one that was asked.
type UnstoppedError struct {
	Services []Unstopped // by path, at least one
}

// named bounds the paths in an error text; the error's field has them all.
const named = 10

func (e *UnstoppedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "scheduler: %d did not stop: ", len(e.Services))
	for i, u := range e.Services {
		if i == named {
			fmt.Fprintf(&b, ", and %d more", len(e.Services)-named)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (asked %v ago)", u.Path, u.For)
	}
	return b.String()
}

// Is makes errors.Is find ErrStopTimeout.
func (e *UnstoppedError) Is(target error) bool { return target == ErrStopTimeout }

// Blocked is one service that is not started.
type Blocked struct {
	Path   string // lineage
	State  State
	End    End
	Reason string        // in words
	Err    error         // the failure behind Reason, if it is one
	For    time.Duration // how long it has been so
}

// NotStartedError names what is not started, through all schedulers below the
// one that was asked, and why. Cause is ErrStartTimeout, ErrEnded, or the cause
// of the context that ended the waiting.
type NotStartedError struct {
	Blocked []Blocked // in the order of addition
	Cause   error     // never nil
}

func (e *NotStartedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %d not started: ", e.Cause, len(e.Blocked))
	for i, s := range e.Blocked {
		if i == named {
			fmt.Fprintf(&b, "; and %d more", len(e.Blocked)-named)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s %v: %s", s.Path, s.State, s.Reason)
		if s.Err != nil {
			fmt.Fprintf(&b, ": %v", s.Err)
		}
	}
	return b.String()
}

// Unwrap returns Cause; errors.Is also finds ErrNotStarted.
func (e *NotStartedError) Unwrap() []error { return []error{ErrNotStarted, e.Cause} }

// blocked lists those of the given services, or of all if none is given, that
// are wanted and not started; for schedulers what blocks inside of them. The
// caller holds the lock; locks are taken from the outer scheduler to the inner.
func (m *ServiceManager) blocked(only ...*entry) (all []Blocked) {
	everyone := len(only) == 0
	if everyone {
		only = m.inOrder()
	}
	now := m.now()
	for _, e := range only {
		if !e.want || e.met() || e.off && everyone {
			continue
		}
		var inside []Blocked
		if e.state() == Starting {
			for _, s := range e.nested() {
				inside = append(inside, s.blockedInside()...)
			}
		}
		if len(inside) > 0 {
			all = append(all, inside...)
			continue
		}
		var since time.Duration
		for w := range e.workers() {
			since = max(since, w.since)
		}
		all = append(all, Blocked{
			Path: m.root + "/" + e.alias, State: e.state(), End: e.end(), Reason: e.reason(now), Err: e.culprit(), For: now - since,
		})
	}
	return all
}

// blockedInside is blocked, called by the scheduler around this one.
func (m *ServiceManager) blockedInside() []Blocked {
	m.mu.Lock()
	defer m.unlock()
	return m.blocked()
}

// nested returns the schedulers that are served in runs of the entry. They
// announce themselves when Serve begins, which can't make a circle.
func (e *entry) nested() (all []*ServiceManager) {
	for w := range e.workers() {
		if w.run != nil && w.run.inner != nil {
			all = append(all, w.run.inner)
		}
	}
	return all
}

// unstopped lists abandoned runs of the given services that still run, or, if
// none is given, of all, and then handlers too; with those of schedulers
// inside, in order of their paths. The caller holds the lock.
func (m *ServiceManager) unstopped(only ...*entry) (all []Unstopped) {
	now := m.now()
	asked := make(map[*entry]bool, len(only))
	for _, e := range only {
		asked[e] = true
	}
	for r := range m.abandoned {
		if len(only) == 0 || asked[r.worker.entry] {
			all = append(all, Unstopped{
				Path: r.worker.path(m.root), State: Stopped, Generation: r.generation,
				Since: m.birth.Add(r.stopAsked), For: now - r.stopAsked, frame: r.frame(),
			})
		}
	}
	if len(only) == 0 {
		for _, u := range m.leftBehind {
			u.For = time.Since(u.Since)
			all = append(all, u)
		}
		only = slices.Collect(maps.Values(m.directory.entries))
	}
	for _, e := range only {
		for _, s := range e.nested() {
			all = append(all, s.unstoppedInside()...)
		}
	}
	slices.SortFunc(all, func(a, b Unstopped) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), cmp.Compare(a.Generation, b.Generation))
	})
	return all
}

// unstoppedInside is unstopped, called without the lock.
func (m *ServiceManager) unstoppedInside() []Unstopped {
	m.mu.Lock()
	defer m.unlock()
	return m.unstopped()
}

// stopBudget is how long this scheduler's services, stopped along the graph,
// after they were drained if gently, and its handlers may take to end.
func (m *ServiceManager) stopBudget(gently bool) time.Duration {
	m.mu.Lock()
	defer m.unlock()
	// Dependants stop first, so an entry's time begins at the end of theirs:
	// walked from the last added, each is known before what it comes after.
	begins := make(map[*entry]time.Duration)
	var longest time.Duration
	all := m.inOrder()
	for _, e := range slices.Backward(all) {
		var own time.Duration
		for w := range e.workers() {
			if w.run != nil {
				own = max(own, plus(m.stopTimeout(w), plus(m.partTimeout(w, gently), m.saveBudget(w))))
			}
		}
		end := plus(begins[e], own)
		longest = max(longest, end)
		for _, need := range e.needs() {
			begins[need] = max(begins[need], end)
		}
	}
	return plus(longest, plus(m.grace, m.limits.handlerTimeout))
}
