package queue_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/queue/queuetest"
)

func BenchmarkDurableMemory(b *testing.B) {
	queuetest.Bench(b, func(b *testing.B) queue.Queue {
		d, err := queue.NewDurable(db.NewMemory(), queue.DurableConfig{})
		require.NoError(b, err)
		return d
	})
}

func BenchmarkDurableFile(b *testing.B) {
	queuetest.Bench(b, func(b *testing.B) queue.Queue {
		file, err := db.OpenFile(filepath.Join(b.TempDir(), "q.db"))
		require.NoError(b, err)
		b.Cleanup(func() { file.Close() })
		d, err := queue.NewDurable(file, queue.DurableConfig{})
		require.NoError(b, err)
		return d
	})
}

// BenchmarkDurablePolls measures claims and results of concurrent workers, each
// with one resource at a time, as the services of a flow commit them.
func BenchmarkDurablePolls(b *testing.B) {
	for _, workers := range []int{1, 16, 256} {
		for _, name := range []string{"memory", "file"} {
			b.Run(fmt.Sprintf("%s/%d", name, workers), func(b *testing.B) {
				store := openStore(b, name)
				d, err := queue.NewDurable(store, queue.DurableConfig{})
				require.NoError(b, err)
				b.Cleanup(func() { d.Close() })
				benchPolls(b, d, workers)
			})
		}
	}
}

func benchPolls(b *testing.B, d *queue.Durable, workers int) {
	s, err := d.Open(context.Background())
	require.NoError(b, err)
	for i := range workers {
		require.NoError(b, s.Commit(context.Background(), nil, admission("requests", i)))
	}
	b.ReportAllocs()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := poll(s); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

func poll(s queue.Session) error {
	ctx := context.Background()
	ds, err := s.Receive(ctx, "requests", 1)
	if err != nil {
		return err
	}
	m := claim(ds[0], "claimed")
	if err := s.Commit(ctx, ds, m); err != nil {
		return err
	}
	if ds, err = s.Receive(ctx, "claimed", 1); err != nil {
		return err
	}
	m = ds[0].To("requests", time.Time{})
	m.Resource.Unclaim()
	return s.Commit(ctx, ds, m)
}
