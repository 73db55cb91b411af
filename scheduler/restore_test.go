package scheduler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// What can't be given back fails the run, which is tried again after its
// backoff; Serve is not called.
func TestRestoreFails(t *testing.T) {
	for name, c := range map[string]struct {
		load    func(context.Context, string) error
		restore func(context.Context, []byte) error
		want    string
		is      error
	}{
		"load error":    {load: func(context.Context, string) error { return errBroken }, want: "scheduler: load state: broken", is: errBroken},
		"load panic":    {load: func(context.Context, string) error { panic("boom") }, want: "scheduler: load state: panic: boom"},
		"load deaf":     {load: func(context.Context, string) error { time.Sleep(7 * time.Second); return nil }, want: "scheduler: load state: scheduler: save timeout of 5s", is: scheduler.ErrSaveTimeout},
		"restore error": {restore: func(context.Context, []byte) error { return errBroken }, want: "scheduler: restore state: broken", is: errBroken},
		"restore panic": {restore: func(context.Context, []byte) error { panic("boom") }, want: "scheduler: restore state: panic: boom"},
		"restore obedient": {restore: func(ctx context.Context, _ []byte) error { <-ctx.Done(); return context.Cause(ctx) },
			want: "scheduler: restore state: scheduler: save timeout of 5s", is: scheduler.ErrSaveTimeout},
		"restore deaf": {restore: func(context.Context, []byte) error { time.Sleep(7 * time.Second); return nil },
			want: "scheduler: restore state: scheduler: save timeout of 5s", is: scheduler.ErrSaveTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newShelf(t)
				store.states["os/scheduler/a"] = []byte("5")
				store.hook(nil, c.load)
				served, attempts := 0, 0
				a := &counting{serve: func(ctx context.Context, _ *counting) error { served++; return idle(ctx) }}
				if c.restore != nil {
					a.restore = func(ctx context.Context, state []byte) error {
						if attempts++; attempts > 1 {
							return nil
						}
						return c.restore(ctx, state)
					}
				}
				s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{Alias: "a", Service: a, Backoff: at(10 * time.Second)}}})
				pass(5500 * time.Millisecond)
				s.wantState("a", scheduler.BackingOff, scheduler.NotEnded)
				require.Zero(t, served)
				x := s.lastException("a")
				require.Equal(t, scheduler.RestoreFailed, x.Kind)
				require.EqualError(t, x.Err, c.want)
				if c.is != nil {
					require.ErrorIs(t, x.Err, c.is)
				} else {
					require.Contains(t, x.Stack(), "TestRestoreFails")
				}
				require.Equal(t, 10*time.Second, x.Delay)
				require.EqualValues(t, 1, s.status("a").Failures)
				store.hook(nil, nil)
				pass(20 * time.Second)
				s.wantState("a", scheduler.Started, scheduler.NotEnded)
				require.Equal(t, 1, served)
				require.Equal(t, "5", a.givenBack()[len(a.givenBack())-1])
				s.end()
			})
		})
	}
}

// A service that returns the failure of another's restore has failed by itself.
func TestRestoreFailureIsNotCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf(t)
		store.hook(nil, func(context.Context, string) error { return errBroken })
		s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{Alias: "a", Service: &counting{}, Backoff: at(time.Hour)}}})
		err := s.lastException("a").Err
		require.NoError(t, s.Add(scheduler.Spec{Alias: "b", Restart: scheduler.Temporary, Service: scheduler.Func(func(context.Context) error { return err })}))
		require.Equal(t, scheduler.Returned, s.lastException("b").Kind)
		s.end()
	})
}

// A deaf RestoreState is not called again before it has returned.
func TestRestoreDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf(t)
		store.states["os/scheduler/a"] = []byte("5")
		release := make(chan struct{})
		c := &counting{restore: func(context.Context, []byte) error { <-release; return nil }}
		s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{Alias: "a", Service: c, Backoff: at(time.Second)}}})
		pass(10 * time.Second)
		require.Len(t, c.givenBack(), 1)
		require.ErrorIs(t, s.lastException("a").Err, scheduler.ErrSaveBusy)
		require.Equal(t, "os/scheduler/a restore", s.Unstopped()[0].Path)
		close(release)
		pass(time.Second)
		s.wantState("a", scheduler.Started, scheduler.NotEnded)
		require.Len(t, c.givenBack(), 2)
		require.Empty(t, s.Unstopped())
		s.end()
	})
}

// The start timeout and a stop end what restores.
func TestRestoreInterrupted(t *testing.T) {
	for _, where := range []string{"load", "restore"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newShelf(t)
				store.states["os/scheduler/a"] = []byte("5")
				wait := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
				c := &counting{t: t, serve: func(context.Context, *counting) error { t.Error("served"); return nil }}
				if where == "load" {
					store.hook(nil, func(ctx context.Context, _ string) error { return wait(ctx) })
				} else {
					c.restore = func(ctx context.Context, _ []byte) error { return wait(ctx) }
				}
				s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{
					Alias: "a", Service: c, StartTimeout: time.Second, SaveTimeout: time.Hour, Backoff: at(time.Second),
				}}})
				pass(1500 * time.Millisecond)
				require.Equal(t, []string{"start timeout"}, s.kinds("a"))
				s.wantState("a", scheduler.BackingOff, scheduler.NotEnded)
				pass(time.Second)
				s.wantState("a", scheduler.Starting, scheduler.NotEnded)
				begin := time.Now()
				require.NoError(t, s.Stop(t.Context(), "a"))
				require.Zero(t, time.Since(begin))
				require.Equal(t, []string{"start timeout"}, s.kinds("a"), "a stop that was heard is no failure")
				s.end()
			})
		})
	}
}

// Each run of a schedule goes on from the one before.
func TestRestoreScheduled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf(t)
		c := &counting{t: t, serve: func(_ context.Context, c *counting) error { c.add(1); return nil }}
		spec := scheduler.Spec{Alias: "a", Schedule: &scheduler.Schedule{Every: time.Minute}, Factory: func() scheduler.Service {
			c.add(-c.n) // fresh
			return c
		}}
		s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{spec}})
		pass(2*time.Minute + time.Second)
		require.Equal(t, []string{"1", "2"}, c.givenBack())
		require.Equal(t, []string{"os/scheduler/a=1", "os/scheduler/a=2", "os/scheduler/a=3"}, store.saves())
		s.end()
	})
}

// The workers of a pool check in for themselves, and one that was resized away
// and is made again goes on from where it was.
func TestRestorePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf(t)
		var all []*counting
		spec := func() scheduler.Spec {
			return scheduler.Spec{Alias: "p", Pool: 3, SaveEvery: time.Second, Factory: func() scheduler.Service {
				store.mu.Lock()
				defer store.mu.Unlock()
				c := &counting{t: t}
				c.n = 100 * (len(all) + 1)
				all = append(all, c)
				return c
			}}
		}
		s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{spec()}})
		pass(1500 * time.Millisecond)
		require.Len(t, store.states, 3)
		require.NoError(t, s.Manager().Resize("p", 1))
		pass(time.Second)
		require.NoError(t, s.Manager().Resize("p", 3))
		pass(time.Second)
		require.Len(t, all, 5)
		require.ElementsMatch(t, []string{string(store.states["os/scheduler/p/2"]), string(store.states["os/scheduler/p/3"])},
			append(all[3].givenBack(), all[4].givenBack()...))
		s.end()
		require.Len(t, store.states, 3)

		all = nil
		s = serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{spec()}})
		given := make(map[string]bool)
		for _, c := range all {
			given[c.givenBack()[0]] = true
		}
		require.Equal(t, map[string]bool{"100": true, "200": true, "300": true}, given)
		s.end()
	})
}

// Remove forgets what is in memory, and leaves what the store has.
func TestRestoreAfterRemove(t *testing.T) {
	for _, stored := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			config := scheduler.Config{}
			if stored {
				config.States = newShelf(t)
			}
			s := serve(t, config)
			for n := range 3 {
				c := &counting{t: t}
				require.NoError(t, s.Manager().Add(scheduler.Spec{Alias: "a", Service: c}))
				synctest.Wait()
				if stored && n > 0 {
					require.Equal(t, []string{[]string{"", "1", "2"}[n]}, c.givenBack())
				} else {
					require.Empty(t, c.givenBack())
				}
				c.add(1)
				require.NoError(t, s.Remove(t.Context(), "a"))
			}
			s.end()
		})
	}
}

// A scheduler that is served again goes on from memory.
func TestRestoreServedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{t: t, n: 3}
		s := serve(t, services(scheduler.Spec{Alias: "a", Service: c}))
		s.end()
		c.add(10)
		s = serveThis(t, s.Scheduler)
		require.Equal(t, []string{"3"}, c.givenBack())
		s.end()
	})
}

// A scheduler inside another uses its own store, or else that around it, and
// is given the time that its services may take to check in.
func TestCheckInNested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &counting{t: t, n: 1, save: func(_ context.Context, c *counting) ([]byte, error) {
			if c.askedNow() == 1 {
				time.Sleep(39 * time.Second)
			}
			return []byte("1"), nil
		}}
		deepest, err := scheduler.New(services(scheduler.Spec{Alias: "a", Service: slow, SaveTimeout: 40 * time.Second}))
		require.NoError(t, err)
		inner, err := scheduler.New(services(scheduler.Spec{Alias: "deep", Service: deepest}))
		require.NoError(t, err)
		own, outer := newShelf(t), newShelf(t)
		apart, err := scheduler.New(scheduler.Config{States: own, Services: []scheduler.Spec{{Alias: "b", Service: &counting{t: t, n: 2}}}})
		require.NoError(t, err)
		s := serve(t, scheduler.Config{States: outer, Services: []scheduler.Spec{
			{Alias: "in", Service: inner}, {Alias: "apart", Service: apart},
		}})
		took, err := s.stop()
		require.NoError(t, err, "nothing was abandoned")
		require.Equal(t, 39*time.Second, took)
		require.Equal(t, []string{"os/scheduler/in/deep/a=1"}, outer.saves())
		require.Equal(t, []string{"os/scheduler/apart/b=2"}, own.saves())
	})
}
