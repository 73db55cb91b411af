// Command origin serves a fake of GitHub's events API in a process of its own
// and judges how politely it is polled; see package firehosetest.
//
// Its first line on standard output is {"url":"http://127.0.0.1:PORT"}, its
// last is the oracle's verdict, printed on SIGINT, SIGTERM, POST /_oracle/stop
// or after -for; it then exits with status 0. GET /_oracle is the verdict so
// far. POST /_oracle/killed says that the client was killed just now, or at
// the instant ?at=RFC3339. POST /_oracle/published reports published ids, one
// a line. POST /_oracle/items judges a report on the items of -replay.
//
// -replay serves a recorded stream at /events, or a made one of the same
// statistics, which -overlay makes denser and -speed faster.
//
// It listens on loopback unless -addr says otherwise, since anybody who
// reaches it can stop it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cannedos/cannedos/firehose/firehosetest"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	addr   string
	length time.Duration
	config firehosetest.Config
	replay replay
}

func parse(args []string, stderr io.Writer) (options, error) {
	var opt options
	c := &opt.config
	fs := flag.NewFlagSet("origin", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&opt.addr, "addr", "127.0.0.1:0", "`address` to listen on")
	fs.DurationVar(&opt.length, "for", 0, "stop after so long; 0: when told to")
	fs.Uint64Var(&c.Seed, "seed", 1, "seed of events and faults")
	fs.IntVar(&c.Timelines, "timelines", 10, "number of timelines, at /timelines/{n}/events")
	fs.Float64Var(&c.Rate, "rate", 1, "events per second and timeline")
	fs.Float64Var(&c.Late, "late", 0, "share of events that appear behind newer ones")
	fs.DurationVar(&c.PollInterval, "poll-interval", time.Minute, "X-Poll-Interval, whole seconds; 0: none")
	fs.DurationVar(&c.MaxAge, "max-age", 0, "max-age, whole seconds; 0: as the poll interval")
	fs.IntVar(&c.Limit, "limit", 5000, "primary limit per credential and bucket")
	fs.IntVar(&c.AnonymousLimit, "anonymous-limit", 0, "the same without credential; 0: as -limit")
	fs.DurationVar(&c.Window, "window", time.Hour, "length of a rate limit window, whole seconds")
	fs.IntVar(&c.Buckets, "buckets", 1, "number of values of X-RateLimit-Resource")
	fs.BoolVar(&c.TooManyRequests, "429", false, "limits answer 429 instead of 403")
	fs.Float64Var(&c.Secondary, "secondary", 0, "probability of a secondary limit per request")
	fs.DurationVar(&c.SecondaryWait, "secondary-wait", time.Minute, "its Retry-After, whole seconds")
	fs.Func("secondary-form", "form of its Retry-After: seconds, date or none", func(s string) error {
		form, ok := map[string]firehosetest.RetryForm{
			"seconds": firehosetest.RetrySeconds, "date": firehosetest.RetryDate, "none": firehosetest.RetryNone,
		}[s]
		if !ok {
			return errors.New("must be seconds, date or none")
		}
		c.SecondaryForm = form
		return nil
	})
	fs.IntVar(&c.Concurrency, "concurrency", 100, "cap of requests in flight per credential")
	fs.DurationVar(&c.Skew, "skew", 0, "added to the origin's clock")
	fs.DurationVar(&c.Unread, "unread", 0, "answers so shortly before a kill may be unread; 0: 50ms")
	fs.Func("dialect", "how limits are told: github, gitlab, ietf, three-headers, discord, retry-after or cache-control", func(s string) (err error) {
		c.Dialect, err = firehosetest.DialectNamed(s)
		return err
	})
	fs.Func("host", "`name=dialect` of a host name that tells its limits otherwise; may be repeated", func(s string) (err error) {
		name, dialect, _ := strings.Cut(s, "=")
		h := firehosetest.Host{Name: name}
		h.Dialect, err = firehosetest.DialectNamed(dialect)
		c.Hosts = append(c.Hosts, h)
		return err
	})
	opt.replay.flags(fs)
	fs.Func("faults", "probabilities, such as reset=0.01,truncate=0.01,slow=0.01,503=0.02", func(s string) (err error) {
		c.Faults, err = parseFaults(s)
		return err
	})
	if err := fs.Parse(args); err != nil {
		return opt, err
	}
	if fs.NArg() > 0 {
		return opt, fmt.Errorf("origin: argument %q: flags only", fs.Arg(0))
	}
	if opt.length < 0 {
		return opt, fmt.Errorf("origin: -for %v: must not be negative", opt.length)
	}
	return opt, opt.replay.check()
}

func parseFaults(s string) ([]firehosetest.Fault, error) {
	kinds := map[string]firehosetest.Kind{
		"secondary": firehosetest.Secondary, "slow": firehosetest.Slow, "truncate": firehosetest.Truncate,
		"reset": firehosetest.Reset, "endless": firehosetest.Endless, "huge": firehosetest.Huge,
		"login": firehosetest.LoginPage, "redirect": firehosetest.Redirect,
	}
	var faults []firehosetest.Fault
	for part := range strings.SplitSeq(s, ",") {
		name, text, _ := strings.Cut(part, "=")
		probability, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%q: must be kind=probability", part)
		}
		step := firehosetest.Step{Kind: kinds[name]}
		if step.Kind == firehosetest.Normal {
			step.Kind = firehosetest.Status
			if step.Status, err = strconv.Atoi(name); err != nil {
				return nil, fmt.Errorf("%q: must be secondary, slow, truncate, reset, endless, huge, login, redirect or a status", name)
			}
		}
		faults = append(faults, firehosetest.Fault{Probability: probability, Step: step})
	}
	return faults, nil
}

// run serves until the context ends, -for is over or a request stops it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opt, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if opt.config.Replay, err = opt.replay.load(opt.config.Seed, opt.config.Late); err != nil {
		return err
	}
	origin, err := firehosetest.New(opt.config)
	if err != nil {
		return err
	}
	// Zero in the configuration is a default; of a flag it means zero.
	if opt.config.Rate == 0 {
		err = origin.SetRate(0)
	}
	if opt.config.PollInterval == 0 {
		err = errors.Join(err, origin.SetPollInterval(0))
	}
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", opt.addr)
	if err != nil {
		return fmt.Errorf("origin: listen on %s: %w", opt.addr, err)
	}
	if opt.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, opt.length)
		defer cancel()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	mux := http.NewServeMux()
	mux.Handle("/", origin)
	mux.HandleFunc("POST /_oracle/stop", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		stop()
	})
	out := json.NewEncoder(stdout)
	if err := out.Encode(map[string]string{"url": "http://" + listener.Addr().String()}); err != nil {
		_ = listener.Close()
		return fmt.Errorf("origin: write address: %w", err)
	}
	if err := serve(ctx, listener, mux); err != nil {
		return err
	}
	if err := out.Encode(origin.Verdict()); err != nil {
		return fmt.Errorf("origin: write verdict: %w", err)
	}
	return nil
}

// grace is how long answers in flight may take once the server stops.
const grace = time.Second

// serve owns the goroutine of the server and waits for it.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("origin: serve: %w", err)
	case <-ctx.Done():
	}
	finish, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), grace, errors.New("origin: answers in flight took too long"))
	defer cancel()
	if server.Shutdown(finish) != nil {
		_ = server.Close() // cuts what is endless or slow
	}
	<-served
	return nil
}
