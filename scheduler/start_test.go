package scheduler_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// extender is a service whose start asks for more time as it goes on: at each
// step it waits, and then asks.
type extender struct {
	steps []extension
	t     *testing.T
}

type extension struct {
	after, ask time.Duration
	want       error // nil: granted
	text       string
}

func (x *extender) Serve(ctx context.Context) error {
	for i, step := range x.steps {
		select {
		case <-time.After(step.after):
		case <-ctx.Done():
			return nil
		}
		err := scheduler.Extend(ctx, step.ask, "step "+string(rune('1'+i)))
		if !errors.Is(err, step.want) || err != nil && err.Error() != step.text {
			x.t.Errorf("step %d: %v", i+1, err)
		}
	}
	<-ctx.Done()
	return nil
}

// A start can be lengthened, again and again, up to its limit.
func TestExtend(t *testing.T) {
	const second = time.Second
	for name, c := range map[string]struct {
		limit time.Duration
		steps []extension
		ends  time.Duration // when the start times out
		doing string
	}{
		"not at all":         {ends: 10 * second, doing: "has not said Ready"},
		"once":               {steps: []extension{{after: 9 * second, ask: 5 * second}}, ends: 14 * second, doing: "has not said Ready: step 1"},
		"only lengthens":     {steps: []extension{{after: second, ask: second}}, ends: 10 * second, doing: "has not said Ready: step 1"},
		"negative":           {steps: []extension{{after: second, ask: -time.Hour}}, ends: 10 * second, doing: "has not said Ready: step 1"},
		"must be repeated":   {steps: []extension{{9 * second, 9 * second, nil, ""}, {8 * second, 9 * second, nil, ""}, {10 * second, second, nil, ""}}, ends: 26 * second, doing: "has not said Ready: step 2"},
		"default limit":      {steps: []extension{{second, 99 * second, nil, ""}, {98 * second, 2 * second, scheduler.ErrStartLimit, "scheduler: start limit of 1m40s: 1s left"}}, ends: 100 * second, doing: "has not said Ready: step 2"},
		"limit":              {limit: 15 * second, steps: []extension{{9 * second, time.Hour, scheduler.ErrStartLimit, "scheduler: start limit of 15s: 6s left"}}, ends: 15 * second, doing: "has not said Ready: step 1"},
		"limit is reached":   {limit: 15 * second, steps: []extension{{9 * second, 6 * second, nil, ""}, {5 * second, 2 * second, scheduler.ErrStartLimit, "scheduler: start limit of 15s: 1s left"}}, ends: 15 * second, doing: "has not said Ready: step 2"},
		"limit is the start": {limit: 10 * second, steps: []extension{{9 * second, 2 * second, scheduler.ErrStartLimit, "scheduler: start limit of 10s: 1s left"}}, ends: 10 * second, doing: "has not said Ready: step 1"},
		"for ever":           {limit: math.MaxInt64, steps: []extension{{after: second, ask: math.MaxInt64}, {after: 1000 * time.Hour, ask: 0}}, ends: math.MaxInt64, doing: "has not said Ready: step 2"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, services(scheduler.Spec{
					Alias: "a", StartTimeout: 10 * second, StartLimit: c.limit, Restart: scheduler.Temporary,
					Service: &extender{steps: c.steps, t: t},
				}))
				ctx, cancel := within(min(c.ends, 2000*time.Hour) - time.Millisecond)
				err := s.AwaitStarted(ctx)
				cancel()
				blocked, ok := errors.AsType[*scheduler.NotStartedError](err)
				require.True(t, ok, "%v", err)
				require.Equal(t, c.doing, blocked.Blocked[0].Reason)
				require.Equal(t, scheduler.Starting, blocked.Blocked[0].State)
				if c.ends < math.MaxInt64 {
					time.Sleep(time.Millisecond)
					s.wantState("a", scheduler.Stopped, scheduler.Failed)
					require.EqualError(t, s.status("a").Err,
						"scheduler: start timeout of "+c.ends.String()+": 1 not started: os/scheduler/a starting: "+c.doing)
				}
				s.closed()
			})
		})
	}
}

func TestExtendFromElsewhere(t *testing.T) {
	bubbles(t, map[string]func(t *testing.T){
		// Another goroutine of the service asks, with a context of its own.
		"another goroutine": func(t *testing.T) {
			s := serve(t, services(scheduler.Spec{Alias: "a", StartTimeout: 2 * time.Second, Service: scheduler.Func(func(ctx context.Context) error {
				var helper sync.WaitGroup
				helper.Go(func() {
					for range 10 {
						time.Sleep(time.Second)
						if err := scheduler.Extend(scheduler.Work(ctx), 2*time.Second, "loads"); err != nil {
							t.Error(err)
						}
					}
					scheduler.Ready(ctx)
				})
				helper.Wait()
				return idle(ctx)
			})}))
			time.Sleep(5500 * time.Millisecond)
			require.Equal(t, "has not said Ready: loads", s.status("a").Reason)
			time.Sleep(5 * time.Second)
			s.wantState("a", scheduler.Started, scheduler.NotEnded)
			s.closed()
		},
		"after Ready, while it stops, without a start timeout": func(t *testing.T) {
			refused := func(ctx context.Context) {
				t.Helper()
				if err := scheduler.Extend(ctx, time.Hour, "no"); err != scheduler.ErrNotStarting {
					t.Error(err)
				}
			}
			var late context.Context
			s := serve(t, services(
				scheduler.Spec{Alias: "ready", StartTimeout: time.Second, Service: scheduler.Func(func(ctx context.Context) error {
					late = ctx
					scheduler.Ready(ctx)
					refused(ctx)
					<-ctx.Done()
					refused(ctx)
					return nil
				})},
				scheduler.Spec{Alias: "starts", StartTimeout: time.Second, Restart: scheduler.Temporary, Service: scheduler.Func(func(ctx context.Context) error {
					<-ctx.Done()
					refused(ctx)
					return nil
				})},
				scheduler.Spec{Alias: "plain", Restart: scheduler.Temporary, Service: scheduler.Func(func(ctx context.Context) error {
					refused(ctx)
					return errBroken
				}), PostHook: scheduler.Handler{Name: "h", Handle: func(ctx context.Context, _ scheduler.Exception) error {
					refused(ctx)
					return nil
				}}},
			))
			time.Sleep(2 * time.Second)
			s.wantState("starts", scheduler.Stopped, scheduler.Failed)
			s.closed()
			refused(late)
			refused(t.Context())
		},
		// In a pool each worker has its own time, and says itself what it does.
		"pool": func(t *testing.T) {
			s := serve(t, services(scheduler.Spec{Alias: "p", Pool: 2, StartTimeout: time.Second, Restart: scheduler.Temporary, Factory: func() scheduler.Service {
				return scheduler.Func(func(ctx context.Context) error {
					if err := scheduler.Extend(ctx, 5*time.Second, "warms up"); err != nil {
						t.Error(err)
					}
					return idle(ctx)
				})
			}}))
			time.Sleep(4 * time.Second)
			s.wantState("p", scheduler.Starting, scheduler.NotEnded)
			time.Sleep(time.Second)
			s.wantState("p", scheduler.Stopped, scheduler.Failed)
			require.Regexp(t, "^scheduler: start timeout of 5s: 1 not started: os/scheduler/p/[12] starting: has not said Ready: warms up$",
				s.status("p").Exceptions[0].Err.Error())
			s.closed()
		},
		// A scheduler inside one that starts slowly: the report shows the leaf.
		"nested": func(t *testing.T) {
			inner, err := scheduler.New(services(scheduler.Spec{
				Alias: "leaf", StartTimeout: time.Minute, Service: &extender{t: t, steps: []extension{{after: time.Second, ask: time.Second}}},
			}))
			require.NoError(t, err)
			s := serve(t, services(scheduler.Spec{Alias: "inner", Service: inner, StartTimeout: 5 * time.Second, Restart: scheduler.Temporary}))
			time.Sleep(6 * time.Second)
			s.wantState("inner", scheduler.Stopped, scheduler.Failed)
			require.ErrorContains(t, s.status("inner").Err, "os/scheduler/inner/leaf starting: has not said Ready: step 1")
			s.closed()
		},
	})
}

func rollBack(s *scheduler.Spec, _ *puppet) { s.RollBack = true }

func TestRollBack(t *testing.T) {
	ctx := context.Background()
	broken := func(runs ...int) func(*scheduler.Spec, *puppet) {
		return starting(func(_ context.Context, run int) error {
			if slices.Contains(runs, run) {
				return errBroken
			}
			return nil
		})
	}
	slow := takes(time.Second, time.Second)
	bubbles(t, map[string]func(t *testing.T){
		// During the start of the scheduler: what was started is stopped,
		// dependants first, and what was not is not.
		"during the start": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(
				cast.spec("a", slow), cast.spec("b", slow, after("a")),
				cast.spec("c", takes(5*time.Second, 0), after("b"), rollBack, broken(1)), cast.spec("d", after("c")),
			))
			begin := time.Now()
			err := <-s.result
			require.EqualError(t, err, "scheduler: os/scheduler/c ended the scheduler: broken")
			require.Equal(t, 9*time.Second, time.Since(begin))
			cast.want("+a", "+b", "-b", "-a")
			s.wantState("c", scheduler.Stopped, scheduler.Failed)
			require.Zero(t, s.status("d").Starts)
		},
		"start timeout": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.spec("a"), cast.spec("b", after("a"), takes(time.Minute, 0), rollBack,
				spec(func(s *scheduler.Spec) { s.StartTimeout = time.Second }))))
			require.ErrorIs(t, <-s.result, scheduler.ErrStartTimeout)
			cast.want("+a", "-a")
			s.wantState("b", scheduler.Stopped, scheduler.Failed)
		},
		// Later it is the start of the service alone that is undone.
		"later": func(t *testing.T) {
			for name, add := range map[string]func(*puppet, *scheduler.Spec){
				"error":   func(*puppet, *scheduler.Spec) {},
				"timeout": func(p *puppet, s *scheduler.Spec) { p.boot, s.StartTimeout = time.Hour, time.Second },
			} {
				cast := newCast(t)
				s := serve(t, services(cast.spec("a")))
				require.NoError(t, s.AwaitStarted(ctx))
				c := cast.spec("c", after("a"), rollBack, broken(1))
				add(cast.puppets["c"], &c)
				require.NoError(t, s.Add(c))
				require.NoError(t, s.Add(cast.spec("d", after("c"))))
				time.Sleep(2 * time.Second)
				s.wantState("c", scheduler.Stopped, scheduler.Failed)
				s.wantState("d", scheduler.Idle, scheduler.NotEnded)
				s.wantState("a", scheduler.Started, scheduler.NotEnded)
				require.EqualValues(t, 1, s.status("c").Failures, name)
				err := s.Start(ctx, "c")
				if name == "error" {
					require.NoError(t, err, "the next start goes well")
					cast.want("+a", "+c", "+d")
					require.NoError(t, s.Stop(ctx, "c"))
					cast.puppets["c"].start = func(context.Context, int) error { return errBroken }
					require.ErrorIs(t, s.Start(ctx, "c"), errBroken)
					err = s.Restart(ctx, "c")
					require.ErrorIs(t, err, scheduler.ErrEnded)
					require.EqualError(t, err, `scheduler: restart "c": failed: broken`)
					s.wantState("d", scheduler.Idle, scheduler.EndedOnPurpose)
				} else {
					require.ErrorIs(t, err, scheduler.ErrEnded)
					require.ErrorIs(t, err, scheduler.ErrStartTimeout)
				}
				s.closed()
			}
		},
		// A service that was ready is tried again, as it is without RollBack.
		"after a good run": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(cast.spec("a", rollBack, broken(2, 3, 4)), cast.spec("b", after("a"))))
			cast.want("+a", "+b")
			time.Sleep(time.Hour)
			cast.fail("a")
			time.Sleep(time.Minute)
			cast.want("-a", "+a")
			require.EqualValues(t, 4, s.status("a").Failures)
			s.closed()
		},
		// A failed start that is undone ends the scheduler if the service is
		// significant, and its group with it.
		"significant": func(t *testing.T) {
			for _, boot := range []time.Duration{0, time.Hour} { // error, and start timeout
				cast := newCast(t)
				s := serve(t, services(cast.spec("a", rollBack, significant, spec(func(s *scheduler.Spec) { s.StartTimeout = time.Second })), cast.spec("b")))
				require.NoError(t, s.Stop(ctx, "a"))
				cast.puppets["a"].boot = boot
				cast.puppets["a"].start = func(context.Context, int) error { return errBroken }
				go func() { _ = s.Start(ctx, "a") }()
				err := <-s.result
				require.ErrorContains(t, err, "scheduler: os/scheduler/a ended the scheduler: ")
				require.True(t, errors.Is(err, errBroken) != errors.Is(err, scheduler.ErrStartTimeout))
				cast.wantAny("+a", "-a", "+b", "-b")
			}
		},
		"group": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all, cast.spec("a", in("g")), cast.spec("b", in("g"), rollBack)))
			require.NoError(t, s.Stop(ctx, "b"))
			cast.puppets["b"].start = func(context.Context, int) error { return errBroken }
			require.ErrorIs(t, s.Start(ctx, "b"), errBroken)
			s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
			s.closed()
		},
	})
}

// A dependency that rests between two that run does not break their order, and
// who stops the first waits for all.
func TestStopAcrossOneThatRests(t *testing.T) {
	ctx := context.Background()
	bubbles(t, map[string]func(t *testing.T){
		"completed": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(
				cast.spec("db", takes(0, time.Second)),
				scheduler.Spec{Alias: "migrate", After: []string{"db"}, Restart: scheduler.Transient, Service: scheduler.Func(func(context.Context) error { return nil })},
				cast.spec("app", takes(0, time.Second), after("migrate")),
			))
			cast.want("+db", "+app")
			require.NoError(t, s.Restart(ctx, "db"))
			require.NoError(t, s.AwaitStarted(ctx))
			cast.want("-app", "-db", "+db", "+app")
			cast.puppets["db"].boot = 5 * time.Second
			cast.fail("db")
			cast.fail("app") // waits for db, which is down
			time.Sleep(1500 * time.Millisecond)
			require.Equal(t, "waits for db (starting)", s.status("app").Reason)
			require.NoError(t, s.AwaitStarted(ctx))
			cast.want("-db", "-app", "+db", "+app")
			s.closed()
			cast.want("-app", "-db")
		},
		"backing off": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, services(
				cast.spec("a", backoff(time.Hour)), cast.spec("b", backoff(time.Hour), after("a")), cast.spec("c", takes(0, 5*time.Second), after("b")),
			))
			cast.want("+a", "+b", "+c")
			cast.fail("a")
			cast.fail("b")
			begin := time.Now()
			require.NoError(t, s.Stop(ctx, "a"))
			require.Equal(t, 5*time.Second, time.Since(begin))
			cast.want("-a", "-b", "-c")
			require.NoError(t, s.Start(ctx, "a"))
			cast.want("+a", "+b", "+c")
			s.closed()
		},
	})
}
