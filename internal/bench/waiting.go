package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"
)

// Names of the figures of waiting.
const (
	addNS    = "add_ns"
	fireUS   = "fire_us"
	gcMS     = "gc_ms"
	lateP50  = "late_p50_ms"
	lateP99  = "late_p99_ms"
	early    = "early"
	earliest = "earliest_ms"
)

func waitingMeasure() measure {
	return measure{
		name: waiting, title: "{size} items wait, one of them due every {gap}", ways: []string{""},
		beside: []string{afterFunc, heaped}, runs: 3,
		entry: func(s system) entry { return s.wait },
		figures: []figure{
			{name: memory, heading: "B each", zero: true}, {name: addNS, heading: "add ns"}, {name: fireUS, heading: "CPU µs a fire"},
			{name: gcMS, heading: "full GC CPU ms", zero: true},
			{name: done, heading: "fired %"}, {name: lateP50, heading: "late p50 ms", zero: true}, {name: lateP99, heading: "late p99 ms", zero: true},
			{name: early, heading: "early %", zero: true}, {name: earliest, heading: "earliest ms", zero: true},
		},
	}
}

// alarm is n items that wait. A system holds them by their numbers, calls fired
// when one is due, and lets it wait again for as long as that says.
type alarm struct {
	n     int
	span  time.Duration // each waits for so long; the first time for a part of it
	birth time.Time
	due   []int64 // by item, nanoseconds since birth
	added time.Duration

	open     atomic.Bool // what fires is measured
	fires    atomic.Int64
	early    atomic.Int64
	earliest atomic.Int64
	late     histogram
}

// holding makes a system hold all items of an alarm. It calls add once or more for
// what it does to take them, and returns when it has all. After stop nothing is
// added; what waits may end when it is due.
type holding func(a *alarm) (stop func() error, err error)

// newAlarm spreads the first instants of n items evenly over the span, in no order.
func newAlarm(n int, span time.Duration) *alarm {
	a := &alarm{n: n, span: span, birth: time.Now(), due: make([]int64, n)}
	for i, at := range rand.New(rand.NewPCG(uint64(n), 1)).Perm(n) {
		a.due[i] = int64(span) * int64(at+1) / int64(n)
	}
	return a
}

// add does a part of the adding, whose processor time counts.
func (a *alarm) add(some func() error) error {
	before := processorTime()
	err := some()
	a.added += processorTime() - before
	return err
}

// first is how long an item has to wait when it is added.
func (a *alarm) first(i int) time.Duration {
	wait := time.Duration(a.due[i])
	a.due[i] += int64(time.Since(a.birth))
	return wait
}

// fired takes note that an item was found due, and returns how long it waits next.
func (a *alarm) fired(i int) time.Duration {
	now := int64(time.Since(a.birth))
	late := now - a.due[i]
	a.due[i] = now + int64(a.span)
	if a.open.Load() {
		a.fires.Add(1)
		a.late.add(time.Duration(late))
		if late < 0 {
			a.early.Add(1)
			raise(&a.earliest, -late)
		}
	}
	return a.span
}

// raise sets most to v if that is more.
func raise(most *atomic.Int64, v int64) {
	for old := most.Load(); v > old && !most.CompareAndSwap(old, v); old = most.Load() {
		continue
	}
}

// waits is how a system is measured that holds items: what it takes to add them
// all, what they hold then, and what it takes for so many to fire and wait again.
func waits(hold holding) func(sample) (map[string]float64, error) {
	return func(x sample) (map[string]float64, error) {
		a := newAlarm(x.Size, x.Span)
		held := inUse()
		a.birth = time.Now()
		stop, err := hold(a)
		if err != nil {
			return nil, err
		}
		figures := map[string]float64{
			memory: max(0, float64(inUse())-float64(held)) / float64(a.n),
			addNS:  float64(a.added) / float64(a.n),
		}
		time.Sleep(x.Window / 10) // what became due meanwhile has fired
		err = x.profiled(func() {
			before := processorTime()
			a.open.Store(true)
			time.Sleep(x.Window)
			a.open.Store(false)
			figures[fireUS] = float64(processorTime()-before) / 1e3
		})
		if err != nil {
			return nil, err
		}
		before := collectorCPU()
		runtime.GC()
		figures[gcMS] = milliseconds(collectorCPU() - before)
		if err := stop(); err != nil {
			return nil, err
		}
		return figures, a.judge(x, figures)
	}
}

// judge adds the figures of what has fired, beside what was due.
func (a *alarm) judge(x sample, figures map[string]float64) error {
	fires := float64(a.fires.Load())
	if fires == 0 {
		return fmt.Errorf("nothing fired in %v", x.Window)
	}
	due := float64(a.n) * float64(x.Window) / float64(a.span)
	figures[done] = min(100, 100*fires/due)
	figures[fireUS] /= fires
	figures[lateP50], figures[lateP99] = milliseconds(a.late.quantile(50)), milliseconds(a.late.quantile(99))
	figures[early] = 100 * float64(a.early.Load()) / fires
	figures[earliest] = milliseconds(time.Duration(a.earliest.Load()))
	return nil
}
