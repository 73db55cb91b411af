package scheduler_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/cannedos/cannedos/scheduler"
)

// role is what an actor may do, beside what its Spec says.
type role struct {
	dice    *dice
	drains  bool
	flaky   int // of a hundred runs, so many end by themselves
	handles bool
}

// dice are seeded and may be thrown from any goroutine.
type dice struct {
	mu sync.Mutex
	*rand.Rand
}

func newDice(seed, stream uint64) *dice { return &dice{Rand: rand.New(rand.NewPCG(seed, stream))} }

func (d *dice) roll(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.IntN(n)
}

// odd returns a time below the limit that nothing else falls on: what actors do
// never coincides with a timeout, so that each end has one meaning.
func (d *dice) odd(limit time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Duration(1 + d.Int64N(int64(limit)))
}

// actor is a service that behaves as its dice say. It is one instance of a
// node: the only one, or from its Factory.
type actor struct {
	node *node
	life *life // the latest; guarded by the model
}

// drainer is an actor that drains.
type drainer struct{ *actor }

// Unwrap makes scheduler.Find look through to the actor.
func (d drainer) Unwrap() scheduler.Service { return d.actor }

// factory makes an instance for each run, or fails to.
func (n *node) factory() scheduler.Service {
	m := n.model
	fault := n.fault(40)
	m.mu.Lock()
	n.starts++
	if fault == 1 || fault == 2 || fault == 3 {
		n.note("factory fails")
		l := &life{node: n, gen: n.starts}
		l.count()
		l.fell(true)
	}
	m.mu.Unlock()
	switch fault {
	case 1:
		panic("factory")
	case 2:
		runtime.Goexit()
	case 3:
		return nil
	}
	return n.instance()
}

func (n *node) instance() scheduler.Service {
	if n.role.drains {
		return drainer{&actor{node: n}}
	}
	return &actor{node: n}
}

// fault is a number below n, or one that stands for no fault.
func (n *node) fault(of int) int {
	if n.model.calm.Load() {
		return of
	}
	return n.role.dice.roll(of)
}

// Serve lives one life.
func (a *actor) Serve(ctx context.Context) (err error) {
	l := a.node.enter(ctx)
	a.node.model.mu.Lock()
	a.life = l
	a.node.model.mu.Unlock()
	failed := true
	defer func() { l.leave(failed) }()
	if over, err := a.start(ctx, l); over {
		failed = failure(err)
		return err
	}
	life := 1000 * time.Hour
	if a.fault(100) < a.node.role.flaky {
		life = a.odd(20 * time.Second)
	}
	select {
	case <-ctx.Done():
		err = a.stop(ctx)
	case <-time.After(life):
		err = a.end()
	}
	failed = failure(err)
	return err
}

func (a *actor) fault(of int) int                      { return a.node.fault(of) }
func (a *actor) odd(limit time.Duration) time.Duration { return a.node.role.dice.odd(limit) }

// failure reports whether a return with that error fails a run.
func failure(err error) bool { return err != nil && !errors.Is(err, context.Canceled) }

// start gets ready, or doesn't; over says that the run has ended.
func (a *actor) start(ctx context.Context, l *life) (over bool, err error) {
	timeout := a.node.spec.StartTimeout
	ready := func() {
		l.readied()
		scheduler.Ready(ctx)
	}
	fault := a.fault(24)
	switch {
	case fault == 0: // at once
		ready()
		return false, nil
	case fault == 1: // before it is ready
		idleFor(a.odd(300 * time.Millisecond))
		return true, a.end()
	case fault == 2 && timeout > 0: // never
		<-ctx.Done()
		return true, a.stop(ctx)
	case (fault == 3 || fault == 4) && timeout > 0: // late, and says so: in time, or beyond the limit
		for range fault*3 - 6 {
			a.extend(ctx, l, timeout)
			select {
			case <-ctx.Done():
				return true, a.stop(ctx)
			case <-time.After(timeout/2 + a.odd(timeout/3)):
			}
		}
	default:
		idleFor(a.odd(400 * time.Millisecond))
	}
	if ctx.Err() == nil {
		ready()
	}
	return false, nil
}

// extend asks for more time, and holds the answer against Extend's promise.
func (a *actor) extend(ctx context.Context, l *life, d time.Duration) {
	now := time.Now()
	err := scheduler.Extend(ctx, d, "its dice")
	m := a.node.model
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tested["extend"]++
	limit := l.entered.Add(10 * a.node.spec.StartTimeout)
	if a.node.spec.StartLimit > 0 {
		limit = l.entered.Add(a.node.spec.StartLimit)
	}
	switch {
	case err == nil && !now.Add(d).After(limit):
	case errors.Is(err, scheduler.ErrStartLimit) && now.Add(d).After(limit):
	case errors.Is(err, scheduler.ErrNotStarting) && now.After(l.deadline):
		return
	case errors.Is(err, scheduler.ErrNotStarting):
		m.soon(func() { // it is asked to stop at this instant, if it does not know yet
			if ctx.Err() == nil {
				m.differ(a.node, "extend", "by %v, %v after the begin: %v", d, now.Sub(l.entered), err)
			}
		})
		return
	default:
		m.differ(a.node, "extend", "by %v, %v after the begin: %v", d, now.Sub(l.entered), err)
	}
	granted := now.Add(d)
	if granted.After(limit) {
		granted = limit
	}
	if granted.After(l.deadline) {
		l.deadline = granted
	}
}

// end is the end of a run by itself.
func (a *actor) end() error {
	switch a.fault(5) {
	case 0:
		panic("fault")
	case 1:
		runtime.Goexit()
	case 2:
		return nil
	}
	return errBroken
}

// stop is the end of a run that was asked to stop: soon, or not before it was
// abandoned, but at last.
func (a *actor) stop(ctx context.Context) error {
	if a.fault(14) == 0 {
		<-scheduler.Work(ctx).Done()
		idleFor(a.odd(5 * time.Second))
	} else {
		idleFor(a.odd(450 * time.Millisecond))
	}
	switch a.fault(8) {
	case 0:
		return a.end()
	case 1:
		return nil
	}
	return ctx.Err()
}

// Drain finishes what is to be done, or doesn't.
func (d drainer) Drain(ctx context.Context) error {
	n, m := d.node, d.node.model
	m.mu.Lock()
	l := d.life
	path := n.path
	if l != nil {
		l.draining, l.drainFrom, path = true, time.Now(), l.path
		n.note("drains")
		m.tested["drains if asked gently"]++
		if n.gently.Before(l.entered) && !l.spare {
			m.differ(n, "drains if asked gently", "%s drains, and nobody asked for it", l.path)
		}
		at := time.Now()
		m.soon(func() { l.checkStop(at) })
	}
	m.mu.Unlock()
	defer m.calling(ctx, path+" drain")()
	switch d.fault(6) {
	case 0: // deaf
		<-ctx.Done()
		idleFor(d.odd(3 * time.Second))
	case 1: // as long as it may
		<-ctx.Done()
	case 2:
		panic("drain")
	case 3:
		return errBroken
	default:
		idleFor(d.odd(800 * time.Millisecond))
	}
	return nil
}

// call is a call of a handler or of Drain.
type call struct {
	path string
	over time.Time // when its context ended; zero: it has not
}

// settle is what such a call gets to return in once its context is over.
const settle = 100 * time.Millisecond

func (c *call) leftBehind(at time.Time) bool {
	return !c.over.IsZero() && !at.Before(c.over.Add(settle))
}

// calling notes a call until it has returned.
func (m *model) calling(ctx context.Context, path string) (returned func()) {
	c := &call{path: path}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		c.over = time.Now()
	})
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.calls, c)
	}
}

const handlerTimeout = 500 * time.Millisecond

// handle is a handler that blocks, hangs, panics, exits, fails, or doesn't.
func (n *node) handle(ctx context.Context, x scheduler.Exception) error {
	defer n.model.calling(ctx, x.Path+" handler h")()
	switch n.fault(8) {
	case 0:
		<-ctx.Done()
	case 1:
		<-ctx.Done()
		idleFor(n.role.dice.odd(4 * time.Second))
	case 2:
		panic("handler")
	case 3:
		runtime.Goexit()
	case 4:
		return errBroken
	}
	return nil
}

// curve is a backoff that sometimes fails itself.
func (n *node) curve(int) time.Duration {
	switch n.fault(30) {
	case 0:
		panic("curve")
	case 1:
		runtime.Goexit()
	case 2, 3, 4:
		return 0
	}
	return n.role.dice.odd(1500 * time.Millisecond)
}

// nested serves a scheduler as a service, and holds its end against what Serve
// promises.
type nested struct{ node *node }

// Serve serves it.
func (s nested) Serve(ctx context.Context) (err error) {
	l := s.node.enter(ctx)
	failed := true
	defer func() { l.leave(failed) }()
	r, m := s.node.inside, s.node.model
	begins := ctx.Err() == nil // else it starts nothing, and has nothing to name
	m.mu.Lock()
	if begins && l.asked.IsZero() {
		r.rest(false)
	}
	m.mu.Unlock()
	err = r.Serve(ctx)
	failed = failure(err)
	m.mu.Lock()
	r.rest(true)
	begin := l.asked
	if !l.drainAsked.IsZero() {
		begin = l.drainAsked
	}
	m.mu.Unlock()
	if begins || err != nil {
		r.served(begin, err)
	}
	return err
}

// Drain drains it.
func (s nested) Drain(ctx context.Context) error {
	n, m := s.node, s.node.model
	m.mu.Lock()
	now := time.Now()
	for _, l := range n.lives {
		if l.deafAt.IsZero() {
			l.draining, l.drainAsked = true, now
		}
	}
	m.tested["drains inside if asked gently"]++
	trigger := n.inside.trigger
	n.inside.excuse()
	n.inside.trigger = trigger // which is what ends it by itself
	n.inside.rest(true)
	for _, d := range n.inside.nodes {
		d.gently = now
	}
	m.mu.Unlock()
	defer m.calling(ctx, n.path+" drain")()
	return n.inside.Scheduler.Drain(ctx)
}
