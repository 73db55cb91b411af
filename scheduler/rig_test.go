package scheduler_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

var errBroken = errors.New("broken")

// rig is a scheduler that is served in the bubble of a test.
type rig struct {
	*scheduler.Scheduler
	t      *testing.T
	cancel context.CancelFunc
	result chan error
}

// serve makes a scheduler and serves it until stop, or the end of the test.
func serve(t *testing.T, c scheduler.Config) *rig {
	t.Helper()
	s, err := scheduler.New(c)
	require.NoError(t, err)
	return serveThis(t, s)
}

func services(specs ...scheduler.Spec) scheduler.Config { return scheduler.Config{Services: specs} }

func serveThis(t *testing.T, s *scheduler.Scheduler) *rig {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &rig{Scheduler: s, t: t, cancel: cancel, result: make(chan error, 1)}
	go func() { r.result <- s.Serve(ctx) }()
	synctest.Wait()
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			time.Sleep(1000 * time.Hour) // so that what went wrong is said by the test, not by the bubble
		}
	})
	return r
}

// stop ends Serve and returns what it answered and how long it took.
func (r *rig) stop() (time.Duration, error) {
	begin := time.Now()
	r.cancel()
	err := <-r.result
	return time.Since(begin), err
}

// end is stop, which must go well.
func (r *rig) end() {
	r.t.Helper()
	_, err := r.stop()
	require.NoError(r.t, err)
}

func (r *rig) status(alias string) scheduler.Status {
	r.t.Helper()
	s, err := r.Status(alias)
	require.NoError(r.t, err)
	return s
}

func (r *rig) wantState(alias string, state scheduler.State, end scheduler.End) {
	r.t.Helper()
	synctest.Wait()
	s := r.status(alias)
	require.Equal(r.t, state.String()+" "+end.String(), s.State.String()+" "+s.End.String(), "%s: %s", alias, s.Reason)
}

// idle runs until it is asked to stop.
var idle = scheduler.Func(func(ctx context.Context) error {
	<-ctx.Done()
	return nil
})

// deaf runs until release is closed, whatever it is asked.
func deaf(release <-chan struct{}) scheduler.Func {
	return func(context.Context) error {
		<-release
		return nil
	}
}

// fails returns the error at once.
var fails = scheduler.Func(func(context.Context) error { return errBroken })

// alone fails the test if two runs of it overlap, and counts its runs.
type alone struct {
	t       *testing.T
	running atomic.Int32
	runs    atomic.Int32
	body    func(ctx context.Context, run int) error
}

func (a *alone) Serve(ctx context.Context) error {
	if a.running.Add(1) > 1 {
		a.t.Error("two generations run at once")
	}
	defer a.running.Add(-1)
	return a.body(ctx, int(a.runs.Add(1)))
}

func at(d time.Duration) scheduler.Backoff { return func(int) time.Duration { return d } }

func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), d, errors.New("test waited long enough"))
}

// idleFor sleeps, in the time of a bubble.
func idleFor(d time.Duration) { time.Sleep(d) }

// cast is a set of puppets that write what they do into one journal.
type cast struct {
	journal
	t       *testing.T
	puppets map[string]*puppet
}

func newCast(t *testing.T) *cast { return &cast{t: t, puppets: make(map[string]*puppet)} }

// puppet is a service that lives as the test says: it notes "+alias" as it
// becomes ready, after boot, and "-alias" when its run is over, which a stop brings
// about after halt.
type puppet struct {
	cast       *cast
	alias      string
	boot, halt time.Duration
	start      func(ctx context.Context, run int) error // before it is ready; nil: nothing
	ends       chan error
	running    atomic.Int32
	runs       atomic.Int32
}

// spec makes a puppet, and its Spec with a backoff of a second.
func (c *cast) spec(alias string, change ...func(*scheduler.Spec, *puppet)) scheduler.Spec {
	p := &puppet{cast: c, alias: alias, ends: make(chan error)}
	c.puppets[alias] = p
	s := scheduler.Spec{Alias: alias, Service: p, StartTimeout: 24 * time.Hour, Backoff: at(time.Second)}
	for _, f := range change {
		f(&s, p)
	}
	return s
}

func (p *puppet) Serve(ctx context.Context) error {
	if p.running.Add(1) > 1 {
		p.cast.t.Errorf("%s: two generations run at once", p.alias)
	}
	defer p.running.Add(-1)
	run := int(p.runs.Add(1))
	select {
	case <-time.After(p.boot):
	case <-ctx.Done():
		return nil
	}
	if p.start != nil {
		if err := p.start(ctx, run); err != nil || ctx.Err() != nil {
			return err
		}
	}
	p.cast.add("+" + p.alias)
	scheduler.Ready(ctx)
	defer p.cast.add("-" + p.alias)
	select {
	case err := <-p.ends:
		return err
	case <-ctx.Done():
		time.Sleep(p.halt)
		return nil
	}
}

// end makes the run of a puppet return err, and waits until what follows at
// once has followed.
func (c *cast) end(alias string, err error) {
	c.t.Helper()
	select {
	case c.puppets[alias].ends <- err:
	case <-time.After(time.Hour):
		c.t.Fatalf("%s does not run", alias)
	}
	synctest.Wait()
}

// fail is end with a failure.
func (c *cast) fail(alias string) {
	c.t.Helper()
	c.end(alias, errBroken)
}

// want checks what was noted since the last time, in that order.
func (c *cast) want(lines ...string) {
	c.t.Helper()
	synctest.Wait()
	if lines == nil {
		lines = []string{}
	}
	require.Equal(c.t, lines, append([]string{}, c.take()...))
}

// wantAny is want without order.
func (c *cast) wantAny(lines ...string) {
	c.t.Helper()
	synctest.Wait()
	require.ElementsMatch(c.t, lines, c.take())
}

func after(aliases ...string) func(*scheduler.Spec, *puppet) {
	return func(s *scheduler.Spec, _ *puppet) { s.After = aliases }
}

func in(group string) func(*scheduler.Spec, *puppet) {
	return func(s *scheduler.Spec, _ *puppet) { s.Group = group }
}

// takes says how long the start and the stop of a puppet take.
func takes(boot, halt time.Duration) func(*scheduler.Spec, *puppet) {
	return func(_ *scheduler.Spec, p *puppet) { p.boot, p.halt = boot, halt }
}

func backoff(d time.Duration) func(*scheduler.Spec, *puppet) {
	return func(s *scheduler.Spec, _ *puppet) { s.Backoff = at(d) }
}

func restart(policy scheduler.RestartPolicy) func(*scheduler.Spec, *puppet) {
	return func(s *scheduler.Spec, _ *puppet) {
		if s.Restart = policy; policy == scheduler.Temporary {
			s.Backoff = nil
		}
	}
}

// spec makes any other change.
func spec(f func(*scheduler.Spec)) func(*scheduler.Spec, *puppet) {
	return func(s *scheduler.Spec, _ *puppet) { f(s) }
}

// starting is called in each run before it is ready.
func starting(f func(ctx context.Context, run int) error) func(*scheduler.Spec, *puppet) {
	return func(_ *scheduler.Spec, p *puppet) { p.start = f }
}

// grouped is a Config with one group.
func grouped(g scheduler.Group, specs ...scheduler.Spec) scheduler.Config {
	return scheduler.Config{Groups: []scheduler.Group{g}, Services: specs}
}

// closed stops a rig of which nothing may be left.
func (r *rig) closed() {
	r.t.Helper()
	_, err := r.stop()
	require.NoError(r.t, err)
}
