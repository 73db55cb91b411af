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

// BenchmarkTakeover cuts a process off that holds 100,000 resources in eight
// partitions, each written some times before, and reports how long after its session
// another one has read them all.
func BenchmarkTakeover(b *testing.B) {
	const partitions, resources, times = 8, 100_000, 5
	for range b.N {
		r := newRealRig(b, partitions)
		first := r.start(nil)
		var wg sync.WaitGroup
		for n := range partitions {
			q := first.part(b, n).Queue
			wg.Go(func() {
				s, err := q.Open(b.Context())
				require.NoError(b, err)
				const batch = 500
				for i := 0; i < resources/partitions; i += batch {
					var ms []queue.Message
					for k := range batch {
						ms = append(ms, messageOf("q", newResource(b, fmt.Sprintf("https://%d.example/a/path/of/usual/length?and=a&query=%d", n, i+k))))
					}
					require.NoError(b, s.Commit(b.Context(), nil, ms...))
					owner := resource.NewOwner()
					for k := range times {
						ds, err := s.Receive(b.Context(), "q", batch)
						require.NoError(b, err)
						ms = ms[:0]
						for _, d := range ds {
							m := d.To("q", time.Time{})
							if m.Resource.Owner = (resource.Owner{}); k%2 == 0 {
								m.Resource.Claim(owner, time.Now(), time.Now().Add(time.Minute))
							}
							if k == times-1 {
								m = d.To("done", time.Time{})
							}
							ms = append(ms, m)
						}
						require.NoError(b, s.Commit(b.Context(), ds, ms...))
					}
				}
			})
		}
		wg.Wait()
		begun := time.Now()
		first.cable.pull()
		second := r.start(nil)
		for n := range partitions {
			q := second.part(b, n).Queue
			_, err := q.Open(b.Context())
			require.NoError(b, err)
		}
		took := time.Since(begun)
		total := 0
		for n := range partitions {
			depths, err := second.part(b, n).Queue.(queue.Depther).Depths(b.Context())
			require.NoError(b, err)
			for _, d := range depths {
				total += d.Waiting + d.Ready + d.Held
			}
		}
		require.Equal(b, resources, total)
		b.ReportMetric((took - second.config.SessionTimeout).Seconds(), "s-after-session")
	}
}
