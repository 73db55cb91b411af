// Command durable is the main job with its state in a Pebble store: for fleets
// whose state is too much for db.OpenFile's index in memory.
//
// Without arguments it starts an origin of its own on a loopback socket, polls it
// for some seconds, stops, and goes on where it was with the same state:
//
//	go run ./examples/durable
//
// With -live it polls the real https://api.github.com/events, with the token in
// GITHUB_TOKEN if that is set, until it is interrupted; with -url whatever you
// name. Killing it at any moment, and starting it again, is no reason to ask
// again early.
//
// Each run ends with a line on standard output, one JSON object with its figures.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cannedos/cannedos/db/pebble"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/firehosetest"
	"github.com/cannedos/cannedos/resource"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "durable:", err)
		}
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	dir               string
	duration, timeout time.Duration
	urls              []string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("durable", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.dir, "db", "", "`directory` that keeps the state (default: one that is removed at the end; with -live or -url durable-state)")
	flags.DurationVar(&o.duration, "for", 0, "how long to poll (default: with -live or -url until interrupted, else twice 4s)")
	flags.DurationVar(&o.timeout, "timeout", 2*time.Second, "bound of one request")
	live := flags.Bool("live", false, "poll the real https://api.github.com/events, with GITHUB_TOKEN if it is set")
	flags.Func("url", "poll this `URL`; may be given more than once", func(s string) error {
		o.urls = append(o.urls, s)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q: URLs are given with -url", flags.Arg(0))
	case o.duration < 0:
		return o, fmt.Errorf("-for %v: want 0 or more", o.duration)
	}
	if *live {
		o.urls = append(o.urls, "https://api.github.com/events")
	}
	if len(o.urls) > 0 && o.dir == "" {
		o.dir = "durable-state"
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if len(o.urls) > 0 {
		return poll(ctx, o, stdout)
	}
	return demonstrate(ctx, o, stdout)
}

// demonstrate polls an origin of its own, twice with the same state. The origin
// judges both runs as one client.
func demonstrate(ctx context.Context, o options, stdout io.Writer) error {
	origin, err := firehosetest.New(firehosetest.Config{Timelines: 10, Rate: 0.5, PollInterval: time.Second})
	if err != nil {
		return err
	}
	server := httptest.NewServer(origin)
	defer server.Close()
	for _, path := range origin.Paths() {
		o.urls = append(o.urls, server.URL+path)
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "durable-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.dir)
	}
	if o.duration == 0 {
		o.duration = 4 * time.Second
	}
	for range 2 {
		if err := poll(ctx, o, stdout); err != nil {
			return err
		}
	}
	v := origin.Verdict()
	fmt.Fprintf(stdout, "{\"polls\":%d,\"permitted\":%d,\"impolite\":%d}\n", v.Polls, v.Permitted, v.Impolite)
	if v.Impolite > 0 {
		return fmt.Errorf("%d impolite requests: none may happen", v.Impolite)
	}
	return nil
}

// poll is the whole of it: one line makes the state survive.
func poll(ctx context.Context, o options, stdout io.Writer) (err error) {
	store, err := pebble.Open(o.dir, pebble.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	resources := resource.List(o.urls...)
	canned, err := firehose.New(firehose.Config{
		Resources:      resources,
		Sink:           firehose.SinkFunc(func(context.Context, *resource.Response) error { return nil }),
		DB:             store,
		Tokens:         resource.Env("GITHUB_TOKEN"),
		RequestTimeout: o.timeout,
	})
	if err != nil {
		return err
	}
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	lost := make(chan int, 1)
	go func() { // ends with ctx
		<-ctx.Done()
		lost <- missing(canned, resources)
		stop()
	}()
	if err := canned.Serve(serving); err != nil {
		return err
	}
	s := canned.Stats()
	line, err := json.Marshal(map[string]any{
		"polls": s.Polls, "published": s.Published, "not_modified_share": s.NotModifiedShare(), "lost": <-lost,
		"late_p99_ms": float64(s.Late.P99.Microseconds()) / 1000,
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\n", line)
	return err
}

// missing counts the resources that are in no queue. There are none, ever.
func missing(canned *firehose.OS, specs []resource.Spec) (n int) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, spec := range specs {
		r, err := resource.New(spec, "")
		if err == nil {
			_, err = canned.Explain(ctx, r.ID)
		}
		if err != nil {
			n++
		}
	}
	return n
}
