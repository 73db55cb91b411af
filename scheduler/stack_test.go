package scheduler_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

func hangsHere(release <-chan struct{}) { <-release }

// stuckError is an error that hangs when it is asked what it is.
type stuckError struct{ release <-chan struct{} }

func (h stuckError) Error() string { return "hangs" }

func (h stuckError) Is(error) bool {
	hangsHere(h.release)
	return false
}

// A run that hangs after its Serve has returned is reported with its stack too.
func TestUnstoppedAfterServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := serve(t, services(scheduler.Spec{
			Alias: "a", StopTimeout: time.Second,
			Service: scheduler.Func(func(ctx context.Context) error {
				<-ctx.Done()
				return stuckError{release}
			}),
		}))
		took, err := s.stop()
		require.Equal(t, time.Second, took)
		unstopped, ok := errors.AsType[*scheduler.UnstoppedError](err)
		require.True(t, ok)
		require.Equal(t, "os/scheduler/a", unstopped.Services[0].Path)
		require.Contains(t, unstopped.Services[0].Stack, "hangsHere\n\t")
		close(release)
	})
}

// TestUnstoppedNamesTheStack: the report says where each of them hangs.
func TestUnstoppedNamesTheStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		inner, err := scheduler.New(services(scheduler.Spec{
			Alias: "deep", StopTimeout: time.Second,
			Service: scheduler.Func(func(context.Context) error {
				hangsHere(release)
				return nil
			}),
		}))
		require.NoError(t, err)
		s := serve(t, scheduler.Config{
			Services: []scheduler.Spec{
				{Alias: "inner", Service: inner},
				{Alias: "pool", Pool: 2, StopTimeout: time.Second, Factory: func() scheduler.Service { return deaf(release) }},
				{Alias: "fails", Service: fails, Restart: scheduler.Temporary, Handlers: []scheduler.Handler{{
					Name: "stuck", Timeout: time.Second,
					Handle: func(context.Context, scheduler.Exception) error {
						hangsHere(release)
						return nil
					},
				}}},
				{Alias: "well", Service: idle},
			},
		})
		synctest.Wait()
		_, err = s.stop()
		require.ErrorIs(t, err, scheduler.ErrStopTimeout)
		var unstopped *scheduler.UnstoppedError
		require.ErrorAs(t, err, &unstopped)
		want := []string{
			"os/scheduler/fails handler stuck", "os/scheduler/inner/deep", "os/scheduler/pool/1", "os/scheduler/pool/2",
		}
		require.Len(t, unstopped.Services, len(want))
		for i, u := range unstopped.Services {
			require.Equal(t, want[i], u.Path)
			require.Contains(t, u.Stack, "scheduler_test.", u.Path)
			require.True(t, strings.HasPrefix(u.Stack, "[chan receive"), u.Stack)
			require.NotContains(t, u.Stack, "scheduler.(*", "the frames of the supervisor are left out")
			require.LessOrEqual(t, strings.Count(u.Stack, "\n\t"), 32)
		}
		require.Contains(t, unstopped.Services[0].Stack, "hangsHere\n\t")
		require.Contains(t, unstopped.Services[1].Stack, "hangsHere\n\t")
		close(release)
		synctest.Wait()
		require.Empty(t, s.Unstopped())
	})
}
