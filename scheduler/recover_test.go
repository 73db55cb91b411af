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

// What gave up is brought back after each RetryWindow, by a service that says
// Recover.
func TestRecoverGivenUp(t *testing.T) {
	ctx := context.Background()
	recovers := spec(func(s *scheduler.Spec) { s.RetryLimit, s.RetryWindow, s.Recover = 1, time.Hour, true })
	giveUp := func(cast *cast, s *rig, alias string) {
		t.Helper()
		cast.fail(alias)
		time.Sleep(time.Second)
		synctest.Wait()
		cast.fail(alias)
		s.wantState(alias, scheduler.Stopped, scheduler.GaveUp)
	}
	bubbles(t, map[string]func(t *testing.T){
		"again and again": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.spec("a", recovers)))
			for range 3 {
				giveUp(cast, s, "a")
				cast.want("+a", "-a", "+a", "-a")
				time.Sleep(time.Minute)
				require.Equal(t, "gave up; is brought back in 59m0s", s.status("a").Reason)
				require.Equal(t, time.Now().Add(59*time.Minute), s.status("a").Next)
				time.Sleep(59 * time.Minute)
				s.wantState("a", scheduler.Started, scheduler.NotEnded)
			}
			s.closed()
		},
		"not after a stop": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.spec("a", recovers)))
			giveUp(cast, s, "a")
			require.NoError(t, s.Stop(ctx, "a"))
			require.Equal(t, "gave up", s.status("a").Reason)
			require.Zero(t, s.status("a").Next)
			time.Sleep(2 * time.Hour)
			s.wantState("a", scheduler.Stopped, scheduler.GaveUp)
			require.NoError(t, s.Start(ctx, "a"))
			giveUp(cast, s, "a")
			s.closed()
			require.Equal(t, "gave up", s.status("a").Reason)
			require.Zero(t, s.status("a").Next)
		},
		// When what it comes after is down at that time, it starts with that.
		"dependency": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.spec("a"), cast.spec("b", after("a"), recovers)))
			giveUp(cast, s, "b")
			require.NoError(t, s.Stop(ctx, "a"))
			time.Sleep(2 * time.Hour)
			s.wantState("b", scheduler.Idle, scheduler.NotEnded)
			require.Equal(t, "waits for a (stopped)", s.status("b").Reason)
			require.NoError(t, s.Start(ctx, "a"))
			s.wantState("b", scheduler.Started, scheduler.NotEnded)
			s.closed()
		},
		"group": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all, cast.spec("a", in("g"), recovers), cast.spec("b", in("g"))))
			giveUp(cast, s, "a")
			s.wantState("b", scheduler.Stopped, scheduler.EndedOnPurpose)
			time.Sleep(time.Hour)
			s.wantState("a", scheduler.Started, scheduler.NotEnded)
			s.wantState("b", scheduler.Started, scheduler.NotEnded)
			s.closed()
		},
	})
}

// An abandoned run of a service with a Factory is replaced at once by one that
// says Recover.
func TestRecoverDeaf(t *testing.T) {
	ctx := context.Background()
	// Each run is deaf, and ready unless it is one of the first so many.
	pack := func(t *testing.T, broken int32, made *atomic.Int32) (factory func() scheduler.Service) {
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		return func() scheduler.Service {
			n := made.Add(1)
			return scheduler.Func(func(ctx context.Context) error {
				if n > broken {
					scheduler.Ready(ctx)
					return idle(ctx)
				}
				<-release
				return errBroken
			})
		}
	}
	bubbles(t, map[string]func(t *testing.T){
		"failed start": func(t *testing.T) {
			var made atomic.Int32
			s := serve(t, services(scheduler.Spec{
				Alias: "a", Factory: pack(t, 3, &made), StartTimeout: time.Second, StopTimeout: time.Second, Recover: true, Backoff: at(time.Hour),
			}))
			time.Sleep(7 * time.Second) // two for each, and DefaultBackoff between them
			s.wantState("a", scheduler.Started, scheduler.NotEnded)
			a := s.status("a")
			require.EqualValues(t, 4, a.Starts)
			require.Equal(t, 3, a.Abandoned, "they are not forgotten")
			require.Len(t, s.Unstopped(), 3)
			_, err := s.stop()
			require.ErrorIs(t, err, scheduler.ErrStopTimeout)
		},
		// Deaf failures are failures: they count against the limit, which
		// bounds what leaks.
		"retry limit": func(t *testing.T) {
			var made atomic.Int32
			s := serve(t, services(scheduler.Spec{
				Alias: "a", Factory: pack(t, 5, &made), StartTimeout: time.Second, StopTimeout: time.Second,
				Recover: true, RetryLimit: 2, RetryWindow: time.Hour,
			}))
			time.Sleep(10 * time.Second)
			s.wantState("a", scheduler.Stopped, scheduler.GaveUp)
			require.EqualValues(t, 3, made.Load())
			require.Equal(t, 3, s.status("a").Abandoned)
			time.Sleep(2 * time.Hour)
			s.wantState("a", scheduler.Started, scheduler.NotEnded)
			require.EqualValues(t, 6, made.Load())
			_, err := s.stop()
			require.ErrorIs(t, err, scheduler.ErrStopTimeout)
		},
		// Its group restarts with it.
		"group": func(t *testing.T) {
			var made atomic.Int32
			cast := newCast(t)
			s := serve(t, grouped(all, cast.spec("b", in("g"), takes(0, time.Second)), scheduler.Spec{
				Alias: "a", Group: "g", Factory: pack(t, 1, &made), StartTimeout: time.Second, StopTimeout: time.Second, Recover: true,
			}))
			time.Sleep(2 * time.Second)
			synctest.Wait()
			s.wantState("a", scheduler.BackingOff, scheduler.Abandoned)
			time.Sleep(time.Second)
			cast.want("+b", "-b", "+b")
			s.wantState("a", scheduler.Started, scheduler.NotEnded)
			_, err := s.stop()
			require.ErrorIs(t, err, scheduler.ErrStopTimeout)
		},
		// One that was asked to stop on purpose is replaced when it shall run.
		"restart": func(t *testing.T) {
			var made atomic.Int32
			release := make(chan struct{})
			s := serve(t, services(scheduler.Spec{Alias: "a", StopTimeout: time.Second, Recover: true, Factory: func() scheduler.Service {
				if made.Add(1) > 1 {
					return idle
				}
				return deaf(release)
			}}))
			stopped := make(chan error, 1)
			go func() { stopped <- s.Stop(ctx, "a") }()
			synctest.Wait()
			require.NoError(t, s.Start(ctx, "a"))
			require.ErrorIs(t, <-stopped, scheduler.ErrRunning)
			s.wantState("a", scheduler.Started, scheduler.NotEnded)
			require.EqualValues(t, 2, made.Load())
			close(release)
			s.closed()
		},
		// Without Recover, or without a Factory, nothing is doubled.
		"not asked for": func(t *testing.T) {
			var made atomic.Int32
			release := make(chan struct{})
			s := serve(t, services(
				scheduler.Spec{Alias: "a", Factory: pack(t, 1, &made), StartTimeout: time.Second, StopTimeout: time.Second},
				scheduler.Spec{Alias: "b", Service: deaf(release), Recover: true, StartTimeout: time.Second, StopTimeout: time.Second},
			))
			time.Sleep(time.Hour)
			s.wantState("a", scheduler.Stopped, scheduler.Abandoned)
			s.wantState("b", scheduler.Stopped, scheduler.Abandoned)
			err := s.Start(ctx, "a")
			require.True(t, errors.Is(err, scheduler.ErrAbandoned), "%v", err)
			require.NoError(t, s.Manager().Replace(ctx, "a"))
			s.wantState("a", scheduler.Started, scheduler.NotEnded)
			close(release)
			_, err = s.stop()
			require.ErrorIs(t, err, scheduler.ErrStopTimeout)
		},
	})
}
