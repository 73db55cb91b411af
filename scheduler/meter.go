package scheduler

import (
	"sync"
	"sync/atomic"
	"time"
)

// Meter measures the operations of a service: whatever it does again and again,
// such as a request, a job or a message. What it measures is found in [Stats],
// and a supervised service is judged by it.
//
// A Meter belongs to one run. The latencies, failures and rates that it adds to
// belong to the alias, so that they outlive the run and are shared by the
// workers of a pool. What is in flight belongs to the run, and is forgotten
// with it: operations that a panic left without their End are not counted for
// ever, and one hung worker of a pool is seen beside nine that work. An
// operation that ends after its run is still a sample, since it took place, but
// no sign of progress of a later run.
//
// Its methods may be called from any goroutine. They cost less than 100 ns and
// wait for nobody, save that a failure waits for who reads the statistics just
// then, and an operation each five seconds for who computes the rates: both
// take a microsecond. They allocate nothing, save 256 bytes when a latency falls
// within a power of two for the first time. A nil Meter is valid and measures
// nothing.
type Meter struct {
	gauge    *gauge
	inFlight atomic.Int64
	since    moment // when inFlight last rose from zero
	progress moment // of the latest sign of it
	index    int    // in gauge.open; gone once the run is over

	_ [24]byte // a cache line for each, so that workers don't slow each other down
}

// gone is the index of a Meter whose run is over.
const gone = -1

// moment is when something happened last, to a microsecond, as an offset of the
// gauge's birth; zero: never. Within a microsecond it stays as it is: else
// goroutines that share a Meter would write it all the time, for nobody.
type moment struct{ offset atomic.Int64 }

func (m *moment) get() time.Duration { return time.Duration(m.offset.Load()) }

func (m *moment) set(now time.Duration) {
	if old := m.get(); old == 0 || now-old >= time.Microsecond {
		raise(&m.offset, int64(now))
	}
}

// Operation is one operation in flight, as Begin returned it. The zero value
// is valid and measures nothing.
type Operation struct {
	meter *Meter
	begin time.Duration
}

// Begin says that an operation begins. The service counts as working until
// [Operation.End] is called, and as parked while it has none in flight: only a
// service that is working can be found to make no progress.
func (m *Meter) Begin() Operation {
	if m == nil {
		return Operation{}
	}
	now := m.gauge.now()
	// Before the operation is counted: who sees it in flight must not take it
	// for one that hangs since the operation before.
	if m.inFlight.Load() <= 0 {
		m.since.set(now)
	}
	m.inFlight.Add(1)
	return Operation{meter: m, begin: now}
}

// End says that the operation has ended: it is a sample of the latency, a sign
// of progress, and a failure if err is not nil. Failures are samples of the
// latency too, since a slow failure is slow. An operation that was given up
// because the run shall stop is no failure of the service: pass nil.
//
// It must be called once. A second call counts a second operation; what is in
// flight is then too low until all that is in flight has ended, never for good.
func (o Operation) End(err error) {
	m := o.meter
	if m == nil {
		return
	}
	now := m.gauge.now()
	m.gauge.record(now, now-o.begin, err != nil)
	m.progress.set(now) // before it is out of flight, see Begin
	if m.inFlight.Add(-1) < 0 {
		m.inFlight.Add(1)
	}
}

// Observe adds an operation that was measured elsewhere and ends now. It took
// d, a negative d counting as zero, and failed if err is not nil.
func (m *Meter) Observe(d time.Duration, err error) {
	if m == nil {
		return
	}
	now := m.gauge.now()
	m.gauge.record(now, d, err != nil)
	m.progress.set(now)
}

// Progress is a sign of progress within an operation that takes long: it says
// that the operation does not hang. It is no sample.
func (m *Meter) Progress() {
	if m != nil {
		m.progress.set(m.gauge.now())
	}
}

// stalled returns for how long the run has had operations in flight without a
// sign of progress. It is zero for a run that is parked, or whose Meter is nil.
func (m *Meter) stalled(now time.Duration) time.Duration {
	if m == nil || m.inFlight.Load() <= 0 {
		return 0
	}
	return max(0, now-max(m.since.get(), m.progress.get()))
}

// close ends what the Meter says of its run, when the run has ended or was
// abandoned. It may be called again, and on a nil Meter.
func (m *Meter) close() {
	if m == nil {
		return
	}
	g := m.gauge
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.index == gone {
		return
	}
	last := len(g.open) - 1
	g.open[m.index] = g.open[last]
	g.open[m.index].index = m.index
	g.open[last] = nil
	g.open = g.open[:last]
	m.index = gone
	g.progress = max(g.progress, m.progress.get())
}

// gauge is what is measured of one alias, over all of its runs. It is made when
// a service asks for its Meter first: one that never does costs a nil pointer.
// Its methods for readers may be called on a nil gauge, which measured nothing.
//
// It is 576 bytes at most, beside 64 for the Meter of each run and what the
// histogram's segments take.
type gauge struct {
	birth   time.Time // of the manager: the origin of all offsets
	rate    rate
	latency histogram

	// failing makes a failure and its sample one: those who count failures
	// share it, and a reader excludes them. Successes don't take it. Rejected:
	// to read one figure before the other, which moves the failures that come
	// between the two to the next window, where all operations seem to fail.
	failing  sync.RWMutex
	failures atomic.Uint64 // operations that failed

	mu       sync.Mutex
	open     []*Meter      // of the runs that are not over; guarded by mu, as is their index
	progress time.Duration // the latest sign of it in the runs that are; zero: none
}

// newGauge makes the gauge of an alias. No offset of birth may be zero, which
// means never: birth is a little in the past.
func newGauge(birth time.Time) *gauge { return &gauge{birth: birth} }

// meter makes the Meter of a run, which must be closed.
func (g *gauge) meter() *Meter {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := &Meter{gauge: g, index: len(g.open)}
	g.open = append(g.open, m)
	return m
}

// now is measured by time.Since, which reads one clock where time.Now reads
// two and takes twice as long.
func (g *gauge) now() time.Duration { return time.Since(g.birth) }

// record counts an operation that ends now.
func (g *gauge) record(now, took time.Duration, failed bool) {
	if g.rate.ripe(now) {
		g.rate.tick(now, g.latency.count())
	}
	if !failed {
		g.latency.record(took)
		return
	}
	g.failing.RLock()
	g.latency.record(took)
	g.failures.Add(1)
	g.failing.RUnlock()
}

// window returns what was measured since prev was read, and brings prev up to
// date. It changes nothing that is recorded, so that there may be any number
// of readers, each with a prev of its own. With a zero prev it returns all there
// is; a reader who wants to begin with the present throws that away.
//
// It allocates 256 bytes for each power of two of latencies in the window, and
// nothing if there was no operation.
func (g *gauge) window(prev *snapshot) (delta snapshot) {
	if g == nil {
		return delta
	}
	g.failing.Lock()
	defer g.failing.Unlock()
	delta = g.latency.since(prev)
	failures := g.failures.Load()
	delta.failed, prev.failed = failures-prev.failed, failures
	return delta
}

// stalled returns for how long the run that is stalled longest has been.
func (g *gauge) stalled(now time.Duration) (longest time.Duration) {
	if g == nil {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.open {
		longest = max(longest, m.stalled(now))
	}
	return longest
}

// addLatency adds all samples, and how many of them failed.
func (g *gauge) addLatency(s *snapshot) {
	g.failing.Lock()
	defer g.failing.Unlock()
	g.latency.addTo(s)
	s.failed += g.failures.Load()
}

// addTo adds all that was measured to a tally.
func (g *gauge) addTo(t *tally, now time.Duration) {
	if g == nil {
		return
	}
	if g.rate.ripe(now) {
		g.rate.tick(now, g.latency.count())
	}
	t.rates = t.rates.plus(g.rate.read())
	g.addLatency(&t.snapshot)
	g.mu.Lock()
	defer g.mu.Unlock()
	progress := g.progress
	for _, m := range g.open {
		t.inFlight += int(max(0, m.inFlight.Load()))
		progress = max(progress, m.progress.get())
	}
	if progress > 0 {
		t.progressed(g.birth.Add(progress).UTC())
	}
}
