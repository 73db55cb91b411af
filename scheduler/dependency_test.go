package scheduler_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// journal notes what happened in which order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

// service takes a second to start and one to stop.
func (j *journal) service(alias string, after ...string) scheduler.Spec {
	return scheduler.Spec{Alias: alias, After: after, StartTimeout: time.Minute, Service: scheduler.Func(func(ctx context.Context) error {
		time.Sleep(time.Second)
		j.add("+" + alias) // before it is known, so that nobody finds it missing
		scheduler.Ready(ctx)
		<-ctx.Done()
		time.Sleep(time.Second)
		j.add("-" + alias)
		return nil
	})}
}

// Dependants stop before what they depend on; starts follow the graph in
// parallel; a start timeout ends at Ready and names what blocked.
func TestGuarantee4Dependencies(t *testing.T) {
	t.Run("order", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var j journal
			begin := time.Now()
			// A diamond with two arms, given in the wrong order.
			s := serve(t, services(j.service("d", "b", "c"), j.service("b", "a"), j.service("c", "a"), j.service("a")))
			require.NoError(t, s.AwaitStarted(t.Context()))
			require.Equal(t, 3*time.Second, time.Since(begin), "arms start in parallel")
			up := j.take()
			slices.Sort(up[1:3])
			require.Equal(t, []string{"+a", "+b", "+c", "+d"}, up)

			require.NoError(t, s.Restart(t.Context(), "b"))
			require.NoError(t, s.AwaitStarted(t.Context()))
			require.Equal(t, []string{"-d", "-b", "+b", "+d"}, j.take(), "restart takes dependants along, and only them")

			require.NoError(t, s.Stop(t.Context(), "b"))
			require.Equal(t, []string{"-d", "-b"}, j.take())
			s.wantState("d", scheduler.Idle, scheduler.EndedOnPurpose)
			require.Equal(t, "waits for b (stopped)", s.status("d").Reason)
			require.ErrorIs(t, s.Start(t.Context(), "d"), scheduler.ErrStopped)
			require.NoError(t, s.Start(t.Context(), "b"))
			require.NoError(t, s.AwaitStarted(t.Context()))
			require.Equal(t, []string{"+b", "+d"}, j.take())

			took, err := s.stop()
			require.NoError(t, err)
			require.Equal(t, 3*time.Second, took, "arms stop in parallel")
			down := j.take()
			slices.Sort(down[1:3])
			require.Equal(t, []string{"-d", "-b", "-c", "-a"}, down)
		})
	})
	t.Run("restart waits for a dependency that is down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			once := func(d time.Duration) *alone {
				return &alone{t: t, body: func(ctx context.Context, run int) error {
					if run > 1 {
						return idle(ctx)
					}
					time.Sleep(d)
					return errBroken
				}}
			}
			b := once(2 * time.Second)
			s := serve(t, services(
				scheduler.Spec{Alias: "a", Service: once(time.Second), Backoff: at(time.Minute)},
				scheduler.Spec{Alias: "b", Service: b, After: []string{"a"}, Backoff: at(time.Second)},
			))
			time.Sleep(1500 * time.Millisecond)
			s.wantState("b", scheduler.Started, scheduler.NotEnded) // a crash of a alone does not stop b
			time.Sleep(30 * time.Second)
			s.wantState("b", scheduler.Idle, scheduler.NotEnded)
			require.Equal(t, "waits for a (backing off)", s.status("b").Reason)
			time.Sleep(30 * time.Second)
			s.wantState("b", scheduler.Started, scheduler.NotEnded)
			_, err := s.stop()
			require.NoError(t, err)
		})
	})
	t.Run("a crash during a restart does not overtake the dependants' stop", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var j journal
			crash := make(chan struct{})
			s := serve(t, services(
				scheduler.Spec{Alias: "a", Service: scheduler.Func(func(ctx context.Context) error {
					j.add("+a")
					select {
					case <-crash:
					case <-ctx.Done():
					}
					return errBroken
				})},
				j.service("b", "a"),
			))
			require.NoError(t, s.AwaitStarted(t.Context()))
			done := make(chan error)
			go func() { done <- s.Restart(context.Background(), "a") }()
			time.Sleep(time.Second / 2)
			crash <- struct{}{}
			require.NoError(t, <-done)
			require.NoError(t, s.AwaitStarted(t.Context()))
			require.Equal(t, []string{"+a", "+b", "-b", "+a", "+b"}, j.take())
			_, err := s.stop()
			require.NoError(t, err)
		})
	})
	t.Run("deaf dependant", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var j journal
			release := make(chan struct{})
			s := serve(t, services(j.service("a"), scheduler.Spec{
				Alias: "b", After: []string{"a"}, Service: deaf(release), StopTimeout: 7 * time.Second,
			}))
			require.NoError(t, s.AwaitStarted(t.Context()))
			took, err := s.stop()
			require.ErrorIs(t, err, scheduler.ErrStopTimeout)
			require.Equal(t, 8*time.Second, took, "a stops once b was abandoned")
			require.Equal(t, []string{"+a", "-a"}, j.take())
			close(release)
		})
	})
	t.Run("start timeout ends at Ready", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, services(
				scheduler.Spec{Alias: "slow", StartTimeout: time.Second, StartDelay: time.Hour, Restart: scheduler.Temporary,
					Service: scheduler.Func(func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })},
				scheduler.Spec{Alias: "next", Service: idle, After: []string{"slow"}, StartTimeout: time.Millisecond},
				scheduler.Spec{Alias: "quick", StartTimeout: time.Second, Service: scheduler.Func(func(ctx context.Context) error {
					time.Sleep(900 * time.Millisecond)
					scheduler.Ready(ctx)
					return idle(ctx)
				})},
			))
			ctx, cancel := within(time.Minute)
			defer cancel()
			err := s.AwaitStarted(ctx)
			blocked, ok := errors.AsType[*scheduler.NotStartedError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, []scheduler.Blocked{
				{Path: "os/scheduler/slow", Reason: "start delay, 59m0s left", For: time.Minute},
				{Path: "os/scheduler/next", Reason: "waits for slow (idle)", For: time.Minute},
			}, blocked.Blocked)
			require.EqualValues(t, 1, s.status("quick").Generation)
			time.Sleep(time.Hour)
			s.wantState("slow", scheduler.Stopped, scheduler.Failed)
			x := s.status("slow").Exceptions
			require.Len(t, x, 1)
			require.Equal(t, scheduler.StartTimedOut, x[0].Kind)
			require.ErrorIs(t, x[0].Err, scheduler.ErrStartTimeout)
			require.EqualError(t, x[0].Err, "scheduler: start timeout of 1s: 1 not started: os/scheduler/slow starting: has not said Ready")
			err = s.AwaitStarted(t.Context())
			require.ErrorIs(t, err, scheduler.ErrEnded, "at once, since it can't come true")
			_, err = s.stop()
			require.NoError(t, err)
		})
	})
}
