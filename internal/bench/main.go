// Command bench measures package scheduler beside suture, dskit services,
// oklog/run and plain goroutines, and prints the figures as Markdown tables.
// In the root of the workspace:
//
//	go run ./internal/bench
//
// It is a module of its own, so that nobody who imports ours gets the others'.
// It asserts no time and no ratio, since those belong to the machine that it
// runs on; it fails if anything does not do what is being timed. README.md says
// what is measured and how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	if text, ok := os.LookupEnv(sampleVariable); ok {
		os.Exit(child(text, os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(parent(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// parent takes all the samples, each in a process of its own, and prints the
// tables. It returns the exit code.
func parent(ctx context.Context, args []string, out, log io.Writer) int {
	plan, err := parse(args, log)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(log, "bench:", err)
		return 2
	}
	results, err := plan.run(ctx, log)
	if err != nil {
		fmt.Fprintln(log, "bench:", err)
		return 1
	}
	if err := plan.write(out, results); err != nil {
		fmt.Fprintln(log, "bench:", err)
		return 1
	}
	return 0
}
