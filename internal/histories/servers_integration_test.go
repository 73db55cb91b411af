//go:build integration

package histories

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/db/cassandra"
	"github.com/cannedos/cannedos/internal/servers"
)

func serverWorlds() []world {
	least := figures{Operations: 100, Writes: 20, Unknown: 1, Claims: 2, Faults: 1} // by a node that others keep busy
	table := owner()
	var node *servers.Server
	return []world{
		{"cassandra, cut", 1, least, func(t *testing.T, seed uint64) *history {
			host := os.Getenv("CANNEDOS_CASSANDRA")
			if host == "" {
				t.Skip("no Cassandra: set CANNEDOS_CASSANDRA to host:port, or start one with: go run ./internal/servers/with go test -tags integration ./internal/histories")
			}
			return atNode(t, seed, host, table, cutting)
		}},
		{"cassandra, killed", 1, least, func(t *testing.T, seed uint64) *history {
			if tool := servers.Missing(); tool != "" {
				t.Skipf("%s is missing: a node to kill needs Java 17 and Maven (Debian: apt-get install openjdk-17-jre-headless maven)", tool)
			}
			if node == nil {
				node = startNode(t)
			}
			return atNode(t, seed, node.Addr, table, func(ctx context.Context, random *rand.Rand, _ []*servers.Proxy) (int, error) {
				_ = wait(ctx, time.Duration(2000+random.IntN(2000))*time.Millisecond)
				node.Kill()
				err := node.Start(ctx) // on the same data
				_ = wait(ctx, 4*time.Second)
				return 1, err
			})
		}},
	}
}

// owner returns a name that no other run has.
func owner() string {
	o := db.NewOwner()
	return "h" + hex.EncodeToString(o[:8])
}

func startNode(t *testing.T) *servers.Server {
	node, err := servers.NewCassandra(t.Context(), servers.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	require.NoError(t, node.Start(t.Context()))
	t.Cleanup(node.Kill)
	return node
}

// faults disturb the connections or the node until they have done enough. They
// return how often they did.
type faults func(ctx context.Context, random *rand.Rand, proxies []*servers.Proxy) (int, error)

// sessions is how many processes share the store, as far as the driver and the
// node can tell: each has connections of its own, through a proxy of its own.
const sessions = 3

// atNode makes one history at a real node.
func atNode(t *testing.T, seed uint64, host, table string, disturb faults) *history {
	config := configAt(host, table)
	config.Timeout = 30 * time.Second // tables take long at a busy node
	require.NoError(t, cassandra.CreateSchema(t.Context(), config, cassandra.Schema{Replicas: 1, Partitions: 8}))
	direct, err := cassandra.Open(t.Context(), config)
	require.NoError(t, err)
	defer direct.Close()
	var stores []*cassandra.Store
	var proxies []*servers.Proxy
	for range sessions {
		p, err := servers.StartProxy(host)
		require.NoError(t, err)
		defer p.Close()
		store, err := insist(t.Context(), configAt(p.Addr(), table))
		require.NoError(t, err)
		defer store.Close()
		stores, proxies = append(stores, store), append(proxies, p)
	}
	r := &round{log: &log{}, seed: seed, space: owner(), ttl: 800 * time.Millisecond, pause: 100 * time.Millisecond}
	r.start(t.Context(), func(n int) db.DB { return stores[n%sessions] })
	n, err := disturb(t.Context(), rand.New(rand.NewPCG(seed, 4)), proxies)
	require.NoError(t, r.stop())
	require.NoError(t, err)
	require.NoError(t, r.readAll(t.Context(), direct))
	return &history{r.log.ops, n}
}

// insist opens a store, again and again for a minute: nothing disturbs it yet,
// but its timeout is short, and the node may be busy.
func insist(ctx context.Context, c cassandra.Config) (*cassandra.Store, error) {
	for begin := time.Now(); ; {
		store, err := cassandra.Open(ctx, c)
		if err == nil || time.Since(begin) > time.Minute {
			return store, err
		}
	}
}

// configAt is that of a client which notices soon what became of a connection.
func configAt(host, table string) cassandra.Config {
	return cassandra.Config{
		Hosts: []string{host}, Keyspace: "cannedos_test", Table: table, Timeout: 2 * time.Second,
		Driver: func(driver *gocql.ClusterConfig) {
			driver.ReconnectInterval = 500 * time.Millisecond
			driver.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 3, Interval: 100 * time.Millisecond}
		},
	}
}

// cutting cuts connections of one session after the other, leaves them half
// open in either direction, and refuses new ones.
func cutting(ctx context.Context, random *rand.Rand, proxies []*servers.Proxy) (n int, err error) {
	for begin := time.Now(); time.Since(begin) < 8*time.Second; n++ {
		p := proxies[random.IntN(len(proxies))]
		_ = wait(ctx, time.Duration(random.IntN(500))*time.Millisecond)
		switch random.IntN(4) {
		case 0:
			p.MuteRequests()
			_ = wait(ctx, time.Duration(random.IntN(1500))*time.Millisecond)
		case 1:
			p.MuteAnswers()
			_ = wait(ctx, time.Duration(random.IntN(1500))*time.Millisecond)
		case 2:
			p.Refuse(true)
			p.Cut()
			_ = wait(ctx, time.Duration(random.IntN(700))*time.Millisecond)
			p.Refuse(false)
		}
		p.Cut()
	}
	_ = wait(ctx, time.Second)
	return n, nil
}
