package firehose_test

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// The flags of the measurement of resources at rest; go run ./internal/prove rest
// sets them.
var (
	restResources = flag.Int("rest.resources", lighter(20_000, 2_000), "resources at rest")
	restDB        = flag.String("rest.db", "none,memory", "stores that they rest in, one after the other: none, memory, file")
	restHeap      = flag.String("rest.heap", "", "file for a profile of the heap at rest, one for each store")
)

// What a resource may cost at rest beyond the bytes of its URI and its validators:
// the resource, its timings, its place in the queue and the index by id. A store in
// memory holds all of it once more, in the form of its journal: it is the state that
// a next run would find. What a process has once, however much rests in it, is
// shared by all.
const (
	restBytes   = 64
	storedBytes = 256
	filedBytes  = 128 // with the index of the file
	onceBytes   = 1 << 20
)

// restResult is what the measurement prints for one store.
type restResult struct {
	Store     string  `json:"store"`
	Resources int     `json:"resources"`
	Bare      int     `json:"bytes_of_uri_and_validators"` // of one resource
	Beyond    float64 `json:"bytes_beyond"`                // of one resource, of the live heap
	Heap      float64 `json:"heap_gib"`                    // live, after a collection
	Resident  float64 `json:"resident_gib"`                // of the process, at rest, after a collection
	Peak      float64 `json:"peak_gib"`                    // resident, on the way
	Admitted  float64 `json:"admission_s"`                 // from Serve until all are in, before any is answered
	AdmitCPU  float64 `json:"admission_cpu_us"`            // of one resource
	Rested    float64 `json:"rest_s"`                      // from Serve until each was polled and rests
	CPU       float64 `json:"cpu_us"`                      // of one resource: its admission and its first poll
	Collector float64 `json:"collector_share"`             // of the CPU time
	Pause     float64 `json:"longest_pause_ms"`

	// After a stop, from the same store; zero without one.
	Restart     float64 `json:"restart_s"`               // until all are in and serve
	RestartPeak float64 `json:"restart_peak_gib"`        // resident, on the way
	Again       float64 `json:"bytes_beyond_restarted"`  // as bytes_beyond
	Asked       int64   `json:"requests_of_the_restart"` // none is due
}

// lasting is an origin that answers each request with validators as GitHub sends
// them, and that it wants to be left alone for a day.
type lasting struct{}

const (
	restETag     = `W/"%064x"`
	restModified = "Mon, 02 Feb 2026 17:00:23 GMT"
)

func (lasting) RoundTrip(req *http.Request) (*http.Response, error) {
	n, _ := strconv.Atoi(req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:])
	h := http.Header{
		"Etag": {fmt.Sprintf(restETag, n)}, "Last-Modified": {restModified}, "X-Poll-Interval": {"86400"},
		"Content-Type": {"application/json; charset=utf-8"}, "Cache-Control": {"private, max-age=60, s-maxage=60"},
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader("[]")), ContentLength: 2, Request: req,
	}, nil
}

// heldLasting answers once all resources are in, so that an admission is measured
// without polls beside it.
type heldLasting struct {
	lasting
	in <-chan struct{}
}

func (h heldLasting) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case <-h.in:
		return h.lasting.RoundTrip(req)
	case <-req.Context().Done():
		return nil, context.Cause(req.Context())
	}
}

// restURI has 60 bytes.
func restURI(n int) string {
	return fmt.Sprintf("https://api.github.test/repositories/events/about/%010d", n)
}

// A resource at rest takes little: its encoding in the queue, and in the store.
func TestRest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resources")
	writeURIs(t, file, *restResources)
	for store := range strings.SplitSeq(*restDB, ",") {
		result := measureRest(t, store, file)
		line, err := json.Marshal(result)
		require.NoError(t, err)
		t.Logf("rest: %s", line)
		most := map[string]float64{"none": restBytes, "memory": storedBytes, "file": filedBytes}[store]
		most += onceBytes / float64(*restResources)
		if !underRace { // too few of them there to tell
			require.LessOrEqual(t, result.Beyond, most, "bytes beyond URI and validators, in store %s", store)
		}
	}
}

func writeURIs(t *testing.T, name string, n int) {
	f, err := os.Create(name)
	require.NoError(t, err)
	w := bufio.NewWriter(f)
	for i := range n {
		fmt.Fprintln(w, restURI(i))
	}
	require.NoError(t, w.Flush())
	require.NoError(t, f.Close())
}

func measureRest(t *testing.T, store, file string) restResult {
	n := *restResources
	result := restResult{Store: store, Resources: n, Bare: len(restURI(0)) + len(fmt.Sprintf(restETag, 0)) + len(restModified)}
	before := liveHeap()
	resetPeak()
	open := func() db.DB { return nil }
	switch name := filepath.Join(t.TempDir(), "state"); store {
	case "memory":
		memory := db.NewMemory()
		open = func() db.DB { return memory }
	case "file":
		open = func() db.DB {
			f, err := db.OpenFile(name)
			require.NoError(t, err)
			return f
		}
	}
	begin, cpu, began := time.Now(), cpuSeconds(), usedCPU()
	rig, stop := serveRest(t, file, open())
	result.Admitted = time.Since(begin).Seconds()
	result.AdmitCPU = float64((usedCPU() - began).Microseconds()) / float64(n)
	awaitRest(t, rig, n)
	result.Rested = time.Since(begin).Seconds()
	used := cpuSeconds()
	result.CPU = float64((usedCPU() - began).Microseconds()) / float64(n)
	result.Collector = (used.collector - cpu.collector) / (used.all - cpu.all)
	live := liveHeap()
	result.Beyond = float64(live-before)/float64(n) - float64(result.Bare)
	result.Heap, result.Resident, result.Peak = gib(live), gib(statusBytes(t, "VmRSS")), gib(statusBytes(t, "VmHWM"))
	result.Pause = longestPause()
	if *restHeap != "" {
		f, err := os.Create(*restHeap + "." + store)
		require.NoError(t, err)
		require.NoError(t, pprof.Lookup("heap").WriteTo(f, 0))
		require.NoError(t, f.Close())
	}
	stop()
	if store == "none" {
		return result
	}
	liveHeap() // what the first run had is given back
	resetPeak()
	begin = time.Now()
	rig, stop = serveRest(t, file, open())
	result.Restart = time.Since(begin).Seconds()
	result.RestartPeak = gib(statusBytes(t, "VmHWM"))
	result.Again = float64(liveHeap()-before)/float64(n) - float64(result.Bare)
	result.Asked = rig.Stats().Requests
	stop()
	require.Zero(t, result.Asked, "requests of a restart")
	return result
}

// serveRest serves until stop is called, and returns when all are in. It closes a
// store that is a file.
func serveRest(t *testing.T, file string, store db.DB) (rig *firehose.OS, stop func()) {
	in := make(chan struct{})
	rig, err := firehose.New(firehose.Config{ResourceFile: file, Transport: heldLasting{in: in}, DB: store, RequestTimeout: time.Hour})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- rig.Serve(ctx) }()
	ready := make(chan error, 1)
	go func() { ready <- rig.Ready(ctx) }()
	select {
	case err := <-done:
		t.Fatalf("ended: %v", err)
	case err := <-ready:
		require.NoError(t, err)
	}
	close(in)
	return rig, func() {
		cancel()
		require.NoError(t, <-done)
		if f, ok := store.(*db.File); ok {
			require.NoError(t, f.Close())
		}
	}
}

// resetPeak lets the system forget the peak of the resident memory, where it can.
func resetPeak() { os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// awaitRest waits until each resource was polled once and waits for its interval. It
// fails, and names some that don't, when nothing has changed for a minute: more than
// a machine stands still.
func awaitRest(t *testing.T, rig *firehose.OS, n int) {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	before, changed := int64(-1), time.Now()
	for range look.C {
		s := rig.Stats()
		ready := 0
		for _, q := range s.Queues {
			ready += q.Ready + q.Held
		}
		if s.Polls >= int64(n) && ready == 0 {
			return
		}
		require.True(t, rig.Health().Live)
		if s.Polls != before {
			before, changed = s.Polls, time.Now()
		}
		if time.Since(changed) > time.Minute {
			t.Fatalf("%d of %d polled, %d ready: %s", s.Polls, n, ready, restless(t, rig, n))
		}
	}
}

// restless says where the first resources are that don't wait for their interval.
func restless(t *testing.T, rig *firehose.OS, n int) string {
	var found []string
	for i := 0; i < n && len(found) < 5; i++ {
		e, err := rig.Explain(t.Context(), idOf(t, restURI(i)))
		if err != nil {
			found = append(found, fmt.Sprintf("%s: %v", restURI(i), err))
		} else if e.Held || e.State != resource.WaitingForInterval || !e.Until.After(time.Now()) {
			found = append(found, e.String())
		}
	}
	return strings.Join(found, "\n")
}

// liveHeap is what the heap holds after a collection.
func liveHeap() uint64 {
	for range 3 { // pools keep their contents for two
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func gib(n uint64) float64 { return float64(n>>10) / (1 << 20) }

// cpuTimes are seconds since the process began.
type cpuTimes struct{ collector, all float64 }

func cpuSeconds() cpuTimes {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"}}
	metrics.Read(s)
	return cpuTimes{s[0].Value.Float64(), s[1].Value.Float64() - s[2].Value.Float64()}
}

// usedCPU is the CPU time of this process, as the system counts it; 0 where it tells
// nothing.
func usedCPU() time.Duration {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the name
	fields := strings.Fields(rest)
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// longestPause of the collector since the process began, in milliseconds.
func longestPause() float64 {
	s := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	h := s[0].Value.Float64Histogram()
	for i := len(h.Counts) - 1; i >= 0; i-- {
		if h.Counts[i] > 0 {
			return h.Buckets[i] * 1e3
		}
	}
	return 0
}

// statusBytes reads a size from what the system knows of this process; 0 where it
// tells nothing.
func statusBytes(t *testing.T, name string) uint64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			require.NoError(t, err)
			return n << 10
		}
	}
	return 0
}
