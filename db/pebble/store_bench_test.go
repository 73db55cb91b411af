package pebble

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/db/dbtest"
)

// sideBySide runs a benchmark over this store and over db.File.
func sideBySide(b *testing.B, run func(b *testing.B, open dbtest.Open)) {
	b.Run("Pebble", func(b *testing.B) { run(b, directories(b, Config{})) })
	b.Run("File", func(b *testing.B) {
		parent := b.TempDir()
		run(b, func(t testing.TB, name string) db.DB {
			t.Helper()
			store, err := db.OpenFile(filepath.Join(parent, name))
			require.NoError(t, err)
			return store
		})
	})
}

func BenchmarkStore(b *testing.B) { sideBySide(b, dbtest.Bench) }

// BenchmarkPolls writes what a durable queue does: for each poll a claim, and
// later its result, of 300 bytes each, each replacing the record of its
// resource. An operation is one record.
func BenchmarkPolls(b *testing.B) {
	for _, c := range []struct{ writers, batch int }{{1, 100}, {16, 16}, {4, 256}} {
		b.Run(fmt.Sprintf("%dWriters%dBatch", c.writers, c.batch), func(b *testing.B) {
			sideBySide(b, func(b *testing.B, open dbtest.Open) { benchPolls(b, open, c.writers, c.batch) })
		})
	}
}

func benchPolls(b *testing.B, open dbtest.Open, writers, batch int) {
	const resources = 20_000 // of each writer
	store := open(b, "polls")
	owner := db.NewOwner()
	value := make([]byte, 300)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			writes := make([]db.Write, batch)
			for i := 0; i < b.N/writers; {
				for k := range writes {
					// Claims of one batch of resources, then their results.
					at := i/(2*batch)*batch + k
					version := 2*int64(at/resources) + int64(i/batch%2)
					r := db.Record{Space: "journal", ID: fmt.Sprintf("%04d%032d", w, at%resources), Version: version + 1, Value: value}
					if i/batch%2 == 0 {
						r.Owner = owner
					}
					writes[k] = db.Write{If: version, Record: r}
				}
				i += batch
				results, err := store.Write(context.Background(), writes...)
				if err != nil || !results[0].OK || !results[batch-1].OK {
					b.Error(results, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	require.NoError(b, store.Close())
}

// BenchmarkStart opens a store with a million records of 300 bytes and scans
// them, as a queue does when it starts. Run it with -benchtime 1x.
func BenchmarkStart(b *testing.B) {
	sideBySide(b, func(b *testing.B, open dbtest.Open) {
		const records, batch = 1_000_000, 4000
		store := open(b, "start")
		for i := 0; i < records; i += batch {
			writes := make([]db.Write, batch)
			for k := range writes {
				writes[k] = db.Write{Record: db.Record{Space: "journal", ID: fmt.Sprintf("%036d", i+k), Version: 1, Value: make([]byte, 300)}}
			}
			_, err := store.Write(b.Context(), writes...)
			require.NoError(b, err)
		}
		require.NoError(b, store.Close())
		b.ReportAllocs()
		for b.Loop() {
			store := open(b, "start")
			n := 0
			for _, err := range store.Scan(b.Context(), "journal") {
				require.NoError(b, err)
				n++
			}
			require.Equal(b, records, n)
			require.NoError(b, store.Close())
		}
		b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
}
