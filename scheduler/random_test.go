package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// actor is a service that behaves as its dice say, and checks the promises
// from the inside.
type actor struct {
	t      *testing.T
	alias  string
	calm   *atomic.Bool // no more faults
	after  []*actor
	before []*actor // those that come after it
	pool   bool

	mu       sync.Mutex
	dice     *rand.Rand
	running  int  // runs
	deaf     int  // runs that were abandoned
	stopped  bool // Stop has returned nil, and nobody asked for a start since
	runs     int
	failures int // ends that count as such
}

const (
	actorStart = time.Second
	actorStop  = time.Second
)

func (a *actor) roll(n int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dice.IntN(n)
}

func (a *actor) enter() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.runs++
	a.running++
	if a.running > 1 && !a.pool {
		a.t.Errorf("%s: two generations at once", a.alias)
	}
	if a.stopped {
		a.t.Errorf("%s: runs though it was stopped", a.alias)
	}
}

func (a *actor) leave(failed, deaf bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running--
	if deaf {
		a.deaf--
	}
	if failed {
		a.failures++
	}
}

func (a *actor) busy() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running - a.deaf
}

func (a *actor) Serve(ctx context.Context) error {
	a.enter()
	failed, deaf := true, false
	defer func() { a.leave(failed, deaf) }()
	fault := 99
	if !a.calm.Load() {
		fault = a.roll(12)
	}
	if fault == 0 { // a start that takes too long, and hears its stop
		<-ctx.Done()
		// A stop may have come before the timeout.
		failed = errors.Is(context.Cause(ctx), scheduler.ErrStartTimeout)
		return nil
	}
	time.Sleep(time.Duration(a.roll(500)) * time.Millisecond)
	if ctx.Err() == nil {
		scheduler.Ready(ctx)
	}
	life := time.Duration(a.roll(20_000)) * time.Millisecond
	if fault > 6 {
		life = 1000 * time.Hour
	}
	select {
	case <-ctx.Done():
	case <-time.After(life):
		switch fault {
		case 1:
			failed = false
			return nil
		case 2:
			panic("fault")
		case 3:
			runtime.Goexit()
		}
		return errBroken
	}
	if errors.Is(context.Cause(ctx), scheduler.ErrStopping) {
		time.Sleep(time.Millisecond) // a dependant abandoned at this instant notes it
		for _, d := range a.before {
			if d.busy() > 0 {
				a.t.Errorf("%s is stopped before %s", a.alias, d.alias)
			}
		}
	}
	failed = false
	if fault == 7 { // deaf: abandoned, and must not be replaced before it has ended
		<-scheduler.Work(ctx).Done()
		failed, deaf = true, true
		a.mu.Lock()
		a.deaf++
		a.mu.Unlock()
		time.Sleep(time.Duration(a.roll(2000)) * time.Millisecond)
		return nil
	}
	time.Sleep(time.Duration(a.roll(450)) * time.Millisecond)
	return ctx.Err()
}

// drive throws operations at the services.
func drive(t *testing.T, s *scheduler.Scheduler, actors []*actor, dice *rand.Rand, steps int) {
	m := s.Manager()
	for range steps {
		a := actors[dice.IntN(len(actors))]
		time.Sleep(time.Duration(dice.IntN(700)) * time.Millisecond)
		ctx, cancel := within(time.Duration(dice.IntN(4000)) * time.Millisecond)
		var err error
		switch dice.IntN(4) {
		case 0:
			err = s.Start(ctx, a.alias)
		case 1:
			err = s.Stop(ctx, a.alias)
		case 2:
			err = s.Restart(ctx, a.alias)
		case 3:
			err = m.AwaitStarted(ctx, a.alias)
		}
		cancel()
		known := false
		for _, e := range []error{
			nil, scheduler.ErrRunning, scheduler.ErrStopped, scheduler.ErrNotStarted, scheduler.ErrAbandoned,
			scheduler.ErrStopTimeout, scheduler.ErrEnded, context.Cause(ctx),
		} {
			known = known || errors.Is(err, e)
		}
		if !known {
			t.Errorf("%s: %v", a.alias, err)
		}
	}
}

// TestRandom drives a graph of services through seeded operations and faults:
// never two generations at once, never a dependency stopped before its
// dependant, every end accounted for, and in the end everything that shall run
// does.
func TestRandom(t *testing.T) {
	seeds, steps := 24, 400
	if testing.Short() {
		seeds = 2
	}
	for i := range seeds {
		seed := uint64(i + 1)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomWorld(t, seed, steps) })
		})
	}
}

func randomWorld(t *testing.T, seed uint64, steps int) {
	dice := rand.New(rand.NewPCG(seed, 7))
	var calm atomic.Bool
	var actors []*actor
	var specs []scheduler.Spec
	for i := range 12 {
		a := &actor{t: t, alias: fmt.Sprint("s", i), calm: &calm, dice: rand.New(rand.NewPCG(seed, uint64(100+i))), pool: i%4 == 3}
		spec := scheduler.Spec{
			Alias: a.alias, StartTimeout: actorStart, StopTimeout: actorStop,
			StartDelay: time.Duration(dice.IntN(3)) * 100 * time.Millisecond,
			Backoff:    at(time.Duration(dice.IntN(4)) * 250 * time.Millisecond),
		}
		if a.pool {
			spec.Pool, spec.Factory = 3, func() scheduler.Service { return a }
		} else {
			spec.Service = a
		}
		for _, need := range actors {
			if dice.IntN(5) == 0 {
				spec.After = append(spec.After, need.alias)
				a.after = append(a.after, need)
				need.before = append(need.before, a)
			}
		}
		actors, specs = append(actors, a), append(specs, spec)
	}
	s := serve(t, services(specs...))
	var drivers sync.WaitGroup
	for i := range 3 {
		drivers.Go(func() { drive(t, s.Scheduler, actors, rand.New(rand.NewPCG(seed, uint64(200+i))), steps) })
	}
	drivers.Wait()
	calm.Store(true)

	// What is stopped stays stopped.
	off := actors[dice.IntN(len(actors))]
	for s.Stop(t.Context(), off.alias) != nil {
		time.Sleep(10 * time.Second)
	}
	off.mu.Lock()
	off.stopped = true
	off.mu.Unlock()
	for range 50 {
		time.Sleep(time.Minute)
		for _, a := range actors {
			if a == off || !startable(a, off) {
				continue
			}
			ctx, cancel := within(time.Minute)
			_ = s.Start(ctx, a.alias)
			cancel()
		}
	}
	// Faults of before the calm live for at most 20 s: by now all is up.
	for _, a := range actors {
		status := s.status(a.alias)
		switch {
		case a == off:
			require.Equal(t, scheduler.Stopped, status.State)
		case startable(a, off):
			require.Equal(t, scheduler.Started, status.State, "seed %d: %s: %s", seed, a.alias, status.Reason)
		default:
			require.Contains(t, []scheduler.State{scheduler.Idle, scheduler.Stopped}, status.State)
		}
		require.Zero(t, status.Abandoned)
	}
	if _, err := s.stop(); err != nil { // a deaf one of before the calm
		require.ErrorIs(t, err, scheduler.ErrStopTimeout)
	}
	require.NoError(t, s.Manager().AwaitStopped(t.Context()))
	for _, a := range actors {
		status := s.status(a.alias)
		require.EqualValues(t, a.runs, status.Starts, "seed %d: %s: runs", seed, a.alias)
		require.EqualValues(t, a.failures, status.Failures, "seed %d: %s: failures", seed, a.alias)
		require.Zero(t, a.running)
	}
}

// startable reports whether a does not come after the one that is off.
func startable(a, off *actor) bool {
	for _, need := range a.after {
		if need == off || !startable(need, off) {
			return false
		}
	}
	return a != off
}
