package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// Contradictory specs are refused at once, with the reason, and nothing of
// them is kept.
func TestGuarantee8ContradictorySpecs(t *testing.T) {
	base := func(change func(*scheduler.Spec)) scheduler.Spec {
		s := scheduler.Spec{Alias: "a", Service: idle}
		change(&s)
		return s
	}
	factory := func() scheduler.Service { return idle }
	handle := func(context.Context, scheduler.Exception) error { return nil }
	for _, c := range []struct {
		field, want string
		spec        scheduler.Spec
	}{
		{"Alias", "empty", base(func(s *scheduler.Spec) { s.Alias = "" })},
		{"Alias", "separates", base(func(s *scheduler.Spec) { s.Alias = "a/b" })},
		{"Alias", "printed", base(func(s *scheduler.Spec) { s.Alias = "a\nb" })},
		{"Alias", "printed", base(func(s *scheduler.Spec) { s.Alias = "a\xff" })},
		{"Alias", "at most 128", base(func(s *scheduler.Spec) { s.Alias = fmt.Sprintf("%129d", 1) })},
		{"Service", "neither", base(func(s *scheduler.Spec) { s.Service = nil })},
		{"Service", "both", base(func(s *scheduler.Spec) { s.Factory = factory })},
		{"Service", "nil scheduler.Func", base(func(s *scheduler.Spec) { s.Service = scheduler.Func(nil) })},
		{"Service", "nil *scheduler_test.alone", base(func(s *scheduler.Spec) { s.Service = (*alone)(nil) })},
		{"StartDelay", "-1s is negative", base(func(s *scheduler.Spec) { s.StartDelay = -time.Second })},
		{"StartTimeout", "-1s is negative", base(func(s *scheduler.Spec) { s.StartTimeout = -time.Second })},
		{"StopTimeout", "-1s is negative", base(func(s *scheduler.Spec) { s.StopTimeout = -time.Second })},
		{"RetryWindow", "-1s is negative", base(func(s *scheduler.Spec) { s.RetryWindow = -time.Second })},
		{"GoodRun", "-1s is negative", base(func(s *scheduler.Spec) { s.GoodRun = -time.Second })},
		{"Restart", "RestartPolicy(3)", base(func(s *scheduler.Spec) { s.Restart = 3 })},
		{"Restart", "RestartPolicy(-1)", base(func(s *scheduler.Spec) { s.Restart = -1 })},
		{"RetryLimit", "-1 is not between", base(func(s *scheduler.Spec) { s.RetryLimit = -1 })},
		{"RetryLimit", "10001 is not between", base(func(s *scheduler.Spec) { s.RetryLimit = 10_001 })},
		{"RetryLimit", "never restarts", base(func(s *scheduler.Spec) { s.RetryLimit, s.Restart = 1, scheduler.Temporary })},
		{"RetryLimit", "never restarts", base(func(s *scheduler.Spec) { s.RetryLimit, s.Restart, s.ExitOnError = 1, scheduler.Transient, true })},
		{"Backoff", "never restarts", base(func(s *scheduler.Spec) { s.Backoff, s.Restart = at(0), scheduler.Temporary })},
		{"Backoff", "never restarts", base(func(s *scheduler.Spec) { s.Backoff, s.Restart, s.HaltOnFailure = at(0), scheduler.Transient, true })},
		{"GoodRun", "never restarts", base(func(s *scheduler.Spec) { s.GoodRun, s.Restart = 1, scheduler.Temporary })},
		{"RetryWindow", "without RetryLimit", base(func(s *scheduler.Spec) { s.RetryWindow = 1 })},
		{"HaltOnFailure", "with ExitOnError", base(func(s *scheduler.Spec) { s.ExitOnError, s.HaltOnFailure = true, true })},
		{"Pool", "-1 is not between", base(func(s *scheduler.Spec) { s.Pool = -1 })},
		{"Pool", "need a Factory", base(func(s *scheduler.Spec) { s.Pool = 2 })},
		{"After", "after itself", base(func(s *scheduler.Spec) { s.After = []string{"a"} })},
		{"After", "listed twice", base(func(s *scheduler.Spec) { s.After = []string{"b", "b"} })},
		{"After", `"b" is not registered`, base(func(s *scheduler.Spec) { s.After = []string{"b"} })},
		{"Handlers", "nil Handle", base(func(s *scheduler.Spec) { s.Handlers = []scheduler.Handler{{Name: "h"}} })},
		{"Handlers", "no Name", base(func(s *scheduler.Spec) { s.Handlers = []scheduler.Handler{{Handle: handle}} })},
		{"Handlers", "in PreHook already", base(func(s *scheduler.Spec) {
			s.PreHook = scheduler.Handler{Name: "h", Handle: handle}
			s.Handlers = []scheduler.Handler{s.PreHook}
		})},
		{"Handlers", "65 are more than 64", base(func(s *scheduler.Spec) { s.Handlers = make([]scheduler.Handler, 65) })},
		{"PreHook", "nil Handle", base(func(s *scheduler.Spec) { s.PreHook.Name = "h" })},
		{"PostHook", "negative", base(func(s *scheduler.Spec) { s.PostHook = scheduler.Handler{Name: "h", Handle: handle, Timeout: -1} })},
	} {
		t.Run(c.field+" "+c.want, func(t *testing.T) {
			_, err := scheduler.New(services(c.spec))
			wantSpecError(t, err, c.spec.Alias, c.field, c.want)
			s, err := scheduler.New(scheduler.Config{})
			require.NoError(t, err)
			wantSpecError(t, s.Add(c.spec), c.spec.Alias, c.field, c.want)
			require.Empty(t, s.Services())
		})
	}
	spec := func(alias string, after ...string) scheduler.Spec {
		return scheduler.Spec{Alias: alias, Service: idle, After: after}
	}
	_, err := scheduler.New(services(spec("x"), spec("a", "c"), spec("b", "a"), spec("c", "x", "b")))
	wantSpecError(t, err, "a", "After", "cycle: a after c after b after a")
	_, err = scheduler.New(services(spec("a"), spec("a")))
	wantSpecError(t, err, "a", "Alias", "used twice")
	require.ErrorIs(t, err, scheduler.ErrExists)
	_, err = scheduler.New(services(spec("a", "b")))
	require.ErrorIs(t, err, scheduler.ErrUnknown)

	for field, config := range map[string]scheduler.Config{
		"Config.Name":           {Name: "os//scheduler"},
		"Config.HandlerTimeout": {HandlerTimeout: -1},
		"Config.Exceptions":     {Exceptions: -1},
		"Config.HandlerQueue":   {HandlerQueue: 1 << 21},
		"Config.LogQueue":       {LogQueue: -1},
		"Handlers":              {Handlers: []scheduler.Handler{{}}},
	} {
		_, err := scheduler.New(config)
		wantSpecError(t, err, "", field, "")
	}
}

func wantSpecError(t *testing.T, err error, alias, field, text string) {
	t.Helper()
	require.ErrorIs(t, err, scheduler.ErrSpec)
	spec, ok := errors.AsType[*scheduler.SpecError](err)
	require.True(t, ok)
	require.Equal(t, alias, spec.Alias)
	require.Equal(t, field, spec.Field)
	require.Contains(t, spec.Reason, text)
	require.Contains(t, err.Error(), field)
}
