package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
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

// circular wraps itself.
type circular struct{ scheduler.Func }

func (c circular) Unwrap() scheduler.Service { return c }

// locked asks the manager in Unwrap, which would hang if a lock were held.
type locked struct {
	scheduler.Func
	directory func() *scheduler.Directory
}

func (l locked) Unwrap() scheduler.Service {
	for range l.directory().All() {
		break
	}
	return &store{idle}
}

type closer interface{ Close() }

type named struct {
	scheduler.Func
	name string
}

func (n *named) Close() {}

func TestFindType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asks := func(f func(ctx context.Context)) scheduler.Service {
			return scheduler.Func(func(ctx context.Context) error {
				f(ctx)
				return idle(ctx)
			})
		}
		var s *scheduler.Scheduler
		inner, err := scheduler.New(services(
			scheduler.Spec{Alias: "own", Service: wrapper{&named{idle, "own"}}},
			scheduler.Spec{Alias: "asks", After: []string{"own"}, Service: asks(func(ctx context.Context) {
				if n, err := scheduler.FindType[*named](ctx); err != nil || n.name != "own" {
					t.Error("the own directory answers first:", n, err)
				}
				if a, err := scheduler.FindType[answerer](ctx); err != nil || a.Answer() != 42 {
					t.Error("then the one around:", err)
				}
				_, err := scheduler.FindType[json.Marshaler](ctx)
				if want := "scheduler: unknown alias: no service is a json.Marshaler, as far as known: 1 have never run"; err == nil || err.Error() != want {
					t.Error(err)
				}
				d, ok := scheduler.DirectoryOf(ctx)
				if own, err := scheduler.LookupType[closer](d); !ok || err != nil || own.(*named).name != "own" {
					t.Error(own, err)
				}
			})},
		))
		require.NoError(t, err)
		s, err = scheduler.New(services(
			scheduler.Spec{Alias: "outer", Service: &named{idle, "outer"}},
			scheduler.Spec{Alias: "circular", Service: circular{idle}},
			scheduler.Spec{Alias: "locked", Service: locked{idle, func() *scheduler.Directory { return s.Directory() }}},
			scheduler.Spec{Alias: "secret", StartDelay: time.Hour, Factory: func() scheduler.Service { return idle }},
			scheduler.Spec{Alias: "inner", After: []string{"locked"}, Service: inner},
		))
		require.NoError(t, err)
		d := s.Directory()
		_, err = scheduler.LookupType[*named](d)
		require.ErrorIs(t, err, scheduler.ErrNotStarted)
		require.EqualError(t, err, "scheduler: not started: of type *scheduler_test.named: os/scheduler/outer")
		r := serveThis(t, s)

		_, err = scheduler.Lookup[answerer](d, "circular")
		require.ErrorIs(t, err, scheduler.ErrType)
		scheme, err := scheduler.LookupType[*scheduler.Scheduler](d)
		require.NoError(t, err)
		require.Same(t, inner, scheme)

		require.NoError(t, s.Add(scheduler.Spec{Alias: "pool", Pool: 3, Factory: func() scheduler.Service { return &named{idle, "pool"} }}))
		synctest.Wait()
		_, err = scheduler.LookupType[closer](d)
		require.ErrorIs(t, err, scheduler.ErrAmbiguous)
		ambiguous, ok := errors.AsType[*scheduler.AmbiguousError](err)
		require.True(t, ok)
		require.Equal(t, []string{"os/scheduler/outer", "os/scheduler/pool"}, ambiguous.Paths)
		require.EqualError(t, err, "scheduler: several services are of the type: scheduler_test.closer: os/scheduler/outer, os/scheduler/pool")

		var found []string
		for proxy, c := range scheduler.LookupAll[closer](d) {
			found = append(found, proxy.Alias()+" "+c.(*named).name)
		}
		require.Equal(t, []string{"outer outer", "pool pool"}, found)
		for range scheduler.LookupAll[closer](d) {
			break
		}

		require.NoError(t, s.Stop(t.Context(), "outer")) // the other one stood by
		one, err := scheduler.LookupType[closer](d)
		require.NoError(t, err)
		require.Equal(t, "pool", one.(*named).name)
		require.NoError(t, s.Stop(t.Context(), "pool"))
		_, err = scheduler.LookupType[closer](d)
		require.EqualError(t, err, "scheduler: not started: of type scheduler_test.closer: os/scheduler/outer, os/scheduler/pool",
			"what a factory made once is known")

		time.Sleep(2 * time.Hour)
		_, err = scheduler.LookupType[json.Marshaler](d)
		require.ErrorIs(t, err, scheduler.ErrUnknown)
		require.EqualError(t, err, "scheduler: unknown alias: no service is a json.Marshaler")
		_, err = scheduler.FindType[closer](t.Context())
		require.ErrorIs(t, err, scheduler.ErrNoDirectory)
		_, err = scheduler.Find[closer](t.Context(), "outer")
		require.ErrorIs(t, err, scheduler.ErrNoDirectory)
		_, ok = scheduler.DirectoryOf(t.Context())
		require.False(t, ok)
		_, err = r.stop()
		require.NoError(t, err)
	})
}

// Before Serve a service is not started, in whatever scheduler.
func TestLookupBeforeServe(t *testing.T) {
	s, err := scheduler.New(services(scheduler.Spec{Alias: "a", Factory: func() scheduler.Service { return idle }}))
	require.NoError(t, err)
	_, err = scheduler.LookupType[scheduler.Func](s.Directory())
	require.ErrorIs(t, err, scheduler.ErrUnknown)
	_, err = scheduler.Lookup[scheduler.Func](s.Directory(), "a")
	require.ErrorIs(t, err, scheduler.ErrNotStarted)
	for range scheduler.LookupAll[scheduler.Service](s.Directory()) {
		t.Error("nothing is started")
	}
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
	ambiguous := &scheduler.AmbiguousError{Paths: make([]string, 1000)}
	require.Contains(t, ambiguous.Error(), ", and 990 more")
	blocked := &scheduler.NotStartedError{Blocked: make([]scheduler.Blocked, 1000), Cause: errBroken}
	require.Contains(t, blocked.Error(), "; and 990 more")
	require.ErrorIs(t, blocked, scheduler.ErrNotStarted)
	require.ErrorIs(t, blocked, errBroken)
}
