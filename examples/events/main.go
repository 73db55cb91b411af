// Command events reads GitHub's public events as a stream of items: each once, in
// order, and with a word for it where some may have been missed.
//
// Without arguments it starts an origin of its own on a loopback socket, which
// shows a window of 300 events as GitHub does, 86 new ones a second, and may be
// polled once a second:
//
//	go run ./examples/events
//
// With -times 400 ten times as many come in as the window can show, and the
// program says how many it must have missed. With -live it reads the real
// https://api.github.com/events, with the token in GITHUB_TOKEN if that is set,
// until it is interrupted; what it has seen is kept in events-live.db.
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
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/feeds"
	"github.com/cannedos/cannedos/firehose/firehosetest"
	"github.com/cannedos/cannedos/resource"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "events:", err)
		}
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	duration time.Duration
	times    int
	live     bool
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("events", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&o.duration, "for", 0, "how long to read (default: with -live until interrupted, else 10s)")
	flags.IntVar(&o.times, "times", 40, "how many events the embedded origin shows, as a multiple of 2.1 a second")
	flags.BoolVar(&o.live, "live", false, "read the real https://api.github.com/events, with GITHUB_TOKEN if it is set")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.duration < 0:
		return o, fmt.Errorf("-for %v: want 0 or more", o.duration)
	case o.times < 1 || o.times > 1000:
		return o, fmt.Errorf("-times %d: want 1 to 1000", o.times)
	case o.duration == 0 && !o.live:
		o.duration = 10 * time.Second
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	events, err := firehose.NewEvents(firehose.EventsConfig[feeds.Event]{Reader: feeds.GitHub()})
	if err != nil {
		return err
	}
	config := firehose.Config{Sink: events, Tokens: resource.Env("GITHUB_TOKEN")}
	var fake *origin
	if o.live {
		store, err := db.OpenFile("events-live.db")
		if err != nil {
			return err
		}
		defer store.Close()
		config.DB = store
		config.Resources = resource.List("https://api.github.com/events?per_page=100")
	} else {
		if fake, err = startOrigin(o.times); err != nil {
			return err
		}
		defer fake.close()
		config.Resources = resource.List(fake.url)
		config.RequestTimeout = 2 * time.Second
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
	served := make(chan error, 1)
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() { // this function waits for it by served
		defer stop() // the last batch is taken after the stop
		served <- canned.Serve(ctx)
	}()
	report := read(reading, events, stdout)
	if err := <-served; err != nil {
		return err
	}
	return summarize(stdout, events.Stats(), fake, report)
}

// read takes batches until ctx ends.
func read(ctx context.Context, events *firehose.Events[feeds.Event], stdout io.Writer) (report firehosetest.ItemReport) {
	for batch, err := range events.All(ctx) {
		if err != nil {
			return report // nothing comes any more
		}
		if gap := batch.Gap; gap != nil {
			fmt.Fprintln(stdout, "gap:", gap)
			report.Gaps = append(report.Gaps, firehosetest.ReportedGap{From: gap.From, To: gap.To, Estimate: gap.Estimate})
		}
		types := map[string]int{}
		for _, item := range batch.Items {
			types[item.Value.Type]++
			report.Published = append(report.Published, firehosetest.Publication{ID: item.ID})
		}
		fmt.Fprintf(stdout, "%s: %d new, %d of them pushes\n", batch.At.Format("15:04:05.000"), len(batch.Items), types["PushEvent"])
	}
	return report
}

// summary is the last line on standard output. What only the oracle of the
// embedded origin can know is left out at the real one.
type summary struct {
	firehose.EventsStats
	Requests   *int64 `json:"requests,omitempty"`
	Impolite   *int64 `json:"impolite,omitempty"`
	Shown      *int64 `json:"shown,omitempty"`       // items that were on any page
	NeverShown *int64 `json:"never_shown,omitempty"` // and that were on none
	Lost       *int64 `json:"lost,omitempty"`        // shown and not taken
	Untold     *int64 `json:"untold,omitempty"`      // never shown and in no gap: where the last reading was cut, the next one would tell
}

func summarize(stdout io.Writer, stats firehose.EventsStats, fake *origin, report firehosetest.ItemReport) error {
	s := summary{EventsStats: stats}
	if fake == nil {
		return json.NewEncoder(stdout).Encode(s)
	}
	report.Slack = interval / 3
	v, items := fake.Verdict(), fake.Items(report)
	s.Requests, s.Impolite, s.Shown, s.NeverShown = new(v.Requests), new(v.Impolite), new(items.Shown), new(items.NeverShown)
	s.Lost, s.Untold = new(items.Lost+items.LostInGap), new(items.Silent)
	if err := json.NewEncoder(stdout).Encode(s); err != nil {
		return err
	}
	if *s.Impolite > 0 || *s.Lost > 0 || *s.Untold > 0 && s.Cut == 0 {
		return fmt.Errorf("%d impolite requests, %d items lost, %d in silence: none of that may happen", *s.Impolite, *s.Lost, *s.Untold)
	}
	return nil
}
