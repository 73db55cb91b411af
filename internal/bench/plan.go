package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSize bounds services, restarts, items and URLs, for memory's sake.
const maxSize = 10_000_000

// plan is what the command line asks for.
type plan struct {
	runs        int   // 0: as many as each measure says
	sizes       []int // of idle services
	restarts    int
	storm       int   // services
	waiting     []int // items
	span        time.Duration
	connections int
	urls        []int
	every       time.Duration
	window      time.Duration // of samples that wait or poll
	fleetWindow time.Duration
	profiles    string // a folder; empty: none are made
	measures    []measure
	systems     []system
}

// block is the samples of one table.
type block struct {
	measure measure
	systems []system
	runs    int
	sample  sample // all that the samples have in common
}

// results are the readings of a block, by system.
type results struct {
	block
	readings map[string][]reading
}

func parse(args []string, log io.Writer) (*plan, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(log)
	p := &plan{}
	flags.IntVar(&p.runs, "runs", 0, "samples of each figure, of which the median is printed (default "+defaultRuns()+")")
	flags.IntVar(&p.restarts, "restarts", 20_000, "restarts in a sample of "+restart)
	flags.IntVar(&p.storm, "storm", 10_000, "services in a sample of "+storm)
	p.sizes, p.waiting, p.urls = []int{1000, 10_000, 100_000}, []int{100_000, 1_000_000}, []int{10_000, 100_000}
	flags.Func("sizes", "numbers of idle services (default 1000,10000,100000)", numbers(&p.sizes))
	flags.Func("waiting", "numbers of items that wait (default 100000,1000000)", numbers(&p.waiting))
	flags.Func("urls", "numbers of URLs in a sample of "+fleet+" (default 10000,100000)", numbers(&p.urls))
	flags.IntVar(&p.connections, "connections", 16, "connections in a sample of "+onePoll)
	flags.DurationVar(&p.span, "span", time.Minute, "how long each item waits, in a sample of "+waiting)
	flags.DurationVar(&p.every, "every", 10*time.Second, "interval of each URL, in a sample of "+fleet)
	flags.DurationVar(&p.window, "window", 3*time.Second, "how long a sample of "+waiting+" or "+onePoll+" is measured")
	flags.DurationVar(&p.fleetWindow, "fleet-window", 20*time.Second, "how long a sample of "+fleet+" is measured")
	flags.StringVar(&p.profiles, "profiles", "", "`folder` that takes profiles of processor, locks and heap, of the samples of "+
		strings.Join([]string{waiting, onePoll, fleet}, ", ")+" (default none)")
	only := flags.String("only", "", "measures, of "+strings.Join(measureNames(), ", ")+" (default all)")
	peers := flags.String("peers", "", "systems beside ours, of "+strings.Join(names(others()), ", ")+" (default all)")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%q is not a flag", flags.Arg(0))
	}
	if err := p.validate(); err != nil {
		return nil, err
	}
	if err := p.choose(*only, *peers); err != nil {
		return nil, err
	}
	return p, nil
}

// numbers parses a list of them, and puts them in order.
func numbers(list *[]int) func(string) error {
	return func(text string) error {
		*list = nil
		for number := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(number)
			if err != nil {
				return fmt.Errorf("%q is not a number", number)
			}
			*list = append(*list, n)
		}
		slices.Sort(*list)
		*list = slices.Compact(*list)
		return nil
	}
}

// defaultRuns says how many samples of each figure there are by default.
func defaultRuns() string {
	var list []string
	for _, m := range measures() {
		list = append(list, fmt.Sprintf("%d of %s", m.runs, m.name))
	}
	return strings.Join(list, ", ")
}

func (p *plan) validate() error {
	if p.runs < 0 || p.runs > maxSize {
		return fmt.Errorf("-runs: %d is not between 0 (the default) and %d", p.runs, maxSize)
	}
	for _, f := range []struct {
		name   string
		values []int
	}{
		{"sizes", p.sizes}, {"restarts", []int{p.restarts}}, {"storm", []int{p.storm}},
		{"waiting", p.waiting}, {"urls", p.urls}, {"connections", []int{p.connections}},
	} {
		for _, n := range f.values {
			if n < 1 || n > maxSize {
				return fmt.Errorf("-%s: %d is not between 1 and %d", f.name, n, maxSize)
			}
		}
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{{"span", p.span}, {"every", p.every}, {"window", p.window}, {"fleet-window", p.fleetWindow}} {
		if f.value < minTime || f.value > maxTime {
			return fmt.Errorf("-%s: %v is not between %v and %v", f.name, f.value, minTime, maxTime)
		}
	}
	return nil
}

// Bounds of what samples may take, so that they end in time.
const (
	minTime = 10 * time.Millisecond
	maxTime = patience
)

// choose takes measures and systems by their names; none named means all.
func (p *plan) choose(only, peers string) error {
	p.measures, p.systems = measures(), systems()
	if only != "" {
		p.measures = nil
		for name := range strings.SplitSeq(only, ",") {
			m, err := findMeasure(name)
			if err != nil {
				return fmt.Errorf("-only: %w", err)
			}
			p.measures = append(p.measures, m)
		}
	}
	if peers != "" {
		wanted := strings.Split(peers, ",")
		for _, name := range wanted {
			if _, err := find(name); err != nil {
				return fmt.Errorf("-peers: %w", err)
			}
		}
		p.systems = slices.DeleteFunc(p.systems, func(s system) bool {
			return s.name != ours && !slices.Contains(wanted, s.name)
		})
	}
	return nil
}

// others lists the systems beside ours.
func others() []system {
	return slices.DeleteFunc(systems(), func(s system) bool { return s.name == ours })
}

// blocks lists the tables to be filled.
func (p *plan) blocks() []block {
	var all []block
	for _, m := range p.measures {
		x := sample{Measure: m.name, Profiles: p.profiles}
		var sizes []int
		switch m.name {
		case idle:
			sizes = p.sizes
		case restart:
			sizes = []int{p.restarts}
		case storm:
			sizes = []int{p.storm}
		case waiting:
			sizes, x.Span, x.Window = p.waiting, p.span, p.window
		case onePoll:
			sizes, x.Window = []int{p.connections}, p.window
		case fleet:
			sizes, x.Every, x.Window = p.urls, p.every, p.fleetWindow
		}
		for _, x.Size = range sizes {
			compared := slices.DeleteFunc(slices.Clone(p.systems), func(s system) bool { return !m.entry(s).compared(x.Size) })
			for _, x.Way = range m.ways {
				all = append(all, block{measure: m, systems: compared, runs: cmp.Or(p.runs, m.runs), sample: x})
			}
		}
	}
	return all
}

// run takes the samples one after the other. Those of one table are taken in
// rounds of one sample for each system, shuffled, so that what else the machine
// does falls on all alike. It tells log of each.
func (p *plan) run(ctx context.Context, log io.Writer) ([]results, error) {
	var all []results
	order := rand.New(rand.NewPCG(1, 2)) // the same each time
	for _, b := range p.blocks() {
		r := results{block: b, readings: make(map[string][]reading)}
		for round := range b.runs {
			for _, i := range order.Perm(len(b.systems)) {
				x := b.sample
				x.System = b.systems[i].name
				got, err := x.spawn(ctx)
				if err != nil {
					return nil, err
				}
				fmt.Fprintf(log, "%d/%d %v: %s\n", round+1, b.runs, x, b.measure.line(got))
				r.readings[x.System] = append(r.readings[x.System], got)
			}
		}
		all = append(all, r)
	}
	return all, nil
}

// line is a reading in one line.
func (m measure) line(r reading) string {
	if r.died {
		return dead
	}
	parts := make([]string, len(m.figures))
	for i, f := range m.figures {
		parts[i] = f.heading + " " + number(r.Figures[f.name])
	}
	return strings.Join(parts, ", ")
}
