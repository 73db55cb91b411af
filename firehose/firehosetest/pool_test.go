package firehosetest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// pool is a polite client with several requests in flight. It reserves under
// a lock before it sends, as one has to.
type pool struct {
	*polite
	slots chan struct{}

	mu       sync.Mutex
	reserved int
	known    bool // the present window
	floor    int  // the least remaining told in it
	reset    time.Time
}

// reserve returns zero, or how long to wait before asking again.
func (p *pool) reserve() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.limit.park.After(now) {
		return p.limit.park.Sub(now)
	}
	if !now.Before(p.reset) {
		p.known = false
	}
	switch {
	case !p.known && p.reserved > 0: // one probe at a time
		return 20 * time.Millisecond
	case p.known && p.floor-p.reserved <= 0 && p.reserved > 0:
		return 20 * time.Millisecond
	case p.known && p.floor <= 0:
		return p.reset.Sub(now)
	}
	p.reserved++
	return 0
}

func (p *pool) release(path string, a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reserved--
	p.learn(path, a)
	if a.Response == nil || a.Header.Get("X-RateLimit-Reset") == "" {
		p.floor-- // it may have been counted
		return
	}
	if !p.known || p.limit.reset.Sub(p.reset) > 2*time.Second {
		p.known, p.floor = true, p.limit.remaining
	}
	p.floor = min(p.floor, p.limit.remaining)
	p.reset = later(p.reset, p.limit.reset)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// run polls all paths until the context ends, each by a goroutine of its own.
func (p *pool) run(ctx context.Context, paths []string) {
	var wg sync.WaitGroup
	for _, path := range paths {
		wg.Go(func() {
			for {
				p.mu.Lock()
				due := p.polls[path].due
				p.mu.Unlock()
				if !sleep(ctx, time.Until(due)) {
					return
				}
				p.slots <- struct{}{}
				wait := p.reserve()
				if wait == 0 {
					p.mu.Lock()
					req := p.request(ctx, path)
					p.mu.Unlock()
					p.release(path, send(p.rt, req))
				}
				<-p.slots
				if !sleep(ctx, wait) {
					return
				}
			}
		})
	}
	wg.Wait()
}

func newPool(rt http.RoundTripper, size int, paths []string) *pool {
	c := newPolite(rt, paths...)
	c.token = "a"
	return &pool{polite: c, slots: make(chan struct{}, size)}
}

// A pool that reserves and learns under one lock raises nothing, whatever
// races between its requests.
func TestPolitePool(t *testing.T) {
	for name, cfg := range map[string]Config{
		"secondary limits": {Timelines: 40, Secondary: 0.02, Concurrency: 8},
		"tiny windows":     {Timelines: 40, Limit: 30, Window: time.Minute, PollInterval: 10 * time.Second, Concurrency: 8},
		"skewed, slow and failing": {Timelines: 40, Limit: 200, Window: 10 * time.Minute, Skew: -1300 * time.Millisecond, Concurrency: 8, Secondary: 0.002,
			Faults: []Fault{{0.05, Step{Kind: Slow, Delay: 5 * time.Second}}, {0.05, Step{Kind: Status, Status: 502}}, {0.05, Step{Kind: Reset}}, {0.05, Step{Kind: Truncate}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := mustOrigin(t, cfg)
				w := Watch(o.RoundTripper())
				ctx, cancel := context.WithTimeout(t.Context(), 90*time.Minute)
				defer cancel()
				newPool(w, 8, o.Paths()).run(ctx, o.Paths())
				for name, v := range map[string]Verdict{"origin": o.Verdict(), "watcher": w.Verdict()} {
					t.Logf("%s: %+v", name, v)
					requireWrongs(t, v, map[string]int64{})
					require.Greater(t, v.MaxInFlight, int64(2))
					if name == "origin" {
						require.GreaterOrEqual(t, float64(v.Polls), 0.9*float64(v.Permitted))
					}
				}
			})
		})
	}
}

// The same on a real socket, with parks of a second and windows of two.
func TestSocketPolitePool(t *testing.T) {
	t.Parallel()
	o := mustOrigin(t, Config{Timelines: 30, PollInterval: time.Second, Limit: 45, Window: 2 * time.Second, Concurrency: 8,
		Secondary: 0.01, SecondaryWait: time.Second, Rate: 0.7,
		Faults: []Fault{{0.02, Step{Kind: Slow, Delay: 150 * time.Millisecond}}, {0.02, Step{Kind: Reset}}, {0.02, Step{Kind: Truncate}}, {0.02, Step{Kind: Endless}}}})
	server := httptest.NewServer(o)
	defer server.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	defer transport.CloseIdleConnections()
	w := Watch(transport)
	p := newPool(w, 8, o.Paths())
	p.base = server.URL
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	p.run(ctx, o.Paths())
	for name, v := range map[string]Verdict{"origin": o.Verdict(), "watcher": w.Verdict()} {
		t.Logf("%s: %+v", name, v)
		requireWrongs(t, v, map[string]int64{})
		require.Greater(t, v.Polls, int64(10))
	}
}
