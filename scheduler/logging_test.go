package scheduler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// jsonLog is a log of JSON lines that are read back.
type jsonLog struct{ slowWriter }

func (l *jsonLog) logger(level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: level}))
}

// take returns the lines so far and forgets them.
func (l *jsonLog) take() (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		lines = append(lines, strings.TrimSpace(line))
	}
	l.buf.Reset()
	return lines
}

// lineages returns the message and the service of each line, of which each must
// have exactly one, outside of all groups.
func lineages(t *testing.T, lines []string) (all []string) {
	t.Helper()
	for _, line := range lines {
		var got struct{ Msg, Service string }
		require.NoError(t, json.Unmarshal([]byte(line), &got))
		require.Equal(t, 1, strings.Count(line, `"service":`), line)
		all = append(all, got.Msg+" "+got.Service)
	}
	return all
}

// says logs what f does with its logger, and idles.
func says(f func(*slog.Logger)) scheduler.Func {
	return func(ctx context.Context) error {
		f(scheduler.Logger(ctx))
		return idle(ctx)
	}
}

// The lineage is in each line exactly once, whatever is done to the logger, and
// however deep the scheduler is nested.
func TestLineageIsThereOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log jsonLog
		uses := says(func(l *slog.Logger) {
			l.Info("plain", "n", 1)
			l.With("a", 1).With("b", 2).Info("with", "n", 1)
			l.WithGroup("").WithGroup("g").With("a", 1).Info("group", "n", 1)
			l.With("a", 1).WithGroup("g").WithGroup("h").Info("groups", "n", 1)
		})
		inner := func(c scheduler.Config) scheduler.Service {
			c.Services = []scheduler.Spec{{Alias: "leaf", Service: uses}}
			s, err := scheduler.New(c)
			require.NoError(t, err)
			return s
		}
		s := serve(t, scheduler.Config{Logger: log.logger(slog.LevelInfo).With("app", "test"), Services: []scheduler.Spec{
			{Alias: "flat", Service: uses},
			{Alias: "nested", Service: inner(scheduler.Config{})},
			{Alias: "given", Service: scheduler.Func(func(ctx context.Context) error {
				return inner(scheduler.Config{Logger: scheduler.Logger(ctx)}).Serve(ctx)
			})},
			{Alias: "derived", Service: scheduler.Func(func(ctx context.Context) error {
				return inner(scheduler.Config{Logger: scheduler.Logger(ctx).With("more", true)}).Serve(ctx)
			})},
		}})
		var want []string
		for _, path := range []string{"flat", "nested/leaf", "given/leaf", "derived/leaf"} {
			for _, msg := range []string{"plain", "with", "group", "groups"} {
				want = append(want, msg+" os/scheduler/"+path)
			}
		}
		lines := log.take()
		require.ElementsMatch(t, want, lineages(t, lines))
		text := strings.Join(lines, "\n")
		require.Equal(t, 16, strings.Count(text, `"app":"test"`), "the user's attributes are kept")
		require.Equal(t, 4, strings.Count(text, `"more":true`))
		require.Equal(t, 4, strings.Count(text, `"g":{"h":{"n":1}}`))
		require.Equal(t, 4, strings.Count(text, `"g":{"a":1,"n":1}`))
		_, err := s.stop()
		require.NoError(t, err)
	})
}

// shared is a handler that breaks the contract of WithAttrs: it returns itself,
// and keeps nothing, or all in one place.
type shared struct {
	slog.Handler
	hoards bool
	mu     sync.Mutex
	attrs  []slog.Attr
	lines  []string
}

func (h *shared) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hoards {
		h.attrs = append(h.attrs, attrs...)
	}
	return h
}

func (h *shared) WithGroup(string) slog.Handler { return h }

func (h *shared) Enabled(context.Context, slog.Level) bool { return true }

func (h *shared) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.AddAttrs(h.attrs...)
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "service" {
			line += " " + a.Value.String()
		}
		return true
	})
	h.lines = append(h.lines, line)
	return nil
}

func TestLineageUnderCarelessHandlers(t *testing.T) {
	for _, hoards := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := &shared{hoards: hoards}
			hello := says(func(l *slog.Logger) { l.With("a", 1).Info("hello") })
			s := serve(t, scheduler.Config{Logger: slog.New(h), Services: []scheduler.Spec{
				{Alias: "a", Service: hello}, {Alias: "b", Service: hello},
			}})
			require.ElementsMatch(t, []string{
				"hello os/scheduler/a", "starting os/scheduler/a", "started os/scheduler/a",
				"hello os/scheduler/b", "starting os/scheduler/b", "started os/scheduler/b",
			}, h.lines)
			_, err := s.stop()
			require.NoError(t, err)
		})
	}
}

// What a service is given keeps the contract of a slog.Handler.
func TestLoggerPassesSlogtest(t *testing.T) {
	var buf bytes.Buffer
	var handler slog.Handler
	ctx, cancel := context.WithCancel(t.Context())
	s, err := scheduler.New(scheduler.Config{
		Logger: slog.New(slog.NewJSONHandler(&buf, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Services: []scheduler.Spec{{Alias: "a", Service: scheduler.Func(func(ctx context.Context) error {
			handler = scheduler.Logger(ctx).Handler()
			cancel()
			return nil
		})}},
	})
	require.NoError(t, err)
	require.NoError(t, s.Serve(ctx))
	require.Same(t, handler, handler.WithGroup(""))
	slogtest.Run(t, func(*testing.T) slog.Handler {
		buf.Reset()
		return handler
	}, func(t *testing.T) (got map[string]any) {
		require.NoError(t, json.Unmarshal(buf.Bytes(), &got))
		require.Equal(t, "os/scheduler/a", got["service"])
		return got
	})
}

// strict fails the test if it is given what it said it doesn't want.
type strict struct {
	slog.Handler
	t *testing.T
}

func (h strict) Handle(ctx context.Context, r slog.Record) error {
	if !h.Enabled(ctx, r.Level) {
		h.t.Errorf("not enabled: %s", r.Message)
	}
	return h.Handler.Handle(ctx, r)
}

func (h strict) WithAttrs(attrs []slog.Attr) slog.Handler {
	return strict{h.Handler.WithAttrs(attrs), h.t}
}

func (h strict) WithGroup(name string) slog.Handler { return strict{h.Handler.WithGroup(name), h.t} }

// What the handler doesn't want it isn't given, also once it changes its mind.
func TestLogLevelIsRespected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log jsonLog
		var level slog.LevelVar
		level.Set(slog.LevelWarn)
		s := serve(t, scheduler.Config{Logger: slog.New(strict{log.logger(&level).Handler(), t}), Services: []scheduler.Spec{
			{Alias: "a", Service: scheduler.Func(func(ctx context.Context) error {
				l := scheduler.Logger(ctx)
				if l.Enabled(ctx, slog.LevelInfo) {
					l.Info("chatty")
				}
				l.Debug("too much")
				l.Warn("hm")
				return idle(ctx)
			})},
		}})
		require.Equal(t, []string{"hm os/scheduler/a"}, lineages(t, log.take()))
		level.Set(slog.LevelInfo)
		require.NoError(t, s.Restart(t.Context(), "a"))
		synctest.Wait()
		require.ElementsMatch(t, []string{"chatty os/scheduler/a", "hm os/scheduler/a", "started os/scheduler/a"},
			lineages(t, log.take()))
		_, err := s.stop()
		require.NoError(t, err)
	})
}

// Each failure has one line of warning or error, in the log of its own
// scheduler and not in that of the one around it, and each handler of a
// MultiHandler gets it once.
func TestOneLineForOneFailure(t *testing.T) {
	for name, c := range map[string]struct {
		spec scheduler.Spec
		want []string
	}{
		"error": {scheduler.Spec{Service: fails, Restart: scheduler.Temporary}, []string{"ERROR error"}},
		"panic": {
			scheduler.Spec{Service: scheduler.Func(func(context.Context) error { panic(1) }), Restart: scheduler.Temporary},
			[]string{"ERROR panic"},
		},
		"restarts": {
			scheduler.Spec{Service: fails, RetryLimit: 2, Backoff: at(time.Second)},
			[]string{"WARN error", "WARN error", "ERROR error"},
		},
		"start timeout": {
			scheduler.Spec{Service: idle, StartTimeout: time.Second, Restart: scheduler.Temporary},
			[]string{"WARN start timeout"},
		},
		"start timeout with an error": {
			scheduler.Spec{StartTimeout: time.Second, Restart: scheduler.Temporary, Service: scheduler.Func(func(ctx context.Context) error {
				<-ctx.Done()
				return errBroken
			})},
			[]string{"WARN start timeout"},
		},
		"deaf": {
			scheduler.Spec{StartTimeout: time.Second, StopTimeout: time.Second, Service: scheduler.Func(func(context.Context) error {
				time.Sleep(30 * time.Second)
				return errBroken
			}), Restart: scheduler.Temporary},
			[]string{"WARN start timeout", "ERROR deaf"}, // two failures: it didn't start, and didn't stop
		},
		"goexit": {
			scheduler.Spec{Restart: scheduler.Temporary, Service: scheduler.Func(func(context.Context) error {
				runtime.Goexit()
				return nil
			})},
			[]string{"ERROR goexit"},
		},
		"handler": {
			scheduler.Spec{Service: fails, Restart: scheduler.Temporary, Handlers: []scheduler.Handler{
				{Name: "h", Handle: func(context.Context, scheduler.Exception) error { return errBroken }},
			}},
			[]string{"ERROR error", "WARN handler"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var first, second jsonLog
				c.spec.Alias = "a"
				inner, err := scheduler.New(services(c.spec))
				require.NoError(t, err)
				s := serve(t, scheduler.Config{
					Logger:   slog.New(slog.NewMultiHandler(first.logger(slog.LevelWarn).Handler(), second.logger(slog.LevelWarn).Handler())),
					Services: []scheduler.Spec{{Alias: "inner", Service: inner}},
				})
				time.Sleep(time.Minute)
				synctest.Wait()
				for _, log := range []*jsonLog{&first, &second} {
					var got []string
					lines := log.take()
					for _, line := range lines {
						var l struct{ Level, Msg string }
						require.NoError(t, json.Unmarshal([]byte(line), &l))
						got = append(got, l.Level+" "+l.Msg)
					}
					require.Equal(t, c.want, got)
					for _, lineage := range lineages(t, lines) {
						require.Contains(t, lineage, " os/scheduler/inner/a")
					}
				}
				_, err = s.stop()
				require.NoError(t, err)
			})
		})
	}
}

// When the log is too slow, what is dropped is counted if it would have been
// written, and starts push out no failure.
func TestDroppedLines(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelWarn} {
		synctest.Test(t, func(t *testing.T) {
			var log jsonLog
			specs := []scheduler.Spec{{Alias: "fails", Service: scheduler.Func(func(context.Context) error {
				time.Sleep(time.Second) // after the starts
				return errBroken
			}), Restart: scheduler.Temporary}}
			for i := range 20 {
				specs = append(specs, scheduler.Spec{Alias: fmt.Sprint(i), Service: idle})
			}
			gate := make(chan struct{})
			s := serve(t, scheduler.Config{Logger: slog.New(holds{log.logger(level).Handler(), gate}), LogQueue: 12, Services: specs})
			time.Sleep(2 * time.Second)
			close(gate)
			synctest.Wait()
			written, dropped, failures := 0, 0, 0
			for _, line := range log.take() {
				var got struct {
					Level, Msg, Service string
					Lines               int
				}
				require.NoError(t, json.Unmarshal([]byte(line), &got))
				switch {
				case got.Lines > 0:
					require.Equal(t, "WARN lines dropped, the log is too slow os/scheduler", got.Level+" "+got.Msg+" "+got.Service)
					dropped += got.Lines
				case got.Level == "ERROR":
					failures++
				default:
					written++
				}
			}
			require.Equal(t, 1, failures)
			if level == slog.LevelDebug {
				require.Positive(t, dropped)
				require.Equal(t, 2*len(specs), written+dropped)
			} else {
				require.Zero(t, written+dropped)
			}
			_, err := s.stop()
			require.NoError(t, err)
		})
	}
}

// holds hangs in Enabled until its gate opens.
type holds struct {
	slog.Handler
	gate chan struct{}
}

func (h holds) Enabled(ctx context.Context, level slog.Level) bool {
	<-h.gate
	return h.Handler.Enabled(ctx, level)
}

// exits calls Goexit at the first line.
type exits struct {
	slog.Handler
	once *sync.Once
}

func (h exits) Handle(ctx context.Context, r slog.Record) error {
	h.once.Do(runtime.Goexit)
	return h.Handler.Handle(ctx, r)
}

// A handler that ends the goroutine of the log costs one line.
func TestLogSurvivesGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log jsonLog
		s := serve(t, scheduler.Config{
			Logger:   slog.New(exits{log.logger(slog.LevelDebug).Handler(), new(sync.Once)}),
			Services: []scheduler.Spec{{Alias: "a", Service: idle}, {Alias: "b", Service: idle}},
		})
		_, err := s.stop()
		require.NoError(t, err)
		require.ElementsMatch(t, []string{
			"starting os/scheduler/b", "started os/scheduler/a", "started os/scheduler/b",
			"stopping os/scheduler/a", "stopping os/scheduler/b",
		}, lineages(t, log.take()))
	})
}

// Outside a run, and where nobody logs, a logger discards.
func TestLoggerOfNobody(t *testing.T) {
	require.False(t, scheduler.Logger(t.Context()).Enabled(t.Context(), slog.LevelError))
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, services(scheduler.Spec{Alias: "a", Service: scheduler.Func(func(ctx context.Context) error {
			if scheduler.Logger(ctx).Enabled(ctx, slog.LevelError) {
				t.Error("there is no log")
			}
			return idle(ctx)
		})}))
		_, err := s.stop()
		require.NoError(t, err)
	})
}
