package dbtest_test

import (
	"context"
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

// The test of an adapter whose server can be killed.
func ExampleDisturb() {
	var (
		open    func(t testing.TB) db.DB
		kill    func()
		restart func(ctx context.Context) // and wait until it has served for some seconds
	)
	_ = func(t *testing.T) { // func TestKill(t *testing.T)
		clients := []db.DB{open(t), open(t)}
		saw := dbtest.Disturb(t, clients, func(ctx context.Context) {
			for range 3 {
				kill()
				restart(ctx)
			}
		})
		if saw.Unknown == 0 {
			t.Error("the kill went unnoticed")
		}
	}
}
