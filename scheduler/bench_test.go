package scheduler_test

import (
	"context"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cannedos/cannedos/scheduler"
)

const crowd = 10_000

// ways are how the services of a benchmark fail.
func ways() map[string]func() error {
	return map[string]func() error{
		"error": func() error { return errBroken },
		"panic": func() error { panic(errBroken) },
	}
}

func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// serveCrowd serves n services of one kind; stop ends them.
func serveCrowd(b *testing.B, n int, spec scheduler.Spec) (s *scheduler.Scheduler, stop func()) {
	b.Helper()
	specs := make([]scheduler.Spec, n)
	for i := range specs {
		specs[i] = spec
		specs[i].Alias = strconv.Itoa(i)
	}
	s, err := scheduler.New(scheduler.Config{Services: specs})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() { result <- s.Serve(ctx) }()
	return s, func() {
		cancel()
		if err := <-result; err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIdle holds 10,000 idle services and reports what each costs.
func BenchmarkIdle(b *testing.B) {
	var bytes, goroutines, start, stop []float64
	for b.Loop() {
		heldBefore, runningBefore := memory(), runtime.NumGoroutine()
		begin := time.Now()
		s, end := serveCrowd(b, crowd, scheduler.Spec{Service: idle})
		if err := s.AwaitStarted(context.Background()); err != nil {
			b.Fatal(err)
		}
		start = append(start, float64(time.Since(begin))/crowd)
		bytes = append(bytes, float64(memory()-heldBefore)/crowd)
		goroutines = append(goroutines, float64(runtime.NumGoroutine()-runningBefore)/crowd)
		begin = time.Now()
		end()
		stop = append(stop, float64(time.Since(begin))/crowd)
	}
	b.ReportMetric(median(bytes), "B/service")
	b.ReportMetric(median(goroutines), "goroutines/service")
	b.ReportMetric(median(start), "start-ns/service")
	b.ReportMetric(median(stop), "stop-ns/service")
}

// BenchmarkRestart lets one service fail as soon as Serve is entered, and
// measures from each failure until it is entered again. The service itself
// turns the loop of the benchmark: with a goroutine beside it that does, what is
// measured is how long the machine takes to wake that.
func BenchmarkRestart(b *testing.B) {
	for name, fail := range ways() {
		b.Run(name, func(b *testing.B) {
			birth := time.Now()
			took := make([]time.Duration, 0, 1<<20) // room for more would be garbage of its own
			var failed time.Duration                // when the run before failed; handed from run to run
			done := make(chan struct{})
			b.ReportAllocs()
			_, stop := serveCrowd(b, 1, scheduler.Spec{Backoff: at(0), Service: scheduler.Func(func(ctx context.Context) error {
				if now := time.Since(birth); failed > 0 && len(took) < cap(took) {
					took = append(took, now-failed)
				}
				if !b.Loop() {
					close(done)
					<-ctx.Done()
					return nil
				}
				failed = time.Since(birth)
				return fail()
			})})
			<-done
			stop()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
			b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
		})
	}
}

// BenchmarkStorm lets 10,000 services fail at once and waits until all run
// again.
func BenchmarkStorm(b *testing.B) {
	for name, fail := range ways() {
		b.Run(name, func(b *testing.B) {
			var gate atomic.Pointer[chan struct{}]
			var up atomic.Int64
			all := make(chan struct{}, 1)
			gate.Store(new(make(chan struct{})))
			_, stop := serveCrowd(b, crowd, scheduler.Spec{Backoff: at(0), Service: scheduler.Func(func(ctx context.Context) error {
				mine := *gate.Load()
				if up.Add(1) == crowd {
					all <- struct{}{}
				}
				select {
				case <-mine:
					return fail()
				case <-ctx.Done():
					return nil
				}
			})})
			<-all
			b.ReportAllocs()
			for b.Loop() {
				up.Store(0)
				close(*gate.Swap(new(make(chan struct{}))))
				<-all
			}
			stop()
		})
	}
}
