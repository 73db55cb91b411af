package scheduler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// states brings a service a, which takes a second for each of its steps, into
// each state and end that it can be found in.
func states() map[string]func(s *rig, c *cast) {
	ctx := context.Background()
	do := func(f func(context.Context, string) error) { go func() { _ = f(ctx, "a") }() }
	ready := func() { time.Sleep(2 * time.Second); synctest.Wait() }
	return map[string]func(s *rig, c *cast){
		"idle":                func(*rig, *cast) {},
		"starting":            func(*rig, *cast) { time.Sleep(1500 * time.Millisecond) },
		"started":             func(*rig, *cast) { ready() },
		"draining":            func(s *rig, _ *cast) { ready(); do(s.Manager().Drain); synctest.Wait() },
		"stopping":            func(s *rig, _ *cast) { ready(); do(s.Stop); synctest.Wait() },
		"stopping to restart": func(s *rig, _ *cast) { ready(); do(s.Restart); synctest.Wait() },
		"stopped":             func(s *rig, _ *cast) { ready(); _ = s.Stop(ctx, "a") },
		"stopped before":      func(s *rig, _ *cast) { _ = s.Stop(ctx, "a") },
		"backing off":         func(_ *rig, c *cast) { ready(); c.fail("a") },
		"held":                func(_ *rig, c *cast) { ready(); c.fail("b"); time.Sleep(time.Second); synctest.Wait() },
		"gave up":             func(_ *rig, c *cast) { ready(); c.fail("a"); ready(); c.fail("a") },
		"completed":           func(_ *rig, c *cast) { ready(); c.end("a", nil) },
		"halted by its group": func(_ *rig, c *cast) {
			ready()
			c.fail("b")
			ready()
			time.Sleep(time.Second)
			synctest.Wait()
			c.fail("b")
			time.Sleep(time.Second)
		},
		"backing off and held": func(_ *rig, c *cast) { ready(); c.fail("a"); c.fail("b") },
	}
}

// What each call does to a service in each state: whoever is told that it has
// succeeded finds it so.
func TestStates(t *testing.T) {
	ctx := context.Background()
	gone := func(s *rig) { _, err := s.Status("a"); require.ErrorIs(s.t, err, scheduler.ErrUnknown) }
	stopped := func(s *rig) { require.Equal(s.t, scheduler.Stopped, s.status("a").State, s.status("a").Reason) }
	started := func(s *rig) { require.Equal(s.t, scheduler.Started, s.status("a").State, s.status("a").Reason) }
	again := func(s *rig) { started(s); require.EqualValues(s.t, s.status("a").Starts, s.status("a").Generation) }
	for verb, c := range map[string]struct {
		call func(s *rig) error
		then func(s *rig)
	}{
		"start":   {func(s *rig) error { return s.Start(ctx, "a") }, started},
		"stop":    {func(s *rig) error { return s.Stop(ctx, "a") }, stopped},
		"drain":   {func(s *rig) error { return s.Manager().Drain(ctx, "a") }, stopped},
		"restart": {func(s *rig) error { return s.Restart(ctx, "a") }, again},
		"remove":  {func(s *rig) error { return s.Remove(ctx, "a") }, gone},
		"end":     {func(s *rig) error { _, err := s.stop(); return err }, stopped},
		"shut":    {func(s *rig) error { return s.Shutdown(ctx) }, stopped},
	} {
		for state, bring := range states() {
			t.Run(verb+" "+state, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cast := newCast(t)
					once := takes(time.Second, time.Second)
					s := serve(t, grouped(rest, cast.spec("b", in("g"), limit(1, 0), backoff(5*time.Second)), cast.drains("a", time.Second, in("g"), once,
						limit(1, 0), restart(scheduler.Transient), spec(func(s *scheduler.Spec) { s.StartDelay = time.Second }))))
					bring(s, cast)
					before := s.status("a")
					err := c.call(s)
					if verb == "start" && state == "started" {
						require.ErrorIs(t, err, scheduler.ErrRunning)
						err = nil
					}
					require.NoError(t, err)
					synctest.Wait()
					c.then(s)
					if verb == "restart" {
						require.Greater(t, s.status("a").Starts, before.Starts)
					}
					time.Sleep(time.Hour) // and it stays so
					synctest.Wait()
					c.then(s)
					if verb != "end" && verb != "shut" {
						s.closed()
					}
				})
			})
		}
	}
}
