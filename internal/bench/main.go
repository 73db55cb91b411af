// Command bench measures what the library is made of, and all of it end to end,
// beside what a user would pick instead, and prints the figures as Markdown
// tables: supervision, waiting, one poll, and many URLs at one origin. In the root
// of the workspace:
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
	if code, ok := role(); ok {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(parent(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// role plays the part that the environment gives to a process that this program
// has started, and returns its exit code.
func role() (code int, ok bool) {
	if text, ok := os.LookupEnv(originVariable); ok { // first: an origin is the child of a sample
		return serveOrigin(text, os.Stdin, os.Stdout, os.Stderr), true
	}
	if text, ok := os.LookupEnv(sampleVariable); ok {
		return child(text, os.Stdout, os.Stderr), true
	}
	return 0, false
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
