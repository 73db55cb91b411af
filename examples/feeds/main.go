// Command feeds polls RSS, Atom and JSON feeds and writes each new edition, as
// it came, to a folder. Without arguments it starts a handler of its own with
// three small feeds and polls that over real HTTP for some seconds:
//
//	go run ./examples/feeds
//
// With a file of URLs, one a line, it polls those until it is interrupted, each
// at most once an hour or as often as the feed itself allows, whichever is less.
// Its state is kept in a file, so that starting it again is no reason to ask
// again, and an edition that is on disk is asked for with its validators:
//
//	go run ./examples/feeds -file feeds.txt -out editions
//
// The last line on standard output is one JSON object with the figures.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lmittmann/tint"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "feeds:", err)
		}
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	file, out, db      string
	duration, interval time.Duration
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("feeds", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.file, "file", "", "`file` with one URL a line (default: three embedded feeds)")
	flags.StringVar(&o.out, "out", "feeds.out", "`folder` for the editions")
	flags.StringVar(&o.db, "db", "", "`file` that keeps the state (default: feeds.db with -file, else in memory)")
	flags.DurationVar(&o.duration, "for", 0, "how long to poll (default: with -file until interrupted, else 5s)")
	flags.DurationVar(&o.interval, "interval", 0, "poll a feed no more often than this (default: with -file 1h, else 1s)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: URLs are given in a file with -file", flags.Arg(0))
	}
	if o.duration < 0 {
		return o, fmt.Errorf("-for %v: want 0 or more", o.duration)
	}
	defaults := options{db: "feeds.db", interval: time.Hour}
	if o.file == "" {
		defaults = options{duration: 5 * time.Second, interval: time.Second}
	}
	if o.db == "" {
		o.db = defaults.db
	}
	if o.duration == 0 {
		o.duration = defaults.duration
	}
	if o.interval == 0 {
		o.interval = defaults.interval
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	config := firehose.Config{
		Logger: slog.New(tint.NewTextHandler(stderr, &tint.Options{Level: slog.LevelWarn, TimeFormat: time.TimeOnly, NoColor: true})),
	}
	if o.file == "" {
		server := httptest.NewServer(newFeeds(time.Now()))
		defer server.Close()
		config.Resources = resource.List(server.URL+"/rss.xml", server.URL+"/atom.xml", server.URL+"/feed.json")
	} else if config.Resources, err = read(o.file); err != nil {
		return err
	}
	for i := range config.Resources {
		config.Resources[i].Interval = o.interval
	}
	fmt.Fprintf(stdout, "%d feeds, each at most every %v\n", len(config.Resources), o.interval)

	editions, err := openArchive(o.out, stdout)
	if err != nil {
		return err
	}
	defer editions.close()
	config.Sink = editions
	if o.db != "" {
		store, err := db.OpenFile(o.db)
		if err != nil {
			return err
		}
		defer store.Close()
		config.DB = store
	}
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	canned, err := firehose.New(config)
	if err != nil {
		return err
	}
	waits, err := poll(ctx, canned, config.Resources)
	if err != nil {
		return err
	}
	for _, wait := range waits {
		fmt.Fprintln(stdout, wait)
	}
	return report(stdout, canned.Stats(), len(config.Resources), o.out)
}

// read returns what a file lists.
func read(name string) ([]resource.Spec, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var specs []resource.Spec
	for spec, err := range firehose.ReadSpecs(file) {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		specs = append(specs, spec)
	}
	if len(specs) == 0 {
		return nil, fmt.Errorf("%s: no URL in it", name)
	}
	return specs, nil
}

// poll serves until ctx ends, and says then what each feed waits for.
func poll(ctx context.Context, canned *firehose.OS, specs []resource.Spec) (waits []firehose.Explanation, err error) {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	served := make(chan error, 1)
	go func() { served <- canned.Serve(serving) }() // this function waits for it by served
	select {
	case <-ctx.Done():
	case err := <-served:
		return nil, err // it could not go on
	}
	for _, spec := range specs {
		r, err := resource.New(spec, "")
		if err != nil {
			continue // firehose.New has accepted them all
		}
		if wait, err := canned.Explain(serving, r.ID); err == nil {
			waits = append(waits, wait)
		}
	}
	stop()
	return waits, <-served
}

// summary is the last line on standard output.
type summary struct {
	Feeds     int    `json:"feeds"`
	Polls     int64  `json:"polls"`
	New       int64  `json:"new"`
	Unchanged int64  `json:"unchanged"`
	Other     int64  `json:"other"` // failures, limits, redirects to elsewhere
	Kept      int64  `json:"kept"`  // new editions that are on disk
	Out       string `json:"out"`
}

func report(stdout io.Writer, s firehose.Stats, feeds int, out string) error {
	v := summary{
		Feeds: feeds, Polls: s.Polls, New: s.Outcomes[resource.Modified.String()],
		Unchanged: s.Outcomes[resource.NotModified.String()], Kept: s.Published, Out: out,
	}
	v.Other = v.Polls - v.New - v.Unchanged
	return json.NewEncoder(stdout).Encode(v)
}
