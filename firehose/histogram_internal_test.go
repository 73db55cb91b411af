package firehose

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Each value is in the cell whose bounds hold it, cells are in order without a
// gap, and none is wider than 3.2 percent of what it holds.
func TestHistogramCells(t *testing.T) {
	next := uint64(0)
	for i := range cellCount {
		top := cellTop(i)
		require.Equal(t, i, cell(next), "cell %d begins at %d", i, next)
		require.Equal(t, i, cell(top), "cell %d ends at %d", i, top)
		require.LessOrEqual(t, float64(top-next), 0.032*float64(next)+1e-9, "cell %d", i)
		if top == math.MaxUint64 {
			require.Equal(t, cellCount-1, i)
			break
		}
		next = top + 1
	}
	require.Less(t, cell(math.MaxInt64), cellCount)
}

func TestHistogramQuantiles(t *testing.T) {
	var none histogram
	require.Zero(t, none.quantiles())
	rng := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() time.Duration{
		"uniform":   func() time.Duration { return time.Duration(rng.Int64N(int64(time.Second))) },
		"heavy":     func() time.Duration { return time.Duration(math.Exp(rng.Float64() * 43)) },
		"small":     func() time.Duration { return time.Duration(rng.IntN(20)) },
		"one value": func() time.Duration { return 1234567 },
		"negative":  func() time.Duration { return -time.Duration(rng.IntN(20)) },
	} {
		t.Run(name, func(t *testing.T) {
			var h histogram
			all := make([]time.Duration, 10_000)
			for i := range all {
				all[i] = max(0, draw())
				h.add(all[i])
			}
			slices.Sort(all)
			q := h.quantiles()
			require.EqualValues(t, len(all), q.Count)
			require.Equal(t, all[len(all)-1], q.Max)
			for share, got := range map[float64]time.Duration{0.5: q.P50, 0.95: q.P95, 0.99: q.P99} {
				want := all[int(math.Ceil(share*float64(len(all))))-1]
				require.GreaterOrEqual(t, got, want, "%v", share)
				require.LessOrEqual(t, float64(got-want), 0.032*float64(want), "%v", share)
			}
		})
	}
}

func TestHistogramTogether(t *testing.T) {
	var h histogram
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for k := range 1000 {
				h.add(time.Duration(i*1000 + k))
			}
		})
	}
	all.Wait()
	q := h.quantiles()
	require.EqualValues(t, 8000, q.Count)
	require.EqualValues(t, 7999, q.Max)
	text, err := json.Marshal(Quantiles{Count: 2, P50: 1500 * time.Microsecond, P95: time.Second, P99: time.Hour, Max: time.Nanosecond})
	require.NoError(t, err)
	require.JSONEq(t, `{"count":2,"p50_ms":1.5,"p95_ms":1000,"p99_ms":3600000,"max_ms":0}`, string(text))
}
