package firehose_test

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// The flags of the herd; go run ./internal/prove herd sets them.
var (
	herdResources = flag.Int("herd.resources", lighter(20_000, 3000), "resources that are due at once")
	herdSeed      = flag.Uint64("herd.seed", 1, "seed of the jitter")
)

// herdResult is what the test of the herd prints.
type herdResult struct {
	Seed      uint64 `json:"seed"`
	Resources int    `json:"resources"`
	Hosts     int    `json:"hosts"`

	// While all hosts had somebody waiting: by how many polls the one that was served
	// most was ahead of the one that was served least.
	Ahead int `json:"most_ahead"`
	// By how many places a resource was polled before or after its turn in the line of
	// its host.
	Displaced int `json:"most_displaced"`

	First  float64 `json:"first_round_s"`       // virtual, until each was polled once
	Dense1 float64 `json:"first_round_density"` // polls in the fullest second, as a share of all
	Dense2 float64 `json:"second_round_density"`
	Again  float64 `json:"together_again"` // of those polled one after the other, the share that are so again, to a second

	Requests   int     `json:"most_in_requests"` // that were let out and not yet polled
	Publishing int     `json:"most_publishing"`
	Goroutines int     `json:"most_goroutines"`
	Rest       float64 `json:"heap_at_rest_mib"` // live, without what the test remembers
	Peak       float64 `json:"heap_in_herd_mib"` // live, at most, while the herd was worked off

	Wall float64 `json:"wall_s"`
}

const (
	herdHosts    = 16
	herdSlots    = 4 // requests in flight that each host allows
	herdWorkers  = 32
	herdInterval = 10 * time.Minute
	herdLatency  = 4 * time.Millisecond
	herdJitter   = 30 * time.Second

	// What the heap may hold beyond what it holds at rest: workers with their requests,
	// and, for each resource, less than it takes itself. A copy of each would be
	// seen, however many there are.
	herdMiB   = 1
	herdBytes = 160
)

// herdOrigin answers each request after a while, and remembers when it came. Half of
// all resources are at its first host.
type herdOrigin struct {
	mu     sync.Mutex
	rounds [2][]time.Duration // of arrival, by resource; 0: not yet
	order  [herdHosts][]int32 // in which resources were polled first
	left   [herdHosts]int     // that were not yet
	ahead  int
	asked  int
}

func herdHost(n, all int) int {
	if n < all/2 {
		return 0
	}
	return 1 + n%(herdHosts-1)
}

func (o *herdOrigin) RoundTrip(req *http.Request) (*http.Response, error) {
	n, err := strconv.Atoi(req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:])
	if err != nil {
		return nil, err
	}
	o.arrive(n, max(1, at()))
	if err := wait(req.Context(), herdLatency); err != nil {
		return nil, err
	}
	h := http.Header{"Etag": {fmt.Sprintf(restETag, n)}, "X-Poll-Interval": {strconv.Itoa(int(herdInterval / time.Second))}}
	resp := &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Request: req, ContentLength: -1}
	resp.Body = io.NopCloser(strings.NewReader(strconv.Itoa(n)))
	return resp, nil
}

func (o *herdOrigin) arrive(n int, now time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	for round := range o.rounds {
		if o.rounds[round][n] == 0 {
			o.rounds[round][n] = now
			if round == 0 {
				o.firstLocked(n)
			}
			return
		}
	}
}

func (o *herdOrigin) firstLocked(n int) {
	host := herdHost(n, len(o.rounds[0]))
	o.order[host] = append(o.order[host], int32(n))
	o.left[host]--
	least, most := math.MaxInt, 0
	for host := range herdHosts {
		if o.left[host] <= herdSlots {
			return // there is nobody to be let in
		}
		served := len(o.order[host])
		least, most = min(least, served), max(most, served)
	}
	o.ahead = max(o.ahead, most-least)
}

func (o *herdOrigin) polled() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

// displaced is the most places by which a resource was polled out of turn.
func (o *herdOrigin) displaced() (most int) {
	for _, order := range o.order {
		sorted := slices.Sorted(slices.Values(order))
		for i, n := range order {
			turn, _ := slices.BinarySearch(sorted, n)
			most = max(most, turn-i, i-turn)
		}
	}
	return most
}

// densest is the share of a round that came in its fullest second.
func densest(round []time.Duration) float64 {
	seconds, most := map[time.Duration]int{}, 0
	for _, at := range round {
		seconds[at/time.Second]++
		most = max(most, seconds[at/time.Second])
	}
	return math.Round(1e5*float64(most)/float64(len(round))) / 1e5
}

// together is the share of neighbours in the first round that are less than a second
// apart in the second one.
func together(rounds [2][]time.Duration) float64 {
	order := make([]int, len(rounds[0]))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(rounds[0][a], rounds[0][b]) })
	near := 0
	for i, n := range order[1:] {
		if (rounds[1][n] - rounds[1][order[i]]).Abs() < time.Second {
			near++
		}
	}
	return math.Round(1e3*float64(near)/float64(len(order))) / 1e3
}

// Everything is due at once. It is worked off evenly between the hosts, each in the
// order of its line, in little more memory than it takes at rest, and comes back less
// close together than it was polled.
func TestHerd(t *testing.T) {
	n := *herdResources
	result := herdResult{Seed: *herdSeed, Resources: n, Hosts: herdHosts}
	begin := time.Now()
	bubble(t, func(t *testing.T) {
		origin := &herdOrigin{rounds: [2][]time.Duration{make([]time.Duration, n), make([]time.Duration, n)}}
		list := make([]resource.Spec, n)
		for i := range list {
			host := herdHost(i, n)
			origin.left[host]++
			list[i].URI = fmt.Sprintf("https://host-%02d.test/repositories/events/about/%010d", host, i)
		}
		for host := range origin.order {
			origin.order[host] = make([]int32, 0, origin.left[host])
		}
		before := liveHeap()
		os, err := firehose.New(firehose.Config{
			Resources: list, Transport: origin, Workers: herdWorkers, Seed: *herdSeed, Jitter: herdJitter,
			Profiles: map[string]resource.Profile{"": {Concurrency: herdSlots}},
		})
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- os.Serve(ctx) }()
		for looks := 0; origin.polled() < n; looks++ {
			pass(cmp.Or(time.Duration(n)*herdLatency/herdWorkers/20, time.Millisecond))
			stats := os.Stats()
			for _, q := range stats.Queues {
				if q.Name == firehose.QueueRequests {
					result.Requests = max(result.Requests, q.Waiting+q.Ready+q.Held)
				}
			}
			result.Publishing = max(result.Publishing, stats.Publishing)
			result.Goroutines = max(result.Goroutines, runtime.NumGoroutine())
			result.Peak = max(result.Peak, mibOver(liveHeap(), before))
			require.Less(t, looks, 100, "polled so far: %d", origin.polled())
		}
		pass(time.Minute)
		result.Rest = mibOver(liveHeap(), before)
		require.Equal(t, n, origin.polled(), "nobody is polled twice in one interval")
		pass(herdInterval + herdJitter + time.Duration(n)*herdLatency/herdWorkers)
		stop()
		require.NoError(t, <-done)
		result.Ahead, result.Displaced = origin.ahead, origin.displaced()
		result.First = slices.Max(origin.rounds[0]).Seconds()
		result.Again = together(origin.rounds)
		result.Dense1, result.Dense2 = densest(origin.rounds[0]), densest(origin.rounds[1])
		for i, first := range origin.rounds[0] {
			require.GreaterOrEqual(t, origin.rounds[1][i]-first, herdInterval, "resource %d", i)
		}
	})
	result.Wall = time.Since(begin).Seconds()
	line, err := json.Marshal(result)
	require.NoError(t, err)
	t.Logf("herd: %s", line)
	require.LessOrEqual(t, result.Ahead, 2*herdWorkers, "polls by which one host is ahead of another")
	require.LessOrEqual(t, result.Displaced, herdSlots, "places in the line of a host")
	require.LessOrEqual(t, result.Requests, herdHosts*herdSlots, "resources that are let out")
	require.LessOrEqual(t, result.Publishing, firehose.DefaultPublishCount)
	require.LessOrEqual(t, result.Goroutines, 300)
	require.LessOrEqual(t, (result.Peak-result.Rest-herdMiB)*(1<<20)/float64(n), float64(herdBytes), "bytes of live heap for each resource, beyond what it takes at rest")
	require.LessOrEqual(t, result.Dense2, 1.05*result.Dense1, "share of the fullest second")
	require.LessOrEqual(t, result.Again, 0.15, "neighbours that come back together")
}

func mibOver(n, base uint64) float64 { return math.Round(float64(n-min(n, base))/(1<<20)*10) / 10 }
