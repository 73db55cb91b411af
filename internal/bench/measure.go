package main

import (
	"fmt"
	"slices"
	"strings"
)

// Names of measures.
const (
	idle    = "idle"
	restart = "restart"
	storm   = "storm"
	waiting = "waiting"
	onePoll = "poll"
	fleet   = "fleet"
)

// measure is one kind of sample.
type measure struct {
	name    string
	title   string   // of a table, with places for {size} and {way}
	ways    []string // to fail; one that is empty where nothing fails
	beside  []string // the systems that ours is set in relation to
	runs    int      // samples of each figure, unless the command line says how many
	figures []figure
	entry   func(system) entry
}

// figure is a column of a table.
type figure struct {
	name, heading string
	zero          bool // it may be zero
}

func measures() []measure {
	return append(supervision(), waitingMeasure(), pollMeasure(), fleetMeasure())
}

// findMeasure returns the measure of a name.
func findMeasure(name string) (measure, error) {
	all := measures()
	i := slices.IndexFunc(all, func(m measure) bool { return m.name == name })
	if i < 0 {
		return measure{}, fmt.Errorf("measure %q is none of %s", name, strings.Join(measureNames(), ", "))
	}
	return all[i], nil
}

func measureNames() []string {
	var list []string
	for _, m := range measures() {
		list = append(list, m.name)
	}
	return list
}
