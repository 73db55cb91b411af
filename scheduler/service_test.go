package scheduler_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

type key string

// The two contexts of a run: values of Serve's context in both; the first ends
// at the stop, the second at the stop timeout or with the run.
func TestWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type instants struct{ ctx, work, derived time.Duration }
		got := make(chan instants, 1)
		s, err := scheduler.New(services(scheduler.Spec{Alias: "a", StopTimeout: 3 * time.Second, Service: scheduler.Func(func(ctx context.Context) error {
			var i instants
			work := scheduler.Work(ctx)
			valued := context.WithValue(ctx, key("mine"), "v")
			timed, cancel := context.WithTimeout(scheduler.Work(valued), time.Hour)
			defer cancel()
			for _, c := range []context.Context{ctx, work, timed} {
				if c.Value(key("outer")) != "o" {
					t.Error("Serve's values are lost")
				}
			}
			if timed.Value(key("mine")) != "v" || work.Value(key("mine")) != nil {
				t.Error("the service's values are lost")
			}
			if scheduler.Work(work) != work {
				t.Error("work of work")
			}
			begin := time.Now()
			<-ctx.Done()
			i.ctx = time.Since(begin)
			if context.Cause(ctx) != scheduler.ErrStopping || work.Err() != nil {
				t.Error(context.Cause(ctx), work.Err())
			}
			<-work.Done()
			i.work = time.Since(begin)
			<-timed.Done()
			i.derived = time.Since(begin)
			if context.Cause(work) != scheduler.ErrStopTimeout || context.Cause(timed) != scheduler.ErrStopTimeout {
				t.Error(context.Cause(work), context.Cause(timed))
			}
			got <- i
			time.Sleep(time.Second)
			return nil
		})}))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key("outer"), "o"))
		result := make(chan error)
		go func() { result <- s.Serve(ctx) }()
		time.Sleep(time.Second)
		cancel()
		require.ErrorIs(t, <-result, scheduler.ErrStopTimeout)
		require.Equal(t, instants{ctx: time.Second, work: 4 * time.Second, derived: 4 * time.Second}, <-got)
		time.Sleep(time.Second)
	})
}

// Outside a run everything is harmless.
func TestOutsideARun(t *testing.T) {
	ctx := t.Context()
	scheduler.Ready(ctx)
	require.Equal(t, ctx, scheduler.Work(ctx))
	scheduler.Logger(ctx).Error("into the void")
	_, err := scheduler.Find[scheduler.Func](ctx, "a")
	require.ErrorIs(t, err, scheduler.ErrNoDirectory)
}

// Work that was first asked for after its end is over.
func TestWorkAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept context.Context
		s := serve(t, services(scheduler.Spec{Alias: "a", Restart: scheduler.Temporary, Service: scheduler.Func(func(ctx context.Context) error {
			kept = ctx
			return nil
		})}))
		synctest.Wait()
		require.ErrorIs(t, context.Cause(scheduler.Work(kept)), scheduler.ErrRunOver)
		_, err := s.stop()
		require.NoError(t, err)
		require.ErrorIs(t, context.Cause(scheduler.Work(kept)), scheduler.ErrRunOver)
		require.Equal(t, "scheduler.run scheduler.Work", fmt.Sprint(kept, " ", scheduler.Work(kept)))
	})
}

// All who ask for the work of a run at the same time get the same context, and it
// ends, however close to the end of the run that is.
func TestWorkConcurrently(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			const askers = 4
			got := make(chan context.Context, askers)
			s := serve(t, services(scheduler.Spec{Alias: "a", Restart: scheduler.Temporary, Service: scheduler.Func(func(ctx context.Context) error {
				for range askers {
					go func() { got <- scheduler.Work(ctx) }()
				}
				return nil
			})}))
			work := <-got
			for range askers - 1 {
				require.Same(t, work, <-got)
			}
			<-work.Done()
			require.ErrorIs(t, context.Cause(work), scheduler.ErrRunOver)
			s.end()
		})
	}
}

// Outside a bubble too, no goroutine is left once Serve has returned.
func TestNoGoroutineLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	var specs []scheduler.Spec
	var pools []string
	for i := range 200 {
		s := scheduler.Spec{Alias: fmt.Sprint(i), Service: idle, StartTimeout: time.Hour}
		switch i % 4 {
		case 0:
			s.Service, s.Backoff = fails, at(time.Hour)
		case 1:
			s.StartTimeout, s.StartDelay = 0, time.Hour
		case 2:
			s.StartTimeout, s.Pool, s.Service = 0, 3, nil
			s.Factory = func() scheduler.Service { return idle }
			pools = append(pools, s.Alias)
		}
		specs = append(specs, s)
	}
	s, err := scheduler.New(scheduler.Config{Services: specs, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- s.Serve(ctx) }()
	require.NoError(t, s.AwaitStarted(ctx, pools...))
	require.Greater(t, runtime.NumGoroutine(), before+149)
	cancel()
	require.NoError(t, <-result)
	// The last instructions of a goroutine come after what it says last.
	for begin := time.Now(); runtime.NumGoroutine() > before && time.Since(begin) < time.Minute; {
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}

// slowWriter is a slog.Handler's writer that hangs on demand.
type slowWriter struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	gate chan struct{} // nil: open
}

func (w *slowWriter) Write(p []byte) (int, error) {
	if w.gate != nil {
		<-w.gate
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *slowWriter) lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Split(strings.TrimSpace(w.buf.String()), "\n")
}

func logger(w *slowWriter) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// Each line of a service carries its lineage, each change has one line, and
// they come in order.
func TestLoggerCarriesLineage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slowWriter{}
		s := serve(t, scheduler.Config{Logger: logger(w), Name: "os/main", Services: []scheduler.Spec{
			{Alias: "analyzer", Backoff: at(time.Second), Factory: func() scheduler.Service {
				return scheduler.Func(func(ctx context.Context) error {
					scheduler.Logger(ctx).Info("hello")
					scheduler.Logger(scheduler.Work(ctx)).Info("hello again")
					time.Sleep(time.Second)
					panic("boom")
				})
			}},
		}})
		time.Sleep(1500 * time.Millisecond)
		_, err := s.stop()
		require.NoError(t, err)
		lines := w.lines()
		require.Len(t, lines, 5)
		require.ElementsMatch(t, lines[:4], []string{
			`level=DEBUG msg=starting service=os/main/analyzer generation=1`,
			`level=DEBUG msg=started service=os/main/analyzer generation=1`,
			`level=INFO msg=hello service=os/main/analyzer`,
			`level=INFO msg="hello again" service=os/main/analyzer`,
		})
		require.Regexp(t, `^level=WARN msg=panic service=os/main/analyzer generation=1 err="panic: boom" at=\S+TestLoggerCarriesLineage\S+:\d+ delay=1s$`, lines[4])
	})
}

// A log that hangs, panics or is too slow delays no service.
func TestLogDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slowWriter{gate: make(chan struct{})}
		s := serve(t, scheduler.Config{Logger: logger(w), LogQueue: 10, HandlerTimeout: 2 * time.Second, Services: []scheduler.Spec{
			{Alias: "a", Service: fails, Backoff: at(time.Second)},
		}})
		time.Sleep(99500 * time.Millisecond)
		require.EqualValues(t, 100, s.status("a").Starts)
		took, err := s.stop()
		require.ErrorContains(t, err, "os/scheduler log (asked 2s ago)")
		require.Equal(t, 2*time.Second, took)

		// Served again, the stuck writer is not doubled.
		r := serveThis(t, s.Scheduler)
		close(w.gate)
		synctest.Wait()
		_, err = r.stop()
		require.NoError(t, err)
		synctest.Wait()
		require.Contains(t, w.buf.String(), `msg="lines dropped, the log is too slow" service=os/scheduler lines=`)
	})
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, scheduler.Config{Logger: slog.New(panics{}), Services: []scheduler.Spec{{Alias: "a", Service: idle}}})
		s.wantState("a", scheduler.Started, scheduler.NotEnded)
		_, err := s.stop()
		require.NoError(t, err)
	})
}

type panics struct{ slog.Handler }

func (panics) Enabled(context.Context, slog.Level) bool { panic("no log") }
