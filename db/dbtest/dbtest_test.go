package dbtest

import (
	"flag"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

func openMemory(testing.TB, string) db.DB { return db.NewMemory() }

// files returns an Open for stores in one new directory.
func files(t testing.TB) Open {
	dir := t.TempDir()
	return func(t testing.TB, name string) db.DB {
		t.Helper()
		store, err := db.OpenFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return store
	}
}

func TestMemory(t *testing.T) { Run(t, openMemory) }

func TestFile(t *testing.T) { Run(t, files(t)) }

// TestBench runs each benchmark a few times, so that it can't rot.
func TestBench(t *testing.T) {
	benchtime := flag.Lookup("test.benchtime").Value
	before := benchtime.String()
	require.NoError(t, benchtime.Set("10x"))
	defer func() { require.NoError(t, benchtime.Set(before)) }()
	for name, open := range map[string]Open{"Memory": openMemory, "File": files(t)} {
		result := testing.Benchmark(func(b *testing.B) { Bench(b, open) })
		require.Positive(t, result.N, name)
	}
}

func BenchmarkMemory(b *testing.B) { Bench(b, openMemory) }

func BenchmarkFile(b *testing.B) { Bench(b, files(b)) }
