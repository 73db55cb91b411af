package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// A handler for the readiness probe; the one for liveness asks for Live.
func ExampleScheduler_Health() {
	s, err := scheduler.New(scheduler.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ready := func(w http.ResponseWriter, _ *http.Request) {
		health := s.Health()
		if !health.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(health)
	}

	answer := httptest.NewRecorder()
	ready(answer, nil)
	fmt.Println(answer.Code)
	fmt.Print(answer.Body)
	// Output:
	// 503
	// {"path":"os/scheduler","live":true,"ready":false,"reason":"does not serve","services":[]}
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, err := scheduler.New(services(
			scheduler.Spec{Alias: "leaf", Service: idle},
			scheduler.Spec{Alias: "flaps", Service: fails, Backoff: at(time.Hour)},
		))
		require.NoError(t, err)
		s := serve(t, services(
			scheduler.Spec{Alias: "inner", Service: inner},
			scheduler.Spec{Alias: "done", Restart: scheduler.Transient, Service: scheduler.Func(func(context.Context) error { return nil })},
			scheduler.Spec{Alias: "ticks", Service: idle, Schedule: &scheduler.Schedule{At: time.Now().Add(time.Hour)}},
			scheduler.Spec{Alias: "stopped", Service: idle},
			scheduler.Spec{Alias: "failed", Service: fails, Restart: scheduler.Temporary},
			scheduler.Spec{Alias: "starts", Service: idle, StartTimeout: time.Hour},
		))
		require.NoError(t, s.Stop(t.Context(), "stopped"))
		require.NoError(t, s.AwaitStarted(t.Context(), "inner", "done", "ticks"))
		text, err := json.Marshal(s.Health())
		require.NoError(t, err)
		require.JSONEq(t, `{
			"path": "os/scheduler", "live": true, "ready": false,
			"reason": "os/scheduler/inner/flaps: starts again in 1h0m0s: broken; os/scheduler/failed: failed: broken; os/scheduler/starts: has not said Ready",
			"services": [
				{"path": "os/scheduler/inner", "state": "started", "condition": "healthy", "live": true, "ready": true},
				{"path": "os/scheduler/inner/leaf", "state": "started", "condition": "healthy", "live": true, "ready": true},
				{"path": "os/scheduler/inner/flaps", "state": "backing off", "condition": "healthy", "live": true, "ready": false, "reason": "starts again in 1h0m0s: broken"},
				{"path": "os/scheduler/done", "state": "stopped", "condition": "healthy", "live": true, "ready": true, "reason": "completed"},
				{"path": "os/scheduler/ticks", "state": "waiting", "condition": "healthy", "live": true, "ready": true, "reason": "next run in 1h0m0s"},
				{"path": "os/scheduler/stopped", "state": "stopped", "condition": "healthy", "live": true, "ready": true},
				{"path": "os/scheduler/failed", "state": "stopped", "condition": "dead", "live": true, "ready": false, "reason": "failed: broken"},
				{"path": "os/scheduler/starts", "state": "starting", "condition": "healthy", "live": true, "ready": false, "reason": "has not said Ready"}
			]
		}`, string(text))
		require.NoError(t, s.Remove(t.Context(), "failed"))
		require.NoError(t, s.Stop(t.Context(), "starts"))
		require.NoError(t, s.Stop(t.Context(), "inner"))
		require.Equal(t, 5, len(s.Health().Services), "what does not run has nothing inside")
		require.True(t, s.Health().Ready)
		require.Empty(t, s.Health().Reason)
		for i := range 5 {
			require.NoError(t, s.Add(scheduler.Spec{Alias: fmt.Sprint(i), Service: fails, Backoff: at(time.Hour)}))
		}
		synctest.Wait()
		require.Contains(t, s.Health().Reason, "; and 2 more")
		s.end()
		h := s.Health()
		require.True(t, h.Live)
		require.False(t, h.Ready)
		require.Contains(t, h.Reason, "does not serve")
	})
}

func TestHealthWhileStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, services(scheduler.Spec{Alias: "a", Service: &worker{lingers: 5 * time.Second}}))
		require.True(t, s.Health().Ready)
		s.cancel()
		time.Sleep(time.Second)
		h := s.Health()
		require.True(t, h.Live)
		require.False(t, h.Ready, "nothing new shall come")
		require.Contains(t, h.Reason, "is stopping")
		s.end()
	})
}

// textError is an error whose text is up to the test.
type textError func() string

func (e textError) Error() string { return e() }

// Methods of errors can't harm the health, and are not called under the lock.
func TestHealthOfBadErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var s *rig
		texts := []struct {
			name string
			text func() string
			want string
		}{
			{"panics", func() string { panic("no text") }, ": its text can't be had: panic"},
			{"exits", func() string { runtime.Goexit(); return "" }, ": its text can't be had: goexit"},
			{"long", func() string { return strings.Repeat("ä", 1000) }, ": " + strings.Repeat("ä", 128) + "…"},
			{"odd", func() string { return "x" + strings.Repeat("ä", 1000) }, ": x" + strings.Repeat("ä", 127) + "…"},
			{"asks", func() string { return s.status("asks").State.String() }, ": backing off"},
			{"plain", func() string { return "no" }, ": no"},
			{"hangs", func() string { <-release; return "late" }, "starts again in 59m"},
			{"after it", func() string { return "never asked" }, "starts again in 59m"},
		}
		var specs []scheduler.Spec
		for _, x := range texts {
			specs = append(specs, scheduler.Spec{Alias: x.name, Backoff: at(time.Hour), Service: scheduler.Func(func(context.Context) error {
				return textError(x.text)
			})})
		}
		s = serve(t, services(specs...))
		time.Sleep(time.Second)
		for i := range 8 { // more often than calls may hang
			begin := time.Now()
			h := s.Health()
			require.Less(t, time.Since(begin), time.Second)
			require.True(t, h.Live)
			for j, x := range texts {
				if i < 4 || x.name == "hangs" || x.name == "after it" {
					require.Contains(t, h.Services[j].Reason, x.want, "%s: %d", x.name, i)
				}
				require.NotContains(t, h.Services[j].Reason, "late")
			}
		}
		require.Len(t, s.Unstopped(), 4)
		require.Equal(t, "os/scheduler text of an error", s.Unstopped()[0].Path)
		close(release)
		synctest.Wait()
		require.Empty(t, s.Unstopped())
		require.Contains(t, s.Health().Services[7].Reason, "never asked")
		s.end()
	})
}

// A pool that has lost workers for good works, though not as it should.
func TestPoolThatLostWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lives := make(chan struct{}, 3)
		s := serve(t, services(scheduler.Spec{
			Alias: "a", Pool: 5, Restart: scheduler.Temporary,
			Factory: func() scheduler.Service {
				return scheduler.Func(func(ctx context.Context) error {
					select {
					case lives <- struct{}{}:
						return idle(ctx)
					default:
						return errors.New("no room")
					}
				})
			},
		}))
		s.wantState("a", scheduler.Started, scheduler.Failed)
		s.wantCondition("a", scheduler.Degraded, "2 of 5 workers: ended by failure")
		h := s.Health()
		require.True(t, h.Live && h.Ready)
		require.Equal(t, "os/scheduler/a: 2 of 5 workers: ended by failure", h.Reason)
		s.end()
	})
}
