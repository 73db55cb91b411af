package scheduler_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// hangs begins an operation that ends when release is closed, in the runs up to
// the given one; later runs only wait for their end.
type hangs struct {
	upTo    int32
	deaf    bool
	release chan struct{}
	runs    atomic.Int32
}

func (h *hangs) Serve(ctx context.Context) error {
	meter := scheduler.MeterOf(ctx)
	if h.runs.Add(1) > h.upTo {
		return idle(ctx)
	}
	o := meter.Begin()
	if h.deaf {
		<-h.release
	} else {
		select {
		case <-h.release:
		case <-ctx.Done():
			o.End(ctx.Err())
			return nil
		}
	}
	o.End(nil)
	<-ctx.Done()
	return nil
}

func stallFound(t *testing.T) {
	h := &hangs{upTo: 1, release: make(chan struct{})}
	var log syncLog
	c := services(scheduler.Spec{Alias: "a", Service: h, Bounds: scheduler.Bounds{Stall: 20 * time.Second}})
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := serve(t, c)
	time.Sleep(20*time.Second - time.Millisecond)
	s.wantCondition("a", scheduler.Healthy, "")
	time.Sleep(20 * time.Millisecond)
	s.wantCondition("a", scheduler.Zombie, "no progress for 20s, 1 in flight")
	time.Sleep(time.Minute)
	a := s.status("a")
	require.Len(t, a.Exceptions, 1, "told once")
	require.Equal(t, scheduler.Stalled, a.Exceptions[0].Kind)
	require.ErrorIs(t, a.Exceptions[0].Err, scheduler.ErrStalled)
	require.Zero(t, a.Failures)
	require.Equal(t, scheduler.Started, a.State)
	health := s.Health()
	require.False(t, health.Live || health.Ready)
	require.Equal(t, "os/scheduler/a: no progress for 20s, 1 in flight", health.Reason)
	close(h.release)
	time.Sleep(6 * time.Second)
	s.wantCondition("a", scheduler.Healthy, "")
	s.end()
	require.Equal(t, 1, strings.Count(log.String(), "msg=stalled"), log.String())
	require.Equal(t, 1, strings.Count(log.String(), `msg="makes progress again"`))
}

func stallNot(t *testing.T) {
	watch := scheduler.Bounds{Stall: time.Second}
	parked := scheduler.Func(func(ctx context.Context) error {
		scheduler.MeterOf(ctx).Begin().End(nil)
		return idle(ctx)
	})
	progresses := scheduler.Func(func(ctx context.Context) error {
		o := scheduler.MeterOf(ctx).Begin()
		defer o.End(nil)
		for ctx.Err() == nil {
			scheduler.MeterOf(ctx).Progress()
			time.Sleep(900 * time.Millisecond)
		}
		return nil
	})
	warmsUp := scheduler.Func(func(ctx context.Context) error {
		o := scheduler.MeterOf(ctx).Begin()
		time.Sleep(time.Minute)
		scheduler.Ready(ctx)
		time.Sleep(900 * time.Millisecond)
		o.End(nil)
		return idle(ctx)
	})
	flushes := scheduler.Func(func(ctx context.Context) error {
		<-ctx.Done()
		o := scheduler.MeterOf(ctx).Begin()
		time.Sleep(time.Minute)
		o.End(nil)
		return nil
	})
	s := serve(t, services(
		scheduler.Spec{Alias: "parked", Service: parked, Bounds: watch},
		scheduler.Spec{Alias: "progresses", Service: progresses, Bounds: watch},
		scheduler.Spec{Alias: "warms up", Service: warmsUp, Bounds: watch, StartTimeout: time.Hour},
		scheduler.Spec{Alias: "flushes", Service: flushes, Bounds: watch, StopTimeout: time.Hour},
		scheduler.Spec{Alias: "unwatched", Service: &hangs{upTo: 1, release: make(chan struct{})}},
	))
	time.Sleep(10 * time.Minute)
	require.NoError(t, s.Stop(t.Context(), "flushes"))
	for _, a := range s.Services() {
		require.Empty(t, a.Exceptions, a.Alias)
		require.Equal(t, scheduler.Healthy, a.Condition)
	}
	s.end()
}

func stallRecovered(t *testing.T) {
	watch := scheduler.Bounds{Stall: 10 * time.Second}
	restart := watch
	restart.Restart = true
	specs := []scheduler.Spec{
		{Alias: "recovered", Bounds: watch, Recover: true, Backoff: at(time.Second)},
		{Alias: "restarted", Bounds: restart, Backoff: at(time.Second)},
	}
	for i := range specs {
		specs[i].Service = &hangs{upTo: 2, release: make(chan struct{})}
	}
	s := serve(t, services(specs...))
	time.Sleep(time.Minute)
	for _, a := range s.Services() {
		require.Equal(t, "started healthy", a.State.String()+" "+a.Condition.String())
		require.EqualValues(t, 2, a.Failures, "two runs, one verdict each")
		require.EqualValues(t, 3, a.Generation)
		require.Len(t, a.Exceptions, 2)
		require.ErrorIs(t, a.Exceptions[0].Err, scheduler.ErrStalled)
		stats, err := s.Manager().Stats(a.Alias)
		require.NoError(t, err)
		require.Zero(t, stats.InFlight)
		require.EqualValues(t, 2, stats.Failed, "both ended with the stop")
	}
	s.end()
}

func stallDeaf(t *testing.T) {
	release := make(chan struct{})
	var log syncLog
	made := 0
	c := services(scheduler.Spec{
		Alias: "a", Recover: true, StopTimeout: 5 * time.Second, Bounds: scheduler.Bounds{Stall: 10 * time.Second},
		Factory: func() scheduler.Service {
			made++
			if made > 1 {
				return idle
			}
			return &hangs{upTo: 1, deaf: true, release: release}
		},
	})
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := serve(t, c)
	time.Sleep(14 * time.Second)
	s.wantState("a", scheduler.Stopping, scheduler.NotEnded)
	s.wantCondition("a", scheduler.Zombie, "no progress")
	h := s.Health()
	require.True(t, h.Live, "it is being ended")
	require.False(t, h.Ready)
	time.Sleep(2 * time.Second)
	s.wantState("a", scheduler.Started, scheduler.NotEnded)
	s.wantCondition("a", scheduler.Healthy, "")
	require.EqualValues(t, 2, s.status("a").Generation)
	require.Equal(t, 1, s.status("a").Abandoned)
	h = s.Health()
	require.True(t, h.Live && h.Ready)
	time.Sleep(time.Hour)
	require.Len(t, s.status("a").Exceptions, 2, "stalled, then deaf")
	close(release)
	synctest.Wait()
	require.Empty(t, s.Unstopped())
	s.end()
}

func stallBlocks(t *testing.T) {
	h := &hangs{upTo: 1, deaf: true, release: make(chan struct{})}
	s := serve(t, services(scheduler.Spec{
		Alias: "a", Service: h, Recover: true, StopTimeout: 5 * time.Second, Bounds: scheduler.Bounds{Stall: 10 * time.Second},
	}))
	time.Sleep(16 * time.Second)
	s.wantState("a", scheduler.Stopped, scheduler.Abandoned)
	s.wantCondition("a", scheduler.Zombie, "keeps the next from starting")
	require.False(t, s.Health().Live, "only a new process helps")
	close(h.release)
	time.Sleep(time.Second)
	s.wantState("a", scheduler.Started, scheduler.NotEnded)
	s.wantCondition("a", scheduler.Healthy, "")
	require.True(t, s.Health().Live)
	s.end()
}

func stallPool(t *testing.T) {
	h := &hangs{upTo: 2, release: make(chan struct{})}
	s := serve(t, services(
		scheduler.Spec{
			Alias: "told", Pool: 4, Factory: func() scheduler.Service { return h }, Bounds: scheduler.Bounds{Stall: time.Minute},
		},
		scheduler.Spec{
			Alias: "recovered", Pool: 4, Bounds: scheduler.Bounds{Stall: time.Minute}, Recover: true, Backoff: at(time.Second),
			Factory: func() func() scheduler.Service {
				h := &hangs{upTo: 1, release: make(chan struct{})}
				return func() scheduler.Service { return h }
			}(),
		},
	))
	time.Sleep(2 * time.Minute)
	s.wantCondition("told", scheduler.Zombie, "2 of 4 workers: no progress for 1m0s, 1 in flight")
	require.Len(t, s.status("told").Exceptions, 2)
	require.Contains(t, s.status("told").Exceptions[0].Path, "os/scheduler/told/")
	s.wantCondition("recovered", scheduler.Healthy, "")
	require.EqualValues(t, 1, s.status("recovered").Failures, "the others go on")
	require.EqualValues(t, 5, s.status("recovered").Starts)
	require.NoError(t, s.Stop(t.Context(), "told"))
	s.wantCondition("told", scheduler.Healthy, "")
	s.end()
}

func overFound(t *testing.T) {
	release := make(chan struct{})
	var told []scheduler.Exception
	s := serve(t, services(
		scheduler.Spec{
			Alias: "a", Service: fails, Backoff: func(int) time.Duration { <-release; return time.Hour },
			Bounds: scheduler.Bounds{Hook: scheduler.Handler{Name: "h", Handle: func(_ context.Context, x scheduler.Exception) error {
				told = append(told, x)
				return nil
			}}},
		},
		scheduler.Spec{Alias: "quick", Service: fails, Backoff: at(100 * time.Millisecond)},
	))
	time.Sleep(900 * time.Millisecond)
	s.wantState("a", scheduler.Started, scheduler.NotEnded)
	s.wantCondition("a", scheduler.Healthy, "")
	time.Sleep(200 * time.Millisecond)
	s.wantCondition("a", scheduler.Zombie, "its run is over, but its Backoff function does not return")
	time.Sleep(time.Minute)
	a := s.status("a")
	require.Len(t, a.Exceptions, 1, "told once")
	require.Equal(t, scheduler.Stalled, a.Exceptions[0].Kind)
	require.ErrorIs(t, a.Exceptions[0].Err, scheduler.ErrStalled)
	require.ErrorContains(t, a.Exceptions[0].Err, "for 1s")
	require.Len(t, told, 1)
	require.EqualValues(t, 1, a.Starts)
	require.False(t, s.Health().Live)
	s.wantCondition("quick", scheduler.Healthy, "")
	close(release)
	s.wantState("a", scheduler.BackingOff, scheduler.NotEnded)
	s.wantCondition("a", scheduler.Healthy, "")
	require.EqualValues(t, 1, s.status("a").Failures)
	s.end()
}

func overRecovered(t *testing.T) {
	release := make(chan struct{})
	var asked, runs atomic.Int32
	var work, over context.Context
	s := serve(t, services(scheduler.Spec{
		Alias: "a", Recover: true, Backoff: func(int) time.Duration { asked.Add(1); <-release; return time.Hour },
		Service: scheduler.Func(func(ctx context.Context) error {
			switch runs.Add(1) {
			case 1:
				work, over = scheduler.Work(ctx), ctx
				return errBroken
			case 2:
				return errBroken
			}
			return idle(ctx)
		}),
	}))
	time.Sleep(999 * time.Millisecond)
	require.EqualValues(t, 1, runs.Load())
	time.Sleep(time.Second)
	s.wantState("a", scheduler.Started, scheduler.NotEnded)
	s.wantCondition("a", scheduler.Healthy, "")
	require.EqualValues(t, 3, runs.Load(), "the default curve has stepped in")
	require.EqualValues(t, 1, asked.Load(), "what hangs is not called again")
	require.ErrorIs(t, context.Cause(over), scheduler.ErrRunOver)
	require.ErrorIs(t, context.Cause(work), scheduler.ErrRunOver)
	a := s.status("a")
	require.EqualValues(t, 2, a.Failures)
	var kinds []string
	for _, x := range a.Exceptions {
		kinds = append(kinds, x.Kind.String())
	}
	require.Equal(t, []string{"stalled", "error", "backoff", "error"}, kinds)
	require.ErrorContains(t, a.Exceptions[2].Err, "has not returned")
	left := s.Unstopped()
	require.Len(t, left, 1)
	require.Equal(t, "os/scheduler/a backoff", left[0].Path)
	close(release)
	synctest.Wait()
	require.Empty(t, s.Unstopped(), "its late exit is dropped")
	require.EqualValues(t, 3, s.status("a").Generation)
	require.EqualValues(t, 2, s.status("a").Failures)
	s.wantState("a", scheduler.Started, scheduler.NotEnded)
	s.end()
}

// A goroutine that hangs in the curve after its run was recovered is named by
// what Serve returns.
func TestHungCurveIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := serve(t, services(scheduler.Spec{
			Alias: "a", Recover: true, Backoff: func(int) time.Duration { <-release; return 0 },
			Service: scheduler.Func(func(ctx context.Context) error {
				time.Sleep(time.Second)
				return errBroken
			}),
		}))
		time.Sleep(time.Minute)
		require.Greater(t, s.status("a").Starts, uint64(5))
		_, err := s.stop()
		require.ErrorIs(t, err, scheduler.ErrStopTimeout)
		unstopped, ok := errors.AsType[*scheduler.UnstoppedError](err)
		require.True(t, ok)
		require.Equal(t, "os/scheduler/a backoff", unstopped.Services[0].Path)
		require.Contains(t, unstopped.Services[0].Stack, "TestHungCurveIsNamed", "where it hangs")
		close(release)
	})
}
