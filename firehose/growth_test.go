package firehose_test

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"net/http"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// The flags of the growth; go run ./internal/prove growth sets them.
var (
	growthSmall = flag.Int("growth.small", 1000, "resources of the small fleet")
	growthLarge = flag.Int("growth.large", lighter(16_000, 2500), "resources of the large fleet")
	growthCases = flag.String("growth.cases", "at rest,with a store,in line,many hosts", "fleets to compare")
)

// growthClock is the size from which on CPU time is compared, too.
const growthClock = 100_000

// work is what was done in a while: counters, and no clock.
type work struct {
	Polls float64 `json:"polls"`

	Commits   float64            `json:"commits"`   // of the queue
	Moves     float64            `json:"moves"`     // messages in them, each a decision
	Receives  float64            `json:"receives"`  // calls that returned something
	Delivered map[string]float64 `json:"delivered"` // by service
	Looks     float64            `json:"looks"`     // Find, Take, Depths and List
	Writes    float64            `json:"writes"`    // records that the store was given
	Reads     float64            `json:"reads"`     // records that it was asked for
	Switches  float64            `json:"switches"`  // goroutines that were woken, of all kinds
	Allocs    float64            `json:"allocs"`
	Bytes     float64            `json:"bytes"`  // allocated
	CPU       float64            `json:"cpu_us"` // of the process
}

// per divides all by the polls.
func (w work) per() work {
	n := w.Polls
	round := func(v float64) float64 { return math.Round(v/n*1000) / 1000 }
	d := map[string]float64{}
	for k, v := range w.Delivered {
		d[k] = round(v)
	}
	return work{
		n, round(w.Commits), round(w.Moves), round(w.Receives), d, round(w.Looks), round(w.Writes), round(w.Reads),
		round(w.Switches), round(w.Allocs), round(w.Bytes), round(w.CPU),
	}
}

// workCounter counts what passes a queue and a store.
type workCounter struct {
	mu    sync.Mutex
	total work
	polls atomic.Int64
}

func (c *workCounter) add(change func(w *work)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.total)
}

// now returns the counters as they stand.
func (c *workCounter) now() work {
	m := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	metrics.Read(m)
	var woken uint64
	for _, n := range m[0].Value.Float64Histogram().Counts {
		woken += n
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.total
	w.Delivered = map[string]float64{}
	maps.Copy(w.Delivered, c.total.Delivered)
	const sampled = 8 // the runtime looks at each eighth
	w.Polls, w.Switches, w.Allocs, w.Bytes = float64(c.polls.Load()), float64(woken*sampled), float64(mem.Mallocs), float64(mem.TotalAlloc)
	w.CPU = usedCPU().Seconds() * 1e6
	return w
}

func (w work) since(before work) work {
	d := map[string]float64{}
	for k, v := range w.Delivered {
		d[k] = v - before.Delivered[k]
	}
	return work{
		w.Polls - before.Polls, w.Commits - before.Commits, w.Moves - before.Moves, w.Receives - before.Receives, d, w.Looks - before.Looks,
		w.Writes - before.Writes, w.Reads - before.Reads, w.Switches - before.Switches, w.Allocs - before.Allocs, w.Bytes - before.Bytes,
		w.CPU - before.CPU,
	}
}

// countedQueue and countedSession count the operations of a queue.
type countedQueue struct {
	queue.Queue
	c *workCounter
}

func (q *countedQueue) Unwrap() queue.Queue { return q.Queue }

func (q *countedQueue) Open(ctx context.Context) (queue.Session, error) {
	s, err := q.Queue.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &countedSession{s, q.c}, nil
}

func (q *countedQueue) look() { q.c.add(func(w *work) { w.Looks++ }) }

func (q *countedQueue) Find(ctx context.Context, id resource.ID) (queue.Message, bool, error) {
	q.look()
	f, _ := queue.As[queue.Finder](q.Queue)
	return f.Find(ctx, id)
}

func (q *countedQueue) Depths(ctx context.Context) ([]queue.Depth, error) {
	q.look()
	d, _ := queue.As[queue.Depther](q.Queue)
	return d.Depths(ctx)
}

func (q *countedQueue) List(ctx context.Context, name string, after resource.ID, limit int) ([]queue.Message, error) {
	q.look()
	l, _ := queue.As[queue.Lister](q.Queue)
	return l.List(ctx, name, after, limit)
}

type countedSession struct {
	queue.Session
	c *workCounter
}

func (s *countedSession) Receive(ctx context.Context, name string, limit int) ([]queue.Delivery, error) {
	got, err := s.Session.Receive(ctx, name, limit)
	if err == nil {
		if strings.HasPrefix(name, "line/") {
			name = "line"
		}
		s.c.add(func(w *work) {
			w.Receives++
			w.Delivered[name] += float64(len(got))
		})
	}
	return got, err
}

func (s *countedSession) Commit(ctx context.Context, done []queue.Delivery, next ...queue.Message) error {
	s.c.add(func(w *work) {
		w.Commits++
		w.Moves += float64(len(next))
	})
	return s.Session.Commit(ctx, done, next...)
}

func (s *countedSession) Take(ctx context.Context, id resource.ID) (queue.Delivery, error) {
	s.c.add(func(w *work) { w.Looks++ })
	return s.Session.(queue.Taker).Take(ctx, id)
}

// countedDB counts the records that pass a store.
type countedDB struct {
	db.DB
	c *workCounter
}

func (d *countedDB) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	d.c.add(func(w *work) { w.Writes += float64(len(writes)) })
	return d.DB.Write(ctx, writes...)
}

func (d *countedDB) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	d.c.add(func(w *work) { w.Reads += float64(len(ids)) })
	return d.DB.Get(ctx, space, ids...)
}

func (d *countedDB) Scan(ctx context.Context, space string) iter.Seq2[db.Record, error] {
	return func(yield func(db.Record, error) bool) {
		for rec, err := range d.DB.Scan(ctx, space) {
			d.c.add(func(w *work) { w.Reads++ })
			if !yield(rec, err) {
				return
			}
		}
	}
}

// growthCase is a fleet of any size.
type growthCase struct {
	hosts   func(resources int) int
	durable bool
	limit   int           // requests a minute that each host allows; 0: as many as come
	slow    time.Duration // before an answer
	fresh   bool          // each answer brings something new
}

// growing is the origin of a growthCase.
type growing struct {
	growthCase
	c *workCounter

	mu   sync.Mutex
	left map[string]int // of a minute's requests, by host
	ends map[string]time.Time
}

func (o *growing) RoundTrip(req *http.Request) (*http.Response, error) {
	o.c.polls.Add(1)
	if err := wait(req.Context(), o.slow); err != nil {
		return nil, err
	}
	resp, err := lasting{}.RoundTrip(req)
	resp.Header.Set("X-Poll-Interval", "60")
	if o.fresh {
		version := fmt.Sprint(o.c.polls.Load())
		resp.Header.Set("Etag", `W/"`+version+`"`)
		resp.Body = io.NopCloser(strings.NewReader(version))
	} else if req.Header.Get("If-None-Match") == resp.Header.Get("Etag") {
		resp.StatusCode, resp.Body = http.StatusNotModified, http.NoBody
	}
	if o.limit > 0 {
		o.tell(req.URL.Host, resp.Header)
	}
	return resp, err
}

func (o *growing) tell(host string, h http.Header) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if !now.Before(o.ends[host]) {
		o.left[host], o.ends[host] = o.limit, now.Truncate(time.Second).Add(time.Minute)
	}
	o.left[host]--
	h.Set("X-Ratelimit-Limit", fmt.Sprint(o.limit))
	h.Set("X-Ratelimit-Remaining", fmt.Sprint(max(0, o.left[host])))
	h.Set("X-Ratelimit-Reset", fmt.Sprint(o.ends[host].Unix()))
	h.Set("X-Ratelimit-Resource", "core")
}

// What a poll costs, counted, does not grow with the number of resources: in a fleet
// that rests and is polled, in one whose quota is far too small, in one whose hosts
// are as many as its resources, and with a store.
func TestGrowth(t *testing.T) {
	small, large := *growthSmall, *growthLarge
	few := func(int) int { return 16 }
	result := growthResult{Small: small, Large: large, Fleets: map[string][2]work{}}
	cases := map[string]growthCase{
		"at rest":      {hosts: few},
		"with a store": {hosts: few, durable: true},
		"in line":      {hosts: func(int) int { return 1 }, limit: 600, slow: time.Millisecond, fresh: true},
		"many hosts":   {hosts: func(n int) int { return n }},
	}
	for name := range strings.SplitSeq(*growthCases, ",") {
		c, ok := cases[name]
		require.True(t, ok, "fleet %q", name)
		t.Run(name, func(t *testing.T) {
			a, b := c.measure(t, small), c.measure(t, large)
			result.Fleets[name] = [2]work{a, b}
			grown := func(what string, a, b, most float64) {
				require.LessOrEqual(t, b, most*a+0.05, "%s a poll: %v at %d resources, %v at %d", what, a, small, b, large)
			}
			grown("commits", a.Commits, b.Commits, 1.1)
			grown("moves", a.Moves, b.Moves, 1.1)
			grown("receives", a.Receives, b.Receives, 1.1)
			for _, where := range []string{"analyze", "line", "requests", "publish"} {
				grown("deliveries from "+where, a.Delivered[where], b.Delivered[where], 1.1)
			}
			grown("looks", a.Looks, b.Looks, 1.1)
			grown("writes", a.Writes, b.Writes, 1.1)
			grown("reads", a.Reads, b.Reads, 1.1)
			// What the clock has a part in: no faster than the logarithm.
			log := math.Log(float64(large)) / math.Log(float64(small))
			// Sampled, and the more of them the busier the machine: only what grew with
			// the fleet would be seen.
			grown("switches", a.Switches+10, b.Switches, 4)
			grown("allocations", a.Allocs, b.Allocs, log)
			grown("bytes allocated", a.Bytes, b.Bytes, log)
			if large >= growthClock {
				grown("microseconds", a.CPU, b.CPU, 1.3)
			}
		})
	}
	line, err := json.Marshal(result)
	require.NoError(t, err)
	t.Logf("growth: %s", line)
}

// growthResult is what the test of the growth prints: for each fleet what a poll
// costs in the small one and in the large one.
type growthResult struct {
	Small  int                `json:"small"`
	Large  int                `json:"large"`
	Fleets map[string][2]work `json:"fleets"`
}

// measure returns what a poll costs once all resources have been polled.
func (c growthCase) measure(t *testing.T, n int) (cost work) {
	bubble(t, func(t *testing.T) {
		count := &workCounter{total: work{Delivered: map[string]float64{}}}
		memory, err := queue.NewMemory(queue.MemoryConfig{})
		require.NoError(t, err)
		config := firehose.Config{
			Seed: 1, Queue: &countedQueue{memory, count}, Workers: 32,
			Transport: &growing{growthCase: c, c: count, left: map[string]int{}, ends: map[string]time.Time{}},
		}
		closing := []func() error{memory.Close}
		if c.durable {
			config.DB = &countedDB{db.NewMemory(), count}
			durable, err := queue.NewDurable(config.DB, queue.DurableConfig{})
			require.NoError(t, err)
			config.Queue = &countedQueue{durable, count}
			closing = append(closing, durable.Close)
		}
		for i := range n {
			config.Resources = append(config.Resources, resource.Spec{URI: fmt.Sprintf("https://host-%d.test/%d", i%c.hosts(n), i)})
		}
		os, err := firehose.New(config)
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- os.Serve(ctx) }()
		pass(70 * time.Second)
		before := count.now()
		pass(190 * time.Second)
		cost = count.now().since(before).per()
		stop()
		require.NoError(t, cmp.Or(<-done, closing[0](), closing[len(closing)-1]()))
	})
	return cost
}
