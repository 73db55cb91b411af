package cassandra_test

import (
	"context"
	"fmt"
	"log"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/db/cassandra"
)

// A program that counts its starts, together with all others that do.
func Example() {
	ctx := context.Background()
	config := cassandra.Config{Hosts: []string{"10.0.0.1", "10.0.0.2"}, Keyspace: "polls"}
	if err := cassandra.CreateSchema(ctx, config, cassandra.Schema{}); err != nil { // once is enough
		log.Fatal(err)
	}
	store, err := cassandra.Open(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	w := db.Write{Record: db.Record{Space: "starts", ID: "all", Version: 1}}
	for {
		results, err := store.Write(ctx, w)
		if err != nil {
			log.Fatal(err) // the outcome is unknown
		}
		if results[0].OK {
			break
		}
		w.If = results[0].Current.Version
		w.Record.Version = w.If + 1
	}
	fmt.Println("start", w.Record.Version)
}
