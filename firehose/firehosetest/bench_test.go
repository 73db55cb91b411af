package firehosetest

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkRoundTrip is one request with its judgement, to one of 1,000
// resources in turn.
func BenchmarkRoundTrip(b *testing.B) {
	for name, test := range map[string]struct {
		rate        float64
		conditional bool
	}{"304": {1e-9, true}, "200": {1, false}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			o := mustOrigin(b, Config{Timelines: 1000, Rate: test.rate, Latency: Instant, Limit: 1e12})
			requests := make([]*http.Request, 0, 1000)
			for _, p := range o.Paths() {
				req, err := http.NewRequest(http.MethodGet, "http://api.test"+p, nil)
				require.NoError(b, err)
				req.Header.Set("Authorization", "token")
				a := send(o.RoundTripper(), req)
				require.NoError(b, a.err)
				if test.conditional {
					req.Header.Set("If-None-Match", a.Header.Get("ETag"))
				}
				requests = append(requests, req)
			}
			n := 0
			for b.Loop() {
				resp, err := o.RoundTripper().RoundTrip(requests[n%1000])
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				n++
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// A day of 1,000 resources keeps nothing but the resources, and is quick.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const resources = 200
		o := mustOrigin(t, Config{Timelines: resources, Rate: 1e-3, Limit: 1e9, Latency: Instant, PollInterval: 10 * time.Minute,
			Faults: []Fault{{0.05, Step{Kind: Status, Status: 500}}, {0.05, Step{Kind: Redirect}}}})
		clients := make([]*polite, resources)
		for i, p := range o.Paths() {
			clients[i] = newPolite(o.RoundTripper(), p)
			clients[i].token = strconv.Itoa(i % 10)
		}
		for range 24 * 6 {
			for i, p := range o.Paths() {
				clients[i].poll(context.Background(), p)
			}
			time.Sleep(10 * time.Minute)
		}
		v := o.Verdict()
		require.Zero(t, v.Impolite)
		require.LessOrEqual(t, o.size, 2*resources)
		require.Len(t, o.scopes, 10)
		require.Empty(t, o.flights)
		require.LessOrEqual(t, len(o.hops), mostHops)
		queued := 0
		for _, s := range o.scopes {
			for _, b := range s.buckets {
				queued += len(b.pace.queue) + b.pace.due
			}
		}
		require.LessOrEqual(t, queued, resources)
	})
}
