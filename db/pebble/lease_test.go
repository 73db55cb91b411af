package pebble

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// TestQueueAfterCrash: a durable queue over the store comes back after a crash
// at once, with what was in it, since the lease of the opening before is known
// to be dead.
func TestQueueAfterCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrashableMem()
		s, err := open("/d", tiny, disk)
		require.NoError(t, err)
		q, err := queue.NewDurable(s, queue.DurableConfig{})
		require.NoError(t, err)
		session, err := q.Open(t.Context())
		require.NoError(t, err)
		r, err := resource.New(resource.Spec{URI: "https://api.example.org/events"}, "")
		require.NoError(t, err)
		require.NoError(t, session.Commit(t.Context(), nil, queue.Message{Queue: "analyze", Resource: r}))
		crashed := disk.CrashClone(vfs.CrashCloneCfg{})

		begin := time.Now()
		again, err := open("/d", tiny, crashed)
		require.NoError(t, err)
		q2, err := queue.NewDurable(again, queue.DurableConfig{})
		require.NoError(t, err)
		session2, err := q2.Open(t.Context())
		require.NoError(t, err)
		got, err := session2.Receive(t.Context(), "analyze", 10)
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Equal(t, r.ID, got[0].Resource.ID)
		require.Zero(t, time.Since(begin), "it waited for the lease")

		for _, end := range []func() error{session2.Close, q2.Close, again.Close, session.Close, q.Close, s.Close} {
			require.NoError(t, end())
		}
	})
}

// TestLeaseExpires: leases of its users end as they do in any store.
func TestLeaseExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := open("/d", tiny, vfs.NewMem())
		require.NoError(t, err)
		a := db.LeaseSpec{Space: "lease", ID: "x", Owner: db.NewOwner()}
		b := a
		b.Owner, b.Wait = db.NewOwner(), true
		_, err = db.Claim(t.Context(), s, a)
		require.NoError(t, err)
		_, err = db.Claim(t.Context(), s, b)
		require.ErrorIs(t, err, db.ErrHeld)
		time.Sleep(db.DefaultTTL)
		_, err = db.Claim(t.Context(), s, b)
		require.NoError(t, err)
		require.NoError(t, s.Close())
	})
}
