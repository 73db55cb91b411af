//go:build integration

package kafka

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/queue/queuetest"
	"github.com/cannedos/cannedos/resource"
)

// newRealRig makes a journal of its own at the broker that CANNEDOS_KAFKA names.
func newRealRig(t testing.TB, partitions int) *rig {
	broker := os.Getenv("CANNEDOS_KAFKA")
	if broker == "" {
		t.Skip("no Kafka: set CANNEDOS_KAFKA to host:port, or start one with: go run ./internal/servers/with go test -tags integration ./queue/kafka")
	}
	r := &rig{t: t, dial: new(net.Dialer).DialContext, config: Config{
		Cluster: Cluster{Brokers: []string{broker}, Logger: testLog(t)}, Topic: fmt.Sprintf("test-%016x", rand.Uint64()),
		SessionTimeout: 6 * time.Second,
	}}
	r.createTopic(partitions)
	return r
}

func TestRealConformance(t *testing.T) {
	open := func(r *rig, room int) queue.Queue {
		p := r.start(func(c *Config) { c.Memory.Capacity = room })
		return &owned{Queue: p.part(r.t, 0).Queue, process: p, rig: r}
	}
	queuetest.Suite{
		WallClock: true,
		Patience:  time.Minute,
		Open:      func(t *testing.T) queue.Queue { return open(newRealRig(t, 1), 0) },
		OpenRoom:  func(t *testing.T, room int) queue.Queue { return open(newRealRig(t, 1), room) },
		Reopen: func(t *testing.T, old queue.Queue) queue.Queue {
			o := old.(*owned)
			o.process.cable.pull()
			return open(o.rig, 0)
		},
	}.Run(t)
}

// BenchmarkPolls claims resources and brings results, over all partitions of one
// process at once, as its polls do. It reports polls a second, and how long a claim
// takes.
func BenchmarkPolls(b *testing.B) {
	const partitions, workers = 8, 64
	r := newRealRig(b, partitions)
	p := r.start(nil)
	type worker struct {
		s  queue.Session
		ds []queue.Delivery
	}
	all := make([]worker, partitions*workers)
	for i := range all {
		q := p.part(b, i%partitions).Queue
		s, err := q.Open(b.Context())
		require.NoError(b, err)
		res := newResource(b, fmt.Sprintf("https://%d.example/a/path/of/usual/length?and=a&query=%d", i, i))
		name := fmt.Sprint("w", i)
		require.NoError(b, s.Commit(b.Context(), nil, queue.Message{Queue: name, Resource: res}))
		ds, err := s.Receive(b.Context(), name, 1)
		require.NoError(b, err)
		all[i] = worker{s: s, ds: ds}
	}
	var mu sync.Mutex
	var claims []time.Duration
	before := p.writer.transactions.Load()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			w := &all[i]
			name := w.ds[0].Queue
			owner := resource.NewOwner()
			var took []time.Duration
			for range (b.N + len(all) - 1) / len(all) {
				m := w.ds[0].To(name, time.Time{})
				now := time.Now()
				m.Resource.Claim(owner, now, now.Add(30*time.Second))
				if err := w.s.Commit(b.Context(), w.ds, m); err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(now))
				ds, err := w.s.Receive(b.Context(), name, 1)
				if err != nil {
					b.Error(err)
					return
				}
				m = ds[0].To(name, time.Time{})
				m.Resource.Owner = resource.Owner{}
				if err := w.s.Commit(b.Context(), ds, m); err != nil {
					b.Error(err)
					return
				}
				if w.ds, err = w.s.Receive(b.Context(), name, 1); err != nil {
					b.Error(err)
					return
				}
			}
			mu.Lock()
			claims = append(claims, took...)
			mu.Unlock()
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(claims)
	b.ReportMetric(float64(len(claims))/b.Elapsed().Seconds(), "polls/s")
	b.ReportMetric(float64(claims[len(claims)/2].Microseconds())/1000, "claim-p50-ms")
	b.ReportMetric(float64(claims[len(claims)*99/100].Microseconds())/1000, "claim-p99-ms")
	b.ReportMetric(float64(p.writer.transactions.Load()-before)/b.Elapsed().Seconds(), "transactions/s")
}
