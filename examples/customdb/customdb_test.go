package customdb_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/db/dbtest"
	"github.com/cannedos/cannedos/examples/customdb"
)

func TestConformance(t *testing.T) {
	folder := t.TempDir()
	dbtest.Run(t, func(t testing.TB, name string) db.DB {
		store, err := customdb.Open(filepath.Join(folder, name))
		require.NoError(t, err)
		return store
	})
}

func TestLocked(t *testing.T) {
	folder := t.TempDir()
	first, err := customdb.Open(folder)
	require.NoError(t, err)
	_, err = customdb.Open(folder)
	require.ErrorIs(t, err, db.ErrLocked)
	require.NoError(t, first.Close())
	second, err := customdb.Open(folder)
	require.NoError(t, err)
	require.NoError(t, second.Close())
}

// TestDamaged opens folders that no store has left behind. None is opened, and
// none stays locked.
func TestDamaged(t *testing.T) {
	const space = "70.jsonl" // "9"
	for name, file := range map[string]struct{ name, text string }{
		"cut off":         {space, `{"id":"a","version":1,"val`},
		"not JSON":        {space, "id,version\n"},
		"unknown field":   {space, `{"id":"a","version":1,"colour":"red"}`},
		"no version":      {space, `{"id":"a"}`},
		"twice":           {space, "{\"id\":\"a\",\"version\":1}\n{\"id\":\"a\",\"version\":2}\n"},
		"not an owner":    {space, `{"id":"a","version":1,"owner":"me"}`},
		"a foreign name":  {"notes.jsonl", ""},
		"not even UTF-8":  {"VS.jsonl", `{"id":"a","version":1}`}, // the space "\xff"
		"without a space": {".jsonl", `{"id":"a","version":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, file.name)
			require.NoError(t, os.WriteFile(path, []byte(file.text), 0o600))
			_, err := customdb.Open(folder)
			require.ErrorIs(t, err, db.ErrDamaged)
			require.NoError(t, os.Remove(path))
			store, err := customdb.Open(folder)
			require.NoError(t, err, "without the file")
			require.NoError(t, store.Close())
		})
	}
}

// TestFailed takes the folder away under an open store.
func TestFailed(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "store")
	store, err := customdb.Open(folder)
	require.NoError(t, err)
	defer store.Close()
	write := func(id string) error {
		_, err := store.Write(t.Context(), db.Write{Record: db.Record{Space: "s", ID: id, Version: 1}})
		return err
	}
	require.NoError(t, write("a"))
	// A folder in the place of the file that the next edition is written to.
	require.NoError(t, os.Mkdir(filepath.Join(folder, "EC.jsonl.new"), 0o700))
	err = write("b")
	require.Error(t, err)
	require.False(t, errors.Is(err, db.ErrFailed), "the outcome of this one is unknown")
	require.ErrorIs(t, write("c"), db.ErrFailed, "nothing was done")
	records, err := store.Get(t.Context(), "s", "a", "b", "c")
	require.NoError(t, err, "reads go on")
	require.Len(t, records, 1)
	require.NoError(t, os.Remove(filepath.Join(folder, "EC.jsonl.new")))
}

func BenchmarkStore(b *testing.B) {
	folder := b.TempDir()
	dbtest.Bench(b, func(t testing.TB, name string) db.DB {
		store, err := customdb.Open(filepath.Join(folder, name))
		require.NoError(t, err)
		return store
	})
}
