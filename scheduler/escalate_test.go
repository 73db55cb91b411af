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

func limit(n int, window time.Duration) func(*scheduler.Spec, *puppet) {
	return spec(func(s *scheduler.Spec) { s.RetryLimit, s.RetryWindow = n, window })
}

func significant(s *scheduler.Spec, _ *puppet) { s.Significant = true }

// A group that is given up, by its own limit or a member's.
func TestGroupGivesUp(t *testing.T) {
	ctx := context.Background()
	limited := all
	limited.RetryLimit, limited.RetryWindow = 2, time.Minute
	bubbles(t, map[string]func(t *testing.T){
		// The restarts of all members count together in a sliding window; then
		// all stop, until the one that ended for good is started.
		"limit": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(limited, cast.spec("a", in("g")), cast.spec("b", in("g")), cast.spec("x", after("a", "b"))))
			cast.wantAny("+a", "+b", "+x")
			for i := range 10 { // one each 31 s
				time.Sleep(30 * time.Second)
				cast.fail([]string{"a", "b"}[i%2])
				time.Sleep(time.Second)
				cast.wantAny("-a", "-b", "-x", "+a", "+b", "+x")
			}
			time.Sleep(time.Minute)
			for _, alias := range []string{"a", "b"} {
				cast.fail(alias)
				time.Sleep(time.Second)
				synctest.Wait()
			}
			cast.take()
			cast.fail("b")
			s.wantState("b", scheduler.Stopped, scheduler.GaveUp)
			s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
			s.wantState("x", scheduler.Idle, scheduler.EndedOnPurpose)
			require.Equal(t, "its group g ended with b", s.status("a").Reason)
			require.Equal(t, "gave up", s.status("b").Reason)
			require.ErrorIs(t, s.status("b").Err, errBroken)
			require.ErrorIs(t, s.AwaitStarted(ctx), scheduler.ErrEnded)
			time.Sleep(time.Hour)
			cast.wantAny("-a", "-b", "-x")

			require.NoError(t, s.Start(ctx, "b"), "which brings all back")
			cast.wantAny("+a", "+b", "+x")
			s.closed()
		},
		// What the group failed at before is forgotten by Start, and by Serve.
		"fresh go": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(limited, cast.spec("a", in("g")), cast.spec("b", in("g"))))
			giveUp := func() {
				t.Helper()
				for range 2 {
					cast.fail("a")
					time.Sleep(time.Second)
					synctest.Wait()
				}
				s.wantState("a", scheduler.Started, scheduler.NotEnded)
				cast.fail("a")
				s.wantState("a", scheduler.Stopped, scheduler.GaveUp)
				s.wantState("b", scheduler.Stopped, scheduler.EndedOnPurpose)
			}
			giveUp()
			require.NoError(t, s.Start(ctx, "a"))
			giveUp()
			require.NoError(t, s.Restart(ctx, "a"), "starts it as well")
			s.wantState("b", scheduler.Started, scheduler.NotEnded)
			giveUp()
			s.closed()
			s = serveThis(t, s.Scheduler)
			s.wantState("b", scheduler.Started, scheduler.NotEnded)
			giveUp()
			require.NoError(t, s.Start(ctx, "b"), "one that was taken along can be started alone")
			s.wantState("a", scheduler.Stopped, scheduler.GaveUp)
			require.NoError(t, s.Stop(ctx, "b"))
			require.NoError(t, s.Start(ctx, "b"))
			s.closed()
		},
		// Once the one that ended for good is removed, nothing holds the others.
		"remove": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all, cast.spec("a", in("g"), limit(1, time.Hour)), cast.spec("b", in("g"))))
			cast.fail("a")
			time.Sleep(time.Second)
			synctest.Wait()
			cast.fail("a")
			s.wantState("b", scheduler.Stopped, scheduler.EndedOnPurpose)
			require.NoError(t, s.Remove(ctx, "a"))
			s.wantState("b", scheduler.Started, scheduler.NotEnded)
			s.closed()
		},
		"rest for one": func(t *testing.T) {
			cast := newCast(t)
			halt := spec(func(s *scheduler.Spec) { s.HaltOnFailure = true })
			s := serve(t, grouped(rest, cast.spec("a", in("g"), halt), cast.spec("b", in("g"), halt), cast.spec("c", in("g"))))
			cast.wantAny("+a", "+b", "+c")
			cast.fail("b")
			cast.wantAny("-b", "-c")
			s.wantState("b", scheduler.Stopped, scheduler.Failed)
			s.wantState("c", scheduler.Stopped, scheduler.EndedOnPurpose)
			cast.fail("a")
			require.Equal(t, "failed", s.status("a").Reason)
			require.Equal(t, "its group g ended with b", s.status("c").Reason)
			require.NoError(t, s.Start(ctx, "a"))
			cast.wantAny("-a", "+a") // b has ended for itself, and c with it
			require.NoError(t, s.Start(ctx, "b"))
			cast.wantAny("+b", "+c")
			s.closed()
		},
		// A member that is halted by a start that timed out takes them along
		// as one that is halted by an error does.
		"halt by start timeout": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all, cast.spec("a", in("g")), scheduler.Spec{
				Alias: "b", Group: "g", StartTimeout: time.Second, HaltOnFailure: true, Service: idle,
			}))
			time.Sleep(2 * time.Second)
			s.wantState("b", scheduler.Stopped, scheduler.Failed)
			s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
			require.Equal(t, "its group g ended with b", s.status("a").Reason)
			s.closed()
		},
		// One for one: who reaches the limit ends, the others go on.
		"one for one": func(t *testing.T) {
			cast := newCast(t)
			limited := limited
			limited.Strategy = scheduler.OneForOne
			s := serve(t, grouped(limited, cast.spec("a", in("g")), cast.spec("b", in("g"))))
			for _, alias := range []string{"a", "b", "a"} {
				cast.fail(alias)
				time.Sleep(time.Second)
				synctest.Wait()
			}
			s.wantState("a", scheduler.Stopped, scheduler.GaveUp)
			s.wantState("b", scheduler.Started, scheduler.NotEnded)
			s.closed()
		},
		"escalate": func(t *testing.T) {
			for _, strategy := range []scheduler.Strategy{scheduler.OneForOne, scheduler.OneForAll, scheduler.RestForOne} {
				cast := newCast(t)
				escalating := limited
				escalating.Strategy, escalating.Escalate = strategy, true
				s := serve(t, grouped(escalating, cast.spec("a", in("g")), cast.spec("b", in("g"), takes(0, time.Second)), cast.spec("x")))
				for range 2 {
					cast.fail("a")
					time.Sleep(2 * time.Second)
					synctest.Wait()
				}
				cast.fail("a")
				err := <-s.result
				require.ErrorIs(t, err, scheduler.ErrGaveUp)
				require.ErrorIs(t, err, errBroken)
				require.EqualError(t, err, "scheduler: os/scheduler/a ended the scheduler: scheduler: gave up: broken")
				s.wantState("x", scheduler.Stopped, scheduler.EndedOnPurpose)
			}
		},
	})
}

// The restarts of all services together, against the limit of the Config.
func TestConfigRetryLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cast := newCast(t)
		s := serve(t, scheduler.Config{RetryLimit: 3, RetryWindow: time.Minute, Services: []scheduler.Spec{
			cast.spec("a"), cast.spec("b"), cast.spec("c"),
		}})
		for range 10 { // it slides
			time.Sleep(30 * time.Second)
			cast.fail("c")
			time.Sleep(time.Second)
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		for range 2 { // and each Serve begins anew
			synctest.Wait()
			for _, alias := range []string{"a", "b", "c"} {
				cast.fail(alias)
				s.wantState(alias, scheduler.BackingOff, scheduler.NotEnded)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			cast.fail("b")
			err := <-s.result
			require.ErrorIs(t, err, scheduler.ErrGaveUp)
			require.ErrorIs(t, err, errBroken)
			require.ErrorContains(t, err, "scheduler: os/scheduler/b ended the scheduler: ")
			s.wantState("b", scheduler.Stopped, scheduler.GaveUp)
			s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
			s = serveThis(t, s.Scheduler)
		}
		s.closed()
	})
}

// The end of a significant service is that of the scheduler.
func TestSignificant(t *testing.T) {
	pool := func(ends chan error, s scheduler.Spec) scheduler.Spec {
		s.Alias, s.Pool, s.Significant = "p", 2, true
		s.Factory = func() scheduler.Service {
			return scheduler.Func(func(ctx context.Context) error {
				select {
				case err := <-ends:
					return err
				case <-ctx.Done():
					return nil
				}
			})
		}
		return s
	}
	bubbles(t, map[string]func(t *testing.T){
		"completed": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.spec("a", restart(scheduler.Transient), significant), cast.spec("b", takes(0, time.Second))))
			cast.end("a", nil)
			require.NoError(t, <-s.result)
			cast.wantAny("+a", "+b", "-a", "-b")
		},
		"failed": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.spec("a", restart(scheduler.Temporary), significant), cast.spec("b")))
			cast.fail("a")
			require.EqualError(t, <-s.result, "scheduler: os/scheduler/a ended the scheduler: broken")
		},
		"gave up": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.spec("a", limit(1, 0), significant)))
			cast.fail("a")
			time.Sleep(time.Second)
			synctest.Wait()
			cast.fail("a")
			require.ErrorIs(t, <-s.result, errBroken)
		},
		// Not by itself: nothing follows.
		"stopped": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.spec("a", restart(scheduler.Transient), significant), cast.spec("b")))
			require.NoError(t, s.Stop(t.Context(), "a"))
			require.NoError(t, s.Restart(t.Context(), "b"))
			time.Sleep(time.Hour)
			s.wantState("b", scheduler.Started, scheduler.NotEnded)
			s.closed()
		},
		// However the failure shows: by its start timeout, with HaltOnFailure.
		"halted by start timeout": func(t *testing.T) {
			s := serve(t, services(scheduler.Spec{
				Alias: "a", StartTimeout: time.Second, HaltOnFailure: true, Significant: true, Service: idle,
			}))
			time.Sleep(time.Second)
			require.ErrorIs(t, <-s.result, scheduler.ErrStartTimeout)
		},
		"pool": func(t *testing.T) {
			ends := make(chan error)
			s := serve(t, services(pool(ends, scheduler.Spec{Restart: scheduler.Temporary})))
			ends <- errBroken
			synctest.Wait()
			require.Equal(t, 1, s.status("p").Ready)
			ends <- nil
			require.ErrorIs(t, <-s.result, errBroken, "the worst of its workers counts")
		},
		"pool halted": func(t *testing.T) {
			ends := make(chan error)
			s := serve(t, services(pool(ends, scheduler.Spec{HaltOnFailure: true})))
			ends <- errBroken
			require.ErrorIs(t, <-s.result, errBroken)
		},
		"all": func(t *testing.T) {
			for _, last := range []error{nil, errBroken} {
				cast := newCast(t)
				s := serve(t, scheduler.Config{AllSignificant: true, Services: []scheduler.Spec{
					cast.spec("a", restart(scheduler.Temporary), significant), cast.spec("b", restart(scheduler.Temporary), significant),
					cast.spec("c", restart(scheduler.Temporary), significant), cast.spec("x"),
				}})
				cast.fail("a")
				time.Sleep(time.Hour)
				require.NoError(t, s.Stop(t.Context(), "b"), "it is not waited for any more")
				s.wantState("x", scheduler.Started, scheduler.NotEnded)
				cast.end("c", last)
				require.ErrorIs(t, <-s.result, last)
			}
		},
		// The others of its group have ended with it.
		"all in a group": func(t *testing.T) {
			cast := newCast(t)
			c := grouped(all, cast.spec("a", in("g"), limit(1, 0), significant), cast.spec("b", in("g"), limit(1, 0), significant))
			c.AllSignificant = true
			s := serve(t, c)
			cast.fail("a")
			time.Sleep(time.Second)
			synctest.Wait()
			cast.fail("a")
			require.ErrorIs(t, <-s.result, errBroken)
		},
		// One that was abandoned starts again when it has ended: not the last.
		"all and one abandoned": func(t *testing.T) {
			cast := newCast(t)
			release := make(chan struct{})
			s := serve(t, scheduler.Config{AllSignificant: true, Services: []scheduler.Spec{
				cast.spec("a", restart(scheduler.Transient), significant), cast.spec("x"),
				{Alias: "b", After: []string{"x"}, Restart: scheduler.Transient, Significant: true, StopTimeout: time.Second, Service: &alone{
					t: t, body: func(ctx context.Context, run int) error {
						if run == 1 {
							return deaf(release)(ctx)
						}
						return nil
					},
				}},
			}})
			require.ErrorIs(t, s.Restart(t.Context(), "b"), scheduler.ErrStopTimeout)
			cast.end("a", nil)
			time.Sleep(time.Hour)
			s.wantState("x", scheduler.Started, scheduler.NotEnded)
			close(release)
			require.NoError(t, <-s.result)
		},
	})
}

// A failure goes up through schedulers until one restarts what is below it.
func TestEscalateNested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cast := newCast(t)
		escalates := spec(func(s *scheduler.Spec) { s.RetryLimit, s.Escalate = 1, true })
		inner, err := scheduler.New(services(cast.spec("leaf", escalates), cast.spec("bystander")))
		require.NoError(t, err)
		var made atomic.Int32
		s := serve(t, services(
			scheduler.Spec{Alias: "mid", RetryLimit: 1, Escalate: true, Backoff: at(time.Second), Factory: func() scheduler.Service {
				made.Add(1)
				return inner
			}},
			cast.spec("top"),
		))
		cast.wantAny("+leaf", "+bystander", "+top")
		for i := range 2 {
			cast.fail("leaf")
			time.Sleep(time.Second)
			cast.wantAny("-leaf", "+leaf")
			cast.fail("leaf") // reaches its limit
			x := s.status("mid").Exceptions
			require.ErrorIs(t, x[len(x)-1].Err, scheduler.ErrGaveUp)
			require.ErrorContains(t, x[len(x)-1].Err, "scheduler: os/scheduler/mid/leaf ended the scheduler: ")
			if i == 0 {
				time.Sleep(time.Second)
				cast.wantAny("-leaf", "-bystander", "+leaf", "+bystander")
				require.EqualValues(t, 2, made.Load(), "fresh state")
			}
		}
		err = <-s.result
		require.ErrorIs(t, err, errBroken)
		require.ErrorContains(t, err, "scheduler: os/scheduler/mid ended the scheduler: scheduler: gave up: scheduler: os/scheduler/mid/leaf ended the scheduler: ")
		cast.wantAny("-leaf", "-bystander", "-top")
	})
}

// The failure of a handler is not taken for that of the service.
func TestEndNamesTheFailureOfTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, services(scheduler.Spec{
			Alias: "a", Service: fails, StartTimeout: time.Second, RetryLimit: 1, Backoff: at(0),
			PostHook: scheduler.Handler{Name: "post", Handle: func(context.Context, scheduler.Exception) error { return errors.New("mine") }},
		}))
		s.wantState("a", scheduler.Stopped, scheduler.GaveUp)
		x := s.status("a").Exceptions
		require.Equal(t, scheduler.HandlerFailed, x[len(x)-1].Kind)
		require.ErrorIs(t, s.status("a").Err, errBroken)
		require.ErrorIs(t, s.Start(t.Context(), "a"), errBroken)
		s.closed()
	})
}
