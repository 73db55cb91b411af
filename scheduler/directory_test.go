package scheduler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

type store struct{ scheduler.Func }

func (*store) Answer() int { return 42 }

type answerer interface{ Answer() int }

type wrapper struct{ inner scheduler.Service }

func (w wrapper) Serve(ctx context.Context) error { return w.inner.Serve(ctx) }
func (w wrapper) Unwrap() scheduler.Service       { return w.inner }

func TestFind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan func(ctx context.Context))
		s := serve(t, services(
			scheduler.Spec{Alias: "store", Service: &store{idle}},
			scheduler.Spec{Alias: "wrapped", Service: wrapper{wrapper{&store{idle}}}},
			scheduler.Spec{Alias: "pool", Pool: 3, Factory: func() scheduler.Service { return &store{idle} }},
			scheduler.Spec{Alias: "slow", Service: &store{idle}, StartTimeout: time.Hour},
			scheduler.Spec{Alias: "asks", Service: scheduler.Func(func(ctx context.Context) error {
				for {
					select {
					case f := <-gate:
						f(ctx)
					case <-ctx.Done():
						return nil
					}
				}
			})},
		))
		asked := make(chan struct{})
		gate <- func(ctx context.Context) {
			defer close(asked)
			for _, alias := range []string{"store", "wrapped", "pool"} {
				if found, err := scheduler.Find[*store](ctx, alias); err != nil || found.Answer() != 42 {
					t.Error(alias, err)
				}
				if found, err := scheduler.Find[answerer](scheduler.Work(ctx), alias); err != nil || found.Answer() != 42 {
					t.Error(alias, err)
				}
			}
		}
		<-asked
		d := s.Directory()
		_, err := scheduler.Lookup[answerer](d, "nobody")
		require.ErrorIs(t, err, scheduler.ErrUnknown)
		_, err = scheduler.Lookup[answerer](d, "slow")
		require.ErrorIs(t, err, scheduler.ErrNotStarted)
		require.ErrorContains(t, err, `"slow" is starting: has not said Ready`)
		_, err = scheduler.Lookup[answerer](d, "asks")
		require.ErrorIs(t, err, scheduler.ErrType)
		require.EqualError(t, err, `scheduler: service has another type: "asks" is a scheduler.Func, not a scheduler_test.answerer`)

		var aliases []string
		for status := range d.All() {
			aliases = append(aliases, status.Alias)
			if status.Alias == "slow" {
				break
			}
		}
		require.Equal(t, []string{"store", "wrapped", "pool", "slow"}, aliases)
		require.NoError(t, s.Stop(t.Context(), "store"))
		_, err = scheduler.Lookup[answerer](d, "store")
		require.ErrorIs(t, err, scheduler.ErrNotStarted)
		_, err = s.stop()
		require.NoError(t, err)
	})
}

// Snapshots are readable as JSON and as text.
func TestStatusText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, services(scheduler.Spec{Alias: "a", Service: scheduler.Func(func(context.Context) error { panic(1) }), Restart: scheduler.Temporary}))
		synctest.Wait()
		text, err := json.Marshal(s.status("a"))
		require.NoError(t, err)
		require.Contains(t, string(text), `"State":"stopped","End":"failed"`)
		require.Contains(t, string(text), `"Kind":"panic"`)
		_, err = s.stop()
		require.NoError(t, err)
	})
	require.Equal(t, "State(99) End(99) Kind(99) backing off gave up deaf transient", fmt.Sprint(
		scheduler.State(99), " ", scheduler.End(99), " ", scheduler.Kind(99), " ",
		scheduler.BackingOff, " ", scheduler.GaveUp, " ", scheduler.Deaf, " ", scheduler.Transient))
}

// Long reports are cut in their text, not in their data.
func TestReportsAreBounded(t *testing.T) {
	unstopped := &scheduler.UnstoppedError{Services: make([]scheduler.Unstopped, 1000)}
	require.Contains(t, unstopped.Error(), "1000 did not stop: ")
	require.Contains(t, unstopped.Error(), ", and 990 more")
	require.Less(t, len(unstopped.Error()), 1000)
	blocked := &scheduler.NotStartedError{Blocked: make([]scheduler.Blocked, 1000), Cause: errBroken}
	require.Contains(t, blocked.Error(), "; and 990 more")
	require.ErrorIs(t, blocked, scheduler.ErrNotStarted)
	require.ErrorIs(t, blocked, errBroken)
}
