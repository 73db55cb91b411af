package scheduler_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// Who waits for a stop that a Start has overruled is told so at once, and not
// when the run has ended, or its deaf dependant is given up.
func TestStopOverruled(t *testing.T) {
	ctx := context.Background()
	for _, way := range []string{"stop", "drain"} {
		for _, whose := range []string{"its own run", "one after it", "while what it comes after restarts"} {
			bubble(t, way+", "+whose, func(t *testing.T) {
				cast := newCast(t)
				slow := spec(func(s *scheduler.Spec) { s.StopTimeout = 2 * time.Hour })
				specs := []scheduler.Spec{cast.spec("base"), cast.spec("a", after("base"), slow, takes(0, time.Hour))}
				if whose == "one after it" {
					specs[1] = cast.spec("a", after("base"))
					specs = append(specs, cast.spec("b", after("a"), slow, takes(0, time.Hour)))
				}
				s := serve(t, services(specs...))
				if whose == "while what it comes after restarts" {
					go func() { _ = s.Restart(ctx, "base") }()
					synctest.Wait()
				}
				stop := map[string]func(context.Context, string) error{"stop": s.Stop, "drain": s.Manager().Drain}[way]
				stopped := make(chan error, 1)
				go func() { stopped <- stop(ctx, "a") }()
				time.Sleep(time.Second)
				begin := time.Now()
				go func() { _ = s.Start(ctx, "a") }()
				require.ErrorIs(t, <-stopped, scheduler.ErrRunning)
				require.Zero(t, time.Since(begin))
				time.Sleep(2 * time.Hour)
				s.wantState("a", scheduler.Started, scheduler.NotEnded)
				s.closed()
			})
		}
	}
}

// A Stop while a Restart, or the restart of a group, is under way leads to
// Stopped; so does the end of Serve, whatever was waited for.
func TestStopDuringRestart(t *testing.T) {
	ctx := context.Background()
	bubbles(t, map[string]func(t *testing.T){
		"restart": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.spec("a", takes(0, time.Second)), cast.spec("b", after("a"), takes(0, time.Second))))
			restarted := make(chan error, 1)
			go func() { restarted <- s.Restart(ctx, "a") }()
			time.Sleep(time.Second / 2)
			require.NoError(t, s.Stop(ctx, "a"))
			require.ErrorIs(t, <-restarted, scheduler.ErrStopped)
			s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
			s.wantState("b", scheduler.Idle, scheduler.EndedOnPurpose)
			s.closed()
			s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
			s.wantState("b", scheduler.Stopped, scheduler.EndedOnPurpose)
			again := serveThis(t, s.Scheduler)
			again.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
			require.NoError(t, again.Start(ctx, "a"))
			require.NoError(t, again.AwaitStarted(ctx))
			again.closed()
		},
		// A member's end for good stops its group, one that restarts included.
		"halted": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all,
				cast.spec("a", in("g"), spec(func(s *scheduler.Spec) { s.HaltOnFailure = true })),
				cast.spec("b", in("g"), takes(0, time.Second)),
			))
			cast.wantAny("+a", "+b")
			restarted := make(chan error, 1)
			go func() { restarted <- s.Restart(ctx, "b") }()
			time.Sleep(time.Second / 2)
			cast.fail("a")
			err := <-restarted
			require.ErrorIs(t, err, scheduler.ErrEnded)
			require.ErrorContains(t, err, "its group g ended with a")
			cast.wantAny("-a", "-b")
			s.wantState("b", scheduler.Stopped, scheduler.EndedOnPurpose)
			require.Equal(t, "its group g ended with a", s.status("b").Reason)
			require.NoError(t, s.Start(ctx, "a"))
			require.NoError(t, s.AwaitStarted(ctx))
			cast.wantAny("+a", "+b")
			s.closed()
		},
		"held": func(t *testing.T) {
			s, _ := held(t)
			time.Sleep(2 * time.Second)
			s.closed()
			for _, e := range s.Services() {
				require.Equal(t, scheduler.Stopped, e.State, "%s: %s", e.Alias, e.Reason)
			}
		},
	})
}

// A scheduler inside whose handlers may take for ever gets the time to stop
// that its services need: sums of times don't turn negative.
func TestStopBudgetForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cast := newCast(t)
		c := services(cast.spec("a", takes(0, time.Minute), spec(func(s *scheduler.Spec) { s.StopTimeout = time.Hour })))
		c.HandlerTimeout = time.Second
		c.PreHook = scheduler.Handler{Name: "h", Timeout: math.MaxInt64, Handle: func(context.Context, scheduler.Exception) error { return nil }}
		inner, err := scheduler.New(c)
		require.NoError(t, err)
		s := serve(t, services(scheduler.Spec{Alias: "inner", Service: inner}))
		took, err := s.stop()
		require.NoError(t, err)
		require.Equal(t, time.Minute, took)
	})
}
