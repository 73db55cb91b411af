package scheduler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

func TestControlOfUnknownAndIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := scheduler.New(services(
			scheduler.Spec{Alias: "a", Service: idle},
			scheduler.Spec{Alias: "b", Service: idle},
		))
		require.NoError(t, err)
		ctx := t.Context()
		m := s.Manager()
		for verb, f := range map[string]func(context.Context, string) error{
			"start": s.Start, "stop": s.Stop, "restart": s.Restart, "remove": s.Remove, "replace": m.Replace,
			"await":   func(ctx context.Context, a string) error { return s.AwaitStarted(ctx, a) },
			"stopped": func(ctx context.Context, a string) error { return m.AwaitStopped(ctx, a) },
			"status":  func(_ context.Context, a string) error { _, err := s.Directory().Status(a); return err },
		} {
			require.ErrorIs(t, f(ctx, "nobody"), scheduler.ErrUnknown, verb)
			require.ErrorContains(t, f(ctx, "nobody"), `"nobody"`, verb)
		}
		require.ErrorIs(t, s.Start(ctx, "a"), scheduler.ErrNotServing)
		require.ErrorIs(t, s.Restart(ctx, "a"), scheduler.ErrNotServing)
		require.Equal(t, "waits for Serve", s.Services()[0].Reason)
		require.NoError(t, s.Stop(ctx, "a"), "keeps it from being started")
		require.NoError(t, s.Stop(ctx, "a"), "idempotent")

		r := serveThis(t, s)
		require.NoError(t, s.AwaitStarted(ctx), "a is not waited for")
		r.wantState("a", scheduler.Stopped, scheduler.NotEnded)
		require.Equal(t, "stopped before it ran", r.status("a").Reason)
		require.ErrorIs(t, s.Start(ctx, "b"), scheduler.ErrRunning)
		require.ErrorIs(t, s.Serve(ctx), scheduler.ErrServing)
		require.NoError(t, s.Start(ctx, "a"))
		require.NoError(t, s.Stop(ctx, "b"))
		require.NoError(t, s.Restart(ctx, "b"), "a stopped one is started")
		require.EqualValues(t, 2, r.status("b").Generation)
		_, err = r.stop()
		require.NoError(t, err)
		require.ErrorIs(t, s.Start(ctx, "a"), scheduler.ErrNotServing)
		require.NoError(t, m.AwaitStopped(ctx))
	})
}

func TestAddAndRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, scheduler.Config{})
		ctx := t.Context()
		require.NoError(t, s.AwaitStarted(ctx), "nothing is all there is")
		require.NoError(t, s.Add(scheduler.Spec{Alias: "a", Service: idle}))
		require.NoError(t, s.Add(scheduler.Spec{Alias: "b", Service: idle, After: []string{"a"}}))
		require.NoError(t, s.AwaitStarted(ctx, "b", "a"))
		require.Equal(t, []string{"a"}, s.status("b").After)
		require.ErrorIs(t, s.Add(scheduler.Spec{Alias: "a", Service: idle}), scheduler.ErrExists)
		require.ErrorIs(t, s.Remove(ctx, "a"), scheduler.ErrDependants)
		require.NoError(t, s.Remove(ctx, "b"))
		require.NoError(t, s.Remove(ctx, "a"))
		require.Empty(t, s.Services())

		release := make(chan struct{})
		require.NoError(t, s.Add(scheduler.Spec{Alias: "deaf", Service: deaf(release), StopTimeout: time.Second}))
		synctest.Wait()
		require.ErrorIs(t, s.Remove(ctx, "deaf"), scheduler.ErrStopTimeout)
		require.ErrorIs(t, s.Add(scheduler.Spec{Alias: "deaf", Service: idle}), scheduler.ErrExists)
		require.ErrorIs(t, s.Start(ctx, "deaf"), scheduler.ErrUnknown)
		require.ErrorIs(t, s.Restart(ctx, "deaf"), scheduler.ErrUnknown)
		require.ErrorIs(t, s.Add(scheduler.Spec{Alias: "c", Service: idle, After: []string{"deaf"}}), scheduler.ErrUnknown)
		stopped := make(chan error)
		go func() { stopped <- s.Manager().AwaitStopped(ctx, "deaf") }()
		synctest.Wait()
		close(release)
		require.NoError(t, <-stopped)
		require.Empty(t, s.Services(), "forgotten once it has ended")
		_, err := s.stop()
		require.NoError(t, err)
	})
}

// While Serve ends nothing is added or started.
func TestControlWhileStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, services(
			scheduler.Spec{Alias: "slow", Service: scheduler.Func(func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(5 * time.Second)
				return ctx.Err()
			})},
			scheduler.Spec{Alias: "never", Service: idle, StartTimeout: time.Hour},
		))
		waits := make(chan error, 3)
		go func() { waits <- s.AwaitStarted(context.Background()) }()
		go func() { waits <- s.AwaitStarted(context.Background(), "never") }()
		go func() { waits <- s.Start(context.Background(), "never") }()
		synctest.Wait()
		s.cancel()
		time.Sleep(time.Second)
		for range cap(waits) {
			require.ErrorIs(t, <-waits, scheduler.ErrNotServing)
		}
		require.ErrorIs(t, s.Add(scheduler.Spec{Alias: "x", Service: idle}), scheduler.ErrNotServing)
		require.ErrorIs(t, s.Start(t.Context(), "slow"), scheduler.ErrNotServing)
		require.ErrorIs(t, s.Restart(t.Context(), "slow"), scheduler.ErrNotServing)
		require.ErrorIs(t, s.AwaitStarted(t.Context()), scheduler.ErrNotServing)
		require.NoError(t, s.Stop(t.Context(), "slow"), "which waits for its end")
		require.NoError(t, <-s.result)
		require.Zero(t, s.status("slow").Failures, "ctx's own error is a clean stop")
	})
}

// Waiting ends with the context, naming what blocks; what was asked goes on.
func TestWaitingEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, services(
			scheduler.Spec{Alias: "flaps", Service: fails, Backoff: at(time.Hour), StartTimeout: time.Hour},
			scheduler.Spec{Alias: "slow", StartTimeout: time.Hour, Service: scheduler.Func(func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(5 * time.Second)
				return nil
			})},
			scheduler.Spec{Alias: "delayed", StartDelay: time.Hour, Service: idle},
		))
		for alias, want := range map[string]string{
			"flaps": "test waited long enough: 1 not started: os/scheduler/flaps backing off: starts again in 59m59s: broken",
			"slow":  "test waited long enough: 1 not started: os/scheduler/slow starting: has not said Ready",
		} {
			ctx, cancel := within(time.Second)
			err := s.Start(ctx, alias)
			cancel()
			require.ErrorIs(t, err, scheduler.ErrNotStarted)
			require.EqualError(t, err, want)
		}
		ctx, cancel := within(time.Second)
		err := s.AwaitStarted(ctx, "delayed")
		require.ErrorContains(t, err, "os/scheduler/delayed idle: start delay, 59m57s left")
		require.ErrorContains(t, s.Stop(ctx, "slow"), `stop "slow": stopping: test waited long enough`)
		require.ErrorContains(t, s.Manager().AwaitStopped(ctx, "slow"), `"slow": stopping: test waited long enough`)
		cancel()
		time.Sleep(5 * time.Second)
		s.wantState("slow", scheduler.Stopped, scheduler.EndedOnPurpose)

		// A stop that is overruled says so, and so does a start.
		results := make(chan error)
		require.ErrorContains(t, s.AwaitStarted(contextOver(t), "delayed"), "start delay")
		go func() { results <- s.Start(context.Background(), "slow") }()
		synctest.Wait()
		go func() { results <- s.Stop(context.Background(), "slow") }()
		require.ErrorIs(t, <-results, scheduler.ErrStopped)
		synctest.Wait()
		go func() { results <- s.Start(context.Background(), "slow") }()
		require.ErrorIs(t, <-results, scheduler.ErrRunning)
		s.cancel()
		require.ErrorIs(t, <-results, scheduler.ErrNotServing)
		require.NoError(t, <-s.result)
	})
}

func contextOver(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// A service steers itself without waiting for itself.
func TestServiceSteersItself(t *testing.T) {
	for verb, c := range map[string]struct {
		steer func(ctx context.Context, m *scheduler.ServiceManager) error
		runs  int
		state scheduler.State
	}{
		"stop":          {func(ctx context.Context, m *scheduler.ServiceManager) error { return m.Stop(ctx, "a") }, 1, scheduler.Stopped},
		"stop by work":  {func(ctx context.Context, m *scheduler.ServiceManager) error { return m.Stop(scheduler.Work(ctx), "a") }, 1, scheduler.Stopped},
		"stop need":     {func(ctx context.Context, m *scheduler.ServiceManager) error { return m.Stop(ctx, "need") }, 1, scheduler.Idle},
		"restart":       {func(ctx context.Context, m *scheduler.ServiceManager) error { return m.Restart(ctx, "a") }, 2, scheduler.Started},
		"restart need":  {func(ctx context.Context, m *scheduler.ServiceManager) error { return m.Restart(ctx, "need") }, 2, scheduler.Started},
		"other started": {func(ctx context.Context, m *scheduler.ServiceManager) error { return m.Start(ctx, "other") }, 1, scheduler.Started},
	} {
		t.Run(verb, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &alone{t: t, body: func(ctx context.Context, run int) error {
					if m, ok := scheduler.ManagerOf(ctx); ok && run == 1 {
						begin := time.Now()
						err := c.steer(ctx, m)
						if err != nil || time.Since(begin) != 0 {
							t.Errorf("%v after %v", err, time.Since(begin))
						}
					}
					return idle(ctx)
				}}
				s, err := scheduler.New(services(
					scheduler.Spec{Alias: "need", Service: idle},
					scheduler.Spec{Alias: "other", Service: idle},
					scheduler.Spec{Alias: "a", Service: a, After: []string{"need"}},
				))
				require.NoError(t, err)
				require.NoError(t, s.Stop(t.Context(), "other"))
				r := serveThis(t, s)
				synctest.Wait()
				require.Equal(t, c.state, r.status("a").State)
				require.EqualValues(t, c.runs, a.runs.Load())
				_, err = r.stop()
				require.NoError(t, err)
			})
		})
	}
	t.Run("remove", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, services(scheduler.Spec{Alias: "a", Service: scheduler.Func(func(ctx context.Context) error {
				m, _ := scheduler.ManagerOf(ctx)
				return m.Remove(ctx, "a")
			})}))
			synctest.Wait()
			require.Empty(t, s.Services())
			_, err := s.stop()
			require.NoError(t, err)
		})
	})
	_, ok := scheduler.ManagerOf(t.Context())
	require.False(t, ok)
}

// A scheduler can be served again: what was stopped stays so, the rest starts
// anew, and records stay.
func TestServeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		once := &alone{t: t, body: func(context.Context, int) error { return nil }}
		s, err := scheduler.New(services(
			scheduler.Spec{Alias: "a", Service: idle},
			scheduler.Spec{Alias: "b", Service: idle, After: []string{"a"}},
			scheduler.Spec{Alias: "off", Service: idle},
			scheduler.Spec{Alias: "once", Service: once, Restart: scheduler.Transient},
		))
		require.NoError(t, err)
		require.NoError(t, s.Serve(contextOver(t)), "starts nothing")
		for i := range 3 {
			r := serveThis(t, s)
			require.NoError(t, s.AwaitStarted(t.Context()))
			if i == 0 {
				require.NoError(t, s.Stop(t.Context(), "off"))
			}
			r.wantState("once", scheduler.Stopped, scheduler.Completed)
			_, err = r.stop()
			require.NoError(t, err)
			require.EqualValues(t, i+1, r.status("b").Starts)
			require.EqualValues(t, 1, r.status("off").Starts)
			require.EqualValues(t, i+1, once.runs.Load())
		}
	})
}
