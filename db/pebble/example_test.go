package pebble_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/db/pebble"
)

// Where db.OpenFile(path) was, pebble.Open(dir, config) goes: the rest of a
// program stays as it is.
func ExampleOpen() {
	parent, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(parent)
	dir := filepath.Join(parent, "polls")

	for run := range 2 {
		store, err := pebble.Open(dir, pebble.Config{})
		if err != nil {
			log.Fatal(err)
		}
		if run == 0 {
			_, err = store.Write(context.Background(), db.Write{Record: db.Record{
				Space: "parks", ID: "api.github.com", Version: 1, Value: []byte("until the reset"),
			}})
			if err != nil {
				log.Fatal(err)
			}
		}
		for r, err := range store.Scan(context.Background(), "parks") {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("run %d: %s %s\n", run+1, r.ID, r.Value)
		}
		if err := store.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// run 1: api.github.com until the reset
	// run 2: api.github.com until the reset
}
