package scheduler_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// What follows holds this package against the test list of Erlang/OTP's
// supervisor: each bubble bears the name of a case there, and says what the
// same situation leads to here.

// child is a service that the test makes end. Its journal gets a line "+alias"
// when it is ready, "!alias" when its start fails, "*alias" when it crashes,
// and "-alias" when it stops, which takes it a second.
type child struct {
	*journal
	alias  string
	crash  chan error
	refuse atomic.Int32 // starts that fail from now on
	hang   atomic.Bool  // starts block until they are asked to stop
}

func (j *journal) child(alias string) *child {
	return &child{journal: j, alias: alias, crash: make(chan error)}
}

func (c *child) Serve(ctx context.Context) error {
	if c.hang.Load() {
		c.add("~" + c.alias)
		<-ctx.Done()
		return nil
	}
	if c.refuse.Add(-1) >= 0 {
		c.add("!" + c.alias)
		return errBroken
	}
	c.add("+" + c.alias)
	scheduler.Ready(ctx)
	select {
	case err := <-c.crash:
		c.add("*" + c.alias)
		return err
	case <-ctx.Done():
		time.Sleep(time.Second)
		c.add("-" + c.alias)
		return nil
	}
}

// end makes the child return err by itself.
func (c *child) end(err error) {
	c.crash <- err
	synctest.Wait()
}

// spec describes the child: it says Ready, and is started again after a second.
func (c *child) spec(after ...string) scheduler.Spec {
	return scheduler.Spec{Alias: c.alias, Service: c, After: after, StartTimeout: time.Minute, Backoff: at(time.Second)}
}

// declines ends its start without a failure: there is nothing to do for it.
var declines = scheduler.Func(func(context.Context) error { return nil })

// gate returns a channel and what closes it, at the latest when the test ends.
func gate(t *testing.T) (closed <-chan struct{}, free func()) {
	release := make(chan struct{})
	free = sync.OnceFunc(func() { close(release) })
	t.Cleanup(free)
	return release, free
}

// factory makes the same instance again.
func factory(s scheduler.Service) func() scheduler.Service {
	return func() scheduler.Service { return s }
}

// wantRuns holds the number of runs begun against what is expected.
func (r *rig) wantRuns(alias string, runs int) {
	r.t.Helper()
	synctest.Wait()
	require.EqualValues(r.t, runs, r.status(alias).Starts, alias)
}

// ends stops the scheduler, which takes that long and fails at nothing.
func (r *rig) ends(after time.Duration) {
	r.t.Helper()
	took, err := r.stop()
	require.NoError(r.t, err)
	require.Equal(r.t, after, took)
}

// otpCase runs f in a bubble. After a failure, what still stops gets the time
// to, without which the bubble would panic and hide the cases after it.
func otpCase(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	bubble(t, name, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Hour) }) // after the end of Serve's context
		f(t)
	})
}

func TestOTPStart(t *testing.T) {
	otpCase(t, "sup_start_normal", func(t *testing.T) {
		var j journal
		s := serve(t, services(j.child("a").spec()))
		require.NoError(t, s.AwaitStarted(t.Context()))
		s.wantState("a", scheduler.Started, scheduler.NotEnded)
		s.ends(time.Second)
		require.Equal(t, []string{"+a", "-a"}, j.take())
	})
	otpCase(t, "sup_start_ignore_init", func(t *testing.T) {
		var j journal
		s, err := scheduler.New(services(j.child("a").spec()))
		require.NoError(t, err)
		require.NoError(t, s.Serve(contextOver(t)), "nothing was to be started")
		require.Empty(t, j.take())
		r := serveThis(t, s)
		r.wantState("a", scheduler.Started, scheduler.NotEnded)
		r.ends(time.Second)
	})
	otpCase(t, "sup_start_ignore_child", func(t *testing.T) {
		s := serve(t, services(
			scheduler.Spec{Alias: "a", Service: declines, StartTimeout: time.Minute, Restart: scheduler.Transient},
			scheduler.Spec{Alias: "b", Service: idle, After: []string{"a"}},
		))
		require.NoError(t, s.AwaitStarted(t.Context()))
		s.wantState("a", scheduler.Stopped, scheduler.Completed)
		s.wantState("b", scheduler.Started, scheduler.NotEnded)
		require.NoError(t, s.Start(t.Context(), "a"), "it is kept, and may be asked again")
		s.wantRuns("a", 2)
		s.ends(0)
	})
	otpCase(t, "sup_start_ignore_temporary_child", func(t *testing.T) {
		s := serve(t, services(scheduler.Spec{Alias: "a", Service: declines, StartTimeout: time.Minute, Restart: scheduler.Temporary}))
		s.wantState("a", scheduler.Stopped, scheduler.Completed)
		time.Sleep(time.Hour)
		s.wantRuns("a", 1)
		require.Zero(t, s.status("a").Failures)
		require.NoError(t, s.Remove(t.Context(), "a"), "here it is kept until then")
		require.Empty(t, s.Services())
		s.ends(0)
	})
	otpCase(t, "sup_start_ignore_temporary_child_start_child", func(t *testing.T) {
		s := serve(t, scheduler.Config{})
		require.NoError(t, s.Add(scheduler.Spec{Alias: "a", Service: declines, StartTimeout: time.Minute, Restart: scheduler.Temporary}))
		require.NoError(t, s.AwaitStarted(t.Context(), "a"))
		s.wantState("a", scheduler.Stopped, scheduler.Completed)
		s.ends(0)
	})
	for name, policy := range map[string]scheduler.RestartPolicy{
		"sup_start_ignore_temporary_child_start_child_simple": scheduler.Temporary,
		"sup_start_ignore_permanent_child_start_child_simple": scheduler.Transient,
	} {
		otpCase(t, name, func(t *testing.T) { poolWorkerDeclines(t, policy) })
	}
}

// poolWorkerDeclines: of three workers the second finds nothing to do.
func poolWorkerDeclines(t *testing.T, policy scheduler.RestartPolicy) {
	var made atomic.Int32
	s := serve(t, services(scheduler.Spec{
		Alias: "pool", Pool: 3, Restart: policy, StartTimeout: time.Minute,
		Factory: func() scheduler.Service {
			if made.Add(1) == 2 {
				return declines
			}
			return scheduler.Func(func(ctx context.Context) error {
				scheduler.Ready(ctx)
				return idle(ctx)
			})
		},
	}))
	require.NoError(t, s.AwaitStarted(t.Context()))
	time.Sleep(time.Hour)
	s.wantState("pool", scheduler.Started, scheduler.Completed)
	status := s.status("pool")
	require.Equal(t, [2]int{3, 2}, [2]int{status.Workers, status.Ready})
	s.wantRuns("pool", 3)
	s.ends(0)
}

func TestOTPStartFails(t *testing.T) {
	otpCase(t, "sup_start_error_return", func(t *testing.T) {
		s, err := scheduler.New(services(scheduler.Spec{Alias: "a"}))
		require.Nil(t, s)
		require.ErrorIs(t, err, scheduler.ErrSpec)
		require.EqualError(t, err, `scheduler: service "a": Service: neither Service nor Factory is set; exactly one must be`)
	})
	otpCase(t, "sup_start_fail", func(t *testing.T) {
		var j journal
		s := serve(t, services(j.child("a").spec(), scheduler.Spec{
			Alias: "b", After: []string{"a"}, StartTimeout: time.Minute, RollBack: true,
			Factory: func() scheduler.Service { panic(errBroken) },
		}))
		err := <-s.result
		require.ErrorIs(t, err, errBroken)
		require.EqualError(t, err, "scheduler: os/scheduler/b ended the scheduler: panic: broken")
		require.Equal(t, []string{"+a", "-a"}, j.take(), "what was started is stopped")
	})
	otpCase(t, "sup_start_child_returns_error", func(t *testing.T) {
		var j journal
		s := serve(t, services(j.child("a").spec()))
		b := j.child("b")
		b.refuse.Store(2)
		spec := b.spec()
		spec.RollBack = true
		require.NoError(t, s.Add(spec))
		synctest.Wait()
		err := s.Start(t.Context(), "b")
		require.ErrorIs(t, err, scheduler.ErrEnded)
		require.ErrorIs(t, err, errBroken)
		time.Sleep(time.Hour)
		s.wantState("b", scheduler.Stopped, scheduler.Failed)
		s.wantRuns("b", 2)
		require.NoError(t, s.Remove(t.Context(), "b"), "here it is kept until then")
		s.wantState("a", scheduler.Started, scheduler.NotEnded)
		s.ends(time.Second)
	})
	otpCase(t, "sup_start_child_returns_error_simple", func(t *testing.T) {
		s := serve(t, scheduler.Config{})
		require.NoError(t, s.Add(scheduler.Spec{
			Alias: "pool", Pool: 2, Factory: factory(fails), StartTimeout: time.Minute, RollBack: true,
		}))
		synctest.Wait()
		require.ErrorIs(t, s.Start(t.Context(), "pool"), errBroken)
		time.Sleep(time.Hour)
		s.wantState("pool", scheduler.Stopped, scheduler.Failed)
		s.wantRuns("pool", 4)
		s.ends(0)
	})
	otpCase(t, "sup_start_restart_child_returns_error", func(t *testing.T) {
		var j journal
		a := j.child("a")
		spec := a.spec()
		spec.RollBack = true
		s := serve(t, services(spec))
		require.NoError(t, s.Stop(t.Context(), "a"))
		a.refuse.Store(1)
		err := s.Start(t.Context(), "a")
		require.ErrorIs(t, err, scheduler.ErrEnded)
		require.ErrorIs(t, err, errBroken)
		time.Sleep(time.Hour)
		s.wantState("a", scheduler.Stopped, scheduler.Failed)
		require.NoError(t, s.Start(t.Context(), "a"), "it is kept, and may be tried again")
		require.Equal(t, []string{"+a", "-a", "!a", "+a"}, j.take())
		s.ends(time.Second)
	})
}

func TestOTPDefaults(t *testing.T) {
	otpCase(t, "sup_start_map", func(t *testing.T) {
		defaultsHold(t, scheduler.Spec{Alias: "a", Service: fails})
	})
	otpCase(t, "sup_start_map_simple", func(t *testing.T) {
		defaultsHold(t, scheduler.Spec{Alias: "a", Pool: 1, Factory: factory(fails)})
	})
	otpCase(t, "sup_start_map_faulty_specs", func(t *testing.T) {
		for field, spec := range map[string]scheduler.Spec{
			"Alias":        {Service: idle},
			"Service":      {Alias: "a"},
			"Restart":      {Alias: "a", Service: idle, Restart: 3},
			"StopTimeout":  {Alias: "a", Service: idle, StopTimeout: -1},
			"StartTimeout": {Alias: "a", Service: idle, StartTimeout: -time.Second},
			"Pool":         {Alias: "a", Service: idle, Pool: 2},
			"After":        {Alias: "a", Service: idle, After: []string{"b", "b"}},
			"RetryLimit":   {Alias: "a", Service: idle, Restart: scheduler.Temporary, RetryLimit: 1},
			"RetryWindow":  {Alias: "a", Service: idle, RetryWindow: time.Second},
			"Escalate":     {Alias: "a", Service: idle, Escalate: true},
			"Significant":  {Alias: "a", Service: idle, Significant: true},
			"Group":        {Alias: "a", Service: idle, Group: "nobody"},
		} {
			s, err := scheduler.New(services(spec))
			require.Nil(t, s, field)
			var refused *scheduler.SpecError
			require.ErrorAs(t, err, &refused, field)
			require.Equal(t, field, refused.Field)
			require.NotEmpty(t, refused.Reason)
		}
	})
}

// defaultsHold: permanent, no limit of restarts, ten seconds to stop, and for a
// scheduler as long as its own services may take beside.
func defaultsHold(t *testing.T, spec scheduler.Spec) {
	release, free := gate(t)
	inner, err := scheduler.New(services(scheduler.Spec{Alias: "slow", StopTimeout: time.Hour, Service: scheduler.Func(func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(time.Minute)
		return nil
	})}))
	require.NoError(t, err)
	worker, nested := spec, spec
	worker.Alias, nested.Alias = "worker", "nested"
	if spec.Pool > 0 {
		worker.Factory, nested.Factory = factory(deaf(release)), factory(inner)
	} else {
		worker.Service, nested.Service = deaf(release), inner
	}
	s := serve(t, services(spec, worker, nested))
	time.Sleep(24 * time.Hour)
	require.Greater(t, s.status("a").Starts, uint64(1000), "permanent, and without a limit")
	require.NoError(t, s.Stop(t.Context(), "a"))

	begin := time.Now()
	require.ErrorIs(t, s.Stop(t.Context(), "worker"), scheduler.ErrStopTimeout)
	require.Equal(t, scheduler.DefaultStopTimeout, time.Since(begin))
	require.Equal(t, 10*time.Second, scheduler.DefaultStopTimeout)
	free()

	begin = time.Now()
	require.NoError(t, s.Stop(t.Context(), "nested"))
	require.Equal(t, time.Minute, time.Since(begin))
	s.ends(0)
}

func TestOTPStop(t *testing.T) {
	otpCase(t, "sup_stop_infinity", func(t *testing.T) {
		s := serve(t, services(scheduler.Spec{Alias: "a", StopTimeout: 1000 * time.Hour, Service: scheduler.Func(func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(999 * time.Hour)
			return nil
		})}))
		s.ends(999 * time.Hour)
		s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
	})
	otpCase(t, "sup_stop_timeout", func(t *testing.T) {
		deafIsAbandoned(t, 3*time.Second)
	})
	otpCase(t, "sup_stop_brutal_kill", func(t *testing.T) {
		deafIsAbandoned(t, time.Nanosecond)
	})
	otpCase(t, "child_unlink", func(t *testing.T) {
		release, free := gate(t)
		s := serve(t, services(
			scheduler.Spec{Alias: "a", Service: idle},
			scheduler.Spec{Alias: "naughty", StopTimeout: 3 * time.Second, Service: scheduler.Func(func(ctx context.Context) error {
				return deaf(release)(context.WithoutCancel(ctx))
			})},
		))
		begin := time.Now()
		require.ErrorIs(t, s.Stop(t.Context(), "naughty"), scheduler.ErrStopTimeout)
		require.Equal(t, 3*time.Second, time.Since(begin))
		require.NoError(t, s.Restart(t.Context(), "a"), "nothing else hangs")
		require.Len(t, s.Unstopped(), 1)
		free()
		synctest.Wait()
		require.Empty(t, s.Unstopped())
		require.NoError(t, s.Start(t.Context(), "naughty"))
		s.ends(0)
	})
	for name, limit := range map[string]time.Duration{"simple_one_for_one_shutdown": 2 * time.Second, "simple_one_for_one_shutdown, too slow": time.Second / 2} {
		otpCase(t, name, func(t *testing.T) { poolStops(t, limit) })
	}
}

// deafIsAbandoned: a deaf service ends as abandoned after its stop timeout, and
// its work is over; the others end cleanly. It can't be killed.
func deafIsAbandoned(t *testing.T, limit time.Duration) {
	var j journal
	release, free := gate(t)
	var over atomic.Int64
	begin := time.Now()
	naughty := scheduler.Func(func(ctx context.Context) error {
		work := scheduler.Work(ctx)
		context.AfterFunc(work, func() { over.Store(int64(time.Since(begin))) })
		<-release
		return nil
	})
	a, c := j.child("a"), j.child("c")
	s := serve(t, services(a.spec(), scheduler.Spec{Alias: "b", Service: naughty, StopTimeout: limit}, c.spec()))
	took, err := s.stop()
	synctest.Wait()
	require.Equal(t, max(limit, time.Second), took)
	var left *scheduler.UnstoppedError
	require.ErrorAs(t, err, &left)
	require.Len(t, left.Services, 1)
	require.Equal(t, "os/scheduler/b", left.Services[0].Path)
	require.Equal(t, took, left.Services[0].For)
	require.EqualValues(t, limit, over.Load(), "its work is over")
	s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
	s.wantState("b", scheduler.Stopped, scheduler.Abandoned)
	s.wantState("c", scheduler.Stopped, scheduler.EndedOnPurpose)
	require.Equal(t, 1, s.status("b").Abandoned)
	free()
	synctest.Wait()
	require.Zero(t, s.status("b").Abandoned)
}

// poolStops: the workers of a pool stop together, each within the stop timeout.
func poolStops(t *testing.T, limit time.Duration) {
	var j journal
	s := serve(t, services(scheduler.Spec{
		Alias: "pool", Pool: 100, StopTimeout: limit,
		Factory: func() scheduler.Service { return j.child("w") },
	}))
	s.wantState("pool", scheduler.Started, scheduler.NotEnded)
	took, err := s.stop()
	require.Equal(t, min(limit, time.Second), took)
	if limit >= time.Second {
		require.NoError(t, err)
		s.wantState("pool", scheduler.Stopped, scheduler.EndedOnPurpose)
		return
	}
	var left *scheduler.UnstoppedError
	require.ErrorAs(t, err, &left)
	require.Len(t, left.Services, 100)
	s.wantState("pool", scheduler.Stopped, scheduler.Abandoned)
	time.Sleep(time.Second)
	require.Empty(t, s.Unstopped())
}

func TestOTPOrder(t *testing.T) {
	otpCase(t, "order_of_children", func(t *testing.T) {
		var j journal
		a, b, c := j.child("a"), j.child("b"), j.child("c")
		s := serve(t, services(c.spec("b"), b.spec("a"), a.spec()))
		s.ends(3 * time.Second)
		require.Equal(t, []string{"+a", "+b", "+c", "-c", "-b", "-a"}, j.take())
	})
	otpCase(t, "order_of_children, rest for one", func(t *testing.T) {
		var j journal
		config := scheduler.Config{Groups: []scheduler.Group{{Name: "g", Strategy: scheduler.RestForOne}}}
		var all []*child
		for i, alias := range []string{"a", "b", "c", "d"} {
			all = append(all, j.child(alias))
			spec := all[i].spec()
			if i > 0 {
				spec.After = []string{all[i-1].alias}
			}
			spec.Group = "g"
			config.Services = append(config.Services, spec)
		}
		s := serve(t, config)
		begin := time.Now()
		all[1].end(errBroken)
		require.NoError(t, s.AwaitStarted(t.Context()))
		require.Equal(t, 2*time.Second, time.Since(begin), "c and d stop while b backs off")
		require.Equal(t, []string{"+a", "+b", "+c", "+d", "*b", "-d", "-c", "+b", "+c", "+d"}, j.take())
		s.wantRuns("a", 1)
		s.ends(4 * time.Second)
	})
	otpCase(t, "order_of_children, while one is down", func(t *testing.T) {
		var j journal
		b := j.child("b")
		s := serve(t, services(j.child("a").spec(), b.spec("a"), j.child("c").spec("b")))
		b.end(errBroken)
		s.ends(2 * time.Second)
		require.Equal(t, []string{"+a", "+b", "+c", "*b", "-c", "-a"}, j.take())
	})
}
