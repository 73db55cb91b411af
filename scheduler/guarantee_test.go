package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// One exit message per run, whatever ends it.
func TestGuarantee1OneExitPerRun(t *testing.T) {
	for name, c := range map[string]struct {
		end  func() error
		kind scheduler.Kind
		is   error
	}{
		"error":           {func() error { return errBroken }, scheduler.Returned, errBroken},
		"panic":           {func() error { panic("boom") }, scheduler.Panicked, nil},
		"panic of error":  {func() error { panic(errBroken) }, scheduler.Panicked, errBroken},
		"panic of nil":    {func() error { panic(nil) }, scheduler.Panicked, nil}, //nolint:govet // on purpose
		"nil dereference": {func() error { return (*alone)(nil).body(nil, 0) }, scheduler.Panicked, nil},
		"goexit":          {func() error { runtime.Goexit(); return nil }, scheduler.Exited, scheduler.ErrGoexit},
	} {
		for _, when := range []string{"start", "run", "stop", "factory", "handler"} {
			t.Run(name+" in "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { oneExit(t, when, c.end, c.kind, c.is) })
			})
		}
	}
}

func oneExit(t *testing.T, when string, end func() error, kind scheduler.Kind, is error) {
	spec := scheduler.Spec{Alias: "a", Restart: scheduler.Temporary, StartTimeout: time.Minute}
	service := scheduler.Func(func(ctx context.Context) error {
		switch when {
		case "start":
			return end()
		case "stop":
			scheduler.Ready(ctx)
			<-ctx.Done()
		case "run":
			scheduler.Ready(ctx)
			time.Sleep(time.Second)
		case "handler":
			return errBroken
		}
		return end()
	})
	spec.Service = service
	switch when {
	case "factory":
		spec.Service = nil
		spec.Factory = func() scheduler.Service {
			if end() != nil {
				panic(errBroken) // a factory can't return an error
			}
			return service
		}
		if kind == scheduler.Returned {
			kind = scheduler.Panicked
		}
	case "handler":
		spec.Handlers = []scheduler.Handler{{Name: "h", Handle: func(context.Context, scheduler.Exception) error { return end() }}}
		kind = scheduler.HandlerFailed
	}
	s := serve(t, services(spec))
	time.Sleep(2 * time.Second)
	want := scheduler.Failed
	if when == "stop" {
		require.NoError(t, s.Stop(t.Context(), "a"))
		want = scheduler.EndedOnPurpose
	}
	s.wantState("a", scheduler.Stopped, want)
	a := s.status("a")
	require.EqualValues(t, 1, a.Starts)
	require.EqualValues(t, 1, a.Failures)
	last := a.Exceptions[len(a.Exceptions)-1]
	require.Equal(t, kind, last.Kind)
	if is != nil {
		require.ErrorIs(t, last.Err, is)
	}
	if kind == scheduler.Panicked || kind == scheduler.Exited {
		require.Contains(t, last.Stack(), "scheduler_test", "the culprit is on the stack")
	}
	_, err := s.stop()
	require.NoError(t, err)
}

// Every run has a generation number; late timers and verdicts of an older one
// are dropped; a stop during backoff never resurrects; no two at once.
func TestGuarantee2Generations(t *testing.T) {
	t.Run("stop during backoff never resurrects", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, services(scheduler.Spec{Alias: "a", Service: fails, Backoff: at(time.Minute)}))
			s.wantState("a", scheduler.BackingOff, scheduler.NotEnded)
			begin := time.Now()
			require.NoError(t, s.Stop(t.Context(), "a"))
			require.Zero(t, time.Since(begin), "stopping what waits takes no time")
			time.Sleep(time.Hour)
			s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
			require.EqualValues(t, 1, s.status("a").Generation)
			_, err := s.stop()
			require.NoError(t, err)
		})
	})
	t.Run("a start during backoff voids its timer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := &alone{t: t, body: func(ctx context.Context, run int) error {
				if run == 1 {
					return errBroken
				}
				return idle(ctx)
			}}
			s := serve(t, services(scheduler.Spec{Alias: "a", Service: a, Backoff: at(time.Minute)}))
			require.NoError(t, s.Start(t.Context(), "a"))
			time.Sleep(time.Hour)
			require.EqualValues(t, 2, s.status("a").Generation)
			_, err := s.stop()
			require.NoError(t, err)
		})
	})
	t.Run("late verdicts of an old run are dropped", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var old context.Context
			a := &alone{t: t, body: func(ctx context.Context, run int) error {
				if run == 1 {
					old = ctx
					return errBroken
				}
				<-ctx.Done()
				return nil
			}}
			s := serve(t, services(scheduler.Spec{Alias: "a", Service: a, Backoff: at(time.Second), StartTimeout: time.Minute}))
			time.Sleep(2 * time.Second)
			scheduler.Ready(old)
			s.wantState("a", scheduler.Starting, scheduler.NotEnded)
			require.ErrorIs(t, context.Cause(old), scheduler.ErrRunOver)
			require.ErrorIs(t, context.Cause(scheduler.Work(old)), scheduler.ErrRunOver)
			_, err := s.stop()
			require.NoError(t, err)
		})
	})
	t.Run("a start timeout does not reach the next run", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := &alone{t: t, body: func(ctx context.Context, run int) error {
				if run == 1 {
					time.Sleep(59 * time.Second)
					return errBroken
				}
				time.Sleep(30 * time.Second)
				scheduler.Ready(ctx)
				return idle(ctx)
			}}
			s := serve(t, services(scheduler.Spec{Alias: "a", Service: a, Backoff: at(0), StartTimeout: time.Minute}))
			time.Sleep(10 * time.Minute)
			s.wantState("a", scheduler.Started, scheduler.NotEnded)
			require.EqualValues(t, 2, s.status("a").Generation)
			_, err := s.stop()
			require.NoError(t, err)
		})
	})
	t.Run("an abandoned run holds back the next, unless forced", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { abandonedHoldsBack(t) })
	})
}

func abandonedHoldsBack(t *testing.T) {
	release := make(chan struct{})
	a := &alone{t: t, body: func(ctx context.Context, run int) error {
		if run == 1 {
			return deaf(release)(ctx)
		}
		return idle(ctx)
	}}
	made := 0
	forced := func() scheduler.Service {
		if made++; made == 1 {
			return deaf(release)
		}
		return idle
	}
	s := serve(t, services(
		scheduler.Spec{Alias: "a", Service: a, StopTimeout: time.Second},
		scheduler.Spec{Alias: "b", Factory: forced, StopTimeout: time.Second},
	))
	err := s.Restart(t.Context(), "a")
	unstopped, ok := errors.AsType[*scheduler.UnstoppedError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "os/scheduler/a", unstopped.Services[0].Path)
	require.ErrorIs(t, s.Start(t.Context(), "a"), scheduler.ErrAbandoned)
	require.ErrorIs(t, s.Manager().Replace(t.Context(), "a"), scheduler.ErrSpec, "no factory")

	require.ErrorIs(t, s.Stop(t.Context(), "b"), scheduler.ErrStopTimeout)
	require.NoError(t, s.Manager().Replace(t.Context(), "b"))
	s.wantState("b", scheduler.Started, scheduler.NotEnded)
	require.Equal(t, 1, s.status("b").Abandoned)
	require.Len(t, s.Unstopped(), 2)

	s.wantState("a", scheduler.Stopped, scheduler.Abandoned)
	close(release)
	s.wantState("a", scheduler.Started, scheduler.NotEnded) // as Restart had asked
	require.EqualValues(t, 2, s.status("a").Generation)
	require.EqualValues(t, 2, s.status("b").Generation)
	require.Empty(t, s.Unstopped())
	_, err = s.stop()
	require.NoError(t, err)
}

// A service deaf to its stop is abandoned at its own stop timeout, named by
// path, delays nobody else, and loses its Work context.
func TestGuarantee3DeafServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var mu sync.Mutex
		var works []context.Context
		var specs []scheduler.Spec
		for i := range 5 {
			specs = append(specs, scheduler.Spec{
				Alias:       fmt.Sprintf("deaf-%d", i),
				StopTimeout: time.Duration(i+1) * time.Second,
				Service: scheduler.Func(func(ctx context.Context) error {
					mu.Lock()
					works = append(works, scheduler.Work(ctx))
					mu.Unlock()
					return deaf(release)(ctx)
				}),
			})
		}
		specs = append(specs, scheduler.Spec{Alias: "fine", Service: idle})
		s := serve(t, services(specs...))

		ended := make(chan time.Duration, len(works))
		begin := time.Now()
		for _, w := range works {
			context.AfterFunc(w, func() { ended <- time.Since(begin) })
		}
		took, err := s.stop()
		require.Equal(t, 5*time.Second, took, "the longest timeout, not the sum")
		unstopped, ok := errors.AsType[*scheduler.UnstoppedError](err)
		require.True(t, ok, "%v", err)
		var paths []string
		for _, u := range unstopped.Services {
			paths = append(paths, u.Path)
			require.Equal(t, 5*time.Second, u.For)
		}
		require.Equal(t, []string{
			"os/scheduler/deaf-0", "os/scheduler/deaf-1", "os/scheduler/deaf-2",
			"os/scheduler/deaf-3", "os/scheduler/deaf-4",
		}, paths)
		require.Contains(t, err.Error(), "os/scheduler/deaf-3 (asked 5s ago)")
		synctest.Wait()
		close(ended)
		var instants []time.Duration
		for d := range ended {
			instants = append(instants, d)
		}
		slices.Sort(instants)
		require.Equal(t, []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second, 5 * time.Second}, instants,
			"work ends at each one's own timeout")
		require.ErrorIs(t, context.Cause(works[0]), scheduler.ErrStopTimeout)
		s.wantState("fine", scheduler.Stopped, scheduler.EndedOnPurpose)
		s.wantState("deaf-2", scheduler.Stopped, scheduler.Abandoned)
		require.Equal(t, scheduler.Deaf, s.status("deaf-2").Exceptions[0].Kind)
		close(release)
		synctest.Wait()
		require.Empty(t, s.Unstopped())
	})
}

// Failures count per service; one flapper delays no sibling, and no wait sits
// in the manager.
func TestGuarantee5FailuresPerService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		sibling := &alone{t: t, body: func(ctx context.Context, run int) error {
			if run <= 3 {
				time.Sleep(time.Second)
				return errBroken
			}
			return idle(ctx)
		}}
		s := serve(t, services(
			scheduler.Spec{Alias: "flapper", Service: fails, Backoff: at(time.Millisecond)},
			scheduler.Spec{Alias: "stuck curve", Service: fails, Backoff: func(int) time.Duration { <-block; return 0 }},
			scheduler.Spec{Alias: "mad curve", Service: fails, Backoff: func(int) time.Duration { panic("mad") }},
			scheduler.Spec{Alias: "lost curve", Service: fails, Backoff: func(int) time.Duration { runtime.Goexit(); return 0 }},
			scheduler.Spec{Alias: "mad error", Service: scheduler.Func(func(context.Context) error { return madError{} }), Backoff: at(time.Second)},
			scheduler.Spec{Alias: "sibling", Service: sibling, Backoff: at(time.Second)},
		))
		time.Sleep(7*time.Second - time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, 4, sibling.runs.Load(), "3 runs and 3 waits of a second")
		require.Greater(t, s.status("flapper").Failures, uint64(6000))
		require.EqualValues(t, 3, s.status("sibling").Failures)
		require.EqualValues(t, 1, s.status("stuck curve").Starts)
		require.EqualValues(t, 7, s.status("mad error").Starts)
		require.GreaterOrEqual(t, s.status("lost curve").Starts, uint64(5))
		mad := s.status("mad curve")
		require.GreaterOrEqual(t, mad.Starts, uint64(5), "the default curve steps in")
		require.True(t, slices.ContainsFunc(mad.Exceptions, func(x scheduler.Exception) bool {
			return x.Kind == scheduler.CurveFailed && x.Err.Error() == "scheduler: backoff: panic: mad"
		}))
		close(block)
		_, err := s.stop()
		require.NoError(t, err)
	})
}

// madError is an error whose methods can't be called.
type madError struct{}

func (madError) Error() string { panic("no text") }
func (madError) Is(error) bool { runtime.Goexit(); return false }
