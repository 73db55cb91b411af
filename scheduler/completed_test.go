package scheduler_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// What has completed stays so while what it came after is stopped: it is
// waited for by nobody, and what is waited for instead is named.
func TestCompletedOutlastsWhatItCameAfter(t *testing.T) {
	for name, stop := range map[string]func(r *rig, c *cast){
		"stopped": func(r *rig, _ *cast) { require.NoError(r.t, r.Stop(r.t.Context(), "db")) },
		"halted":  func(_ *rig, c *cast) { c.fail("db") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCast(t)
				r := serve(t, services(
					c.spec("db", spec(func(s *scheduler.Spec) { s.HaltOnFailure = true })),
					c.spec("migration", after("db"), restart(scheduler.Transient)),
					c.spec("web", after("migration")),
				))
				c.end("migration", nil)
				require.True(t, r.Health().Ready)
				stop(r, c)
				health := r.Health()
				require.False(t, health.Ready)
				for _, s := range health.Services {
					require.Equal(t, s.Path == "os/scheduler/migration" || s.Path == "os/scheduler/db" && name == "stopped", s.Ready, s.Path)
				}
				require.Contains(t, health.Reason, "os/scheduler/web: waits for db (stopped)")
				require.NotContains(t, health.Reason, "migration")

				ctx, cancel := within(time.Second)
				defer cancel()
				require.NoError(t, r.AwaitStarted(ctx, "migration"))
				err := r.AwaitStarted(ctx, "migration", "web")
				var blocked *scheduler.NotStartedError
				require.ErrorAs(t, err, &blocked)
				require.NotContains(t, err.Error(), "migration")
				require.NoError(t, r.Start(t.Context(), "db"))
				require.NoError(t, r.AwaitStarted(t.Context()))
				require.True(t, r.Health().Ready)
				r.end()
				for _, s := range r.Health().Services {
					require.False(t, s.Ready, "%s: nothing is ready after Serve", s.Path)
				}
			})
		})
	}
}
