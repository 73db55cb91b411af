package scheduler_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// A service has one proxy through all of its restarts, and what comes after it
// under its alias has another.
func TestProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meta := map[string]string{"team": "storage"}
		spec := scheduler.Spec{Alias: "a", Meta: meta, Factory: func() scheduler.Service { return &store{idle} }}
		s := serve(t, services(spec, scheduler.Spec{Alias: "plain", Service: idle}))
		d := s.Directory()
		p, err := d.Proxy("a")
		require.NoError(t, err)
		require.Equal(t, "a os/scheduler/a os/scheduler/a", fmt.Sprint(p.Alias(), " ", p.Path(), " ", p))
		meta["team"] = "nobody"
		p.Meta()["team"] = "somebody"
		require.Equal(t, map[string]string{"team": "storage"}, p.Meta())
		plain, err := d.Proxy("plain")
		require.NoError(t, err)
		require.Nil(t, plain.Meta())
		none, err := d.Proxy("none")
		require.ErrorIs(t, err, scheduler.ErrUnknown)
		require.Nil(t, none)

		first, err := p.Service()
		require.NoError(t, err)
		require.NoError(t, s.Restart(t.Context(), "a"))
		second, err := p.Service()
		require.NoError(t, err)
		require.NotSame(t, first, second)
		again, err := d.Proxy("a")
		require.NoError(t, err)
		require.Same(t, p, again)
		for found := range scheduler.LookupAll[*store](d) {
			require.Same(t, p, found)
		}
		status, err := p.Status()
		require.NoError(t, err)
		require.EqualValues(t, 2, status.Generation)

		require.NoError(t, s.Stop(t.Context(), "a"))
		_, err = p.Service()
		require.ErrorIs(t, err, scheduler.ErrNotStarted)
		require.EqualError(t, err, `scheduler: not started: "a" is stopped: stopped`)

		require.NoError(t, s.Remove(t.Context(), "a"))
		require.NoError(t, s.Add(scheduler.Spec{Alias: "a", Service: &store{idle}}))
		synctest.Wait()
		_, err = p.Service()
		require.ErrorIs(t, err, scheduler.ErrUnknown)
		_, err = p.Status()
		require.ErrorIs(t, err, scheduler.ErrUnknown)
		require.EqualError(t, err, `scheduler: unknown alias: "a" was removed`)
		require.Equal(t, "a os/scheduler/a storage", p.Alias()+" "+p.Path()+" "+p.Meta()["team"])
		other, err := d.Proxy("a")
		require.NoError(t, err)
		require.NotSame(t, p, other)
		_, err = other.Service()
		require.NoError(t, err)
		_, err = s.stop()
		require.NoError(t, err)
	})
}

// While a Remove waits for a run that is deaf, the service is still there.
func TestProxyOfWhatIsBeingRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := serve(t, services(scheduler.Spec{Alias: "a", Service: deaf(release), StopTimeout: time.Second}))
		p, err := s.Directory().Proxy("a")
		require.NoError(t, err)
		require.ErrorIs(t, s.Remove(context.Background(), "a"), scheduler.ErrStopTimeout)
		status, err := p.Status()
		require.NoError(t, err)
		require.Equal(t, scheduler.Abandoned, status.End)
		_, err = p.Service()
		require.ErrorIs(t, err, scheduler.ErrNotStarted)
		close(release)
		synctest.Wait()
		_, err = p.Status()
		require.ErrorIs(t, err, scheduler.ErrUnknown)
		_, err = s.stop()
		require.NoError(t, err)
	})
}
