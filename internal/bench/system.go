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
	hold   entry // of services that do not fail
	repair entry // of services that fail: each is started again at once
	// dies: a panic in a service ends the process, which a sample proves.
	dies bool
}

// entry is how a system is used in some of the measures.
type entry struct {
	start start  // nil: not compared
	note  string // what to know of the figures; may be empty
}

// Names of systems that others are set in relation to.
const (
	ours    = "cannedos"
	floor   = "goroutines+ctx"
	respawn = "respawn"
	sutures = "suture"
)

// systems lists them in the order of the rows.
func systems() []system {
	return []system{
		{name: "goroutines", hold: entry{plain, "one context for all"}},
		{name: floor, hold: entry{plainContexts, "one context each: any could be stopped alone"}},
		{name: respawn, repair: entry{respawning(false), "goroutines, and one that starts them again"}},
		{name: respawn + "+stack", repair: entry{respawning(true), "the same; keeps the stack of a panic"}},
		{
			name: "oklog/run", dies: true,
			hold:   entry{oklogGroup, "one group"},
			repair: entry{oklogRebuilt, "has no restarts: a group for each service, made anew by hand"},
		},
		{
			name: "dskit", dies: true,
			hold:   entry{dskitManager, "one manager"},
			repair: entry{dskitRebuilt, "has no restarts: each service is made anew by hand"},
		},
		{
			name:   sutures,
			hold:   entry{sutureSupervisor, "one supervisor"},
			repair: entry{sutureSupervisor, "one supervisor, which never pauses"},
		},
		{name: ours, hold: entry{held, "one scheduler"}, repair: entry{repaired, "one scheduler"}},
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
