package dbtest_test

import (
	"path/filepath"
	"testing"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/db/dbtest"
)

// The test of an adapter; here its store is the one in a file.
func ExampleRun() {
	_ = func(t *testing.T) { // func TestStore(t *testing.T)
		dir := t.TempDir()
		dbtest.Run(t, func(t testing.TB, name string) db.DB {
			store, err := db.OpenFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			return store
		})
	}
}
