package scheduler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// shelf is a StateStore that outlives schedulers, and an oracle: calls for one
// path may not overlap.
type shelf struct {
	t      *testing.T
	mu     sync.Mutex
	states map[string][]byte
	saved  []string // path=state, in their order
	loads  int
	busy   map[string]bool
	onSave saveHook
	onLoad loadHook
}

// What is called before a save or load is done.
type (
	saveHook func(ctx context.Context, path string, state []byte) error
	loadHook func(ctx context.Context, path string) error
)

func (s *shelf) hooks() (saveHook, loadHook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.onSave, s.onLoad
}

func (s *shelf) hook(onSave saveHook, onLoad loadHook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onSave, s.onLoad = onSave, onLoad
}

// pass lets time pass and everything be done that is due by then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func newShelf(t *testing.T) *shelf {
	return &shelf{t: t, states: make(map[string][]byte), busy: make(map[string]bool)}
}

func (s *shelf) enter(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[path] {
		s.t.Error("two calls at once for", path)
	}
	s.busy[path] = true
}

func (s *shelf) exit(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[path] = false
}

func (s *shelf) SaveState(ctx context.Context, path string, state []byte) error {
	s.enter(path)
	defer s.exit(path)
	var err error
	if onSave, _ := s.hooks(); onSave != nil {
		err = onSave(ctx, path, state)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.states[path] = bytes.Clone(state)
		s.saved = append(s.saved, path+"="+string(state))
	}
	return err
}

func (s *shelf) LoadState(ctx context.Context, path string) ([]byte, error) {
	s.enter(path)
	defer s.exit(path)
	var err error
	if _, onLoad := s.hooks(); onLoad != nil {
		err = onLoad(ctx, path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	return bytes.Clone(s.states[path]), err
}

func (s *shelf) loaded() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads
}

func (s *shelf) saves() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.saved
	s.saved = nil
	return out
}

// counting is a service with a number for its state. One without save or
// restore does the natural thing.
type counting struct {
	mu       sync.Mutex
	n        int
	restored []string // what was given back
	asked    int
	serve    func(ctx context.Context, c *counting) error
	save     func(ctx context.Context, c *counting) ([]byte, error)
	restore  func(ctx context.Context, state []byte) error
	t        *testing.T
	saving   bool
}

func (c *counting) Serve(ctx context.Context) error {
	if c.serve == nil {
		return idle(ctx)
	}
	return c.serve(ctx, c)
}

func (c *counting) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
}

func (c *counting) SaveState(ctx context.Context) ([]byte, error) {
	c.mu.Lock()
	c.asked++
	if c.saving && c.t != nil {
		c.t.Error("two SaveStates at once")
	}
	c.saving = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.saving = false
		c.mu.Unlock()
	}()
	if c.save != nil {
		return c.save(ctx, c)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return strconv.AppendInt(nil, int64(c.n), 10), nil
}

func (c *counting) RestoreState(ctx context.Context, state []byte) error {
	c.mu.Lock()
	c.restored = append(c.restored, string(state))
	c.mu.Unlock()
	if c.restore != nil {
		return c.restore(ctx, state)
	}
	n, err := strconv.Atoi(string(state))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n = n
	return err
}

func (c *counting) askedNow() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func (c *counting) givenBack() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restored
}

// kinds lists the kinds of the exceptions kept, oldest first.
func (r *rig) kinds(alias string) []string {
	synctest.Wait()
	kinds := []string{}
	for _, x := range r.status(alias).Exceptions {
		kinds = append(kinds, x.Kind.String())
	}
	return kinds
}

func (r *rig) lastException(alias string) scheduler.Exception {
	r.t.Helper()
	synctest.Wait()
	all := r.status(alias).Exceptions
	require.NotEmpty(r.t, all)
	return all[len(all)-1]
}

// Whatever ends a run, the next of the process is given the latest check-in,
// be it of a new instance or of the same, with a store or without.
func TestCheckInRestarts(t *testing.T) {
	ways := map[string]struct {
		end  func(ctx context.Context) error // of the first run, at 25 s
		do   func(s *rig) error              // instead
		want string                          // given back
	}{
		"error":   {end: func(context.Context) error { return errBroken }, want: "20"},
		"panic":   {end: func(context.Context) error { panic("boom") }, want: "20"},
		"goexit":  {end: func(context.Context) error { runtime.Goexit(); return nil }, want: "20"},
		"nil":     {end: func(context.Context) error { return nil }, want: "25"},
		"restart": {do: func(s *rig) error { return s.Restart(s.t.Context(), "a") }, want: "25"},
		"stop and start": {do: func(s *rig) error {
			return errors.Join(s.Stop(s.t.Context(), "a"), s.Start(s.t.Context(), "a"))
		}, want: "25"},
		"drain and start": {do: func(s *rig) error {
			return errors.Join(s.Manager().Drain(s.t.Context(), "a"), s.Start(s.t.Context(), "a"))
		}, want: "25"},
	}
	for name, way := range ways {
		for _, variant := range []string{"factory", "instance", "no store"} {
			t.Run(name+" "+variant, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					runs := 0
					var latest *counting
					serving := func(ctx context.Context, c *counting) error {
						runs++
						for i := range 10_000 {
							if runs == 1 && i == 25 && way.end != nil {
								return way.end(ctx)
							}
							c.add(1)
							select {
							case <-ctx.Done():
								return ctx.Err()
							case <-time.After(time.Second):
							}
						}
						return nil
					}
					spec := scheduler.Spec{Alias: "a", SaveEvery: 10*time.Second - 1, Backoff: at(time.Second)}
					latest = &counting{t: t, serve: serving}
					spec.Service = latest
					if variant == "factory" {
						spec.Service = nil
						spec.Factory = func() scheduler.Service {
							latest = &counting{t: t, serve: serving}
							return latest
						}
					}
					c := services(spec)
					if variant != "no store" {
						c.States = newShelf(t)
					}
					s := serve(t, c)
					pass(25*time.Second - 1)
					if way.do != nil {
						require.NoError(t, way.do(s))
					}
					pass(2 * time.Second)
					require.Equal(t, []string{way.want}, latest.givenBack())
					require.Equal(t, 2, runs)
					s.end()
				})
			})
		}
	}
}

// A new process goes on from the latest check-in: at an interval, as long as it
// could be asked, or else the final one.
func TestCheckInNewProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf(t)
		for n := range 5 {
			c := &counting{t: t}
			s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{Alias: "a", Service: c}}})
			if n > 0 {
				require.Equal(t, []string{strconv.Itoa(n)}, c.givenBack())
			} else {
				require.Empty(t, c.givenBack(), "there is nothing to be given back")
			}
			pass(time.Second)
			c.add(1)
			s.end()
			require.Equal(t, []string{fmt.Sprintf("os/scheduler/a=%d", n+1)}, store.saves())
		}
		require.Equal(t, 5, store.loaded())
		s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{Alias: "a", Service: &counting{t: t}}}})
		s.end()
		require.Empty(t, store.saves(), "the store has it")
	})
}

// Intervals are SaveEvery; what has not changed is not written again; a wrapped
// saver is found.
func TestCheckInIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf(t)
		var at []time.Duration
		begin := time.Now()
		c := &counting{t: t, save: func(_ context.Context, c *counting) ([]byte, error) {
			at = append(at, time.Since(begin))
			return strconv.AppendInt(nil, int64(len(at)/3), 10), nil
		}}
		s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{
			{Alias: "a", Service: wrapping{c}, SaveEvery: 10 * time.Second},
		}})
		pass(65 * time.Second)
		ten := 10 * time.Second
		require.Equal(t, []time.Duration{ten, 2 * ten, 3 * ten, 4 * ten, 5 * ten, 6 * ten}, at)
		require.Equal(t, []string{"os/scheduler/a=0", "os/scheduler/a=1", "os/scheduler/a=2"}, store.saves())
		took, err := s.stop()
		require.NoError(t, err)
		require.Zero(t, took)
		require.Len(t, at, 8, "before the stop and after it")
		require.Empty(t, store.saves())
		require.Empty(t, s.kinds("a"))
	})
}

type wrapping struct{ scheduler.Service }

func (w wrapping) Unwrap() scheduler.Service { return w.Service }

// The three occasions: while Serve runs, before its context ends, and after it
// has returned. A run that fails is not asked at its end.
func TestCheckInOccasions(t *testing.T) {
	for _, c := range []struct {
		name string
		end  error
		stop bool
		want []string
	}{
		{"stopped", nil, true, []string{"serving", "serving", "returned"}},
		{"stopped, says so", context.Canceled, true, []string{"serving", "serving", "returned"}},
		{"stopped, fails", errBroken, true, []string{"serving", "serving"}},
		{"completed", nil, false, []string{"serving", "returned"}},
		{"failed", errBroken, false, []string{"serving"}},
		{"failed, says it was stopped", context.Canceled, false, []string{"serving"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				state, ended := "serving", make(chan struct{})
				var got []string
				a := &counting{
					serve: func(ctx context.Context, _ *counting) error {
						select {
						case <-ctx.Done():
						case <-ended:
						}
						state = "returned"
						return c.end
					},
					save: func(ctx context.Context, _ *counting) ([]byte, error) {
						if ctx.Err() != nil {
							t.Error("asked with a context that has ended")
						}
						scheduler.Logger(ctx).Info("asked")
						got = append(got, state)
						return nil, nil
					},
				}
				s := serve(t, services(scheduler.Spec{Alias: "a", Service: a, Restart: scheduler.Temporary}))
				pass(scheduler.DefaultSaveEvery + time.Second)
				if c.stop {
					require.NoError(t, s.Stop(t.Context(), "a"))
				} else {
					close(ended)
				}
				synctest.Wait()
				require.Equal(t, c.want, got)
				s.end()
			})
		})
	}
}

// A run that is not Started is not asked, however it ends.
func TestCheckInNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		c := &counting{serve: func(ctx context.Context, _ *counting) error {
			select {
			case <-ctx.Done():
			case <-done:
			}
			return nil
		}}
		s := serve(t, services(scheduler.Spec{
			Alias: "a", Service: c, StartTimeout: time.Hour, SaveEvery: time.Second, Restart: scheduler.Transient,
		}))
		pass(time.Minute)
		require.NoError(t, s.Stop(t.Context(), "a"))
		go s.Start(t.Context(), "a")
		pass(time.Minute)
		close(done)
		s.wantState("a", scheduler.Stopped, scheduler.Completed)
		require.Zero(t, c.askedNow())
		s.end()
	})
}

// Nil leaves the check-in before as it is, an empty slice replaces it, and the
// service may use its buffers again.
func TestCheckInNilEmptyAndCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf(t)
		answers := [][]byte{[]byte("one"), nil, {}, nil, []byte("two")}
		buffer := make([]byte, 0, 10)
		c := &counting{
			save: func(_ context.Context, c *counting) ([]byte, error) {
				next := answers[min(c.askedNow(), len(answers))-1]
				if len(next) == 0 {
					return next, nil
				}
				buffer = append(buffer[:0], next...)
				return buffer, nil
			},
			restore: func(_ context.Context, state []byte) error {
				if state == nil {
					t.Error("nothing is given back")
				}
				clear(state)
				return nil
			},
		}
		s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{
			Alias: "a", Service: c, SaveEvery: time.Second, Restart: scheduler.Permanent,
		}}})
		pass(2500 * time.Millisecond)
		require.Equal(t, []string{"os/scheduler/a=one"}, store.saves())
		clear(buffer[:3])
		pass(time.Second)
		require.Equal(t, []string{"os/scheduler/a="}, store.saves())
		require.NotNil(t, store.states["os/scheduler/a"])
		require.NoError(t, s.Restart(t.Context(), "a")) // nil, then two
		require.Equal(t, []string{"os/scheduler/a=two"}, store.saves())
		require.Equal(t, []string{"two"}, c.givenBack())
		require.NoError(t, s.Restart(t.Context(), "a"))
		require.Equal(t, []string{"two", "two"}, c.givenBack(), "RestoreState got a copy")
		answers = append(answers[:5:5], nil, nil)
		c.mu.Lock()
		c.asked = 5
		c.mu.Unlock()
		require.NoError(t, s.Restart(t.Context(), "a")) // nil, and nil again
		require.Equal(t, []string{"two", "two", "two"}, c.givenBack())
		s.end()
		again := &counting{save: func(context.Context, *counting) ([]byte, error) { return []byte{}, nil }, restore: c.restore}
		s = serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{Alias: "a", Service: again}}})
		require.NoError(t, s.Restart(t.Context(), "a"))
		require.Equal(t, []string{"two", ""}, again.givenBack())
		s.end()
	})
}

// In memory too, nil leaves what was there.
func TestCheckInNilWithoutStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{t: t, save: func(_ context.Context, c *counting) ([]byte, error) {
			return [][]byte{[]byte("1"), nil}[min(c.askedNow(), 2)-1], nil
		}}
		s := serve(t, services(scheduler.Spec{Alias: "a", Service: c}))
		require.NoError(t, s.Restart(t.Context(), "a"))
		require.Equal(t, []string{"1"}, c.givenBack())
		s.end()
	})
}

// A wrapper that is a saver only now and then is asked only then.
func TestCheckInOfAChangingWrapper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{t: t, n: 3}
		w := &hiding{Service: c}
		s := serve(t, services(scheduler.Spec{Alias: "a", Service: w, SaveEvery: time.Second}))
		pass(1500 * time.Millisecond)
		w.hidden.Store(true)
		pass(5 * time.Second)
		require.Equal(t, 1, c.askedNow())
		w.hidden.Store(false)
		c.save = func(context.Context, *counting) ([]byte, error) { return nil, nil }
		require.NoError(t, s.Restart(t.Context(), "a"))
		require.Equal(t, []string{"3"}, c.givenBack())
		s.end()
	})
}

type hiding struct {
	scheduler.Service
	hidden atomic.Bool
}

func (h *hiding) Unwrap() scheduler.Service {
	if h.hidden.Load() {
		return idle
	}
	return h.Service
}

// A service may use one buffer for all that it says.
func TestCheckInCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf(t)
		buffer := []byte("0")
		c := &counting{t: t, save: func(context.Context, *counting) ([]byte, error) {
			buffer[0]++
			return buffer, nil
		}}
		s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{Alias: "a", Service: c, SaveEvery: time.Second}}})
		pass(3500 * time.Millisecond)
		require.Equal(t, []string{"os/scheduler/a=1", "os/scheduler/a=2", "os/scheduler/a=3"}, store.saves())
		s.end()
	})
}

// A SaveState that takes longer than SaveEvery is asked again at the next
// interval after it has returned.
func TestCheckInSlowerThanItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		c := &counting{t: t, save: func(context.Context, *counting) ([]byte, error) {
			at = append(at, time.Since(begin))
			time.Sleep(2500 * time.Millisecond)
			return nil, nil
		}}
		s := serve(t, services(scheduler.Spec{Alias: "a", Service: c, SaveEvery: time.Second}))
		pass(9900 * time.Millisecond)
		s.end()
		require.Equal(t, []time.Duration{time.Second, 4 * time.Second, 7 * time.Second}, at[:3])
	})
}

// What goes wrong in SaveState keeps the check-in before.
func TestCheckInFailures(t *testing.T) {
	for name, c := range map[string]struct {
		save func() ([]byte, error)
		want string
		is   error
	}{
		"error":  {func() ([]byte, error) { return []byte("bad"), errBroken }, "scheduler: save state: broken", errBroken},
		"panic":  {func() ([]byte, error) { panic(errBroken) }, "scheduler: save state: panic: broken", errBroken},
		"goexit": {func() ([]byte, error) { runtime.Goexit(); return nil, nil }, "scheduler: save state: " + scheduler.ErrGoexit.Error(), scheduler.ErrGoexit},
		"too large": {
			func() ([]byte, error) { return make([]byte, scheduler.MaxState+1), nil },
			"scheduler: save state: scheduler: state is too large: 1048577 bytes, at most 1048576", scheduler.ErrStateTooLarge,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newShelf(t)
				told, bad := 0, c.save
				a := &counting{save: func(_ context.Context, c *counting) ([]byte, error) {
					if c.askedNow() == 1 {
						return make([]byte, scheduler.MaxState), nil
					}
					return bad()
				}, restore: func(context.Context, []byte) error { return nil }}
				s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{
					Alias: "a", Service: a, SaveEvery: time.Second,
					Handlers: []scheduler.Handler{{Name: "h", Handle: func(context.Context, scheduler.Exception) error { told++; return nil }}},
				}}})
				pass(2500 * time.Millisecond)
				x := s.lastException("a")
				require.Equal(t, scheduler.SaveFailed, x.Kind)
				require.EqualValues(t, 1, x.Generation)
				require.EqualError(t, x.Err, c.want)
				require.ErrorIs(t, x.Err, c.is)
				if name == "panic" || name == "goexit" {
					require.Contains(t, x.Stack(), "TestCheckInFailures")
				}
				s.wantState("a", scheduler.Started, scheduler.NotEnded)
				require.Zero(t, s.status("a").Failures)
				require.NoError(t, s.Restart(t.Context(), "a"))
				require.Len(t, a.givenBack()[0], scheduler.MaxState, "the one before")
				require.Len(t, store.saves(), 1)
				require.Zero(t, told)
				s.end()
			})
		})
	}
}

// What the store did not take is written with the next check-in, though
// nothing has changed.
func TestCheckInStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf(t)
		store.hook(func(context.Context, string, []byte) error { return errBroken }, nil)
		c := &counting{}
		s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{Alias: "a", Service: c, SaveEvery: time.Second}}})
		pass(2500 * time.Millisecond)
		require.Equal(t, []string{"save", "save"}, s.kinds("a"))
		require.EqualError(t, s.lastException("a").Err, "scheduler: store state: broken")
		c.add(7)
		require.NoError(t, s.Restart(t.Context(), "a"))
		require.Equal(t, []string{"7"}, c.givenBack(), "from memory")
		require.Empty(t, store.saves())
		store.hook(nil, nil)
		pass(5 * time.Second)
		require.Equal(t, []string{"os/scheduler/a=7"}, store.saves(), "once")
		s.end()
		require.Empty(t, store.saves())
	})
}

// A SaveState that fails does not keep from the store what it has not taken
// before.
func TestCheckInStoresAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf(t)
		store.hook(func(context.Context, string, []byte) error { return errBroken }, nil)
		c := &counting{save: func(_ context.Context, c *counting) ([]byte, error) {
			if c.askedNow() > 1 {
				return nil, errBroken
			}
			return []byte("1"), nil
		}}
		s := serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{Alias: "a", Service: c, SaveEvery: time.Second}}})
		pass(1500 * time.Millisecond)
		store.hook(nil, nil)
		pass(time.Second)
		require.Equal(t, []string{"os/scheduler/a=1"}, store.saves())
		s.end()

		// But not once the time is over.
		store.hook(func(context.Context, string, []byte) error { return errBroken }, nil)
		c.asked, c.restored = 0, nil
		c.restore = func(context.Context, []byte) error { return nil }
		c.save = func(ctx context.Context, c *counting) ([]byte, error) {
			if c.askedNow() > 1 {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			return []byte("2"), nil
		}
		s = serve(t, scheduler.Config{States: store, Services: []scheduler.Spec{{Alias: "a", Service: c, SaveEvery: time.Second}}})
		pass(1500 * time.Millisecond)
		store.hook(func(context.Context, string, []byte) error { t.Error("called too late"); return nil }, nil)
		pass(5 * time.Second)
		s.cancel()
		require.NoError(t, <-s.result)
	})
}
