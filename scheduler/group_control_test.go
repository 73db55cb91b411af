package scheduler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// held serves a group of which a has failed, waits ten seconds for its
// backoff, and b and c are held, which took c a second.
func held(t *testing.T, change ...func(*scheduler.Spec, *puppet)) (*rig, *cast) {
	cast := newCast(t)
	s := serve(t, grouped(all,
		cast.spec("a", in("g"), backoff(10*time.Second)),
		cast.spec("b", append(change, in("g"))...),
		cast.spec("c", in("g"), takes(0, time.Second)),
	))
	cast.wantAny("+a", "+b", "+c")
	cast.fail("a")
	return s, cast
}

// What is asked of the failing member or of a held one while the group
// restarts.
func TestGroupControlWhileItRestarts(t *testing.T) {
	ctx := context.Background()
	bubbles(t, map[string]func(t *testing.T){
		"stop failing": func(t *testing.T) {
			s, cast := held(t)
			require.NoError(t, s.Stop(ctx, "a"))
			cast.wantAny("-a", "-b") // c still stops, and b is held till then
			s.wantState("b", scheduler.Idle, scheduler.EndedOnPurpose)
			time.Sleep(time.Second)
			cast.wantAny("-c", "+b", "+c")
			time.Sleep(time.Minute)
			s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
			s.closed()
		},
		"stop failing when all rest": func(t *testing.T) {
			s, cast := held(t)
			time.Sleep(2 * time.Second)
			cast.wantAny("-a", "-b", "-c")
			require.NoError(t, s.Stop(ctx, "a"))
			cast.wantAny("+b", "+c")
			s.closed()
		},
		"remove failing": func(t *testing.T) {
			for _, wait := range []time.Duration{0, 2 * time.Second} {
				s, cast := held(t)
				time.Sleep(wait)
				require.NoError(t, s.Remove(ctx, "a"))
				time.Sleep(time.Second)
				cast.wantAny("-a", "-b", "-c", "+b", "+c")
				require.Len(t, s.Services(), 2)
				cast.fail("b") // the group goes on without it
				time.Sleep(time.Second)
				cast.wantAny("-b", "-c", "+b", "+c")
				s.closed()
			}
		},
		"start failing": func(t *testing.T) {
			s, cast := held(t)
			begin := time.Now()
			require.NoError(t, s.Start(ctx, "a"))
			require.Equal(t, time.Second, time.Since(begin), "once all rest, without the backoff")
			cast.wantAny("-a", "-b", "-c", "+a", "+b", "+c")
			s.closed()
		},
		"restart failing": func(t *testing.T) {
			for _, wait := range []time.Duration{0, 2 * time.Second} {
				s, cast := held(t)
				time.Sleep(wait)
				begin := time.Now()
				require.NoError(t, s.Restart(ctx, "a"))
				require.LessOrEqual(t, time.Since(begin), time.Second)
				cast.wantAny("-a", "-b", "-c", "+a", "+b", "+c")
				s.closed()
			}
		},
		"stop held": func(t *testing.T) {
			s, cast := held(t)
			require.NoError(t, s.Stop(ctx, "b"))
			begin := time.Now()
			require.NoError(t, s.Stop(ctx, "c"))
			require.Equal(t, time.Second, time.Since(begin))
			time.Sleep(time.Minute)
			cast.wantAny("-a", "-b", "-c", "+a")
			s.wantState("b", scheduler.Stopped, scheduler.EndedOnPurpose)
			s.wantState("c", scheduler.Stopped, scheduler.EndedOnPurpose)
			require.NoError(t, s.Start(ctx, "b"))
			s.closed()
		},
		"remove held": func(t *testing.T) {
			s, cast := held(t)
			require.NoError(t, s.Remove(ctx, "c"), "which is waited for")
			require.NoError(t, s.Remove(ctx, "b"))
			time.Sleep(time.Minute)
			cast.wantAny("-a", "-b", "-c", "+a")
			require.Len(t, s.Services(), 1)
			s.closed()
		},
		"start and restart held": func(t *testing.T) {
			for _, f := range []func(*rig) error{
				func(s *rig) error { return s.Start(ctx, "b") },
				func(s *rig) error { return s.Restart(ctx, "b") },
			} {
				s, cast := held(t)
				begin := time.Now()
				require.NoError(t, f(s))
				require.Equal(t, 10*time.Second, time.Since(begin), "it waits for the group")
				cast.wantAny("-a", "-b", "-c", "+a", "+b", "+c")
				s.closed()
			}
		},
		"add": func(t *testing.T) {
			s, cast := held(t)
			require.NoError(t, s.Add(cast.spec("d", in("g"))))
			cast.wantAny("-a", "-b", "+d")
			time.Sleep(time.Minute)
			cast.fail("c")
			cast.wantAny("-c", "+a", "+b", "+c", "-c", "-a", "-b", "-d")
			s.closed()
		},
		"end of Serve": func(t *testing.T) {
			for _, wait := range []time.Duration{0, 2 * time.Second} {
				s, cast := held(t)
				time.Sleep(wait)
				s.closed()
				cast.wantAny("-a", "-b", "-c")
				again := serveThis(t, s.Scheduler)
				cast.wantAny("+a", "+b", "+c")
				again.closed()
			}
		},
		// The one that failed waits for its backoff although what it comes
		// after is held: that ends with a stop, of it or of all.
		"stop failing dependant": func(t *testing.T) {
			for name, f := range map[string]func(s *rig) error{
				"stop":    func(s *rig) error { return s.Stop(ctx, "b") },
				"remove":  func(s *rig) error { return s.Remove(ctx, "b") },
				"restart": func(s *rig) error { return s.Restart(ctx, "b") },
				"end":     func(s *rig) error { _, err := s.stop(); return err },
			} {
				cast := newCast(t)
				s := serve(t, grouped(all, cast.spec("a", in("g")), cast.spec("b", in("g"), after("a"), backoff(time.Hour))))
				cast.want("+a", "+b")
				cast.fail("b")
				cast.want("-b", "-a")
				s.wantState("b", scheduler.BackingOff, scheduler.NotEnded)
				require.NoError(t, f(s))
				switch name {
				case "restart":
					cast.want("+a", "+b")
				case "end":
					cast.want()
					s.wantState("a", scheduler.Stopped, scheduler.EndedOnPurpose)
					s.wantState("b", scheduler.Stopped, scheduler.EndedOnPurpose)
					continue
				default:
					cast.want("+a")
				}
				s.closed()
			}
		},
		// One that has a dependency outside, which is stopped meanwhile: the
		// others go on without it.
		"stop what failing comes after": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all, cast.spec("x"), cast.spec("a", in("g"), after("x")), cast.spec("b", in("g"))))
			cast.wantAny("+x", "+a", "+b")
			cast.fail("a")
			require.NoError(t, s.Stop(ctx, "x"))
			time.Sleep(time.Minute)
			cast.wantAny("-a", "-b", "-x", "+b")
			s.wantState("a", scheduler.Idle, scheduler.NotEnded)
			require.Equal(t, "waits for x (stopped)", s.status("a").Reason)
			require.NoError(t, s.Start(ctx, "x"))
			cast.want("+x", "+a")
			s.closed()
		},
	})
}

// Members of other kinds beside the one that failed, and in its place.
func TestGroupMembers(t *testing.T) {
	ctx := context.Background()
	bubbles(t, map[string]func(t *testing.T){
		"temporary bystander": func(t *testing.T) {
			s, cast := held(t, restart(scheduler.Temporary), takes(0, 12*time.Second),
				spec(func(s *scheduler.Spec) { s.StopTimeout = time.Minute }))
			time.Sleep(11 * time.Second)
			cast.wantAny("-a", "-c") // its stop is waited for as those of others
			time.Sleep(time.Minute)
			cast.wantAny("-b", "+a", "+c")
			s.wantState("b", scheduler.Stopped, scheduler.EndedOnPurpose)
			require.NoError(t, s.Start(ctx, "b"))
			s.closed()
		},
		// One that has not run yet was not taken down: it still runs, once.
		"temporary that waits": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all,
				cast.spec("a", in("g"), starting(func(_ context.Context, run int) error {
					if run == 1 {
						return errBroken
					}
					return nil
				})),
				cast.spec("b", in("g"), after("a"), restart(scheduler.Temporary)),
			))
			time.Sleep(time.Second)
			cast.want("+a", "+b")
			s.closed()
		},
		// A temporary one that fails has no restart that could take others
		// along, nor are they stopped.
		"temporary failing": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all, cast.spec("a", in("g"), restart(scheduler.Temporary)), cast.spec("b", in("g"))))
			cast.wantAny("+a", "+b")
			cast.fail("a")
			s.wantState("a", scheduler.Stopped, scheduler.Failed)
			time.Sleep(time.Minute)
			cast.want("-a")
			s.closed()
		},
		"transient": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, grouped(all, cast.spec("a", in("g"), restart(scheduler.Transient)), cast.spec("b", in("g"))))
			cast.wantAny("+a", "+b")
			cast.end("a", nil)
			s.wantState("a", scheduler.Stopped, scheduler.Completed)
			time.Sleep(time.Minute)
			cast.want("-a")
			cast.fail("b") // and what has completed stays so
			time.Sleep(time.Minute)
			cast.want("-b", "+b")
			s.wantState("a", scheduler.Stopped, scheduler.Completed)
			s.closed()
		},
		"pool": func(t *testing.T) {
			cast := newCast(t)
			var ends = make(chan error)
			pool := scheduler.Spec{Alias: "p", Group: "g", Pool: 3, Backoff: at(time.Second), Factory: func() scheduler.Service {
				return scheduler.Func(func(ctx context.Context) error {
					select {
					case err := <-ends:
						return err
					case <-ctx.Done():
						time.Sleep(2 * time.Second)
						return nil
					}
				})
			}}
			s := serve(t, grouped(all, cast.spec("a", in("g")), pool))
			cast.want("+a")
			ends <- errBroken // restarted for itself, takes nobody along
			synctest.Wait()
			require.Equal(t, 2, s.status("p").Ready)
			time.Sleep(time.Second)
			cast.want()
			require.Equal(t, 3, s.status("p").Ready)
			cast.fail("a") // taken along by others
			time.Sleep(1900 * time.Millisecond)
			s.wantState("p", scheduler.Stopping, scheduler.NotEnded)
			cast.want("-a")
			time.Sleep(200 * time.Millisecond)
			cast.want("+a")
			require.Equal(t, 3, s.status("p").Ready)
			require.EqualValues(t, 7, s.status("p").Starts)
			s.closed()
		},
		"two groups": func(t *testing.T) {
			cast := newCast(t)
			s := serve(t, scheduler.Config{
				Groups:   []scheduler.Group{all, {Name: "h", Strategy: scheduler.OneForAll, RetryLimit: 1, RetryWindow: time.Hour}},
				Services: []scheduler.Spec{cast.spec("a", in("g")), cast.spec("b", in("g")), cast.spec("x", in("h")), cast.spec("y", in("h"))},
			})
			cast.wantAny("+a", "+b", "+x", "+y")
			cast.fail("a")
			cast.fail("x")
			time.Sleep(time.Second)
			cast.wantAny("-a", "-b", "-x", "-y", "+a", "+b", "+x", "+y")
			cast.fail("y")
			time.Sleep(time.Second)
			cast.wantAny("-x", "-y")
			s.wantState("a", scheduler.Started, scheduler.NotEnded)
			s.closed()
		},
	})
}

// A member that was abandoned follows once its run has ended, but not while the
// one that it is restarted with waits for its backoff.
func TestGroupWaitsForTheAbandonedToo(t *testing.T) {
	for _, strategy := range []scheduler.Strategy{scheduler.OneForAll, scheduler.RestForOne} {
		synctest.Test(t, func(t *testing.T) {
			begin, release := time.Now(), make(chan struct{})
			var first, second []time.Duration
			s := serve(t, scheduler.Config{Groups: []scheduler.Group{{Name: "g", Strategy: strategy}}, Services: []scheduler.Spec{
				{Alias: "a", Group: "g", Backoff: at(10 * time.Second), Service: scheduler.Func(func(ctx context.Context) error {
					first = append(first, time.Since(begin))
					if len(first) == 1 {
						time.Sleep(time.Second)
					}
					if len(first) <= 2 {
						return errBroken
					}
					<-ctx.Done()
					return nil
				})},
				{Alias: "b", Group: "g", StopTimeout: 3 * time.Second, Service: scheduler.Func(func(ctx context.Context) error {
					second = append(second, time.Since(begin))
					if len(second) == 1 {
						<-release
					}
					<-ctx.Done()
					return nil
				})},
			}})
			time.Sleep(13 * time.Second) // a fails at 1 and 11 s, b is abandoned at 4 s
			close(release)
			synctest.Wait()
			s.wantState("b", scheduler.Idle, scheduler.Abandoned)
			time.Sleep(time.Minute)
			s.end() // from when on nobody writes what is read here
			require.Equal(t, []time.Duration{0, 11 * time.Second, 21 * time.Second}, first)
			require.Equal(t, []time.Duration{0, 21 * time.Second}, second)
		})
	}
}
