package scheduler_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// nosy is a user's context whose Value method asks the scheduler.
type nosy struct {
	context.Context
	ask func()
}

func (n *nosy) Value(key any) any { n.ask(); return n.Context.Value(key) }

// finishes fails the test if f does not return; it runs outside of a bubble,
// since who waits for a mutex is not durably blocked.
// finishes fails if f hangs. The minute is for machines that stand still at
// times, never for f.
func finishes(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("hangs")
	}
}

func TestRegressionContextValueUnderLock(t *testing.T) {
	s, err := scheduler.New(services(scheduler.Spec{Alias: "a", Service: idle}))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	user := &nosy{Context: ctx, ask: func() { s.Services() }}
	finishes(t, func() { _ = s.AwaitStarted(user, "a") })
}

type nosyError struct{ ask func() }

func (e *nosyError) Error() string { e.ask(); return "nosy" }

func TestRegressionCauseErrorUnderLock(t *testing.T) {
	release := make(chan struct{})
	s, err := scheduler.New(services(scheduler.Spec{Alias: "a", Service: deaf(release), StopTimeout: time.Hour}))
	require.NoError(t, err)
	ctx := t.Context()
	go s.Serve(ctx)
	require.NoError(t, s.AwaitStarted(context.Background(), "a"))
	user, end := context.WithCancelCause(context.Background())
	end(&nosyError{ask: func() { s.Services() }})
	defer close(release)
	finishes(t, func() { _ = s.Stop(user, "a") })
}

// One wait that is meant to be for ever stops all deadlines of the manager.
func TestRegressionFarDeadlineStopsAllOthers(t *testing.T) {
	once := func() scheduler.Func {
		var runs atomic.Int32
		return func(ctx context.Context) error {
			if runs.Add(1) == 1 {
				return errBroken
			}
			<-ctx.Done()
			return nil
		}
	}
	for name, spec := range map[string]scheduler.Spec{
		"At":           {Service: idle, Schedule: &scheduler.Schedule{At: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"Backoff":      {Service: once(), Backoff: at(math.MaxInt64)},
		"StartDelay":   {Service: idle, StartDelay: math.MaxInt64},
		"StartTimeout": {Service: idle, StartTimeout: math.MaxInt64},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				spec.Alias = "far"
				r := serve(t, services(spec))
				require.NoError(t, r.Add(scheduler.Spec{Alias: "delayed", Service: idle, StartDelay: time.Second}))
				time.Sleep(time.Hour)
				r.wantState("delayed", scheduler.Started, scheduler.NotEnded)
				r.end()
			})
		})
	}
}

func TestRegressionExtendForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := scheduler.Func(func(ctx context.Context) error {
			if err := scheduler.Extend(ctx, math.MaxInt64, "it takes long"); !errors.Is(err, scheduler.ErrStartLimit) {
				t.Error(err)
			}
			time.Sleep(5 * time.Second)
			scheduler.Ready(ctx)
			<-ctx.Done()
			return nil
		})
		r := serve(t, services(scheduler.Spec{Alias: "a", Service: s, StartTimeout: time.Second}))
		time.Sleep(6 * time.Second)
		require.EqualValues(t, 0, r.status("a").Failures)
		r.end()
	})
}

func TestRegressionHandlerTimeoutForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told atomic.Bool
		r := serve(t, services(scheduler.Spec{Alias: "a", Service: fails, Restart: scheduler.Temporary, Handlers: []scheduler.Handler{{
			Name: "h", Timeout: math.MaxInt64, Handle: func(ctx context.Context, _ scheduler.Exception) error {
				select {
				case <-time.After(time.Second):
					told.Store(true)
				case <-ctx.Done():
				}
				return nil
			},
		}}}))
		r.stop()
		require.True(t, told.Load(), "the handler was cut short")
	})
}

func TestRegressionConvictedSignificantReturnsHandlersError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := scheduler.Func(func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			return nil
		})
		r := serve(t, services(scheduler.Spec{Alias: "a", Service: slow, StartTimeout: time.Second, Restart: scheduler.Temporary, Significant: true,
			Handlers: []scheduler.Handler{{
				Name: "h", Handle: func(context.Context, scheduler.Exception) error { return errors.New("mail server is away") },
			}}}))
		err := <-r.result
		require.ErrorIs(t, err, scheduler.ErrStartTimeout)
	})
}

func TestRegressionBlockingErrorOfHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := serve(t, services(scheduler.Spec{Alias: "a", Service: fails, Restart: scheduler.Temporary, Handlers: []scheduler.Handler{{
			Name: "h", Handle: func(context.Context, scheduler.Exception) error {
				return &nosyError{ask: func() { <-release }}
			},
		}}}))
		time.Sleep(time.Minute)
		r.cancel()
		time.Sleep(time.Hour)
		synctest.Wait()
		n := len(r.result)
		close(release)
		<-r.result
		require.Equal(t, 1, n, "Serve hangs with the text of an error")
	})
}

// A hard Stop and a Restart while a Drain is under way.
func TestRegressionStopHurriesDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, services(scheduler.Spec{Alias: "a", Service: &drainsBy{idle, func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		}}, DrainTimeout: time.Hour}))
		go r.Manager().Drain(context.Background(), "a")
		time.Sleep(time.Second)
		begin := time.Now()
		require.NoError(t, r.Stop(context.Background(), "a"))
		require.Less(t, time.Since(begin), time.Minute)
		r.end()
	})
}

func TestRegressionRemoveFailingLeavesGroupHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := scheduler.Func(func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(2 * time.Second)
			return nil
		})
		failing := scheduler.Func(func(ctx context.Context) error {
			time.Sleep(time.Second)
			return errBroken
		})
		r := serve(t, scheduler.Config{
			Groups: []scheduler.Group{{Name: "g", Strategy: scheduler.OneForAll}},
			Services: []scheduler.Spec{
				{Alias: "a", Service: failing, Group: "g", Backoff: at(time.Minute)},
				{Alias: "b", Service: slow, Group: "g"},
			},
		})
		time.Sleep(1500 * time.Millisecond)
		require.NoError(t, r.Remove(context.Background(), "a"))
		time.Sleep(time.Hour)
		r.wantState("b", scheduler.Started, scheduler.NotEnded)
		r.end()
	})
}

func TestRegressionCulpritIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failA, failC atomic.Bool
		failsIf := func(b *atomic.Bool) scheduler.Func {
			return func(ctx context.Context) error {
				for ctx.Err() == nil {
					if b.Swap(false) {
						return errBroken
					}
					time.Sleep(100 * time.Millisecond)
				}
				return nil
			}
		}
		r := serve(t, scheduler.Config{
			Groups: []scheduler.Group{{Name: "g", Strategy: scheduler.RestForOne}},
			Services: []scheduler.Spec{
				{Alias: "a", Service: failsIf(&failA), Group: "g", HaltOnFailure: true},
				{Alias: "b", Service: idle, Group: "g"},
				{Alias: "c", Service: failsIf(&failC), Group: "g", HaltOnFailure: true},
			},
		})
		failA.Store(true)
		time.Sleep(time.Second)
		require.NoError(t, r.Start(context.Background(), "c"))
		failC.Store(true)
		time.Sleep(time.Second)
		require.NoError(t, r.Start(context.Background(), "a"))
		time.Sleep(time.Second)
		r.wantState("b", scheduler.Started, scheduler.NotEnded)
		r.end()
	})
}

func TestRegressionAtPoolNeverCompletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, services(scheduler.Spec{
			Alias: "a", Pool: 3, Factory: func() scheduler.Service {
				return scheduler.Func(func(context.Context) error { return nil })
			},
			Schedule: &scheduler.Schedule{At: time.Now().Add(time.Second), Overlap: scheduler.Allow},
		}))
		time.Sleep(time.Minute)
		r.wantState("a", scheduler.Stopped, scheduler.Completed)
		r.end()
	})
}

type drainsBy struct {
	scheduler.Func
	drain func(context.Context) error
}

func (d *drainsBy) Drain(ctx context.Context) error { return d.drain(ctx) }

func TestRegressionHardStopDrainsAfterVoidDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var drained atomic.Int32
		r := serve(t, services(scheduler.Spec{Alias: "a", Service: &drainsBy{idle, func(context.Context) error {
			drained.Add(1)
			return nil
		}}}))
		ctx := context.Background()
		require.NoError(t, r.Stop(ctx, "a"))
		require.NoError(t, r.Manager().Drain(ctx, "a")) // nothing to do
		require.NoError(t, r.Start(ctx, "a"))
		require.NoError(t, r.Stop(ctx, "a"))
		require.EqualValues(t, 0, drained.Load(), "a hard stop drained")
		r.end()
	})
}

func TestRegressionRetiredDeafWorkerOfRecoveringPoolStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := serve(t, services(scheduler.Spec{
			Alias: "a", Pool: 2, Recover: true, StopTimeout: time.Second,
			Factory: func() scheduler.Service { return deaf(release) },
		}))
		require.NoError(t, r.Manager().Resize("a", 1))
		time.Sleep(time.Minute)
		close(release)
		time.Sleep(time.Minute)
		view := map[string]scheduler.State{}
		ctx, cancel := context.WithCancel(context.Background())
		for e, err := range r.Directory().Watch(ctx, 0) {
			if err != nil || e.Kind == scheduler.EventSynced {
				break
			}
			if e.Path != "" {
				view[e.Path] = e.State
			}
		}
		cancel()
		require.Len(t, view, 1, "%v", view)
		r.cancel()
	})
}

type exitingError struct{}

func (exitingError) Error() string { runtime.Goexit(); return "" }

func TestRegressionErrorOfDrainCallsGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, services(scheduler.Spec{Alias: "a", Service: &drainsBy{idle, func(context.Context) error { return exitingError{} }}}))
		go r.Shutdown(context.Background())
		select {
		case err := <-r.result:
			require.NoError(t, err)
		case <-time.After(24 * time.Hour):
			panic("Serve never returns") // the bubble couldn't end
		}
	})
}

func TestRegressionErrorOfHandlerCallsGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, services(scheduler.Spec{Alias: "a", Service: fails, Restart: scheduler.Temporary, Handlers: []scheduler.Handler{{
			Name: "h", Handle: func(context.Context, scheduler.Exception) error { return exitingError{} },
		}}}))
		time.Sleep(time.Minute)
		r.cancel()
		select {
		case err := <-r.result:
			require.NoError(t, err)
		case <-time.After(24 * time.Hour):
			panic("Serve never returns")
		}
	})
}

// fickle is a wrapper that drops what it wraps when told to stop.
type fickle struct {
	mu    sync.Mutex
	inner scheduler.Service
}

func (f *fickle) Unwrap() scheduler.Service { f.mu.Lock(); defer f.mu.Unlock(); return f.inner }
func (f *fickle) Serve(ctx context.Context) error {
	time.Sleep(time.Second)
	f.mu.Lock()
	f.inner = nil
	f.mu.Unlock()
	<-ctx.Done()
	return nil
}

func TestRegressionFickleWrapperEndsTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, services(scheduler.Spec{Alias: "a", Service: &fickle{inner: &drainsBy{idle, func(context.Context) error { return nil }}}}))
		time.Sleep(2 * time.Second)
		require.NoError(t, r.Shutdown(context.Background())) // panics in the manager's own goroutine
	})
}

func TestRegressionRecoverIgnoresRetryLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := serve(t, services(scheduler.Spec{
			Alias: "a", Recover: true, StartTimeout: time.Second, StopTimeout: time.Second, RetryLimit: 3,
			Factory: func() scheduler.Service { return deaf(release) },
		}))
		time.Sleep(9 * time.Minute) // within one RetryWindow
		s := r.status("a")
		close(release)
		r.cancel()
		<-r.result
		require.LessOrEqual(t, s.Starts, uint64(4), "%d goroutines abandoned", s.Abandoned)
	})
}

func TestRegressionStatusErrIsTheHandlersFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, services(scheduler.Spec{Alias: "a", Service: fails, Restart: scheduler.Temporary, Handlers: []scheduler.Handler{{
			Name: "h", Handle: func(context.Context, scheduler.Exception) error { return errors.New("mail server is away") },
		}}}))
		time.Sleep(time.Second)
		s := r.status("a")
		r.end()
		require.ErrorIs(t, s.Err, errBroken)
	})
}

type stallingSaver struct{}

func (stallingSaver) SaveState(context.Context) ([]byte, error) { return []byte("x"), nil }
func (stallingSaver) Serve(ctx context.Context) error {
	scheduler.MeterOf(ctx).Begin()
	<-ctx.Done()
	return nil
}

func TestRegressionHaltedSaverIsStoppedNotFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, services(scheduler.Spec{
			Alias: "a", Service: stallingSaver{}, HaltOnFailure: true, Bounds: scheduler.Bounds{Stall: time.Second, Restart: true},
		}))
		time.Sleep(time.Minute)
		r.wantState("a", scheduler.Stopped, scheduler.Failed)
		r.end()
	})
}

func TestRegressionReplaceThatFailsChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := serve(t, services(
			scheduler.Spec{Alias: "dep", Service: idle},
			scheduler.Spec{Alias: "a", After: []string{"dep"}, StopTimeout: time.Second, Factory: func() scheduler.Service { return deaf(release) }},
		))
		ctx := context.Background()
		_ = r.Stop(ctx, "dep") // a is abandoned
		require.ErrorIs(t, r.Manager().Replace(ctx, "a"), scheduler.ErrStopped)
		require.NoError(t, r.Start(ctx, "dep"))
		err := r.Start(ctx, "a")
		s := r.status("a")
		close(release)
		r.cancel()
		<-r.result
		require.ErrorIs(t, err, scheduler.ErrAbandoned, "%v %v", s.State, s.Abandoned)
	})
}

func TestRegressionDiamondsTakeExponentialTime(t *testing.T) {
	var specs []scheduler.Spec
	name := func(layer, i int) string {
		return string(rune('a'+i)) + string(rune('0'+layer/10)) + string(rune('0'+layer%10))
	}
	const layers = 34
	for layer := range layers {
		for i := range 2 {
			s := scheduler.Spec{Alias: name(layer, i), Service: idle}
			if layer > 0 {
				s.After = []string{name(layer-1, 0), name(layer-1, 1)}
			}
			specs = append(specs, s)
		}
	}
	s, err := scheduler.New(scheduler.Config{Services: specs})
	require.NoError(t, err)
	ctx := t.Context()
	go s.Serve(ctx)
	finishes(t, func() { require.NoError(t, s.AwaitStarted(ctx)) })
	finishes(t, func() { require.NoError(t, s.Restart(ctx, name(layers-1, 0))) })
}

func TestRegressionShutdownWhileExitOnErrorCallsGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := make(chan struct{})
		stop := make(chan struct{})
		s, err := scheduler.New(services(
			scheduler.Spec{Alias: "slow", Service: scheduler.Func(func(ctx context.Context) error { <-ctx.Done(); time.Sleep(5 * time.Second); return nil })},
			scheduler.Spec{Alias: "a", ExitOnError: true, Service: scheduler.Func(func(ctx context.Context) error { <-fail; return exitingError{} })},
		))
		require.NoError(t, err)
		go s.Serve(context.Background())
		synctest.Wait()
		close(fail)
		synctest.Wait()
		go func() { _ = s.Shutdown(context.Background()); close(stop) }()
		select {
		case <-stop:
		case <-time.After(24 * time.Hour):
			panic("Shutdown never returns")
		}
	})
}

func TestRegressionTwoSchedulersInOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, err := scheduler.New(services(scheduler.Spec{Alias: "x", Service: idle}))
		require.NoError(t, err)
		two, err := scheduler.New(services(scheduler.Spec{Alias: "y", Service: idle}))
		require.NoError(t, err)
		refused := make(chan error, 1)
		r := serve(t, services(scheduler.Spec{Alias: "both", Service: scheduler.Func(func(ctx context.Context) error {
			first := make(chan error, 1)
			go func() { first <- one.Serve(ctx) }()
			time.Sleep(time.Second)
			refused <- two.Serve(ctx)
			return <-first
		})}))
		time.Sleep(time.Minute)
		require.ErrorIs(t, <-refused, scheduler.ErrServing)
		require.Len(t, r.Health().Services, 2)
		r.end()
	})
}

// A tick that waits for its jitter fell into no run.
func TestRegressionJitteredTickIsLostToTrigger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		r := serve(t, services(scheduler.Spec{Alias: "a", Schedule: &scheduler.Schedule{Every: time.Hour, Jitter: 59 * time.Minute}, Service: scheduler.Func(func(context.Context) error {
			runs.Add(1)
			return nil
		})}))
		time.Sleep(10*time.Hour + time.Second) // ten ticks and one have been; some runs wait for their jitter
		before := r.status("a")
		_ = r.Manager().Trigger("a")
		time.Sleep(time.Second)
		after := r.status("a")
		r.end()
		require.Equal(t, before.Skipped, after.Skipped, "a tick that fell into no run is skipped")
	})
}

// A scheduler inside whose Serve comes too late to begin has still inside what
// its Serve before left behind.
func TestRegressionServeTooLateToBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, release := context.Background(), make(chan struct{})
		deaf := scheduler.Func(func(context.Context) error { <-release; return nil })
		inner, err := scheduler.New(services(scheduler.Spec{Alias: "deaf", Service: deaf, StopTimeout: time.Second}))
		require.NoError(t, err)
		var late atomic.Bool
		s := serve(t, services(scheduler.Spec{Alias: "nest", Service: scheduler.Func(func(ctx context.Context) error {
			if late.Load() {
				<-ctx.Done()
			}
			return inner.Serve(ctx)
		})}))
		for range 2 {
			err := s.Restart(ctx, "nest")
			require.True(t, err == nil, "%v", err)
			time.Sleep(time.Second)
			var left *scheduler.UnstoppedError
			late.Store(true)
			require.ErrorAs(t, s.Stop(ctx, "nest"), &left)
			require.Equal(t, "os/scheduler/nest/deaf", left.Services[0].Path)
			require.NoError(t, s.Start(ctx, "nest"))
		}
		close(release)
		synctest.Wait()
		s.closed()
	})
}
