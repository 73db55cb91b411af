package kafka_test

import (
	"context"
	"log"
	"os/signal"
	"syscall"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue/kafka"
	"github.com/cannedos/cannedos/resource"
)

// The same program, started as often as one likes, shares the work: each process
// runs an OS for each partition that the group gives it. The topic was made once, by
// kafka.CreateTopic.
func ExampleMember() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	store := db.NewMemory() // in earnest one that all processes share: db/cassandra
	config := kafka.Config{Cluster: kafka.Cluster{Brokers: []string{"10.0.0.1:9092", "10.0.0.2:9092"}}}
	member, err := kafka.NewMember(config, func(ctx context.Context, p *kafka.Partition) error {
		canned, err := firehose.New(firehose.Config{
			Resources: resource.List("https://api.github.com/events", "https://go.dev/blog/feed.atom"),
			Tokens:    resource.Env("GITHUB_TOKEN"),
			Queue:     p.Queue,
			DB:        store,
			Shard:     firehose.Shard{Number: p.Number, Count: p.Count},
		})
		if err != nil {
			return err
		}
		return canned.Serve(ctx)
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := member.Serve(ctx); err != nil {
		log.Print(err)
	}
}
