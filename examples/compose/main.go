// Command compose makes a canned OS by hand: the services of the flow and two of
// its own, run by one scheduler. Responses go through a channel to the counter,
// a service that the reporter finds by its alias. First it shows the parts
// without any service, asked what would happen. The origin is an embedded one:
//
//	go run ./examples/compose
//
// The last line on standard output is one JSON object.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/lmittmann/tint"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/firehosetest"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
	"github.com/cannedos/cannedos/scheduler"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "compose:", err)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("compose", flag.ContinueOnError)
	flags.SetOutput(stderr)
	duration := flags.Duration("for", 5*time.Second, "how long to poll")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := preview(ctx, stdout); err != nil {
		return err
	}
	origin, err := firehosetest.New(firehosetest.Config{Timelines: 5, Rate: 2, PollInterval: time.Second})
	if err != nil {
		return err
	}
	server := httptest.NewServer(origin)
	defer server.Close()

	log := slog.New(tint.NewTextHandler(stderr, &tint.Options{TimeFormat: time.TimeOnly, NoColor: true}))
	q, err := queue.NewMemory(queue.MemoryConfig{Capacity: 1000})
	if err != nil {
		return err
	}
	defer q.Close() // whoever makes a queue closes it
	counter := &counter{responses: make(chan *resource.Response), events: map[string]int{}}
	config := firehose.Config{Queue: q, Sink: firehose.SinkFunc(counter.take), Logger: log, Workers: 4}
	for _, path := range origin.Paths() {
		config.Resources = append(config.Resources, resource.Spec{URI: server.URL + path})
	}
	flow, err := firehose.New(config)
	if err != nil {
		return err
	}
	services := append(flow.Services(),
		scheduler.Spec{Alias: "counter", Service: counter, StartTimeout: time.Second},
		scheduler.Spec{Alias: "reporter", Service: scheduler.Func(report), After: []string{"counter"}},
	)
	for i := range services {
		// The publisher hands over what is in flight while it stops, so the one
		// that takes it has to stop later.
		if s := &services[i]; s.Alias == "publisher" {
			s.After = append(s.After, "counter")
		}
	}
	canned, err := scheduler.New(scheduler.Config{Name: "compose", Logger: log, Services: services})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()
	if err := canned.Serve(ctx); err != nil {
		return err // with the path of each service that did not stop in time
	}
	stats := flow.Stats()
	return json.NewEncoder(stdout).Encode(summary{
		Polls: stats.Polls, Published: stats.Published, Events: counter.snapshot(), Impolite: origin.Verdict().Impolite,
	})
}

// summary is the last line on standard output.
type summary struct {
	Polls     int64          `json:"polls"`
	Published int64          `json:"published"`
	Events    map[string]int `json:"events"` // by type; one that is on two pages counts twice
	Impolite  int64          `json:"impolite"`
}

// counter counts events by type. It is a service of our own.
type counter struct {
	responses chan *resource.Response // without room: what was sent is in the counter's hands

	mu     sync.Mutex
	events map[string]int
}

// take is the sink: a response counts as taken when the counter has received it.
func (c *counter) take(ctx context.Context, r *resource.Response) error {
	select {
	case c.responses <- r:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx) // it will be offered again
	}
}

// Serve counts until ctx ends. If it failed, the scheduler would start it again,
// and it would go on with the counts that it has.
func (c *counter) Serve(ctx context.Context) error {
	scheduler.Ready(ctx)
	for {
		select {
		case r := <-c.responses:
			c.count(r)
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *counter) count(r *resource.Response) {
	var events []struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(r.Body, &events) != nil {
		events = nil // no list of events
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range events {
		c.events[e.Type]++
	}
}

func (c *counter) snapshot() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.events)
}

// report logs the counts each second. It looks the counter up each time, since
// after a restart it may be another one.
func report(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c, err := scheduler.Find[*counter](ctx, "counter")
			if err != nil {
				return err // logged, kept, and tried again after a backoff
			}
			scheduler.Logger(ctx).Info("so far", "events", c.snapshot())
		case <-ctx.Done():
			return nil
		}
	}
}
