package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

func unstoppedPaths(all []scheduler.Unstopped) (paths []string) {
	for _, u := range all {
		paths = append(paths, u.Path)
	}
	return paths
}

// A SaveState that is deaf to its timeout is named, not called again, and
// delays no stop any more; what it returns in the end is dropped.
func TestDeafSaver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf(t)
		release := make(chan struct{})
		c := &counting{t: t, save: func(_ context.Context, c *counting) ([]byte, error) {
			if n := c.askedNow(); n == 2 {
				<-release
				return []byte("late"), nil
			}
			return []byte("good"), nil
		}, restore: func(context.Context, []byte) error { return nil }}
		s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{
			Alias: "a", Service: c, SaveEvery: time.Second, SaveTimeout: 3 * time.Second,
		}}})
		pass(20500 * time.Millisecond)
		require.Equal(t, 2, c.askedNow())
		require.Equal(t, []string{"save"}, s.kinds("a"), "told once")
		require.EqualError(t, s.lastException("a").Err, "scheduler: save state: scheduler: save timeout of 3s")
		require.Equal(t, []string{"os/scheduler/a save"}, unstoppedPaths(s.Unstopped()))

		begin := time.Now()
		require.NoError(t, s.Restart(t.Context(), "a"))
		require.Zero(t, time.Since(begin))
		require.Equal(t, []string{"save", "save"}, s.kinds("a"))
		require.ErrorIs(t, s.lastException("a").Err, scheduler.ErrSaveBusy)
		require.Equal(t, []string{"good"}, c.givenBack())

		took, err := s.stop()
		require.Zero(t, took)
		require.ErrorContains(t, err, "os/scheduler/a save")
		require.Equal(t, 2, c.askedNow())
		close(release)
		synctest.Wait()
		require.Empty(t, s.Unstopped())
		require.Equal(t, []string{"os/scheduler/a=good"}, store.saves())
	})
}

// However slow or deaf SaveState and the store are, all check-ins of a stop
// take no longer than SaveTimeout, but for the grace of what is left behind.
func TestCheckInDelaysAStop(t *testing.T) {
	const second = time.Second
	slow := func(d time.Duration) func(context.Context, *counting) ([]byte, error) {
		return func(_ context.Context, c *counting) ([]byte, error) {
			time.Sleep(d)
			return strconv.AppendInt(nil, int64(c.askedNow()), 10), nil
		}
	}
	waits := func(ctx context.Context, _ *counting) ([]byte, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	for _, c := range []struct {
		name  string
		save  func(context.Context, *counting) ([]byte, error)
		store saveHook
		early time.Duration // before the stop an interval ends
		took  time.Duration
		asked int
		kinds []string
		saved []string
	}{
		{name: "quick", save: slow(0), asked: 2, saved: []string{"1", "2"}},
		{name: "slow", save: slow(2 * second), took: 4 * second, asked: 2, saved: []string{"1", "2"}},
		{name: "too slow for two", save: slow(3 * second), took: 5*second + 100*time.Millisecond, asked: 2, kinds: []string{"save"}, saved: []string{"1"}},
		{name: "waits", save: waits, took: 5 * second, asked: 1, kinds: []string{"save"}},
		{name: "deaf", save: slow(time.Hour), took: 5*second + 100*time.Millisecond, asked: 1, kinds: []string{"save"}},
		{name: "in the settle time", save: slow(5*second + 50*time.Millisecond), took: 5*second + 50*time.Millisecond, asked: 1, saved: []string{"1"}},
		{
			name: "slow store", save: slow(0), took: 4 * second, asked: 2, saved: []string{"1", "2"},
			store: func(context.Context, string, []byte) error { time.Sleep(2 * second); return nil },
		},
		{
			name: "store waits", save: slow(second), took: 5 * second, asked: 1, kinds: []string{"save"},
			store: func(ctx context.Context, _ string, _ []byte) error { <-ctx.Done(); return context.Cause(ctx) },
		},
		{
			name: "deaf store", save: slow(second), took: 5*second + 100*time.Millisecond, asked: 1, kinds: []string{"save"}, saved: []string{"1"},
			store: func(context.Context, string, []byte) error { time.Sleep(time.Hour); return nil },
		},
		{name: "while an interval goes on", save: slow(2 * second), early: second, took: 5 * second, asked: 3, saved: []string{"1", "2", "3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newShelf(t)
				store.hook(c.store, nil)
				a := &counting{t: t, save: c.save}
				s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{
					{Alias: "a", Service: a, StopTimeout: time.Millisecond},
				}})
				if c.early > 0 {
					pass(scheduler.DefaultSaveEvery + c.early)
				}
				begin := time.Now()
				require.NoError(t, s.Stop(t.Context(), "a"))
				require.Equal(t, c.took, time.Since(begin))
				require.Equal(t, c.asked, a.askedNow())
				require.Equal(t, append([]string{}, c.kinds...), s.kinds("a"))
				s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
				_, err := s.stop()
				if len(unstoppedPaths(s.Unstopped())) == 0 {
					require.NoError(t, err)
				}
				pass(2 * time.Hour)
				want := []string{}
				for _, state := range c.saved {
					want = append(want, "os/scheduler/a="+state)
				}
				require.Equal(t, want, append([]string{}, store.saves()...))
				require.Empty(t, s.Unstopped())
			})
		})
	}
}

// What a run says that has failed meanwhile does not count.
func TestCheckInOfAFailedRun(t *testing.T) {
	for name, save := range map[string]func(ctx context.Context) ([]byte, error){
		"deaf":     func(context.Context) ([]byte, error) { time.Sleep(5 * time.Second); return []byte("suspect"), nil },
		"obedient": func(ctx context.Context) ([]byte, error) { <-ctx.Done(); return []byte("suspect"), nil },
		"quick":    func(ctx context.Context) ([]byte, error) { <-ctx.Done(); return nil, context.Cause(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &counting{t: t, n: 3}
				c.serve = func(ctx context.Context, _ *counting) error {
					if len(c.givenBack()) > 0 {
						return idle(ctx)
					}
					time.Sleep(2500 * time.Millisecond)
					return errBroken
				}
				c.save = func(ctx context.Context, _ *counting) ([]byte, error) {
					if c.askedNow() == 2 {
						return save(ctx)
					}
					return []byte("3"), nil
				}
				s := serve(t, services(scheduler.Spec{Alias: "a", Service: c, SaveEvery: time.Second, Backoff: at(time.Second)}))
				pass(15 * time.Second)
				require.Equal(t, []string{"3"}, c.givenBack())
				require.Equal(t, []string{"error"}, s.kinds("a"))
				s.end()
			})
		})
	}
}

// An abandoned run says nothing any more, neither by a late check-in nor when
// it ends, though it has been replaced or not.
func TestCheckInGenerations(t *testing.T) {
	for _, replaced := range []bool{true, false} {
		t.Run(fmt.Sprint("replaced ", replaced), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newShelf(t)
				late, over := make(chan struct{}), make(chan struct{})
				var all []*counting
				s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{
					Alias: "a", SaveEvery: time.Minute, Factory: func() scheduler.Service {
						c := &counting{t: t}
						if len(all) == 0 {
							c.serve = func(context.Context, *counting) error { <-over; return nil }
							c.save = func(_ context.Context, c *counting) ([]byte, error) {
								if c.askedNow() == 1 {
									return []byte("1"), nil
								}
								<-late
								return []byte("666"), nil
							}
						}
						all = append(all, c)
						return c
					},
				}}})
				pass(time.Minute)
				require.ErrorIs(t, s.Stop(t.Context(), "a"), scheduler.ErrStopTimeout)
				if replaced {
					require.NoError(t, s.Manager().Replace(t.Context(), "a"))
					all[1].add(1)
					pass(time.Minute)
				}
				close(late)
				synctest.Wait()
				close(over)
				synctest.Wait()
				if !replaced {
					require.NoError(t, s.Start(t.Context(), "a"))
				}
				require.NoError(t, s.Restart(t.Context(), "a"))
				require.Equal(t, []string{"1"}, all[1].givenBack())
				want := map[bool]string{true: "2", false: "1"}[replaced]
				require.Equal(t, []string{want}, all[2].givenBack())
				s.end()
				require.Equal(t, want, string(store.states["os/scheduler/a"]))
				require.Equal(t, 2, all[0].askedNow())
			})
		})
	}
}

// The manager is not fooled by what a run says between its failure and its
// exit message, which may take as long as the Backoff function.
func TestCheckInBetweenFailureAndExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{t: t}
		c.serve = func(ctx context.Context, _ *counting) error {
			if len(c.givenBack()) > 0 {
				return idle(ctx)
			}
			time.Sleep(2500 * time.Millisecond)
			return errBroken
		}
		c.save = func(context.Context, *counting) ([]byte, error) {
			switch c.askedNow() {
			case 1:
				return []byte("3"), nil
			case 2:
				time.Sleep(time.Second)
				return []byte("suspect"), nil
			}
			return nil, nil
		}
		c.restore = func(context.Context, []byte) error { return nil }
		s := serve(t, services(scheduler.Spec{Alias: "a", Service: c, SaveEvery: time.Second, Backoff: func(int) time.Duration {
			time.Sleep(2 * time.Second)
			return 0
		}}))
		pass(5 * time.Second)
		require.Equal(t, []string{"3"}, c.givenBack())
		s.end()
	})
}

// Serve waits for a check-in before the stop of a run that failed meanwhile.
func TestServeWaitsForCheckIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{serve: func(context.Context, *counting) error { time.Sleep(5 * time.Second); return errBroken }}
		c.save = func(context.Context, *counting) ([]byte, error) {
			time.Sleep(2*time.Second + 50*time.Millisecond)
			return []byte("suspect"), nil
		}
		store := newShelf(t)
		s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{Alias: "a", Service: c}}})
		pass(3 * time.Second)
		took, err := s.stop()
		require.NoError(t, err)
		require.Equal(t, 2*time.Second+50*time.Millisecond, took)
		require.Empty(t, store.saves())
	})
}

// An abandoned run that ends is not asked, be its SaveState as good as it may.
func TestCheckInOfAnAbandonedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		c := &counting{t: t, n: 1, serve: func(ctx context.Context, c *counting) error {
			if len(c.givenBack()) > 0 {
				return idle(ctx)
			}
			<-over
			return nil
		}}
		s := serve(t, services(scheduler.Spec{Alias: "a", Service: c}))
		require.ErrorIs(t, s.Stop(t.Context(), "a"), scheduler.ErrStopTimeout)
		c.add(1)
		close(over)
		synctest.Wait()
		require.Equal(t, 1, c.askedNow(), "before the stop")
		require.NoError(t, s.Start(t.Context(), "a"))
		require.Equal(t, []string{"1"}, c.givenBack())
		s.end()
	})
}

// A run that was replaced before it had an instance leaves the desk alone.
func TestRestoreOfAReplacedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf(t)
		store.states["os/scheduler/a"] = []byte("7")
		slow := make(chan struct{})
		var all []*counting
		s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{
			Alias: "a", StopTimeout: time.Second, Factory: func() scheduler.Service {
				c := &counting{t: t}
				all = append(all, c)
				if len(all) == 1 {
					<-slow
					c.serve = func(context.Context, *counting) error { t.Error("served"); return nil }
				}
				return c
			},
		}}})
		require.ErrorIs(t, s.Stop(t.Context(), "a"), scheduler.ErrStopTimeout)
		require.NoError(t, s.Manager().Replace(t.Context(), "a"))
		close(slow)
		synctest.Wait()
		require.Empty(t, all[0].givenBack())
		require.Equal(t, []string{"7"}, all[1].givenBack())
		s.end()
	})
}

// An instance that is run again is not asked while its own call of a run before
// is out; one of a Factory is.
func TestDeafSaverAndInstances(t *testing.T) {
	for _, factory := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			c := &counting{save: func(context.Context, *counting) ([]byte, error) { <-release; return nil, nil }}
			spec := scheduler.Spec{Alias: "a", SaveEvery: time.Minute, Service: c}
			if factory {
				spec.Service, spec.Factory = nil, func() scheduler.Service { return c }
			}
			s := serve(t, services(spec))
			for range 3 {
				require.NoError(t, s.Restart(t.Context(), "a"))
			}
			require.Equal(t, map[bool]int{true: 3, false: 1}[factory], c.askedNow())
			close(release)
			synctest.Wait()
			s.end()
		})
	}
}

// A deaf store is left alone, for that path, until it has returned; then what
// came meanwhile is written. So the newest lies on top.
func TestDeafStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf(t)
		release := make(chan struct{})
		store.hook(func(_ context.Context, path string, _ []byte) error {
			if path == "os/scheduler/a" {
				<-release
			}
			return nil
		}, nil)
		fail := make(chan struct{})
		c, b := &counting{t: t, n: 1}, &counting{t: t, n: 1}
		c.serve = func(ctx context.Context, c *counting) error {
			select {
			case <-fail:
				return errBroken
			case <-ctx.Done():
				return nil
			}
		}
		spec := scheduler.Spec{Alias: "a", Service: c, SaveEvery: 10 * time.Second, Backoff: at(time.Second)}
		s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{spec, {Alias: "b", Service: b, SaveEvery: 10 * time.Second}}})
		pass(16 * time.Second)
		require.Equal(t, []string{"os/scheduler/a store"}, unstoppedPaths(s.Unstopped()))
		require.Equal(t, []string{"os/scheduler/b=1"}, store.saves())
		fail <- struct{}{}
		pass(2 * time.Second)
		require.Equal(t, []string{"1"}, c.givenBack(), "memory has it")
		c.add(1)
		pass(12 * time.Second)
		require.Equal(t, []string{"save", "error"}, s.kinds("a"), "told once")
		require.Empty(t, store.saves())
		close(release)
		pass(10 * time.Second)
		require.Equal(t, []string{"os/scheduler/a=1", "os/scheduler/a=2"}, store.saves())
		s.end()
	})
}

// Not even an alias that was removed and added again is overwritten late.
func TestDeafStoreAndRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf(t)
		release := make(chan struct{})
		store.hook(func(context.Context, string, []byte) error { <-release; return nil }, nil)
		s := serve(t, scheduler.Config{States: store})
		add := func(n int) *counting {
			c := &counting{t: t, n: n}
			require.NoError(t, s.Manager().Add(scheduler.Spec{Alias: "a", Service: c, Backoff: at(time.Second)}))
			synctest.Wait()
			return c
		}
		add(1)
		require.NoError(t, s.Remove(t.Context(), "a")) // leaves a write of 1 behind
		require.Equal(t, []string{"os/scheduler/a store"}, unstoppedPaths(s.Unstopped()))
		next := add(2)
		x := s.lastException("a")
		require.Equal(t, scheduler.RestoreFailed, x.Kind, "what will be stored is not known")
		require.ErrorIs(t, x.Err, scheduler.ErrSaveBusy)
		close(release)
		pass(time.Second)
		require.Equal(t, []string{"1"}, next.givenBack())
		next.add(10)
		require.NoError(t, s.Remove(t.Context(), "a"))
		require.Equal(t, []string{"os/scheduler/a=1", "os/scheduler/a=11"}, store.saves())
		s.end()
	})
}

// A load waits for the check-in that an earlier generation has under way, but
// not when the run is asked to stop.
func TestLoadWaitsForItsTurn(t *testing.T) {
	for _, stopped := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			store := newShelf(t)
			store.states["os/scheduler/a"] = []byte("7")
			var all []*counting
			s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{
				Alias: "a", SaveEvery: time.Minute, Backoff: at(50 * time.Millisecond), Factory: func() scheduler.Service {
					c := &counting{t: t}
					all = append(all, c)
					if len(all) > 1 {
						return restoring{c}
					}
					c.serve = func(context.Context, *counting) error { time.Sleep(time.Minute + time.Second); return errBroken }
					c.save = func(context.Context, *counting) ([]byte, error) { time.Sleep(4 * time.Second); return nil, nil }
					return saving{c}
				},
			}}})
			pass(time.Minute + time.Second + 75*time.Millisecond)
			s.wantState("a", scheduler.Starting, scheduler.NotEnded)
			require.Zero(t, store.loaded())
			if stopped {
				begin := time.Now()
				require.NoError(t, s.Stop(t.Context(), "a"))
				require.Zero(t, time.Since(begin))
				require.Equal(t, []string{"error"}, s.kinds("a"))
			} else {
				pass(50 * time.Millisecond)
				s.wantState("a", scheduler.Started, scheduler.NotEnded)
				require.Equal(t, []string{"7"}, all[1].givenBack())
			}
			pass(5 * time.Second)
			s.end()
		})
	}
}

// saving and restoring are each only half of a counting.
type saving struct{ c *counting }

func (s saving) Serve(ctx context.Context) error               { return s.c.Serve(ctx) }
func (s saving) SaveState(ctx context.Context) ([]byte, error) { return s.c.SaveState(ctx) }

type restoring struct{ c *counting }

func (r restoring) Serve(ctx context.Context) error { return r.c.Serve(ctx) }
func (r restoring) RestoreState(ctx context.Context, state []byte) error {
	return r.c.RestoreState(ctx, state)
}

// Whatever fails, is slow, is stopped, replaced or removed at whatever moment:
// what is given back never falls behind what was given back before, nor does
// what the store has, and no goroutine is left.
func TestCheckInRandom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) { checkInAtRandom(t, rand.New(rand.NewPCG(seed, 1))) })
}

func checkInAtRandom(t *testing.T, random *rand.Rand) {
	var mu sync.Mutex
	n := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	waitOr := func(ctx context.Context, d time.Duration) {
		if n(4) == 0 {
			time.Sleep(d)
			return
		}
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	store := newShelf(t)
	stored := 0
	store.hook(func(ctx context.Context, _ string, state []byte) error {
		waitOr(ctx, time.Duration(n(1500))*time.Millisecond)
		if n(5) == 0 {
			return errBroken
		}
		now, err := strconv.Atoi(string(state))
		if now < stored {
			t.Errorf("%d is stored over %d", now, stored)
		}
		stored = now
		return err
	}, func(ctx context.Context, _ string) error {
		waitOr(ctx, time.Duration(n(1500))*time.Millisecond)
		return []error{nil, nil, nil, errBroken}[n(4)]
	})
	latest, given := 0, 0
	spec := scheduler.Spec{
		Alias: "a", SaveEvery: 700 * time.Millisecond, SaveTimeout: time.Second, StopTimeout: time.Second, Backoff: at(100 * time.Millisecond),
		Factory: func() scheduler.Service {
			c := &counting{}
			c.serve = func(ctx context.Context, c *counting) error {
				for {
					c.add(1)
					switch n(60) {
					case 0:
						return errBroken
					case 1:
						return nil
					case 2:
						time.Sleep(time.Duration(n(8)) * time.Second)
					}
					select {
					case <-ctx.Done():
						return nil
					case <-time.After(100 * time.Millisecond):
					}
				}
			}
			c.save = func(ctx context.Context, c *counting) ([]byte, error) {
				c.mu.Lock()
				state := strconv.AppendInt(nil, int64(c.n), 10)
				c.mu.Unlock()
				waitOr(ctx, time.Duration(n(1500))*time.Millisecond)
				return state, []error{nil, nil, nil, errBroken}[n(4)]
			}
			c.restore = func(_ context.Context, state []byte) error {
				now, err := strconv.Atoi(string(state))
				mu.Lock()
				defer mu.Unlock()
				if now < given {
					t.Errorf("%d is given back after %d", now, given)
				}
				given = now
				c.add(now)
				latest++
				return err
			}
			return c
		},
	}
	for range 20 {
		s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{spec}})
		for range 15 {
			pass(time.Duration(n(3000)) * time.Millisecond)
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n(5000))*time.Millisecond)
			switch n(5) {
			case 0:
				s.Stop(ctx, "a")
			case 1:
				s.Start(ctx, "a")
			case 2:
				s.Restart(ctx, "a")
			case 3:
				s.Manager().Replace(ctx, "a")
			}
			cancel()
		}
		pass(10 * time.Second)
		if _, err := s.stop(); err != nil && !errors.Is(err, scheduler.ErrStopTimeout) {
			t.Error(err)
		}
		pass(20 * time.Second)     // for what was left behind
		given = min(given, stored) // a new process knows only what is stored
	}
	require.Greater(t, latest, 20)
	require.Greater(t, stored, 100)
}
