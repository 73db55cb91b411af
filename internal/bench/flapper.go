package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"
)

// warmUp is how many restarts come before those that are measured.
const warmUp = 1000

// flapper is one service that fails as soon as it is entered, until it was
// restarted often enough, and notes how long each restart took. Its fields are
// handed from run to run by the system.
type flapper struct {
	birth  time.Time
	gate   chan struct{} // its first run waits for it
	fail   func() error
	first  chan struct{} // closed when it was entered
	done   chan struct{} // closed when it was restarted often enough
	live   atomic.Int32  // runs that were entered and have not ended
	twice  atomic.Bool   // two runs were live at once
	runs   int
	failed time.Duration // when the run before failed, since birth
	took   []time.Duration
	before uint64 // bytes allocated before the restarts that are measured
	after  uint64
}

func newFlapper(restarts int, fail func() error) *flapper {
	return &flapper{
		birth: time.Now(), fail: fail, took: make([]time.Duration, 0, restarts),
		gate: make(chan struct{}), first: make(chan struct{}), done: make(chan struct{}),
	}
}

func (f *flapper) String() string { return "flapper" }

func (f *flapper) Serve(ctx context.Context) error {
	now := time.Since(f.birth)
	if f.live.Add(1) > 1 {
		f.twice.Store(true)
	}
	defer f.live.Add(-1)
	f.runs++
	restarts := f.runs - 1
	if restarts > warmUp {
		f.took = append(f.took, now-f.failed)
	}
	switch restarts {
	case 0:
		close(f.first)
		select {
		case <-f.gate:
		case <-ctx.Done():
			return nil
		}
	case warmUp:
		f.before = allocated()
	case warmUp + cap(f.took):
		f.after = allocated()
		close(f.done)
		<-ctx.Done()
		return nil
	}
	f.failed = time.Since(f.birth)
	return f.fail()
}

// figures is called when the system says that the service has ended.
func (f *flapper) figures() (map[string]float64, error) {
	switch n := cap(f.took); {
	case f.twice.Load():
		return nil, fmt.Errorf("two runs of one service were live at once")
	case f.live.Load() != 0:
		return nil, fmt.Errorf("the service runs when the system says that it has ended")
	case len(f.took) != n || f.runs != 1+warmUp+n:
		return nil, fmt.Errorf("%d restarts of %d were measured, in %d runs", len(f.took), n, f.runs)
	}
	slices.Sort(f.took)
	at := func(percent int) float64 {
		return float64(f.took[len(f.took)*percent/100]) / float64(time.Microsecond)
	}
	return map[string]float64{
		p50:     at(50),
		p99:     at(99),
		garbage: float64(f.after-f.before) / float64(len(f.took)),
	}, nil
}

// allocated is the number of bytes allocated so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
