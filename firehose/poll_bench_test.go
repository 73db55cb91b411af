//go:build unix

package firehose_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// benchOrigin is set in the process that is the origin of BenchmarkPoll.
const benchOrigin = "FIREHOSE_BENCH_ORIGIN"

func TestMain(m *testing.M) {
	if os.Getenv(benchOrigin) != "" {
		os.Exit(serveBench())
	}
	if config := os.Getenv(soakOriginEnv); config != "" {
		os.Exit(runSoakOrigin(config))
	}
	os.Exit(m.Run())
}

// serveBench answers every request by 304, as lean as can be, until its input
// ends. It says on its output where it listens.
func serveBench() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			return 1
		}
		go answerBench(c)
	}
}

func answerBench(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		conditional := false
		for {
			line, err := in.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) <= 2 {
				break
			}
			conditional = conditional || bytes.HasPrefix(line, []byte("If-None-Match:"))
		}
		status, length := "304 Not Modified", ""
		if !conditional {
			status, length = "200 OK", "Content-Length: 0\r\n"
		}
		_, err := fmt.Fprintf(c, "HTTP/1.1 %s\r\nServer: bench\r\nDate: %s\r\nETag: W/\"%064d\"\r\n"+
			"Last-Modified: Wed, 21 Oct 2026 07:28:00 GMT\r\nCache-Control: private\r\n%s\r\n",
			status, time.Now().UTC().Format(http.TimeFormat), 7, length)
		if err != nil {
			return
		}
	}
}

// startBenchOrigin starts the origin in a process of its own, so that what it
// costs is not counted.
func startBenchOrigin(b *testing.B) string {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchOrigin+"=1")
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(b, err)
	return "http://" + strings.TrimSpace(line)
}

// BenchmarkPoll is one poll that is answered by 304: analyzed, reserved, asked
// for, read, published if there were anything, and parked again, by the OS with
// its defaults, at saturation. Beside it, in turns in the same run, stands a bare
// loop of net/http that does the same conditional requests to the same server at
// the same concurrency.
//
//	cpu-ns/poll       CPU of this process for each poll; of the bare loop: bare-cpu-ns/poll
//	ratio             of the two: the median over the turns
//	allocs/poll       and bare-allocs/poll: objects made
//
// The server is a process of its own.
func BenchmarkPoll(b *testing.B) {
	for _, workers := range []int{16, 64} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) { benchPoll(b, workers) })
	}
}

const benchTurns = 5

func benchPoll(b *testing.B, workers int) {
	origin := startBenchOrigin(b)
	ours := saturate(b, origin, workers)
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: workers, MaxIdleConnsPerHost: workers}}
	bareLoop(b, client, origin, workers, 2000)

	var cpu, bare, ratios, allocs, bareAllocs []float64
	polls := max(20_000, b.N/benchTurns)
	for range benchTurns {
		a := meter(polls, func() { ours.polls(polls) })
		b := meter(polls, func() { bareLoop(b, client, origin, workers, polls) })
		cpu, bare = append(cpu, a.cpu), append(bare, b.cpu)
		allocs, bareAllocs = append(allocs, a.allocs), append(bareAllocs, b.allocs)
		ratios = append(ratios, a.cpu/b.cpu)
	}
	b.ReportMetric(median(cpu), "cpu-ns/poll")
	b.ReportMetric(median(bare), "bare-cpu-ns/poll")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(median(allocs), "allocs/poll")
	b.ReportMetric(median(bareAllocs), "bare-allocs/poll")
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

type metered struct{ cpu, allocs float64 } // of one

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

// polls lets n requests out and returns when the last was answered.
func (f *saturated) polls(n int) {
	f.mu.Lock()
	f.done = make(chan struct{})
	f.left.Store(int64(n))
	close(f.open)
	f.open = make(chan struct{})
	f.mu.Unlock()
	<-f.done
}

func saturate(b *testing.B, origin string, workers int) *saturated {
	f := &saturated{open: make(chan struct{}), base: &http.Transport{MaxConnsPerHost: workers, MaxIdleConnsPerHost: workers}}
	specs := make([]resource.Spec, 20_000)
	for i := range specs {
		specs[i] = resource.Spec{URI: fmt.Sprintf("%s/repos/owner-%08d/name-%08d/events", origin, i/10, i), Interval: time.Second}
	}
	oss, err := firehose.New(firehose.Config{
		Resources: specs, Transport: f, Workers: workers, RequestTimeout: 10 * time.Minute,
		Profiles: map[string]resource.Profile{"": {Concurrency: 4 * len(specs)}}, // nobody waits in a line
		Sink:     firehose.SinkFunc(func(context.Context, *resource.Response) error { return nil }),
	})
	require.NoError(b, err)
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
	f.polls(2 * len(specs)) // each has its validators
	return f
}

// bareLoop is what a user would write: workers that each ask again and again,
// n times in all.
func bareLoop(b *testing.B, client *http.Client, origin string, workers, n int) {
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	etag := fmt.Sprintf(`W/"%064d"`, 7)
	for range workers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+"/repos/owner-00000001/name-00000001/events", nil)
				if err != nil {
					b.Error(err)
					cancel()
					return
				}
				req.Header.Set("User-Agent", firehose.DefaultUserAgent)
				req.Header.Set("Accept", "*/*")
				req.Header.Set("If-None-Match", etag)
				req.Header.Set("If-Modified-Since", "Wed, 21 Oct 2026 07:28:00 GMT")
				resp, err := client.Do(req)
				if err != nil {
					b.Error(err)
					cancel()
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				cancel()
			}
		})
	}
	all.Wait()
}
