// Command supervisor is a program that uses package scheduler and nothing else
// of this project: a small print shop whose services depend on each other.
//
//	store     keeps the orders; takes a moment to open; checks in its state
//	intake    takes orders, after store; crashes now and then, and recovers
//	printer   a pool that prints them, after store; completes its work before it stops
//	web       serves /healthz, after intake and printer
//	report    a cron job: a line each second
//
// It needs nothing and ends by itself after some seconds, or on Ctrl-C:
//
//	go run ./examples/supervisor
//
// The last line on standard output is one JSON object with the figures.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lmittmann/tint"

	"github.com/cannedos/cannedos/scheduler"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "supervisor:", err)
		}
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	duration time.Duration
	listen   string
	verbose  bool
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("supervisor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&o.duration, "for", 5*time.Second, "how long to run")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "`address` of /healthz")
	flags.BoolVar(&o.verbose, "v", false, "log each change of a service")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.duration <= 0:
		return o, fmt.Errorf("-for %v: must be above zero", o.duration)
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if o.verbose {
		level = slog.LevelDebug
	}
	shop := newShop(o.listen)
	s, err := scheduler.New(scheduler.Config{
		Name:     "shop",
		Logger:   slog.New(tint.NewTextHandler(stderr, &tint.Options{Level: level, TimeFormat: "15:04:05.000"})),
		Services: shop.services(),
	})
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx)) // an interrupt ends it gently, see below
	starting, over := context.WithCancel(ctx)                       // which to wait for would be in vain once Serve is over
	served := make(chan error, 1)
	go func() {
		err := s.Serve(serving)
		over()
		served <- err
	}()
	defer stop()
	// Not Shutdown, which a Serve that has not begun yet doesn't hear of.
	fail := func(err error) error { stop(); return cmp.Or(<-served, err) }
	if err := s.AwaitStarted(starting); err != nil {
		return fail(err)
	}

	// Half-way through, the shop gets busy.
	halfway, end := time.After(o.duration/2), time.After(o.duration)
	for open := true; open; {
		select {
		case <-halfway:
			if err := s.Manager().Resize("printer", 4); err != nil {
				return fail(err)
			}
		case err := <-served: // a service ended it
			return err
		case <-ctx.Done():
			open = false
		case <-end:
			open = false
		}
	}
	printHealth(stdout, s)

	// Gently: those that come after others first, each when its work is done,
	// and whatever is not done in ten seconds the hard way.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = s.Shutdown(last) // it says what Serve says
	if err := <-served; err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(shop.figures(s))
}

// printHealth prints what the supervisor knows of its services.
func printHealth(w io.Writer, s *scheduler.Scheduler) {
	health := s.Health()
	fmt.Fprintf(w, "live %v, ready %v %s\n", health.Live, health.Ready, health.Reason)
	for _, service := range health.Services {
		fmt.Fprintf(w, "  %-16s %-12v %-10v %s\n", service.Path, service.State, service.Condition, service.Reason)
	}
	for _, status := range s.Services() {
		stats, err := s.Manager().Stats(status.Alias)
		if err == nil && stats.Operations > 0 {
			fmt.Fprintf(w, "  %-16s %d operations, %s\n", status.Path, stats.Operations, stats.Latency)
		}
	}
}
