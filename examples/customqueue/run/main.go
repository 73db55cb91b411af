// Command run polls with a canned OS whose queue is the one of package
// customqueue. It starts an origin of its own, which behaves as GitHub's events
// API does, polls it over real HTTP, and prints what each queue holds:
//
//	go run ./examples/customqueue/run
//
// The last line on standard output is one JSON object. What it says of the
// polls comes from the origin, which judges its client.
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

	"github.com/cannedos/cannedos/examples/customqueue"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/firehosetest"
	"github.com/cannedos/cannedos/resource"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "customqueue:", err)
		}
		os.Exit(1)
	}
}

// summary is the last line on standard output.
type summary struct {
	Polls       int64 `json:"polls"`
	Permitted   int64 `json:"permitted"`
	Modified    int64 `json:"modified"`
	NotModified int64 `json:"not_modified"`
	Published   int64 `json:"published"`
	Impolite    int64 `json:"impolite"`
	Queued      int   `json:"queued"` // resources in the queue at the end
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("customqueue", flag.ContinueOnError)
	flags.SetOutput(stderr)
	duration := flags.Duration("for", 5*time.Second, "how long to poll")
	timelines := flags.Int("timelines", 10, "how many timelines to poll")
	if err := flags.Parse(args); err != nil {
		return err
	}

	origin, err := firehosetest.New(firehosetest.Config{Timelines: *timelines, Rate: 0.5, PollInterval: time.Second})
	if err != nil {
		return err
	}
	server := httptest.NewServer(origin)
	defer server.Close()

	q := customqueue.New()
	defer q.Close() // whoever makes a queue closes it
	config := firehose.Config{Queue: q}
	for _, path := range origin.Paths() {
		config.Resources = append(config.Resources, resource.Spec{URI: server.URL + path})
	}
	canned, err := firehose.New(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()
	if err := canned.Serve(ctx); err != nil {
		return err
	}

	v := origin.Verdict()
	s := summary{
		Polls: v.Polls, Permitted: v.Permitted, Modified: v.Modified, NotModified: v.NotModified,
		Published: canned.Stats().Published, Impolite: v.Impolite,
	}
	depths, err := q.Depths(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	for _, d := range depths {
		s.Queued += d.Waiting + d.Ready + d.Held
		fmt.Fprintf(stdout, "%-36s %3d waiting %3d ready %3d held\n", d.Name, d.Waiting, d.Ready, d.Held)
	}
	return json.NewEncoder(stdout).Encode(s)
}
