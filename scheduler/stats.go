package scheduler

import (
	"fmt"
	"strings"
	"time"
)

// Stats is what was measured of one service, or of all services below a
// scheduler together. It is measured over the life of the alias, not of the
// instance, so that it survives restarts. The caller owns it.
//
// Operations, Failed, InFlight, Latency, Rate and LastProgress are what the
// service said to its [Meter]; they are zero for one that never asked for it.
// The figures of a snapshot that is taken while operations end fit together:
// Operations is Latency.Count, and Failed is not above it.
type Stats struct {
	Operations   uint64        // operations that ended
	Failed       uint64        // of them, those that ended with an error
	InFlight     int           // operations that have begun and not ended, in runs that are not over
	Latency      Latency       // of the operations that ended
	Rate         Rates         // operations that end, per second
	Starts       uint64        // runs begun
	Failures     uint64        // runs that failed; see Status.Failures
	Uptime       time.Duration // that it has been started, summed over its runs and workers
	LastProgress time.Time     // when an operation ended or Progress was called last, in UTC; zero: never
}

// Latency says how long operations took. Count, Min, Max and Mean are exact.
// A quantile (P95 is the time that 95 % of them didn't exceed, P999 that 99.9 %
// didn't) is off by less than 1.6 %, and lies between Min and Max; where it
// falls among operations longer than 19 hours it is Max. All are zero if there
// was no operation.
type Latency struct {
	Count          uint64        // operations that ended
	Min, Max, Mean time.Duration // exact
	P50            time.Duration // half of them took no longer
	P75, P95, P98  time.Duration // likewise 75, 95 and 98 %
	P99, P999      time.Duration // likewise 99 and 99.9 %
}

// String says the latency in words, for the log.
func (l Latency) String() string {
	if l.Count == 0 {
		return "no operations"
	}
	return fmt.Sprintf("p50 %v, p95 %v, p99 %v, min %v, mean %v, max %v",
		rounded(l.P50), rounded(l.P95), rounded(l.P99), rounded(l.Min), rounded(l.Mean), rounded(l.Max))
}

// String says the statistics in words, for the log.
func (s Stats) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "started %s, %s, up %v", times(s.Starts), plural(s.Failures, "failure"), rounded(s.Uptime))
	if s.InFlight > 0 {
		fmt.Fprintf(&b, "; %d in flight", s.InFlight)
	}
	if s.Operations == 0 {
		return b.String() + "; no operations"
	}
	fmt.Fprintf(&b, "; %s, %d failed, %.3g a second; %v", plural(s.Operations, "operation"), s.Failed, s.Rate.One, s.Latency)
	return b.String()
}

// tally is what Stats are made of: it can be added to that of another service,
// which quantiles and averages can't. The zero value is empty.
type tally struct {
	snapshot
	inFlight         int
	rates            Rates
	starts, failures uint64
	uptime           time.Duration
	progress         time.Time // the latest sign of it; zero: none
}

// merge adds the tally of another service, or of a whole scheduler.
func (t *tally) merge(other *tally) {
	t.snapshot.merge(&other.snapshot)
	t.inFlight += other.inFlight
	t.rates = t.rates.plus(other.rates)
	t.starts += other.starts
	t.failures += other.failures
	t.uptime += other.uptime
	t.progressed(other.progress)
}

func (t *tally) progressed(at time.Time) {
	if at.After(t.progress) {
		t.progress = at
	}
}

func (t *tally) stats() Stats {
	return Stats{
		Operations: t.count, Failed: t.failed, InFlight: t.inFlight,
		Latency: t.latency(), Rate: t.rates,
		Starts: t.starts, Failures: t.failures, Uptime: t.uptime, LastProgress: t.progress,
	}
}

func (s *snapshot) latency() Latency {
	return Latency{
		Count: s.count, Min: s.min, Max: s.max, Mean: s.mean(),
		P50: s.quantile(500), P75: s.quantile(750), P95: s.quantile(950),
		P98: s.quantile(980), P99: s.quantile(990), P999: s.quantile(999),
	}
}

// rounded keeps three digits of a duration, which is what a reader looks at.
func rounded(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

func plural(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return plural(n, "time")
}
