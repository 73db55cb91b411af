package scheduler_test

import (
	"context"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// trio serves a, b and c, each after all before it, in a group.
func trio(t *testing.T, j *journal, g scheduler.Group) (*rig, []*child) {
	g.Name = "g"
	config := scheduler.Config{Groups: []scheduler.Group{g}}
	var all []*child
	for i, alias := range []string{"a", "b", "c"} {
		all = append(all, j.child(alias))
		spec := all[i].spec()
		spec.Group = "g"
		for _, before := range all[:i] {
			spec.After = append(spec.After, before.alias)
		}
		config.Services = append(config.Services, spec)
	}
	s := serve(t, config)
	require.Equal(t, []string{"+a", "+b", "+c"}, j.take())
	return s, all
}

// wantAfter waits until everything has started, and holds how long that took
// and what happened against what is expected.
func (r *rig) wantAfter(after time.Duration, j *journal, lines ...string) {
	r.t.Helper()
	begin := time.Now()
	ctx, cancel := within(time.Hour)
	defer cancel()
	require.NoError(r.t, r.AwaitStarted(ctx))
	synctest.Wait()
	require.Equal(r.t, after, time.Since(begin))
	require.Equal(r.t, lines, j.take())
}

func TestOTPStrategy(t *testing.T) {
	otpCase(t, "one_for_one", func(t *testing.T) {
		var j journal
		s, all := trio(t, &j, scheduler.Group{})
		all[1].end(errBroken)
		s.wantAfter(time.Second, &j, "*b", "+b")
		s.ends(3 * time.Second)
		require.Equal(t, []string{"-c", "-b", "-a"}, j.take())
	})
	otpCase(t, "one_for_all", func(t *testing.T) {
		var j journal
		s, all := trio(t, &j, scheduler.Group{Strategy: scheduler.OneForAll})
		all[1].end(errBroken)
		s.wantAfter(2*time.Second, &j, "*b", "-c", "-a", "+a", "+b", "+c")
		s.ends(3 * time.Second)
	})
	otpCase(t, "rest_for_one", func(t *testing.T) {
		var j journal
		s, all := trio(t, &j, scheduler.Group{Strategy: scheduler.RestForOne})
		all[1].end(errBroken)
		s.wantAfter(time.Second, &j, "*b", "-c", "+b", "+c")
		all[2].end(errBroken)
		s.wantAfter(time.Second, &j, "*c", "+c")
		all[0].end(errBroken)
		s.wantAfter(2*time.Second, &j, "*a", "-c", "-b", "+a", "+b", "+c")
		s.ends(3 * time.Second)
	})
	otpCase(t, "simple_one_for_one", func(t *testing.T) {
		var j journal
		w := j.child("w")
		spec := w.spec()
		spec.Service, spec.Factory, spec.Pool = nil, factory(w), 3
		s := serve(t, services(spec))
		require.Equal(t, []string{"+w", "+w", "+w"}, j.take())
		w.end(errBroken)
		require.Equal(t, 2, s.status("w").Ready)
		time.Sleep(time.Second)
		s.wantRuns("w", 4)
		require.Equal(t, 3, s.status("w").Ready)
		require.Equal(t, []string{"*w", "+w"}, j.take())
		s.ends(time.Second)
	})
	otpCase(t, "simple_one_for_one_extra", func(t *testing.T) {
		var j journal
		var made atomic.Int32
		s := serve(t, services(scheduler.Spec{
			Alias: "pool", Pool: 3,
			Factory: func() scheduler.Service { return j.child(strconv.Itoa(int(made.Add(1)))) },
		}))
		require.NoError(t, s.Manager().Resize("pool", 4))
		synctest.Wait()
		lines := j.take()
		slices.Sort(lines)
		require.Equal(t, []string{"+1", "+2", "+3", "+4"}, lines, "each is given its own")
		s.ends(time.Second)
	})
}

func TestOTPEscalation(t *testing.T) {
	const limit = 4
	gaveUp := func(t *testing.T, s *rig, text string) {
		t.Helper()
		err := <-s.result
		require.ErrorIs(t, err, scheduler.ErrGaveUp)
		require.ErrorIs(t, err, errBroken)
		require.EqualError(t, err, "scheduler: os/scheduler/"+text+" ended the scheduler: scheduler: gave up: broken")
	}
	for name, strategy := range map[string]scheduler.Strategy{
		"one_for_one_escalation":  scheduler.OneForOne,
		"one_for_all_escalation":  scheduler.OneForAll,
		"rest_for_one_escalation": scheduler.RestForOne,
	} {
		otpCase(t, name, func(t *testing.T) {
			var j journal
			s, all := trio(t, &j, scheduler.Group{Strategy: strategy, RetryLimit: limit, Escalate: true})
			begin := time.Now()
			all[1].refuse.Store(100)
			all[1].end(errBroken)
			gaveUp(t, s, "b")
			s.wantState("b", scheduler.Stopped, scheduler.GaveUp)
			s.wantRuns("b", 1+limit)
			s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
			require.Equal(t, scheduler.EndedOnPurpose, s.status("c").End)
			took := time.Since(begin)
			switch strategy {
			case scheduler.OneForOne: // c, then a stop at the end
				require.Equal(t, limit*time.Second+2*time.Second, took)
				require.Equal(t, []string{"*b", "!b", "!b", "!b", "!b", "-c", "-a"}, j.take())
			case scheduler.RestForOne:
				require.Equal(t, limit*time.Second+time.Second, took)
				require.Equal(t, []string{"*b", "-c", "!b", "!b", "!b", "!b", "-a"}, j.take())
			case scheduler.OneForAll: // c and a stop before the first restart, a before the others, too
				require.Equal(t, (limit+1)*time.Second+time.Second, took)
				require.Equal(t, []string{
					"*b", "-c", "-a", "+a", "!b", "-a", "+a", "!b", "-a", "+a", "!b", "-a", "+a", "!b", "-a",
				}, j.take())
			}
		})
	}
}

func TestOTPEscalationOfPools(t *testing.T) {
	const limit = 4
	otpCase(t, "simple_one_for_one_escalation", func(t *testing.T) {
		var j journal
		w := j.child("w")
		spec := w.spec()
		spec.Service, spec.Factory, spec.Pool = nil, factory(w), 3
		s := serve(t, scheduler.Config{RetryLimit: limit, Services: []scheduler.Spec{spec, j.child("b").spec()}})
		w.refuse.Store(100)
		begin := time.Now()
		j.take()
		w.end(errBroken)
		err := <-s.result
		require.ErrorIs(t, err, scheduler.ErrGaveUp)
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, limit*time.Second+time.Second, time.Since(begin))
		lines := j.take()
		slices.Sort(lines[5:])
		require.Equal(t, []string{"*w", "!w", "!w", "!w", "!w", "-b", "-w", "-w"}, lines)
		s.wantState("w", scheduler.Stopped, scheduler.GaveUp)
		s.wantState("b", scheduler.Stopped, scheduler.EndedOnPurpose)
	})
	otpCase(t, "simple_one_for_one_escalation, of a pool alone", func(t *testing.T) {
		var made atomic.Int32
		s := serve(t, services(scheduler.Spec{
			Alias: "pool", Pool: 2, Backoff: at(time.Second), RetryLimit: limit, Escalate: true,
			Factory: func() scheduler.Service {
				if made.Add(1) == 1 {
					return scheduler.Func(func(context.Context) error {
						time.Sleep(time.Hour)
						return errBroken
					})
				}
				return fails
			},
		}))
		time.Sleep(time.Hour - time.Second)
		s.wantState("pool", scheduler.Started, scheduler.GaveUp) // one serves on
		s.wantRuns("pool", 1+1+limit)
		err := <-s.result // gives up in its turn
		require.ErrorIs(t, err, scheduler.ErrGaveUp)
		require.ErrorIs(t, err, errBroken)
		s.wantRuns("pool", 2*(1+limit))
		s.wantState("pool", scheduler.Stopped, scheduler.GaveUp)
	})
}

// TestOTPGroupGivenUp: no case of OTP's, where a limit always escalates.
func TestOTPGroupGivenUp(t *testing.T) {
	for name, strategy := range map[string]scheduler.Strategy{"one for all": scheduler.OneForAll, "rest for one": scheduler.RestForOne} {
		otpCase(t, "a group that is given up alone, "+name, func(t *testing.T) { groupStays(t, strategy) })
		otpCase(t, "a group that was given up and is started, "+name, func(t *testing.T) { groupReturns(t, strategy) })
		otpCase(t, "a group that was given up and is brought back, "+name, func(t *testing.T) { groupIsBroughtBack(t, strategy) })
	}
}

// giveUp lets b reach the limit of a group that ends nobody else's life.
func giveUp(t *testing.T, strategy scheduler.Strategy) *rig {
	var j journal
	s, all := trio(t, &j, scheduler.Group{Strategy: strategy, RetryLimit: 2})
	all[1].refuse.Store(3) // of which two are the restarts that the limit allows
	all[1].end(errBroken)
	time.Sleep(time.Hour)
	s.wantState("b", scheduler.Stopped, scheduler.GaveUp)
	return s
}

// groupStays: those that the restart would have taken along are stopped.
func groupStays(t *testing.T, strategy scheduler.Strategy) {
	s := giveUp(t, strategy)
	if strategy == scheduler.OneForAll {
		s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
		require.Equal(t, "its group g ended with b", s.status("a").Reason)
	} else {
		s.wantState("a", scheduler.Started, scheduler.NotEnded)
	}
	s.wantState("c", scheduler.Stopped, scheduler.EndedOnPurpose)
	require.Equal(t, "its group g ended with b", s.status("c").Reason)
	_, err := s.stop()
	require.NoError(t, err)
}

// groupIsBroughtBack: they start again with the one that gave up, too, if it is
// Recover that brings it back.
func groupIsBroughtBack(t *testing.T, strategy scheduler.Strategy) {
	var j journal
	b := j.child("b")
	specs := []scheduler.Spec{j.child("a").spec(), b.spec(), j.child("c").spec()}
	for i := range specs {
		specs[i].Group = "g"
	}
	specs[1].RetryLimit, specs[1].RetryWindow, specs[1].Recover = 1, time.Minute, true
	s := serve(t, scheduler.Config{Groups: []scheduler.Group{{Name: "g", Strategy: strategy}}, Services: specs})
	b.refuse.Store(1)
	b.end(errBroken)
	time.Sleep(30 * time.Second)
	s.wantState("b", scheduler.Stopped, scheduler.GaveUp)
	s.wantState("c", scheduler.Stopped, scheduler.EndedOnPurpose)
	time.Sleep(time.Hour)
	s.wantState("b", scheduler.Started, scheduler.NotEnded)
	s.wantState("c", scheduler.Started, scheduler.NotEnded)
	s.wantState("a", scheduler.Started, scheduler.NotEnded)
	s.ends(time.Second)
}

// groupReturns: they start again with the one that gave up, which fails once
// more before.
func groupReturns(t *testing.T, strategy scheduler.Strategy) {
	s := giveUp(t, strategy)
	require.NoError(t, s.Start(t.Context(), "b"))
	require.NoError(t, s.AwaitStarted(t.Context()))
	s.wantRuns("b", 5)
	s.ends(3 * time.Second)
}

func TestOTPOtherChildFailsRestart(t *testing.T) {
	otpCase(t, "one_for_one_other_child_fails_restart", func(t *testing.T) {
		var j journal
		s, all := trio(t, &j, scheduler.Group{})
		all[0].end(errBroken)
		all[2].refuse.Store(2)
		time.Sleep(time.Second / 2)
		all[2].end(errBroken)
		s.wantAfter(3*time.Second, &j, "*a", "*c", "+a", "!c", "!c", "+c")
		s.wantRuns("a", 2)
		s.wantRuns("b", 1)
		s.wantRuns("c", 4)
		s.ends(3 * time.Second)
	})
	otpCase(t, "one_for_all_other_child_fails_restart", func(t *testing.T) {
		var j journal
		s, all := trio(t, &j, scheduler.Group{Strategy: scheduler.OneForAll})
		all[1].refuse.Store(1)
		all[0].end(errBroken)
		s.wantAfter(3*time.Second, &j, "*a", "-c", "-b", "+a", "!b", "-a", "+a", "+b", "+c")
		s.ends(3 * time.Second)
	})
	otpCase(t, "rest_for_one_other_child_fails_restart", func(t *testing.T) {
		var j journal
		s, all := trio(t, &j, scheduler.Group{Strategy: scheduler.RestForOne})
		all[1].refuse.Store(1)
		all[0].end(errBroken)
		s.wantAfter(3*time.Second, &j, "*a", "-c", "-b", "+a", "!b", "+b", "+c")
		s.ends(3 * time.Second)
	})
}

func TestOTPTree(t *testing.T) {
	otpCase(t, "tree", func(t *testing.T) {
		var j journal
		static := j.child("static")
		grow := func() *scheduler.Scheduler {
			spec := static.spec()
			spec.RetryLimit, spec.Escalate = 1, true
			inner, err := scheduler.New(services(spec))
			require.NoError(t, err)
			return inner
		}
		t.Log("made anew")
		var latest atomic.Pointer[scheduler.Scheduler]
		escalates(t, &j, static, &latest, scheduler.Spec{Factory: func() scheduler.Service {
			latest.Store(grow())
			return latest.Load()
		}}, "+static")
		t.Log("run again")
		latest.Store(grow())
		escalates(t, &j, static, &latest, scheduler.Spec{Service: latest.Load()}, "+dynamic", "+static")
	})
	otpCase(t, "tree, to the top", func(t *testing.T) {
		var j journal
		a := j.child("a")
		spec := a.spec()
		spec.RetryLimit, spec.Escalate = 1, true
		inner, err := scheduler.New(services(spec))
		require.NoError(t, err)
		s := serve(t, services(j.child("beside").spec(), scheduler.Spec{
			Alias: "inner", Service: inner, After: []string{"beside"}, StartTimeout: time.Minute,
			RetryLimit: 1, Escalate: true, Backoff: at(time.Second),
		}))
		a.refuse.Store(100)
		begin := time.Now()
		a.end(errBroken)
		require.EqualError(t, <-s.result, "scheduler: os/scheduler/inner ended the scheduler: scheduler: gave up: "+
			"scheduler: os/scheduler/inner/a ended the scheduler: scheduler: gave up: broken")
		require.Equal(t, []string{"+beside", "+a", "*a", "!a", "!a", "!a", "-beside"}, j.take())
		require.Equal(t, 4*time.Second, time.Since(begin), "a, inner, a, and the stop")
	})
	otpCase(t, "simple_global_supervisor", func(t *testing.T) {
		var j journal
		a, b := j.child("a"), j.child("b")
		one, other := services(a.spec()), services(b.spec())
		one.Name, other.Name = "one", "other"
		other.Services[0].Alias = "a"
		r, q := serve(t, one), serve(t, other)
		a.end(errBroken)
		time.Sleep(time.Second)
		r.wantRuns("a", 2)
		q.wantRuns("a", 1)
		require.Equal(t, [2]string{"one/a", "other/a"}, [2]string{r.status("a").Path, q.status("a").Path})
		r.ends(time.Second)
		q.wantState("a", scheduler.Started, scheduler.NotEnded)
		q.ends(time.Second)
	})
}

// escalates lets a scheduler inside another give up, which starts it again, and
// holds what comes back with it against what is expected.
func escalates(t *testing.T, j *journal, static *child, inner *atomic.Pointer[scheduler.Scheduler], spec scheduler.Spec, back ...string) {
	spec.Alias, spec.StartTimeout, spec.Backoff = "inner", time.Minute, at(time.Second)
	s := serve(t, services(j.child("beside").spec(), spec))
	require.NoError(t, s.AwaitStarted(t.Context()))
	require.NoError(t, inner.Load().Add(j.child("dynamic").spec()))
	require.NoError(t, inner.Load().AwaitStarted(t.Context(), "dynamic"))
	static.end(errBroken)
	time.Sleep(time.Second) // the restart that the limit allows
	static.end(nil)         // of a permanent service: counts as well
	j.take()
	time.Sleep(time.Second) // dynamic stops
	s.wantState("inner", scheduler.BackingOff, scheduler.NotEnded)
	require.ErrorIs(t, s.status("inner").Err, scheduler.ErrGaveUp)
	require.Equal(t, []string{"-dynamic"}, j.take())
	time.Sleep(time.Second)
	s.wantState("inner", scheduler.Started, scheduler.NotEnded)
	lines := j.take()
	slices.Sort(lines)
	require.Equal(t, back, lines)
	s.wantRuns("beside", 1)
	s.ends(time.Second)
	j.take()
}

func TestOTPLoop(t *testing.T) {
	otpCase(t, "hanging_restart_loop", func(t *testing.T) {
		var j journal
		s, all := trio(t, &j, scheduler.Group{})
		all[2].refuse.Store(100)
		all[2].end(errBroken)
		time.Sleep(50*time.Second + time.Second/2)
		s.wantState("c", scheduler.BackingOff, scheduler.NotEnded)
		require.Equal(t, "starts again in 500ms", s.status("c").Reason)
		require.NoError(t, s.Add(j.child("d").spec()))
		require.NoError(t, s.AwaitStarted(t.Context(), "d"))
		all[2].hang.Store(true)
		time.Sleep(time.Second)
		s.hangs("c")
		s.worksBeside("d")
		s.stopsAtOnce("c", scheduler.EndedOnPurpose)
		require.NoError(t, s.Remove(t.Context(), "c"))
		all[1].hang.Store(true)
		all[1].end(errBroken)
		time.Sleep(time.Second)
		s.hangs("b")
		s.ends(time.Second) // of a and d
	})
	otpCase(t, "hanging_restart_loop_rest_for_one", func(t *testing.T) {
		var j journal
		s, all := trio(t, &j, scheduler.Group{Strategy: scheduler.RestForOne})
		all[1].hang.Store(true)
		all[1].end(errBroken)
		time.Sleep(2 * time.Second)
		s.hangs("b")
		s.wantState("c", scheduler.Idle, scheduler.EndedOnPurpose)
		require.Equal(t, "waits for b (starting)", s.status("c").Reason)
		s.worksBeside("a")
		s.stopsAtOnce("b", scheduler.EndedOnPurpose)
		s.wantState("c", scheduler.Idle, scheduler.EndedOnPurpose)
		all[1].hang.Store(false)
		require.NoError(t, s.Start(t.Context(), "b"))
		require.NoError(t, s.AwaitStarted(t.Context()))
		all[1].hang.Store(true)
		all[0].end(errBroken)
		time.Sleep(3 * time.Second)
		s.hangs("b")
		s.ends(time.Second) // of a
	})
	otpCase(t, "hanging_restart_loop_simple", func(t *testing.T) {
		var j journal
		w := j.child("w")
		spec := w.spec()
		spec.Service, spec.Factory, spec.Pool = nil, factory(w), 2
		s := serve(t, services(spec))
		w.hang.Store(true)
		w.end(errBroken)
		time.Sleep(2 * time.Second)
		s.wantState("w", scheduler.Started, scheduler.NotEnded)
		require.Equal(t, 1, s.status("w").Ready, "the other serves on")
		w.end(errBroken)
		time.Sleep(2 * time.Second)
		s.wantState("w", scheduler.Starting, scheduler.NotEnded)
		require.Equal(t, "0 of 2 workers ready", s.status("w").Reason)
		require.NoError(t, s.Manager().Resize("w", 1))
		synctest.Wait()
		require.Equal(t, 1, s.status("w").Workers)
		s.stopsAtOnce("w", scheduler.EndedOnPurpose)
		ctx, cancel := within(time.Second)
		defer cancel()
		require.ErrorIs(t, s.Start(ctx, "w"), scheduler.ErrNotStarted)
		s.ends(0)
	})
}

// hangs asks whether a start blocks, and is known to.
func (r *rig) hangs(alias string) {
	r.t.Helper()
	r.wantState(alias, scheduler.Starting, scheduler.NotEnded)
	require.Equal(r.t, "has not said Ready", r.status(alias).Reason)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(r.t, r.AwaitStarted(ctx, alias), scheduler.ErrNotStarted)
}

// worksBeside asks whether another service is still there to answer.
func (r *rig) worksBeside(alias string) {
	r.t.Helper()
	begin := time.Now()
	runs := r.status(alias).Starts
	require.ErrorIs(r.t, r.Start(r.t.Context(), alias), scheduler.ErrRunning)
	require.Equal(r.t, runs, r.status(alias).Starts)
	require.Zero(r.t, time.Since(begin))
}

func (r *rig) stopsAtOnce(alias string, end scheduler.End) {
	r.t.Helper()
	begin := time.Now()
	require.NoError(r.t, r.Stop(r.t.Context(), alias))
	require.Zero(r.t, time.Since(begin))
	r.wantState(alias, scheduler.Stopped, end)
}
