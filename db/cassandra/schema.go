package cassandra

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/apache/cassandra-gocql-driver/v2"

	"github.com/cannedos/cannedos/db"
)

// format is the version of the tables. Raise it when they change, and let
// CreateSchema bring older ones along.
const format = 1

const (
	settingsSuffix = "_settings"
	maxPartitions  = 1 << 16
)

// Schema says what [CreateSchema] creates. The zero value is three replicas in
// each datacenter and [DefaultPartitions].
type Schema struct {
	// Replicas is how many nodes of each datacenter hold a record, if the
	// keyspace has to be created; zero means [DefaultReplicas]. With three, one
	// may fail; with one, none.
	Replicas int

	// Datacenters, if given, lists the datacenters that hold the records and
	// how many replicas there are in each; then Replicas counts for nothing.
	Datacenters map[string]int

	// Partitions is over how many partitions each space is spread, from 1 to
	// 65536; zero means [DefaultPartitions]. It stays as it is once created. A
	// scan reads them one by one; a partition should stay below 100 MB, which
	// is about 300,000 records of 300 bytes.
	Partitions int
}

// CreateSchema makes the keyspace and the tables that are missing, and brings
// those of an older version of this package up to date. It is a step of its
// own, for whoever may create tables; [Open] needs no such right. Calling it
// again changes nothing. Don't call it from several processes at a time: two
// that create the same table at the same moment may get in each other's way.
//
// A table of a newer version is left alone: db.ErrNewer.
func CreateSchema(ctx context.Context, c Config, s Schema) error {
	if err := createSchema(ctx, c, s); err != nil {
		return fmt.Errorf("cassandra: create schema: %w", err)
	}
	return nil
}

func createSchema(ctx context.Context, c Config, s Schema) error {
	c, err := c.withDefaults()
	if err != nil {
		return err
	}
	replication, err := s.replication()
	if err != nil {
		return err
	}
	partitions := s.Partitions
	if partitions == 0 {
		partitions = DefaultPartitions
	}
	if partitions < 1 || partitions > maxPartitions {
		return fmt.Errorf("%w: Schema.Partitions %d: want 0 (%d) or 1 to %d", db.ErrInvalid, s.Partitions, DefaultPartitions, maxPartitions)
	}
	session, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	table := c.Keyspace + "." + c.Table
	for _, statement := range []string{
		"CREATE KEYSPACE IF NOT EXISTS " + c.Keyspace + " WITH replication = " + replication,
		"CREATE TABLE IF NOT EXISTS " + table + settingsSuffix + " (name text PRIMARY KEY, format int, partitions int)",
		"CREATE TABLE IF NOT EXISTS " + table + " (space text, part int, id text, version bigint, owner uuid, until bigint, value blob, mark uuid, " +
			"PRIMARY KEY ((space, part), id))",
	} {
		if err := session.Query(statement).ExecContext(ctx); err != nil {
			return fmt.Errorf("%s: %w", strings.SplitN(statement, " (", 2)[0], err)
		}
	}
	if err := session.AwaitSchemaAgreement(ctx); err != nil {
		return err
	}
	insert := "INSERT INTO " + table + settingsSuffix + " (name, format, partitions) VALUES ('store', ?, ?) IF NOT EXISTS"
	if _, err := session.Query(insert, format, partitions).MapScanCASContext(ctx, map[string]any{}); err != nil {
		return err
	}
	there, err := readSettings(ctx, session, &c)
	if err != nil {
		return err
	}
	if s.Partitions != 0 && there != s.Partitions {
		return fmt.Errorf("%w: Schema.Partitions %d: table %s has %d, which can't be changed", db.ErrInvalid, s.Partitions, table, there)
	}
	return nil
}

// replication is the CQL for it.
func (s *Schema) replication() (string, error) {
	replicas := maps.Clone(s.Datacenters)
	if len(replicas) == 0 {
		n := s.Replicas
		if n == 0 {
			n = DefaultReplicas
		}
		replicas = map[string]int{"replication_factor": n}
	}
	var b strings.Builder
	b.WriteString("{'class': 'NetworkTopologyStrategy'")
	for _, name := range slices.Sorted(maps.Keys(replicas)) {
		n := replicas[name]
		if n < 1 {
			if len(s.Datacenters) == 0 {
				return "", fmt.Errorf("%w: Schema.Replicas %d: want 0 (%d) or at least 1", db.ErrInvalid, n, DefaultReplicas)
			}
			return "", fmt.Errorf("%w: Schema.Datacenters[%q] %d: want at least 1", db.ErrInvalid, name, n)
		}
		fmt.Fprintf(&b, ", '%s': %d", strings.ReplaceAll(name, "'", "''"), n)
	}
	b.WriteString("}")
	return b.String(), nil
}

// readSettings checks the format of a table and returns its partitions.
func readSettings(ctx context.Context, session *gocql.Session, c *Config) (partitions int, err error) {
	table := c.Keyspace + "." + c.Table
	var stored int
	err = session.Query("SELECT format, partitions FROM "+table+settingsSuffix+" WHERE name = 'store'").
		Consistency(c.serial()).ScanContext(ctx, &stored, &partitions)
	if _, invalid := errors.AsType[*gocql.RequestErrInvalid](err); invalid || errors.Is(err, gocql.ErrNotFound) {
		return 0, fmt.Errorf("there is no table %s of ours: create it once with CreateSchema: %w", table, err)
	}
	if err != nil {
		return 0, err
	}
	switch {
	case stored > format:
		return 0, fmt.Errorf("table %s has format %d, this version knows up to %d: %w", table, stored, format, db.ErrNewer)
	case stored < 1 || partitions < 1 || partitions > maxPartitions:
		return 0, fmt.Errorf("table %s%s: format %d and %d partitions make no sense: %w", table, settingsSuffix, stored, partitions, db.ErrForeign)
	}
	return partitions, nil
}
