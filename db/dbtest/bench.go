package dbtest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// Sizes of the benchmarks: records as a journal of polls has them.
const (
	benchValue   = 300
	benchRecords = 10_000
	benchBatch   = 100
)

// Bench measures a store: writes one after the other, writes of many
// goroutines at once, batches, reads and scans. Besides the time of one
// operation each reports records/s.
func Bench(b *testing.B, open Open) {
	b.Run("Write", func(b *testing.B) { benchWrite(b, open, 1) })
	b.Run("WriteBatch", func(b *testing.B) { benchWrite(b, open, benchBatch) })
	for _, writers := range []int{16, 256} {
		b.Run(fmt.Sprintf("Writers%d", writers), func(b *testing.B) { benchWriters(b, open, writers) })
	}
	b.Run("Get", func(b *testing.B) { benchGet(b, open) })
	b.Run("Scan", func(b *testing.B) { benchScan(b, open) })
}

func benchStore(b *testing.B, open Open) db.DB {
	b.Helper()
	store := open(b, newName("dbbench"))
	b.Cleanup(func() { require.NoError(b, store.Close()) })
	return store
}

func benchRecord(i int, version int64, value []byte) db.Record {
	return db.Record{Space: "journal", ID: fmt.Sprintf("%036d", i%benchRecords), Version: version, Value: value}
}

// perSecond reports how many records an operation of n went through.
func perSecond(b *testing.B, n int) {
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// benchWrite replaces the same records round and round, batch at a time.
func benchWrite(b *testing.B, open Open, batch int) {
	store := benchStore(b, open)
	value := make([]byte, benchValue)
	writes := make([]db.Write, batch)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		for k := range writes {
			version := int64(i / benchRecords)
			writes[k] = db.Write{If: version, Record: benchRecord(i, version+1, value)}
			i++
		}
		results, err := store.Write(b.Context(), writes...)
		if err != nil || !results[0].OK {
			b.Fatal(results, err)
		}
	}
	perSecond(b, batch)
}

// benchWriters has goroutines that each write records of their own.
func benchWriters(b *testing.B, open Open, writers int) {
	store := benchStore(b, open)
	value := make([]byte, benchValue)
	var left atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := int64(0); left.Add(-1) >= 0; i++ {
				r := db.Record{Space: "journal", ID: fmt.Sprintf("%036d", w), Version: i + 1, Value: value}
				if results, err := store.Write(context.Background(), db.Write{If: i, Record: r}); err != nil || !results[0].OK {
					b.Error(results, err)
					return
				}
			}
		})
	}
	wg.Wait()
	perSecond(b, 1)
}

func fill(b *testing.B, store db.DB) {
	b.Helper()
	value := make([]byte, benchValue)
	for i := 0; i < benchRecords; i += benchBatch {
		writes := make([]db.Write, benchBatch)
		for k := range writes {
			writes[k] = db.Write{Record: benchRecord(i+k, 1, value)}
		}
		_, err := store.Write(b.Context(), writes...)
		require.NoError(b, err)
	}
}

func benchGet(b *testing.B, open Open) {
	store := benchStore(b, open)
	fill(b, store)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i += 7919 // prime to the number of records: all in a scattered order
		if records, err := store.Get(b.Context(), "journal", fmt.Sprintf("%036d", i%benchRecords)); err != nil || len(records) != 1 {
			b.Fatal(records, err)
		}
	}
	perSecond(b, 1)
}

func benchScan(b *testing.B, open Open) {
	store := benchStore(b, open)
	fill(b, store)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range store.Scan(b.Context(), "journal") {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != benchRecords {
			b.Fatal(n)
		}
	}
	perSecond(b, benchRecords)
}
