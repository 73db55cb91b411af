package firehose_test

import (
	"context"
	"fmt"
	"runtime"
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

// deadly is a queue that ends the service which takes from a named queue, at
// some of its calls.
type deadly struct {
	queue.Queue
	name string // or, with a / at its end, the beginning of it
	op   string // receive, commit or committed: after which of them
	how  func()
	each int // every so many calls

	over   atomic.Bool
	mu     sync.Mutex
	n      int
	deaths int
}

func (d *deadly) Unwrap() queue.Queue { return d.Queue }

func (d *deadly) Open(ctx context.Context) (queue.Session, error) {
	s, err := d.Queue.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &deadlySession{Session: s, d: d}, nil
}

func (d *deadly) pass(name, op string) {
	if d.over.Load() || op != d.op || name != d.name && !(strings.HasSuffix(d.name, "/") && strings.HasPrefix(name, d.name)) {
		return
	}
	d.mu.Lock()
	d.n++
	die := d.n%d.each == 0 && (d.each > 1 || d.deaths < 4)
	if die {
		d.deaths++
	}
	d.mu.Unlock()
	if die {
		d.how()
	}
}

// deadlySession belongs to one goroutine, as all sessions of the flow do.
type deadlySession struct {
	queue.Session
	d    *deadly
	last string
}

func (s *deadlySession) Receive(ctx context.Context, name string, limit int) ([]queue.Delivery, error) {
	got, err := s.Session.Receive(ctx, name, limit)
	if s.last = name; err == nil {
		s.d.pass(name, "receive")
	}
	return got, err
}

func (s *deadlySession) Commit(ctx context.Context, done []queue.Delivery, next ...queue.Message) error {
	s.d.pass(s.last, "commit")
	err := s.Session.Commit(ctx, done, next...)
	s.d.pass(s.last, "committed")
	return err
}

func (s *deadlySession) Take(ctx context.Context, id resource.ID) (queue.Delivery, error) {
	return s.Session.(queue.Taker).Take(ctx, id)
}

// Whatever ends a service, and wherever: no resource is lost, none is asked
// early, and all go on.
func TestServicesCrash(t *testing.T) {
	ends := map[string]func(){"panic": func() { panic("injected") }, "goexit": runtime.Goexit}
	for _, name := range []string{firehose.QueueAnalyze, firehose.QueueRequests, firehose.QueuePublish, "frozen-1000", "frozen-500", "line/"} {
		for _, op := range []string{"receive", "commit", "committed"} {
			for end, how := range ends {
				if underRace && (end == "panic") != (op == "commit") { // half of them are enough there
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%s", strings.TrimSuffix(name, "/"), op, end), func(t *testing.T) {
					bubble(t, func(t *testing.T) { crashAt(t, name, op, how) })
				})
			}
		}
	}
}

func crashAt(t *testing.T, name, op string, how func()) {
	store := db.NewMemory()
	inner, err := queue.NewDurable(store, queue.DurableConfig{})
	require.NoError(t, err)
	defer inner.Close()
	d := &deadly{Queue: inner, name: name, op: op, how: how, each: 7}
	if name == firehose.QueueAnalyze { // which has little to do
		d.each = 1
	}
	net := newScript(func(c call) reply {
		r := ok(fmt.Sprint(c.URL, c.n), fmt.Sprintf(`"%d"`, c.n))
		r.slow = 20 * time.Millisecond
		return r
	})
	config := firehose.Config{Queue: d, DB: store, Workers: 4, Publishers: 2, PublishCount: 6}
	intervals := []time.Duration{600 * time.Millisecond, 10 * time.Second, 15 * time.Second}
	for i := range 12 {
		config.Resources = append(config.Resources, resource.Spec{URI: fmt.Sprintf("https://api.github.com/%d", i), Interval: intervals[i%3]})
	}
	r := start(t, net, config)
	until(2 * time.Minute)
	d.over.Store(true)
	d.mu.Lock()
	deaths := d.deaths
	d.mu.Unlock()
	require.Positive(t, deaths, "nothing was tried")
	until(5 * time.Minute) // a service that died often is started again after a minute
	for i, spec := range config.Resources {
		times := net.times(spec.URI)
		for k := 1; k < len(times); k++ {
			require.GreaterOrEqual(t, times[k]-times[k-1], spec.Interval, "%s at %v", spec.URI, times[k])
		}
		require.NotEmpty(t, times)
		require.Greater(t, times[len(times)-1], 4*time.Minute+30*time.Second, "%s does not go on: %s", spec.URI, r.explain(spec.URI))
		require.False(t, r.explain(config.Resources[i].URI).Kind == resource.Fault)
	}
	require.Equal(t, 1, net.together())
	require.NoError(t, r.stop())
	require.Zero(t, r.Stats().Publishing, "credits")
	for _, b := range r.Stats().Buckets {
		require.Zero(t, b.InFlight, b.Key.String())
	}
}
