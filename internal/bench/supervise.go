package main

import (
	"runtime"
	"time"
)

// Names of the figures of supervision.
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

// supervision lists the measures of services.
func supervision() []measure {
	repair := func(run func(start, sample) (map[string]float64, error)) func(system) entry {
		return func(s system) entry { return s.repair.by(run) }
	}
	return []measure{
		{
			name: idle, title: "{size} idle services", ways: []string{""}, beside: []string{floor, sutures}, runs: 3,
			entry: func(s system) entry { return s.hold.by(runIdle) },
			figures: []figure{
				{name: goroutines, heading: "goroutines each"}, {name: memory, heading: "B each"},
				{name: startMS, heading: "start ms"}, {name: stopMS, heading: "stop ms"},
			},
		},
		{
			name: restart, title: "One service, {size} restarts after {way}", ways: []string{byError, byPanic},
			beside: []string{respawn, sutures}, runs: 5, entry: repair(runRestart),
			figures: []figure{
				{name: p50, heading: "p50 µs"}, {name: p99, heading: "p99 µs"}, {name: garbage, heading: "garbage B each"},
			},
		},
		{
			name: storm, title: "{size} services fail at once with {way}", ways: []string{byError, byPanic},
			beside: []string{respawn, sutures}, runs: 5, entry: repair(runStorm),
			figures: []figure{{name: stormMS, heading: "all back after ms"}},
		},
	}
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
