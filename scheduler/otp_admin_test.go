package scheduler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

func TestOTPAdmin(t *testing.T) {
	otpCase(t, "child_adm", childAdm)
	otpCase(t, "child_adm_simple", childAdmSimple)
	otpCase(t, "child_specs", func(t *testing.T) {
		s := serve(t, services(scheduler.Spec{Alias: "a", Service: idle}))
		for field, spec := range map[string]scheduler.Spec{
			"Alias":   {Alias: "a", Service: idle},
			"After":   {Alias: "b", Service: idle, After: []string{"c"}},
			"Restart": {Alias: "b", Service: idle, Restart: -1},
		} {
			var refused *scheduler.SpecError
			require.ErrorAs(t, s.Add(spec), &refused, field)
			require.Equal(t, field, refused.Field)
		}
		require.Len(t, s.Services(), 1, "nothing is registered then")
		var j journal
		_, err := scheduler.New(services(j.child("x").spec("y"), j.child("y").spec("x")))
		require.ErrorIs(t, err, scheduler.ErrSpec)
		_, err = scheduler.New(services(j.child("x").spec("y"), j.child("y").spec()))
		require.NoError(t, err, "New is the check of specs: it starts nothing")
		time.Sleep(time.Hour)
		require.Empty(t, j.take())
		s.ends(0)
	})
	otpCase(t, "sup_flags", func(t *testing.T) {
		group := func(g scheduler.Group) scheduler.Config {
			return scheduler.Config{Groups: []scheduler.Group{g}, Services: []scheduler.Spec{{Alias: "a", Service: idle, Group: "g"}}}
		}
		for field, config := range map[string]scheduler.Config{
			"Groups[0].Name":        group(scheduler.Group{}),
			"Groups[0].Strategy":    group(scheduler.Group{Name: "g", Strategy: 3}),
			"Groups[0].RetryLimit":  group(scheduler.Group{Name: "g", RetryLimit: -1}),
			"Groups[0].RetryWindow": group(scheduler.Group{Name: "g", RetryLimit: 1, RetryWindow: -1}),
			"Groups[0].Escalate":    group(scheduler.Group{Name: "g", Escalate: true}),
			"RetryLimit":            {RetryLimit: scheduler.MaxRetryLimit + 1},
			"RetryWindow":           {RetryWindow: time.Second},
			"AllSignificant":        {AllSignificant: true},
		} {
			s, err := scheduler.New(config)
			require.Nil(t, s, field)
			var refused *scheduler.SpecError
			require.ErrorAs(t, err, &refused, field)
			require.Equal(t, "Config."+field, refused.Field)
		}
	})
	otpCase(t, "extra_return", func(t *testing.T) {
		answer := make(chan int, 1)
		s := serve(t, services(
			scheduler.Spec{Alias: "a", Factory: func() scheduler.Service { return &store{Func: idle} }},
			scheduler.Spec{Alias: "b", After: []string{"a"}, Service: scheduler.Func(func(ctx context.Context) error {
				found, err := scheduler.Find[answerer](ctx, "a")
				if err != nil {
					return err
				}
				answer <- found.Answer()
				return idle(ctx)
			})},
		))
		require.Equal(t, 42, <-answer, "what a service offers beside running")
		s.ends(0)
	})
}

// childAdm: a second one of the same alias is refused, running or stopped; a
// stop is idempotent; a second start is refused; the unknown are named.
func childAdm(t *testing.T) {
	var j journal
	ctx := t.Context()
	a := j.child("a")
	s := serve(t, scheduler.Config{})
	require.NoError(t, s.Add(a.spec()))
	require.NoError(t, s.AwaitStarted(ctx, "a"))
	require.ErrorIs(t, s.Add(a.spec()), scheduler.ErrExists, "while it runs")
	require.ErrorIs(t, s.Start(ctx, "a"), scheduler.ErrRunning)
	require.NoError(t, s.Stop(ctx, "a"))
	require.NoError(t, s.Stop(ctx, "a"), "idempotent")
	s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
	require.ErrorIs(t, s.Add(a.spec()), scheduler.ErrExists, "while it is stopped")
	require.NoError(t, s.Start(ctx, "a"))
	require.ErrorIs(t, s.Start(ctx, "a"), scheduler.ErrRunning)
	require.Equal(t, []string{"+a", "-a", "+a"}, j.take())

	begin := time.Now()
	require.NoError(t, s.Add(j.child("b").spec("a")))
	require.NoError(t, s.AwaitStarted(ctx))
	require.ErrorIs(t, s.Remove(ctx, "a"), scheduler.ErrDependants)
	s.wantState("a", scheduler.Started, scheduler.NotEnded)
	require.NoError(t, s.Remove(ctx, "b"))
	require.NoError(t, s.Remove(ctx, "a"), "here it is stopped first")
	require.Equal(t, 2*time.Second, time.Since(begin))
	require.Equal(t, []string{"+b", "-b", "-a"}, j.take())
	require.Empty(t, s.Services())
	for verb, f := range map[string]func(context.Context, string) error{
		"remove": s.Remove, "start": s.Start, "stop": s.Stop, "restart": s.Restart,
	} {
		require.ErrorIs(t, f(ctx, "a"), scheduler.ErrUnknown, verb)
	}
	require.NoError(t, s.Add(a.spec()), "the alias is free again")
	require.NoError(t, s.AwaitStarted(ctx, "a"))
	s.wantRuns("a", 1)
	s.ends(time.Second)
}

// childAdmSimple is childAdm for the workers of a pool.
func childAdmSimple(t *testing.T) {
	var j journal
	ctx := t.Context()
	s := serve(t, services(
		scheduler.Spec{Alias: "pool", Pool: 1, Factory: func() scheduler.Service { return j.child("w") }, StartTimeout: time.Minute},
		scheduler.Spec{Alias: "a", Service: idle},
	))
	m := s.Manager()
	workers := func(size, ready int) {
		t.Helper()
		synctest.Wait()
		status := s.status("pool")
		require.Equal(t, [2]int{size, ready}, [2]int{status.Workers, status.Ready})
	}
	workers(1, 1)
	require.NoError(t, m.Resize("pool", 3))
	workers(3, 3)
	require.NoError(t, m.Resize("pool", 1))
	workers(1, 1)
	time.Sleep(2 * time.Second)
	require.Equal(t, []string{"+w", "+w", "+w", "-w", "-w"}, j.take())
	require.NoError(t, m.Resize("pool", 1), "idempotent")
	require.ErrorIs(t, m.Resize("nobody", 1), scheduler.ErrUnknown)
	for alias, size := range map[string]int{"pool": 0, "a": 1} {
		var refused *scheduler.SpecError
		require.ErrorAs(t, m.Resize(alias, size), &refused)
		require.Equal(t, "Pool", refused.Field)
	}
	require.ErrorIs(t, s.Start(ctx, "pool"), scheduler.ErrRunning)
	require.NoError(t, s.Stop(ctx, "pool"))
	require.NoError(t, s.Stop(ctx, "pool"))
	workers(1, 0)
	require.NoError(t, s.Start(ctx, "pool"))
	workers(1, 1)
	require.Equal(t, []string{"-w", "+w"}, j.take())
	s.ends(time.Second)
}

func TestOTPRestart(t *testing.T) {
	// Nobody asked for the end: an error of a context is a failure as any other.
	ends := map[string]error{"normal": nil, "shutdown": context.Canceled, "abnormal": errBroken}
	for policy, again := range map[scheduler.RestartPolicy]map[string]bool{
		scheduler.Permanent: {"normal": true, "shutdown": true, "abnormal": true},
		scheduler.Transient: {"shutdown": true, "abnormal": true},
		scheduler.Temporary: {},
	} {
		for kind, err := range ends {
			otpCase(t, policy.String()+"_"+kind, func(t *testing.T) {
				var j journal
				a := j.child("a")
				spec := a.spec()
				spec.Restart = policy
				if policy == scheduler.Temporary {
					spec.Backoff = nil
				}
				s := serve(t, services(spec, j.child("b").spec()))
				a.end(err)
				switch {
				case again[kind]:
					s.wantState("a", scheduler.BackingOff, scheduler.NotEnded)
					time.Sleep(time.Second)
					s.wantState("a", scheduler.Started, scheduler.NotEnded)
				case err == nil:
					s.wantState("a", scheduler.Stopped, scheduler.Completed)
				default:
					s.wantState("a", scheduler.Stopped, scheduler.Failed)
				}
				time.Sleep(time.Hour)
				s.wantRuns("a", map[bool]int{false: 1, true: 2}[again[kind]])
				require.EqualValues(t, map[bool]int{false: 0, true: 1}[err != nil], s.status("a").Failures)
				s.wantRuns("b", 1)
				s.wantState("b", scheduler.Started, scheduler.NotEnded)
				s.ends(time.Second)
			})
		}
	}
	for name, strategy := range map[string]scheduler.Strategy{"one for all": scheduler.OneForAll, "rest for one": scheduler.RestForOne} {
		otpCase(t, "temporary_bystander, "+name, func(t *testing.T) { temporaryBystander(t, strategy) })
	}
	otpCase(t, "faulty_application_shutdown", faultyApplication)
	otpCase(t, "multiple_restarts", func(t *testing.T) {
		var j journal
		a := j.child("a")
		spec := a.spec()
		spec.RetryLimit, spec.RetryWindow, spec.Escalate, spec.Backoff = 1, time.Second, true, at(0)
		s := serve(t, services(spec))
		for range 10 {
			a.end(errBroken)
			time.Sleep(2100 * time.Millisecond)
		}
		s.wantState("a", scheduler.Started, scheduler.NotEnded)
		s.wantRuns("a", 11)
		a.end(errBroken)
		time.Sleep(time.Second)
		a.end(errBroken)
		s.wantRuns("a", 13) // the window is over after one second sharp
		a.end(errBroken)
		require.ErrorIs(t, <-s.result, scheduler.ErrGaveUp)
		s.wantState("a", scheduler.Stopped, scheduler.GaveUp)
	})
}

// temporaryBystander: a temporary sibling that a restart takes along is not
// started again, and that harms nobody.
func temporaryBystander(t *testing.T, strategy scheduler.Strategy) {
	var j journal
	a := j.child("a")
	first, bystander := a.spec(), j.child("b").spec()
	first.Group, bystander.Group = "g", "g"
	bystander.Restart, bystander.Backoff = scheduler.Temporary, nil
	s := serve(t, scheduler.Config{
		Groups:   []scheduler.Group{{Name: "g", Strategy: strategy, RetryLimit: 1, Escalate: true}},
		Services: []scheduler.Spec{first, bystander},
	})
	a.end(errBroken)
	time.Sleep(time.Hour)
	s.wantState("a", scheduler.Started, scheduler.NotEnded)
	s.wantState("b", scheduler.Stopped, scheduler.EndedOnPurpose)
	s.wantRuns("a", 2)
	s.wantRuns("b", 1)
	require.NoError(t, s.AwaitStarted(t.Context()), "nobody waits for it")
	require.NoError(t, s.Start(t.Context(), "b"), "here it is kept, and may be asked again")
	s.wantState("b", scheduler.Started, scheduler.NotEnded)
	s.ends(time.Second)
}

// faultyApplication: a start that fails deep inside carries its cause up to
// who serves it all, and what was started beside it is stopped.
func faultyApplication(t *testing.T) {
	var j journal
	broken := j.child("broken")
	broken.refuse.Store(1)
	deep := broken.spec("good")
	deep.RollBack = true
	inner, err := scheduler.New(services(j.child("good").spec(), deep))
	require.NoError(t, err)
	s := serve(t, services(j.child("beside").spec(), scheduler.Spec{
		Alias: "app", Service: inner, After: []string{"beside"}, StartTimeout: time.Minute, RollBack: true,
	}))
	err = <-s.result
	require.ErrorIs(t, err, errBroken)
	require.EqualError(t, err, "scheduler: os/scheduler/app ended the scheduler: "+
		"scheduler: os/scheduler/app/broken ended the scheduler: broken")
	require.Equal(t, []string{"+beside", "+good", "!broken", "-good", "-beside"}, j.take())
	s.wantState("app", scheduler.Stopped, scheduler.Failed)
}
