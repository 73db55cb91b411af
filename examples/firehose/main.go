// Command firehose is the main job: it polls event timelines politely, for as
// long as it is let, and says at the end what it did.
//
// Without arguments it starts an origin of its own on a loopback socket, which
// behaves as GitHub's events API does, and polls that over real HTTP:
//
//	go run ./examples/firehose
//
// With -live it polls the real https://api.github.com/events, with the token in
// GITHUB_TOKEN if that is set, until it is interrupted. Its state is kept in a
// file, so that starting it again is no reason to ask again.
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
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
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
			fmt.Fprintln(os.Stderr, "firehose:", err)
		}
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	duration, interval, timeout time.Duration
	file                        string
	live, json, verbose         bool
	urls                        []string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("firehose", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&o.duration, "for", 0, "how long to poll (default 10s; with -live or -url until interrupted)")
	flags.StringVar(&o.file, "db", "", "`file` that keeps the state (default: in memory; with -live firehose-live.db)")
	flags.BoolVar(&o.live, "live", false, "poll the real https://api.github.com/events, with GITHUB_TOKEN if it is set")
	flags.Func("url", "poll this `URL`; may be given more than once", func(s string) error {
		o.urls = append(o.urls, s)
		return nil
	})
	flags.DurationVar(&o.interval, "interval", 0, "poll no more often than this (default: as often as the origin allows)")
	flags.DurationVar(&o.timeout, "timeout", 0, "bound of one request (default 30s; 2s at the embedded origin)")
	flags.BoolVar(&o.json, "json", false, "print what is published as JSON lines on standard output")
	flags.BoolVar(&o.verbose, "v", false, "log each poll")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: URLs are given with -url", flags.Arg(0))
	}
	if o.duration < 0 {
		return o, fmt.Errorf("-for %v: want 0 or more", o.duration)
	}
	if o.live {
		o.urls = append(o.urls, "https://api.github.com/events")
		if o.file == "" {
			o.file = "firehose-live.db"
		}
	}
	if len(o.urls) == 0 && o.duration == 0 {
		o.duration = 10 * time.Second
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	job := job{options: o, stdout: stdout, stderr: stderr}
	config := firehose.Config{
		Sink:           firehose.SinkFunc(job.show),
		Logger:         logger(stderr, o.verbose),
		RequestTimeout: o.timeout,
		Tokens:         resource.Env("GITHUB_TOKEN"),
	}
	if len(o.urls) == 0 {
		job.origin, err = startOrigin()
		if err != nil {
			return err
		}
		defer job.origin.close()
		config.Resources = resource.List(job.origin.urls...)
		if o.timeout == 0 {
			config.RequestTimeout = 2 * time.Second
		}
	} else {
		config.Resources = resource.List(o.urls...)
	}
	for i := range config.Resources {
		config.Resources[i].Interval = o.interval
	}
	if o.file != "" {
		store, err := db.OpenFile(o.file)
		if err != nil {
			return err
		}
		defer store.Close()
		config.DB = store
	}
	if o.json {
		config.Sink = firehose.Sinks(config.Sink, firehose.JSONLines(stdout))
	}
	return job.serve(ctx, config)
}

// job is one run of the program.
type job struct {
	options
	stdout, stderr io.Writer
	origin         *origin // nil where somebody else's is polled
	items          atomic.Int64
	unhealthy      []string
}

// show is the sink: it counts the events that a response holds.
func (j *job) show(_ context.Context, r *resource.Response) error {
	var events []struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(r.Body, &events) != nil {
		return nil // not a list of events: -url may name anything
	}
	j.items.Add(int64(len(events)))
	if j.origin != nil {
		for _, e := range events {
			j.origin.Published(e.ID)
		}
	}
	return nil
}

func (j *job) serve(ctx context.Context, config firehose.Config) error {
	canned, err := firehose.New(config)
	if err != nil {
		return err
	}
	if j.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, j.duration)
		defer cancel()
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	lost := make(chan int, 1)
	go func() { // owned by this function, which waits for it by lost
		j.watch(ctx, canned)
		j.unhealthy = canned.Health().Reasons
		lost <- j.lost(canned, config.Resources)
		stop()
	}()
	err = canned.Serve(serving)
	stop()
	if err != nil {
		return err
	}
	return j.report(canned.Stats(), <-lost)
}

// lost counts the resources that are in no queue.
func (j *job) lost(canned *firehose.OS, specs []resource.Spec) (n int) {
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

// watch shows the progress on one line of a terminal, until ctx ends.
func (j *job) watch(ctx context.Context, canned *firehose.OS) {
	show := !j.json && terminal(j.stderr)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if show {
				fmt.Fprint(j.stderr, "\r\x1b[K")
			}
			return
		case <-tick.C:
			if show {
				s := canned.Stats()
				fmt.Fprintf(j.stderr, "\r\x1b[K%d polls, %.0f %% unchanged, %d published with %d items, late p99 %v",
					s.Polls, 100*s.NotModifiedShare(), s.Published, j.items.Load(), s.Late.P99.Round(10*time.Microsecond))
			}
		}
	}
}

// summary is the last line on standard output. What only the oracle of the
// embedded origin can know is left out at a foreign one.
type summary struct {
	Polls       int64    `json:"polls"`
	Permitted   *int64   `json:"permitted,omitempty"`
	Modified    int64    `json:"modified"`
	NotModified int64    `json:"not_modified"`
	Items       int64    `json:"items"`
	Published   int64    `json:"published"`
	Impolite    *int64   `json:"impolite,omitempty"`
	Unknowable  *int64   `json:"unknowable,omitempty"`
	Lost        int      `json:"lost"`
	LateP99     float64  `json:"late_p99_ms"`
	Failed      int64    `json:"failed"`
	Unhealthy   []string `json:"unhealthy,omitempty"` // just before the stop
}

func (j *job) report(s firehose.Stats, lost int) error {
	v := summary{
		Polls: s.Polls, Modified: s.Outcomes[resource.Modified.String()], NotModified: s.Outcomes[resource.NotModified.String()],
		Items: j.items.Load(), Published: s.Published, Lost: lost, LateP99: float64(s.Late.P99.Microseconds()) / 1000,
		Failed: s.Outcomes[resource.Failed.String()], Unhealthy: j.unhealthy,
	}
	if j.origin != nil {
		j.origin.judge(&v)
	}
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(j.stdout, "%s\n", line); err != nil {
		return err
	}
	if lost > 0 || v.Impolite != nil && *v.Impolite > 0 {
		return fmt.Errorf("%d resources lost, %d impolite requests: neither may happen", v.Lost, deref(v.Impolite))
	}
	return nil
}

func deref(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

func logger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !terminal(w)}))
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && !strings.EqualFold(os.Getenv("TERM"), "dumb")
}
