package scheduler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// Who waits for several services hears at once of the one that won't start,
// whichever was named first.
func TestAwaitStartedOfSeveral(t *testing.T) {
	open := func(t *testing.T) (*rig, *cast) {
		c := newCast(t)
		r := serve(t, services(
			c.spec("slow", takes(time.Hour, 0)),
			c.spec("last", takes(time.Minute, 0), restart(scheduler.Temporary)),
			c.spec("rest", after("last")),
			c.spec("good"),
		))
		return r, c
	}
	t.Run("a dead one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, c := open(t)
			go func() { idleFor(2 * time.Minute); c.fail("last") }()
			begin := time.Now()
			err := r.AwaitStarted(t.Context(), "slow", "last")
			require.ErrorIs(t, err, scheduler.ErrEnded)
			require.ErrorContains(t, err, "os/scheduler/last")
			require.Equal(t, 2*time.Minute, time.Since(begin))
			r.end()
		})
	})
	t.Run("one behind a dead one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, c := open(t)
			go func() { idleFor(2 * time.Minute); c.fail("last"); c.fail("rest") }()
			begin := time.Now()
			err := r.AwaitStarted(t.Context(), "slow", "rest")
			require.ErrorIs(t, err, scheduler.ErrEnded)
			require.Equal(t, 2*time.Minute, time.Since(begin))
			r.end()
		})
	})
	t.Run("an unknown one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, _ := open(t)
			begin := time.Now()
			require.ErrorIs(t, r.AwaitStarted(t.Context(), "slow", "nobody"), scheduler.ErrUnknown)
			require.Zero(t, time.Since(begin))
			r.end()
		})
	})
	t.Run("all that block are named", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, _ := open(t)
			ctx, cancel := within(time.Second)
			defer cancel()
			err := r.AwaitStarted(ctx, "rest", "good", "slow", "slow")
			var blocked *scheduler.NotStartedError
			require.ErrorAs(t, err, &blocked)
			require.Len(t, blocked.Blocked, 2)
			require.Equal(t, "os/scheduler/slow", blocked.Blocked[0].Path)
			require.Equal(t, "os/scheduler/rest", blocked.Blocked[1].Path)
			r.end()
		})
	})
	t.Run("one that fails while another starts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, c := open(t)
			c.puppets["good"].boot = time.Hour // of its second run
			go func() { idleFor(time.Hour - time.Second); c.fail("good") }()
			begin := time.Now()
			require.NoError(t, r.AwaitStarted(t.Context(), "good", "slow"))
			require.Equal(t, 2*time.Hour, time.Since(begin), "both are started")
			r.end()
		})
	})
}

// A service that is removed while it is waited for is not started, whether its
// end takes time or not.
func TestAwaitStartedOfOneThatIsRemoved(t *testing.T) {
	for _, halt := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			c := newCast(t)
			r := serve(t, services(c.spec("a", takes(time.Minute, 0)), c.spec("b", after("a")), c.spec("c", takes(time.Hour, 0), spec(func(s *scheduler.Spec) {
				s.Service = scheduler.Func(func(ctx context.Context) error {
					<-ctx.Done()
					idleFor(halt)
					return nil
				})
				s.StopTimeout = time.Hour
			}))))
			removed := make(chan error, 1)
			go func() { idleFor(time.Second); removed <- r.Remove(context.Background(), "c") }()
			begin := time.Now()
			require.ErrorIs(t, r.AwaitStarted(t.Context(), "a", "c"), scheduler.ErrUnknown)
			require.Equal(t, time.Second, time.Since(begin))
			require.NoError(t, <-removed)
			r.end()
		})
	}
}

// A service that is started again while others are waited for has not stopped.
func TestAwaitStoppedOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCast(t)
		r := serve(t, services(c.spec("a"), c.spec("b")))
		require.NoError(t, r.Stop(t.Context(), "a"))
		go func() {
			idleFor(time.Minute)
			require.NoError(t, r.Start(context.Background(), "a"))
			require.NoError(t, r.Stop(context.Background(), "b"))
			idleFor(time.Minute)
			require.NoError(t, r.Stop(context.Background(), "a"))
		}()
		begin := time.Now()
		require.NoError(t, r.Manager().AwaitStopped(t.Context(), "a", "b"))
		require.Equal(t, 2*time.Minute, time.Since(begin))
		r.end()
	})
}
