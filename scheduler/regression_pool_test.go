package scheduler_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// failing makes workers all of whose operations fail.
func failing() scheduler.Service {
	return scheduler.Func(func(ctx context.Context) error {
		m := scheduler.MeterOf(ctx)
		for ctx.Err() == nil {
			m.Observe(time.Millisecond, errBroken)
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
		return nil
	})
}

// watched serves a pool that fails, with somebody who watches, for a while. It
// returns its Status then, what was told of its failures, and the log.
func watched(t *testing.T, watch scheduler.Bounds) (status scheduler.Status, failures []scheduler.Event, log string) {
	var w slowWriter
	r := serve(t, scheduler.Config{
		Logger:   logger(&w),
		Services: []scheduler.Spec{{Alias: "pool", Pool: 2, Factory: failing, Bounds: watch}},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range r.Directory().Watch(ctx, 0) {
			if e.Kind == scheduler.EventFailed {
				failures = append(failures, e)
			}
		}
	}()
	synctest.Wait()
	time.Sleep(30 * time.Second)
	synctest.Wait()
	status = r.status("pool")
	cancel()
	<-done
	r.end()
	w.mu.Lock()
	defer w.mu.Unlock()
	return status, failures, w.buf.String()
}

// A verdict over a pool is told to those who watch, as that of the pool.
func TestRegressionPoolVerdictWhileWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, failures, log := watched(t, scheduler.Bounds{Window: time.Second, Windows: 2})
		require.NotContains(t, log, "the cop failed")
		require.Equal(t, scheduler.Degraded, s.Condition)
		require.Len(t, s.Exceptions, 1)
		require.Len(t, failures, 1)
		e := failures[0]
		require.Equal(t, "os/scheduler/pool", e.Path)
		require.Zero(t, e.Worker)
		require.Equal(t, scheduler.Started, e.State)
		require.ErrorIs(t, e.Failure.Err, scheduler.ErrBounds)
	})
}

// A Hook of a pool may fail while somebody watches.
func TestRegressionPoolHookFailsWhileWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := scheduler.Handler{Name: "hook", Handle: func(context.Context, scheduler.Exception) error { return errBroken }}
		s, failures, log := watched(t, scheduler.Bounds{Window: time.Second, Windows: 2, Hook: hook})
		require.NotContains(t, log, slog.LevelError.String())
		require.Len(t, s.Exceptions, 2)
		require.Len(t, failures, 2)
		require.Equal(t, scheduler.HandlerFailed, failures[1].Failure.Kind)
		require.ErrorIs(t, failures[1].Failure.Err, errBroken)
	})
}
