package queue

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkMemoryWaiting fills a queue with n messages due within a minute and
// moves each on for another minute when it is due, in batches of 64. The clock
// of the queue is pushed on so that there is always a batch that is due. Then it
// leaves the clock alone and watches how late messages come.
//
//	B/waiting    heap per message, less the encoding of its resource and its Due
//	B/all        heap per message
//	add-ns       CPU of an admission, in batches of 64, into memory that nobody has touched
//	touch-ns     CPU of copying as many bytes into such memory, and nothing else: the floor
//	add-warm-ns  add-ns once more, after all messages were retired
//	move-cpu-ns  CPU of a Receive and a Commit, for each of a batch of 64; move-ns: by the clock
//	reach-ns     CPU of loading and writing as many bytes here and there, and nothing else: the floor
//	gc-cpu-ms    CPU of a full collection, with nothing but the queue alive
//	pour-ns      CPU of moving a message from a bucket of level 1 to one of level 0
//	step-max-us  most CPU of a single step of the wheel, which is a hold of the lock
//	spin-max-us  the same of as many steps that only count, for a busy machine
//	longest-us   the longest Receive or Commit of all, by the clock
//	late-p99-ns  from the Due of a message to its Receive, for up to 50,000 a second
//	sleep-p99-ns how late a goroutine is that sleeps to the millisecond, beside it
//
// n=10000000 runs where QUEUE_BENCH_N=10000000 is set; it leaves out add-warm-ns.
func BenchmarkMemoryWaiting(b *testing.B) {
	sizes := []int{10_000, 100_000, 1_000_000}
	if n, err := strconv.Atoi(os.Getenv("QUEUE_BENCH_N")); err == nil {
		sizes = []int{n}
	}
	for _, n := range sizes {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			w := waitingBench{n: n, spread: max(time.Minute, time.Duration(n)*benchRate)}
			w.run(b)
		})
	}
}

const (
	benchRate   = time.Second / 50_000 // at most one message in so long is due
	benchBatch  = 64
	benchName   = "frozen-1000"
	benchWatch  = 3 * time.Second // of lateness
	benchWarm   = 1_000_000       // most messages that are admitted twice
	benchFloors = 1 << 20         // most messages that a floor is measured with
)

// waitingBench is one size of BenchmarkMemoryWaiting.
type waitingBench struct {
	n      int
	spread time.Duration
	m      *Memory
	s      *memorySession
	itself int // bytes of a message itself
}

func (w *waitingBench) run(b *testing.B) {
	metrics := map[string]float64{"ns/op": 0}
	report := func(unit string, value float64) { metrics[unit] = value }
	defer func() { // b.Loop forgets what was reported before it
		for unit, value := range metrics {
			b.ReportMetric(value, unit)
		}
	}()
	for range 2 { // what counts is the second time: the first may be the machine's own
		touch, reach := floors(min(w.n, benchFloors))
		report("touch-ns", touch)
		report("reach-ns", reach)
		debug.FreeOSMemory()
	}
	before := heapBytes()
	var err error
	w.m, err = NewMemory(MemoryConfig{})
	require.NoError(b, err)
	defer w.m.Close()
	w.s, err = w.m.open(b.Context())
	require.NoError(b, err)
	report("add-ns", w.fill(b))
	if w.n <= benchWarm {
		w.retire(b)
		report("add-warm-ns", w.fill(b))
	}
	all := int(heapBytes()-before) / w.n
	report("B/all", float64(all))
	report("B/waiting", float64(all-w.itself))
	report("gc-cpu-ms", float64(cpuOf(runtime.GC).Microseconds())/1000)
	w.pour(report)
	w.move(b, report)
	late, sleep := w.lateness(b)
	report("late-p99-ns", late)
	report("sleep-p99-ns", sleep)
}

// fill admits n messages that are due in an hour, over the time that they are
// spread over, and returns the CPU of each.
func (w *waitingBench) fill(b *testing.B) float64 {
	start := time.Now().Add(time.Hour)
	next := make([]Message, 0, benchBatch)
	var took time.Duration
	for i := 0; i < w.n; i += benchBatch {
		next = next[:0]
		for k := i; k < min(i+benchBatch, w.n); k++ {
			due := start.Add(time.Duration(uint64(k) * 0x9e3779b97f4a7c15 % uint64(w.spread)))
			next = append(next, Message{Queue: benchName, Resource: benchResource(k), Due: due})
		}
		took += cpuOf(func() { require.NoError(b, w.s.Commit(b.Context(), nil, next...)) })
	}
	encoded, err := next[0].Resource.MarshalBinary()
	require.NoError(b, err)
	w.itself = len(encoded) + 8
	return float64(took.Nanoseconds()) / float64(w.n)
}

// retire empties the queue.
func (w *waitingBench) retire(b *testing.B) {
	w.m.pushClock(time.Hour + w.spread + time.Second)
	for left := w.n; left > 0; {
		ds, err := w.s.Receive(b.Context(), benchName, maxBatch)
		require.NoError(b, err)
		require.NoError(b, w.s.Commit(b.Context(), ds))
		left -= len(ds)
	}
	runtime.GC()
}

// pour does what an idle receiver does while it waits for the first due.
func (w *waitingBench) pour(report func(string, float64)) {
	const lead = time.Minute
	w.m.pushClock(time.Hour - lead)
	p := w.m.places[0]
	runtime.LockOSThread() // so that a step is told from what else the process does
	defer runtime.UnlockOSThread()
	poured, steps := 0, 0
	took, longest := timeSteps(func() (more bool) {
		_, now := w.m.now()
		p.wheel.turn(&w.m.slots, &p.near, tickOf(now), stepSize)
		n := p.wheel.pourAhead(&w.m.slots, stepSize)
		poured += n
		steps++
		return n > 0
	})
	report("pour-ns", float64(took.Nanoseconds())/float64(max(poured, 1)))
	report("step-max-us", float64(longest.Nanoseconds())/1000)
	left, x := steps, uint64(0)
	_, longest = timeSteps(func() (more bool) {
		for range 20 * stepSize {
			x = x*6364136223846793005 + 1442695040888963407
		}
		left--
		return left > 0 || x == 0
	})
	report("spin-max-us", float64(longest.Nanoseconds())/1000)
	w.m.pushClock(lead)
}

// timeSteps returns the CPU of all steps, and of the longest.
func timeSteps(step func() (more bool)) (took, longest time.Duration) {
	began := usedBy(thread)
	last := began
	for more := true; more; {
		more = step()
		used := usedBy(thread)
		last, longest = used, max(longest, used-last)
	}
	return last - began, longest
}

func (w *waitingBench) move(b *testing.B, report func(string, float64)) {
	next := make([]Message, 0, benchBatch)
	var longest time.Duration
	moves := 0
	cpu, began := cpuTime(), time.Now()
	for b.Loop() {
		w.m.pushClock(w.spread * benchBatch / time.Duration(w.n))
		call := time.Now()
		ds, err := w.s.Receive(b.Context(), benchName, benchBatch)
		if err != nil {
			b.Fatal(err)
		}
		longest = max(longest, time.Since(call))
		next = next[:0]
		for i := range ds {
			next = append(next, ds[i].To(benchName, ds[i].Due.Add(w.spread)))
		}
		call = time.Now()
		if err := w.s.Commit(b.Context(), ds, next...); err != nil {
			b.Fatal(err)
		}
		longest = max(longest, time.Since(call))
		moves += len(ds)
	}
	report("move-ns", float64(time.Since(began).Nanoseconds())/float64(moves))
	report("move-cpu-ns", float64((cpuTime()-cpu).Nanoseconds())/float64(moves))
	report("longest-us", float64(longest.Microseconds()))
}

// lateness lets messages come as they are due, and a goroutine sleep to each
// millisecond. It returns how late the ninety-ninth of a hundred is.
func (w *waitingBench) lateness(b *testing.B) (late, sleep float64) {
	for {
		ds, _, err := w.pass(b.Context())
		require.NoError(b, err)
		if len(ds) < benchBatch {
			break // nothing is left of the moves before
		}
	}
	ctx, cancel := context.WithTimeout(b.Context(), benchWatch)
	defer cancel()
	sleeps := make(chan []time.Duration)
	go func() {
		var all []time.Duration
		for to := time.Now(); ctx.Err() == nil; to = to.Add(time.Millisecond) { // none is left out
			time.Sleep(time.Until(to))
			all = append(all, time.Since(to))
		}
		sleeps <- all
	}()
	var lates []time.Duration
	for {
		ds, at, err := w.pass(ctx)
		if ctx.Err() != nil {
			break
		}
		require.NoError(b, err)
		for i := range ds {
			lates = append(lates, at.Sub(ds[i].Due))
		}
	}
	return p99(lates), p99(<-sleeps)
}

// pass moves a batch that is due on, and says when it had it.
func (w *waitingBench) pass(ctx context.Context) (ds []Delivery, at time.Time, err error) {
	ds, err = w.s.Receive(ctx, benchName, benchBatch)
	if err != nil {
		return nil, at, err
	}
	at = time.Now()
	next := make([]Message, len(ds))
	for i := range ds {
		if ds[i].Due.After(at) {
			return nil, at, fmt.Errorf("%v early", ds[i].Due.Sub(at))
		}
		next[i] = ds[i].To(benchName, ds[i].Due.Add(w.spread))
	}
	return ds, at, w.s.Commit(context.WithoutCancel(ctx), ds, next...)
}

func p99(all []time.Duration) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return float64(all[len(all)*99/100].Nanoseconds())
}

// floors returns what the memory alone costs, for n messages of about as many
// bytes as they take: the first touch of each, and another one in random order, in
// batches, to read it and to write it.
func floors(n int) (touch, reach float64) {
	const size = 300
	perChunk := arenaChunk / size
	var chunks []*[arenaChunk]byte
	from, to := make([]byte, benchBatch*size), make([]byte, benchBatch*size)
	touched := cpuOf(func() {
		for i := range n {
			if i%perChunk == 0 {
				chunks = append(chunks, new([arenaChunk]byte))
			}
			at := i % perChunk * size
			copy(chunks[len(chunks)-1][at:at+size], from)
		}
	})
	n = len(chunks) * perChunk
	reached := cpuOf(func() {
		x := uint64(0)
		for range n / benchBatch {
			seed := x
			for pass := range 2 {
				x = seed
				for k := range benchBatch {
					x = x*6364136223846793005 + 1442695040888963407
					i := int(x>>33) % n
					there := chunks[i/perChunk][i%perChunk*size:][:size]
					if here := to[k*size:][:size]; pass == 0 {
						copy(here, there)
					} else {
						copy(there, here)
					}
				}
			}
		}
	})
	return float64(touched.Nanoseconds()) / float64(n), float64(reached.Nanoseconds()) / float64(n)
}
