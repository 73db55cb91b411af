package scheduler_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// lineFunc is a slog.Handler that is called for each line.
type lineFunc func(slog.Record)

func (f lineFunc) Enabled(context.Context, slog.Level) bool      { return true }
func (f lineFunc) Handle(_ context.Context, r slog.Record) error { f(r); return nil }
func (f lineFunc) WithAttrs([]slog.Attr) slog.Handler            { return f }
func (f lineFunc) WithGroup(string) slog.Handler                 { return f }

// A run that ends while Serve waits for the log does not have a handler called
// that nobody waits for.
func TestRegressionNoHandlerAfterServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var returned atomic.Int32
		r := serve(t, scheduler.Config{
			Logger: slog.New(lineFunc(func(slog.Record) { time.Sleep(25 * time.Millisecond) })),
			Handlers: []scheduler.Handler{{Name: "h", Timeout: time.Hour, Handle: func(_ context.Context, x scheduler.Exception) error {
				if x.Kind == scheduler.Returned {
					returned.Add(1)
				}
				return nil
			}}},
			Services: []scheduler.Spec{{Alias: "deaf", StopTimeout: time.Second, Service: scheduler.Func(func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(1020 * time.Millisecond)
				return errBroken
			})}},
		})
		took, err := r.stop()
		require.NoError(t, err)
		require.Greater(t, took, 1020*time.Millisecond, "the run did not end while Serve waited for the log")
		time.Sleep(time.Hour)
		require.Zero(t, returned.Load())
		require.ErrorIs(t, r.status("deaf").Exceptions[1].Err, errBroken, "it is recorded all the same")
	})
}

// A log that hangs since the session before is named by each later one, too.
func TestRegressionLogHangsSinceSessionBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s, err := scheduler.New(scheduler.Config{
			Logger:   slog.New(lineFunc(func(slog.Record) { <-release })),
			Services: []scheduler.Spec{{Alias: "a", Service: idle}},
		})
		require.NoError(t, err)
		for range 3 {
			took, err := serveThis(t, s).stop()
			var unstopped *scheduler.UnstoppedError
			require.ErrorAs(t, err, &unstopped)
			require.Len(t, unstopped.Services, 1)
			require.Equal(t, "os/scheduler log", unstopped.Services[0].Path)
			require.Equal(t, scheduler.DefaultHandlerTimeout, took)
		}
		close(release)
		serveThis(t, s).end()
	})
}

// Serve waits for its lines also when the log has hung in the session before.
func TestRegressionNoLinesAfterServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var served, hung atomic.Bool
		var lines, late atomic.Int32
		s, err := scheduler.New(scheduler.Config{
			Logger: slog.New(lineFunc(func(slog.Record) {
				if !hung.Swap(true) {
					<-release
				}
				time.Sleep(10 * time.Millisecond)
				lines.Add(1)
				if served.Load() {
					late.Add(1)
				}
			})),
			Services: []scheduler.Spec{{Alias: "a", Service: idle}, {Alias: "b", Service: idle}},
		})
		require.NoError(t, err)
		_, err = serveThis(t, s).stop()
		require.Error(t, err)
		r := serveThis(t, s)
		close(release)
		time.Sleep(time.Second)
		r.end()
		served.Store(true)
		time.Sleep(time.Minute)
		require.NotZero(t, lines.Load())
		require.Zero(t, late.Load(), "lines written after Serve returned nil")
	})
}

// What the chain of the Config drops is counted for the service whose failure
// is lost, not for the one whose failure took its place.
func TestRegressionDroppedIsCountedForItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		fire := map[string]chan struct{}{"a": make(chan struct{}), "b": make(chan struct{})}
		fails := func(alias string) scheduler.Spec {
			return scheduler.Spec{Alias: alias, Backoff: at(0), Service: scheduler.Func(func(ctx context.Context) error {
				select {
				case <-fire[alias]:
					return errBroken
				case <-ctx.Done():
					return nil
				}
			})}
		}
		c := services(fails("a"), fails("b"))
		c.HandlerQueue = 2
		var told journal
		c.Handlers = []scheduler.Handler{{Name: "h", Timeout: time.Hour, Handle: func(_ context.Context, x scheduler.Exception) error {
			<-block
			told.add(x.Alias)
			return nil
		}}}
		r := serve(t, c)
		for _, alias := range []string{"b", "a", "b", "b"} { // handled, waits, waits, pushes out that of a
			fire[alias] <- struct{}{}
			synctest.Wait()
		}
		a, b := r.status("a"), r.status("b")
		close(block)
		synctest.Wait()
		r.end()
		require.Equal(t, []string{"b", "b", "b"}, told.take())
		require.EqualValues(t, 1, a.Dropped)
		require.Zero(t, b.Dropped)
	})
}
