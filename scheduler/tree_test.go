package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// build makes the tree of a seed: a scheduler with services, pools and three
// groups, and a scheduler with services of its own as one of them.
func build(t *testing.T, seed uint64) *model {
	m := &model{t: t, seed: seed, byPath: map[string]*node{}, calls: map[*call]struct{}{}, tested: map[string]int{}}
	d := newDice(seed, 7)
	outer, inner := m.realm(scheduler.DefaultName), m.realm(scheduler.DefaultName+"/nest")
	group := func(name string, strategy scheduler.Strategy) scheduler.Group {
		g := scheduler.Group{Name: name, Strategy: strategy}
		if d.roll(3) == 0 {
			g.RetryLimit, g.RetryWindow, g.Escalate = 5, 20*time.Second, d.roll(2) == 0
		}
		return g
	}
	all, rest, one := group("all", scheduler.OneForAll), group("rest", scheduler.RestForOne), group("one", scheduler.OneForOne)
	config := scheduler.Config{
		Logger: slog.New(lineage{m: m}), HandlerTimeout: handlerTimeout,
		PreHook: scheduler.Handler{Name: "told", Handle: m.told},
		Groups:  []scheduler.Group{all, rest, one},
	}
	for i := range 4 {
		outer.add(d, fmt.Sprint("base", i), scheduler.Group{}, i == 3)
	}
	for i := range 3 {
		outer.add(d, fmt.Sprint("all", i), all, i == 1 && d.roll(3) == 0)
		outer.add(d, fmt.Sprint("rest", i), rest, i == 2 && d.roll(3) == 0)
		outer.add(d, fmt.Sprint("one", i), one, false)
	}
	nest := outer.add(d, "nest", scheduler.Group{}, false)
	for i := range 4 {
		outer.add(d, fmt.Sprint("leaf", i), scheduler.Group{}, i == 3)
	}
	innerConfig := scheduler.Config{HandlerTimeout: handlerTimeout, PreHook: config.PreHook}
	if d.roll(2) == 0 {
		inner.limited = true
		innerConfig.RetryLimit, innerConfig.RetryWindow = 8, 20*time.Second
	}
	ring := group("ring", scheduler.OneForAll)
	innerConfig.Groups = []scheduler.Group{ring}
	for i := range 5 {
		inner.add(d, fmt.Sprint("in", i), [...]scheduler.Group{{}, ring}[i%2], i == 4)
	}
	escalates := inner.nodes[2]
	escalates.spec.Restart, escalates.spec.RetryLimit, escalates.spec.RetryWindow = scheduler.Permanent, 3, 30*time.Second
	escalates.spec.Recover, escalates.spec.Escalate = false, !escalates.spec.HaltOnFailure && !escalates.spec.ExitOnError
	nest.inside = inner
	nest.spec = scheduler.Spec{
		Alias: "nest", Service: nested{nest}, After: nest.spec.After, Backoff: nest.spec.Backoff,
		StartTimeout: time.Duration(d.roll(2)) * time.Minute,
	}
	inner.serve(t, innerConfig)
	outer.serve(t, config)
	return m
}

func (m *model) realm(path string) *realm {
	r := &realm{model: m, path: path}
	r.resting.begin()
	m.realms = append(m.realms, r)
	return r
}

// serve makes the scheduler of a realm.
func (r *realm) serve(t *testing.T, c scheduler.Config) {
	for _, n := range r.nodes {
		c.Services = append(c.Services, n.spec)
	}
	s, err := scheduler.New(c)
	require.NoError(t, err)
	r.Scheduler = s
}

// all yields every node, each after those that it comes after.
func (m *model) all() iter.Seq[*node] {
	return func(yield func(*node) bool) {
		for _, r := range m.realms {
			for _, n := range slices.Clone(r.nodes) {
				if !yield(n) {
					return
				}
			}
		}
	}
}

// add makes a node with a Spec by the dice.
func (r *realm) add(d *dice, alias string, g scheduler.Group, pool bool) *node {
	m := r.model
	n := &node{realm: r, alias: alias, path: r.path + "/" + alias, group: g, size: 1, late: map[string]time.Time{}}
	n.role = role{dice: newDice(m.seed, uint64(1000+len(m.byPath))), drains: d.roll(3) == 0, flaky: d.roll(60), handles: d.roll(2) == 0}
	s := &n.spec
	s.Alias, s.Group, s.Backoff = alias, g.Name, n.curve
	s.StopTimeout = time.Duration(1+d.roll(3)) * time.Second
	if d.roll(4) > 0 {
		s.StartTimeout = time.Duration(1+d.roll(2)) * time.Second
		if d.roll(3) == 0 {
			s.StartLimit = 2 * s.StartTimeout
		}
	}
	if d.roll(4) == 0 {
		s.StartDelay = time.Duration(1+d.roll(300)) * time.Millisecond
	}
	if n.role.drains {
		s.DrainTimeout = time.Duration(1+d.roll(3)) * time.Second
	}
	if n.role.handles {
		s.Handlers = []scheduler.Handler{{Name: "h", Handle: n.handle}}
	}
	switch {
	case pool:
		n.size = 2 + d.roll(2)
		s.Pool, s.Factory = n.size, n.factory
	case d.roll(3) == 0:
		s.Factory = n.factory
	default:
		s.Service = n.instance()
	}
	n.policy(d)
	for _, need := range r.nodes {
		if d.roll(7) == 0 {
			s.After = append(s.After, need.alias)
			n.after = append(n.after, need)
			need.before = append(need.before, n)
		}
	}
	r.nodes = append(r.nodes, n)
	m.byPath[n.path] = n
	return n
}

// policy is what follows the ends of a node's runs.
func (n *node) policy(d *dice) {
	s := &n.spec
	switch d.roll(12) {
	case 0:
		s.Restart, s.Backoff = scheduler.Temporary, nil
		s.Significant = d.roll(4) == 0
	case 1:
		s.Restart = scheduler.Transient
	case 2:
		s.HaltOnFailure = true
	case 3:
		s.ExitOnError = d.roll(2) == 0
	case 4:
		s.RollBack = s.StartTimeout > 0
	case 5, 6:
		s.RetryLimit, s.RetryWindow = 3, 30*time.Second
		s.Recover = d.roll(2) == 0
	case 7:
		s.Recover = s.Factory != nil
	}
}

// sole reports whether n is never removed, so that its group is never empty and
// rest for one keeps its order.
func (n *node) sole() bool { return n.spec.Group != "" && n.spec.Group != "one" }

// begin notes what a call asks for.
func (m *model) begin(o *operation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := o.n
	o.begin, o.runs = time.Now(), n.starts
	m.ops++
	n.note("%s begins", o.verb)
	if o.is(starts) {
		n.starting.begin()
		n.touched = o.begin
		n.stopped = false
	}
	if o.is(stops) {
		n.stopping.begin()
		n.excuse()
	}
	switch o.verb {
	case "Stop", "Drain", "Remove":
		n.wants(no, o.begin)
	case "Start", "Restart", "Replace", "Add":
		if n.want == no {
			n.wants(perhaps, o.begin)
		} else if n.wantAt.Equal(o.begin) {
			n.muddled = true
		}
	}
	switch o.verb {
	case "Replace":
		n.replaced.begin()
	case "Drain":
		m.gentle.begin()
		n.walk(func(d *node) { d.gently = o.begin })
	case "Remove":
		n.absent.begin()
	case "Add":
		n.absent.end()
	}
}

// wants notes what was asked last. Of two calls at the same instant either may
// be the last.
func (n *node) wants(w want, at time.Time) {
	n.muddled = n.wantAt.Equal(at) && n.want != w
	if n.muddled {
		w = perhaps
	}
	if n.want == yes && w != yes {
		n.unwanted.begin()
	} else if n.want != yes && w == yes {
		n.unwanted.end()
	}
	n.want, n.wantAt = w, at
}

// answered notes what a call that has returned says of what is wanted.
func (m *model) answered(o *operation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := o.n
	n.note("%s, begun at %v, answers %v", o.verb, o.begin.Format("15:04:05.000000000"), o.err)
	last := n.wantAt.Equal(o.begin) && !n.muddled
	if o.is(starts) && last && n.want == perhaps {
		_, deaf := errors.AsType[*scheduler.UnstoppedError](o.err)
		switch err := o.err; {
		case err == nil, deaf, errors.Is(err, scheduler.ErrNotStarted), errors.Is(err, scheduler.ErrEnded):
			n.unwanted.end()
			n.want = yes
		}
	}
	if o.is("Stop Drain Remove") && o.err == nil && !n.starting.since(o.begin) && n.want == no {
		n.stopped = true
	}
	if o.verb == "Add" && o.err != nil {
		n.absent.begin()
	}
}

// end notes that a call is over.
func (o *operation) end() {
	n, m := o.n, o.n.model
	if o.is(starts) {
		n.starting.end()
	}
	if o.is(stops) {
		n.stopping.end()
	}
	switch o.verb {
	case "Replace":
		n.replaced.end()
	case "Drain":
		m.gentle.end()
	case "Remove":
		if errors.Is(o.err, scheduler.ErrDependants) {
			n.absent.end()
		}
	}
}

// settle asks, once the faults have ended, whether everything comes to where it
// was asked to be: by itself, then by Start, and stays so.
func (m *model) settle(d *dice) {
	idleFor(15 * time.Minute)
	m.inspect()
	for n := range m.all() {
		m.expect(n, false)
	}
	for n := range m.all() {
		if err := m.do("Start", n, 5*time.Minute); err != nil && !errors.Is(err, scheduler.ErrRunning) {
			m.t.Errorf("seed %d: with no faults left, Start %s: %v", m.seed, n.path, err)
		}
	}
	idleFor(15 * time.Minute)
	m.inspect()
	for n := range m.all() {
		m.expect(n, true)
	}
	all := slices.Collect(m.all())
	off := all[d.roll(len(all))]
	if err := m.do("Stop", off, time.Hour); err != nil {
		m.t.Errorf("seed %d: with no faults left, Stop %s: %v", m.seed, off.path, err)
	}
	idleFor(time.Hour)
	m.inspect()
	affected := off.affected()
	for n := range m.all() {
		if !affected[n] {
			m.expect(n, true)
		} else if s, err := n.Status(n.alias); err != nil || s.State.String() == "started" {
			m.t.Errorf("seed %d: %s is %v though %s is stopped: %v", m.seed, n.path, s.State, off.path, err)
		}
	}
	_ = m.do("Start", off, 5*time.Minute)
	idleFor(5 * time.Minute)
	for _, r := range m.realms {
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Minute, errImpatient)
		if err := r.AwaitStarted(ctx); err != nil {
			m.t.Errorf("seed %d: %s: with no faults left: %v", m.seed, r.path, err)
		}
		cancel()
	}
}

// expect holds the state of a node, when no faults are left, against what was
// asked.
func (m *model) expect(n *node, started bool) {
	s, err := n.Status(n.alias)
	waits := false
	for _, need := range n.after {
		o, err := need.Status(need.alias)
		done := o.State == scheduler.Stopped && o.End == scheduler.Completed && need.want == yes
		waits = waits || err != nil || o.State != scheduler.Started && !done
	}
	inside := n.resting.on == 0
	m.mu.Lock()
	defer m.mu.Unlock()
	legal := false
	switch {
	case err != nil || !inside && started:
	case !inside:
		legal = true
	case s.State == scheduler.Started:
		legal = n.want != no && (s.Ready == n.size || n.spec.Pool > 0 && (waits || s.End != scheduler.NotEnded))
	case started:
	case s.State == scheduler.Stopped: // inspect has asked for a reason
		legal = true
	case s.State == scheduler.Idle:
		legal = n.want != no && waits
	}
	if !legal {
		m.differ(n, "what is wanted is started", "with no faults left it is %v, %v: %s, %d of %d ready: %v", s.State, s.End, s.Reason, s.Ready, n.size, err)
	}
}
