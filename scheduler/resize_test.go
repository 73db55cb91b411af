package scheduler_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// crew is a pool whose workers are told apart by their lineage.
type crew struct {
	cast  *cast
	mu    sync.Mutex
	alive map[string]context.CancelCauseFunc // by number: ends the run
	start func(ctx context.Context) error    // before it is ready; nil: nothing
	work  time.Duration                      // that Drain takes; zero: it is no Drainer
	halt  time.Duration
	deaf  map[string]<-chan struct{} // by number: deaf until that
}

type hand struct {
	c      *crew
	number string
}

type drainingHand struct{ *hand }

func (c *crew) factory() scheduler.Service {
	w := &hand{c: c}
	if c.work > 0 {
		return drainingHand{w}
	}
	return w
}

func (w drainingHand) Drain(ctx context.Context) error {
	select {
	case <-time.After(w.c.work):
		w.c.cast.add("~" + w.number)
	case <-ctx.Done():
	}
	return nil
}

func (w *hand) Serve(ctx context.Context) error {
	if w.c.start != nil {
		if err := w.c.start(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
	w.number = number(ctx)
	end, cancel := context.WithCancelCause(context.Background())
	w.c.mu.Lock()
	if w.c.alive[w.number] != nil {
		w.c.cast.t.Errorf("two workers %s at once", w.number)
	}
	w.c.alive[w.number] = cancel
	deaf := w.c.deaf[w.number]
	w.c.mu.Unlock()
	w.c.cast.add("+" + w.number)
	scheduler.Ready(ctx)
	defer func() {
		w.c.mu.Lock()
		defer w.c.mu.Unlock()
		delete(w.c.alive, w.number)
		w.c.cast.add("-" + w.number)
	}()
	select {
	case <-end.Done():
		return context.Cause(end)
	case <-ctx.Done():
		if deaf != nil {
			<-deaf
		}
		time.Sleep(w.c.halt)
		return nil
	}
}

// number is that of the worker that ctx belongs to, which its log knows.
func number(ctx context.Context) string {
	var path string
	scheduler.Logger(ctx).InfoContext(context.WithValue(ctx, askPath{}, &path), "who am I?")
	return strings.TrimPrefix(path, "os/scheduler/p/")
}

// nametags is a log that only tells a run that asks by askPath who it is.
type nametags struct{ slog.Handler }

func nametagLogger() *slog.Logger { return slog.New(nametags{slog.DiscardHandler}) }

func (nametags) Enabled(context.Context, slog.Level) bool { return true }
func (n nametags) WithAttrs([]slog.Attr) slog.Handler     { return n }

func (nametags) Handle(ctx context.Context, r slog.Record) error {
	path, asks := ctx.Value(askPath{}).(*string)
	if !asks {
		return nil
	}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "service" {
			*path = a.Value.String()
		}
		return true
	})
	return nil
}

func (c *crew) fail(number string) {
	c.mu.Lock()
	end := c.alive[number]
	c.mu.Unlock()
	end(errBroken)
	synctest.Wait()
}

// newCrew serves a pool p of that size, with a service after it.
func newCrew(t *testing.T, size int, set func(*crew), change func(*scheduler.Spec)) (*rig, *crew) {
	c := &crew{cast: newCast(t), alive: make(map[string]context.CancelCauseFunc), deaf: make(map[string]<-chan struct{})}
	set(c)
	p := scheduler.Spec{Alias: "p", Pool: size, Factory: c.factory, StartTimeout: time.Hour, StopTimeout: 5 * time.Second, Backoff: at(time.Second)}
	change(&p)
	s := serve(t, scheduler.Config{Logger: nametagLogger(), Services: []scheduler.Spec{p, c.cast.spec("after", after("p"))}})
	return s, c
}

func TestResize(t *testing.T) {
	ctx := context.Background()
	same := func(*crew) {}
	none := func(*scheduler.Spec) {}
	numbers := func(sign string, from, to int) (all []string) {
		for i := from; i <= to; i++ {
			all = append(all, fmt.Sprint(sign, i))
		}
		return all
	}
	bubbles(t, map[string]func(t *testing.T){
		"grow and shrink": func(t *testing.T) {
			s, c := newCrew(t, 2, func(c *crew) { c.work, c.halt = 2*time.Second, time.Second }, none)
			m := s.Manager()
			c.cast.wantAny("+1", "+2", "+after")
			require.NoError(t, m.Resize("p", 5))
			c.cast.wantAny(numbers("+", 3, 5)...)
			require.Equal(t, 5, s.status("p").Workers)
			require.Equal(t, 5, s.status("p").Ready)
			require.NoError(t, m.Resize("p", 5), "nothing to be done")
			begin := time.Now()
			require.NoError(t, m.Resize("p", 1))
			require.Zero(t, time.Since(begin), "it does not wait")
			s.wantState("p", scheduler.Started, scheduler.NotEnded)
			require.Equal(t, 1, s.status("p").Workers)
			require.Equal(t, 1, s.status("p").Ready)
			time.Sleep(2 * time.Second)
			c.cast.wantAny(numbers("~", 2, 5)...)
			time.Sleep(time.Second)
			c.cast.wantAny(numbers("-", 2, 5)...)
			require.Empty(t, s.status("p").Exceptions)
			require.EqualValues(t, 1, s.status("p").Generation, "what went is forgotten")
			require.EqualValues(t, 5, s.status("p").Starts)
			require.EqualValues(t, 1, s.status("after").Starts, "which goes on")
			s.closed()
			c.cast.want("-after", "-1")
		},
		"grow again while some still go": func(t *testing.T) {
			s, c := newCrew(t, 4, func(c *crew) { c.work, c.halt = 2*time.Second, time.Second }, none)
			m := s.Manager()
			c.cast.take()
			require.NoError(t, m.Resize("p", 2))
			time.Sleep(time.Second)
			require.NoError(t, m.Resize("p", 5))
			c.cast.want("+5")
			require.Equal(t, 5, s.status("p").Workers)
			require.Equal(t, 3, s.status("p").Ready)
			s.wantState("p", scheduler.Started, scheduler.NotEnded)
			time.Sleep(2 * time.Second)
			c.cast.wantAny("~3", "~4", "-3", "-4", "+3", "+4") // they were told to go, and come back
			require.Equal(t, 5, s.status("p").Ready)
			require.NoError(t, m.Resize("p", 4))
			require.NoError(t, m.Resize("p", 3))
			time.Sleep(2 * time.Second)
			require.NoError(t, m.Resize("p", 4)) // while the fifth still goes too
			time.Sleep(time.Second)
			c.cast.wantAny("~4", "~5", "-4", "-5", "+4")
			require.Equal(t, 4, s.status("p").Ready)
			require.NoError(t, s.Restart(ctx, "p"))
			c.cast.wantAny("-after", "-1", "-2", "-3", "-4", "+1", "+2", "+3", "+4", "+after")
			s.closed()
		},
		"workers that wait or start": func(t *testing.T) {
			gate := make(chan struct{})
			s, c := newCrew(t, 4, same, none)
			m := s.Manager()
			c.cast.take()
			c.fail("3")
			c.fail("4")
			require.NoError(t, m.Resize("p", 3)) // the fourth backs off
			time.Sleep(time.Second)
			c.cast.wantAny("-3", "-4", "+3")
			c.start = func(ctx context.Context) error {
				select {
				case <-gate:
				case <-ctx.Done():
				}
				return nil
			}
			require.NoError(t, m.Resize("p", 5)) // two that start
			synctest.Wait()
			require.NoError(t, m.Resize("p", 4))
			close(gate)
			c.cast.want("+4")
			require.Equal(t, 4, s.status("p").Ready)
			s.closed()
		},
		// A pool that is started stays so while it grows: who comes after it is
		// not kept from being restarted by workers that have still to come.
		"dependants are unaffected": func(t *testing.T) {
			s, c := newCrew(t, 1, same, none)
			c.cast.take()
			c.start = func(ctx context.Context) error { <-ctx.Done(); return nil }
			require.NoError(t, s.Manager().Resize("p", 3))
			s.wantState("p", scheduler.Started, scheduler.NotEnded)
			require.Equal(t, 1, s.status("p").Ready)
			require.Equal(t, 3, s.status("p").Workers)
			c.cast.fail("after")
			time.Sleep(time.Second)
			c.cast.want("-after", "+after")
			require.NoError(t, s.AwaitStarted(ctx))
			s.closed()
		},
		// Without the worker that is not ready, the pool is.
		"shrink to those that are ready": func(t *testing.T) {
			s, c := newCrew(t, 2, func(c *crew) {
				c.start = func(ctx context.Context) error {
					if number(ctx) == "2" {
						<-ctx.Done()
					}
					return nil
				}
			}, none)
			c.cast.want("+1")
			s.wantState("after", scheduler.Idle, scheduler.NotEnded)
			require.NoError(t, s.Manager().Resize("p", 1))
			c.cast.want("+after")
			s.wantState("p", scheduler.Started, scheduler.NotEnded)
			s.closed()
		},
		"deaf": func(t *testing.T) {
			release := make(chan struct{})
			s, c := newCrew(t, 3, func(c *crew) { c.deaf["3"] = release }, none)
			m := s.Manager()
			c.cast.take()
			require.NoError(t, m.Resize("p", 1))
			time.Sleep(6 * time.Second)
			c.cast.want("-2")
			require.Equal(t, 1, s.status("p").Abandoned)
			require.Equal(t, "os/scheduler/p/3", s.Unstopped()[0].Path)
			s.wantState("p", scheduler.Started, scheduler.NotEnded)
			require.NoError(t, m.Resize("p", 4), "its place waits for its end")
			c.cast.wantAny("+2", "+4")
			require.Equal(t, 3, s.status("p").Ready)
			require.NoError(t, m.Resize("p", 2))
			c.cast.want("-4")
			close(release)
			c.cast.want("-3")
			p := s.status("p")
			require.Zero(t, p.Abandoned)
			require.EqualValues(t, 3, p.Generation, "of the first two: the others are forgotten")
			require.Empty(t, s.Unstopped())
			delete(c.deaf, "3")
			require.NoError(t, m.Resize("p", 3))
			c.cast.want("+3")
			s.closed()
			s.wantState("p", scheduler.Stopped, scheduler.EndedOnPurpose)
		},
		// With Recover, a worker that went deaf as it was to go is not replaced.
		"deaf and recovered": func(t *testing.T) {
			release := make(chan struct{})
			s, c := newCrew(t, 2, func(c *crew) { c.deaf["2"] = release }, func(s *scheduler.Spec) { s.Recover = true })
			c.cast.take()
			require.NoError(t, s.Manager().Resize("p", 1))
			time.Sleep(time.Minute)
			c.cast.want()
			require.Len(t, s.Unstopped(), 1)
			close(release)
			c.cast.want("-2")
			s.wantState("p", scheduler.Started, scheduler.NotEnded)
			require.EqualValues(t, 1, s.status("p").Generation)
			s.closed()
		},
		// Those that go are hurried with the others, and don't come back.
		"while some still go": func(t *testing.T) {
			for name, f := range map[string]func(s *rig) error{
				"stop":    func(s *rig) error { return s.Stop(ctx, "p") },
				"drain":   func(s *rig) error { return s.Manager().Drain(ctx, "p") },
				"restart": func(s *rig) error { return s.Restart(ctx, "p") },
				"end":     func(s *rig) error { _, err := s.stop(); return err },
			} {
				s, c := newCrew(t, 3, func(c *crew) { c.work = 2 * time.Second }, none)
				c.cast.take()
				require.NoError(t, s.Manager().Resize("p", 2))
				time.Sleep(time.Second)
				begin := time.Now()
				drained := make(chan error, 1)
				go func() { drained <- f(s) }()
				synctest.Wait()
				if name == "drain" {
					s.wantState("p", scheduler.Draining, scheduler.NotEnded)
					require.Equal(t, "finishes its work before it stops", s.status("p").Reason)
				}
				require.NoError(t, <-drained)
				synctest.Wait()
				switch name {
				case "drain":
					require.Equal(t, 2*time.Second, time.Since(begin))
					c.cast.wantAny("-after", "~1", "~2", "~3", "-1", "-2", "-3")
				case "restart":
					require.Zero(t, time.Since(begin))
					c.cast.wantAny("-after", "-1", "-2", "-3", "+1", "+2", "+after")
				default:
					require.Zero(t, time.Since(begin))
					c.cast.wantAny("-after", "-1", "-2", "-3")
				}
				require.Equal(t, 2, s.status("p").Workers, name)
				if name != "end" {
					s.closed()
				}
			}
		},
		"at rest": func(t *testing.T) {
			s, c := newCrew(t, 2, same, none)
			m := s.Manager()
			require.NoError(t, s.Stop(ctx, "p"))
			c.cast.take()
			require.NoError(t, m.Resize("p", 4))
			s.wantState("p", scheduler.Stopped, scheduler.EndedOnPurpose)
			require.NoError(t, m.Resize("p", 3))
			s.wantState("p", scheduler.Stopped, scheduler.EndedOnPurpose)
			require.NoError(t, s.Start(ctx, "p"))
			c.cast.wantAny("+1", "+2", "+3", "+after")
			s.closed()
			require.NoError(t, m.Resize("p", 1))
			c.cast.take()
			s = serveThis(t, s.Scheduler)
			c.cast.want("+1", "+after")
			s.closed()
		},
		"before Serve": func(t *testing.T) {
			c := &crew{cast: newCast(t), alive: make(map[string]context.CancelCauseFunc)}
			s, err := scheduler.New(scheduler.Config{Logger: nametagLogger(), Services: []scheduler.Spec{{Alias: "p", Pool: 3, Factory: c.factory}}})
			require.NoError(t, err)
			for _, size := range []int{5, 2, 4} {
				require.NoError(t, s.Manager().Resize("p", size))
				p, err := s.Status("p")
				require.NoError(t, err)
				require.Equal(t, size, p.Workers)
				require.Equal(t, scheduler.Idle, p.State)
				require.Equal(t, scheduler.NotEnded, p.End)
				require.Equal(t, "waits for Serve", p.Reason)
			}
			r := serveThis(t, s)
			c.cast.wantAny("+1", "+2", "+3", "+4")
			r.closed()
		},
	})
}
