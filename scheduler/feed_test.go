package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// Schedulers inside are seen while they are served, at any depth, and their
// paths tell.
func TestWatchNested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crash := make(chan struct{})
		nest := func(alias string, leaf scheduler.Service) func() scheduler.Service {
			return func() scheduler.Service {
				s, err := scheduler.New(services(scheduler.Spec{Alias: alias, Service: leaf}))
				require.NoError(t, err)
				return s
			}
		}
		fragile := scheduler.Func(func(ctx context.Context) error {
			select {
			case <-crash:
				panic("leaf")
			case <-ctx.Done():
				return nil
			}
		})
		middle := func() scheduler.Service {
			s, err := scheduler.New(services(
				scheduler.Spec{Alias: "inner", Factory: nest("leaf", fragile)},
				scheduler.Spec{Alias: "flat", Service: idle},
			))
			require.NoError(t, err)
			return s
		}
		s, err := scheduler.New(services(
			scheduler.Spec{Alias: "middle", Factory: middle, StartTimeout: time.Minute},
			scheduler.Spec{Alias: "top", Service: idle},
		))
		require.NoError(t, err)
		early := follow(t, s.Directory(), 0, nil)
		synctest.Wait()
		r := serveThis(t, s)
		small := follow(t, s.Directory(), 1, nil)
		synctest.Wait()
		require.Equal(t, []string{
			"reset", "present middle#1 started", "present top#1 started",
			"present middle/inner#1 started", "present middle/flat#1 started", "present middle/inner/leaf#1 started", "synced",
		}, small.texts())
		paths := []string{
			"os/scheduler/middle", "os/scheduler/middle/flat", "os/scheduler/middle/inner",
			"os/scheduler/middle/inner/leaf", "os/scheduler/top",
		}
		require.Equal(t, paths, slices.Sorted(maps.Keys(early.view)))
		for _, path := range paths {
			require.Equal(t, scheduler.Started, early.view[path].State, path)
		}
		early.texts()

		crash <- struct{}{}
		synctest.Wait()
		require.Equal(t, "failed middle/inner/leaf#1 panic panic: leaf", early.texts()[0])

		require.NoError(t, s.Stop(t.Context(), "middle"))
		synctest.Wait()
		for _, v := range []*viewer{early, small} {
			require.Equal(t, []string{"os/scheduler/middle", "os/scheduler/top"}, slices.Sorted(maps.Keys(v.view)))
		}
		require.Contains(t, early.texts(), "removed middle/flat#1 stopped")
		require.NoError(t, s.Start(t.Context(), "middle"))
		synctest.Wait()
		require.Equal(t, paths, slices.Sorted(maps.Keys(early.view)))
		require.True(t, slices.ContainsFunc(early.texts(), func(text string) bool {
			return strings.HasPrefix(text, "added middle/inner/leaf#")
		}))
		_, err = r.stop()
		require.NoError(t, err)
		early.stop(t)
		small.stop(t)
	})
}

// A scheduler inside that was abandoned leaves the view, though it still runs;
// the one that replaces it has the same paths.
func TestWatchAbandonedInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := serve(t, services(scheduler.Spec{Alias: "inner", StopTimeout: time.Second, Factory: func() scheduler.Service {
			inner, err := scheduler.New(services(
				scheduler.Spec{Alias: "deaf", Service: deaf(release), StopTimeout: time.Hour},
				scheduler.Spec{Alias: "deepest", Factory: func() scheduler.Service {
					s, err := scheduler.New(services(scheduler.Spec{Alias: "leaf", Service: deaf(release), StopTimeout: time.Hour}))
					require.NoError(t, err)
					return s
				}},
			))
			require.NoError(t, err)
			return inner
		}}))
		v := follow(t, s.Directory(), 0, nil)
		synctest.Wait()
		require.Len(t, v.view, 4)
		require.ErrorIs(t, s.Stop(t.Context(), "inner"), scheduler.ErrStopTimeout)
		synctest.Wait()
		require.Equal(t, []string{"os/scheduler/inner"}, slices.Sorted(maps.Keys(v.view)))
		require.Equal(t, scheduler.Abandoned, v.view["os/scheduler/inner"].End)
		late := follow(t, s.Directory(), 0, nil)
		synctest.Wait()
		require.Equal(t, []string{"reset", "present inner#1 stopped abandoned", "synced"}, late.texts())
		late.stop(t)

		require.NoError(t, s.Manager().Replace(t.Context(), "inner"))
		synctest.Wait()
		require.Len(t, v.view, 4)
		v.texts()
		close(release)
		synctest.Wait()
		for _, text := range v.texts() {
			require.NotContains(t, text, "removed", "of the new one, by the end of the old one")
		}
		require.Len(t, v.view, 4)
		v.stop(t)
		_, err := s.stop()
		require.NoError(t, err)
	})
}

// What an abandoned run still begins to serve is not shown.
func TestWatchServedTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		inner, err := scheduler.New(services(scheduler.Spec{Alias: "leaf", Service: idle}))
		require.NoError(t, err)
		s := serve(t, services(scheduler.Spec{Alias: "late", StopTimeout: time.Second, Service: scheduler.Func(func(ctx context.Context) error {
			<-release
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			return inner.Serve(ctx)
		})}))
		require.ErrorIs(t, s.Stop(t.Context(), "late"), scheduler.ErrStopTimeout)
		v := follow(t, s.Directory(), 0, nil)
		synctest.Wait()
		close(release)
		synctest.Wait()
		late := follow(t, s.Directory(), 0, nil)
		synctest.Wait()
		require.Equal(t, []string{"reset", "present late#1 stopped abandoned", "synced"}, late.texts())
		late.stop(t)
		require.Equal(t, []string{"os/scheduler/late"}, slices.Collect(maps.Keys(v.view)))
		time.Sleep(2 * time.Minute)
		v.stop(t)
		_, err = s.stop()
		require.NoError(t, err)
	})
}

// A watched scheduler that is served inside of another one gets other paths.
func TestWatchFollowsTheLineage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, err := scheduler.New(services(scheduler.Spec{Alias: "a", Service: idle}))
		require.NoError(t, err)
		v := follow(t, inner.Directory(), 0, nil)
		synctest.Wait()
		require.Equal(t, []string{"reset", "present a#0 idle", "synced"}, v.texts())
		proxy, err := inner.Directory().Proxy("a")
		require.NoError(t, err)
		require.Equal(t, "os/scheduler/a", proxy.Path())
		s := serve(t, services(scheduler.Spec{Alias: "inner", Service: inner}))
		require.Equal(t, []string{"os/scheduler/inner/a"}, slices.Collect(maps.Keys(v.view)))
		require.Equal(t, scheduler.Started, v.view["os/scheduler/inner/a"].State)
		require.Equal(t, "reset", v.texts()[0][:5])
		require.Equal(t, "os/scheduler/inner/a", proxy.String())
		v.stop(t)
		_, err = s.stop()
		require.NoError(t, err)
	})
}

// Whatever happens, and however slow the watcher is: once it has caught up its
// view is what the directory says.
func TestWatchIsRight(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { watchAtRandom(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func watchAtRandom(t *testing.T, random *rand.Rand) {
	flaky := func() scheduler.Service {
		return scheduler.Func(func(ctx context.Context) error {
			select {
			case <-time.After(time.Duration(1+rand.IntN(3000)) * time.Millisecond):
				return errBroken
			case <-ctx.Done():
				return nil
			}
		})
	}
	nested := func() scheduler.Service {
		s, err := scheduler.New(services(
			scheduler.Spec{Alias: "x", Factory: flaky, Backoff: at(time.Second)},
			scheduler.Spec{Alias: "y", Service: idle, After: []string{"x"}},
		))
		require.NoError(t, err)
		return s
	}
	s := serve(t, services(
		scheduler.Spec{Alias: "pool", Pool: 3, Factory: flaky, Backoff: at(time.Second)},
		scheduler.Spec{Alias: "nested", Factory: nested},
	))
	var watchers []*viewer
	for _, buffer := range []int{0, 1, 3, 20} {
		gate := make(chan struct{})
		watchers = append(watchers, follow(t, s.Directory(), buffer, gate))
	}
	for range 200 {
		alias := strconv.Itoa(random.IntN(4))
		switch random.IntN(8) {
		case 0:
			_ = s.Add(scheduler.Spec{Alias: alias, Factory: flaky, Backoff: at(time.Second)})
		case 1:
			_ = s.Remove(t.Context(), alias)
		case 2:
			_ = s.Restart(t.Context(), alias)
		case 3:
			_ = s.Stop(t.Context(), alias)
		case 4:
			require.NoError(t, s.Manager().Resize("pool", 1+random.IntN(6)))
		case 5:
			require.NoError(t, s.Restart(t.Context(), "nested"))
		default:
			time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
		}
		for _, v := range watchers {
			for range random.IntN(4) {
				select {
				case v.gate <- struct{}{}:
				default:
				}
			}
		}
	}
	_, err := s.stop()
	require.NoError(t, err)
	want := make(map[string]string)
	for status := range s.Directory().All() {
		want[status.Path] = fmt.Sprint(status.State, " ", status.Generation)
	}
	workers := s.status("pool").Workers
	delete(want, "os/scheduler/pool")
	for _, v := range watchers {
		close(v.gate)
		synctest.Wait()
		require.True(t, v.synced)
		got := make(map[string]string)
		pool := 0
		for path, event := range v.view {
			if event.Alias == "pool" {
				pool++
				require.Equal(t, scheduler.Stopped, event.State)
				continue
			}
			got[path] = fmt.Sprint(event.State, " ", event.Generation)
		}
		require.Equal(t, want, got)
		require.Equal(t, workers, pool)
		inOrder(t, v.events)
		v.stop(t)
	}
}

// inOrder checks that each change begins where the one before it ended.
func inOrder(t *testing.T, events []scheduler.Event) {
	t.Helper()
	last := make(map[string]scheduler.Event)
	for _, e := range events {
		before, known := last[e.Path]
		switch e.Kind {
		case scheduler.EventReset:
			clear(last)
			continue
		case scheduler.EventSynced:
			continue
		case scheduler.EventPresent, scheduler.EventAdded:
			require.False(t, known, "%v", e)
		case scheduler.EventChanged:
			require.True(t, known, "%v", e)
			require.Equal(t, before.State, e.From, "%v", e)
			require.GreaterOrEqual(t, e.Generation, before.Generation)
		case scheduler.EventFailed:
			require.True(t, known, "%v", e)
			require.Equal(t, before.State, e.State, "%v", e)
		case scheduler.EventRemoved:
			require.True(t, known, "%v", e)
			require.Equal(t, before.State, e.State, "%v", e)
			delete(last, e.Path)
			continue
		}
		last[e.Path] = e
	}
}

// Watchers come and go while schedulers inside come and go.
func TestWatchersComeAndGo(t *testing.T) {
	nested := func() scheduler.Service {
		s, err := scheduler.New(services(scheduler.Spec{Alias: "x", Service: fails, Backoff: at(0)}))
		if err != nil {
			panic(err)
		}
		return s
	}
	s, err := scheduler.New(services(scheduler.Spec{Alias: "nested", Factory: nested}, scheduler.Spec{Alias: "a", Service: fails, Backoff: at(0)}))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	require.NoError(t, s.AwaitStarted(ctx, "nested"))
	var watchers sync.WaitGroup
	for i := range 4 {
		watchers.Go(func() {
			for range 50 {
				n := 0
				for _, err := range s.Directory().Watch(ctx, 1+10*i) {
					if n++; err != nil || n > 100 {
						break
					}
				}
			}
		})
	}
	for range 50 {
		if err := s.Restart(ctx, "nested"); err != nil && !errors.Is(err, scheduler.ErrNotStarted) {
			t.Error(err)
		}
	}
	watchers.Wait()
	cancel()
	all.Wait()
}
