package kafka_test

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue/kafka"
	"github.com/cannedos/cannedos/resource"
)

var cluster = kafka.Cluster{Brokers: []string{"10.0.0.1:9092", "10.0.0.2:9092"}}

// One process polls, and writes what it gets to a topic.
func ExampleSink() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	config := kafka.SinkConfig{Cluster: cluster}
	if err := kafka.CreateResponsesTopic(ctx, config, kafka.LogTopic{}); err != nil { // once is enough
		log.Fatal(err)
	}
	sink, err := kafka.NewSink(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	canned, err := firehose.New(firehose.Config{
		Resources: resource.List("https://api.github.com/events"),
		Sink:      sink,
	})
	if err != nil {
		log.Fatal(err)
	}
	err = canned.Serve(ctx)
	closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := errors.Join(err, sink.Close(closing)); err != nil {
		log.Println(err)
	}
}

// Another process, or several, which share the partitions, publish what was polled.
func ExampleRelay() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	relay, err := kafka.NewRelay(kafka.RelayConfig{Cluster: cluster}, firehose.JSONLines(os.Stdout))
	if err != nil {
		log.Fatal(err)
	}
	if err := relay.Serve(ctx); err != nil {
		log.Println(err)
	}
}

// A third one says what shall be polled.
func ExampleOrders() {
	ctx := context.Background()
	orders, err := kafka.NewOrders(ctx, kafka.Config{Cluster: cluster}.Orders())
	if err != nil {
		log.Fatal(err)
	}
	partition := 7 // that of the scope
	if err := orders.Add(ctx, partition, resource.Spec{URI: "https://api.github.com/users/octocat/events", Interval: time.Hour}); err != nil {
		log.Println(err)
	}
	if err := orders.Close(ctx); err != nil {
		log.Println(err)
	}
}

// The owner of a partition carries the orders to it out, beside its polls.
func ExampleObey() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	config := kafka.Config{Cluster: cluster}
	member, err := kafka.NewMember(config, func(ctx context.Context, p *kafka.Partition) error {
		canned, err := firehose.New(firehose.Config{Queue: p.Queue, Sink: firehose.JSONLines(os.Stdout)})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(ctx) // one doesn't go on without the other
		var obeyed error
		var obeying sync.WaitGroup
		obeying.Go(func() {
			defer cancel()
			obeyed = kafka.Obey(ctx, config.Orders(), p.Number, canned)
		})
		err = canned.Serve(ctx)
		cancel()
		obeying.Wait()
		return errors.Join(err, obeyed)
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := member.Serve(ctx); err != nil {
		log.Println(err)
	}
}
