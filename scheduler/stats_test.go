package scheduler

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Tallies of many services are merged as if there had been one.
func TestTalliesUpTheTree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		generator := rand.New(rand.NewPCG(6, 6))
		whole := newTestGauge()
		wholeMeter := whole.meter()
		var root tally
		var gauges []*gauge
		for range 3 {
			g := newTestGauge()
			gauges = append(gauges, g, nil) // the nil one never measured
			m := g.meter()
			for range 500 {
				d := time.Duration(generator.ExpFloat64() * float64(time.Second))
				m.Observe(d, nil)
				wholeMeter.Observe(d, nil)
			}
			m.Observe(1, errMeasured)
			wholeMeter.Observe(1, errMeasured)
			m.Begin()
			wholeMeter.Begin()
			time.Sleep(500 * time.Millisecond)
		}
		last := begin.Add(time.Second) // of progress
		time.Sleep(rateTick)
		for i, g := range gauges {
			leaf := tally{starts: 2, failures: 1, uptime: time.Duration(i) * time.Hour}
			g.addTo(&leaf, time.Since(begin))
			root.merge(&leaf)
		}
		got, want := root.stats(), whole.stats()
		require.Equal(t, want.Latency, got.Latency)
		require.Equal(t, uint64(1503), got.Operations)
		require.Equal(t, uint64(3), got.Failed)
		require.Equal(t, 3, got.InFlight)
		require.InDelta(t, want.Rate.One, got.Rate.One, 1e-9)
		require.InDelta(t, want.Rate.Five, got.Rate.Five, 1e-9)
		require.InDelta(t, want.Rate.Fifteen, got.Rate.Fifteen, 1e-9)
		require.Positive(t, got.Rate.Fifteen)
		require.Equal(t, [2]uint64{12, 6}, [2]uint64{got.Starts, got.Failures})
		require.Equal(t, 15*time.Hour, got.Uptime)
		require.True(t, got.LastProgress.Equal(last), "%v", got.LastProgress)

		var again tally
		again.merge(&root)
		again.merge(new(tally))
		require.Equal(t, got, again.stats())
	})
}

func TestStatsInWords(t *testing.T) {
	latency := Latency{
		Count: 1, Min: 999, Mean: 1234567, P50: 1200 * time.Microsecond, P95: 87654 * time.Microsecond,
		P99: 2*time.Second + 3*time.Millisecond, Max: 3*time.Hour + 25*time.Minute + 45*time.Second,
	}
	for want, s := range map[string]Stats{
		"started 0 times, 0 failures, up 0s; no operations": {},
		"started once, 1 failure, up 3h25m0s; 2 in flight; no operations": {
			Starts: 1, Failures: 1, InFlight: 2, Uptime: 3*time.Hour + 25*time.Minute + 45*time.Second,
		},
		"started 2 times, 0 failures, up 1s; 1 operation, 1 failed, 12.3 a second; " +
			"p50 1.2ms, p95 87.7ms, p99 2s, min 999ns, mean 1.23ms, max 3h25m0s": {
			Starts: 2, Uptime: time.Second, Operations: 1, Failed: 1, Rate: Rates{One: 12.345}, Latency: latency,
		},
		"started once, 0 failures, up 2541666h40m0s; 1503 operations, 0 failed, 0 a second; no operations": {
			Starts: 1, Uptime: 290 * 8760 * time.Hour, Operations: 1503,
		},
	} {
		require.Equal(t, want, s.String())
	}
}

func TestStatsAsJSON(t *testing.T) {
	s := Stats{
		Operations: 3, Failed: 1, Latency: Latency{Count: 3, P999: time.Second}, Rate: Rates{Five: 0.5},
		Uptime: time.Minute, LastProgress: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	}
	text, err := json.Marshal(s)
	require.NoError(t, err)
	require.Contains(t, string(text), `"P999":1000000000`)
	var back Stats
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, s, back)
}
