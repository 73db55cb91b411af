package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// inUse is the memory of heap and stacks. Collecting twice also frees what
// waits in pools, and lets stacks shrink that grew during the start.
func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// goroutinesGone waits until there are no more goroutines than before; those
// of some systems end a little after they say so.
func goroutinesGone(before int) error {
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%d goroutines are left after the stop, and %d were there before", runtime.NumGoroutine(), before)
		}
	}
	return nil
}

// collectorCPU is the processor time that the collector has taken so far, as the
// runtime estimates it at the end of each cycle.
func collectorCPU() time.Duration {
	read := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(read)
	if read[0].Value.Kind() != metrics.KindFloat64 {
		return 0
	}
	return time.Duration(read[0].Value.Float64() * float64(time.Second))
}

// resident is the memory of this process that is in core, in bytes. It is zero
// where the system doesn't say.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			if err == nil {
				return kb << 10
			}
		}
	}
	return 0
}

// allocations is the number of objects allocated so far.
func allocations() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}
