package kafka

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/resource"
)

// plugged is the cluster as a process sees it that has this cable.
func (r *rig) plugged(c *cable) Cluster {
	all := r.config.Cluster
	all.Client = []kgo.Opt{kgo.Dialer(c.dial)}
	return all
}

func (r *rig) cable() *cable {
	c := &cable{rig: r}
	r.t.Cleanup(c.plug)
	return c
}

// newFlow makes a cluster with a topic of responses.
func newFlow(t *testing.T, topic LogTopic) *rig {
	r := newRig(t, 1)
	topic.Replicas = 1
	require.NoError(t, CreateResponsesTopic(t.Context(), SinkConfig{Cluster: r.plugged(r.cable())}, topic))
	return r
}

func (r *rig) sink(t *testing.T, c *cable) *Sink {
	// A decoder of zstd is ended by a finalizer, which a bubble doesn't stand.
	s, err := NewSink(t.Context(), SinkConfig{Cluster: r.plugged(c), Compression: []kgo.CompressionCodec{kgo.SnappyCompression()}})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Close(ctx) // some tests leave something behind
	})
	return s
}

// taken is a sink that remembers.
type taken struct {
	refuse func(ctx context.Context, n int, r *resource.Response) error

	mu      sync.Mutex
	n       int
	all     []*resource.Response
	changed chan struct{}
	busy    map[resource.ID]bool
	twice   bool // the same resource in two Takes at once
}

func newTaken() *taken {
	return &taken{changed: make(chan struct{}), busy: map[resource.ID]bool{}}
}

func (s *taken) Take(ctx context.Context, r *resource.Response) error {
	s.mu.Lock()
	s.n++
	n := s.n
	s.twice = s.twice || s.busy[r.Resource.ID]
	s.busy[r.Resource.ID] = true
	s.mu.Unlock()
	defer func() { // after a panic, too
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.busy, r.Resource.ID)
	}()
	if s.refuse != nil {
		if err := s.refuse(ctx, n, r); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, r)
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// list returns what was taken so far.
func (s *taken) list() []*resource.Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// bodies returns what was taken of each resource, in order, without what came
// again.
func (s *taken) bodies() map[resource.ID][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[resource.ID][]string{}
	seen := map[string]bool{}
	for _, r := range s.all {
		if id := r.Resource.ID; !seen[id.String()+string(r.Body)] {
			seen[id.String()+string(r.Body)] = true
			all[id] = append(all[id], string(r.Body))
		}
	}
	return all
}

// wait waits until enough was taken.
func (s *taken) wait(t testing.TB, enough func(all []*resource.Response) bool) []*resource.Response {
	t.Helper()
	timeout := time.After(30 * time.Minute)
	for {
		s.mu.Lock()
		all, changed := s.all, s.changed
		s.mu.Unlock()
		if enough(all) {
			return all
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%d responses were taken, and more are missing", len(all))
		}
	}
}

func (s *taken) waitFor(t testing.TB, n int) []*resource.Response {
	t.Helper()
	return s.wait(t, func(all []*resource.Response) bool { return len(all) >= n })
}

// relaying is a relay that runs.
type relaying struct {
	*Relay
	stop  context.CancelFunc
	ended chan struct{}
	err   error
}

func (r *rig) relay(c *cable, sink Taker, change func(*RelayConfig)) *relaying {
	config := RelayConfig{Cluster: r.plugged(c)}
	if change != nil {
		change(&config)
	}
	relay, err := NewRelay(config, sink)
	require.NoError(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	a := &relaying{Relay: relay, stop: cancel, ended: make(chan struct{})}
	go func() {
		defer close(a.ended)
		a.err = relay.Serve(ctx)
	}()
	r.t.Cleanup(func() {
		c.plug()
		cancel()
		<-a.ended
	})
	return a
}

func newResponse(t testing.TB, n int, body string) *resource.Response {
	r := newResource(t, fmt.Sprintf("https://a.example/%d", n))
	return &resource.Response{
		Resource: r, URL: r.URI, Status: 200, Header: http.Header{}, Body: []byte(body), Outcome: resource.Modified,
		Sent: time.Now().UTC().Round(0), Received: time.Now().UTC().Round(0),
	}
}

// records returns what a topic holds.
func (r *rig) records(t *testing.T, topic string) []*kgo.Record {
	c := r.plugged(r.cable())
	client, err := kgo.NewClient(c.options(kgo.ConsumeTopics(topic))...)
	require.NoError(t, err)
	defer client.Close()
	var want int64
	for _, p := range r.cluster.PartitionInfos(topic) {
		want += p.HighWatermark
	}
	var all []*kgo.Record
	for int64(len(all)) < want {
		fetches := client.PollFetches(t.Context())
		require.NoError(t, fetches.Err())
		all = append(all, fetches.Records()...)
	}
	return all
}

var errNo = errors.New("no")
