package pebble

import (
	"flag"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/db/dbtest"
)

// tiny makes the engine write and merge tables all the time.
var tiny = Config{CacheBytes: minCacheBytes, MemTableBytes: minMemTableBytes}

// directories returns an Open for stores in one new directory.
func directories(t testing.TB, config Config) dbtest.Open {
	parent := t.TempDir()
	return func(t testing.TB, name string) db.DB {
		t.Helper()
		store, err := Open(filepath.Join(parent, name), config)
		require.NoError(t, err)
		return store
	}
}

// inMemory returns an Open for stores on a file system in memory.
func inMemory(config Config) dbtest.Open {
	fsys := vfs.NewMem()
	return func(t testing.TB, name string) db.DB {
		t.Helper()
		store, err := open("/"+name, config, fsys)
		require.NoError(t, err)
		return store
	}
}

func TestStore(t *testing.T) { dbtest.Run(t, directories(t, Config{})) }

func TestStoreTiny(t *testing.T) { dbtest.Run(t, inMemory(tiny)) }

// TestBench runs each benchmark a few times, so that it can't rot.
func TestBench(t *testing.T) {
	benchtime := flag.Lookup("test.benchtime").Value
	before := benchtime.String()
	require.NoError(t, benchtime.Set("10x"))
	defer func() { require.NoError(t, benchtime.Set(before)) }()
	result := testing.Benchmark(func(b *testing.B) { dbtest.Bench(b, directories(t, Config{})) })
	require.Positive(t, result.N)
}
