package queue

import (
	"fmt"
	"runtime"
	"strings"
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

// pushClock lets time pass for m alone.
func (m *Memory) pushClock(d time.Duration) {
	m.mu.Lock()
	m.clock.base = m.clock.base.Add(-d)
	m.mu.Unlock()
}

// cpuTime returns what the process has used so far, which other programs on the
// machine disturb less than they disturb the clock on the wall.
func cpuTime() time.Duration { return usedBy(syscall.RUSAGE_SELF) }

// thread is the calling thread to getrusage on Linux; elsewhere it is refused,
// and the metric 0.
const thread = 1

func usedBy(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
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

// cpuOf returns the CPU that the process used while f ran.
func cpuOf(f func()) time.Duration {
	began := cpuTime()
	f()
	return cpuTime() - began
}

// BenchmarkMemoryValue is the part of a move that is nobody's but the encoding's.
func BenchmarkMemoryValue(b *testing.B) {
	c := clock{base: time.Now()}
	m := Message{Queue: "a", Resource: benchResource(1)}
	var v value
	var text strings.Builder
	b.ReportAllocs()
	for b.Loop() {
		if err := check(&m); err != nil {
			b.Fatal(err)
		}
		v = c.appendValue(v[:0], &m, 1, m.Resource.Asked)
		shared := sharedBy(&m.Resource, v.flags())
		m = Message{Queue: m.Queue}
		text.Reset()
		text.Grow(v.textLen())
		v.writeTexts(&text)
		c.decode(&m, v, text.String(), &shared)
	}
	b.ReportMetric(float64(len(v)), "B")
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
