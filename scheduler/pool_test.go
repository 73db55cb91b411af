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

// A pool runs n instances of one Factory under one alias, each supervised for
// itself.
func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Int32
		w := &slowWriter{}
		s := serve(t, scheduler.Config{Logger: logger(w), Services: []scheduler.Spec{
			{Alias: "p", Pool: 4, StartTimeout: time.Minute, Backoff: at(time.Second), Factory: func() scheduler.Service {
				n := int(made.Add(1))
				return scheduler.Func(func(ctx context.Context) error {
					time.Sleep(time.Duration(n) * time.Second)
					scheduler.Ready(ctx)
					scheduler.Logger(ctx).Warn("ready")
					if n == 2 {
						time.Sleep(10 * time.Second)
						return errBroken
					}
					return idle(ctx)
				})
			}},
			{Alias: "after", Service: idle, After: []string{"p"}},
		}})
		p := s.status("p")
		require.Equal(t, 4, p.Workers)
		require.Equal(t, scheduler.Starting, p.State)
		require.Equal(t, "0 of 4 workers ready", p.Reason)
		time.Sleep(3500 * time.Millisecond)
		require.Equal(t, 3, s.status("p").Ready)
		s.wantState("after", scheduler.Idle, scheduler.NotEnded)
		require.NoError(t, s.AwaitStarted(t.Context()))
		require.Equal(t, 4, s.status("p").Ready)

		time.Sleep(8500 * time.Millisecond) // the second one is down now
		p = s.status("p")
		require.Equal(t, scheduler.Started, p.State, "others are there")
		require.Equal(t, 3, p.Ready)
		require.EqualValues(t, 1, p.Failures)
		require.Regexp(t, `^os/scheduler/p/[1-4]$`, p.Exceptions[0].Path)
		require.False(t, p.Next.IsZero())
		time.Sleep(10 * time.Second)
		p = s.status("p")
		require.Equal(t, 4, p.Ready)
		require.EqualValues(t, 5, p.Starts)
		require.EqualValues(t, 5, p.Generation)

		require.NoError(t, s.Restart(t.Context(), "p"))
		require.EqualValues(t, 9, made.Load())
		_, err := s.stop()
		require.NoError(t, err)
		s.wantState("p", scheduler.Stopped, scheduler.EndedOnPurpose)
		require.Contains(t, w.buf.String(), "service=os/scheduler/p/4")
	})
}

// What became of a pool is what became of its worst worker.
func TestPoolEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var n atomic.Int32
		mixed := func() scheduler.Service {
			switch n.Add(1) {
			case 1:
				return scheduler.Func(func(context.Context) error { return nil })
			case 2:
				return fails
			}
			return deaf(release)
		}
		s := serve(t, services(
			scheduler.Spec{Alias: "p", Pool: 3, Restart: scheduler.Temporary, Factory: mixed, StopTimeout: time.Second},
			scheduler.Spec{Alias: "flaps", Pool: 2, Factory: func() scheduler.Service { return fails }, Backoff: at(time.Hour)},
			scheduler.Spec{Alias: "nil", Factory: func() scheduler.Service { return nil }, Restart: scheduler.Temporary},
		))
		s.wantState("p", scheduler.Started, scheduler.Failed)
		require.Equal(t, 1, s.status("p").Ready)
		s.wantState("flaps", scheduler.BackingOff, scheduler.NotEnded)
		s.wantState("nil", scheduler.Stopped, scheduler.Failed)
		require.Equal(t, "failed", s.status("nil").Reason)
		require.EqualError(t, s.status("nil").Err, "scheduler: Factory returned nil")
		err := s.Stop(t.Context(), "p")
		unstopped, ok := errors.AsType[*scheduler.UnstoppedError](err)
		require.True(t, ok)
		require.Len(t, unstopped.Services, 1)
		require.Regexp(t, `^os/scheduler/p/[1-3]$`, unstopped.Services[0].Path)
		s.wantState("p", scheduler.Stopped, scheduler.Abandoned)
		close(release)
		synctest.Wait()
		require.Equal(t, "abandoned; ended since", s.status("p").Reason)
		_, err = s.stop()
		require.NoError(t, err)
	})
}

// Schedulers nest: lineage, readiness, directories, stop budget and the report
// of what did not stop go through the whole tree.
func TestNested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := &slowWriter{}
		inner, err := scheduler.New(scheduler.Config{Name: "unused", Services: []scheduler.Spec{
			{Alias: "reader", StartTimeout: time.Minute, Service: scheduler.Func(func(ctx context.Context) error {
				time.Sleep(5 * time.Second)
				if _, err := scheduler.Find[scheduler.Func](ctx, "store"); err != nil {
					return err
				}
				scheduler.Ready(ctx)
				scheduler.Logger(ctx).Warn("here")
				return idle(ctx)
			})},
			{Alias: "deaf", Service: deaf(release), StopTimeout: 30 * time.Second, After: []string{"reader"}},
		}})
		require.NoError(t, err)
		s := serve(t, scheduler.Config{Logger: logger(w), Services: []scheduler.Spec{
			{Alias: "store", Service: idle},
			{Alias: "feeds", Service: inner, After: []string{"store"}, StartTimeout: time.Hour},
			{Alias: "last", Service: idle, After: []string{"feeds"}},
		}})
		ctx, cancel := within(time.Second)
		err = s.AwaitStarted(ctx)
		cancel()
		require.ErrorContains(t, err, "3 not started: os/scheduler/feeds/reader starting: has not said Ready; os/scheduler/feeds/deaf idle: waits for reader (starting); os/scheduler/last idle: waits for feeds (starting)")
		require.Equal(t, "os/scheduler/feeds", inner.String())
		begin := time.Now()
		require.NoError(t, s.AwaitStarted(t.Context()))
		require.Equal(t, 4*time.Second, time.Since(begin))
		synctest.Wait()
		require.Contains(t, w.buf.String(), "level=WARN msg=here service=os/scheduler/feeds/reader\n")

		took, err := s.stop()
		require.Equal(t, 30*time.Second, took, "the outer one gives it the time of its services")
		unstopped, ok := errors.AsType[*scheduler.UnstoppedError](err)
		require.True(t, ok, "%v", err)
		require.Len(t, unstopped.Services, 1)
		require.Equal(t, "os/scheduler/feeds/deaf", unstopped.Services[0].Path)
		x := s.status("feeds").Exceptions
		require.Len(t, x, 1, "its own report is kept")
		require.ErrorIs(t, x[0].Err, scheduler.ErrStopTimeout)
		close(release)
		synctest.Wait()
		require.Empty(t, s.Unstopped())
	})
}

// A scheduler whose time is cut short is abandoned, its services' work ends
// with it, and the report names the leaves.
func TestNestedCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		inner, err := scheduler.New(services(scheduler.Spec{Alias: "leaf", StopTimeout: time.Hour, Service: scheduler.Func(func(ctx context.Context) error {
			work := scheduler.Work(ctx)
			<-work.Done()
			cause = context.Cause(work)
			return nil
		})}))
		require.NoError(t, err)
		s := serve(t, services(scheduler.Spec{Alias: "inner", Service: inner, StopTimeout: time.Second}))
		time.Sleep(time.Second)
		took, err := s.stop()
		require.Equal(t, time.Second, took)
		if err != nil {
			require.ErrorIs(t, err, scheduler.ErrStopTimeout)
		}
		synctest.Wait()
		require.ErrorIs(t, cause, scheduler.ErrStopTimeout)
		require.Empty(t, s.Unstopped())
	})
}

// A start timeout of a scheduler names what blocks inside of it.
func TestNestedStartTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, err := scheduler.New(services(scheduler.Spec{Alias: "leaf", Service: idle, StartTimeout: time.Hour}))
		require.NoError(t, err)
		s := serve(t, services(scheduler.Spec{Alias: "inner", Service: inner, StartTimeout: time.Second, Restart: scheduler.Temporary}))
		time.Sleep(time.Minute)
		s.wantState("inner", scheduler.Stopped, scheduler.Failed)
		require.EqualError(t, s.status("inner").Exceptions[0].Err,
			"scheduler: start timeout of 1s: 1 not started: os/scheduler/inner/leaf starting: has not said Ready")
		_, err = s.stop()
		require.NoError(t, err)
	})
}

// A scheduler inside itself is refused by Serve, and hangs nobody.
func TestNestedInItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := scheduler.New(scheduler.Config{})
		require.NoError(t, err)
		require.NoError(t, s.Add(scheduler.Spec{Alias: "self", Service: s, Restart: scheduler.Temporary}))
		r := serveThis(t, s)
		r.wantState("self", scheduler.Stopped, scheduler.Failed)
		require.ErrorIs(t, r.status("self").Exceptions[0].Err, scheduler.ErrServing)
		_, err = r.stop()
		require.NoError(t, err)
	})
}
