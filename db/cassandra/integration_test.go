//go:build integration

package cassandra_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"testing"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/db/cassandra"
	"github.com/cannedos/cannedos/db/dbtest"
	"github.com/cannedos/cannedos/internal/servers"
)

// config names a store at the node that CANNEDOS_CASSANDRA names.
func config(t testing.TB, name string) cassandra.Config {
	host := os.Getenv("CANNEDOS_CASSANDRA")
	if host == "" {
		t.Skip("no Cassandra: set CANNEDOS_CASSANDRA to host:port, or start one with: go run ./internal/servers/with go test -tags integration ./db/cassandra")
	}
	return configAt(host, name)
}

func configAt(host, name string) cassandra.Config {
	sum := sha256.Sum256([]byte(name))
	return cassandra.Config{Hosts: []string{host}, Keyspace: "cannedos_test", Table: "t" + hex.EncodeToString(sum[:8])}
}

// schema is the one that tests use: the node is alone, and each partition gets
// many records.
var schema = cassandra.Schema{Replicas: 1, Partitions: 8}

// openStore opens a store with a table of its own, which is closed after the
// test.
func openStore(t testing.TB, c cassandra.Config) *cassandra.Store {
	t.Helper()
	return openStoreAs(t, c, schema)
}

func openStoreAs(t testing.TB, c cassandra.Config, s cassandra.Schema) *cassandra.Store {
	t.Helper()
	patient := c // a busy node takes seconds to make a table
	patient.Timeout = 30 * time.Second
	require.NoError(t, cassandra.CreateSchema(t.Context(), patient, s))
	store, err := cassandra.Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func openTable(t testing.TB, name string) db.DB { return openStore(t, config(t, name)) }

// newName names a table that no other test uses.
func newName(t testing.TB) string { return t.Name() + db.NewOwner().String() }

func TestContract(t *testing.T) {
	t.Parallel() // it mostly waits for disks
	dbtest.Run(t, openTable)
}

func BenchmarkStore(b *testing.B) {
	dbtest.Bench(b, func(t testing.TB, name string) db.DB {
		return openStoreAs(t, config(t, name), cassandra.Schema{Replicas: 1})
	})
}

// startProxy starts one that is closed after the test.
func startProxy(t testing.TB, node string) *servers.Proxy {
	p, err := servers.StartProxy(node)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

// impatient makes a client notice soon what became of a connection.
func impatient(c cassandra.Config) cassandra.Config {
	c.Driver = func(driver *gocql.ClusterConfig) {
		driver.ReconnectInterval = 500 * time.Millisecond
		driver.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 3, Interval: 100 * time.Millisecond}
	}
	return c
}

// wait waits for d, or less if ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// seconds is how long something lasts: longer with the build tag long.
func seconds(n int) time.Duration {
	if long {
		n *= 20
	}
	return time.Duration(n) * time.Second
}
