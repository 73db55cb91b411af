package scheduler_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/scheduler"
)

// What a change costs grows with the graph and not with the number of paths in
// it, also where services have completed and stand for what they came after.
func TestRegressionCompletedDiamonds(t *testing.T) {
	var specs []scheduler.Spec
	name := func(layer, i int) string {
		return string(rune('a'+i)) + string(rune('0'+layer/10)) + string(rune('0'+layer%10))
	}
	once := scheduler.Func(func(context.Context) error { return nil })
	const layers = 34 // of two: 2 to the power of 34 paths
	for layer := range layers {
		for i := range 2 {
			s := scheduler.Spec{Alias: name(layer, i), Service: once, Restart: scheduler.Transient}
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
	require.NoError(t, s.AwaitStarted(ctx))
	require.NoError(t, s.Restart(ctx, name(0, 0)))
	s.Services()
}

// Serve is called again after an end during the restart of a group.
func TestRegressionGroupAfterServeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail atomic.Bool
		fail.Store(true)
		s, err := scheduler.New(scheduler.Config{
			Groups: []scheduler.Group{{Name: "g", Strategy: scheduler.OneForAll}},
			Services: []scheduler.Spec{
				{Alias: "a", Service: idle, Group: "g"},
				{Alias: "b", Group: "g", After: []string{"a"}, Backoff: at(time.Hour), Service: scheduler.Func(func(ctx context.Context) error {
					if fail.Swap(false) {
						return errBroken
					}
					<-ctx.Done()
					return nil
				})},
			},
		})
		require.NoError(t, err)
		r := serveThis(t, s)
		r.end()
		r = serveThis(t, s)
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		a, b := r.status("a"), r.status("b")
		_, err = r.stop()
		require.NoError(t, err)
		require.Equal(t, scheduler.Started, a.State, a.Reason)
		require.Equal(t, scheduler.Started, b.State, b.Reason)
	})
}

// A member that completed, failed as temporary, or was halted by itself does not
// run again when another that gave up is started.
func TestRegressionStartOfCulpritLeavesWhatHadEnded(t *testing.T) {
	once := func(runs *atomic.Int32, err error) scheduler.Service {
		return scheduler.Func(func(context.Context) error { runs.Add(1); return err })
	}
	for name, spec := range map[string]func(runs *atomic.Int32) scheduler.Spec{
		"completed": func(runs *atomic.Int32) scheduler.Spec {
			return scheduler.Spec{Restart: scheduler.Transient, Service: once(runs, nil)}
		},
		"temporary": func(runs *atomic.Int32) scheduler.Spec {
			return scheduler.Spec{Restart: scheduler.Temporary, Service: once(runs, errBroken)}
		},
		"halted": func(runs *atomic.Int32) scheduler.Spec {
			return scheduler.Spec{HaltOnFailure: true, Service: once(runs, errBroken)}
		},
		"gave up": func(runs *atomic.Int32) scheduler.Spec {
			return scheduler.Spec{RetryLimit: 1, RetryWindow: 1, Backoff: at(0), Service: once(runs, nil), Restart: scheduler.Transient}
		},
	} {
		for _, how := range []string{"Start", "Recover"} {
			t.Run(name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var runs atomic.Int32
					fail := make(chan struct{})
					job := spec(&runs)
					job.Alias, job.Group, job.After = "job", "g", nil
					r := serve(t, grouped(scheduler.Group{Name: "g", Strategy: scheduler.RestForOne},
						scheduler.Spec{Alias: "a", Group: "g", RetryLimit: 1, RetryWindow: time.Minute, Backoff: at(0), Recover: how == "Recover",
							Service: scheduler.Func(func(ctx context.Context) error {
								select {
								case <-fail:
									return errBroken
								case <-ctx.Done():
									return nil
								}
							})},
						job,
					))
					before := runs.Load()
					st := r.status("job")
					for range 2 {
						fail <- struct{}{}
						synctest.Wait()
					}
					r.wantState("a", scheduler.Stopped, scheduler.GaveUp)
					if how == "Start" {
						require.NoError(t, r.Start(t.Context(), "a"))
					} else {
						time.Sleep(2 * time.Minute)
					}
					r.wantState("a", scheduler.Started, scheduler.NotEnded)
					got := runs.Load()
					r.end()
					require.Equal(t, before, got, "%v, and yet run again", st.End)
				})
			})
		}
	}
}

// Recover is due while the dependency is down.
func TestRegressionRecoverWhileDependencyIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		broken.Store(true)
		r := serve(t, services(
			scheduler.Spec{Alias: "a", Service: idle},
			scheduler.Spec{Alias: "b", After: []string{"a"}, Recover: true, RetryLimit: 1, RetryWindow: 10 * time.Second, Backoff: at(0),
				Service: scheduler.Func(func(ctx context.Context) error {
					if broken.Load() {
						return errBroken
					}
					<-ctx.Done()
					return nil
				})},
		))
		r.wantState("b", scheduler.Stopped, scheduler.GaveUp)
		broken.Store(false)
		time.Sleep(5 * time.Second)
		require.NoError(t, r.Stop(t.Context(), "a"))
		time.Sleep(10 * time.Second)
		require.NoError(t, r.Start(t.Context(), "a"))
		time.Sleep(24 * time.Hour)
		b := r.status("b")
		r.end()
		require.Equal(t, scheduler.Started, b.State, b.Reason)
	})
}

// The start of the scheduler is over though a one-shot is dead: hours later a
// failed start of something else does not end all.
func TestRegressionRollBackLongAfterTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		r := serve(t, services(
			scheduler.Spec{Alias: "job", Service: fails, StartTimeout: time.Second, Restart: scheduler.Temporary},
			scheduler.Spec{Alias: "x", StartTimeout: time.Second, RollBack: true, Service: scheduler.Func(func(ctx context.Context) error {
				if broken.Load() {
					return errBroken
				}
				scheduler.Ready(ctx)
				<-ctx.Done()
				return nil
			})},
			scheduler.Spec{Alias: "other", Service: idle},
		))
		r.wantState("x", scheduler.Started, scheduler.NotEnded)
		time.Sleep(10 * time.Hour)
		broken.Store(true)
		require.ErrorIs(t, r.Restart(t.Context(), "x"), scheduler.ErrEnded)
		synctest.Wait()
		select {
		case err := <-r.result:
			t.Errorf("ten hours after the start Serve ends with: %v", err)
		default:
			r.end()
		}
	})
}

// A temporary one-shot that failed does not keep a scheduler inside from being
// ready.
func TestRegressionNestedWithDeadIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, err := scheduler.New(services(
			scheduler.Spec{Alias: "job", Service: fails, StartTimeout: time.Second, Restart: scheduler.Temporary},
			scheduler.Spec{Alias: "s", Service: idle}))
		require.NoError(t, err)
		r := serve(t, services(scheduler.Spec{Alias: "in", Service: inner, StartTimeout: time.Minute, Backoff: at(time.Second)}))
		time.Sleep(time.Hour)
		r.wantState("in", scheduler.Started, scheduler.NotEnded)
		require.EqualValues(t, 1, r.status("in").Starts)
		r.end()
	})
}

// Start of the failing member of a group that waits for its backoff.
func TestRegressionStartCutsTheBackoffOfAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail atomic.Bool
		fail.Store(true)
		r := serve(t, scheduler.Config{
			Groups: []scheduler.Group{{Name: "g", Strategy: scheduler.OneForAll}},
			Services: []scheduler.Spec{
				{Alias: "a", Service: idle, Group: "g"},
				{Alias: "b", Group: "g", After: []string{"a"}, Backoff: at(time.Hour), Service: scheduler.Func(func(ctx context.Context) error {
					if fail.Swap(false) {
						return errBroken
					}
					<-ctx.Done()
					return nil
				})},
			},
		})
		begin := time.Now()
		ctx, cancel := within(24 * time.Hour)
		defer cancel()
		err := r.Start(ctx, "b")
		took := time.Since(begin)
		_, _ = r.stop()
		require.NoError(t, err)
		require.Zero(t, took, "one that waits for its backoff is started at once")
	})
}

// A significant pool whose last running worker goes by Resize has ended. Which
// worker completes is chance, so it is tried until it was the one that stays.
func TestRegressionSignificantPoolEndsByResize(t *testing.T) {
	for ended := false; !ended; {
		synctest.Test(t, func(t *testing.T) {
			first := make(chan struct{})
			r := serve(t, services(
				scheduler.Spec{
					Alias: "p", Pool: 2, Significant: true, Restart: scheduler.Transient,
					Factory: func() scheduler.Service {
						return scheduler.Func(func(ctx context.Context) error {
							select {
							case <-ctx.Done():
							case <-first:
							}
							return nil
						})
					},
				},
				scheduler.Spec{Alias: "other", Service: idle},
			))
			first <- struct{}{}
			synctest.Wait()
			require.NoError(t, r.Manager().Resize("p", 1))
			synctest.Wait()
			if p := r.status("p"); p.State != scheduler.Stopped {
				r.end() // worker 2 completed, and worker 1 goes on
				return
			}
			ended = true
			select {
			case err := <-r.result:
				require.NoError(t, err)
			default:
				r.end()
				t.Error("the significant pool has ended, and Serve goes on")
			}
		})
	}
}

// AllSignificant is the same whether Stop came before or after the other end.
func TestRegressionAllSignificantLastIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		go1 := make(chan struct{})
		c := services(
			scheduler.Spec{Alias: "a", Significant: true, Restart: scheduler.Transient, Service: scheduler.Func(func(ctx context.Context) error {
				select {
				case <-go1:
				case <-ctx.Done():
				}
				return nil
			})},
			scheduler.Spec{Alias: "b", Significant: true, Restart: scheduler.Transient, Service: idle},
			scheduler.Spec{Alias: "c", Service: idle},
		)
		c.AllSignificant = true
		r := serve(t, c)
		close(go1)
		r.wantState("a", scheduler.Stopped, scheduler.Completed)
		require.NoError(t, r.Stop(t.Context(), "b"))
		time.Sleep(time.Hour)
		select {
		case err := <-r.result:
			require.NoError(t, err)
		default:
			r.end()
			t.Error("all significant services have ended, and Serve goes on")
		}
	})
}

// Start of a service whose dependency has failed for good says so at once.
func TestRegressionStartAfterDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, services(
			scheduler.Spec{Alias: "a", StartTimeout: time.Second, Service: fails, Restart: scheduler.Temporary},
			scheduler.Spec{Alias: "b", After: []string{"a"}, Service: idle},
		))
		r.wantState("a", scheduler.Stopped, scheduler.Failed)
		ctx, cancel := within(24 * time.Hour)
		defer cancel()
		begin := time.Now()
		for verb, err := range map[string]error{"await": r.AwaitStarted(ctx, "b"), "start": r.Start(ctx, "b")} {
			require.ErrorIs(t, err, scheduler.ErrEnded, verb)
			require.ErrorContains(t, err, "/a", verb)
		}
		require.Zero(t, time.Since(begin))
		r.end()
	})
}

// One that its group has halted ended by the failure of the other.
func TestRegressionHaltedByGroupSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		r := serve(t, grouped(scheduler.Group{Name: "g", Strategy: scheduler.OneForAll},
			scheduler.Spec{Alias: "a", Group: "g", RetryLimit: 1, Backoff: at(0), Service: scheduler.Func(func(ctx context.Context) error {
				select {
				case <-ctx.Done():
					return nil
				case <-block:
					return errBroken
				}
			})},
			scheduler.Spec{Alias: "b", Group: "g", StartTimeout: time.Hour, Service: scheduler.Func(func(ctx context.Context) error {
				<-ctx.Done()
				return nil
			})},
		))
		require.NoError(t, r.Stop(t.Context(), "b"))
		go func() { time.Sleep(time.Second); close(block) }()
		ctx, cancel := within(24 * time.Hour)
		defer cancel()
		err := r.Start(ctx, "b")
		r.end()
		require.ErrorIs(t, err, scheduler.ErrEnded)
		require.NotContains(t, err.Error(), "<nil>")
	})
}
