package scheduler_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// worker observes an operation each second, of the latency and with the error
// that the test says.
type worker struct {
	latency atomic.Int64
	failing atomic.Bool
	parked  atomic.Bool
	runs    atomic.Int32
	ready   time.Duration // after which it says Ready
	lingers time.Duration // after it was asked to stop
	cause   atomic.Value
}

func (w *worker) takes(d time.Duration) *worker {
	w.latency.Store(int64(d))
	return w
}

func (w *worker) Serve(ctx context.Context) error {
	w.runs.Add(1)
	meter := scheduler.MeterOf(ctx)
	ready, done := time.After(w.ready), ctx.Done()
	var end <-chan time.Time
	next := time.After(time.Second / 4) // not when windows end
	for {
		select {
		case <-ready:
			scheduler.Ready(ctx)
		case <-done:
			w.cause.Store(context.Cause(ctx))
			done, end = nil, time.After(w.lingers)
		case <-end:
			return nil
		case <-next:
			next = time.After(time.Second)
			if w.parked.Load() {
				continue
			}
			var err error
			if w.failing.Load() {
				err = errBroken
			}
			meter.Observe(time.Duration(w.latency.Load()), err)
		}
	}
}

// wantCondition fails the test unless the service is in that condition and the
// concern has the words.
func (r *rig) wantCondition(alias string, want scheduler.Condition, concern string) {
	r.t.Helper()
	synctest.Wait()
	s := r.status(alias)
	require.Equal(r.t, want.String(), s.Condition.String(), "%s: %s", alias, s.Concern)
	require.Contains(r.t, s.Concern, concern)
	require.Equal(r.t, want == scheduler.Healthy, s.Concern == "")
}

// halfPast waits that many seconds and a half, so that what happens at whole
// seconds and at their quarters is over.
func halfPast(n int) { time.Sleep(time.Duration(n)*time.Second + time.Second/2) }

// The cop judges latency windows, error windows and progress, is armed after
// Ready and silent while its service is stopped on purpose.
func TestGuarantee7Cop(t *testing.T) {
	for name, f := range map[string]func(t *testing.T){
		"windows in a row are a verdict, once":      copWindows,
		"a good window begins the count anew":       copGoodWindow,
		"too few samples prove nothing":             copSamples,
		"armed after Ready":                         copArmed,
		"silent while stopped on purpose":           copStopped,
		"silent while dependants stop":              copDependants,
		"a new run is innocent":                     copNewRun,
		"restart makes a verdict a failure":         copRestart,
		"all operations of a pool, all workers":     copPool,
		"all operations fail":                       copAllFail,
		"the hook is told":                          copHook,
		"a hook harms nobody":                       copBadHook,
		"a stall is found at once, and its end":     stallFound,
		"parked, starting and stopping don't stall": stallNot,
		"a stall is recovered":                      stallRecovered,
		"a deaf stalled run is replaced":            stallDeaf,
		"a deaf stalled run without Factory":        stallBlocks,
		"a stall of one worker of a pool":           stallPool,
		"a run that is over is found":               overFound,
		"a run that is over is recovered":           overRecovered,
		"dead services":                             copDead,
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
}

func copWindows(t *testing.T) {
	w := new(worker).takes(2 * time.Second)
	var log syncLog
	c := services(scheduler.Spec{Alias: "a", Service: w, Bounds: scheduler.Bounds{P99: time.Second, Mean: 1500 * time.Millisecond}})
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := serve(t, c)
	halfPast(29)
	s.wantCondition("a", scheduler.Healthy, "")
	time.Sleep(time.Second)
	s.wantCondition("a", scheduler.Degraded, "P99 of 2s is above 1s, Mean of 2s is above 1.5s, in 3 windows of 10s")
	time.Sleep(time.Minute)
	s.wantCondition("a", scheduler.Degraded, "in 9 windows of 10s")
	a := s.status("a")
	require.Len(t, a.Exceptions, 1, "told once")
	require.Equal(t, scheduler.Convicted, a.Exceptions[0].Kind)
	require.ErrorIs(t, a.Exceptions[0].Err, scheduler.ErrBounds)
	require.Zero(t, a.Failures, "a warning is no failure")
	require.Equal(t, scheduler.Started, a.State)
	w.takes(time.Millisecond)
	time.Sleep(20 * time.Second)
	s.wantCondition("a", scheduler.Healthy, "")
	w.takes(2 * time.Second)
	time.Sleep(50 * time.Second)
	require.Len(t, s.status("a").Exceptions, 2, "told anew")
	s.end()
	require.Equal(t, 2, strings.Count(log.String(), "level=WARN msg=cop service=os/scheduler/a"), log.String())
	require.Equal(t, 1, strings.Count(log.String(), `msg="is healthy again"`))
}

func copGoodWindow(t *testing.T) {
	w := new(worker).takes(2 * time.Second)
	s := serve(t, services(scheduler.Spec{Alias: "a", Service: w, Bounds: scheduler.Bounds{Max: time.Second}}))
	time.Sleep(time.Second / 10)
	for range 10 {
		w.takes(time.Second + time.Second/8)
		time.Sleep(20 * time.Second)
		w.takes(time.Second)
		time.Sleep(10 * time.Second)
	}
	s.wantCondition("a", scheduler.Healthy, "")
	require.Empty(t, s.status("a").Exceptions)
	s.end()
}

func copSamples(t *testing.T) {
	w := new(worker).takes(2 * time.Second)
	s := serve(t, services(
		scheduler.Spec{Alias: "a", Service: w, Bounds: scheduler.Bounds{P50: time.Second, Samples: 9}},
		scheduler.Spec{Alias: "few", Service: new(worker).takes(2 * time.Second), Bounds: scheduler.Bounds{P50: time.Second, Samples: 11}},
	))
	halfPast(35)
	s.wantCondition("a", scheduler.Degraded, "P50 of 2s")
	s.wantCondition("few", scheduler.Healthy, "")
	w.takes(time.Millisecond).parked.Store(true)
	time.Sleep(time.Hour)
	s.wantCondition("a", scheduler.Degraded, "P50 of 2s")
	w.parked.Store(false)
	time.Sleep(20 * time.Second)
	s.wantCondition("a", scheduler.Healthy, "")
	s.end()
}

func copArmed(t *testing.T) {
	w := &worker{ready: 65 * time.Second}
	w.takes(2 * time.Second).failing.Store(true)
	s := serve(t, services(scheduler.Spec{Alias: "a", Service: w, StartTimeout: time.Hour, Bounds: scheduler.Bounds{P50: time.Second}}))
	halfPast(99)
	s.wantCondition("a", scheduler.Healthy, "") // ready at 65 s, so that windows count from 70 s
	time.Sleep(time.Second)
	s.wantCondition("a", scheduler.Degraded, "all operations failed in 3 windows of 10s, 10 in the latest")
	s.end()
}

func copStopped(t *testing.T) {
	w := &worker{lingers: 5 * time.Minute}
	w.takes(2 * time.Second).failing.Store(true)
	s := serve(t, services(scheduler.Spec{
		Alias: "a", Service: w, StopTimeout: time.Hour,
		Bounds: scheduler.Bounds{P50: time.Second, Restart: true, Windows: 1},
	}))
	halfPast(5)
	require.NoError(t, s.Stop(t.Context(), "a"))
	time.Sleep(time.Hour)
	a := s.status("a")
	require.Empty(t, a.Exceptions)
	require.Equal(t, "stopped healthy", a.State.String()+" "+a.Condition.String())
	require.NoError(t, s.Start(t.Context(), "a"))
	time.Sleep(time.Minute)
	require.NotZero(t, s.status("a").Failures, "armed again")
	s.end()
}

func copDependants(t *testing.T) {
	w := new(worker).takes(2 * time.Second)
	slow := &worker{lingers: time.Minute}
	s := serve(t, services(
		scheduler.Spec{Alias: "a", Service: w, Bounds: scheduler.Bounds{P50: time.Second, Stall: time.Second}},
		scheduler.Spec{Alias: "b", Service: slow, After: []string{"a"}, StopTimeout: time.Hour},
	))
	halfPast(25)
	require.NoError(t, s.Stop(t.Context(), "a"), "takes a minute, in which a is started")
	require.Empty(t, s.status("a").Exceptions)
	s.end()
}

func copNewRun(t *testing.T) {
	w := new(worker).takes(2 * time.Second)
	s := serve(t, services(scheduler.Spec{Alias: "a", Service: w, Bounds: scheduler.Bounds{P50: time.Second}}))
	for range 5 {
		halfPast(27)
		require.NoError(t, s.Restart(t.Context(), "a"))
	}
	require.Empty(t, s.status("a").Exceptions)
	time.Sleep(40 * time.Second)
	s.wantCondition("a", scheduler.Degraded, "P50 of 2s")
	require.NoError(t, s.Restart(t.Context(), "a"))
	s.wantCondition("a", scheduler.Healthy, "")
	s.end()
}

func copRestart(t *testing.T) {
	w := new(worker).takes(2 * time.Second)
	var told []scheduler.Exception
	s := serve(t, services(scheduler.Spec{
		Alias: "a", Service: w, Backoff: at(time.Second), Bounds: scheduler.Bounds{P50: time.Second, Restart: true},
		Handlers: []scheduler.Handler{{Name: "h", Handle: func(_ context.Context, x scheduler.Exception) error {
			told = append(told, x)
			return nil
		}}},
	}))
	halfPast(35)
	s.wantState("a", scheduler.Started, scheduler.NotEnded)
	a := s.status("a")
	require.EqualValues(t, 1, a.Failures)
	require.EqualValues(t, 2, a.Generation)
	require.Equal(t, scheduler.Convicted, a.Exceptions[0].Kind)
	require.Len(t, told, 1)
	require.ErrorIs(t, told[0].Err, scheduler.ErrBounds)
	require.ErrorIs(t, w.cause.Load().(error), scheduler.ErrBounds, "the run is told why")
	time.Sleep(20 * time.Second)
	require.EqualValues(t, 1, s.status("a").Failures, "the new generation is judged by its own windows")
	time.Sleep(30 * time.Second)
	require.EqualValues(t, 2, s.status("a").Failures)
	s.end()
}

func copPool(t *testing.T) {
	slow := func() scheduler.Service { return new(worker).takes(2 * time.Second) }
	s := serve(t, services(scheduler.Spec{
		Alias: "a", Pool: 3, Backoff: at(time.Second), Bounds: scheduler.Bounds{P75: time.Second, Restart: true},
		Factory: slow,
	}, scheduler.Spec{
		Alias: "warned", Pool: 2, Bounds: scheduler.Bounds{P75: time.Second},
		Factory: slow,
	}))
	halfPast(30)
	a := s.status("a")
	require.EqualValues(t, 3, a.Failures, "they share their windows")
	require.Equal(t, "os/scheduler/a/1", a.Exceptions[0].Path)
	warned := s.status("warned")
	require.Len(t, warned.Exceptions, 1)
	require.Equal(t, "os/scheduler/warned", warned.Exceptions[0].Path, "the pool, not a worker")
	s.end()
}

func copAllFail(t *testing.T) {
	w := new(worker)
	w.failing.Store(true)
	s := serve(t, services(scheduler.Spec{Alias: "a", Service: w}))
	halfPast(29)
	s.wantCondition("a", scheduler.Healthy, "")
	time.Sleep(time.Second)
	s.wantCondition("a", scheduler.Degraded, "all operations failed in 3 windows of 10s, 10 in the latest")
	require.ErrorIs(t, s.status("a").Exceptions[0].Err, scheduler.ErrBounds)
	h := s.Health()
	require.True(t, h.Live && h.Ready, "it is started, and a new process would not help")
	require.Contains(t, h.Reason, "os/scheduler/a: all operations failed")
	time.Sleep(4 * time.Second)
	w.failing.Store(false) // some succeed
	time.Sleep(6 * time.Second)
	s.wantCondition("a", scheduler.Healthy, "")
	require.Empty(t, s.Health().Reason)
	s.end()
}

func copHook(t *testing.T) {
	w := new(worker).takes(2 * time.Second)
	var told []scheduler.Exception
	s := serve(t, services(scheduler.Spec{
		Alias: "a", Service: w,
		Bounds: scheduler.Bounds{P50: time.Second, Hook: scheduler.Handler{Name: "shed", Handle: func(ctx context.Context, x scheduler.Exception) error {
			_, known := scheduler.ManagerOf(ctx)
			require.True(t, known)
			require.Nil(t, scheduler.MeterOf(ctx), "a handler is no run")
			w.takes(time.Millisecond)
			told = append(told, x)
			return nil
		}}},
	}))
	halfPast(45)
	s.wantCondition("a", scheduler.Healthy, "") // the hook has mended it
	require.Len(t, told, 1)
	require.Equal(t, "a os/scheduler/a cop", told[0].Alias+" "+told[0].Path+" "+told[0].Kind.String())
	require.EqualValues(t, 1, told[0].Generation)
	require.ErrorContains(t, told[0].Err, "P50 of 2s is above 1s")
	require.False(t, told[0].At.IsZero())
	s.end()
}

func copBadHook(t *testing.T) {
	release := make(chan struct{})
	hooked := func(f func(context.Context, scheduler.Exception) error) scheduler.Bounds {
		return scheduler.Bounds{P50: time.Second, Hook: scheduler.Handler{Name: "bad", Handle: f, Timeout: time.Second}}
	}
	slow := func() scheduler.Service { return new(worker).takes(2 * time.Second) }
	s := serve(t, services(
		scheduler.Spec{Alias: "panics", Service: slow(), Bounds: hooked(func(context.Context, scheduler.Exception) error { panic("boom") })},
		scheduler.Spec{Alias: "exits", Service: slow(), Bounds: hooked(func(context.Context, scheduler.Exception) error { runtime.Goexit(); return nil })},
		scheduler.Spec{Alias: "hangs", Service: slow(), Bounds: hooked(func(context.Context, scheduler.Exception) error { <-release; return nil })},
	))
	halfPast(35)
	for alias, why := range map[string]string{
		"panics": `scheduler: handler "bad": panic: boom`,
		"exits":  `scheduler: handler "bad": scheduler: service called runtime.Goexit`,
		"hangs":  `scheduler: handler "bad": scheduler: handler timeout of 1s`,
	} {
		s.wantCondition(alias, scheduler.Degraded, "P50")
		a := s.status(alias)
		require.Len(t, a.Exceptions, 2)
		require.Equal(t, scheduler.HandlerFailed, a.Exceptions[1].Kind)
		require.EqualError(t, a.Exceptions[1].Err, why)
		require.Zero(t, a.Failures)
		require.Equal(t, scheduler.Started, a.State)
	}
	left := s.Unstopped()
	require.Len(t, left, 1)
	require.Equal(t, "os/scheduler/hangs handler bad", left[0].Path)
	_, err := s.stop()
	require.ErrorIs(t, err, scheduler.ErrStopTimeout, "the hook is named")
	close(release)
}

func copDead(t *testing.T) {
	s := serve(t, services(
		scheduler.Spec{Alias: "failed", Service: fails, Restart: scheduler.Temporary},
		scheduler.Spec{Alias: "gave up", Service: fails, RetryLimit: 2, Backoff: at(time.Second)},
		scheduler.Spec{Alias: "done", Service: scheduler.Func(func(context.Context) error { return nil }), Restart: scheduler.Transient},
		scheduler.Spec{Alias: "brought back", Service: fails, RetryLimit: 1, RetryWindow: time.Hour, Backoff: at(time.Second), Recover: true},
		scheduler.Spec{Alias: "stopped", Service: idle},
		scheduler.Spec{Alias: "backs off", Service: fails, Backoff: at(time.Hour)},
	))
	require.NoError(t, s.Stop(t.Context(), "stopped"))
	time.Sleep(10 * time.Second)
	s.wantCondition("failed", scheduler.Dead, "failed")
	s.wantCondition("gave up", scheduler.Dead, "gave up")
	s.wantCondition("done", scheduler.Healthy, "")
	s.wantCondition("brought back", scheduler.Dead, "gave up; is brought back in 59m")
	s.wantCondition("stopped", scheduler.Healthy, "")
	s.wantCondition("backs off", scheduler.Healthy, "")
	h := s.Health()
	require.True(t, h.Live, "none of that is mended by a new process")
	require.False(t, h.Ready)
	require.NoError(t, s.Stop(t.Context(), "failed"))
	s.end()
}

// syncLog is a log that may be read while it is written.
type syncLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *syncLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *syncLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// What can't be meant is refused, with the field, the value and what is allowed.
func TestWatchIsRefused(t *testing.T) {
	ignore := func(context.Context, scheduler.Exception) error { return nil }
	for _, c := range []struct {
		bounds        scheduler.Bounds
		field, reason string
	}{
		{scheduler.Bounds{Window: -1}, "Window", "-1ns is below 100ms"},
		{scheduler.Bounds{Window: 99 * time.Millisecond}, "Window", "99ms is below 100ms"},
		{scheduler.Bounds{Windows: -1}, "Windows", "-1 is not between"},
		{scheduler.Bounds{Windows: 1001}, "Windows", "1001 is not between 0, for the default, and 1000"},
		{scheduler.Bounds{Samples: -1}, "Samples", "-1 is negative"},
		{scheduler.Bounds{Stall: -1}, "Stall", "-1ns is below 1ms"},
		{scheduler.Bounds{Stall: 999 * time.Microsecond}, "Stall", "999µs is below 1ms"},
		{scheduler.Bounds{P50: -1}, "P50", "-1ns is negative"},
		{scheduler.Bounds{P999: -time.Second}, "P999", "-1s is negative"},
		{scheduler.Bounds{Max: -1}, "Max", "-1ns is negative"},
		{scheduler.Bounds{Mean: -1}, "Mean", "-1ns is negative"},
		{scheduler.Bounds{P50: 2 * time.Second, P99: time.Second}, "P50", "2s is above the P99 of 1s"},
		{scheduler.Bounds{P50: 1, P75: 3, P98: 2}, "P75", "3ns is above the P98 of 2ns"},
		{scheduler.Bounds{P999: 2, Max: 1}, "P999", "2ns is above the Max of 1ns"},
		{scheduler.Bounds{Mean: 2, Max: 1}, "Mean", "2ns is above the Max of 1ns"},
		{scheduler.Bounds{Hook: scheduler.Handler{Name: "h"}}, "Hook", `"h" has a nil Handle`},
		{scheduler.Bounds{Hook: scheduler.Handler{Timeout: 1}}, "Hook", "nil Handle"},
		{scheduler.Bounds{Hook: scheduler.Handler{Handle: ignore}}, "Hook", "no Name"},
		{scheduler.Bounds{Hook: scheduler.Handler{Name: "h", Handle: ignore, Timeout: -1}}, "Hook", "-1ns is negative"},
	} {
		_, err := scheduler.New(services(scheduler.Spec{Alias: "a", Service: idle, Bounds: c.bounds}))
		refused, ok := errors.AsType[*scheduler.SpecError](err)
		require.True(t, ok, "%+v: %v", c.bounds, err)
		require.Equal(t, "a Bounds."+c.field, refused.Alias+" "+refused.Field)
		require.Contains(t, refused.Reason, c.reason)
	}
	for _, fine := range []scheduler.Bounds{
		{},
		{Window: 100 * time.Millisecond, Windows: 1000, Samples: 1 << 40, Stall: time.Millisecond, Restart: true},
		{P50: 1, P75: 1, P95: 2, P98: 3, P99: 4, P999: 5, Max: 6, Mean: 6},
		{P50: 1, Mean: 1 << 62, Window: 1 << 62, Stall: 1<<63 - 1},
		{Hook: scheduler.Handler{Name: "h", Handle: ignore}},
	} {
		_, err := scheduler.New(services(scheduler.Spec{Alias: "a", Service: idle, Bounds: fine}))
		require.NoError(t, err)
	}
}

// Windows and stalls that never come don't make the cop spin.
func TestEndlessWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, services(scheduler.Spec{
			Alias: "a", Service: new(worker), Bounds: scheduler.Bounds{Window: 1<<63 - 1, Stall: 1<<63 - 1, P50: 1},
		}))
		time.Sleep(time.Hour)
		s.wantCondition("a", scheduler.Healthy, "")
		s.end()
	})
}
