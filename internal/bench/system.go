package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// service is what every system runs. They all get the same values, made before
// anything is measured.
type service interface {
	Serve(ctx context.Context) error
	// String is a name, unique among the services of one sample.
	String() string
}

// start makes a system run services. It returns when the system says that they
// are started, if it knows, else at once; whoever measures waits until all of
// them were entered. stop returns when the system says that all have ended. Its
// error is that something was not as measured: a pause between restarts, say.
type start func(services []service) (stop func() error, err error)

// system is one of those compared: a row of the tables.
type system struct {
	name   string
	hold   supervised // services that do not fail
	repair supervised // services that fail: each is started again at once
	// dies: a panic in a service ends the process, which a sample proves.
	dies bool

	wait  entry // items that wait for their instants
	poll  entry // URLs, one after the other, as fast as it goes
	fleet entry // many URLs, each at its interval
}

// supervised is how a system runs services.
type supervised struct {
	start start  // nil: it can't
	note  string // what to know of the figures; may be empty
}

// entry is how a system is measured in one of the measures.
type entry struct {
	take func(sample) (map[string]float64, error) // nil: not compared
	note string                                   // what to know of the figures; may be empty
	most int                                      // not compared at larger sizes; 0: at all
}

// by is the entry of a measure of services.
func (v supervised) by(run func(start, sample) (map[string]float64, error)) entry {
	if v.start == nil {
		return entry{}
	}
	return entry{take: func(x sample) (map[string]float64, error) { return run(v.start, x) }, note: v.note}
}

// compared says whether a system is measured at a size.
func (e entry) compared(size int) bool { return e.take != nil && (e.most == 0 || size <= e.most) }

// Names of systems that others are set in relation to.
const (
	ours      = "cannedos"
	oursFile  = "cannedos+db.File"
	floor     = "goroutines+ctx"
	respawn   = "respawn"
	sutures   = "suture"
	bare      = "net/http"
	bareFleet = "wheel+net/http"
	afterFunc = "time.AfterFunc"
	heaped    = "container/heap"
)

// systems lists them in the order of the rows.
func systems() []system {
	return []system{
		{name: "goroutines", hold: supervised{plain, "one context for all"}},
		{name: floor, hold: supervised{plainContexts, "one context each: any could be stopped alone"}},
		{name: respawn, repair: supervised{respawning(false), "goroutines, and one that starts them again"}},
		{name: respawn + "+stack", repair: supervised{respawning(true), "the same; keeps the stack of a panic"}},
		{
			name: "oklog/run", dies: true,
			hold:   supervised{oklogGroup, "one group"},
			repair: supervised{oklogRebuilt, "has no restarts: a group for each service, made anew by hand"},
		},
		{
			name: "dskit", dies: true,
			hold:   supervised{dskitManager, "one manager"},
			repair: supervised{dskitRebuilt, "has no restarts: each service is made anew by hand"},
		},
		{
			name:   sutures,
			hold:   supervised{sutureSupervisor, "one supervisor"},
			repair: supervised{sutureSupervisor, "one supervisor, which never pauses"},
		},
		{name: "sleep", wait: entry{take: waits(sleepers), note: "a goroutine each", most: 100_000}},
		{name: afterFunc, wait: entry{take: waits(timers), note: "one each"}},
		{name: heaped, wait: entry{take: waits(heapOfItems), note: "one goroutine"}},
		{name: "timingwheel", wait: entry{take: waits(russellLuoWheel), note: "RussellLuo's, tick 1 ms"}},
		{name: "antlabs/timer", wait: entry{take: waits(antlabsWheel), note: "tick 10 ms"}},
		{name: bare, poll: entry{take: polls(httpLoop), note: "a loop for each connection"}},
		{name: bareFleet, fleet: entry{take: fleets(wheelAndWorkers), note: "a wheel of slots, 64 workers"}},
		{name: "goroutine+ticker", fleet: entry{take: fleets(tickingHTTP), note: "one each"}},
		{name: "gocron", fleet: entry{take: fleets(cronJobs), note: "a job each"}},
		{name: "colly", fleet: entry{take: fleets(tickingColly), note: "one collector, a goroutine and ticker each"}},
		{name: "httpcache+retryablehttp", fleet: entry{take: fleets(tickingCache), note: "one client, a goroutine and ticker each"}},
		{name: oursFile, poll: entry{take: polls(pollFile), note: "every poll written down"}},
		{
			name: ours,
			hold: supervised{held, "one scheduler"}, repair: supervised{repaired, "one scheduler"},
			wait:  entry{take: waits(memoryQueue), note: "queue.Memory, batches of 64, whole resources"},
			poll:  entry{take: polls(pollMemory), note: "firehose, in memory"},
			fleet: entry{take: fleets(fleetOfOurs), note: "firehose, in memory, 64 workers"},
		},
	}
}

// find returns the system of a name.
func find(name string) (system, error) {
	all := systems()
	i := slices.IndexFunc(all, func(s system) bool { return s.name == name })
	if i < 0 {
		return system{}, fmt.Errorf("system %q is none of %s", name, strings.Join(names(all), ", "))
	}
	return all[i], nil
}

func names(all []system) []string {
	list := make([]string, len(all))
	for i, s := range all {
		list[i] = s.name
	}
	return list
}
