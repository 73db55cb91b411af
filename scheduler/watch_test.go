package scheduler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// viewer follows a directory in a goroutine of its own.
type viewer struct {
	cancel context.CancelCauseFunc
	gate   chan struct{} // nil: it never waits; else each event takes one token
	done   chan struct{}

	mu     sync.Mutex
	events []scheduler.Event
	view   map[string]scheduler.Event
	synced bool
	missed uint64
	err    error
}

func follow(t *testing.T, d *scheduler.Directory, buffer int, gate chan struct{}) *viewer {
	ctx, cancel := context.WithCancelCause(context.Background())
	v := &viewer{cancel: cancel, gate: gate, done: make(chan struct{}), view: make(map[string]scheduler.Event)}
	t.Cleanup(func() { cancel(nil) })
	go func() {
		defer close(v.done)
		for event, err := range d.Watch(ctx, buffer) {
			if gate != nil {
				<-gate
			}
			v.take(event, err)
		}
	}()
	return v
}

func (v *viewer) take(event scheduler.Event, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.err = err
		return
	}
	v.events = append(v.events, event)
	switch event.Kind {
	case scheduler.EventReset:
		clear(v.view)
		v.synced, v.missed = false, v.missed+event.Missed
	case scheduler.EventSynced:
		v.synced = true
	case scheduler.EventRemoved:
		delete(v.view, event.Path)
	default:
		v.view[event.Path] = event
	}
}

// texts returns the events since the last call, in short.
func (v *viewer) texts() (all []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.events {
		text := e.Kind.String()
		if e.Path != "" {
			text += fmt.Sprintf(" %s#%d", strings.TrimPrefix(e.Path, "os/scheduler/"), e.Generation)
		}
		switch e.Kind {
		case scheduler.EventChanged:
			text += fmt.Sprintf(" %v>%v", e.From, e.State)
		case scheduler.EventPresent, scheduler.EventAdded:
			text += " " + e.State.String()
		case scheduler.EventFailed:
			text += fmt.Sprintf(" %v %v", e.Failure.Kind, e.Failure.Err)
		case scheduler.EventReset:
			if e.Missed > 0 {
				text += fmt.Sprintf(" missed %d", e.Missed)
			}
		}
		if e.End != scheduler.NotEnded {
			text += " " + e.End.String()
		}
		all = append(all, text)
	}
	v.events = nil
	return all
}

func (v *viewer) stop(t *testing.T) {
	t.Helper()
	v.cancel(errBroken)
	<-v.done
	require.ErrorIs(t, v.err, errBroken, "the cause is the last pair")
}

// A watcher is told what is there, and then all that happens, in order: before,
// during, between and after calls of Serve.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crash := make(chan error)
		s, err := scheduler.New(services(
			scheduler.Spec{Alias: "db", Service: idle},
			scheduler.Spec{Alias: "web", After: []string{"db"}, Backoff: at(time.Second), Service: scheduler.Func(func(ctx context.Context) error {
				select {
				case err := <-crash:
					return err
				case <-ctx.Done():
					return nil
				}
			})},
		))
		require.NoError(t, err)
		v := follow(t, s.Directory(), 0, nil)
		synctest.Wait()
		require.Equal(t, []string{"reset", "present db#0 idle", "present web#0 idle", "synced"}, v.texts())

		r := serveThis(t, s)
		up := []string{"changed db#1 idle>starting", "changed db#1 starting>started", "changed web#1 idle>starting", "changed web#1 starting>started"}
		require.Equal(t, up, v.texts())

		crash <- errBroken
		synctest.Wait()
		require.Equal(t, []string{"failed web#1 error broken", "changed web#1 started>backing off"}, v.texts())
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []string{"changed web#2 backing off>starting", "changed web#2 starting>started"}, v.texts())

		require.NoError(t, s.Add(scheduler.Spec{Alias: "late", Service: idle}))
		synctest.Wait()
		require.Equal(t, []string{"added late#0 idle", "changed late#1 idle>starting", "changed late#1 starting>started"}, v.texts())
		require.NoError(t, s.Remove(t.Context(), "late"))
		synctest.Wait()
		require.Equal(t, []string{
			"changed late#1 started>stopping", "changed late#1 stopping>stopped stopped", "removed late#1 stopped",
		}, v.texts())

		require.NoError(t, s.Restart(t.Context(), "db"))
		synctest.Wait()
		require.Equal(t, []string{
			"changed web#2 started>stopping", "changed web#2 stopping>idle stopped",
			"changed db#1 started>stopping", "changed db#1 stopping>idle stopped",
			"changed db#2 idle>starting", "changed db#2 starting>started",
			"changed web#3 idle>starting", "changed web#3 starting>started",
		}, v.texts())

		_, err = r.stop()
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []string{
			"changed web#3 started>stopping", "changed web#3 stopping>stopped stopped",
			"changed db#2 started>stopping", "changed db#2 stopping>stopped stopped",
		}, v.texts())

		late := follow(t, s.Directory(), 0, nil)
		synctest.Wait()
		require.Equal(t, []string{"reset", "present db#2 stopped stopped", "present web#3 stopped stopped", "synced"}, late.texts())
		r = serveThis(t, s)
		again := v.texts()
		require.Len(t, again, 6)
		require.Equal(t, again, late.texts())
		_, err = r.stop()
		require.NoError(t, err)
		v.stop(t)
		late.stop(t)
	})
}

// What an event says, beside what happened.
func TestEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Int32
		s := serve(t, services(scheduler.Spec{Alias: "pool", Pool: 2, Backoff: at(time.Hour), Factory: func() scheduler.Service {
			return scheduler.Func(func(ctx context.Context) error {
				if made.Add(1) == 2 {
					time.Sleep(time.Second)
					panic("boom")
				}
				return idle(ctx)
			})
		}}))
		v, other := follow(t, s.Directory(), 0, nil), follow(t, s.Directory(), 0, nil)
		synctest.Wait()
		begin := time.Now()
		time.Sleep(time.Minute)
		synctest.Wait()
		v.mu.Lock()
		require.Len(t, v.events, 6)
		failed, changed := v.events[4], v.events[5]
		v.mu.Unlock()
		require.WithinDuration(t, begin.Add(time.Second), failed.At, time.Millisecond)
		require.Equal(t, "panic: boom", failed.Failure.Err.Error())
		require.Contains(t, failed.Failure.Stack(), "scheduler_test")
		require.NotSame(t, failed.Failure, other.events[4].Failure, "each watcher has its own")
		require.Equal(t, failed.At, failed.Failure.At)
		failed.Failure, failed.At = nil, time.Time{}
		worker := failed.Worker
		path := fmt.Sprintf("os/scheduler/pool/%d", worker)
		require.Equal(t, scheduler.Event{
			Kind: scheduler.EventFailed, Path: path, Alias: "pool", Worker: worker, Generation: 1,
			State: scheduler.Started, Service: scheduler.Started,
		}, failed)
		changed.At = time.Time{}
		require.Equal(t, scheduler.Event{
			Kind: scheduler.EventChanged, Path: path, Alias: "pool", Worker: worker, Generation: 1,
			From: scheduler.Started, State: scheduler.BackingOff, Service: scheduler.Started,
		}, changed)
		text, err := json.Marshal(changed)
		require.NoError(t, err)
		require.Contains(t, string(text), `"Kind":"changed"`)
		require.Equal(t, "EventKind(99)", scheduler.EventKind(99).String())
		v.stop(t)
		other.stop(t)
		_, err = s.stop()
		require.NoError(t, err)
	})
}

// The workers of a pool come and go with its size and with the pool.
func TestWatchPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, services(
			scheduler.Spec{Alias: "pool", Pool: 3, Factory: func() scheduler.Service { return idle }},
			scheduler.Spec{Alias: "last", Service: idle},
		))
		v := follow(t, s.Directory(), 1, nil) // listed one by one
		synctest.Wait()
		require.Equal(t, []string{
			"reset", "present pool/1#1 started", "present pool/2#1 started", "present pool/3#1 started", "present last#1 started", "synced",
		}, v.texts())
		require.NoError(t, s.Manager().Resize("pool", 1))
		synctest.Wait()
		require.NoError(t, s.Manager().Resize("pool", 2))
		synctest.Wait()
		require.NoError(t, s.Remove(t.Context(), "pool"))
		synctest.Wait()
		require.Equal(t, []string{"os/scheduler/last"}, slices.Collect(maps.Keys(v.view)))
		v.stop(t)
		_, err := s.stop()
		require.NoError(t, err)
	})
}

// A watcher that is too slow delays nobody, is told what waited for it, then
// how much it missed, and then what there is.
func TestWatchTooSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		s := serve(t, services(scheduler.Spec{Alias: "a", Service: fails, Backoff: at(time.Second)}))
		v := follow(t, s.Directory(), 4, gate)
		gate <- struct{}{} // the reset
		gate <- struct{}{} // the service
		gate <- struct{}{} // synced
		synctest.Wait()
		require.Equal(t, []string{"reset", "present a#1 backing off", "synced"}, v.texts())
		time.Sleep(100 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 101, s.status("a").Starts)
		require.NoError(t, s.Stop(t.Context(), "a"))
		close(gate)
		synctest.Wait()
		require.Equal(t, []string{
			"changed a#2 backing off>starting", "changed a#2 starting>started", "failed a#2 error broken", "changed a#2 started>backing off",
			"changed a#3 backing off>starting", // one was in the loop's hands, four waited
			"reset missed 396", "present a#101 stopped stopped", "synced",
		}, v.texts())
		v.stop(t)
		_, err := s.stop()
		require.NoError(t, err)
	})
}

// A loop may break off, panic, be refused, or never begin.
func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, services(scheduler.Spec{Alias: "a", Service: idle}))
		d := s.Directory()
		for kind := range scheduler.EventSynced + 1 {
			for event, err := range d.Watch(t.Context(), 0) {
				require.NoError(t, err)
				if event.Kind == kind {
					break
				}
			}
		}
		require.PanicsWithError(t, "broken", func() {
			for range d.Watch(t.Context(), 0) {
				panic(errBroken)
			}
		})
		for event, err := range d.Watch(t.Context(), 0) { // nothing is locked
			require.NoError(t, err)
			require.NoError(t, s.Restart(t.Context(), "a"))
			require.Zero(t, event.Missed)
			break
		}
		for _, buffer := range []int{-1, scheduler.MaxEventBuffer + 1} {
			n := 0
			for _, err := range d.Watch(t.Context(), buffer) {
				n++
				require.EqualError(t, err, fmt.Sprintf("scheduler: buffer: %d is not between 0, for the default, and 1048576", buffer))
				require.ErrorIs(t, err, scheduler.ErrSpec)
			}
			require.Equal(t, 1, n)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errBroken)
		var got []error
		for _, err := range d.Watch(ctx, 0) {
			got = append(got, err)
		}
		require.Equal(t, []error{errBroken}, got)
		_, err := s.stop()
		require.NoError(t, err)
	})
}

// What a handler does wrong after its service was removed brings back nothing.
func TestWatchLateFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, services(scheduler.Spec{
			Alias: "a", Service: fails, Restart: scheduler.Temporary,
			Handlers: []scheduler.Handler{{Name: "slow", Handle: func(context.Context, scheduler.Exception) error {
				time.Sleep(time.Second)
				return errBroken
			}}},
		}))
		v := follow(t, s.Directory(), 0, nil)
		synctest.Wait()
		require.NoError(t, s.Remove(t.Context(), "a"))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"reset", "present a#1 stopped failed", "synced", "removed a#1 failed"},
			withoutChanges(v.texts()))
		require.Empty(t, v.view)
		v.stop(t)
		_, err := s.stop()
		require.NoError(t, err)
	})
}

func withoutChanges(texts []string) []string {
	return slices.DeleteFunc(texts, func(text string) bool { return strings.HasPrefix(text, "changed ") })
}

// BenchmarkWatch restarts a service that fails, with watchers and without, by
// turns, and reports what a restart takes in relation to one that nobody
// watches.
func BenchmarkWatch(b *testing.B) {
	counts := []int{0, 1, 10}
	took := make([][]float64, len(counts))
	const restarts = 2000
	for b.Loop() {
		for i, n := range counts {
			took[i] = append(took[i], restartsWatched(b, n, restarts))
		}
	}
	alone := median(took[0])
	b.ReportMetric(alone, "ns/restart")
	for i, n := range counts[1:] {
		b.ReportMetric(median(took[i+1])/alone, fmt.Sprintf("x-with-%d", n))
	}
}

// restartsWatched returns the nanoseconds that a restart takes.
func restartsWatched(b *testing.B, watchers, restarts int) float64 {
	b.Helper()
	failing, done := make(chan struct{}), make(chan time.Duration, 1)
	runs := 0
	var begin time.Time
	s, stop := serveCrowd(b, 1, scheduler.Spec{Backoff: at(0), Service: scheduler.Func(func(ctx context.Context) error {
		switch runs++; runs {
		case 1:
			<-failing
			begin = time.Now()
		case restarts:
			done <- time.Since(begin)
			return idle(ctx)
		}
		return errBroken
	})})
	ctx, cancel := context.WithCancel(context.Background())
	var ready, all sync.WaitGroup
	for range watchers {
		ready.Add(1)
		synced := sync.OnceFunc(ready.Done)
		all.Go(func() {
			for event := range s.Directory().Watch(ctx, 0) {
				if event.Kind == scheduler.EventSynced {
					synced()
				}
			}
		})
	}
	ready.Wait()
	close(failing)
	each := float64(<-done) / float64(restarts)
	cancel()
	all.Wait()
	stop()
	return each
}
