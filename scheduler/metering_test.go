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

func TestMeterOf(t *testing.T) {
	require.Nil(t, scheduler.MeterOf(t.Context()), "outside a run")
	synctest.Test(t, func(t *testing.T) {
		var inRun, inWork, derived, inHandler atomic.Pointer[scheduler.Meter]
		var kept context.Context
		handled := false
		s := serve(t, services(scheduler.Spec{
			Alias: "a", Backoff: at(time.Hour),
			Service: scheduler.Func(func(ctx context.Context) error {
				kept = ctx
				inRun.Store(scheduler.MeterOf(ctx))
				inWork.Store(scheduler.MeterOf(scheduler.Work(ctx)))
				child, cancel := context.WithCancel(ctx)
				defer cancel()
				derived.Store(scheduler.MeterOf(child))
				return errBroken
			}),
			Handlers: []scheduler.Handler{{Name: "h", Handle: func(ctx context.Context, _ scheduler.Exception) error {
				inHandler.Store(scheduler.MeterOf(ctx))
				handled = true
				return nil
			}}},
		}, scheduler.Spec{
			Alias: "late", Restart: scheduler.Temporary,
			Service: scheduler.Func(func(ctx context.Context) error {
				go func() {
					time.Sleep(time.Minute)
					o := scheduler.MeterOf(ctx).Begin() // for the first time, after the end
					time.Sleep(time.Minute)
					o.End(nil)
				}()
				return nil
			}),
		}))
		require.NotNil(t, inRun.Load())
		require.Same(t, inRun.Load(), inWork.Load())
		require.Same(t, inRun.Load(), derived.Load())
		require.Same(t, inRun.Load(), scheduler.MeterOf(kept), "also after the end")
		require.True(t, handled)
		require.Nil(t, inHandler.Load())
		time.Sleep(90 * time.Second)
		late, err := s.Manager().Stats("late")
		require.NoError(t, err)
		require.Zero(t, late.InFlight, "the run is over")
		time.Sleep(time.Minute)
		late, err = s.Manager().Stats("late")
		require.NoError(t, err)
		require.EqualValues(t, 1, late.Operations, "it took place")
		s.end()
	})
}

// What is measured is kept under the alias: it outlives the instance and its
// runs, and is forgotten when the alias is.
func TestStatsOutliveTheInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, services(
			scheduler.Spec{
				Alias: "a", Backoff: at(time.Second),
				Factory: func() scheduler.Service {
					return scheduler.Func(func(ctx context.Context) error {
						scheduler.MeterOf(ctx).Begin() // which the failure leaves without its end
						scheduler.MeterOf(ctx).Observe(time.Second, nil)
						time.Sleep(9 * time.Second)
						return errBroken
					})
				},
			},
			scheduler.Spec{Alias: "unmetered", Service: fails, Backoff: at(time.Minute)},
		))
		time.Sleep(25*time.Second - 1)
		a, err := s.Manager().Stats("a")
		require.NoError(t, err)
		require.EqualValues(t, 3, a.Operations)
		require.EqualValues(t, 3, a.Starts)
		require.EqualValues(t, 2, a.Failures)
		require.Equal(t, 23*time.Second-1, a.Uptime, "without the backoff, with the run that is under way")
		require.Equal(t, 1, a.InFlight)
		require.EqualValues(t, 3, a.Latency.Count)
		require.Equal(t, time.Second, a.Latency.Max)
		require.Equal(t, 5*time.Second-1, time.Since(a.LastProgress))
		plain, err := s.Manager().Stats("unmetered")
		require.NoError(t, err)
		require.Equal(t, scheduler.Stats{Starts: 1, Failures: 1}, plain)

		require.NoError(t, s.Stop(t.Context(), "a"))
		stopped, err := s.Manager().Stats("a")
		require.NoError(t, err)
		require.Zero(t, stopped.InFlight)
		require.Equal(t, a.Operations, stopped.Operations)
		require.NoError(t, s.Remove(t.Context(), "a"))
		_, err = s.Manager().Stats("a")
		require.ErrorIs(t, err, scheduler.ErrUnknown)
		require.ErrorContains(t, err, `stats of "a"`)
		require.NoError(t, s.Add(scheduler.Spec{Alias: "a", Service: idle}))
		time.Sleep(time.Second)
		fresh, err := s.Manager().Stats("a")
		require.NoError(t, err)
		require.Equal(t, scheduler.Stats{Starts: 1, Uptime: time.Second}, fresh)
		s.end()
	})
}

// An abandoned run is not in flight any more, and the next Serve goes on where
// the one before ended.
func TestStatsOfAbandonedRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hangs{upTo: 1, deaf: true, release: make(chan struct{})}
		sch, err := scheduler.New(services(scheduler.Spec{Alias: "a", Service: h, StopTimeout: time.Second}))
		require.NoError(t, err)
		s := serveThis(t, sch)
		require.Equal(t, 1, s.Stats().InFlight)
		_, err = s.stop()
		require.ErrorIs(t, err, scheduler.ErrStopTimeout)
		require.Zero(t, s.Stats().InFlight)
		close(h.release)
		synctest.Wait()
		require.EqualValues(t, 1, s.Stats().Operations)
		s = serveThis(t, sch)
		time.Sleep(time.Minute)
		require.EqualValues(t, 2, s.Stats().Starts)
		require.Equal(t, time.Minute, s.Stats().Uptime)
		s.end()
	})
}

// Total is over all services, those of schedulers inside included, and of
// quantiles those of all operations.
func TestTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leaf := func(d time.Duration, err error) scheduler.Service {
			return scheduler.Func(func(ctx context.Context) error {
				for range 10 {
					scheduler.MeterOf(ctx).Observe(d, err)
				}
				return idle(ctx)
			})
		}
		inner, err := scheduler.New(services(
			scheduler.Spec{Alias: "slow", Service: leaf(3*time.Second, errBroken)},
			scheduler.Spec{Alias: "pool", Pool: 2, Factory: func() scheduler.Service { return leaf(2*time.Second, nil) }},
		))
		require.NoError(t, err)
		outer, err := scheduler.New(services(
			scheduler.Spec{Alias: "inner", Service: inner},
			scheduler.Spec{Alias: "fast", Service: leaf(time.Second, nil)},
		))
		require.NoError(t, err)
		require.Zero(t, outer.Stats())
		s := serveThis(t, outer)
		time.Sleep(10 * time.Second)
		all := s.Stats()
		require.EqualValues(t, 40, all.Operations)
		require.EqualValues(t, 10, all.Failed)
		require.EqualValues(t, 5, all.Starts)
		require.Equal(t, 50*time.Second, all.Uptime)
		require.Equal(t, 2*time.Second, all.Latency.Mean)
		require.InEpsilon(t, 2*time.Second, all.Latency.P50, 0.016)
		require.Equal(t, time.Second, all.Latency.Min)
		require.Positive(t, all.Rate.One)
		require.Equal(t, 10*time.Second, time.Since(all.LastProgress))
		require.EqualValues(t, 30, inner.Stats().Operations)
		require.NoError(t, s.Stop(t.Context(), "inner"))
		require.EqualValues(t, 40, s.Stats().Operations, "between two runs too")
		require.NoError(t, s.Add(scheduler.Spec{Alias: "itself", Service: outer, Backoff: at(time.Hour)}))
		require.EqualValues(t, 40, s.Stats().Operations, "what can't be served is not counted for ever")
		s.end()
		require.EqualValues(t, 40, outer.Manager().Total().Operations)
	})
}

// A service may ask for its Meter, and use it, from many goroutines while it
// is restarted, read and removed.
func TestMeterConcurrently(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := scheduler.New(services(scheduler.Spec{
		Alias: "a", Pool: 4, Backoff: at(0), Bounds: scheduler.Bounds{P50: time.Nanosecond, Stall: time.Millisecond, Window: scheduler.MinBoundsWindow, Windows: 1},
		Factory: func() scheduler.Service {
			return scheduler.Func(func(ctx context.Context) error {
				for range 50 {
					o := scheduler.MeterOf(ctx).Begin()
					scheduler.MeterOf(ctx).Progress()
					o.End(errBroken)
				}
				return errBroken
			})
		},
	}))
	require.NoError(t, err)
	result := make(chan error, 1)
	go func() { result <- s.Serve(ctx) }()
	for s.Stats().Operations < 100_000 {
		require.LessOrEqual(t, s.Stats().Failed, s.Stats().Operations)
		_, err := s.Manager().Stats("a")
		require.NoError(t, err)
		s.Health()
	}
	require.NoError(t, s.Remove(t.Context(), "a"))
	_, err = s.Manager().Stats("a")
	require.True(t, errors.Is(err, scheduler.ErrUnknown))
	cancel()
	require.NoError(t, <-result)
}
