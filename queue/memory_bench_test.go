package queue

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/resource"
)

// benchResource is what a polled GitHub feed looks like after its first answers.
func benchResource(n int) resource.Resource {
	now := time.Now()
	id := resource.ID{6: 0x80, 8: 0x80}
	for i, x := 0, uint64(n)*0x9e3779b97f4a7c15; i < 6; i, x = i+1, x>>8 {
		id[i], id[10+i] = byte(x), byte(n>>(8*i))
	}
	return resource.Resource{
		Spec: resource.Spec{
			ID:        id,
			URI:       fmt.Sprintf("https://api.github.com/repos/owner-%08d/name-%08d/events", n/10, n),
			Interval:  time.Minute,
			Profile:   "github",
			MediaType: "application/json",
		},
		Credential: "GITHUB_TOKEN", Origin: "https://api.github.com", Bucket: "core",
		State: resource.WaitingForInterval, Why: resource.ReasonInterval,
		Asked: now, Answered: now, Changed: now, NotBefore: now.Add(time.Minute), PollInterval: time.Minute,
		Validators: resource.Validators{
			ETag:         fmt.Sprintf(`W/"%032x%032x"`, n, n*7),
			LastModified: "Wed, 21 Oct 2026 07:28:00 GMT",
		},
		Digest: uint64(n) * 0x9e3779b97f4a7c15, Polls: 1000, Modified: 100, Quiet: 7,
	}
}

// BenchmarkMemoryWaiting fills a queue with n messages due within a minute and
// moves each on for another minute when it is due, in batches of 64. The clock
// of the queue is pushed on so that there is always a batch that is due.
//
//	B/waiting  heap per message, less the encoding of its resource and its Due
//	B/all      heap per message
//	add-ns     CPU of an admission, in batches of 64
//	move-ns    a Receive and a Commit, for each of a batch of 64; move-cpu-ns: its CPU
//	gc-ms      a full collection, with nothing but the queue alive
//	pour-ns    moving a message from a bucket of level 1 to one of level 0
//	longest-us the longest Receive or Commit of all
//
// n=10000000 runs where QUEUE_BENCH_N=10000000 is set.
func BenchmarkMemoryWaiting(b *testing.B) {
	sizes := []int{10_000, 100_000, 1_000_000}
	if n, err := strconv.Atoi(os.Getenv("QUEUE_BENCH_N")); err == nil {
		sizes = []int{n}
	}
	for _, n := range sizes {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) { benchWaiting(b, n) })
	}
}

const (
	benchSpread = time.Minute
	benchBatch  = 64
	benchName   = "frozen-1000"
)

func benchWaiting(b *testing.B, n int) {
	before := heapBytes()
	m, err := NewMemory(MemoryConfig{})
	require.NoError(b, err)
	defer m.Close()
	s, err := m.open(b.Context())
	require.NoError(b, err)
	itself, adding := fill(b, s, n)
	all := (heapBytes() - before) / int64(n)
	gc := collection()
	pouring := pourAll(m)

	next := make([]Message, 0, benchBatch)
	var longest time.Duration
	moves := 0
	cpu, began := cpuTime(), time.Now()
	for b.Loop() {
		m.pushClock(benchSpread * benchBatch / time.Duration(n))
		call := time.Now()
		ds, err := s.Receive(b.Context(), benchName, benchBatch)
		if err != nil {
			b.Fatal(err)
		}
		longest = max(longest, time.Since(call))
		next = next[:0]
		for i := range ds {
			next = append(next, ds[i].To(benchName, ds[i].Due.Add(benchSpread)))
		}
		call = time.Now()
		if err := s.Commit(b.Context(), ds, next...); err != nil {
			b.Fatal(err)
		}
		longest = max(longest, time.Since(call))
		moves += len(ds)
	}
	b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(moves), "move-ns")
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(moves), "move-cpu-ns")
	b.ReportMetric(float64(longest.Microseconds()), "longest-us")
	b.ReportMetric(float64(all-int64(itself)), "B/waiting")
	b.ReportMetric(float64(all), "B/all")
	b.ReportMetric(float64(adding.Nanoseconds())/float64(n), "add-ns")
	b.ReportMetric(float64(gc.Microseconds())/1000, "gc-ms")
	b.ReportMetric(pouring, "pour-ns")
	b.ReportMetric(0, "ns/op")
}

// fill admits n messages that are due within a minute in an hour. It returns the
// size of a message itself and the CPU that the admissions took.
func fill(b *testing.B, s *memorySession, n int) (itself int, adding time.Duration) {
	start := time.Now().Add(time.Hour)
	next := make([]Message, 0, benchBatch)
	for i := 0; i < n; i += benchBatch {
		next = next[:0]
		for k := i; k < min(i+benchBatch, n); k++ {
			due := start.Add(time.Duration(uint64(k) * 0x9e3779b97f4a7c15 % uint64(benchSpread)))
			next = append(next, Message{Queue: benchName, Resource: benchResource(k), Due: due})
		}
		began := cpuTime()
		if err := s.Commit(b.Context(), nil, next...); err != nil {
			b.Fatal(err)
		}
		adding += cpuTime() - began
	}
	encoded, err := next[0].Resource.MarshalBinary()
	require.NoError(b, err)
	return len(encoded) + 8, adding
}

// pourAll does what an idle receiver does while it waits for the first due, and
// returns the CPU for each message in nanoseconds.
func pourAll(m *Memory) float64 {
	m.pushClock(time.Hour - time.Minute)
	p := m.places[0]
	began, poured := cpuTime(), 0
	for n := 1; n > 0; poured += n {
		_, now := m.now()
		p.wheel.turn(&m.slots, &p.near, tickOf(now), stepSize)
		n = p.wheel.pourAhead(&m.slots, stepSize)
	}
	took := cpuTime() - began
	m.pushClock(time.Minute)
	return float64(took.Nanoseconds()) / float64(max(poured, 1))
}

// pushClock lets time pass for m alone.
func (m *Memory) pushClock(d time.Duration) {
	m.mu.Lock()
	m.clock.base = m.clock.base.Add(-d)
	m.mu.Unlock()
}

// cpuTime returns what the process has used so far, which other programs on the
// machine disturb less than they disturb the clock on the wall.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// collection returns how long a full collection takes.
func collection() time.Duration {
	runtime.GC()
	began := time.Now()
	runtime.GC()
	return time.Since(began)
}

// BenchmarkMemoryValue is the part of a move that is nobody's but the encoding's.
func BenchmarkMemoryValue(b *testing.B) {
	c := newClock(time.Now())
	m := Message{Queue: "a", Resource: benchResource(1)}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		v, shared, _, err := c.appendValue(buf[:0], &m, 1, m.Resource.Asked)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.decode(&m, v, &shared); err != nil {
			b.Fatal(err)
		}
		buf = v
	}
}

func BenchmarkSort(b *testing.B) {
	s, err := NewTimingSorter(DefaultTiers()...)
	require.NoError(b, err)
	waits := []time.Duration{0, 51 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond, time.Minute}
	b.ReportAllocs()
	i, n := 0, 0
	for b.Loop() {
		if i++; i == len(waits) {
			i = 0
		}
		n += len(s.Sort(waits[i]))
	}
	if n == 0 {
		b.Fatal("no name")
	}
}
