package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// maxSize bounds services and restarts, for memory's sake.
const maxSize = 1_000_000

// plan is what the command line asks for.
type plan struct {
	runs     int
	sizes    []int // of idle services
	restarts int
	storm    int // services
	measures []measure
	systems  []system
}

// block is the samples of one table.
type block struct {
	measure measure
	way     string
	size    int
	systems []system
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
	flags.IntVar(&p.runs, "runs", 5, "samples of each figure, of which the median is printed")
	flags.IntVar(&p.restarts, "restarts", 20_000, "restarts in a sample of "+restart)
	flags.IntVar(&p.storm, "storm", 10_000, "services in a sample of "+storm)
	sizes := flags.String("sizes", "1000,10000,100000", "numbers of idle services")
	only := flags.String("only", "", "measures, of idle, restart and storm (default all)")
	peers := flags.String("peers", "", "systems beside ours, of "+strings.Join(names(others()), ", ")+" (default all)")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%q is not a flag", flags.Arg(0))
	}
	for size := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil {
			return nil, fmt.Errorf("-sizes: %q is not a number", size)
		}
		p.sizes = append(p.sizes, n)
	}
	slices.Sort(p.sizes)
	p.sizes = slices.Compact(p.sizes)
	for _, f := range []struct {
		name   string
		values []int
	}{{"runs", []int{p.runs}}, {"sizes", p.sizes}, {"restarts", []int{p.restarts}}, {"storm", []int{p.storm}}} {
		for _, n := range f.values {
			if n < 1 || n > maxSize {
				return nil, fmt.Errorf("-%s: %d is not between 1 and %d", f.name, n, maxSize)
			}
		}
	}
	if err := p.choose(*only, *peers); err != nil {
		return nil, err
	}
	return p, nil
}

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
		sizes := p.sizes
		switch m.name {
		case restart:
			sizes = []int{p.restarts}
		case storm:
			sizes = []int{p.storm}
		}
		compared := slices.DeleteFunc(slices.Clone(p.systems), func(s system) bool { return m.entry(s).start == nil })
		for _, size := range sizes {
			for _, way := range m.ways {
				all = append(all, block{measure: m, way: way, size: size, systems: compared})
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
		for round := range p.runs {
			for _, i := range order.Perm(len(b.systems)) {
				x := sample{System: b.systems[i].name, Measure: b.measure.name, Way: b.way, Size: b.size}
				got, err := x.spawn(ctx)
				if err != nil {
					return nil, err
				}
				fmt.Fprintf(log, "%d/%d %v: %s\n", round+1, p.runs, x, b.measure.line(got))
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
