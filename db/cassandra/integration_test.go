//go:build integration

package cassandra_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/db/cassandra"
	"github.com/cannedos/cannedos/db/dbtest"
)

// config names a store at the node that CANNEDOS_CASSANDRA names.
func config(t testing.TB, name string) cassandra.Config {
	host := os.Getenv("CANNEDOS_CASSANDRA")
	if host == "" {
		t.Skip("no Cassandra: set CANNEDOS_CASSANDRA to host:port, or start it with: go run ./internal/servers/with go test -tags integration ./db/cassandra")
	}
	sum := sha256.Sum256([]byte(name))
	return cassandra.Config{Hosts: []string{host}, Keyspace: "cannedos_test", Table: "t" + hex.EncodeToString(sum[:8])}
}

func openTable(t testing.TB, name string) db.DB {
	c := config(t, name)
	require.NoError(t, cassandra.CreateSchema(t.Context(), c, cassandra.Schema{Replicas: 1, Partitions: 8}))
	store, err := cassandra.Open(t.Context(), c)
	require.NoError(t, err)
	return store
}

func TestContract(t *testing.T) { dbtest.Run(t, openTable) }

func BenchmarkStore(b *testing.B) { dbtest.Bench(b, openTable) }
