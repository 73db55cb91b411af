//go:build integration && long

package cassandra_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/db/cassandra"
	"github.com/cannedos/cannedos/db/dbtest"
	"github.com/cannedos/cannedos/internal/servers"
)

// freePorts returns n ports that are free at the first address of the loopback,
// and so most likely at the others.
func freePorts(t testing.TB, n int) []string {
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports
}

// startCluster starts three nodes that know each other.
func startCluster(t testing.TB) []*servers.Server {
	if tool := servers.Missing(); tool != "" {
		t.Skipf("%s is missing: nodes to kill need Java 17 and Maven (Debian: apt-get install openjdk-17-jre-headless maven)", tool)
	}
	ports := freePorts(t, 2)
	var nodes []*servers.Server
	for i := range 3 {
		node, err := servers.NewCassandra(t.Context(), servers.Config{
			Dir: t.TempDir(), Host: fmt.Sprintf("127.0.0.%d", i+1), Heap: "768m",
			Settings: map[string]string{
				"native_transport_port": ports[0],
				"storage_port":          ports[1],
				"seed_provider":         `[{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{seeds: "127.0.0.1:` + ports[1] + `"}]}]`,
				"initial_token":         []string{"-6148914691236517206", "0", "6148914691236517206"}[i],
				"auto_bootstrap":        "false",
			},
		})
		require.NoError(t, err)
		require.NoError(t, node.Start(t.Context()))
		t.Cleanup(node.Kill)
		nodes = append(nodes, node)
	}
	return nodes
}

var three = cassandra.Schema{Replicas: 3}

// TestCluster kills and freezes one node of three, time and again: the others
// go on, and nothing is lost.
func TestCluster(t *testing.T) {
	nodes := startCluster(t)
	c := impatient(configAt(nodes[0].Addr, newName(t)))
	for _, node := range nodes[1:] {
		c.Hosts = append(c.Hosts, node.Addr)
	}
	c.Timeout = 2 * time.Second
	t.Run("Contract", func(t *testing.T) {
		dbtest.Run(t, func(t testing.TB, name string) db.DB {
			c := c
			c.Table, c.Timeout = configAt("", name).Table, 0
			return openStoreAs(t, c, three)
		})
	})
	t.Run("Disturb", func(t *testing.T) {
		stores := []db.DB{openStoreAs(t, c, three), openStoreAs(t, c, three)}
		requireDisturbed(t, dbtest.Disturb(t, stores, func(ctx context.Context) {
			for i := range 6 {
				node := nodes[i%3]
				wait(ctx, 3*time.Second)
				if i%2 == 0 {
					node.Kill()
					served(t, stores[0])
					require.NoError(t, node.Start(ctx), "on the same data")
				} else {
					require.NoError(t, node.Freeze())
					served(t, stores[0])
					require.NoError(t, node.Thaw())
				}
			}
			wait(ctx, 3*time.Second)
		}))
	})
}

// served requires a store to take writes within half a minute.
func served(t testing.TB, store db.DB) {
	t.Helper()
	id := db.NewOwner().String()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); wait(t.Context(), 100*time.Millisecond) {
		if _, err = store.Write(t.Context(), db.Write{Record: db.Record{Space: "served", ID: id, Version: 1}}); err == nil {
			return
		}
	}
	require.NoError(t, err, "with one node of three away")
}

// BenchmarkCluster measures what three replicas cost.
func BenchmarkCluster(b *testing.B) {
	nodes := startCluster(b)
	dbtest.Bench(b, func(t testing.TB, name string) db.DB {
		return openStoreAs(t, configAt(nodes[0].Addr, name), three)
	})
}

// TestLargestPage scans as many of the largest records as are read at a time.
func TestLargestPage(t *testing.T) {
	store := openStore(t, config(t, newName(t)))
	const records = 8 * 150 // of 8 partitions, each more than a page
	for i := range records {
		r := db.Record{Space: "s", ID: fmt.Sprint(i), Version: 1, Value: bytes.Repeat([]byte{byte(i)}, db.MaxValue)}
		_, err := store.Write(t.Context(), db.Write{Record: r})
		require.NoError(t, err)
	}
	n := 0
	for r, err := range store.Scan(t.Context(), "s") {
		require.NoError(t, err)
		require.Len(t, r.Value, db.MaxValue)
		n++
	}
	require.Equal(t, records, n)
}
