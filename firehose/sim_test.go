package firehose_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/firehosetest"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// The flags of the simulation; go run ./internal/prove sim sets them.
var (
	simHours     = flag.Float64("sim.hours", lighter(1, 0.5), "simulated hours")
	simSeed      = flag.Uint64("sim.seed", 1, "seed of the simulation")
	simResources = flag.Int("sim.resources", lighter(1000, 250), "resources of the simulation")
)

// lighter is what a simulation has to do, and what under the race detector.
func lighter[T any](normal, race T) T {
	if underRace {
		return race
	}
	return normal
}

// world is one simulation: an origin with its oracle, a store that outlives the
// runs of the OS, and a seeded source of mischief.
type world struct {
	t      *testing.T
	rng    *rand.Rand // of the main goroutine
	origin *firehosetest.Origin
	store  *db.Memory
	specs  []resource.Spec
	config firehose.Config
	crash  *crasher

	kills, restarts int
}

// simResult is what a simulation prints.
type simResult struct {
	Seed      uint64               `json:"seed"`
	Hours     float64              `json:"hours"`
	Resources int                  `json:"resources"`
	Kills     int                  `json:"kills"`
	Restarts  int                  `json:"restarts"`
	Crashes   int64                `json:"service_crashes"`
	DBFaults  int64                `json:"db_faults"`
	Lost      int                  `json:"lost"`
	Buried    int                  `json:"in_error_queues"`
	Share     float64              `json:"polls_of_permitted"`
	Oracle    firehosetest.Verdict `json:"oracle"`
}

func TestSimulation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, *simSeed, *simResources)
		result := w.run(time.Duration(*simHours * float64(time.Hour)))
		line, err := json.Marshal(result)
		require.NoError(t, err)
		t.Logf("simulation: %s", line)
		require.Zero(t, result.Oracle.Impolite, "impolite requests")
		require.Zero(t, result.Lost, "resources in no queue")
		require.EqualValues(t, *simResources, result.Oracle.Resources, "resources that were polled at all")
		require.Zero(t, result.Oracle.LostItems, "items that were answered and never published")
		require.Positive(t, result.Oracle.Published)
		require.LessOrEqual(t, result.Oracle.Unknowable, result.Oracle.InFlightAtKills, "unknowable requests")
		require.GreaterOrEqual(t, result.Share, 0.9, "polls of those permitted")
		require.Positive(t, result.Crashes)
		require.Positive(t, result.DBFaults)
		require.Positive(t, result.Kills)
	})
}

func newWorld(t *testing.T, seed uint64, resources int) *world {
	origin, err := firehosetest.New(firehosetest.Config{
		Seed: seed, Timelines: resources, Rate: 0.01, PollInterval: time.Minute, Limit: 400, Window: 10 * time.Minute,
		Concurrency: 1, Latency: 100 * time.Millisecond, Unread: time.Second,
		Secondary: 0.0005,
		Faults: []firehosetest.Fault{
			{Probability: 0.002, Step: firehosetest.Step{Kind: firehosetest.Status, Status: 502}},
			{Probability: 0.0005, Step: firehosetest.Step{Kind: firehosetest.Status, Status: 503, RetryAfter: 20 * time.Second}},
			{Probability: 0.001, Step: firehosetest.Step{Kind: firehosetest.Reset}},
			{Probability: 0.001, Step: firehosetest.Step{Kind: firehosetest.Truncate}},
			{Probability: 0.0005, Step: firehosetest.Step{Kind: firehosetest.Slow}},
			{Probability: 0.0005, Step: firehosetest.Step{Kind: firehosetest.LoginPage}},
			{Probability: 0.0005, Step: firehosetest.Step{Kind: firehosetest.Status, Status: 404}},
		},
	})
	require.NoError(t, err)
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), origin: origin, store: db.NewMemory(), crash: &crasher{rng: rand.New(rand.NewPCG(seed, 2))}}
	profiles := map[string]resource.Profile{}
	var keys []resource.TokenSource
	const credentials = 10
	for i := range credentials {
		name := fmt.Sprintf("credential-%d", i)
		profiles[name] = resource.Profile{Credential: name}
		token, err := resource.BearerToken(fmt.Sprintf("made-up-%d", i))
		require.NoError(t, err)
		keys = append(keys, resource.Fixed(name, token, "https://origin.test"))
	}
	wishes := []time.Duration{0, 30 * time.Second, 90 * time.Second, 5 * time.Minute}
	for i, path := range origin.Paths() {
		wish := wishes[i%len(wishes)]
		origin.Expect(path, wish)
		w.specs = append(w.specs, resource.Spec{
			URI: "https://origin.test" + path, Profile: fmt.Sprintf("credential-%d", i%credentials), Interval: wish, MediaType: "application/json",
		})
	}
	w.config = firehose.Config{
		Resources: w.specs, Profiles: profiles, Tokens: resource.Keyring(keys...), Seed: seed,
		RequestTimeout: 5 * time.Second, Sink: firehose.SinkFunc(w.take), Logger: slog.New(slog.DiscardHandler),
	}
	return w
}

// take is a sink that sometimes fails, and sometimes panics.
func (w *world) take(_ context.Context, r *resource.Response) error {
	switch w.crash.roll(0.001, 0.0002) {
	case 1:
		return errors.New("the sink is not in the mood")
	case 2:
		panic("the sink panics")
	}
	var events []struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(r.Body, &events); err != nil {
		return err
	}
	for _, e := range events {
		w.origin.Published(e.ID)
	}
	return nil
}

// run runs the OS again and again, ended now politely and now by a kill.
func (w *world) run(hours time.Duration) simResult {
	end := time.Now().Add(hours)
	for time.Now().Before(end) {
		left := time.Until(end)
		kill := (w.kills == 0 || w.rng.IntN(2) == 0) && left > 10*time.Minute
		w.life(min(left, time.Duration(120+w.rng.IntN(600))*time.Second), kill)
		if kill {
			w.kills++
		} else {
			w.restarts++
		}
	}
	w.crash.off.Store(true) // and a last life without mischief, in which all that is owed is done
	w.life(11*time.Minute, false)
	v := w.origin.Verdict()
	result := simResult{
		Seed: *simSeed, Hours: hours.Hours(), Resources: len(w.specs), Kills: w.kills, Restarts: w.restarts,
		Crashes: w.crash.crashes.Load(), DBFaults: w.crash.faults.Load(), Oracle: v,
	}
	if v.Permitted > 0 {
		result.Share = float64(v.Polls) / float64(v.Permitted)
	}
	result.Lost, result.Buried = w.missing()
	return result
}

// life is one run of the OS.
func (w *world) life(length time.Duration, kill bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	store := &faultyDB{DB: w.store, c: w.crash}
	transport := &mortal{base: w.origin.RoundTripper(), dead: ctx}
	config := w.config
	config.DB, config.Transport = store, transport
	inner, err := queue.NewDurable(store, queue.DurableConfig{})
	require.NoError(w.t, err)
	config.Queue = &faultyQueue{Queue: inner, c: w.crash}
	if kill {
		transport.dead, store.dead = ctx, ctx
	} else {
		transport.dead = context.Background()
	}
	os, err := firehose.New(config)
	require.NoError(w.t, err)
	serving, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- os.Serve(serving) }()
	time.Sleep(length)
	if kill {
		w.origin.Killed(time.Now())
		cancel()
	}
	stop()
	err = <-done
	if !kill {
		require.NoError(w.t, err, "a clean stop")
	}
	inner.Close()
}

// missing counts the resources that no queue holds, and those that an error
// queue does.
func (w *world) missing() (lost, buried int) {
	q, err := queue.NewDurable(w.store, queue.DurableConfig{})
	require.NoError(w.t, err)
	defer q.Close()
	s, err := q.Open(context.Background())
	require.NoError(w.t, err)
	defer s.Close()
	for _, spec := range w.specs {
		r, err := resource.New(spec, "")
		require.NoError(w.t, err)
		m, _, err := q.Find(context.Background(), r.ID)
		if err != nil {
			lost++
		} else if m.Cause != "" {
			buried++
		}
	}
	return lost, buried
}

// crasher decides, by seed, what goes wrong.
type crasher struct {
	off             atomic.Bool
	crashes, faults atomic.Int64

	mu  sync.Mutex
	rng *rand.Rand
}

// roll returns 1 with the first probability, 2 with the second, else 0.
func (c *crasher) roll(one, two float64) int {
	if c.off.Load() {
		return 0
	}
	c.mu.Lock()
	v := c.rng.Float64()
	c.mu.Unlock()
	switch {
	case v < one:
		return 1
	case v < one+two:
		return 2
	}
	return 0
}

// mortal is a transport whose requests die with the process.
type mortal struct {
	base http.RoundTripper
	dead context.Context
}

func (m *mortal) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := m.dead.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(req.Context())
	stop := context.AfterFunc(m.dead, cancel)
	resp, err := m.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	return resp, nil // the context ends with the bubble's world at the latest
}

var errInjected = errors.New("injected fault")

// faultyDB fails before or after the effect of a call, and for good with the
// process.
type faultyDB struct {
	db.DB
	c    *crasher
	dead context.Context
}

func (f *faultyDB) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if f.dead != nil && f.dead.Err() != nil {
		return nil, db.ErrClosed
	}
	switch f.c.roll(0.001, 0.001) {
	case 1:
		f.c.faults.Add(1)
		return nil, fmt.Errorf("before: %w", errInjected)
	case 2:
		f.c.faults.Add(1)
		if _, err := f.DB.Write(ctx, writes...); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("after: %w", errInjected)
	}
	return f.DB.Write(ctx, writes...)
}

func (f *faultyDB) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	if f.dead != nil && f.dead.Err() != nil {
		return nil, db.ErrClosed
	}
	if f.c.roll(0.001, 0) == 1 {
		f.c.faults.Add(1)
		return nil, errInjected
	}
	return f.DB.Get(ctx, space, ids...)
}

// faultyQueue fails commits, and crashes the service that calls it.
type faultyQueue struct {
	queue.Queue
	c *crasher
}

func (f *faultyQueue) Unwrap() queue.Queue { return f.Queue }

func (f *faultyQueue) Open(ctx context.Context) (queue.Session, error) {
	s, err := f.Queue.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &faultySession{Session: s, c: f.c}, nil
}

type faultySession struct {
	queue.Session
	c *crasher
}

func (s *faultySession) crash() {
	switch s.c.roll(0.0005, 0.0005) {
	case 1:
		s.c.crashes.Add(1)
		panic("injected panic")
	case 2:
		s.c.crashes.Add(1)
		runtime.Goexit()
	}
}

func (s *faultySession) Receive(ctx context.Context, name string, limit int) ([]queue.Delivery, error) {
	got, err := s.Session.Receive(ctx, name, limit)
	if err == nil && ctx.Err() == nil {
		s.crash()
	}
	return got, err
}

func (s *faultySession) Commit(ctx context.Context, done []queue.Delivery, next ...queue.Message) error {
	// A response dies with the stack of the service that holds it, and then has to
	// be asked for again: the oracle can't know that, so there is no crash here.
	if !slices.ContainsFunc(next, func(m queue.Message) bool { return m.Response != nil }) {
		s.crash()
	}
	if s.c.roll(0.001, 0) == 1 {
		return fmt.Errorf("commit: %w", errInjected)
	}
	err := s.Session.Commit(ctx, done, next...)
	if err == nil && s.c.roll(0.0005, 0) == 1 {
		return fmt.Errorf("committed, and: %w", errInjected)
	}
	return err
}

func (s *faultySession) Take(ctx context.Context, id resource.ID) (queue.Delivery, error) {
	return s.Session.(queue.Taker).Take(ctx, id)
}
