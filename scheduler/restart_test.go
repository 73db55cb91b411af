package scheduler_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// What follows an end, per policy and kind of end.
func TestRestartPolicyAndEnd(t *testing.T) {
	ends := map[string]scheduler.Func{
		"nil":    func(context.Context) error { return nil },
		"error":  fails,
		"panic":  func(context.Context) error { panic("boom") },
		"goexit": func(context.Context) error { runtime.Goexit(); return nil },
		"cancel": func(context.Context) error { return context.Canceled }, // nobody asked: a failure
	}
	const again = scheduler.NotEnded
	for policy, want := range map[scheduler.RestartPolicy]map[string]scheduler.End{
		scheduler.Permanent: {"nil": again, "error": again, "panic": again, "goexit": again, "cancel": again},
		scheduler.Transient: {"nil": scheduler.Completed, "error": again, "panic": again, "goexit": again, "cancel": again},
		scheduler.Temporary: {
			"nil": scheduler.Completed, "error": scheduler.Failed, "panic": scheduler.Failed,
			"goexit": scheduler.Failed, "cancel": scheduler.Failed,
		},
	} {
		for kind, end := range want {
			t.Run(policy.String()+" "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					spec := scheduler.Spec{Alias: "a", Service: ends[kind], Restart: policy}
					if policy != scheduler.Temporary {
						spec.Backoff = at(time.Second)
					}
					s := serve(t, services(spec))
					if end != again {
						s.wantState("a", scheduler.Stopped, end)
						time.Sleep(time.Hour)
						require.EqualValues(t, 1, s.status("a").Starts)
					} else {
						s.wantState("a", scheduler.BackingOff, end)
						time.Sleep(10500 * time.Millisecond)
						require.EqualValues(t, 11, s.status("a").Starts)
						require.Equal(t, time.Now().Add(time.Second/2), s.status("a").Next)
					}
					failures := s.status("a").Failures
					if kind == "nil" {
						require.Zero(t, failures)
					} else {
						require.Equal(t, s.status("a").Starts, failures)
					}
					_, err := s.stop()
					require.NoError(t, err)
				})
			})
		}
	}
}

// The default curve is fast until the fifth start, then visibly slow, capped,
// and its jitter is in proportion and only ever added.
func TestDefaultBackoff(t *testing.T) {
	want := []time.Duration{
		10 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond,
		2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute,
	}
	for _, ends := range []int{-1 << 62, 0, 12, 64, 1 << 62} {
		d := scheduler.DefaultBackoff(ends)
		require.True(t, d >= 10*time.Millisecond && d <= 75*time.Second, "%d: %v", ends, d)
	}
	for i, base := range want {
		low, high := time.Hour, time.Duration(0)
		for range 2000 {
			d := scheduler.DefaultBackoff(i + 1)
			low, high = min(low, d), max(high, d)
		}
		require.GreaterOrEqual(t, low, base)
		require.Less(t, high, base+base/4)
		require.Greater(t, high-low, base/5, "ends %d: spread", i+1)
	}
}

// The curve is told the unplanned ends in a row; a good run is forgotten, a
// long start is none, and Start gives a fresh go.
func TestBackoffForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []int
		lengths := []time.Duration{0, 0, 59 * time.Second, time.Minute, 0, 0, time.Hour, 0}
		a := &alone{t: t, body: func(ctx context.Context, run int) error {
			if run > len(lengths) {
				scheduler.Ready(ctx)
				return idle(ctx)
			}
			if run == 6 { // long, but never ready
				time.Sleep(2 * time.Minute)
				return errBroken
			}
			scheduler.Ready(ctx)
			time.Sleep(lengths[run-1])
			return errBroken
		}}
		s := serve(t, services(scheduler.Spec{Alias: "a", Service: a, StartTimeout: time.Hour, Backoff: func(n int) time.Duration {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, n)
			return time.Second
		}}))
		time.Sleep(3 * time.Hour)
		_, err := s.stop()
		require.NoError(t, err)
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, []int{1, 2, 3, 1, 2, 3, 1, 2}, told, "and a stop asks no curve")
	})
}

// The retry limit counts restarts in a sliding window and then gives up.
func TestRetryLimitSlides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &alone{t: t, body: func(ctx context.Context, run int) error {
			if run == 3 {
				scheduler.Ready(ctx)
				time.Sleep(61 * time.Second)
			}
			return errBroken
		}}
		s := serve(t, services(
			scheduler.Spec{Alias: "a", Service: a, RetryLimit: 2, RetryWindow: time.Minute, StartTimeout: time.Hour, Backoff: at(0)},
			scheduler.Spec{Alias: "b", Service: idle, After: []string{"a"}},
		))
		time.Sleep(2 * time.Minute)
		s.wantState("a", scheduler.Stopped, scheduler.GaveUp)
		require.EqualValues(t, 5, a.runs.Load(), "two restarts, a minute of grace, two more")
		require.Equal(t, "gave up", s.status("a").Reason)
		require.ErrorIs(t, s.status("a").Err, errBroken)
		s.wantState("b", scheduler.Started, scheduler.NotEnded)

		// Start forgets what was.
		require.ErrorIs(t, s.Start(t.Context(), "a"), scheduler.ErrEnded)
		require.EqualValues(t, 8, a.runs.Load())
		_, err := s.stop()
		require.NoError(t, err)
	})
}

// Start timeouts count as failures: they back off and they give up.
func TestStartTimeoutIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &alone{t: t, body: func(ctx context.Context, _ int) error { return idle(ctx) }}
		s := serve(t, services(scheduler.Spec{
			Alias: "a", Service: a, StartTimeout: time.Second, RetryLimit: 3, Restart: scheduler.Transient, Backoff: at(time.Second),
		}))
		time.Sleep(1500 * time.Millisecond)
		s.wantState("a", scheduler.BackingOff, scheduler.NotEnded)
		time.Sleep(time.Minute)
		s.wantState("a", scheduler.Stopped, scheduler.GaveUp)
		require.EqualValues(t, 4, a.runs.Load())
		require.EqualValues(t, 4, s.status("a").Failures)
		_, err := s.stop()
		require.NoError(t, err)
	})
}

// A run that is deaf in its start is abandoned, and replaced once it has ended.
func TestDeafStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		a := &alone{t: t, body: func(ctx context.Context, run int) error {
			if run == 1 {
				return deaf(release)(ctx)
			}
			scheduler.Ready(ctx)
			return idle(ctx)
		}}
		s := serve(t, services(scheduler.Spec{
			Alias: "a", Service: a, StartTimeout: time.Second, StopTimeout: time.Second, Backoff: at(time.Second),
		}))
		time.Sleep(time.Minute)
		s.wantState("a", scheduler.Stopped, scheduler.Abandoned)
		require.Equal(t, "abandoned; its run has still not ended", s.status("a").Reason)
		require.ErrorIs(t, s.AwaitStarted(t.Context(), "a"), scheduler.ErrEnded)
		close(release)
		s.wantState("a", scheduler.BackingOff, scheduler.Abandoned)
		time.Sleep(2 * time.Second)
		s.wantState("a", scheduler.Started, scheduler.NotEnded)
		_, err := s.stop()
		require.NoError(t, err)
	})
}

// ExitOnError ends Serve with the error of the service, everything else in
// order.
func TestExitOnError(t *testing.T) {
	for name, spec := range map[string]scheduler.Spec{
		"error": {Service: scheduler.Func(func(context.Context) error { time.Sleep(time.Second); return errBroken })},
		"start timeout": {StartTimeout: time.Second, Service: scheduler.Func(func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				spec.Alias, spec.ExitOnError = "vital", true
				spec.PostHook = scheduler.Handler{Name: "post", Handle: func(context.Context, scheduler.Exception) error {
					time.Sleep(4 * time.Second)
					j.add("told")
					return nil
				}}
				s := serve(t, services(spec, scheduler.Spec{Alias: "a", Service: scheduler.Func(func(ctx context.Context) error {
					<-ctx.Done()
					time.Sleep(time.Second)
					j.add("stopped")
					return nil
				})}))
				begin := time.Now()
				err := <-s.result
				require.Equal(t, 5*time.Second, time.Since(begin), "the handlers are waited for")
				require.Equal(t, []string{"stopped", "told"}, j.take())
				want := errBroken
				if name != "error" {
					want = scheduler.ErrStartTimeout
				}
				require.ErrorIs(t, err, want)
				require.ErrorContains(t, err, "scheduler: os/scheduler/vital ended the scheduler: ")
				s.wantState("vital", scheduler.Stopped, scheduler.Failed)
			})
		})
	}
	t.Run("with a deaf service", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			s := serve(t, services(
				scheduler.Spec{Alias: "vital", ExitOnError: true, Service: fails},
				scheduler.Spec{Alias: "a", Service: deaf(release)},
			))
			err := <-s.result
			require.ErrorIs(t, err, errBroken)
			require.ErrorIs(t, err, scheduler.ErrStopTimeout)
			close(release)
		})
	})
}

// HaltOnFailure ends the service whatever the policy, and takes down what
// comes after it, until Start.
func TestHaltOnFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &alone{t: t, body: func(ctx context.Context, run int) error {
			if run > 1 {
				return idle(ctx)
			}
			time.Sleep(time.Second)
			return errBroken
		}}
		s := serve(t, services(
			scheduler.Spec{Alias: "a", Service: a, HaltOnFailure: true},
			scheduler.Spec{Alias: "b", Service: idle, After: []string{"a"}},
			scheduler.Spec{Alias: "c", HaltOnFailure: true, StartTimeout: time.Second, Service: idle},
		))
		s.wantState("b", scheduler.Started, scheduler.NotEnded)
		time.Sleep(time.Minute)
		s.wantState("a", scheduler.Stopped, scheduler.Failed)
		s.wantState("b", scheduler.Idle, scheduler.EndedOnPurpose)
		s.wantState("c", scheduler.Stopped, scheduler.Failed)
		for verb, ask := range map[string]func(context.Context, string) error{"start": s.Start, "restart": s.Restart} {
			err := ask(t.Context(), "b")
			require.ErrorIs(t, err, scheduler.ErrEnded, verb)
			require.NotErrorIs(t, err, scheduler.ErrStopped, "nobody has stopped it on purpose")
			var blocked *scheduler.NotStartedError
			require.ErrorAs(t, err, &blocked, verb)
			require.Equal(t, "os/scheduler/a", blocked.Blocked[0].Path)
			require.ErrorIs(t, blocked.Blocked[0].Err, errBroken)
		}
		require.NoError(t, s.Start(t.Context(), "a"))
		s.wantState("b", scheduler.Started, scheduler.NotEnded)
		_, err := s.stop()
		require.NoError(t, err)
	})
}

// Exceptions are kept in a bounded ring with bounded stacks, across instances.
func TestExceptionsOutliveInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var deep func(n int) int
		deep = func(n int) int {
			if n == 0 {
				panic("deep")
			}
			return deep(n-1) + 1
		}
		s := serve(t, scheduler.Config{Exceptions: 3, Services: []scheduler.Spec{{
			Alias: "a", Backoff: at(time.Second),
			Factory: func() scheduler.Service {
				return scheduler.Func(func(context.Context) error { deep(1000); return nil })
			},
		}}})
		time.Sleep(9500 * time.Millisecond)
		a := s.status("a")
		require.EqualValues(t, 10, a.Failures)
		require.Len(t, a.Exceptions, 3)
		for i, x := range a.Exceptions {
			require.EqualValues(t, 8+i, x.Generation)
			require.EqualError(t, x.Err, "panic: deep")
			require.Equal(t, "os/scheduler/a", x.Path)
			require.Equal(t, time.Second, x.Delay)
			require.Equal(t, time.Now().Add(-time.Duration(2-i)*time.Second-time.Second/2), x.At)
			require.Less(t, len(x.Stack()), 16<<10)
			require.Contains(t, x.Stack(), "TestExceptionsOutliveInstances")
			require.NotContains(t, x.Stack(), "runtime.gopanic")
		}
		_, err := s.stop()
		require.NoError(t, err)
	})
}
