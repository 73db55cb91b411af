package scheduler

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

var errMeasured = errors.New("measured")

func newTestGauge() *gauge { return newGauge(time.Now().Add(-1)) }

func (g *gauge) stats() Stats {
	var t tally
	g.addTo(&t, g.now())
	return t.stats()
}

// Outside of a run there is no Meter, and nothing that is called on it hurts.
func TestNilMeter(t *testing.T) {
	var m *Meter
	o := m.Begin()
	o.End(errMeasured)
	m.Observe(time.Second, nil)
	m.Progress()
	m.close()
	require.Zero(t, m.stalled(time.Hour))
	Operation{}.End(nil)

	var g *gauge
	var prev snapshot
	require.Zero(t, g.window(&prev))
	require.Zero(t, g.stalled(time.Hour))
	var all tally
	g.addTo(&all, time.Hour)
	require.Zero(t, all)
}

func TestMoment(t *testing.T) {
	var m moment
	for _, step := range []struct{ set, want time.Duration }{
		{1, 1}, {1000, 1}, {1001, 1001}, {900, 1001}, {2000, 1001}, {time.Hour, time.Hour}, {1, time.Hour},
	} {
		m.set(step.set)
		require.Equal(t, step.want, m.get(), "after %v", step.set)
	}
}

func TestMeterMeasures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		g := newTestGauge()
		require.Zero(t, g.stats())
		m := g.meter()
		require.Zero(t, g.stats(), "a Meter alone is no progress")

		first, second := m.Begin(), m.Begin()
		require.Equal(t, Stats{InFlight: 2}, g.stats())
		time.Sleep(time.Second)
		first.End(nil)
		time.Sleep(time.Second)
		second.End(errMeasured)
		time.Sleep(3 * time.Second)
		m.Observe(5*time.Second, nil)
		m.Observe(-time.Second, errMeasured)

		s := g.stats()
		require.True(t, s.LastProgress.Equal(begin.Add(5*time.Second)), "%v", s.LastProgress)
		require.Equal(t, time.UTC, s.LastProgress.Location())
		require.Equal(t, [3]uint64{4, 2, 4}, [3]uint64{s.Operations, s.Failed, s.Latency.Count})
		require.Equal(t, [3]time.Duration{0, 5 * time.Second, 2 * time.Second}, [3]time.Duration{s.Latency.Min, s.Latency.Max, s.Latency.Mean})
		require.Zero(t, s.InFlight)
		require.Positive(t, s.Rate.One, "the first two were before the tick")

		time.Sleep(time.Minute)
		m.Progress()
		require.True(t, g.stats().LastProgress.Equal(begin.Add(65*time.Second)))
		require.Equal(t, uint64(4), g.stats().Operations)
	})
}

// Stalled is: in flight, and no sign of progress since. The timeline is of one
// run; each line says for how long it has stalled then.
func TestStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTestGauge()
		m := g.meter()
		var a, b Operation
		begin := time.Now()
		for _, line := range []struct {
			at   time.Duration
			call func()
			want time.Duration
		}{
			{0, func() {}, 0},
			{10 * time.Second, func() { a = m.Begin() }, 0}, // parked until now
			{12 * time.Second, func() {}, 2 * time.Second},
			{13 * time.Second, func() { b = m.Begin() }, 3 * time.Second}, // more work is no progress
			{14 * time.Second, m.Progress, 0},
			{16 * time.Second, func() { a.End(errMeasured) }, 0}, // a failure is progress
			{19 * time.Second, func() {}, 3 * time.Second},       // b is in flight
			{20 * time.Second, func() { m.Observe(1, nil) }, 0},
			{25 * time.Second, func() { b.End(nil) }, 0},
			{90 * time.Second, func() {}, 0}, // parked
			{95 * time.Second, func() { a = m.Begin() }, 0},
			{99 * time.Second, func() {}, 4 * time.Second},
			{99 * time.Second, func() { m.close() }, 4 * time.Second},
		} {
			time.Sleep(time.Until(begin.Add(line.at)))
			line.call()
			require.Equal(t, line.want, m.stalled(g.now()), "at %v", line.at)
		}
		require.Zero(t, g.stalled(g.now()), "a run that is over stalls no more")
		require.Zero(t, m.stalled(0), "never negative")
	})
}

// What a run left in flight vanishes with it; what it measured stays, and what
// comes late is a sample but no progress.
func TestMeterOfARunThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTestGauge()
		var runs []*Meter
		var late Operation
		for range 4 {
			m := g.meter()
			late = m.Begin()
			m.Begin()
			runs = append(runs, m)
		}
		require.Equal(t, 8, g.stats().InFlight)
		time.Sleep(time.Second)
		require.Equal(t, time.Second, g.stalled(g.now()))
		for _, m := range runs[:3] {
			m.Progress()
		}
		progress := time.Now()
		time.Sleep(time.Second)
		require.Equal(t, time.Second, runs[0].stalled(g.now()))
		require.Equal(t, 2*time.Second, g.stalled(g.now()), "one hangs though its siblings don't")

		for i, which := range []int{3, 0, 2, 0, 1} { // the last one, the first one, and one twice
			runs[which].close()
			require.Equal(t, [...]int{6, 4, 2, 2, 0}[i], g.stats().InFlight)
			for at, m := range g.open {
				require.Equal(t, at, m.index)
			}
		}
		require.Empty(t, g.open)
		late.End(errMeasured)
		runs[0].Progress()
		s := g.stats()
		require.Equal(t, [2]uint64{1, 1}, [2]uint64{s.Operations, s.Failed})
		require.True(t, s.LastProgress.Equal(progress))
		require.Zero(t, s.InFlight)

		g.meter().Observe(time.Minute, nil) // the next run of the alias
		require.Equal(t, uint64(2), g.stats().Operations)
		require.Equal(t, time.Minute, g.stats().Latency.Max)
	})
}

// Ending twice is misuse; it heals once nothing is in flight.
func TestEndTwice(t *testing.T) {
	g := newTestGauge()
	m := g.meter()
	a, b := m.Begin(), m.Begin()
	for range 5 {
		a.End(nil)
	}
	require.Zero(t, g.stats().InFlight)
	b.End(nil)
	require.Zero(t, g.stats().InFlight)
	m.Begin()
	require.Equal(t, 1, g.stats().InFlight)
}

func TestMetersInParallel(t *testing.T) {
	const workers, operations = 8, 5000
	g := newTestGauge()
	var running, reading sync.WaitGroup
	over := make(chan struct{})
	var windows snapshot
	reading.Go(func() {
		var prev snapshot
		for last := false; ; {
			delta := g.window(&prev)
			if delta.failed > delta.count {
				t.Errorf("%d of %d failed", delta.failed, delta.count)
			}
			windows.merge(&delta)
			if s := g.stats(); s.Failed > s.Operations || s.InFlight < 0 || s.InFlight > workers {
				t.Errorf("%+v", s)
			}
			if d := g.stalled(g.now()); d < 0 {
				t.Errorf("stalled for %v", d)
			}
			if last {
				return
			}
			select {
			case <-over:
				last = true
			default:
			}
		}
	})
	for range workers {
		running.Go(func() {
			m := g.meter()
			defer m.close()
			for i := range operations {
				o := m.Begin()
				m.Progress()
				var err error
				if i%5 == 0 {
					err = errMeasured
				}
				o.End(err)
				m.Observe(time.Duration(i)*time.Microsecond, err)
			}
			m.Begin() // and is over
		})
	}
	running.Wait()
	close(over)
	reading.Wait()
	s := g.stats()
	require.Equal(t, uint64(workers*operations*2), s.Operations)
	require.Equal(t, uint64(workers*operations*2/5), s.Failed)
	require.Zero(t, s.InFlight)
	require.Equal(t, [2]uint64{s.Operations, s.Failed}, [2]uint64{windows.count, windows.failed})
}

// A window holds what ended since the one before, whoever else reads.
func TestWindows(t *testing.T) {
	g := newTestGauge()
	m := g.meter()
	var prev, other snapshot
	require.Zero(t, g.window(&prev))
	generator := rand.New(rand.NewPCG(5, 5))
	var all tally
	for range 50 {
		var alone histogram
		failed := uint64(0)
		for range generator.IntN(100) {
			d, err := time.Duration(generator.ExpFloat64()*float64(time.Second)), error(nil)
			if generator.IntN(3) == 0 {
				err = errMeasured
				failed++
			}
			m.Observe(d, err)
			alone.record(d)
		}
		delta, want := g.window(&prev), alone.read()
		require.Equal(t, want.segments, delta.segments)
		require.Equal(t, [3]uint64{want.count, failed, want.sum.lo}, [3]uint64{delta.count, delta.failed, delta.sum.lo})
		require.InEpsilon(t, float64(want.max)+1, float64(delta.max)+1, maxError)
		if generator.IntN(3) == 0 {
			g.window(&other)
		}
		all.snapshot.merge(&delta)
	}
	require.Zero(t, g.window(&prev))
	g.window(&other)
	require.Equal(t, prev, other)
	require.Equal(t, g.stats().Latency, all.stats().Latency)
	require.Equal(t, g.stats().Failed, all.stats().Failed)
}

// Where every operation fails, no window says otherwise, and the other way
// round, however the readers and those who fail meet.
func TestFailuresAreInTheWindowOfTheirOperation(t *testing.T) {
	g := newTestGauge()
	var running sync.WaitGroup
	var over atomic.Bool
	var ended atomic.Uint64
	for range 4 {
		running.Go(func() {
			m := g.meter()
			for n := uint64(0); ; n++ {
				if over.Load() {
					ended.Add(n)
					return
				}
				m.Begin().End(errMeasured)
			}
		})
	}
	var prev snapshot
	for met := 0; met < 2000 && !t.Failed(); { // windows in which they met
		delta := g.window(&prev)
		if delta.count > 0 {
			met++
		}
		if delta.failed != delta.count {
			t.Errorf("%d of %d failed", delta.failed, delta.count)
		}
		if s := g.stats(); s.Failed != s.Operations {
			t.Errorf("%d of %d failed in all", s.Failed, s.Operations)
		}
	}
	over.Store(true)
	running.Wait()
	g.window(&prev)
	require.Equal(t, [2]uint64{ended.Load(), ended.Load()}, [2]uint64{prev.count, prev.failed})
}

func TestMeterAllocatesNothing(t *testing.T) {
	m := newTestGauge().meter()
	m.Observe(time.Second, nil)
	for name, f := range map[string]func(){
		"observe":  func() { m.Observe(time.Second, errMeasured) },
		"progress": m.Progress,
	} {
		require.Zero(t, testing.AllocsPerRun(1000, f), name)
	}
	// How long an operation takes is up to the machine: all segments are there.
	for shift := range segmentCount + cellBits {
		m.gauge.latency.record(1 << shift)
	}
	require.Zero(t, testing.AllocsPerRun(1000, func() { m.Begin().End(errMeasured) }))
}

func TestMeterMemory(t *testing.T) {
	require.Equal(t, uintptr(64), unsafe.Sizeof(Meter{}))
	require.LessOrEqual(t, unsafe.Sizeof(gauge{}), uintptr(576))
}

// BenchmarkMeter measures what one sample costs. "clock" is a bare pair of
// time.Since, which is what a loaded machine has to be compared with.
func BenchmarkMeter(b *testing.B) {
	b.Run("clock", func(b *testing.B) {
		birth := time.Now()
		for b.Loop() {
			_ = time.Since(birth)
			_ = time.Since(birth)
		}
	})
	for name, f := range map[string]func(*Meter){
		"operation": func(m *Meter) { m.Begin().End(nil) },
		"failure":   func(m *Meter) { m.Begin().End(errMeasured) },
		"observe":   func(m *Meter) { m.Observe(time.Millisecond, nil) },
		"progress":  (*Meter).Progress,
	} {
		b.Run(name, func(b *testing.B) {
			m := newTestGauge().meter()
			b.ReportAllocs()
			for b.Loop() {
				f(m)
			}
		})
	}
	// shared is what goroutines pay for a pair of clocks and two counters that
	// they share, which is the floor of parallel: one run with many goroutines.
	// In pool each has a run of its own.
	b.Run("shared", func(b *testing.B) {
		birth := time.Now()
		var begun, ended atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_ = time.Since(birth)
				begun.Add(1)
				_ = time.Since(birth)
				ended.Add(1)
			}
		})
	})
	b.Run("parallel", func(b *testing.B) {
		m := newTestGauge().meter()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				m.Begin().End(nil)
			}
		})
	})
	b.Run("pool", func(b *testing.B) {
		g := newTestGauge()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for m := g.meter(); pb.Next(); {
				m.Begin().End(nil)
			}
		})
	})
}
