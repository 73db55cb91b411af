// Command prove runs a long proof of the project and prints its result as one
// line of JSON, with the seed and the commit:
//
//	go run ./internal/prove sim           seven simulated days of 1,000 resources
//	go run ./internal/prove politeness    seven simulated days of 20,000 resources, seven dialects
//	go run ./internal/prove supervise     1,000 random trees of services against a model
//	go run ./internal/prove kill          100 times SIGKILL of a polling process
//	go run ./internal/prove cassandra     db/cassandra at real nodes, one and three, for longer
//	go run ./internal/prove histories     histories of leases at all stores under faults, checked with porcupine
//	go run ./internal/prove soak          20 minutes of a million resources over real sockets
//	go run ./internal/prove growth        what a poll costs among ten thousand and among a million
//	go run ./internal/prove herd          a million resources that are due at once, in virtual time
//	go run ./internal/prove rest          ten million resources at rest in memory
//	go run ./internal/prove fuzz          each fuzz target for two minutes
//	go run ./internal/prove mutants       package resource, changed in 1,600 places, against its tests
//
// Each is the long form of a test that runs with the others, through the same
// code. The exit status is 0 if what had to hold has held.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "prove:", err)
		}
		os.Exit(1)
	}
}

// names are those of all proofs.
const names = "sim, politeness, supervise, kill, soak, growth, herd, rest, cassandra, histories, fuzz, mutants"

// proof is one long proof: a test of the project with other arguments.
type proof struct {
	pkg, test, mark string
	args            func(seed uint64, o options) []string
	tags            string
	servers         func(o options) bool // whether it runs beside real servers; nil: no
}

type options struct {
	hours     float64
	resources int
	times     int
	seeds     int
	fuzz      time.Duration
	files     string

	length, interval, grace time.Duration
	store, fleets           string
}

func proofs() map[string]proof {
	return map[string]proof{
		"sim": {pkg: "./firehose", test: "TestSimulation", mark: "simulation: ", args: func(seed uint64, o options) []string {
			return []string{fmt.Sprintf("-sim.hours=%v", o.hours), fmt.Sprintf("-sim.seed=%d", seed), fmt.Sprintf("-sim.resources=%d", cmp.Or(o.resources, 1000))}
		}},
		"politeness": {pkg: "./firehose", test: "TestPoliteness", mark: "politeness: ", args: func(seed uint64, o options) []string {
			return []string{fmt.Sprintf("-polite.hours=%v", o.hours), fmt.Sprintf("-polite.seed=%d", seed), fmt.Sprintf("-polite.resources=%d", cmp.Or(o.resources, 20_000))}
		}},
		"supervise": {pkg: "./scheduler", test: "TestRandom", mark: "random: ", args: func(seed uint64, o options) []string {
			return []string{fmt.Sprintf("-random.seeds=%d", o.seeds), fmt.Sprintf("-random.first=%d", seed)}
		}},
		"soak": {pkg: "./firehose", test: "TestSoak", mark: "soak: ", args: func(seed uint64, o options) []string {
			return []string{
				fmt.Sprintf("-soak.resources=%d", cmp.Or(o.resources, 1_000_000)), fmt.Sprintf("-soak.for=%v", o.length),
				fmt.Sprintf("-soak.interval=%v", o.interval), fmt.Sprintf("-soak.grace=%v", o.grace), fmt.Sprintf("-soak.seed=%d", seed),
			}
		}},
		"growth": {pkg: "./firehose", test: "TestGrowth", mark: "growth: ", args: func(_ uint64, o options) []string {
			return []string{"-growth.small=10000", fmt.Sprintf("-growth.large=%d", cmp.Or(o.resources, 1_000_000)), "-growth.cases=" + o.fleets}
		}},
		"herd": {pkg: "./firehose", test: "TestHerd", mark: "herd: ", args: func(seed uint64, o options) []string {
			return []string{fmt.Sprintf("-herd.resources=%d", cmp.Or(o.resources, 1_000_000)), fmt.Sprintf("-herd.seed=%d", seed)}
		}},
		"rest": {pkg: "./firehose", test: "TestRest", mark: "rest: ", args: func(_ uint64, o options) []string {
			return []string{fmt.Sprintf("-rest.resources=%d", cmp.Or(o.resources, 10_000_000)), "-rest.db=" + o.store}
		}},
		"histories": {
			pkg: "./internal/histories", test: "TestHistories", mark: "histories: ", tags: "integration",
			servers: func(o options) bool { return o.store == "none" || strings.HasPrefix(o.store, "cassandra") },
			args: func(seed uint64, o options) []string {
				if o.store == "none" { // that is for rest
					o.store = ""
				}
				return []string{fmt.Sprintf("-histories.times=%d", cmp.Or(o.times, 20)), fmt.Sprintf("-histories.seed=%d", seed), "-histories.store=" + o.store}
			},
		},
		"kill": {pkg: "./internal/integration", test: "TestKill", mark: "kill: ", tags: "integration", args: func(seed uint64, o options) []string {
			if o.store == "none" { // that is for rest
				o.store = "file"
			}
			return []string{fmt.Sprintf("-kill.times=%d", cmp.Or(o.times, 100)), fmt.Sprintf("-kill.seed=%d", seed), "-kill.store=" + o.store}
		}},
	}
}

// result is the line that prove prints.
type result struct {
	Proof   string          `json:"proof"`
	Held    bool            `json:"held"`
	Seed    uint64          `json:"seed,omitempty"`
	Commit  string          `json:"commit"`
	Seconds float64         `json:"seconds"`
	Figures json.RawMessage `json:"figures,omitempty"`
}

func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("prove "+strings.ReplaceAll(names, ", ", "|"), flag.ContinueOnError)
	flags.SetOutput(stderr)
	var o options
	seed := flags.Uint64("seed", 0, "seed (default: random)")
	flags.Float64Var(&o.hours, "hours", 7*24, "sim, politeness: simulated hours")
	flags.IntVar(&o.resources, "resources", 0, "sim, politeness, soak, growth, herd, rest: resources (default 1000, 20,000, three times a million, and ten million)")
	flags.IntVar(&o.times, "times", 0, "kill: how often (default 100); histories: how many times as many as go test makes (default 20)")
	flags.IntVar(&o.seeds, "seeds", 1000, "supervise: trees, each with the next seed")
	flags.DurationVar(&o.fuzz, "time", 2*time.Minute, "fuzz: for each target")
	flags.DurationVar(&o.length, "for", 20*time.Minute, "soak: how long")
	flags.DurationVar(&o.interval, "interval", 5*time.Minute, "soak: between two polls of a resource, whole seconds")
	flags.DurationVar(&o.grace, "grace", time.Second, "soak: how late a poll may come")
	flags.StringVar(&o.fleets, "fleets", "at rest", "growth: some of: at rest, with a store, in line, many hosts")
	flags.StringVar(&o.store, "store", "none", "rest: none, memory for one in the memory of the process, or file; kill: file (its default) or pebble; histories: memory, file, pebble or cassandra (default: all)")
	flags.StringVar(&o.files, "files", "", "mutants: only files that match; fuzz: only targets, as cannedos/resource.FuzzLink: a part of the run")
	if len(args) == 0 {
		flags.Usage()
		return errors.New("name a proof: " + names)
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if *seed == 0 {
		*seed = rand.Uint64N(1<<53-1) + 1
	}
	start := time.Now()
	r := result{Proof: args[0], Commit: commit()}
	var err error
	switch args[0] {
	case "fuzz":
		r.Figures, err = fuzz(o.fuzz, o.files, stderr)
	case "cassandra":
		r.Figures, err = cassandra(stderr)
	case "mutants":
		r.Figures, err = mutants(o.files, stderr)
	default:
		p, ok := proofs()[args[0]]
		if !ok {
			return fmt.Errorf("proof %q: want one of %s", args[0], names)
		}
		r.Seed = *seed
		r.Figures, err = p.run(*seed, o, stderr)
	}
	r.Held = err == nil
	r.Seconds = time.Since(start).Round(10 * time.Millisecond).Seconds()
	line, err2 := json.Marshal(r)
	if err2 != nil {
		return err2
	}
	fmt.Fprintf(stdout, "%s\n", line)
	return err
}

// run runs the test and returns the figures that it logs behind its mark.
func (p proof) run(seed uint64, o options, stderr io.Writer) (json.RawMessage, error) {
	args := []string{"test", "-count=1", "-v", "-timeout=0", "-run", "^" + p.test + "$"}
	if p.tags != "" {
		args = append(args, "-tags", p.tags)
	}
	args = append(args, p.pkg, "-args")
	args = append(args, p.args(seed, o)...)
	if p.servers != nil && p.servers(o) {
		args = append([]string{"run", "./internal/servers/with", "go"}, args...)
	}
	cmd := exec.Command("go", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, stderr), stderr
	err := cmd.Run()
	lines := bufio.NewScanner(&out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if _, figures, ok := strings.Cut(lines.Text(), p.mark); ok && json.Valid([]byte(figures)) {
			return json.RawMessage(figures), err
		}
	}
	return nil, errors.Join(err, errors.New("the test printed no figures"))
}

// fuzz runs each fuzz target of the module for a while.
func fuzz(each time.Duration, which string, stderr io.Writer) (json.RawMessage, error) {
	only, err := regexp.Compile(which)
	if err != nil {
		return nil, fmt.Errorf("-files: %w", err)
	}
	list, err := exec.Command("go", "list", "./...").Output()
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	held := map[string]bool{}
	var errs []error
	for pkg := range strings.FieldsSeq(string(list)) {
		names, err := exec.Command("go", "test", "-list", "^Fuzz", pkg).Output()
		if err != nil {
			return nil, fmt.Errorf("list targets of %s: %w", pkg, err)
		}
		for name := range strings.FieldsSeq(string(names)) {
			if !strings.HasPrefix(name, "Fuzz") || !only.MatchString(pkg+"."+name) {
				continue
			}
			cmd := exec.Command("go", "test", "-run=^$", "-fuzz=^"+name+"$", "-fuzztime="+each.String(), pkg)
			cmd.Stdout, cmd.Stderr = stderr, stderr
			err := cmd.Run()
			held[pkg+"."+name] = err == nil
			if err != nil {
				errs = append(errs, fmt.Errorf("%s.%s: %w", pkg, name, err))
			}
		}
	}
	figures, err := json.Marshal(held)
	return figures, errors.Join(append(errs, err)...)
}

// cassandra runs the tests of db/cassandra at real nodes in their long form, and
// those that have no other. The figure is how many passed.
func cassandra(stderr io.Writer) (json.RawMessage, error) {
	cmd := exec.Command("go", "run", "./internal/servers/with",
		"go", "test", "-count=1", "-v", "-timeout=0", "-tags=integration,long", "./db/cassandra/...")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, stderr), stderr
	err := cmd.Run()
	figures, err2 := json.Marshal(map[string]int{"passed": strings.Count(out.String(), "--- PASS: ")})
	return figures, errors.Join(err, err2)
}

// commit names the commit of the checkout, with a + behind it if files differ.
func commit() string {
	head, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	name := strings.TrimSpace(string(head))
	if changed, err := exec.Command("git", "status", "--porcelain").Output(); err != nil || len(changed) > 0 {
		name += "+"
	}
	return name
}
