//go:build unix

package firehose_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

func TestMain(m *testing.M) {
	if os.Getenv(benchOrigin) != "" {
		os.Exit(serveBench())
	}
	if origin := os.Getenv(benchBare); origin != "" {
		os.Exit(serveBare(origin))
	}
	if config := os.Getenv(soakOriginEnv); config != "" {
		os.Exit(runSoakOrigin(config))
	}
	os.Exit(m.Run())
}

// BenchmarkPoll is one poll that is answered by 304: analyzed, reserved, asked
// for, read, published if there were anything, and parked again, at saturation.
// The OS is in memory and differs from its defaults in Transport (which holds it
// back between turns), Workers, RequestTimeout (which outlasts the benchmark) and
// the Concurrency of its profile (so that nobody waits in a line). Beside it, in
// turns, stands a bare loop of net/http that sends the same conditional requests to
// the same server from as many workers, once with a deadline for each request, as
// ours has, and once with none.
//
//	cpu-ns/poll             CPU of the polling process for each poll
//	allocs/poll             objects that it made
//	bare-cpu-ns/poll        the same of the bare loop with a context.WithTimeout for
//	bare-allocs/poll        each request
//	ratio                   ours to that: the median over the turns
//	no-timeout-cpu-ns/poll  the same of the bare loop without
//	no-timeout-allocs/poll
//	ratio-no-timeout
//
// Ours, the bare loop and the server are a process each. A turn of ours begins and
// ends with every resource ready to be sent: what is to be done after the answer
// until it may be asked for again is part of the poll. -benchtime 400000x makes that
// many polls instead of five turns, for a profile: it holds our side alone.
func BenchmarkPoll(b *testing.B) {
	for _, workers := range []int{16, 64} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) { benchPoll(b, workers) })
	}
}

const (
	benchTurns     = 5
	benchResources = 20_000 // each is polled once in a turn
)

func benchPoll(b *testing.B, workers int) {
	origin := startBenchOrigin(b)
	bare := startBare(b, origin)
	ours := saturate(b, origin, workers)
	timed := bareTurn{Polls: benchResources, Workers: workers, Deadline: true}
	plain := timed
	plain.Deadline = false
	bare.turn(b, timed) // its connections are open

	figures := map[string][]float64{}
	note := func(unit string, value float64) { figures[unit] = append(figures[unit], value) }
	for range max(benchTurns, b.N/benchResources) {
		a := meter(benchResources, func() { ours.polls(b, benchResources) })
		t, p := bare.turn(b, timed), bare.turn(b, plain)
		note("cpu-ns/poll", a.CPU)
		note("allocs/poll", a.Allocs)
		note("bare-cpu-ns/poll", t.CPU)
		note("bare-allocs/poll", t.Allocs)
		note("ratio", a.CPU/t.CPU)
		note("no-timeout-cpu-ns/poll", p.CPU)
		note("no-timeout-allocs/poll", p.Allocs)
		note("ratio-no-timeout", a.CPU/p.CPU)
	}
	for unit, all := range figures {
		b.ReportMetric(median(all), unit)
	}
	b.ReportMetric(0, "ns/op")
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

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

type metered struct{ CPU, Allocs float64 } // of one, in nanoseconds and objects

func meter(n int, do func()) metered {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := cpuTime()
	do()
	cpu = cpuTime() - cpu
	runtime.ReadMemStats(&after)
	return metered{float64(cpu) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n)}
}

// saturated is an OS that polls without end, but only while it is let.
type saturated struct {
	base http.RoundTripper
	os   *firehose.OS

	mu   sync.Mutex
	open chan struct{} // closed while it may send
	left atomic.Int64
	done chan struct{}
}

// RoundTrip lets the OS send while polls runs.
func (f *saturated) RoundTrip(req *http.Request) (*http.Response, error) {
	for {
		left := f.left.Add(-1)
		if left >= 0 {
			resp, err := f.base.RoundTrip(req)
			if left == 0 {
				close(f.done)
			}
			return resp, err
		}
		f.mu.Lock()
		open := f.open
		f.mu.Unlock()
		select {
		case <-open:
		case <-req.Context().Done():
			return nil, context.Cause(req.Context())
		}
	}
}

// polls lets n requests out, and returns when the last was answered and every
// resource is ready to be sent again: when nothing moves any more.
func (f *saturated) polls(b *testing.B, n int) {
	f.mu.Lock()
	f.done = make(chan struct{})
	f.left.Store(int64(n))
	close(f.open)
	f.open = make(chan struct{})
	f.mu.Unlock()
	<-f.done
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		queues, ready := f.os.Stats().Queues, 0
		for _, q := range queues {
			if q.Name == firehose.QueueRequests {
				ready = q.Ready + q.Held
			}
		}
		if ready == benchResources {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d resources are ready to be sent, others not: %+v", ready, benchResources, queues)
		}
	}
}

func saturate(b *testing.B, origin string, workers int) *saturated {
	f := &saturated{open: make(chan struct{}), base: &http.Transport{MaxConnsPerHost: workers, MaxIdleConnsPerHost: workers}}
	specs := make([]resource.Spec, benchResources)
	for i := range specs {
		specs[i] = resource.Spec{URI: fmt.Sprintf("%s/repos/owner-%08d/name-%08d/events", origin, i/10, i), Interval: time.Second}
	}
	oss, err := firehose.New(firehose.Config{
		Resources: specs, Transport: f, Workers: workers, RequestTimeout: 10 * time.Minute,
		Profiles: map[string]resource.Profile{"": {Concurrency: 4 * len(specs)}}, // nobody waits in a line
		Sink:     firehose.SinkFunc(func(context.Context, *resource.Response) error { return nil }),
	})
	require.NoError(b, err)
	f.os = oss
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- oss.Serve(ctx) }()
	b.Cleanup(func() {
		cancel()
		f.left.Store(1 << 40)
		f.mu.Lock()
		close(f.open)
		f.open = make(chan struct{})
		f.mu.Unlock()
		<-served
	})
	f.polls(b, 2*len(specs)) // each has its validators
	return f
}
