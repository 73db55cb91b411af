package scheduler_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

var errBroken = errors.New("broken")

// rig is a scheduler that is served in the bubble of a test.
type rig struct {
	*scheduler.Scheduler
	t      *testing.T
	cancel context.CancelFunc
	result chan error
}

// serve makes a scheduler and serves it until stop, or the end of the test.
func serve(t *testing.T, c scheduler.Config) *rig {
	t.Helper()
	s, err := scheduler.New(c)
	require.NoError(t, err)
	return serveThis(t, s)
}

func services(specs ...scheduler.Spec) scheduler.Config { return scheduler.Config{Services: specs} }

func serveThis(t *testing.T, s *scheduler.Scheduler) *rig {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &rig{Scheduler: s, t: t, cancel: cancel, result: make(chan error, 1)}
	go func() { r.result <- s.Serve(ctx) }()
	synctest.Wait()
	t.Cleanup(cancel)
	return r
}

// stop ends Serve and returns what it answered and how long it took.
func (r *rig) stop() (time.Duration, error) {
	begin := time.Now()
	r.cancel()
	err := <-r.result
	return time.Since(begin), err
}

// end is stop, which must go well.
func (r *rig) end() {
	r.t.Helper()
	_, err := r.stop()
	require.NoError(r.t, err)
}

func (r *rig) status(alias string) scheduler.Status {
	r.t.Helper()
	s, err := r.Status(alias)
	require.NoError(r.t, err)
	return s
}

func (r *rig) wantState(alias string, state scheduler.State, end scheduler.End) {
	r.t.Helper()
	synctest.Wait()
	s := r.status(alias)
	require.Equal(r.t, state.String()+" "+end.String(), s.State.String()+" "+s.End.String(), "%s: %s", alias, s.Reason)
}

// idle runs until it is asked to stop.
var idle = scheduler.Func(func(ctx context.Context) error {
	<-ctx.Done()
	return nil
})

// deaf runs until release is closed, whatever it is asked.
func deaf(release <-chan struct{}) scheduler.Func {
	return func(context.Context) error {
		<-release
		return nil
	}
}

// fails returns the error at once.
var fails = scheduler.Func(func(context.Context) error { return errBroken })

// alone fails the test if two runs of it overlap, and counts its runs.
type alone struct {
	t       *testing.T
	running atomic.Int32
	runs    atomic.Int32
	body    func(ctx context.Context, run int) error
}

func (a *alone) Serve(ctx context.Context) error {
	if a.running.Add(1) > 1 {
		a.t.Error("two generations run at once")
	}
	defer a.running.Add(-1)
	return a.body(ctx, int(a.runs.Add(1)))
}

func at(d time.Duration) scheduler.Backoff { return func(int) time.Duration { return d } }

func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), d, errors.New("test waited long enough"))
}

// idleFor sleeps, in the time of a bubble.
func idleFor(d time.Duration) { time.Sleep(d) }
