package firehose_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// BenchmarkAdd is one call of OS.Add, with so many new resources, while nothing is
// polled.
//
//	ns/resource    of the time that it takes
func BenchmarkAdd(b *testing.B) {
	for _, kind := range []string{"none", "memory", "file"} {
		for _, n := range []int{1, 1000} {
			b.Run(fmt.Sprintf("store=%s/specs=%d", kind, n), func(b *testing.B) { benchmarkAdd(b, kind, n) })
		}
	}
}

func benchmarkAdd(b *testing.B, kind string, n int) {
	var config firehose.Config
	var err error
	switch kind {
	case "none":
		config.Queue, err = queue.NewMemory(queue.MemoryConfig{})
	case "memory":
		config.DB = db.NewMemory()
	case "file":
		config.DB, err = db.OpenFile(filepath.Join(b.TempDir(), "state"))
	}
	require.NoError(b, err)
	if config.DB != nil {
		defer config.DB.Close()
		config.Queue, err = queue.NewDurable(config.DB, queue.DurableConfig{})
		require.NoError(b, err)
	}
	defer config.Queue.Close()
	os, err := firehose.New(config)
	require.NoError(b, err)
	specs, total := make([]resource.Spec, n), 0
	b.ReportAllocs()
	for b.Loop() {
		for i := range specs {
			specs[i] = resource.Spec{URI: restURI(total)}
			total++
		}
		if err := os.Add(b.Context(), specs...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(total), "ns/resource")
}
