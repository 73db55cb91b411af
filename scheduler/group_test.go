package scheduler_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// bubble runs each test of a table in virtual time, in order of their names.
func bubbles(t *testing.T, tests map[string]func(t *testing.T)) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, tests[name]) })
	}
}

var ( // groups of the tests
	one  = scheduler.Group{Name: "g", Strategy: scheduler.OneForOne}
	all  = scheduler.Group{Name: "g", Strategy: scheduler.OneForAll}
	rest = scheduler.Group{Name: "g", Strategy: scheduler.RestForOne}
)

// Who is restarted with the one that failed.
func TestGroupStrategies(t *testing.T) {
	for _, c := range []struct {
		group scheduler.Group
		want  map[string][]string // what stops beside the one that failed
	}{
		{one, map[string][]string{"a": nil, "b": nil, "c": nil}},
		{all, map[string][]string{"a": {"b", "c"}, "b": {"a", "c"}, "c": {"a", "b"}}},
		{rest, map[string][]string{"a": {"b", "c"}, "b": {"c"}, "c": nil}},
	} {
		for failing, along := range c.want {
			t.Run(c.group.Strategy.String()+" "+failing, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cast := newCast(t)
					s := serve(t, grouped(c.group, cast.spec("a", in("g")), cast.spec("b", in("g")), cast.spec("c", in("g")), cast.spec("out")))
					cast.wantAny("+a", "+b", "+c", "+out")
					for _, err := range []error{errBroken, nil} { // permanent: any end is one
						cast.end(failing, err)
						down, up := []string{"-" + failing}, []string{"+" + failing}
						for _, o := range along {
							down, up = append(down, "-"+o), append(up, "+"+o)
							s.wantState(o, scheduler.Idle, scheduler.EndedOnPurpose)
							require.Equal(t, "waits for its group g to restart", s.status(o).Reason)
						}
						cast.wantAny(down...)
						s.wantState(failing, scheduler.BackingOff, scheduler.NotEnded)
						time.Sleep(time.Second)
						cast.wantAny(up...)
					}
					require.EqualValues(t, 1, s.status(failing).Failures)
					require.EqualValues(t, 1, s.status("out").Starts)
					for _, o := range along {
						require.Zero(t, s.status(o).Failures)
					}
					s.closed()
				})
			})
		}
	}
}

func TestGroupOrder(t *testing.T) {
	bubbles(t, map[string]func(t *testing.T){
		// The others stop, dependants first and those outside too; all start
		// again after the backoff, in the order of their dependencies.
		"dependencies": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all,
				cast.spec("a", in("g"), takes(time.Second, time.Second)),
				cast.spec("b", in("g"), takes(time.Second, time.Second), after("a")),
				cast.spec("x", takes(time.Second, time.Second), after("b")),
				cast.spec("c", in("g"), backoff(10*time.Second)),
			))
			require.NoError(t, s.AwaitStarted(t.Context()))
			cast.want("+c", "+a", "+b", "+x")
			cast.fail("c")
			time.Sleep(9900 * time.Millisecond)
			cast.want("-c", "-x", "-b", "-a")
			for _, alias := range []string{"a", "b", "x"} {
				require.Equal(t, scheduler.Idle, s.status(alias).State)
			}
			require.Equal(t, "starts again in 100ms", s.status("c").Reason)
			time.Sleep(100 * time.Millisecond)
			cast.want("+c")
			require.NoError(t, s.AwaitStarted(t.Context()))
			cast.want("+a", "+b", "+x")
			s.closed()
		},
		// The one that failed comes after a member that is stopped: its
		// backoff still counts, and the member is held until it is over.
		"failing dependant": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all,
				cast.spec("a", in("g"), takes(0, time.Second)),
				cast.spec("b", in("g"), after("a"), backoff(10*time.Second)),
				cast.spec("c", in("g"), after("b"), takes(0, time.Second)),
				cast.spec("x", after("c")),
			))
			cast.want("+a", "+b", "+c", "+x")
			cast.fail("b")
			time.Sleep(9 * time.Second)
			cast.want("-b", "-x", "-c", "-a")
			s.wantState("b", scheduler.BackingOff, scheduler.NotEnded) // though what it comes after is held
			require.Equal(t, "starts again in 1s", s.status("b").Reason)
			s.wantState("a", scheduler.Idle, scheduler.EndedOnPurpose)
			require.Equal(t, "waits for its group g to restart", s.status("a").Reason)
			time.Sleep(time.Second)
			cast.want("+a", "+b", "+c", "+x")
			s.closed()
		},
		// The same, with members that have nothing to stop when they are held.
		"failing dependant of one that starts": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all,
				cast.spec("a", in("g")),
				cast.spec("b", in("g"), after("a"), backoff(10*time.Second)),
				cast.spec("c", in("g")),
				cast.spec("d", in("g"), spec(func(s *scheduler.Spec) { s.StartDelay = time.Minute })),
			))
			cast.wantAny("+a", "+b", "+c")
			cast.end("a", nil) // not yet up again when b fails
			cast.wantAny("-a", "-b", "-c")
			time.Sleep(time.Second)
			cast.wantAny("+a", "+b", "+c")
			cast.fail("b")
			time.Sleep(9900 * time.Millisecond)
			cast.wantAny("-b", "-a", "-c")
			time.Sleep(100 * time.Millisecond)
			cast.wantAny("+a", "+b", "+c")
			time.Sleep(time.Minute)
			cast.want("+d")
			s.closed()
		},
		// Those that take longer to stop than the backoff are waited for.
		"slow stop": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(rest, cast.spec("a", in("g")), cast.spec("b", in("g"), takes(0, 5*time.Second))))
			cast.wantAny("+a", "+b")
			cast.fail("a")
			time.Sleep(4900 * time.Millisecond)
			cast.want("-a")
			s.wantState("a", scheduler.Idle, scheduler.NotEnded)
			time.Sleep(100 * time.Millisecond)
			cast.wantAny("-b", "+a", "+b")
			s.closed()
		},
		// Without a backoff the group restarts as soon as all rest.
		"no backoff": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all,
				cast.spec("a", in("g"), takes(0, time.Second)),
				cast.spec("b", in("g"), after("a"), backoff(0)),
			))
			cast.want("+a", "+b")
			cast.fail("b")
			cast.want("-b")
			time.Sleep(time.Second)
			cast.want("-a", "+a", "+b")
			cast.fail("b")
			require.NoError(t, s.AwaitStarted(t.Context()))
			cast.want("-b", "-a", "+a", "+b")
			s.closed()
		},
		// In a chain with rest for one, the earliest that failed decides.
		"earlier one fails meanwhile": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(rest,
				cast.spec("a", in("g"), backoff(5*time.Second)),
				cast.spec("b", in("g"), backoff(time.Minute)),
				cast.spec("c", in("g"), takes(0, 2*time.Second)),
			))
			cast.wantAny("+a", "+b", "+c")
			cast.fail("b")
			time.Sleep(time.Second)
			cast.fail("a")
			time.Sleep(4900 * time.Millisecond)
			cast.want("-b", "-a", "-c")
			for _, alias := range []string{"b", "c"} {
				require.Equal(t, scheduler.Idle, s.status(alias).State)
			}
			time.Sleep(100 * time.Millisecond)
			cast.wantAny("+a", "+b", "+c")
			s.closed()
		},
	})
}

func TestGroupFailsWhileItRestarts(t *testing.T) {
	bubbles(t, map[string]func(t *testing.T){
		// One that is being stopped and fails at that adds nothing.
		"while it stops": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all,
				cast.spec("a", in("g")),
				scheduler.Spec{Alias: "b", Group: "g", Backoff: at(time.Hour), Service: scheduler.Func(func(ctx context.Context) error {
					<-ctx.Done()
					time.Sleep(time.Second / 2)
					return errBroken
				})},
			))
			cast.fail("a")
			time.Sleep(time.Second)
			s.wantState("a", scheduler.Started, scheduler.NotEnded)
			s.wantState("b", scheduler.Started, scheduler.NotEnded)
			require.EqualValues(t, 1, s.status("b").Failures, "it is told all the same")
			require.EqualValues(t, 2, s.status("b").Starts)
			s.closed()
		},
		// One that fails at its new start makes the group stop and try again.
		"while it starts": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all, cast.spec("a", in("g")),
				cast.spec("b", in("g"), after("a"), takes(time.Second, 0), starting(func(_ context.Context, run int) error {
					if run == 2 || run == 3 {
						return errBroken
					}
					return nil
				}))))
			time.Sleep(time.Second)
			cast.want("+a", "+b")
			cast.fail("a")
			time.Sleep(10 * time.Second)
			cast.want("-a", "-b", "+a", "-a", "+a", "-a", "+a", "+b")
			require.EqualValues(t, 2, s.status("b").Failures)
			s.closed()
		},
		// One whose start has timed out and that is being stopped for it, when
		// another fails.
		"while it is stopped for its start timeout": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all, cast.spec("a", in("g")), scheduler.Spec{
				Alias: "b", Group: "g", StartTimeout: time.Second, Backoff: at(time.Hour),
				Service: &alone{t: t, body: func(ctx context.Context, run int) error {
					if run > 1 {
						scheduler.Ready(ctx)
					}
					<-ctx.Done()
					time.Sleep(time.Second)
					return nil
				}},
			}))
			time.Sleep(1500 * time.Millisecond)
			s.wantState("b", scheduler.Stopping, scheduler.NotEnded)
			cast.fail("a")
			time.Sleep(time.Second)
			s.wantState("a", scheduler.Started, scheduler.NotEnded)
			s.wantState("b", scheduler.Started, scheduler.NotEnded)
			s.closed()
		},
		// A sibling that is deaf is abandoned, delays nobody, and follows once
		// it has ended, be that while the group is held or after.
		"deaf sibling": func(t *testing.T) {
			for _, ends := range []time.Duration{5 * time.Second, time.Minute} {
				cast := newCast(t)
				release := make(chan struct{})
				s := serve(t, grouped(all,
					cast.spec("a", in("g"), backoff(10*time.Second)),
					scheduler.Spec{Alias: "b", Group: "g", StopTimeout: time.Second, Service: &alone{t: t, body: func(ctx context.Context, run int) error {
						if run == 1 {
							return deaf(release)(ctx)
						}
						return idle(ctx)
					}}},
					cast.spec("c", after("b")),
				))
				cast.wantAny("+a", "+c")
				cast.fail("a")
				time.Sleep(2 * time.Second)
				s.wantState("b", scheduler.Stopped, scheduler.Abandoned)
				time.Sleep(ends - 2*time.Second)
				close(release)
				synctest.Wait()
				if ends < 10*time.Second {
					s.wantState("b", scheduler.Idle, scheduler.Abandoned)
				}
				time.Sleep(time.Minute)
				s.wantState("b", scheduler.Started, scheduler.NotEnded)
				cast.wantAny("-a", "-c", "+a", "+c")
				s.closed()
			}
		},
	})
}
