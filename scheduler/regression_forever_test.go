package scheduler_test

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// lateSaver takes its time to say what its state is.
type lateSaver struct{ scheduler.Service }

func (lateSaver) SaveState(ctx context.Context) ([]byte, error) {
	select {
	case <-time.After(20 * time.Second):
	case <-ctx.Done():
	}
	return []byte("x"), nil
}

// A bound that is meant to be none is not taken for one that has passed, also
// where it is added to others: here and in a scheduler around.
func TestRegressionBoundsForEver(t *testing.T) {
	slow := scheduler.Func(func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(time.Second)
		return nil
	})
	metered := scheduler.Func(func(ctx context.Context) error {
		scheduler.MeterOf(ctx).Observe(time.Millisecond, nil)
		return slow(ctx)
	})
	quiet := func(context.Context, scheduler.Exception) error { return nil }
	forEver := scheduler.Handler{Name: "h", Timeout: math.MaxInt64, Handle: quiet}
	for name, c := range map[string]scheduler.Config{
		"HandlerTimeout": {HandlerTimeout: math.MaxInt64, Services: []scheduler.Spec{{Alias: "s", Service: slow}}},
		"Handler":        {Handlers: []scheduler.Handler{forEver, {Name: "i", Handle: quiet}}, Services: []scheduler.Spec{{Alias: "s", Service: slow}}},
		"Hook":           services(scheduler.Spec{Alias: "s", Service: metered, Bounds: scheduler.Bounds{Hook: forEver}}),
		"StopTimeout":    services(scheduler.Spec{Alias: "s", Service: slow, StopTimeout: math.MaxInt64}),
		"DrainTimeout":   services(scheduler.Spec{Alias: "s", Service: slow, DrainTimeout: math.MaxInt64}),
		"SaveEvery":      services(scheduler.Spec{Alias: "s", Service: lateSaver{idle}, SaveEvery: math.MaxInt64}),
		"SaveTimeout":    services(scheduler.Spec{Alias: "s", Service: lateSaver{idle}, SaveTimeout: math.MaxInt64}),
	} {
		for where, around := range map[string]func(*scheduler.Scheduler) *scheduler.Scheduler{
			"alone": func(s *scheduler.Scheduler) *scheduler.Scheduler { return s },
			"inside": func(s *scheduler.Scheduler) *scheduler.Scheduler {
				outer, err := scheduler.New(services(scheduler.Spec{Alias: "in", Service: s}))
				require.NoError(t, err)
				return outer
			},
		} {
			t.Run(name+" "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, err := scheduler.New(c)
					require.NoError(t, err)
					r := serveThis(t, around(s))
					_, err = r.stop()
					time.Sleep(time.Minute)
					require.NoError(t, err)
					status, err := s.Status("s")
					require.NoError(t, err)
					require.Equal(t, scheduler.EndedOnPurpose, status.End)
					require.Empty(t, status.Exceptions)
				})
			})
		}
	}
}

// A Hook that may take for ever is waited for.
func TestRegressionHookForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told atomic.Bool
		r := serve(t, services(scheduler.Spec{Alias: "a", Service: failing(), Bounds: scheduler.Bounds{
			Window: time.Second, Windows: 1,
			Hook: scheduler.Handler{Name: "hook", Timeout: math.MaxInt64, Handle: func(ctx context.Context, _ scheduler.Exception) error {
				select {
				case <-time.After(time.Minute):
					told.Store(true)
				case <-ctx.Done():
				}
				return nil
			}},
		}}))
		time.Sleep(1500 * time.Millisecond)
		r.end()
		require.True(t, told.Load(), "the hook was cut short")
	})
}

// Ten times a StartTimeout that is next to for ever is for ever.
func TestRegressionStartLimitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := errBroken
		r := serve(t, services(scheduler.Spec{Alias: "a", StartTimeout: math.MaxInt64 / 8, Service: scheduler.Func(func(ctx context.Context) error {
			err = scheduler.Extend(ctx, time.Hour, "it takes long")
			scheduler.Ready(ctx)
			<-ctx.Done()
			return nil
		})}))
		r.wantState("a", scheduler.Started, scheduler.NotEnded)
		r.end()
		require.NoError(t, err)
	})
}

// A time between check-ins that would keep a core busy is refused.
func TestRegressionSaveEveryHasALowerBound(t *testing.T) {
	for d, ok := range map[time.Duration]bool{0: true, 1: false, scheduler.MinSaveEvery - 1: false, scheduler.MinSaveEvery: true, math.MaxInt64: true, -1: false} {
		_, err := scheduler.New(services(scheduler.Spec{Alias: "a", Service: idle, SaveEvery: d}))
		if ok {
			require.NoError(t, err, d)
			continue
		}
		var spec *scheduler.SpecError
		require.ErrorAs(t, err, &spec, d)
		require.Equal(t, "SaveEvery", spec.Field)
		require.Contains(t, spec.Reason, d.String())
	}
}
