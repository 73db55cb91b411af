package main

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"

	"github.com/RussellLuo/timingwheel"
	"github.com/antlabs/timer"
)

// sleepers are what most people write: a goroutine for each item, which sleeps.
func sleepers(a *alarm) (func() error, error) {
	var over atomic.Bool
	err := a.add(func() error {
		for i := range a.n {
			wait := a.first(i)
			go func() {
				for !over.Load() {
					time.Sleep(wait)
					wait = a.fired(i)
				}
			}()
		}
		return nil
	})
	return func() error { over.Store(true); return nil }, err
}

// timers gives each item a timer of the runtime's, which is reset.
func timers(a *alarm) (func() error, error) {
	var over atomic.Bool
	all := make([]atomic.Pointer[time.Timer], a.n)
	err := a.add(func() error {
		for i := range a.n {
			var fire func()
			fire = func() {
				wait := a.fired(i)
				if t := all[i].Load(); t != nil && !over.Load() {
					t.Reset(wait)
				} else if t == nil { // it fired before it was kept
					all[i].Store(time.AfterFunc(wait, fire))
				}
			}
			all[i].CompareAndSwap(nil, time.AfterFunc(a.first(i), fire))
		}
		return nil
	})
	return func() error {
		over.Store(true)
		for i := range all {
			all[i].Load().Stop()
		}
		return nil
	}, err
}

// item is one that waits in a heap.
type item struct {
	due int64 // since the birth of its alarm
	i   int32
}

// items are a heap as the standard library has it.
type items []item

func (h items) Len() int           { return len(h) }
func (h items) Less(i, j int) bool { return h[i].due < h[j].due }
func (h items) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *items) Push(x any)        { *h = append(*h, x.(item)) }
func (h *items) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// heapOfItems has one goroutine, which sleeps until the first item is due.
func heapOfItems(a *alarm) (func() error, error) {
	var h items
	if err := a.add(func() error {
		for i := range a.n {
			a.first(i)
			heap.Push(&h, item{due: a.due[i], i: int32(i)})
		}
		return nil
	}); err != nil {
		return nil, err
	}
	over := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		clock := time.NewTimer(0)
		defer clock.Stop()
		for {
			select {
			case <-clock.C:
			case <-over:
				return
			}
			for now := int64(time.Since(a.birth)); h[0].due <= now; {
				a.fired(int(h[0].i))
				h[0].due = a.due[h[0].i]
				heap.Fix(&h, 0)
			}
			clock.Reset(time.Duration(h[0].due) - time.Since(a.birth))
		}
	})
	return func() error {
		close(over)
		group.Wait()
		return nil
	}, nil
}

// arm arms every item by a function that calls another after a wait, and again when
// it fires, until over.
func (a *alarm) arm(over *atomic.Bool, after func(wait time.Duration, fire func())) error {
	return a.add(func() error {
		for i := range a.n {
			var fire func()
			fire = func() {
				if wait := a.fired(i); !over.Load() {
					after(wait, fire)
				}
			}
			after(a.first(i), fire)
		}
		return nil
	})
}

// russellLuoWheel is a hierarchical wheel with the tick and the size of its
// own example.
func russellLuoWheel(a *alarm) (func() error, error) {
	wheel := timingwheel.NewTimingWheel(time.Millisecond, 20)
	wheel.Start()
	var over atomic.Bool
	err := a.arm(&over, func(wait time.Duration, fire func()) { wheel.AfterFunc(wait, fire) })
	return func() error {
		over.Store(true)
		wheel.Stop()
		return nil
	}, err
}

// antlabsWheel is a wheel of five levels, which ticks every 10 ms.
func antlabsWheel(a *alarm) (func() error, error) {
	wheel := timer.NewTimer(timer.WithTimeWheel())
	var group sync.WaitGroup
	group.Go(wheel.Run)
	var over atomic.Bool
	err := a.arm(&over, func(wait time.Duration, fire func()) { wheel.AfterFunc(wait, fire) })
	return func() error {
		over.Store(true)
		wheel.Stop()
		group.Wait()
		return nil
	}, err
}
