package db_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/cannedos/cannedos/db"
)

// A counter that any number of writers may increment: whoever loses learns
// what it lost to and goes on from there.
func ExampleDB() {
	ctx := context.Background()
	store := db.NewMemory()
	defer store.Close()

	var version int64
	for range 3 {
		for {
			w := db.Write{If: version, Record: db.Record{Space: "counters", ID: "polls", Version: version + 1}}
			results, err := store.Write(ctx, w)
			if err != nil {
				log.Fatal(err) // the outcome is unknown: the same Write may be sent again
			}
			if w.Won(results[0]) {
				version = w.Record.Version
				break
			}
			version = results[0].Current.Version
		}
	}
	records, err := store.Get(ctx, "counters", "polls")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(records[0].Version)
	// Output: 3
}

// What was answered with OK is there after a restart.
func ExampleOpenFile() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "polls.db")

	for run := range 2 {
		store, err := db.OpenFile(path)
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

// One of many processes does the work; the others would stand by with Wait.
func ExampleHold() {
	ctx := context.Background()
	store := db.NewMemory()
	defer store.Close()

	spec := db.LeaseSpec{Space: "leases", ID: "poller", Owner: db.NewOwner(), TTL: time.Minute}
	err := db.Hold(ctx, store, spec, func(ctx context.Context, l *db.Lease) error {
		other := spec
		other.Owner = db.NewOwner()
		_, err := db.Claim(ctx, store, other)
		fmt.Println("the other may work too:", !errors.Is(err, db.ErrHeld))
		return nil // ctx ends when the lease is lost
	})
	fmt.Println(err)
	// Output:
	// the other may work too: false
	// <nil>
}
