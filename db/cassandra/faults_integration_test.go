//go:build integration

package cassandra_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/db/cassandra"
	"github.com/cannedos/cannedos/db/dbtest"
	"github.com/cannedos/cannedos/internal/servers"
)

// clients opens a store twice, as two processes would.
func clients(t testing.TB, c cassandra.Config, timeout time.Duration) []db.DB {
	c = impatient(c)
	c.Timeout = timeout
	return []db.DB{openStore(t, c), openStore(t, c)}
}

func requireDisturbed(t testing.TB, saw dbtest.Disturbed) {
	t.Helper()
	requireWorked(t, saw)
	require.Positive(t, saw.Unknown, "the faults had an effect")
}

func requireWorked(t testing.TB, saw dbtest.Disturbed) {
	t.Helper()
	require.Greater(t, saw.Acknowledged, 20, "the store did something")
	require.Greater(t, saw.Claims, 1, "leases changed hands")
}

// TestCutConnections cuts connections, leaves them half open in either
// direction, and refuses new ones.
func TestCutConnections(t *testing.T) {
	t.Parallel()
	direct := config(t, newName(t))
	p := startProxy(t, direct.Hosts[0])
	c := direct
	c.Hosts = []string{p.Addr()}
	requireDisturbed(t, dbtest.Disturb(t, clients(t, c, 2*time.Second), func(ctx context.Context) {
		for begin := time.Now(); time.Since(begin) < seconds(8); {
			wait(ctx, rand.N(time.Second))
			switch rand.IntN(4) {
			case 0:
				p.MuteRequests()
				wait(ctx, rand.N(3*time.Second))
			case 1:
				p.MuteAnswers()
				wait(ctx, rand.N(3*time.Second))
			case 2:
				p.Refuse(true)
				p.Cut()
				wait(ctx, rand.N(time.Second))
				p.Refuse(false)
			}
			p.Cut()
		}
	}))
}

// TestLostAnswer cuts the connection after a node has carried out a write and
// before it could say so: the store finds out.
func TestLostAnswer(t *testing.T) {
	store, p := muted(t, nil)
	cut := time.AfterFunc(time.Second, p.Cut)
	defer cut.Stop()
	results, err := store.Write(t.Context(), db.Write{If: 2, Record: db.Record{Space: "s", ID: "a", Version: 3}})
	require.NoError(t, err)
	require.True(t, results[0].OK)
}

// TestLostRequest loses a write on its way: the store says that it doesn't know
// what became of it, and it may be sent again.
func TestLostRequest(t *testing.T) {
	store, p := muted(t, nil)
	p.Cut()
	again := db.Write{If: 2, Record: db.Record{Space: "s", ID: "a", Version: 3}}
	_, err := store.Get(t.Context(), "s", "a")
	for deadline := time.Now().Add(cassandra.DefaultTimeout); err != nil && time.Now().Before(deadline); _, err = store.Get(t.Context(), "s", "a") {
		wait(t.Context(), 20*time.Millisecond)
	}
	require.NoError(t, err, "connected again")
	p.MuteRequests()
	cut := time.AfterFunc(200*time.Millisecond, p.Cut)
	defer cut.Stop()
	_, err = store.Write(t.Context(), again)
	require.ErrorContains(t, err, "the outcome is unknown")
	results, err := store.Write(t.Context(), again)
	require.NoError(t, err)
	require.True(t, results[0].OK)
}

// TestSilence writes to a node that does not answer, not even to the lookup.
func TestSilence(t *testing.T) {
	store, _ := muted(t, func(c *cassandra.Config) { c.Timeout = 2 * time.Second })
	_, err := store.Write(t.Context(), db.Write{If: 2, Record: db.Record{Space: "s", ID: "a", Version: 3}})
	require.ErrorContains(t, err, "the outcome is unknown")
	require.ErrorContains(t, err, "could not be looked up")
	require.ErrorIs(t, err, gocql.ErrTimeoutNoResponse)
	require.NotErrorIs(t, err, context.DeadlineExceeded, "the caller set none")
}

// TestNode is about a node of its own: one that is frozen, killed, and asks
// for passwords over TLS.
func TestNode(t *testing.T) {
	if tool := servers.Missing(); tool != "" {
		t.Skipf("%s is missing: a node to kill needs Java 17 and Maven (Debian: apt-get install openjdk-17-jre-headless maven)", tool)
	}
	t.Parallel()
	keys := makeKeystore(t)
	node, err := servers.NewCassandra(t.Context(), servers.Config{Dir: t.TempDir(), Settings: map[string]string{
		"authenticator":             "PasswordAuthenticator",
		"role_manager":              "CassandraRoleManager",
		"client_encryption_options": keys.options(),
	}})
	require.NoError(t, err)
	require.NoError(t, node.Start(t.Context()))
	t.Cleanup(node.Kill)

	c := configAt(node.Addr, newName(t))
	c.Username, c.Password = "cassandra", "cassandra"
	t.Run("Password", func(t *testing.T) { testPassword(t, c) })
	t.Run("TLS", func(t *testing.T) { testTLS(t, c, keys) })
	t.Run("Frozen", func(t *testing.T) {
		requireDisturbed(t, dbtest.Disturb(t, clients(t, c, time.Second), func(ctx context.Context) {
			for begin := time.Now(); time.Since(begin) < seconds(6); {
				wait(ctx, 2*time.Second)
				require.NoError(t, node.Freeze())
				wait(ctx, 5*time.Second) // longer than the clients wait and look
				require.NoError(t, node.Thaw())
			}
			wait(ctx, 2*time.Second)
		}))
	})
	t.Run("Killed", func(t *testing.T) {
		// Whether a write is on its way at the one kill is a matter of chance.
		requireWorked(t, dbtest.Disturb(t, clients(t, c, 2*time.Second), func(ctx context.Context) {
			for begin := time.Now(); time.Since(begin) < seconds(4); {
				wait(ctx, 2*time.Second)
				node.Kill()
				require.NoError(t, node.Start(ctx), "on the same data")
			}
			wait(ctx, 2*time.Second)
		}))
	})
}
