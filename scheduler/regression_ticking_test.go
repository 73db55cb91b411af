package scheduler_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// breaking is a service that runs until it is told to fail.
func breaking(fail <-chan struct{}) scheduler.Service {
	return scheduler.Func(func(ctx context.Context) error {
		select {
		case <-fail:
			return errBroken
		case <-ctx.Done():
			return nil
		}
	})
}

// faltering is a diary of which the first runs fail.
func faltering(runs int) *diary {
	return &diary{birth: time.Now(), fail: func(run int) error {
		if run <= runs {
			return errBroken
		}
		return nil
	}}
}

// The one that waits for the tick goes by Resize, while others are free.
func TestRegressionResizeLosesTheTick(t *testing.T) {
	for _, jitter := range []time.Duration{0, 900 * time.Millisecond} {
		bubble(t, "jitter "+jitter.String(), func(t *testing.T) {
			d := &diary{birth: time.Now(), take: func(run int) time.Duration {
				return map[int]time.Duration{1: 3500 * time.Millisecond}[run]
			}}
			r := serve(t, services(scheduler.Spec{
				Alias: "p", Pool: 3, Factory: func() scheduler.Service { return d },
				Schedule: &scheduler.Schedule{Every: time.Second, Jitter: jitter, Overlap: scheduler.Allow},
			}))
			time.Sleep(3800 * time.Millisecond)
			for size := range 6 {
				require.NoError(t, r.Manager().Resize("p", 2+size%2))
				time.Sleep(time.Second)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			s := r.status("p")
			r.end()
			require.InDelta(t, 70, len(d.noted()), 1)
			require.Zero(t, s.Skipped)
		})
	}
}

func TestRegressionFailedJobIsCompleted(t *testing.T) {
	for _, policy := range []scheduler.RestartPolicy{scheduler.Permanent, scheduler.Transient} {
		for _, significant := range []bool{false, true} {
			bubble(t, policy.String()+" significant "+strconv.FormatBool(significant), func(t *testing.T) {
				job := scheduler.Spec{
					Alias: "job", Significant: significant, Restart: policy, Service: fails,
					Schedule: &scheduler.Schedule{At: time.Now().Add(time.Minute)},
				}
				runs := 1
				if policy == scheduler.Transient {
					job.RetryLimit, job.Backoff, runs = 3, at(time.Second), 4
				}
				r := serve(t, services(job))
				time.Sleep(time.Hour)
				synctest.Wait()
				s, h := r.status("job"), r.Health()
				_, err := r.stop()
				require.Equal(t, scheduler.Failed, s.End)
				require.Len(t, s.Exceptions, runs)
				require.Equal(t, scheduler.Failed, s.Exceptions[runs-1].End)
				require.Equal(t, scheduler.Dead, s.Condition)
				require.Contains(t, h.Reason, "broken")
				if significant {
					require.ErrorIs(t, err, errBroken)
				} else {
					require.NoError(t, err)
				}
			})
		}
	}
	bubble(t, "a retry that a restart takes away", func(t *testing.T) {
		r := serve(t, services(
			scheduler.Spec{Alias: "a", Service: idle},
			scheduler.Spec{
				Alias: "job", After: []string{"a"}, Restart: scheduler.Transient, Backoff: at(time.Minute), Service: fails,
				Schedule: &scheduler.Schedule{At: time.Now().Add(time.Minute)},
			},
		))
		time.Sleep(90 * time.Second)
		r.wantState("job", scheduler.BackingOff, scheduler.NotEnded)
		require.NoError(t, r.Restart(t.Context(), "a"))
		r.wantState("job", scheduler.Stopped, scheduler.Failed)
		r.end()
	})
	bubble(t, "one that was tried again with success", func(t *testing.T) {
		r := serve(t, services(scheduler.Spec{
			Alias: "job", Restart: scheduler.Transient, Backoff: at(time.Minute), Service: faltering(2),
			Schedule: &scheduler.Schedule{At: time.Now().Add(time.Minute)},
		}))
		time.Sleep(time.Hour)
		r.wantState("job", scheduler.Stopped, scheduler.Completed)
		r.end()
	})
}

// A retry that was due when the service was stopped runs off schedule at the
// next start.
func TestRegressionStaleRetryRunsAtStart(t *testing.T) {
	for _, how := range []string{"stop and start", "another Serve", "stop of what it comes after"} {
		bubble(t, how, func(t *testing.T) {
			d := faltering(1)
			s, err := scheduler.New(services(
				scheduler.Spec{Alias: "a", Service: idle},
				scheduler.Spec{
					Alias: "nightly", After: []string{"a"}, Restart: scheduler.Transient, Backoff: at(time.Hour),
					Schedule: &scheduler.Schedule{Cron: "0 2 * * *"}, Service: d,
				},
			))
			require.NoError(t, err)
			r := serveThis(t, s)
			time.Sleep(2*time.Hour + 10*time.Minute) // bubbles begin at midnight
			r.wantState("nightly", scheduler.BackingOff, scheduler.NotEnded)
			pause, resume := func() error { return r.Stop(t.Context(), "nightly") }, func() error { return r.Start(t.Context(), "nightly") }
			switch how {
			case "another Serve":
				pause = func() error { _, err := r.stop(); return err }
				resume = func() error { r = serveThis(t, s); return nil }
			case "stop of what it comes after":
				pause = func() error { return r.Stop(t.Context(), "a") }
				resume = func() error { return r.Start(t.Context(), "a") }
			}
			require.NoError(t, pause())
			time.Sleep(34 * time.Hour)
			require.NoError(t, resume()) // at 12:10 of the next day
			time.Sleep(14 * time.Hour)
			synctest.Wait()
			r.end()
			require.Equal(t, seconds(2*3600, 50*3600), d.noted())
		})
	}
}

func TestRegressionLimitsIgnoreRetriesOfSchedules(t *testing.T) {
	job := scheduler.Spec{
		Alias: "job", Service: fails, Restart: scheduler.Transient, Backoff: at(time.Second),
		Schedule: &scheduler.Schedule{Every: time.Hour},
	}
	member := job
	member.Group = "g"
	limited := services(job)
	limited.RetryLimit = 3
	for name, c := range map[string]scheduler.Config{
		"Config": limited,
		"Group":  grouped(scheduler.Group{Name: "g", RetryLimit: 3, Escalate: true}, member),
	} {
		bubble(t, name, func(t *testing.T) {
			r := serve(t, c)
			time.Sleep(time.Minute)
			s := r.status("job")
			_, err := r.stop()
			require.EqualValues(t, 4, s.Starts)
			require.ErrorIs(t, err, scheduler.ErrGaveUp)
			require.ErrorIs(t, err, errBroken)
			require.Equal(t, scheduler.GaveUp, s.Exceptions[3].End)
		})
	}
}

func TestRegressionTriggerWhileDependencyIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := make(chan struct{}, 1)
		d := &diary{birth: time.Now()}
		r := serve(t, services(
			scheduler.Spec{Alias: "a", Backoff: at(time.Hour), Service: breaking(fail)},
			scheduler.Spec{Alias: "job", After: []string{"a"}, Schedule: &scheduler.Schedule{Every: 24 * time.Hour}, Service: d},
		))
		fail <- struct{}{}
		synctest.Wait()
		err := r.Manager().Trigger("job")
		require.ErrorIs(t, err, scheduler.ErrNotStarted)
		require.ErrorContains(t, err, "waits for a (backing off)")
		r.wantState("job", scheduler.Waiting, scheduler.NotEnded)
		time.Sleep(2 * time.Hour)
		require.NoError(t, r.Manager().Trigger("job"))
		synctest.Wait()
		r.end()
		require.Equal(t, seconds(0, 7200), d.noted())
	})
}

// Ticks while what the service comes after is down are one run once it is back,
// and each of them is counted.
func TestRegressionTicksWhileDependencyIsDown(t *testing.T) {
	for name, c := range map[string]struct {
		schedule scheduler.Schedule
		pool     int
		begins   []time.Duration // in the first 95 minutes, of which a is down from 5 to 65
		skipped  uint64
	}{
		"cron":    {scheduler.Schedule{Cron: "*/10 * * * *"}, 0, seconds(3900, 4200, 4800, 5400), 5},
		"every":   {scheduler.Schedule{Every: 10 * time.Minute}, 0, seconds(0, 3900, 4200, 4800, 5400), 5},
		"at":      {scheduler.Schedule{At: time.Date(2000, 1, 1, 0, 30, 0, 0, time.UTC)}, 0, seconds(3900), 0},
		"overlap": {scheduler.Schedule{Every: 10 * time.Minute, Overlap: scheduler.Allow}, 3, seconds(0, 3900, 4200, 4800, 5400), 5},
		"queue":   {scheduler.Schedule{Every: 10 * time.Minute, Overlap: scheduler.Queue}, 0, seconds(0, 3900, 3900, 4200, 4800, 5400), 4},
	} {
		bubble(t, name, func(t *testing.T) {
			fail := make(chan struct{}, 1)
			d := &diary{birth: time.Now()}
			job := scheduler.Spec{Alias: "job", After: []string{"a"}, Pool: c.pool, Schedule: &c.schedule, Factory: func() scheduler.Service { return d }}
			r := serve(t, services(scheduler.Spec{Alias: "a", Backoff: at(time.Hour), Service: breaking(fail)}, job))
			time.Sleep(5 * time.Minute)
			fail <- struct{}{}
			time.Sleep(90 * time.Minute)
			s := r.status("job")
			r.end()
			require.Equal(t, c.begins, d.noted())
			require.EqualValues(t, len(c.begins), s.Starts)
			require.Equal(t, c.skipped, s.Skipped)
		})
	}
}

func TestRegressionQueuedFailureSaysTheWrongDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, services(scheduler.Spec{
			Alias: "job", Schedule: &scheduler.Schedule{Every: time.Minute, Overlap: scheduler.Queue},
			Service: &diary{
				take: func(run int) time.Duration { return map[int]time.Duration{1: 90 * time.Second}[run] },
				fail: func(int) error { return errBroken },
			},
		}))
		time.Sleep(100 * time.Second)
		s := r.status("job")
		r.end()
		require.EqualValues(t, 2, s.Starts)
		require.Zero(t, s.Exceptions[0].Delay, "a tick had fallen into the run")
		require.Equal(t, 30*time.Second, s.Exceptions[1].Delay)
	})
}
