package scheduler_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// drainingPuppet is a puppet that can complete its work: that takes it the time of
// work, and is noted as "~alias", or as "!alias" if it was cut short.
type drainingPuppet struct {
	*puppet
	work  time.Duration
	drain func(ctx context.Context) error // instead of working; nil: works
}

func (d *drainingPuppet) Drain(ctx context.Context) error {
	if d.drain != nil {
		return d.drain(ctx)
	}
	select {
	case <-time.After(d.work):
		d.cast.add("~" + d.alias)
		return nil
	case <-ctx.Done():
		d.cast.add("!" + d.alias)
		return ctx.Err()
	}
}

// drains makes a Spec of a service whose work takes so long.
func (c *cast) drains(alias string, work time.Duration, change ...func(*scheduler.Spec, *puppet)) scheduler.Spec {
	s := c.spec(alias, change...)
	s.Service = &drainingPuppet{puppet: c.puppets[alias], work: work}
	return s
}

// drainsBy makes one whose Drain is f.
func (c *cast) drainsBy(alias string, f func(ctx context.Context) error, change ...func(*scheduler.Spec, *puppet)) scheduler.Spec {
	s := c.spec(alias, change...)
	s.Service = &drainingPuppet{puppet: c.puppets[alias], drain: f}
	return s
}

func drainTimeout(d time.Duration) func(*scheduler.Spec, *puppet) {
	return spec(func(s *scheduler.Spec) { s.DrainTimeout = d })
}

// ways are the calls that drain the service a, and all with it.
func drainWays(s *rig) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"drain":    func(ctx context.Context) error { return s.Manager().Drain(ctx, "a") },
		"shutdown": s.Shutdown,
	}
}

// eachWay runs the test with Drain and with Shutdown.
func eachWay(t *testing.T, test func(t *testing.T, serve func(...scheduler.Spec) (*rig, func(context.Context) error))) {
	for _, way := range []string{"drain", "shutdown"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test(t, func(specs ...scheduler.Spec) (*rig, func(context.Context) error) {
					s := serve(t, services(specs...))
					return s, drainWays(s)[way]
				})
			})
		})
	}
}

// Dependants go first, each only when its work is complete; what has none to
// complete is stopped in its turn.
func TestDrainOrder(t *testing.T) {
	eachWay(t, func(t *testing.T, serve func(...scheduler.Spec) (*rig, func(context.Context) error)) {
		cast := newCast(t)
		s, drain := serve(
			cast.drains("a", 2*time.Second, takes(0, time.Second)),
			cast.spec("b", after("a"), takes(0, time.Second)),
			cast.drains("c", 3*time.Second, after("b"), takes(0, time.Second)),
			cast.drains("d", time.Second, after("a")),
			cast.drains("e", time.Hour, after("c"), takes(time.Hour, 0)), // not ready: nothing to complete
		)
		time.Sleep(time.Second)
		cast.wantAny("+a", "+b", "+c", "+d")
		begin := time.Now()
		done := make(chan error)
		go func() { done <- drain(context.Background()) }()
		time.Sleep(time.Second / 2)
		s.wantState("c", scheduler.Draining, scheduler.NotEnded)
		require.Equal(t, "finishes its work before it stops", s.status("c").Reason)
		require.Equal(t, scheduler.Started, s.status("a").State)
		require.NoError(t, <-done)
		require.Equal(t, 8*time.Second, time.Since(begin))
		cast.want("~d", "-d", "~c", "-c", "-b", "~a", "-a")
		require.Empty(t, s.status("a").Exceptions)
		s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
		s.closed()
	})
}

// When the context ends, the rest is stopped without being drained.
func TestDrainHurried(t *testing.T) {
	eachWay(t, func(t *testing.T, serve func(...scheduler.Spec) (*rig, func(context.Context) error)) {
		cast := newCast(t)
		s, drain := serve(cast.drains("a", time.Hour, drainTimeout(time.Hour)), cast.drains("b", time.Hour, after("a"), drainTimeout(2*time.Hour), takes(0, time.Second)))
		ctx, cancel := within(5 * time.Second)
		defer cancel()
		begin := time.Now()
		require.NoError(t, drain(ctx), "the stop was clean all the same")
		require.Equal(t, 6*time.Second, time.Since(begin))
		cast.want("+a", "+b", "!b", "-b", "-a")
		x := s.status("b").Exceptions
		require.Len(t, x, 1, "that work was cut short is known")
		require.Equal(t, scheduler.DrainFailed, x[0].Kind)
		require.ErrorIs(t, x[0].Err, scheduler.ErrStopping)
		require.Zero(t, s.status("b").Failures)
		s.closed()
	})
	bubbles(t, map[string]func(t *testing.T){
		"Serve's context": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.drains("a", time.Hour), cast.drains("b", time.Hour)))
			results := make(chan error)
			go func() { results <- s.Shutdown(context.Background()) }()
			go func() { results <- s.Manager().Drain(context.Background(), "b") }()
			time.Sleep(time.Second)
			took, err := s.stop()
			require.NoError(t, err)
			require.Zero(t, took)
			require.NoError(t, <-results)
			require.NoError(t, <-results)
			cast.wantAny("+a", "+b", "!a", "!b", "-a", "-b")
		},
		// Stop and Remove are hard, also of what drains.
		"stop": func(t *testing.T) {
			for _, f := range []func(*rig) error{
				func(s *rig) error { return s.Stop(context.Background(), "b") },
				func(s *rig) error { return s.Remove(context.Background(), "b") },
			} {
				cast := newCast(t)
				s := serve(t, services(cast.drains("a", time.Hour), cast.drains("b", time.Hour, after("a"))))
				results := make(chan error, 1)
				go func() { results <- s.Manager().Drain(context.Background(), "b") }()
				time.Sleep(time.Second)
				require.NoError(t, f(s))
				require.NoError(t, <-results)
				cast.want("+a", "+b", "!b", "-b")
				s.closed()
				cast.want("-a")
			}
		},
		// A stop, and a start and a stop, after a drain are ordinary ones.
		"gentleness does not stay": func(t *testing.T) {
			ctx := context.Background()
			cast := newCast(t)
			s := serve(t, services(cast.drains("a", time.Second), cast.drains("b", time.Second, after("a"))))
			m := s.Manager()
			require.NoError(t, m.Drain(ctx, "a"))
			cast.want("+a", "+b", "~b", "-b", "~a", "-a")
			require.NoError(t, m.Drain(ctx, "a"), "at rest")
			require.NoError(t, s.Start(ctx, "a"))
			synctest.Wait()
			require.NoError(t, s.Restart(ctx, "a"))
			cast.want("+a", "+b", "-b", "-a", "+a", "+b")
			drained := make(chan error, 1)
			go func() { drained <- m.Drain(ctx, "a") }()
			synctest.Wait()
			require.NoError(t, s.Start(ctx, "a"), "which overrules it")
			require.ErrorIs(t, <-drained, scheduler.ErrRunning)
			time.Sleep(time.Second)
			cast.want("~b", "-b", "+b")
			require.NoError(t, s.Stop(ctx, "a"))
			cast.want("-b", "-a")
			s.closed()
		},
		// A drain that follows a hard stop does not soften it.
		"after a stop": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.drains("a", time.Hour), cast.spec("b", after("a"), takes(0, time.Second))))
			results := make(chan error, 2)
			go func() { results <- s.Stop(context.Background(), "a") }()
			synctest.Wait()
			go func() { results <- s.Manager().Drain(context.Background(), "a") }()
			require.NoError(t, <-results)
			require.NoError(t, <-results)
			cast.want("+a", "+b", "-b", "-a")
			s.closed()
		},
	})
}

// Whatever Drain does, it ends within its time, and the run is stopped after it.
func TestDrainGoesWrong(t *testing.T) {
	release := func(t *testing.T) <-chan struct{} {
		c := make(chan struct{})
		t.Cleanup(func() { close(c) })
		return c
	}
	for name, c := range map[string]struct {
		drain func(t *testing.T) func(ctx context.Context) error
		took  time.Duration
		want  error
		text  string
		left  bool
	}{
		"obeys its timeout": {func(*testing.T) func(context.Context) error {
			return func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}, 3 * time.Second, scheduler.ErrDrainTimeout, "scheduler: drain: scheduler: drain timeout of 3s", false},
		"complete at its timeout": {func(*testing.T) func(context.Context) error {
			return func(ctx context.Context) error { <-ctx.Done(); return nil }
		}, 3 * time.Second, nil, "", false},
		"deaf": {func(t *testing.T) func(context.Context) error {
			c := release(t)
			return func(context.Context) error { <-c; return nil }
		}, 3100 * time.Millisecond, scheduler.ErrDrainTimeout, "scheduler: drain: scheduler: drain timeout of 3s", true},
		"error": {func(*testing.T) func(context.Context) error { return func(context.Context) error { return errBroken } }, 0, errBroken, "scheduler: drain: broken", false},
		"panic": {func(*testing.T) func(context.Context) error { return func(context.Context) error { panic(errBroken) } }, 0, errBroken, "scheduler: drain: panic: broken", false},
		"goexit": {func(*testing.T) func(context.Context) error {
			return func(context.Context) error { runtime.Goexit(); return nil }
		}, 0, scheduler.ErrGoexit, "scheduler: drain: scheduler: service called runtime.Goexit", false},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, serve func(...scheduler.Spec) (*rig, func(context.Context) error)) {
				cast := newCast(t)
				s, drain := serve(cast.drainsBy("a", c.drain(t), drainTimeout(3*time.Second), takes(0, time.Second)))
				begin := time.Now()
				err := drain(context.Background())
				require.Equal(t, c.took+time.Second, time.Since(begin))
				cast.want("+a", "-a")
				if !c.left || s.Unstopped() == nil {
					require.NoError(t, err)
				}
				x := s.status("a").Exceptions
				if c.want == nil {
					require.Empty(t, x)
				} else {
					require.Len(t, x, 1)
					require.Equal(t, scheduler.DrainFailed, x[0].Kind)
					require.ErrorIs(t, x[0].Err, c.want)
					require.EqualError(t, x[0].Err, c.text)
				}
				require.Zero(t, s.status("a").Failures, "of runs")
				_, err = s.stop()
				if c.left {
					unstopped, ok := errors.AsType[*scheduler.UnstoppedError](err)
					require.True(t, ok, "%v", err)
					require.Equal(t, "os/scheduler/a drain", unstopped.Services[0].Path)
				} else {
					require.NoError(t, err)
				}
			})
		})
	}
}

// Serve may return by itself while it is drained, which is a success, or fail.
func TestServeEndsWhileItDrains(t *testing.T) {
	for name, c := range map[string]struct {
		drain func(cast *cast) func(ctx context.Context) error
		end   error
		left  time.Duration // that it takes more
	}{
		"drain waits for that": {func(*cast) func(context.Context) error {
			return func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}, nil, 0},
		"error": {func(*cast) func(context.Context) error {
			return func(ctx context.Context) error { <-ctx.Done(); return nil }
		}, errBroken, 0},
		"deaf": {func(cast *cast) func(context.Context) error {
			release := make(chan struct{})
			cast.t.Cleanup(func() { close(release) })
			return func(context.Context) error { <-release; return nil }
		}, nil, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, serve func(...scheduler.Spec) (*rig, func(context.Context) error)) {
				cast := newCast(t)
				s, drain := serve(cast.drainsBy("a", c.drain(cast)))
				begin := time.Now()
				done := make(chan error)
				go func() { done <- drain(context.Background()) }()
				time.Sleep(time.Second)
				cast.end("a", c.end)
				err := <-done
				require.LessOrEqual(t, time.Since(begin), time.Second+c.left)
				if c.left == 0 {
					require.NoError(t, err)
				}
				cast.want("+a", "-a")
				s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
				x := s.status("a").Exceptions
				if c.end == nil {
					require.Empty(t, x)
				} else {
					require.Len(t, x, 1)
					require.ErrorIs(t, x[0].Err, c.end)
					require.Equal(t, scheduler.EndedOnPurpose, x[0].End)
				}
				_, err = s.stop()
				require.Equal(t, c.left > 0, err != nil, "%v", err)
			})
		})
	}
}
