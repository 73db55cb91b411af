package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// Handlers run outside locks, off the manager, each with a timeout; one that
// panics or blocks harms nobody.
func TestGuarantee6Handlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		release := make(chan struct{})
		handler := func(name string, f func() error) scheduler.Handler {
			return scheduler.Handler{Name: name, Timeout: 3 * time.Second, Handle: func(_ context.Context, x scheduler.Exception) error {
				j.add(name + " " + x.Alias)
				return f()
			}}
		}
		ok := func() error { return nil }
		var s *rig
		other := scheduler.Handler{Name: "steers", Handle: func(ctx context.Context, x scheduler.Exception) error {
			j.add("steers " + x.Alias)
			return s.Stop(ctx, "bystander") // no lock is held
		}}
		s = serve(t, scheduler.Config{
			Services: []scheduler.Spec{
				{
					Alias: "a", Restart: scheduler.Temporary,
					Service: scheduler.Func(func(context.Context) error { time.Sleep(time.Second); return errBroken }),
					PreHook: handler("pre", ok),
					Handlers: []scheduler.Handler{
						handler("returns", func() error { return errBroken }),
						handler("panics", func() error { panic("no") }),
						handler("exits", func() error { runtime.Goexit(); return nil }),
						handler("blocks", func() error { <-release; return nil }),
						other,
					},
					PostHook: handler("post", ok),
				},
				{Alias: "bystander", Service: idle},
			},
			PreHook:  handler("os pre", ok),
			Handlers: []scheduler.Handler{handler("os", ok)},
			PostHook: handler("os post", ok),
		})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		s.wantState("a", scheduler.Stopped, scheduler.Failed)
		require.ElementsMatch(t, []string{
			"pre a", "returns a", "panics a", "exits a", "blocks a", "os pre a", "os a", "os post a",
		}, j.take())
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"steers a", "post a"}, j.take())
		s.wantState("bystander", scheduler.Stopped, scheduler.EndedOnPurpose)

		var texts []string
		for _, x := range s.status("a").Exceptions[1:] {
			require.Equal(t, scheduler.HandlerFailed, x.Kind)
			texts = append(texts, x.Err.Error())
		}
		require.Equal(t, []string{
			`scheduler: handler "returns": broken`,
			`scheduler: handler "panics": panic: no`,
			`scheduler: handler "exits": scheduler: service called runtime.Goexit`,
			`scheduler: handler "blocks": scheduler: handler timeout of 3s`,
		}, texts)

		// The blocked one is skipped, not piled up, and named at the end.
		require.NoError(t, s.Restart(t.Context(), "a"))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.NotContains(t, j.take(), "blocks a")
		x := s.status("a").Exceptions
		require.ErrorIs(t, x[len(x)-1].Err, scheduler.ErrHandlerBusy)
		_, err := s.stop()
		unstopped, isUnstopped := errors.AsType[*scheduler.UnstoppedError](err)
		require.True(t, isUnstopped)
		require.Len(t, unstopped.Services, 1)
		require.Equal(t, "os/scheduler/a handler blocks", unstopped.Services[0].Path)
		close(release)
		synctest.Wait()
		require.Empty(t, s.Unstopped())
	})
}

// A chain that is too slow loses failures, counted, and not memory; what waits
// at the end of Serve is bounded by one chain's time.
func TestHandlerQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		s := serve(t, scheduler.Config{HandlerQueue: 2, HandlerTimeout: 10 * time.Second, Services: []scheduler.Spec{{
			Alias: "a", Service: fails, Backoff: at(time.Second),
			Handlers: []scheduler.Handler{{Name: "slow", Handle: func(ctx context.Context, x scheduler.Exception) error {
				scheduler.Ready(ctx) // of no effect
				if scheduler.Work(ctx) != ctx {
					t.Error("a handler has no work of its own")
				}
				select {
				case <-time.After(8700 * time.Millisecond):
				case <-ctx.Done():
				}
				j.add(fmt.Sprint(x.Generation))
				return nil
			}}},
		}}})
		time.Sleep(19500 * time.Millisecond) // 20 failures; told of 1, 8 and 17
		require.EqualValues(t, 15, s.status("a").Dropped)
		require.Equal(t, []string{"1", "8"}, j.take())
		took, err := s.stop()
		require.NoError(t, err)
		require.Equal(t, 10100*time.Millisecond, took)
		require.Equal(t, []string{"17", "19"}, j.take(), "cut off; the last one is dropped")
	})
}
