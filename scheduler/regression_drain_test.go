package scheduler_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// A start timeout that passes while a stop waits for dependants is lost when
// Start follows.
func TestRegressionStartTimeoutLostByStopAndStart(t *testing.T) {
	for _, ready := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			crash := make(chan struct{})
			var runs atomic.Int32
			r := serve(t, services(
				scheduler.Spec{Alias: "e", StartTimeout: 10 * time.Second, Backoff: at(time.Second), Service: scheduler.Func(func(ctx context.Context) error {
					switch runs.Add(1) {
					case 1:
						scheduler.Ready(ctx)
						<-crash
						return errBroken
					case 2:
						if ready { // late, while nobody was about to blame it
							time.Sleep(20 * time.Second)
							scheduler.Ready(ctx)
						}
					default:
						scheduler.Ready(ctx)
					}
					<-ctx.Done()
					return nil
				})},
				scheduler.Spec{Alias: "d", After: []string{"e"}, StopTimeout: time.Minute, Service: scheduler.Func(func(ctx context.Context) error {
					<-ctx.Done()
					time.Sleep(30 * time.Second)
					return nil
				})},
			))
			r.wantState("d", scheduler.Started, scheduler.NotEnded)
			close(crash)
			time.Sleep(5 * time.Second) // e is Starting anew
			r.wantState("e", scheduler.Starting, scheduler.NotEnded)
			stopped := make(chan error, 1)
			go func() { stopped <- r.Stop(context.Background(), "e") }()
			time.Sleep(20 * time.Second) // the start timeout has passed, and d still stops
			synctest.Wait()
			begin := time.Now()
			ctx, cancel := within(24 * time.Hour)
			defer cancel()
			require.NoError(t, r.Start(ctx, "e"))
			took := time.Since(begin)
			require.ErrorIs(t, <-stopped, scheduler.ErrRunning)
			e := r.status("e")
			r.end()
			if ready {
				require.Zero(t, took)
				require.EqualValues(t, 1, e.Failures)
				return
			}
			require.Equal(t, time.Second, took, "the backoff of one that has failed")
			require.EqualValues(t, 2, e.Failures)
			require.Equal(t, scheduler.StartTimedOut, e.Exceptions[1].Kind)
		})
	}
}

// obliging is a service whose Serve returns by itself when it is drained.
type obliging struct {
	drained chan struct{}
	err     error
	runs    atomic.Int32
}

func (o *obliging) Serve(ctx context.Context) error {
	if o.runs.Add(1) > 1 {
		<-ctx.Done()
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-o.drained:
		return o.err
	}
}

func (o *obliging) Drain(context.Context) error {
	time.Sleep(10 * time.Second)
	close(o.drained)
	time.Sleep(time.Second) // Serve returns first, as it may
	return nil
}

// What a service does that was asked to drain is no end that nobody asked for,
// also if it is wanted again meanwhile.
func TestRegressionStartWhileItDrains(t *testing.T) {
	for _, policy := range []scheduler.RestartPolicy{scheduler.Permanent, scheduler.Transient, scheduler.Temporary} {
		for _, err := range []error{nil, errBroken} {
			name := policy.String()
			if err != nil {
				name += ", " + err.Error()
			}
			bubble(t, name, func(t *testing.T) {
				o := &obliging{drained: make(chan struct{}), err: err}
				r := serve(t, services(scheduler.Spec{Alias: "a", Service: o, Restart: policy}))
				go func() { _ = r.Manager().Drain(context.Background(), "a") }()
				time.Sleep(time.Second)
				r.wantState("a", scheduler.Draining, scheduler.NotEnded)
				begin := time.Now()
				require.NoError(t, r.Start(t.Context(), "a"))
				require.Equal(t, 9*time.Second, time.Since(begin))
				time.Sleep(time.Minute)
				s := r.status("a")
				r.end()
				require.EqualValues(t, 2, s.Starts)
				require.EqualValues(t, len(s.Exceptions), s.Failures)
				for _, x := range s.Exceptions {
					require.Equal(t, scheduler.EndedOnPurpose, x.End)
				}
			})
		}
	}
}

func TestRegressionPoolGrowsWhileItDrains(t *testing.T) {
	for name, change := range map[string]scheduler.Spec{
		"transient":      {Restart: scheduler.Transient},
		"with its limit": {RetryLimit: 1, RetryWindow: time.Hour},
	} {
		bubble(t, name, func(t *testing.T) {
			change.Alias, change.Pool = "p", 2
			change.Factory = func() scheduler.Service { return &obliging{drained: make(chan struct{})} }
			r := serve(t, services(change))
			for range 3 {
				require.NoError(t, r.Manager().Resize("p", 1))
				time.Sleep(time.Second)
				require.NoError(t, r.Manager().Resize("p", 2))
				time.Sleep(time.Minute)
			}
			s := r.status("p")
			_, err := r.stop()
			require.NoError(t, err)
			require.Equal(t, 2, s.Ready)
			require.EqualValues(t, 5, s.Starts)
			require.Zero(t, s.Failures)
		})
	}
}

func TestRegressionResizeBeforeServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := scheduler.New(services(scheduler.Spec{Alias: "p", Pool: 2, Factory: func() scheduler.Service { return idle }}))
		require.NoError(t, err)
		for _, size := range []int{4, 1, 3} {
			require.NoError(t, s.Manager().Resize("p", size))
			p, err := s.Status("p")
			require.NoError(t, err)
			require.Equal(t, scheduler.Idle, p.State, p.Reason)
			require.Equal(t, "waits for Serve", p.Reason)
		}
		r := serveThis(t, s)
		p := r.status("p")
		r.end()
		require.Equal(t, 3, p.Ready)
	})
}
