package scheduler_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// diary notes when runs of a service begin, and lets each take a while.
type diary struct {
	mu     sync.Mutex
	birth  time.Time
	begins []time.Duration
	take   func(run int) time.Duration
	fail   func(run int) error
}

func (d *diary) Serve(ctx context.Context) error {
	d.mu.Lock()
	d.begins = append(d.begins, time.Since(d.birth))
	run := len(d.begins)
	d.mu.Unlock()
	if d.take != nil {
		select {
		case <-time.After(d.take(run)):
		case <-ctx.Done():
			return nil
		}
	}
	if d.fail != nil {
		return d.fail(run)
	}
	return nil
}

func (d *diary) noted() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]time.Duration(nil), d.begins...)
}

func always(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

func seconds(s ...float64) (out []time.Duration) {
	for _, x := range s {
		out = append(out, time.Duration(x*float64(time.Second)))
	}
	return out
}

// bubble runs f in a bubble. Its clock begins at midnight, UTC.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// TestSchedule: timelines of runs, in virtual time.
func TestSchedule(t *testing.T) {
	every := func(d time.Duration) *scheduler.Schedule { return &scheduler.Schedule{Every: d} }
	for _, c := range []struct {
		name    string
		spec    scheduler.Spec
		diary   *diary
		watch   time.Duration
		begins  []time.Duration
		skipped uint64
		state   scheduler.State
		end     scheduler.End
	}{
		{name: "every", spec: scheduler.Spec{Schedule: every(10 * time.Second)}, watch: 35 * time.Second, begins: seconds(0, 10, 20, 30), state: scheduler.Waiting},
		{
			name: "every after a start delay", spec: scheduler.Spec{Schedule: every(10 * time.Second), StartDelay: 3 * time.Second},
			watch: 25 * time.Second, begins: seconds(3, 13, 23), state: scheduler.Waiting,
		},
		{
			name: "ticks that fall into a run are dropped", spec: scheduler.Spec{Schedule: every(10 * time.Second)},
			diary: &diary{take: always(25 * time.Second)}, watch: 65 * time.Second,
			begins: seconds(0, 30, 60), skipped: 4, state: scheduler.Started,
		},
		{
			name:  "queued ticks coalesce",
			spec:  scheduler.Spec{Schedule: &scheduler.Schedule{Every: 10 * time.Second, Overlap: scheduler.Queue}},
			diary: &diary{take: func(run int) time.Duration { return map[int]time.Duration{1: 35 * time.Second}[run] }},
			watch: 50 * time.Second, begins: seconds(0, 35, 40, 50), skipped: 2, state: scheduler.Waiting,
		},
		{
			name:  "queued ticks up to the limit",
			spec:  scheduler.Spec{Schedule: &scheduler.Schedule{Every: 10 * time.Second, Overlap: scheduler.Queue, QueueLimit: 2}},
			diary: &diary{take: func(run int) time.Duration { return map[int]time.Duration{1: 45 * time.Second, 2: time.Second}[run] }},
			watch: 55 * time.Second, begins: seconds(0, 45, 46, 50), skipped: 2, state: scheduler.Waiting,
		},
		{
			name: "at an instant", spec: scheduler.Spec{Schedule: &scheduler.Schedule{At: time.Date(2000, 1, 1, 2, 30, 0, 0, time.UTC)}},
			watch: 24 * time.Hour, begins: seconds(2.5 * 3600), state: scheduler.Stopped, end: scheduler.Completed,
		},
		{
			name: "at an instant that has passed", spec: scheduler.Spec{Schedule: &scheduler.Schedule{At: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)}},
			watch: time.Hour, skipped: 1, state: scheduler.Stopped, end: scheduler.Completed,
		},
		{
			name: "cron", spec: scheduler.Spec{Schedule: &scheduler.Schedule{Cron: "15,45 */6 * * *"}},
			watch: 7 * time.Hour, begins: seconds(900, 2700, 6*3600+900, 6*3600+2700), state: scheduler.Waiting,
		},
		{
			name: "cron in a zone", spec: scheduler.Spec{Schedule: &scheduler.Schedule{Cron: "0 9 * * *", Location: time.FixedZone("east", 3*3600)}},
			watch: 31 * time.Hour, begins: seconds(6*3600, 30*3600), state: scheduler.Waiting,
		},
		{
			name: "a failed run waits for the next tick", spec: scheduler.Spec{Schedule: every(10 * time.Second)},
			diary: &diary{fail: func(int) error { return errBroken }}, watch: 25 * time.Second,
			begins: seconds(0, 10, 20), state: scheduler.Waiting,
		},
		{
			name:  "transient: a failed run is tried again after its backoff",
			spec:  scheduler.Spec{Schedule: every(10 * time.Second), Restart: scheduler.Transient, Backoff: at(time.Second), RetryLimit: 2, RetryWindow: 5 * time.Second},
			diary: &diary{fail: func(run int) error { return map[bool]error{true: errBroken}[run <= 4] }}, watch: 25 * time.Second,
			begins: seconds(0, 1, 2, 10, 11, 20), state: scheduler.Waiting,
		},
		{
			name: "temporary: a failure ends the schedule", spec: scheduler.Spec{Schedule: every(10 * time.Second), Restart: scheduler.Temporary},
			diary: &diary{fail: func(run int) error { return map[bool]error{true: errBroken}[run == 2] }}, watch: time.Minute,
			begins: seconds(0, 10), state: scheduler.Stopped, end: scheduler.Failed,
		},
	} {
		bubble(t, c.name, func(t *testing.T) {
			d := c.diary
			if d == nil {
				d = &diary{}
			}
			d.birth = time.Now()
			c.spec.Alias, c.spec.Service = "job", d
			s := serve(t, services(c.spec))
			require.NoError(t, s.AwaitStarted(t.Context()), "a schedule that is on counts as started")
			time.Sleep(c.watch)
			synctest.Wait()
			require.Equal(t, c.begins, d.noted())
			status := s.status("job")
			require.Equal(t, c.state.String()+c.end.String(), status.State.String()+status.End.String())
			require.Equal(t, c.skipped, status.Skipped)
			require.EqualValues(t, len(c.begins), status.Starts)
			_, err := s.stop()
			require.NoError(t, err)
		})
	}
}

// TestScheduleControl: the calls on a scheduled service.
func TestScheduleControl(t *testing.T) {
	ten := &scheduler.Schedule{Every: 10 * time.Second}
	bubble(t, "dependants of a schedule start when it is on", func(t *testing.T) {
		s := serve(t, services(
			scheduler.Spec{Alias: "job", Service: idle, Schedule: &scheduler.Schedule{Cron: "0 0 1 1 *"}},
			scheduler.Spec{Alias: "after", Service: idle, After: []string{"job"}},
		))
		s.wantState("job", scheduler.Waiting, scheduler.NotEnded)
		s.wantState("after", scheduler.Started, scheduler.NotEnded)
		require.Equal(t, time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), s.status("job").Next.Round(time.Second).UTC())
		require.Contains(t, s.status("job").Reason, "next run in 87")
	})
	bubble(t, "stop, start, restart", func(t *testing.T) {
		d := &diary{birth: time.Now()}
		s := serve(t, services(scheduler.Spec{Alias: "job", Service: d, Schedule: ten}))
		time.Sleep(15 * time.Second)
		require.NoError(t, s.Stop(t.Context(), "job"))
		s.wantState("job", scheduler.Stopped, scheduler.EndedOnPurpose)
		time.Sleep(20 * time.Second)
		require.NoError(t, s.Start(t.Context(), "job"))
		time.Sleep(12 * time.Second)
		require.NoError(t, s.Restart(t.Context(), "job"))
		synctest.Wait()
		require.Equal(t, seconds(0, 10, 35, 45, 47), d.noted(), "a start begins the schedule anew")
		require.ErrorIs(t, s.Start(t.Context(), "job"), scheduler.ErrRunning)
	})
	bubble(t, "a stop during a run", func(t *testing.T) {
		d := &diary{birth: time.Now(), take: always(time.Hour)}
		s := serve(t, services(scheduler.Spec{Alias: "job", Service: d, Schedule: ten}))
		require.NoError(t, s.Stop(t.Context(), "job"))
		time.Sleep(time.Minute)
		require.Len(t, d.noted(), 1)
	})
	bubble(t, "trigger", func(t *testing.T) {
		d := &diary{birth: time.Now(), take: always(3 * time.Second)}
		s := serve(t, services(
			scheduler.Spec{Alias: "job", Service: d, Schedule: ten},
			scheduler.Spec{Alias: "other", Service: idle},
		))
		m := s.Manager()
		time.Sleep(time.Second)
		require.ErrorIs(t, m.Trigger("job"), scheduler.ErrRunning)
		time.Sleep(4 * time.Second)
		require.NoError(t, m.Trigger("job"))
		time.Sleep(7 * time.Second)
		require.Equal(t, seconds(0, 5, 10), d.noted(), "the ticks stay where they are")
		require.ErrorIs(t, m.Trigger("other"), scheduler.ErrNotScheduled)
		require.ErrorIs(t, m.Trigger("nobody"), scheduler.ErrUnknown)
		require.NoError(t, s.Stop(t.Context(), "job"))
		require.ErrorIs(t, m.Trigger("job"), scheduler.ErrNotStarted)
	})
	bubble(t, "overlapping runs", func(t *testing.T) {
		d := &diary{birth: time.Now(), take: always(25 * time.Second)}
		s := serve(t, services(scheduler.Spec{
			Alias: "job", Pool: 2, Factory: func() scheduler.Service { return d },
			Schedule: &scheduler.Schedule{Every: 10 * time.Second, Overlap: scheduler.Allow},
		}))
		time.Sleep(62 * time.Second)
		// At 20 both are busy, at 25 one is free for 30, at 35 for 40, and at
		// 50 again neither is.
		require.Equal(t, seconds(0, 10, 30, 40, 60), d.noted())
		require.EqualValues(t, 2, s.status("job").Skipped)
		_, err := s.stop()
		require.NoError(t, err)
	})
	bubble(t, "jitter spreads and keeps the ticks", func(t *testing.T) {
		d := &diary{birth: time.Now()}
		s := serve(t, services(scheduler.Spec{
			Alias: "job", Service: d, Schedule: &scheduler.Schedule{Every: 10 * time.Second, Jitter: 5 * time.Second},
		}))
		time.Sleep(1000 * time.Second)
		begins := d.noted()
		require.InDelta(t, 100, len(begins), 1)
		late := map[time.Duration]bool{}
		for i, b := range begins {
			off := b - time.Duration(i)*10*time.Second
			require.True(t, off >= 0 && off < 5*time.Second, "run %d at %v", i, b)
			late[off] = true
		}
		require.Greater(t, len(late), 50)
		_, err := s.stop()
		require.NoError(t, err)
	})
	bubble(t, "what it comes after is down at a tick", func(t *testing.T) {
		d := &diary{birth: time.Now()}
		s := serve(t, services(
			scheduler.Spec{Alias: "need", Service: idle},
			scheduler.Spec{Alias: "job", Service: d, Schedule: ten, After: []string{"need"}},
		))
		time.Sleep(5 * time.Second)
		require.NoError(t, s.Stop(t.Context(), "need"))
		time.Sleep(20 * time.Second)
		require.NoError(t, s.Start(t.Context(), "need"))
		time.Sleep(11 * time.Second)
		require.Equal(t, seconds(0, 25, 35), d.noted())
	})
}

// TestWaitingTimingsHoldNoGoroutine: ten thousand of them.
func TestWaitingTimingsHoldNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10_000
		specs := make([]scheduler.Spec, n)
		var mu sync.Mutex
		ran := 0
		for i := range specs {
			specs[i] = scheduler.Spec{
				Alias: strconv.Itoa(i), Schedule: &scheduler.Schedule{Cron: fmt.Sprintf("%d %d * * *", i%60, 1+i%20)},
				Service: scheduler.Func(func(context.Context) error {
					mu.Lock()
					defer mu.Unlock()
					ran++
					return nil
				}),
			}
		}
		before := runtime.NumGoroutine()
		s := serve(t, services(specs...))
		require.LessOrEqual(t, runtime.NumGoroutine()-before, 8)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		require.Equal(t, n, ran)
		require.LessOrEqual(t, runtime.NumGoroutine()-before, 8)
		_, err := s.stop()
		require.NoError(t, err)
	})
}
