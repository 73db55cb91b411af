package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// dead stands where a panic ends the process, which a sample has shown.
const dead = "process dies"

// write prints the tables.
func (p *plan) write(out io.Writer, all []results) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Side by side\n\n%s\n\n", p.method())
	for _, r := range all {
		r.table(&b)
		r.ratios(&b)
	}
	growth(&b, all)
	_, err := out.Write(b.Bytes())
	return err
}

// method says what the figures were made with, and how.
func (p *plan) method() string {
	commit, versions := "unknown", []string(nil)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
		for _, d := range info.Deps {
			switch d.Path {
			case "github.com/thejerf/suture/v4", "github.com/grafana/dskit", "github.com/oklog/run",
				"github.com/RussellLuo/timingwheel", "github.com/antlabs/timer", "github.com/go-co-op/gocron/v2",
				"github.com/gocolly/colly/v2", "github.com/gregjones/httpcache", "github.com/hashicorp/go-retryablehttp":
				versions = append(versions, strings.TrimPrefix(d.Path, "github.com/")+" "+d.Version)
			}
		}
	}
	facts := []string{
		runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		fmt.Sprintf("%d cores, GOMAXPROCS %d", runtime.NumCPU(), runtime.GOMAXPROCS(0)),
		"commit " + commit,
		strings.Join(versions, ", "),
	}
	for _, name := range []string{"GOGC", "GOMEMLIMIT", "GODEBUG"} {
		if value := os.Getenv(name); value != "" {
			facts = append(facts, name+"="+value)
		}
	}
	runs := defaultRuns()
	if p.runs > 0 {
		runs = strconv.Itoa(p.runs)
	}
	return strings.Join(facts, "; ") + ". Samples of each figure: " + runs + "; the median is printed. " +
		"Each is from a fresh process, the systems in shuffled order. No system waits before a restart. " +
		"Processor time is that of the client alone."
}

func (r *results) title() string {
	way := r.sample.Way
	switch way {
	case byError:
		way = "an error"
	case byPanic:
		way = "a panic"
	}
	x := r.sample
	return strings.NewReplacer("{size}", grouped(x.Size), "{way}", way, "{every}", short(x.Every),
		"{gap}", short(x.Span/time.Duration(x.Size))).Replace(r.measure.title)
}

// short writes a duration for a title.
func short(d time.Duration) string {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			d = d.Round(unit / 10)
			break
		}
	}
	return d.String()
}

func (r *results) table(b *bytes.Buffer) {
	fmt.Fprintf(b, "## %s\n\n| system |", r.title())
	for _, f := range r.measure.figures {
		fmt.Fprintf(b, " %s |", f.heading)
	}
	b.WriteString(" |\n|---|" + strings.Repeat("---:|", len(r.measure.figures)) + "---|\n")
	for _, s := range r.systems {
		fmt.Fprintf(b, "| %s |", s.name)
		for _, f := range r.measure.figures {
			cell := dead
			if v, ok := r.median(s.name, f.name); ok {
				cell = number(v)
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		fmt.Fprintf(b, " %s |\n", r.measure.entry(s).note)
	}
	b.WriteString("\n")
}

// ratios prints how ours stands to others, and within what bounds its samples
// were.
func (r *results) ratios(b *bytes.Buffer) {
	for _, own := range []string{oursFile, ours} {
		if len(r.readings[own]) > 0 {
			r.ratiosOf(b, own)
		}
	}
}

func (r *results) ratiosOf(b *bytes.Buffer, own string) {
	fmt.Fprintf(b, "| %s | median | least | most | to %s |\n|---|---:|---:|---:|%s\n", own,
		strings.Join(r.measure.beside, " | to "), strings.Repeat("---:|", len(r.measure.beside)))
	for _, f := range r.measure.figures {
		median, ok := r.median(own, f.name)
		if !ok {
			continue
		}
		values := r.values(own, f.name)
		fmt.Fprintf(b, "| %s | %s | %s | %s |", f.heading,
			number(median), number(slices.Min(values)), number(slices.Max(values)))
		for _, other := range r.measure.beside {
			cell := "-"
			if v, ok := r.median(other, f.name); ok && v > 0 {
				cell = number(median/v) + "x"
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

// growth prints how start and stop grow from one number of idle services to the
// next.
func growth(b *bytes.Buffer, all []results) {
	sizes := slices.DeleteFunc(slices.Clone(all), func(r results) bool { return r.measure.name != idle })
	if len(sizes) < 2 {
		return
	}
	b.WriteString("## Growth\n\n| system |")
	for i, to := range sizes[1:] {
		from := sizes[i].sample.Size
		fmt.Fprintf(b, " start, %[1]s to %[2]s (%[3]sx) | stop, %[1]s to %[2]s (%[3]sx) |",
			grouped(from), grouped(to.sample.Size), number(float64(to.sample.Size)/float64(from)))
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|---:|", len(sizes)-1) + "\n")
	for _, s := range sizes[0].systems {
		fmt.Fprintf(b, "| %s |", s.name)
		for i, to := range sizes[1:] {
			for _, f := range []string{startMS, stopMS} {
				before, _ := sizes[i].median(s.name, f)
				after, _ := to.median(s.name, f)
				fmt.Fprintf(b, " %sx |", number(after/before))
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

// values lists a figure of a system in all runs.
func (r *results) values(system, figure string) []float64 {
	var list []float64
	for _, reading := range r.readings[system] {
		if !reading.died {
			list = append(list, reading.Figures[figure])
		}
	}
	return list
}

// median is false if the system was not measured, or its process died.
func (r *results) median(system, figure string) (float64, bool) {
	values := r.values(system, figure)
	if len(values) == 0 {
		return 0, false
	}
	slices.Sort(values)
	middle := len(values) / 2
	if len(values)%2 == 0 {
		return (values[middle-1] + values[middle]) / 2, true
	}
	return values[middle], true
}

// number writes three digits that count, or all of the whole ones.
func number(v float64) string {
	if v == 0 {
		return "0"
	}
	decimals := 3
	for at := 1.0; decimals > 0 && v >= at; at *= 10 {
		decimals--
	}
	whole, fraction, _ := strings.Cut(strconv.FormatFloat(v, 'f', decimals, 64), ".")
	n, err := strconv.Atoi(whole)
	switch {
	case err != nil: // infinite: no digits to group
		return whole
	case fraction == "":
		return grouped(n)
	}
	return grouped(n) + "." + fraction
}

// grouped writes a number with commas between the thousands.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
