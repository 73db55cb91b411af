package scheduler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

func TestShutdown(t *testing.T) {
	ctx := context.Background()
	bubbles(t, map[string]func(t *testing.T){
		"without Serve": func(t *testing.T) {
			s, err := scheduler.New(services(scheduler.Spec{Alias: "a", Service: idle}))
			require.NoError(t, err)
			require.ErrorIs(t, s.Shutdown(ctx), scheduler.ErrNotServing)
			r := serveThis(t, s)
			r.closed()
			require.ErrorIs(t, s.Shutdown(ctx), scheduler.ErrNotServing)
		},
		// It returns what Serve returns, to each who asked, and Serve can be
		// called again: gentleness does not stay.
		"two": func(t *testing.T) {
			cast := newCast(t)
			release := make(chan struct{})
			s := serve(t, services(cast.drains("a", 5*time.Second), scheduler.Spec{Alias: "deaf", Service: deaf(release), StopTimeout: 7 * time.Second}))
			results := make(chan error, 2)
			go func() { results <- s.Shutdown(ctx) }()
			time.Sleep(time.Second)
			go func() { results <- s.Shutdown(ctx) }()
			err := <-s.result
			require.ErrorIs(t, err, scheduler.ErrStopTimeout)
			require.Equal(t, err, <-results)
			require.Equal(t, err, <-results)
			cast.want("+a", "~a", "-a")
			close(release)
			synctest.Wait()
			s = serveThis(t, s.Scheduler)
			s.closed()
			cast.want("+a", "-a")
		},
		// The second one's context hurries both.
		"second one hurries": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.drains("a", time.Hour)))
			results := make(chan error, 2)
			begin := time.Now()
			go func() { results <- s.Shutdown(ctx) }()
			hasty, cancel := within(2 * time.Second)
			defer cancel()
			go func() { results <- s.Shutdown(hasty) }()
			require.NoError(t, <-results)
			require.NoError(t, <-results)
			require.Equal(t, 2*time.Second, time.Since(begin))
			cast.want("+a", "!a", "-a")
		},
		"while Serve ends": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.drains("a", time.Hour, takes(0, 5*time.Second))))
			s.cancel()
			synctest.Wait()
			require.NoError(t, s.Shutdown(ctx))
			require.NoError(t, <-s.result)
			cast.want("+a", "-a")
		},
		"while a failure ends it": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.drains("a", time.Hour, takes(0, 5*time.Second)), cast.spec("b", restart(scheduler.Temporary), significant)))
			cast.fail("b")
			require.ErrorIs(t, s.Shutdown(ctx), errBroken)
			cast.wantAny("+a", "+b", "-b", "-a")
		},
		"during the start": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.drains("a", time.Second), cast.drains("b", time.Hour, after("a"), takes(time.Hour, 0)), cast.spec("c", after("b"))))
			require.NoError(t, s.Shutdown(ctx))
			cast.want("+a", "~a", "-a")
		},
		// A service that ends the scheduler which it runs in is not waited
		// for, however deep it is inside, nor is a handler.
		"from within": func(t *testing.T) {
			for _, within := range []func(context.Context) context.Context{
				func(ctx context.Context) context.Context { return ctx }, scheduler.Work,
			} {
				var s *scheduler.Scheduler
				body := scheduler.Func(func(ctx context.Context) error {
					time.Sleep(time.Second)
					if err := s.Shutdown(within(ctx)); err != nil {
						t.Error(err)
					}
					return idle(ctx)
				})
				inner, err := scheduler.New(services(scheduler.Spec{Alias: "leaf", Service: body}))
				require.NoError(t, err)
				for _, service := range []scheduler.Service{body, inner} {
					s, err = scheduler.New(services(scheduler.Spec{Alias: "a", Service: service}))
					require.NoError(t, err)
					r := serveThis(t, s)
					require.NoError(t, <-r.result)
				}
			}
		},
		"from a handler": func(t *testing.T) {
			s := serve(t, services(scheduler.Spec{Alias: "a", Backoff: at(time.Hour), StartDelay: time.Second, Service: fails,
				PostHook: scheduler.Handler{Name: "ends it", Handle: func(ctx context.Context, _ scheduler.Exception) error {
					m, _ := scheduler.ManagerOf(ctx)
					return m.Shutdown(ctx)
				}}}))
			require.NoError(t, <-s.result)
			require.Len(t, s.status("a").Exceptions, 1)
		},
		"self drain": func(t *testing.T) {
			cast := newCast(t)
			done := make(chan struct{})
			a := cast.drains("a", 5*time.Second, starting(func(ctx context.Context, _ int) error {
				scheduler.Ready(ctx)
				m, _ := scheduler.ManagerOf(ctx)
				if err := m.Drain(ctx, "a"); err != nil {
					t.Error(err)
				}
				close(done)
				return nil
			}))
			s := serve(t, services(a))
			<-done
			time.Sleep(time.Minute)
			cast.want("+a", "~a", "-a")
			s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
			s.closed()
		},
		"drain of nobody, before Serve": func(t *testing.T) {
			s, err := scheduler.New(services(scheduler.Spec{Alias: "a", Service: idle}))
			require.NoError(t, err)
			require.ErrorIs(t, s.Manager().Drain(ctx, "nobody"), scheduler.ErrUnknown)
			require.NoError(t, s.Manager().Drain(ctx, "a"), "as Stop, it keeps it from being started")
			r := serveThis(t, s)
			r.wantState("a", scheduler.Stopped, scheduler.NotEnded)
			r.closed()
		},
	})
}

// A scheduler inside is drained with the one around it, in the order of its own
// services, and gets the time that these need.
func TestShutdownNested(t *testing.T) {
	ctx := context.Background()
	nest := func(t *testing.T, cast *cast, wrap func(*scheduler.Scheduler) scheduler.Service, change func(*scheduler.Spec)) *rig {
		inner, err := scheduler.New(services(
			cast.drains("a", 25*time.Second, takes(0, time.Second)),
			cast.drains("b", 25*time.Second, after("a"), takes(0, time.Second)),
		))
		require.NoError(t, err)
		outer := scheduler.Spec{Alias: "inner", Service: wrap(inner), After: []string{"base"}, StartTimeout: time.Minute}
		change(&outer)
		s := serve(t, services(cast.drains("base", time.Second), outer, cast.drains("top", time.Second, after("inner"))))
		cast.want("+base", "+a", "+b", "+top")
		return s
	}
	plain := func(s *scheduler.Scheduler) scheduler.Service { return s }
	none := func(*scheduler.Spec) {}
	ways := map[string]func(*scheduler.Scheduler) scheduler.Service{
		"plain":   plain,
		"wrapped": func(s *scheduler.Scheduler) scheduler.Service { return wrapper{s} },
		"called":  func(s *scheduler.Scheduler) scheduler.Service { return scheduler.Func(s.Serve) },
	}
	bubbles(t, map[string]func(t *testing.T){
		"gently": func(t *testing.T) {
			for name, wrap := range ways {
				cast := newCast(t)
				s := nest(t, cast, wrap, none)
				begin := time.Now()
				require.NoError(t, s.Shutdown(ctx), name)
				require.Equal(t, 54*time.Second, time.Since(begin), "longer than DefaultDrainTimeout")
				cast.want("~top", "-top", "~b", "-b", "~a", "-a", "~base", "-base")
				require.Empty(t, s.status("inner").Exceptions)
			}
		},
		"hurried": func(t *testing.T) {
			cast := newCast(t)
			s := nest(t, cast, plain, none)
			hasty, cancel := within(10 * time.Second)
			defer cancel()
			begin := time.Now()
			require.NoError(t, s.Shutdown(hasty))
			require.Equal(t, 12*time.Second, time.Since(begin))
			cast.want("~top", "-top", "!b", "-b", "-a", "-base")
			x := s.status("inner").Exceptions
			require.Len(t, x, 1)
			require.ErrorIs(t, x[0].Err, scheduler.ErrStopping)
		},
		"its drain timeout": func(t *testing.T) {
			cast := newCast(t)
			s := nest(t, cast, plain, func(s *scheduler.Spec) { s.DrainTimeout = 10 * time.Second })
			require.NoError(t, s.Shutdown(ctx))
			cast.want("~top", "-top", "!b", "-b", "-a", "~base", "-base")
			x := s.status("inner").Exceptions
			require.Len(t, x, 1)
			require.ErrorIs(t, x[0].Err, scheduler.ErrDrainTimeout)
		},
		// One that obeys the end of its drain is not what hangs, even if its
		// stop takes longer than that.
		"hurried, and slow to stop": func(t *testing.T) {
			for name, wrap := range ways {
				cast := newCast(t)
				inner, err := scheduler.New(services(cast.drains("a", time.Hour, takes(0, 5*time.Second))))
				require.NoError(t, err)
				s := serve(t, services(scheduler.Spec{Alias: "inner", Service: wrap(inner), DrainTimeout: 10 * time.Second}))
				done := make(chan error, 1)
				begin := time.Now()
				go func() { done <- s.Shutdown(ctx) }()
				time.Sleep(12 * time.Second)
				require.Empty(t, s.Unstopped(), name)
				s.wantState("inner", scheduler.Stopping, scheduler.NotEnded)
				require.NoError(t, <-done, name)
				require.Equal(t, 15*time.Second, time.Since(begin), name)
				cast.want("+a", "!a", "-a")
				require.Len(t, s.status("inner").Exceptions, 1, name)
				require.ErrorIs(t, s.status("inner").Exceptions[0].Err, scheduler.ErrDrainTimeout, name)
			}
		},
		"hard": func(t *testing.T) {
			cast := newCast(t)
			s := nest(t, cast, plain, none)
			s.closed()
			cast.want("-top", "-b", "-a", "-base")
		},
		// One whose Serve is over, in a service that goes on, holds nobody up.
		"inner over": func(t *testing.T) {
			cast := newCast(t)
			inner, err := scheduler.New(services(cast.drains("a", time.Second)))
			require.NoError(t, err)
			s := serve(t, services(scheduler.Spec{Alias: "inner", Service: scheduler.Func(func(ctx context.Context) error {
				_ = inner.Serve(ctx)
				return idle(ctx)
			})}))
			require.NoError(t, inner.Shutdown(ctx))
			begin := time.Now()
			require.NoError(t, s.Shutdown(ctx))
			require.Zero(t, time.Since(begin))
			require.Empty(t, s.status("inner").Exceptions)
			cast.want("+a", "~a", "-a")
		},
		// One that is shut down by itself has ended as one that returned nil.
		"inner alone": func(t *testing.T) {
			cast := newCast(t)
			inner, err := scheduler.New(services(cast.drains("a", time.Second)))
			require.NoError(t, err)
			s := serve(t, services(scheduler.Spec{Alias: "inner", Service: inner, Restart: scheduler.Transient}))
			cast.want("+a")
			require.NoError(t, inner.Shutdown(ctx))
			cast.want("~a", "-a")
			s.wantState("inner", scheduler.Stopped, scheduler.Completed)
			s.closed()
		},
	})
}
