// Command run polls with a canned OS whose store is the one of package customdb.
// It starts an origin of its own, which behaves as GitHub's events API does,
// polls it over real HTTP, stops the OS, opens the same folder again, and polls
// on with another OS that knows nothing but what the folder says:
//
//	go run ./examples/customdb/run
//
// The last line on standard output is one JSON object. What it says of the
// polls comes from the origin, which judges its client: "early" counts those
// before their time, and "unconditional" those that forgot the validators.
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

	"github.com/cannedos/cannedos/examples/customdb"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/firehosetest"
	"github.com/cannedos/cannedos/resource"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "customdb:", err)
		}
		os.Exit(1)
	}
}

// summary is the last line on standard output.
type summary struct {
	Runs          int   `json:"runs"`
	Polls         int64 `json:"polls"`
	Modified      int64 `json:"modified"`
	NotModified   int64 `json:"not_modified"`
	Early         int64 `json:"early"`
	Unconditional int64 `json:"unconditional"`
	Impolite      int64 `json:"impolite"`
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("customdb", flag.ContinueOnError)
	flags.SetOutput(stderr)
	folder := flags.String("dir", "", "`folder` of the store (default: a temporary one, removed at the end)")
	runs := flags.Int("runs", 2, "how often to start an OS")
	polls := flags.Int("polls", 2, "polls of each timeline in a run")
	interval := flags.Duration("interval", 2*time.Second, "the origin's poll interval, in whole seconds")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *folder == "" {
		temporary, err := os.MkdirTemp("", "customdb-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary)
		*folder = temporary
	}

	origin, err := firehosetest.New(firehosetest.Config{Timelines: 5, Rate: 0.2, PollInterval: *interval})
	if err != nil {
		return err
	}
	server := httptest.NewServer(origin)
	defer server.Close()
	var config firehose.Config
	for _, path := range origin.Paths() {
		config.Resources = append(config.Resources, resource.Spec{URI: server.URL + path})
	}

	for n := range *runs {
		fmt.Fprintf(stdout, "run %d\n", n+1)
		if err := poll(ctx, *folder, config, int64(*polls*len(config.Resources)), stdout); err != nil {
			return err
		}
	}
	v := origin.Verdict()
	return json.NewEncoder(stdout).Encode(summary{
		Runs: *runs, Polls: v.Polls, Modified: v.Modified, NotModified: v.NotModified,
		Early: v.Early, Unconditional: v.Unconditional, Impolite: v.Impolite,
	})
}

// poll is the life of one OS: it opens the store, polls until there were enough
// polls or ctx ends, and closes the store.
func poll(ctx context.Context, folder string, config firehose.Config, enough int64, stdout io.Writer) (err error) {
	store, err := customdb.Open(folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }() // whoever opens a store closes it
	config.DB = store
	canned, err := firehose.New(config)
	if err != nil {
		return err
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { // owned by this function, which waits for it by served
		defer stop()
		served <- canned.Serve(ctx)
	}()
	start := time.Now()
	if canned.Ready(ctx) == nil {
		explain(ctx, canned, config.Resources, stdout)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for canned.Stats().Polls < enough && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	stop()
	err = <-served
	stats := canned.Stats()
	fmt.Fprintf(stdout, "  %d polls in %v, %.0f %% unchanged\n", stats.Polls, time.Since(start).Round(time.Millisecond), 100*stats.NotModifiedShare())
	return err
}

// explain says for each resource what it waits for.
func explain(ctx context.Context, canned *firehose.OS, specs []resource.Spec, stdout io.Writer) {
	for _, spec := range specs {
		r, err := resource.New(spec, "")
		if err != nil {
			continue // firehose.New has accepted them all
		}
		if why, err := canned.Explain(ctx, r.ID); err == nil {
			fmt.Fprintln(stdout, " ", why)
		}
	}
}
