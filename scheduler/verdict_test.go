package scheduler_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cannedos/cannedos/scheduler"
)

// What follows holds what the scheduler says against the model: what calls
// answer, what Status shows when nothing moves, and how Serve ends.

// operation is one call, and what the model knew when it began.
type operation struct {
	verb  string
	n     *node
	ctx   context.Context
	begin time.Time
	err   error
	runs  int  // starts at the begin
	hard  bool // nothing drained when it began
}

const (
	starts = "Start Restart Replace Add" // verbs that ask for a start
	stops  = "Stop Drain Remove Restart" // verbs that ask for a stop
)

// judge holds what a call answered against what its comment names.
func (o *operation) judge(at time.Time) {
	n, m := o.n, o.n.model
	m.tested["errors are those named"]++
	legal, why := false, ""
	spec := func(err error) bool { _, ok := errors.AsType[*scheduler.SpecError](err); return ok }
	err := o.err
	unstopped, deaf := errors.AsType[*scheduler.UnstoppedError](err)
	over := o.ctx.Err() != nil && errors.Is(err, context.Cause(o.ctx))
	switch {
	case err == nil:
		legal, why = o.kept(at)
	case errors.Is(err, scheduler.ErrUnknown):
		legal = n.absent.since(o.begin) || o.verb == "Add" && slices.ContainsFunc(n.after, func(d *node) bool { return d.absent.since(o.begin) })
	case errors.Is(err, scheduler.ErrExists):
		legal = o.verb == "Add"
	case spec(err):
		legal = o.verb == "Replace" && n.spec.Factory == nil
	case errors.Is(err, scheduler.ErrDependants):
		legal = o.verb == "Remove" && len(n.before) > 0
	case errors.Is(err, scheduler.ErrNotServing):
		legal = o.is("Start Restart Replace AwaitStarted Add") && n.ending(o.begin)
	case errors.Is(err, scheduler.ErrRunning):
		legal = o.is("Start Replace") && n.up.since(o.begin) || o.is("Stop Drain Remove") && n.starting.since(o.begin)
	case errors.Is(err, scheduler.ErrStopped):
		legal = o.is("Start Restart Replace") && n.heldBack(o.begin)
	case errors.Is(err, scheduler.ErrAbandoned):
		legal = o.is("Start Replace") && n.deaf.since(o.begin)
	case deaf:
		legal, why = o.names(unstopped, at)
	case errors.Is(err, scheduler.ErrEnded):
		barred := errors.Is(err, scheduler.ErrNotStarted) && n.mayBeBarred()
		legal = o.is("Start Restart Replace AwaitStarted") && (n.mayEnd() || barred) ||
			o.is("AwaitStarted") && (n.deaf.since(o.begin) || n.resting.since(o.begin))
	case errors.Is(err, scheduler.ErrNotStarted):
		legal = o.is("Start Restart Replace AwaitStarted") && over
	case over:
		legal = o.is("Stop Remove AwaitStopped")
	}
	if !legal {
		m.differ(n, "errors are those named", "%s, begun at %v, answers %v %s", o.verb, o.begin.Format("15:04:05.000000000"), err, why)
	}
	if bound := n.bound(!o.hard); o.is("Stop Drain Remove") && at.Sub(o.begin) > bound {
		m.differ(n, "stops in time", "%s took %v, and the longest chain is %v", o.verb, at.Sub(o.begin), bound)
	}
}

func (o *operation) is(verbs string) bool {
	return slices.Contains(strings.Fields(verbs), o.verb)
}

// kept says whether what a call that answered nil promised is so.
func (o *operation) kept(at time.Time) (bool, string) {
	n := o.n
	switch o.verb {
	case "Start", "Restart", "Replace", "AwaitStarted":
		if o.verb == "Restart" && n.starts == o.runs {
			return false, "and no run began"
		}
		unwanted := o.verb == "AwaitStarted" && (n.want != yes || n.unwanted.since(o.begin) || n.spec.Restart == scheduler.Temporary)
		return n.up.since(at) || n.done || unwanted, "and it is not up"
	case "Stop", "Drain", "Remove":
		if n.restarted(o.begin) {
			return true, ""
		}
		for d := range maps.Keys(n.affected()) {
			for _, l := range d.lives {
				if l.entered.Before(at) {
					return false, "while " + l.path + " runs"
				}
			}
		}
	case "AwaitStopped":
		for _, l := range n.lives {
			if l.entered.Before(o.begin) {
				return false, "while " + l.path + " runs"
			}
		}
	}
	return true, ""
}

// restarted reports whether anything that stops with n was asked to start.
func (n *node) restarted(since time.Time) bool {
	for d := range maps.Keys(n.affected()) {
		if d == n && d.starting.since(since) {
			return true
		}
	}
	return false
}

// affected is n, what comes after it, and what runs inside of those.
func (n *node) affected() map[*node]bool {
	all := map[*node]bool{}
	n.walk(func(d *node) { all[d] = true })
	return all
}

// names holds an error that names what did not stop against what did not.
func (o *operation) names(err *scheduler.UnstoppedError, at time.Time) (bool, string) {
	n := o.n
	if !o.is("Start Restart Replace Stop Drain Remove") {
		return false, "which it never does"
	}
	all := map[string]int{}
	for d := range maps.Keys(n.affected()) {
		if d.realm != n.realm || o.is("Start Restart Replace") && d != n {
			continue
		}
		maps.Copy(all, n.model.unstopped(at, map[*node]bool{d: true}, n.realm))
		if d.inside != nil {
			maps.Copy(all, n.model.unstopped(at, nil, d.inside))
		}
	}
	n.model.tested["named exactly"]++
	return maps.Equal(all, paths(err.Services)), "and the model has " + list(all)
}

func paths(unstopped []scheduler.Unstopped) map[string]int {
	all := map[string]int{}
	for _, u := range unstopped {
		all[u.Path]++
	}
	return all
}

func list(all map[string]int) (text string) {
	for _, path := range slices.Sorted(maps.Keys(all)) {
		text += " " + path
	}
	return text
}

// ending reports whether Serve did not run, or was about to end.
func (n *node) ending(since time.Time) bool {
	return n.resting.since(since) || !n.trigger.IsZero() && !n.trigger.Add(n.realm.bound(true)).Before(since)
}

// heldBack reports whether a start may be refused for one that is stopped on
// purpose: itself, or what it comes after.
func (n *node) heldBack(since time.Time) bool {
	if n.unwanted.since(since) || n.want != yes || n.mayHalt() || n.spec.Restart == scheduler.Temporary {
		return true
	}
	return slices.ContainsFunc(n.after, func(d *node) bool { return d.heldBack(since) })
}

// mayHalt reports whether n can end for good while it is wanted, by what its
// Spec says or its group.
func (n *node) mayHalt() bool {
	return n.spec.HaltOnFailure || n.spec.RollBack || n.spec.Group != "" && n.group.Strategy != scheduler.OneForOne
}

func (n *node) mayEnd() bool {
	s := n.spec
	return n.mayHalt() || s.RetryLimit > 0 || s.Restart == scheduler.Temporary || s.ExitOnError ||
		n.group.RetryLimit > 0 || n.limited
}

// mayBeBarred reports whether what n comes after can end for good.
func (n *node) mayBeBarred() bool {
	return slices.ContainsFunc(n.after, func(d *node) bool { return d.mayEnd() || d.mayBeBarred() })
}

// bound is how long n may take to stop with what comes after it: the longest
// chain of what each may take.
func (n *node) bound(gently bool) time.Duration {
	var longest time.Duration
	for _, d := range n.before {
		longest = max(longest, d.bound(gently))
	}
	if n.inside != nil {
		if gently { // and may be cut short
			longest += n.inside.bound(true) + 2*settle
		}
		return longest + n.inside.bound(false)
	}
	longest += n.spec.StopTimeout + 2*settle
	if gently && n.role.drains {
		longest += n.spec.DrainTimeout + 2*settle
	}
	return longest
}

// bound is how long Serve may take to end: the longest chain, and one failure
// of the slowest chain of handlers.
func (r *realm) bound(gently bool) time.Duration {
	var longest time.Duration
	for _, n := range r.nodes {
		longest = max(longest, n.bound(gently))
	}
	return longest + handlerTimeout + settle + 2*settle
}

// served holds the end of Serve against what it promises; begin is when it was
// asked to end, or zero.
func (r *realm) served(begin time.Time, err error) {
	at := time.Now()
	idleFor(time.Nanosecond)
	m := r.model
	m.mu.Lock()
	defer m.mu.Unlock()
	n := r.nodes[0]
	m.tested["Serve ends in time"]++
	bound := r.bound(m.gentle.since(begin))
	switch {
	case begin.IsZero() && (r.trigger.IsZero() || at.Sub(r.trigger) > bound):
		m.differ(n, "Serve ends for a reason", "it answers %v, and nothing failed since %v", err, r.trigger)
	case !begin.IsZero() && at.Sub(begin) > bound:
		m.differ(n, "Serve ends in time", "it took %v, and the longest chain is %v", at.Sub(begin), bound)
	}
	for _, n := range r.nodes {
		n.noteAt(at, "Serve answers %v", err)
		for _, l := range n.lives {
			if l.deafAt.IsZero() {
				m.differ(n, "nothing runs after Serve", "%s does", l.path)
			}
		}
	}
	left := m.unstopped(at, nil, r)
	unstopped, _ := errors.AsType[*scheduler.UnstoppedError](err)
	if unstopped == nil {
		unstopped = &scheduler.UnstoppedError{}
	}
	if !maps.Equal(left, paths(unstopped.Services)) {
		m.differ(n, "Serve names what did not stop", "it answers %v, and the model has%s", err, list(left))
	}
	if len(left) == 0 && err != nil && r.trigger.IsZero() {
		m.differ(n, "Serve ends for a reason", "it answers %v", err)
	}
}

// inspect holds all that a scheduler shows against the model, at an instant
// when nothing moves.
func (r *realm) inspect() {
	m := r.model
	all, unstopped := r.Services(), r.Unstopped()
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	byAlias := map[string]*scheduler.Status{}
	for i := range all {
		byAlias[all[i].Alias] = &all[i]
	}
	for _, n := range r.nodes {
		status := byAlias[n.alias]
		switch {
		case status != nil:
			m.tested["status"]++
			n.inspect(status, now)
		case n.absent.on == 0:
			m.differ(n, "registered", "it is not")
		}
	}
	if left := m.unstopped(now, nil, r); !maps.Equal(left, paths(unstopped)) {
		m.differ(r.nodes[0], "Unstopped names what did not stop", "it lists%s, and the model%s", list(paths(unstopped)), list(left))
	}
}

func (n *node) inspect(s *scheduler.Status, now time.Time) {
	m := n.model
	ready, live, deaf := 0, 0, 0
	state := scheduler.Stopped
	for _, l := range n.lives {
		if !l.deafAt.IsZero() {
			deaf++
			continue
		}
		live++
		switch {
		case !l.asked.IsZero():
			state = scheduler.Stopping
			if late := now.Sub(l.asked) - n.bound(false); late > 0 {
				m.differ(n, "abandoned at its own stop timeout", "not, though it is %v late", late)
			}
		case l.draining:
			state = scheduler.Draining
		case l.ready:
			state = scheduler.Started
			ready++
		default:
			state = scheduler.Starting
			if now.After(l.deadline) && n.excused.Before(l.entered) {
				m.differ(n, "start timeout", "it is not ready, and the run of %v goes on", l.entered)
			}
		}
	}
	own := n.inside == nil // a scheduler says Ready when its services are, which is not known here
	rests := s.State == scheduler.Stopped || s.State == scheduler.Idle || s.State == scheduler.BackingOff
	switch {
	case s.Starts != uint64(n.starts):
		m.differ(n, "each run has one end", "%d starts, and %d runs", s.Starts, n.starts)
	case s.Failures != uint64(n.failures):
		m.differ(n, "each end is counted once", "%d failures, and %d ends by one", s.Failures, n.failures)
	case s.Abandoned != deaf:
		m.differ(n, "abandoned are counted", "%d, and %d are", s.Abandoned, deaf)
	case own && s.Ready != ready:
		m.differ(n, "ready", "%d, and %d are", s.Ready, ready)
	case own && n.spec.Pool == 0 && live > 0 && s.State != state:
		m.differ(n, "state", "%v, and it is %v", s.State, state)
	case live == 0 && !rests:
		m.differ(n, "state", "%v, and nothing runs", s.State)
	case live == 0 && n.want == no && s.State != scheduler.Stopped:
		m.differ(n, "state", "%v, and it is stopped on purpose", s.State)
	case n.spec.Pool > 0 && n.resized() && s.Workers != n.size:
		m.differ(n, "workers", "%d, and %d are asked for", s.Workers, n.size)
	case live == 0 && n.want == yes && s.State == scheduler.Stopped && !n.ending(now):
		n.inspectEnd(s)
	}
}

// resized reports whether the size of the pool is known.
func (n *node) resized() bool { return n.absent.on == 0 }

// inspectEnd asks whether a service that is wanted may be stopped.
func (n *node) inspectEnd(s *scheduler.Status) {
	legal := false
	switch s.End {
	case scheduler.Completed:
		legal = n.spec.Restart != scheduler.Permanent
	case scheduler.Failed:
		legal = n.spec.Restart == scheduler.Temporary || n.spec.ExitOnError || n.mayHalt()
	case scheduler.GaveUp:
		legal = n.spec.RetryLimit > 0 || n.group.RetryLimit > 0 || n.limited
	case scheduler.Abandoned:
		legal = n.deaf.on > 0 || n.mayHalt()
	case scheduler.EndedOnPurpose, scheduler.NotEnded:
		legal = n.mayHalt() || n.spec.Restart == scheduler.Temporary
	}
	if !legal {
		n.model.differ(n, "what is wanted is started", "it is %v and %v: %s", s.State, s.End, s.Reason)
	}
}
