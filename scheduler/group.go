package scheduler

import (
	"fmt"
	"slices"
	"time"
)

// Strategy says which services of a [Group] are restarted with one that is.
type Strategy uint8

const (
	// OneForOne: only the one that ended.
	OneForOne Strategy = iota
	// OneForAll: all of the group.
	OneForAll
	// RestForOne: the one that ended and those added after it.
	RestForOne

	strategies
)

func (s Strategy) String() string {
	switch s {
	case OneForOne:
		return "one for one"
	case OneForAll:
		return "one for all"
	case RestForOne:
		return "rest for one"
	}
	return fmt.Sprintf("Strategy(%d)", uint8(s))
}

// MarshalText makes strategies readable in JSON.
func (s Strategy) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Group is a set of services that belong together when one of them is
// restarted because it ended by itself. The services say in [Spec.Group] that
// they belong to it; their order is that of their addition, which New sorts by
// After.
//
// The others are stopped, dependants first, each within its own stop timeout;
// once they rest, and the one that ended has waited for its backoff, all are
// started again, in the order of their dependencies. A service of the group
// that fails meanwhile adds nothing to that. One that is stopped on purpose
// stays so; one with Restart temporary is not started again, as it would not
// be after an end of its own; one that has completed stays completed; one that
// is deaf to its stop is abandoned, and follows once it has ended. The workers of
// a pool are restarted for themselves and take nobody along; the pool is taken
// along by others. If the one that ended is stopped or removed meanwhile, the
// others start without it.
//
// If a member ends for good by failure (it failed or gave up), those that its
// restart would have taken along are stopped too, until it is started again;
// those that have ended for good themselves stay so then.
type Group struct {
	// Name is what Spec.Group refers to. Not empty.
	Name string
	// Strategy says who is restarted. Zero: OneForOne.
	Strategy Strategy
	// RetryLimit is the number of restarts within RetryWindow, of all members
	// together, after which the next gives the group up. At most
	// MaxRetryLimit. Zero: no limit.
	RetryLimit int
	// RetryWindow is the sliding window of RetryLimit. Zero:
	// DefaultRetryWindow.
	RetryWindow time.Duration
	// Escalate makes a group that is given up end the scheduler, as
	// Spec.Escalate does for a service.
	Escalate bool
}

// group is a Group with its members. Guarded by the manager.
type group struct {
	Group
	name    string
	members []*entry // in the order of addition
	ends    instants
	failing *entry            // whose restart the others are held for
	busy    int               // members that are held and have a live run
	halted  map[*entry]*entry // members that the end for good of another halted, with that one
}

func newGroup(g Group) *group {
	if g.RetryWindow == 0 {
		g.RetryWindow = DefaultRetryWindow
	}
	return &group{Group: g, name: g.Name}
}

func (g *group) leave(e *entry) {
	g.members = slices.DeleteFunc(g.members, func(m *entry) bool { return m == e })
	delete(g.halted, e)
}

// validateGroups refuses what can't be meant.
func validateGroups(groups []Group) error {
	for i, g := range groups {
		refuse := func(field, format string, args ...any) error {
			return &SpecError{Field: fmt.Sprintf("Config.Groups[%d].%s", i, field), Reason: fmt.Sprintf(format, args...)}
		}
		switch {
		case badAlias(g.Name) != "":
			return refuse("Name", "%q %s", g.Name, badAlias(g.Name))
		case slices.ContainsFunc(groups[:i], func(o Group) bool { return o.Name == g.Name }):
			return refuse("Name", "%q is used twice", g.Name)
		case g.Strategy >= strategies:
			return refuse("Strategy", "%v is none of one for one, one for all, rest for one", g.Strategy)
		case g.RetryLimit < 0 || g.RetryLimit > MaxRetryLimit:
			return refuse("RetryLimit", "%d is not between 0 and %d", g.RetryLimit, MaxRetryLimit)
		case g.RetryWindow < 0:
			return refuse("RetryWindow", "%v is negative; zero means the default", g.RetryWindow)
		case g.RetryWindow > 0 && g.RetryLimit == 0:
			return refuse("RetryWindow", "set without RetryLimit, which it belongs to")
		case g.Escalate && g.RetryLimit == 0:
			return refuse("Escalate", "set without RetryLimit, without which the group is never given up")
		}
	}
	return nil
}

// refuseEmptyGroups finds a strategy that applies to nobody.
func (m *ServiceManager) refuseEmptyGroups(groups []Group) error {
	for i, g := range groups {
		if len(m.groups[g.Name].members) == 0 {
			return &SpecError{
				Field:  fmt.Sprintf("Config.Groups[%d]", i),
				Reason: fmt.Sprintf("%q with strategy %v has no services; name it in a Spec.Group", g.Name, g.Strategy),
			}
		}
	}
	return nil
}

// The rest runs under the manager's lock, as in transition.go.

// along yields the members that a restart of e takes along.
func (g *group) along(e *entry) []*entry {
	switch g.Strategy {
	case OneForAll:
		return slices.DeleteFunc(slices.Clone(g.members), func(o *entry) bool { return o == e })
	case RestForOne:
		return slices.Clone(g.members[slices.Index(g.members, e)+1:])
	}
	return nil
}

// hold stops those that the restart of e takes along, until regroup.
func (m *ServiceManager) hold(e *entry) {
	g := e.group()
	if g == nil || e.pool != nil || g.Strategy == OneForOne {
		return
	}
	g.failing = e // which backs off, so that nobody is freed before all are held
	for _, o := range g.along(e) {
		// One that is on its way to stop is waited for, too. One that was
		// abandoned is not, but must not start meanwhile if its run ends.
		if o.busy == 0 && (!o.want || o.halted || o.removed || o.state() == Stopped && o.deaf() == 0) {
			continue
		}
		if !o.held && o.busy > 0 {
			g.busy++
		}
		o.held = true
		if o.options.restart == Temporary && o.busy > 0 {
			m.desire(o, false)
		}
		m.refresh(o)
	}
}

// gathering reports whether members that are held for the failing one have not
// come to rest.
func (g *group) gathering() bool { return g.busy > 0 }

// keepsBackoff reports whether a service that must be down waits for its
// backoff all the same: its group restarts with it, and it is down only because
// of what it comes after, which the group may hold meanwhile. The members that
// are held wait with it, whoever else has stopped that.
func (m *ServiceManager) keepsBackoff(e *entry) bool {
	g := e.group()
	return g != nil && g.failing == e && !e.held && !e.bounce && m.waits(&e.solo)
}

// regroup lets a group start again once all that are held rest and the failing
// one has waited for its backoff, or will not start any more.
func (m *ServiceManager) regroup(g *group) {
	e := g.failing
	if e == nil || e.solo.state == BackingOff || g.gathering() {
		return
	}
	g.failing = nil
	var freed []*entry
	for _, o := range g.members {
		if o.held {
			o.held = false
			freed = append(freed, o)
		}
	}
	if e.solo.state == Idle && !e.down {
		m.launch(&e.solo)
	}
	for _, o := range freed {
		m.refresh(o)
	}
}

// haltGroup stops those that a member which ended for good takes along.
func (m *ServiceManager) haltGroup(e *entry) {
	g := e.group()
	if g == nil || e.pool != nil || g.Strategy == OneForOne || e.options.restart == Temporary {
		return
	}
	for _, o := range g.along(e) {
		// What has ended already doesn't run again with e, unless it was to be
		// brought back; what another halted starts with that.
		if o.halted || o.endedByItself() && o.next() == 0 {
			continue
		}
		if g.halted == nil {
			g.halted = make(map[*entry]*entry)
		}
		g.halted[o], o.halted = e, true
		m.refresh(o)
		m.retire(o)
	}
}

// unhaltGroup lets those start again that haltGroup stopped for e, and gives
// the group a fresh go. e itself is halted no more.
func (m *ServiceManager) unhaltGroup(e *entry) {
	g := e.group()
	if g == nil {
		return
	}
	delete(g.halted, e)
	if e.end() == GaveUp {
		g.ends = nil
	}
	for _, o := range g.along(e) {
		if g.halted[o] != e {
			continue
		}
		delete(g.halted, o)
		o.halted = false
		m.revive(o)
		m.refresh(o)
		m.classify(o)
	}
}

// instants are those of the latest restarts, for a sliding window.
type instants []time.Duration

// over counts an instant, unless the window holds the limit already.
func (i *instants) over(now time.Duration, limit int, window time.Duration) bool {
	ends := *i
	for len(ends) > 0 && now-ends[0] >= window {
		ends = ends[1:]
	}
	full := len(ends) >= limit
	if !full {
		ends = append(ends, now)
	}
	*i = ends
	return full
}
