package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Names of measures.
const (
	idle    = "idle"
	restart = "restart"
	storm   = "storm"
)

// Names of figures, as they go from child to parent.
const (
	goroutines = "goroutines"
	memory     = "bytes"
	startMS    = "start_ms"
	stopMS     = "stop_ms"
	p50        = "p50_us"
	p99        = "p99_us"
	garbage    = "garbage"
	stormMS    = "storm_ms"
)

// measure is one kind of sample.
type measure struct {
	name    string
	title   string   // of a table, with places for {size} and {way}
	ways    []string // to fail
	floor   string   // the system that ours is set in relation to, beside suture
	figures []figure
	entry   func(system) entry
	run     func(start, sample) (map[string]float64, error)
}

// figure is a column of a table.
type figure struct{ name, heading string }

func measures() []measure {
	hold := func(s system) entry { return s.hold }
	repair := func(s system) entry { return s.repair }
	return []measure{
		{
			name: idle, title: "{size} idle services", ways: []string{""}, floor: floor, entry: hold, run: runIdle,
			figures: []figure{
				{goroutines, "goroutines each"}, {memory, "B each"}, {startMS, "start ms"}, {stopMS, "stop ms"},
			},
		},
		{
			name: restart, title: "One service, {size} restarts after {way}", ways: []string{byError, byPanic},
			floor: respawn, entry: repair, run: runRestart,
			figures: []figure{{p50, "p50 µs"}, {p99, "p99 µs"}, {garbage, "garbage B each"}},
		},
		{
			name: storm, title: "{size} services fail at once with {way}", ways: []string{byError, byPanic},
			floor: respawn, entry: repair, run: runStorm,
			figures: []figure{{stormMS, "all back after ms"}},
		},
	}
}

// findMeasure returns the measure of a name.
func findMeasure(name string) (measure, error) {
	all := measures()
	i := slices.IndexFunc(all, func(m measure) bool { return m.name == name })
	if i < 0 {
		var names []string
		for _, m := range all {
			names = append(names, m.name)
		}
		return measure{}, fmt.Errorf("measure %q is none of %s", name, strings.Join(names, ", "))
	}
	return all[i], nil
}

// runIdle holds idle services: from nothing until all were entered, what they
// hold then, and from the call for their end until the system says it has come.
func runIdle(begin start, x sample) (map[string]float64, error) {
	c := newCrowd(x.Size, nil)
	services := c.services()
	size := float64(x.Size)
	held, running := inUse(), runtime.NumGoroutine()

	at := time.Now()
	stop, err := begin(services)
	if err != nil {
		return nil, err
	}
	if err := await("start of all services", c.first); err != nil {
		return nil, err
	}
	started := time.Since(at)
	if err := c.check(1); err != nil {
		return nil, err
	}
	figures := map[string]float64{
		memory:     (float64(inUse()) - float64(held)) / size,
		goroutines: float64(runtime.NumGoroutine()-running) / size,
		startMS:    milliseconds(started),
	}

	at = time.Now()
	if err := stop(); err != nil {
		return nil, err
	}
	figures[stopMS] = milliseconds(time.Since(at))
	if err := c.checkEnded(1); err != nil {
		return nil, err
	}
	return figures, goroutinesGone(running)
}

// runRestart makes one service fail as often as the size says, and measures
// from each failure until it was entered again.
func runRestart(begin start, x sample) (map[string]float64, error) {
	f := newFlapper(x.Size, failing(x.Way))
	running := runtime.NumGoroutine()
	stop, err := begin([]service{f})
	if err != nil {
		return nil, err
	}
	if err := await("start of the service", f.first); err != nil {
		return nil, err
	}
	runtime.GC()
	close(f.gate)
	if err := await("restarts", f.done); err != nil {
		return nil, err
	}
	if err := stop(); err != nil {
		return nil, err
	}
	figures, err := f.figures()
	if err != nil {
		return nil, err
	}
	return figures, goroutinesGone(running)
}

// runStorm makes all services fail together, and measures until all were
// entered again.
func runStorm(begin start, x sample) (map[string]float64, error) {
	c := newCrowd(x.Size, failing(x.Way))
	running := runtime.NumGoroutine()
	stop, err := begin(c.services())
	if err != nil {
		return nil, err
	}
	if err := await("start of all services", c.first); err != nil {
		return nil, err
	}
	if err := c.check(1); err != nil {
		return nil, err
	}
	runtime.GC() // the garbage of the start is not the storm's

	at := time.Now()
	close(c.gate)
	if err := await("return of all services", c.again); err != nil {
		return nil, err
	}
	took := time.Since(at)
	if err := c.check(2); err != nil {
		return nil, err
	}
	if err := stop(); err != nil {
		return nil, err
	}
	if err := c.checkEnded(2); err != nil {
		return nil, err
	}
	return map[string]float64{stormMS: milliseconds(took)}, goroutinesGone(running)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// inUse is the memory of heap and stacks. Collecting twice also frees what
// waits in pools, and lets stacks shrink that grew during the start.
func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// goroutinesGone waits until there are no more goroutines than before; those
// of some systems end a little after they say so.
func goroutinesGone(before int) error {
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%d goroutines are left after the stop, and %d were there before", runtime.NumGoroutine(), before)
		}
	}
	return nil
}
