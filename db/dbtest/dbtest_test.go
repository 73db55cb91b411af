package dbtest

import (
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

func BenchmarkMemory(b *testing.B) { Bench(b, openMemory) }

func BenchmarkFile(b *testing.B) { Bench(b, files(b)) }
