package scheduler_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// refusal is a row: what is asked, and how that is refused. Of a SpecError the
// field is given, of others only the sentinel.
type refusal struct {
	name  string
	ask   func(s *rig) error
	field string
	is    error
	text  string
}

// TestBadInput: whatever can't be meant, or can't be done now, is refused by an
// error of a type that says what was wrong, and changes nothing.
func TestBadInput(t *testing.T) {
	for name, rows := range map[string][]refusal{
		"spec": badSpecs(), "start, restart, end": badEnds(), "schedule, handlers, after": badRest(),
		"config": badConfigs(), "operation": badOperations(),
	} {
		for _, row := range rows {
			t.Run(name+"/"+row.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { row.check(t) })
			})
		}
	}
}

// check asks a scheduler with services in each state, of which nothing may
// change.
func (r refusal) check(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, services(
		scheduler.Spec{Alias: "running", Service: idle, Meta: map[string]string{"k": "v"}},
		scheduler.Spec{Alias: "dependant", Service: idle, After: []string{"running"}},
		scheduler.Spec{Alias: "stopped", Service: idle},
		scheduler.Spec{Alias: "behind", Service: idle, After: []string{"stopped"}},
		scheduler.Spec{Alias: "failed", Service: fails, Restart: scheduler.Temporary},
		scheduler.Spec{Alias: "deaf", Service: deaf(release), StopTimeout: time.Second},
		scheduler.Spec{Alias: "removed", Service: deaf(release), StopTimeout: time.Second},
		scheduler.Spec{Alias: "pool", Pool: 2, Factory: func() scheduler.Service { return idle }},
		scheduler.Spec{Alias: "ticks", Service: idle, Schedule: &scheduler.Schedule{Every: time.Hour}},
		scheduler.Spec{Alias: "paused", Service: idle, Schedule: &scheduler.Schedule{Every: time.Hour}},
		scheduler.Spec{Alias: "lone", Pool: 1, Factory: idleFactory, Schedule: &scheduler.Schedule{Every: time.Hour}},
		scheduler.Spec{Alias: "overlaps", Pool: 2, Factory: idleFactory, Schedule: &scheduler.Schedule{Every: time.Hour, Overlap: scheduler.Allow}},
	))
	ctx := context.Background()
	require.NoError(t, s.Stop(ctx, "stopped"))
	require.NoError(t, s.Stop(ctx, "paused"))
	require.ErrorIs(t, s.Stop(ctx, "deaf"), scheduler.ErrStopTimeout)
	require.ErrorIs(t, s.Remove(ctx, "removed"), scheduler.ErrStopTimeout)
	before := s.Services()
	err := r.ask(s)
	require.ErrorIs(t, err, r.is)
	require.ErrorContains(t, err, r.text)
	require.True(t, strings.HasPrefix(err.Error(), "scheduler: "), err.Error())
	spec, ok := errors.AsType[*scheduler.SpecError](err)
	require.Equal(t, r.field != "", ok, "%T", err)
	if ok {
		require.Equal(t, r.field, spec.Field)
		require.ErrorIs(t, err, scheduler.ErrSpec)
		require.Contains(t, err.Error(), r.field)
	}
	if s.status("running").State == scheduler.Started { // else: it was about the end of Serve
		after := s.Services()
		require.Len(t, after, len(before))
		for i := range after {
			before[i].Reason, after[i].Reason = "", "" // which tells the time
			require.Equal(t, before[i], after[i], "nothing is done by halves")
		}
	}
	close(release)
	s.cancel()
	<-s.result
}

func idleFactory() scheduler.Service { return idle }

// add is a row of a Spec that Add refuses, as New does.
func add(name, field, text string, change func(*scheduler.Spec)) refusal {
	spec := scheduler.Spec{Alias: "new", Service: idle}
	change(&spec)
	return refusal{name: name, field: field, text: text, is: scheduler.ErrSpec, ask: func(s *rig) error {
		err := s.Add(spec)
		_, again := scheduler.New(scheduler.Config{Services: []scheduler.Spec{
			{Alias: "running", Service: idle}, {Alias: "removed", Service: idle}, spec,
		}})
		if field != "Group" && spec.After == nil && (again == nil || again.Error() != err.Error()) {
			return errors.Join(again, errors.New("New and Add differ"))
		}
		return err
	}}
}

func badSpecs() []refusal {
	type S = scheduler.Spec
	return []refusal{
		add("empty alias", "Alias", "is empty", func(s *S) { s.Alias = "" }),
		add("long alias", "Alias", "is 129 bytes long; at most 128 are allowed", func(s *S) { s.Alias = strings.Repeat("x", 129) }),
		add("slash", "Alias", "contains '/'", func(s *S) { s.Alias = "a/b" }),
		add("newline", "Alias", "can't be printed", func(s *S) { s.Alias = "a\nb" }),
		add("not UTF-8", "Alias", "can't be printed", func(s *S) { s.Alias = "a\xff" }),
		add("no service", "Service", "neither Service nor Factory", func(s *S) { s.Service = nil }),
		add("two services", "Service", "both Service and Factory", func(s *S) { s.Factory = idleFactory }),
		add("nil function", "Service", "nil scheduler.Func", func(s *S) { s.Service = scheduler.Func(nil) }),
		add("nil pointer", "Service", "nil *scheduler_test.alone", func(s *S) { s.Service = (*alone)(nil) }),
		add("negative pool", "Pool", "-1 is not between 0 and 100000", func(s *S) { s.Pool = -1 }),
		add("large pool", "Pool", "100001 is not between 0 and 100000", func(s *S) { s.Pool = 100_001 }),
		add("pool of one instance", "Pool", "2 workers need a Factory", func(s *S) { s.Pool = 2 }),
		add("start delay", "StartDelay", "-1s is negative", func(s *S) { s.StartDelay = -time.Second }),
		add("start timeout", "StartTimeout", "-1s is negative", func(s *S) { s.StartTimeout = -time.Second }),
		add("start limit", "StartLimit", "-1s is negative", func(s *S) { s.StartLimit = -time.Second }),
		add("drain timeout", "DrainTimeout", "-1s is negative", func(s *S) { s.DrainTimeout = -time.Second }),
		add("stop timeout", "StopTimeout", "-1s is negative", func(s *S) { s.StopTimeout = -time.Second }),
		add("retry window", "RetryWindow", "-1s is negative", func(s *S) { s.RetryWindow = -time.Second }),
		add("good run", "GoodRun", "-1s is negative", func(s *S) { s.GoodRun = -time.Second }),
		add("save every", "SaveEvery", "-1s is negative", func(s *S) { s.SaveEvery = -time.Second }),
		add("save timeout", "SaveTimeout", "-1s is negative", func(s *S) { s.SaveTimeout = -time.Second }),
		add("group", "Group", `"nobody" is not in Config.Groups`, func(s *S) { s.Group = "nobody" }),
	}
}

func badEnds() []refusal {
	type S = scheduler.Spec
	never := func(s *S, how int) {
		switch how {
		case 0:
			s.Restart = scheduler.Temporary
		case 1:
			s.Restart, s.ExitOnError = scheduler.Transient, true
		case 2:
			s.Restart, s.HaltOnFailure = scheduler.Transient, true
		case 3:
			s.Schedule = &scheduler.Schedule{Every: time.Hour}
		}
	}
	rows := []refusal{
		add("limit without timeout", "StartLimit", "without StartTimeout", func(s *S) { s.StartLimit = 1 }),
		add("limit below timeout", "StartLimit", "1s is below the StartTimeout of 2s", func(s *S) { s.StartLimit, s.StartTimeout = time.Second, 2*time.Second }),
		add("roll back without timeout", "RollBack", "without StartTimeout", func(s *S) { s.RollBack = true }),
		add("policy below", "Restart", "RestartPolicy(-1) is none of", func(s *S) { s.Restart = -1 }),
		add("policy above", "Restart", "RestartPolicy(3) is none of", func(s *S) { s.Restart = 3 }),
		add("negative retries", "RetryLimit", "-1 is not between 0 and 10000", func(s *S) { s.RetryLimit = -1 }),
		add("many retries", "RetryLimit", "10001 is not between 0 and 10000", func(s *S) { s.RetryLimit = 10_001 }),
		add("window without limit", "RetryWindow", "without RetryLimit", func(s *S) { s.RetryWindow = 1 }),
		add("halt and exit", "HaltOnFailure", "with ExitOnError", func(s *S) { s.HaltOnFailure, s.ExitOnError = true, true }),
		add("escalate without limit", "Escalate", "without RetryLimit", func(s *S) { s.Escalate = true }),
		add("escalate and recover", "Recover", "with Escalate", func(s *S) { s.RetryLimit, s.Escalate, s.Recover = 1, true, true }),
		add("significant for ever", "Significant", "never ends by itself", func(s *S) { s.Significant = true }),
		add("significant and recover", "Recover", "with Significant", func(s *S) { s.RetryLimit, s.Significant, s.Recover = 1, true, true }),
		add("recover and exit", "Recover", "with ExitOnError or HaltOnFailure", func(s *S) { s.Recover, s.ExitOnError = true, true }),
		add("recover and halt", "Recover", "with ExitOnError or HaltOnFailure", func(s *S) { s.Recover, s.HaltOnFailure = true, true }),
		add("recover temporary", "Recover", "temporary, which never restarts", func(s *S) { s.Recover, s.Restart = true, scheduler.Temporary }),
	}
	for how, name := range []string{"temporary", "transient and ExitOnError", "transient and HaltOnFailure", "Schedule and Restart permanent"} {
		rows = append(rows,
			add("retries "+name, "RetryLimit", name+", which never restarts", func(s *S) { never(s, how); s.RetryLimit = 1 }),
			add("backoff "+name, "Backoff", name+", which never restarts", func(s *S) { never(s, how); s.Backoff = at(0) }),
			add("good run "+name, "GoodRun", name+", which never restarts", func(s *S) { never(s, how); s.GoodRun = 1 }),
		)
	}
	return rows
}

func badRest() []refusal {
	type S = scheduler.Spec
	handle := func(context.Context, scheduler.Exception) error { return nil }
	h := scheduler.Handler{Name: "h", Handle: handle}
	hourly := scheduler.Schedule{Every: time.Hour}
	overlapping := scheduler.Schedule{Every: time.Hour, Overlap: scheduler.Allow}
	pool := func(s *S, n int) { s.Service, s.Factory, s.Pool = nil, idleFactory, n }
	unknown := add("unknown dependency", "After", `"nobody" is not registered`, func(s *S) { s.After = []string{"nobody"} })
	unknown.is = scheduler.ErrUnknown
	removed := add("dependency that is being removed", "After", `"removed" is not registered`, func(s *S) { s.After = []string{"removed"} })
	removed.is = scheduler.ErrUnknown
	taken := add("duplicate alias", "Alias", "is registered already", func(s *S) { s.Alias = "running" })
	taken.is, taken.ask = scheduler.ErrExists, func(s *rig) error { return s.Add(S{Alias: "running", Service: idle}) }
	held := taken
	held.name, held.ask = "alias that is being removed", func(s *rig) error { return s.Add(S{Alias: "removed", Service: idle}) }
	return []refusal{
		unknown, removed, taken, held,
		add("overlap of one", "Schedule.Overlap", "need a Pool of at least 2", func(s *S) { s.Schedule = &overlapping }),
		add("overlap of a pool of one", "Schedule.Overlap", "it is 1", func(s *S) { pool(s, 1); s.Schedule = &overlapping }),
		add("pool that can't overlap", "Pool", "3 workers under a Schedule need Overlap Allow", func(s *S) { pool(s, 3); s.Schedule = &hourly }),
		add("roll back a schedule", "RollBack", "with a Schedule", func(s *S) { s.RollBack, s.StartTimeout, s.Schedule = true, 1, &hourly }),
		add("escalating schedule", "Escalate", "waits for the next tick", func(s *S) {
			s.Schedule, s.Restart, s.RetryLimit, s.Escalate = &hourly, scheduler.Transient, 1, true
		}),
		add("significant schedule", "Significant", "never ends by itself", func(s *S) { s.Schedule, s.Significant = &hourly, true }),
		add("significant schedule with a limit", "Significant", "never ends by itself", func(s *S) {
			s.Schedule, s.Restart, s.RetryLimit, s.Significant = &hourly, scheduler.Transient, 1, true
		}),
		add("after itself", "After", "after itself", func(s *S) { s.After = []string{"new"} }),
		add("after twice", "After", `"running" is listed twice`, func(s *S) { s.After = []string{"running", "running"} }),
		add("nil handler", "Handlers", `handler "h" has a nil Handle`, func(s *S) { s.Handlers = []scheduler.Handler{{Name: "h"}} }),
		add("nameless handler", "Handlers", "no Name", func(s *S) { s.Handlers = []scheduler.Handler{{Handle: handle}} }),
		add("negative handler", "Handlers", "Timeout -1ns is negative", func(s *S) { s.Handlers = []scheduler.Handler{{Name: "h", Handle: handle, Timeout: -1}} }),
		add("handler twice", "PostHook", `"h" is in PreHook already`, func(s *S) { s.PreHook, s.PostHook = h, h }),
		add("nil hook", "PreHook", "nil Handle", func(s *S) { s.PreHook.Name = "h" }),
		add("many handlers", "Handlers", "65 are more than 64", func(s *S) { s.Handlers = make([]scheduler.Handler, 65) }),
	}
}

func badConfigs() (rows []refusal) {
	type C = scheduler.Config
	type S = scheduler.Spec
	type G = scheduler.Group
	row := func(name, field, text string, is error, c C) {
		rows = append(rows, refusal{name: name, field: field, text: text, is: is, ask: func(*rig) error {
			s, err := scheduler.New(c)
			if s != nil {
				return errors.New("a scheduler was made")
			}
			return err
		}})
	}
	bad := func(name, field, text string, c C) { row(name, field, text, scheduler.ErrSpec, c) }
	groups := func(name, field, text string, g ...G) {
		bad(name, field, text, C{Groups: g, Services: []S{{Alias: "a", Service: idle, Group: "g"}}})
	}
	a := S{Alias: "a", Service: idle}
	bad("name", "Config.Name", `"os//x": the step "" is empty`, C{Name: "os//x"})
	bad("name", "Config.Name", `"os/\n": the step "\n" contains a character that can't be printed`, C{Name: "os/\n"})
	bad("handler timeout", "Config.HandlerTimeout", "-1s is negative", C{HandlerTimeout: -time.Second})
	bad("exceptions", "Config.Exceptions", "-1 is not between 0", C{Exceptions: -1})
	bad("handler queue", "Config.HandlerQueue", "2097152 is not between 0, for the default, and 1048576", C{HandlerQueue: 1 << 21})
	bad("log queue", "Config.LogQueue", "-1 is not between 0", C{LogQueue: -1})
	bad("retries", "Config.RetryLimit", "-1 is not between 0 and 10000", C{RetryLimit: -1})
	bad("window", "Config.RetryWindow", "-1s is negative", C{RetryLimit: 1, RetryWindow: -time.Second})
	bad("window without limit", "Config.RetryWindow", "without RetryLimit", C{RetryWindow: 1})
	bad("all of none", "Config.AllSignificant", "without a Significant service", C{AllSignificant: true, Services: []S{a}})
	bad("handlers", "Handlers", "nil Handle", C{Handlers: []scheduler.Handler{{Name: "h"}}})
	groups("nameless group", "Config.Groups[0].Name", `"" is empty`, G{})
	groups("group with a slash", "Config.Groups[0].Name", "contains '/'", G{Name: "a/b"})
	groups("group twice", "Config.Groups[1].Name", `"g" is used twice`, G{Name: "g"}, G{Name: "g"})
	groups("strategy", "Config.Groups[0].Strategy", "Strategy(3) is none of", G{Name: "g", Strategy: 3})
	groups("group's retries", "Config.Groups[0].RetryLimit", "10001 is not between", G{Name: "g", RetryLimit: 10_001})
	groups("group's window", "Config.Groups[0].RetryWindow", "-1s is negative", G{Name: "g", RetryLimit: 1, RetryWindow: -time.Second})
	groups("group's window without limit", "Config.Groups[0].RetryWindow", "without RetryLimit", G{Name: "g", RetryWindow: 1})
	groups("group's escalation without limit", "Config.Groups[0].Escalate", "without RetryLimit", G{Name: "g", Escalate: true})
	groups("strategy of an empty group", "Config.Groups[1]", `"h" with strategy one for all has no services`, G{Name: "g"}, G{Name: "h", Strategy: scheduler.OneForAll})
	row("unknown group", "Group", `"g" is not in Config.Groups`, scheduler.ErrUnknown, C{Services: []S{{Alias: "a", Service: idle, Group: "g"}}})
	bad("schedule that restarts others", "Group", `"g" has strategy one for all`, C{
		Groups: []G{{Name: "g", Strategy: scheduler.OneForAll}}, Services: []S{{
			Alias: "a", Service: idle, Group: "g", Schedule: &scheduler.Schedule{Every: time.Hour},
		}},
	})
	row("duplicate alias", "Alias", "used twice", scheduler.ErrExists, C{Services: []S{a, a}})
	row("unknown dependency", "After", `"b" is not registered`, scheduler.ErrUnknown, C{Services: []S{{Alias: "a", Service: idle, After: []string{"b"}}}})
	bad("cycle", "After", "cycle: a after c after b after a", C{Services: []S{
		{Alias: "a", Service: idle, After: []string{"c"}}, {Alias: "b", Service: idle, After: []string{"a"}}, {Alias: "c", Service: idle, After: []string{"b"}},
	}})
	bad("bad service", "StopTimeout", "negative", C{Services: []S{a, {Alias: "b", Service: idle, StopTimeout: -1}}})
	return rows
}

func badOperations() (rows []refusal) {
	ctx := context.Background()
	row := func(name string, is error, text string, ask func(s *rig, m *scheduler.ServiceManager) error) {
		rows = append(rows, refusal{name: name, is: is, text: text, ask: func(s *rig) error { return ask(s, s.Manager()) }})
	}
	spec := func(name, text string, ask func(s *rig, m *scheduler.ServiceManager) error) {
		rows = append(rows, refusal{name: name, field: "Pool", is: scheduler.ErrSpec, text: text, ask: func(s *rig) error { return ask(s, s.Manager()) }})
	}
	type M = scheduler.ServiceManager
	verbs := map[string]func(s *rig, m *M, alias string) error{
		"start":   func(s *rig, _ *M, alias string) error { return s.Start(ctx, alias) },
		"stop":    func(s *rig, _ *M, alias string) error { return s.Stop(ctx, alias) },
		"restart": func(s *rig, _ *M, alias string) error { return s.Restart(ctx, alias) },
		"remove":  func(s *rig, _ *M, alias string) error { return s.Remove(ctx, alias) },
		"drain":   func(_ *rig, m *M, alias string) error { return m.Drain(ctx, alias) },
		"resize":  func(_ *rig, m *M, alias string) error { return m.Resize(alias, 1) },
		"replace": func(_ *rig, m *M, alias string) error { return m.Replace(ctx, alias) },
		"trigger": func(_ *rig, m *M, alias string) error { return m.Trigger(alias) },
		"await":   func(s *rig, _ *M, alias string) error { return s.AwaitStarted(ctx, alias) },
		"status of": func(s *rig, _ *M, alias string) error {
			_, err := s.Status(alias)
			return err
		},
		"find": func(s *rig, _ *M, alias string) error {
			_, err := scheduler.Lookup[scheduler.Service](s.Directory(), alias)
			return err
		},
	}
	for _, verb := range slices.Sorted(maps.Keys(verbs)) {
		row(verb+" unknown", scheduler.ErrUnknown, `unknown alias: `+verb+` "nobody"`, func(s *rig, m *M) error { return verbs[verb](s, m, "nobody") })
	}
	for _, verb := range []string{"start", "restart", "resize"} {
		row(verb+" removed", scheduler.ErrUnknown, `"removed" is being removed`, func(s *rig, m *M) error { return verbs[verb](s, m, "removed") })
	}
	for _, verb := range []string{"start", "restart"} {
		row(verb+" behind one that is stopped", scheduler.ErrStopped, verb+` "behind": it comes after "stopped"`, func(s *rig, m *M) error { return verbs[verb](s, m, "behind") })
		row(verb+" after shutdown", scheduler.ErrNotServing, verb+` "running"`, func(s *rig, m *M) error {
			_ = s.Shutdown(ctx)
			return verbs[verb](s, m, "running")
		})
	}
	row("replace after shutdown", scheduler.ErrNotServing, `replace "pool"`, func(s *rig, m *M) error {
		_ = s.Shutdown(ctx)
		return m.Replace(ctx, "pool")
	})
	row("trigger after shutdown", scheduler.ErrNotStarted, `trigger "ticks": stopped`, func(s *rig, m *M) error {
		_ = s.Shutdown(ctx)
		return m.Trigger("ticks")
	})
	row("find after shutdown", scheduler.ErrNotStarted, `"running" is stopped`, func(s *rig, m *M) error {
		_ = s.Shutdown(ctx)
		return verbs["find"](s, m, "running")
	})
	row("trigger stopped", scheduler.ErrNotStarted, `trigger "paused": stopped`, func(_ *rig, m *M) error { return m.Trigger("paused") })
	row("start running", scheduler.ErrRunning, `start "running"`, func(s *rig, _ *M) error { return s.Start(ctx, "running") })
	row("start deaf", scheduler.ErrAbandoned, `start "deaf"`, func(s *rig, _ *M) error { return s.Start(ctx, "deaf") })
	row("stop deaf", scheduler.ErrStopTimeout, "1 did not stop: os/scheduler/deaf", func(s *rig, _ *M) error { return s.Stop(ctx, "deaf") })
	row("remove with dependants", scheduler.ErrDependants, `"dependant" comes after it`, func(s *rig, _ *M) error { return s.Remove(ctx, "running") })
	row("trigger running", scheduler.ErrNotScheduled, `trigger "running"`, func(_ *rig, m *M) error { return m.Trigger("running") })
	row("find stopped", scheduler.ErrNotStarted, `"stopped" is stopped`, func(s *rig, m *M) error { return verbs["find"](s, m, "stopped") })
	row("find another type", scheduler.ErrType, `"running" is a scheduler.Func, not a *scheduler_test.alone`, func(s *rig, _ *M) error {
		_, err := scheduler.Lookup[*alone](s.Directory(), "running")
		return err
	})
	row("serve twice", scheduler.ErrServing, "already serving", func(s *rig, _ *M) error { return s.Serve(ctx) })
	row("shut down twice", scheduler.ErrNotServing, "shut down", func(s *rig, _ *M) error {
		_ = s.Shutdown(ctx)
		return s.Shutdown(ctx)
	})
	row("add while it ends", scheduler.ErrNotServing, `add "x" while stopping`, func(s *rig, _ *M) error {
		_ = s.Add(scheduler.Spec{Alias: "slow", Service: scheduler.Func(func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			return nil
		})})
		synctest.Wait()
		go func() { _ = s.Shutdown(ctx) }()
		synctest.Wait()
		return s.Add(scheduler.Spec{Alias: "x", Service: idle})
	})
	spec("resize no pool", "is zero, which makes it no pool", func(_ *rig, m *M) error { return m.Resize("running", 2) })
	spec("resize to nothing", "0 is not between 1 and 100000", func(_ *rig, m *M) error { return m.Resize("pool", 0) })
	spec("resize to too many", "100001 is not between 1 and 100000", func(_ *rig, m *M) error { return m.Resize("pool", 100_001) })
	spec("resize one that can't overlap", "2 workers under a Schedule need Overlap Allow; at most 1", func(_ *rig, m *M) error { return m.Resize("lone", 2) })
	spec("resize one that overlaps", "1 leaves nothing to overlap; at least 2", func(_ *rig, m *M) error { return m.Resize("overlaps", 1) })
	rows = append(rows, refusal{
		name: "replace without Factory", field: "Factory", is: scheduler.ErrSpec, text: "needs one",
		ask: func(s *rig) error { return s.Manager().Replace(ctx, "deaf") },
	})
	return rows
}

// Of what is refused when it would contradict itself, what only looks like it
// is not.
func TestGoodInput(t *testing.T) {
	for name, s := range map[string]scheduler.Spec{
		"permanent, significant, rolled back":  {Significant: true, RollBack: true, StartTimeout: time.Second},
		"permanent, significant, halted":       {Significant: true, HaltOnFailure: true},
		"permanent, significant, with a limit": {Significant: true, RetryLimit: 1},
		"permanent, significant, in a group":   {Significant: true, Group: "g"},
		"significant, until it fails":          {Significant: true, Restart: scheduler.Temporary, Schedule: &scheduler.Schedule{Every: time.Hour}},
		"significant, run once":                {Significant: true, Schedule: &scheduler.Schedule{At: time.Now().Add(time.Hour)}},
		"schedule in a group":                  {Group: "g", Schedule: &scheduler.Schedule{Every: time.Hour}},
		"recover without a limit":              {Recover: true},
		"longest alias":                        {Alias: strings.Repeat("x", scheduler.MaxAlias)},
		"for ever": {
			StartTimeout: 1<<63 - 1, StartLimit: 1<<63 - 1, StopTimeout: 1<<63 - 1, DrainTimeout: 1<<63 - 1, RetryLimit: scheduler.MaxRetryLimit, RetryWindow: 1<<63 - 1, GoodRun: 1<<63 - 1,
		},
	} {
		s.Service = idle
		if s.Alias == "" {
			s.Alias = "a"
		}
		_, err := scheduler.New(scheduler.Config{
			Groups: []scheduler.Group{{Name: "g"}}, Services: []scheduler.Spec{s, {Alias: "b", Service: idle, Group: "g"}},
		})
		require.NoError(t, err, name)
	}
}
