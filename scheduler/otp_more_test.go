package scheduler_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// Further situations under the names of OTP's cases, with puppets.

func TestOTPStartMore(t *testing.T) {
	ctx := context.Background()
	bubbles(t, map[string]func(t *testing.T){
		"sup_start_fail": func(t *testing.T) { // a supervisor that can't be made
			cast := newCast(t)
			s := serve(t, services(cast.spec("sibling")))
			require.NoError(t, s.Add(scheduler.Spec{Alias: "inner", StartTimeout: time.Second, Restart: scheduler.Temporary, Factory: func() scheduler.Service {
				inner, err := scheduler.New(scheduler.Config{RetryLimit: -1})
				if err != nil {
					panic(err)
				}
				return inner
			}}))
			synctest.Wait()
			err := s.Start(ctx, "inner")
			require.ErrorIs(t, err, scheduler.ErrEnded)
			require.ErrorIs(t, err, scheduler.ErrSpec, "the reason goes up")
			s.wantState("sibling", scheduler.Started, scheduler.NotEnded)
			s.closed()
		},
		"sup_start_child_returns_error_simple": func(t *testing.T) {
			s := serve(t, services(scheduler.Spec{Alias: "p", Pool: 3, Factory: func() scheduler.Service { return nil }, Restart: scheduler.Temporary, StartTimeout: time.Second}))
			require.ErrorContains(t, s.Start(ctx, "p"), "Factory returned nil")
			s.wantState("p", scheduler.Stopped, scheduler.Failed)
			s.closed()
		},
		// All workers of a pool find nothing to do, those that come later too.
		"sup_start_ignore_child_start_child_simple": func(t *testing.T) {
			for _, policy := range []scheduler.RestartPolicy{scheduler.Temporary, scheduler.Transient} {
				s := serve(t, services(scheduler.Spec{Alias: "p", Pool: 3, Factory: factory(declines), Restart: policy}))
				s.wantState("p", scheduler.Stopped, scheduler.Completed)
				require.NoError(t, s.Start(ctx, "p"))
				require.NoError(t, s.Manager().Resize("p", 5))
				s.wantState("p", scheduler.Stopped, scheduler.Completed)
				s.wantRuns("p", 8) // three, three again by Start, and two
				s.closed()
			}
		},
		"sup_start_restart_child_returns_error": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.spec("a", rollBack, starting(func(_ context.Context, run int) error {
				if run == 2 {
					return errBroken
				}
				return nil
			}))))
			require.NoError(t, s.Stop(ctx, "a"))
			require.ErrorIs(t, s.Restart(ctx, "a"), errBroken)
			s.wantState("a", scheduler.Stopped, scheduler.Failed)
			require.NoError(t, s.Restart(ctx, "a"), "it is kept")
			s.closed()
		},
		"sup_stop_infinity": func(t *testing.T) { // as the longest time.Duration
			release, free := gate(t)
			cast := newCast(t)
			s := serve(t, services(cast.spec("good", takes(0, time.Second)), scheduler.Spec{Alias: "a", Service: deaf(release), StopTimeout: math.MaxInt64}))
			never, end := gate(t)
			require.NoError(t, s.Add(scheduler.Spec{Alias: "b", Service: deaf(never), StopTimeout: time.Second}))
			synctest.Wait()
			time.AfterFunc(100*time.Hour, free)
			took, err := s.stop()
			require.Equal(t, 100*time.Hour, took)
			unstopped, ok := errors.AsType[*scheduler.UnstoppedError](err)
			require.True(t, ok, "%v", err)
			require.Len(t, unstopped.Services, 1)
			require.Equal(t, 100*time.Hour, unstopped.Services[0].For, "b was given up in its time")
			s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
			cast.want("+good", "-good")
			end()
		},
	})
}

// Each of three members fails in turn, by an error and by a return, without
// dependencies between them.
func TestOTPStrategyMore(t *testing.T) {
	for name, c := range map[string]struct {
		group scheduler.Group
		along map[string][]string
	}{
		"one_for_one":  {one, map[string][]string{"a": nil, "b": nil, "c": nil}},
		"one_for_all":  {all, map[string][]string{"a": {"b", "c"}, "b": {"a", "c"}, "c": {"a", "b"}}},
		"rest_for_one": {rest, map[string][]string{"a": {"b", "c"}, "b": {"c"}, "c": nil}},
	} {
		bubble(t, name, func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(c.group, cast.spec("a", in("g")), cast.spec("b", in("g")), cast.spec("c", in("g"))))
			cast.wantAny("+a", "+b", "+c")
			for failing, others := range c.along {
				for _, err := range []error{errBroken, nil} {
					cast.end(failing, err)
					want := []string{"-" + failing, "+" + failing}
					for _, o := range others {
						want = append(want, "-"+o, "+"+o)
					}
					time.Sleep(time.Second)
					cast.wantAny(want...)
				}
			}
			s.closed()
		})
	}
	// Another member fails twice as it starts again: what was started till then
	// is stopped, and all is tried again.
	for name, c := range map[string]struct {
		group  scheduler.Group
		others []string
	}{
		"one_for_all_other_child_fails_restart":  {all, []string{"b", "a"}},
		"rest_for_one_other_child_fails_restart": {rest, nil},
	} {
		bubble(t, name, func(t *testing.T) {
			cast := newCast(t)
			group := c.group
			group.RetryLimit = 10
			s := serve(t, grouped(group, cast.spec("a", in("g")), cast.spec("b", in("g"), after("a")),
				cast.spec("c", in("g"), after("b"), starting(func(_ context.Context, run int) error {
					if run == 2 || run == 3 {
						return errBroken
					}
					return nil
				})), cast.spec("d", in("g"), after("c"))))
			cast.want("+a", "+b", "+c", "+d")
			cast.fail("a")
			time.Sleep(time.Minute)
			want := []string{"-a", "-d", "-c", "-b", "+a", "+b"}
			for range 2 { // c fails
				for _, o := range c.others {
					want = append(want, "-"+o)
				}
				for i := range c.others {
					want = append(want, "+"+c.others[len(c.others)-1-i])
				}
			}
			cast.want(append(want, "+c", "+d")...)
			require.EqualValues(t, 2, s.status("c").Failures)
			s.closed()
		})
	}
}

// A name outlives the instances behind it: between them nobody is found.
func TestOTPTreeMore(t *testing.T) {
	bubble(t, "simple_global_supervisor", func(t *testing.T) {
		cast := newCast(t)
		inner, err := scheduler.New(services(cast.spec("leaf", significant, restart(scheduler.Temporary))))
		require.NoError(t, err)
		s := serve(t, services(scheduler.Spec{Alias: "inner", Service: inner, Backoff: at(time.Second)}))
		for range 3 {
			found, err := scheduler.Lookup[*scheduler.Scheduler](s.Directory(), "inner")
			require.NoError(t, err)
			require.Equal(t, "os/scheduler/inner", found.String())
			_, err = scheduler.Lookup[*puppet](found.Directory(), "leaf")
			require.NoError(t, err)
			cast.fail("leaf")
			_, err = scheduler.Lookup[*scheduler.Scheduler](s.Directory(), "inner")
			require.ErrorIs(t, err, scheduler.ErrNotStarted)
			time.Sleep(time.Second)
			synctest.Wait()
		}
		s.closed()
	})
}

// A member whose start hangs while its group restarts: all calls still work.
func TestOTPLoopMore(t *testing.T) {
	ctx := context.Background()
	for name, group := range map[string]scheduler.Group{"hanging_restart_loop": all, "hanging_restart_loop_rest_for_one": rest} {
		for then, f := range map[string]func(s *rig) error{
			"stop":   func(s *rig) error { return s.Stop(ctx, "a") },
			"remove": func(s *rig) error { return s.Remove(ctx, "b") },
			"end":    func(*rig) error { return nil },
		} {
			bubble(t, name+", "+then, func(t *testing.T) {
				cast := newCast(t)
				s := serve(t, grouped(group, cast.spec("a", in("g"), starting(func(ctx context.Context, run int) error {
					if run > 1 {
						<-ctx.Done()
					}
					return nil
				})), cast.spec("b", in("g"), after("a"))))
				cast.want("+a", "+b")
				cast.fail("a")
				time.Sleep(time.Second)
				s.hangs("a")
				s.wantState("b", scheduler.Idle, scheduler.EndedOnPurpose)
				require.Equal(t, "waits for a (starting)", s.status("b").Reason)
				require.NoError(t, s.Add(cast.spec("c")))
				s.wantState("c", scheduler.Started, scheduler.NotEnded)
				short, cancel := within(time.Second)
				defer cancel()
				require.ErrorIs(t, s.Start(short, "b"), scheduler.ErrNotStarted)
				require.NoError(t, f(s))
				s.ends(0)
			})
		}
	}
}
