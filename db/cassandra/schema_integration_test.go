//go:build integration

package cassandra_test

import (
	"fmt"
	"testing"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/db/cassandra"
)

// session is the driver's, for what the store does not do.
func session(t testing.TB, c cassandra.Config) *gocql.Session {
	s, err := gocql.NewCluster(c.Hosts...).CreateSession()
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func TestSchema(t *testing.T) {
	c := config(t, newName(t))
	require.NoError(t, cassandra.CreateSchema(t.Context(), c, schema))
	require.NoError(t, cassandra.CreateSchema(t.Context(), c, schema), "again")
	require.NoError(t, cassandra.CreateSchema(t.Context(), c, cassandra.Schema{}), "whatever there is")

	other := schema
	other.Partitions++
	err := cassandra.CreateSchema(t.Context(), c, other)
	require.ErrorIs(t, err, db.ErrInvalid)
	require.ErrorContains(t, err, "Schema.Partitions 9: table cannedos_test."+c.Table+" has 8")

	s := session(t, c)
	settings := c.Keyspace + "." + c.Table + "_settings"
	require.NoError(t, s.Query("UPDATE "+settings+" SET format = 2 WHERE name = 'store'").Exec())
	_, err = cassandra.Open(t.Context(), c)
	require.ErrorIs(t, err, db.ErrNewer)
	require.ErrorContains(t, err, "format 2, this version knows up to 1")
	require.ErrorIs(t, cassandra.CreateSchema(t.Context(), c, schema), db.ErrNewer)

	require.NoError(t, s.Query("UPDATE "+settings+" SET format = 1, partitions = 0 WHERE name = 'store'").Exec())
	_, err = cassandra.Open(t.Context(), c)
	require.ErrorIs(t, err, db.ErrForeign)
}

func TestSchemaMissing(t *testing.T) {
	c := config(t, newName(t))
	require.NoError(t, cassandra.CreateSchema(t.Context(), c, schema))
	for name, change := range map[string]func(c *cassandra.Config){
		"keyspace": func(c *cassandra.Config) { c.Keyspace = "nowhere" },
		"table":    func(c *cassandra.Config) { c.Table = "nothing" },
	} {
		missing := c
		change(&missing)
		_, err := cassandra.Open(t.Context(), missing)
		require.ErrorContains(t, err, "CreateSchema", name)
		require.ErrorContains(t, err, missing.Keyspace+"."+missing.Table)
	}
	nobody := c
	nobody.Hosts = []string{"127.0.0.1:1"}
	_, err := cassandra.Open(t.Context(), nobody)
	require.ErrorContains(t, err, "127.0.0.1:1")
}

// TestDatacenter names the node's datacenter, and one that there is not.
func TestDatacenter(t *testing.T) {
	c := config(t, newName(t))
	c.Datacenter = "datacenter1"
	store := openStore(t, c)
	for i := range int64(3) {
		results, err := store.Write(t.Context(), db.Write{If: i, Record: db.Record{Space: "s", ID: "a", Version: i + 1}})
		require.NoError(t, err)
		require.True(t, results[0].OK)
	}
	records, err := store.Get(t.Context(), "s", "a")
	require.NoError(t, err)
	require.EqualValues(t, 3, records[0].Version)
	c.Datacenter = "elsewhere"
	_, err = cassandra.Open(t.Context(), c)
	require.ErrorContains(t, err, `datacenter "elsewhere"`, "its nodes would decide in ignorance of ours")
}

// TestShared has two stores on the same table, as two processes have.
func TestShared(t *testing.T) {
	c := config(t, newName(t))
	one, two := openStore(t, c), openStore(t, c)
	for i := range int64(20) {
		writer, reader := one, two
		if i%2 == 1 {
			writer, reader = two, one
		}
		r := db.Record{Space: "s", ID: "a", Version: i + 1, Value: fmt.Append(nil, i)}
		results, err := writer.Write(t.Context(), db.Write{If: i, Record: r})
		require.NoError(t, err)
		require.True(t, results[0].OK)
		found, err := reader.Get(t.Context(), "s", "a")
		require.NoError(t, err)
		require.True(t, r.Equal(found[0]))
		for r, err := range reader.Scan(t.Context(), "s") {
			require.NoError(t, err)
			require.True(t, r.Equal(found[0]))
		}
	}
}

// TestNothingExpires looks at what is stored: no column has a time to live.
func TestNothingExpires(t *testing.T) {
	c := config(t, newName(t))
	store := openStore(t, c)
	lease, err := db.Claim(t.Context(), store, db.LeaseSpec{Space: "lease", ID: "x", Owner: db.NewOwner()})
	require.NoError(t, err)
	require.NoError(t, lease.Renew(t.Context()))
	rows := session(t, c).Query("SELECT TTL(version), TTL(owner), TTL(until), TTL(value), TTL(mark) FROM " + c.Keyspace + "." + c.Table).Iter()
	n := 0
	for ttl := make([]*int, 5); rows.Scan(&ttl[0], &ttl[1], &ttl[2], &ttl[3], &ttl[4]); n++ {
		require.Equal(t, make([]*int, 5), ttl)
	}
	require.NoError(t, rows.Close())
	require.Equal(t, 1, n)
}
