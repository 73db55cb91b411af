//go:build integration

package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// broker is the one that CANNEDOS_KAFKA names.
func broker(t testing.TB) Cluster {
	address := os.Getenv("CANNEDOS_KAFKA")
	if address == "" {
		t.Skip("no Kafka: set CANNEDOS_KAFKA to host:port, or start one with: go run ./internal/servers/with go test -tags integration ./queue/kafka")
	}
	return Cluster{Brokers: []string{address}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// What a Sink writes to a real broker a Relay gives on: full responses, many at
// once, and the largest that the topic takes.
func TestRealSinkRelay(t *testing.T) {
	cluster := broker(t)
	topic := "responses-" + db.NewOwner().String()
	config := SinkConfig{Cluster: cluster, Topic: topic}
	require.NoError(t, CreateResponsesTopic(t.Context(), config, LogTopic{Replicas: 1, Partitions: 4}))
	s, err := NewSink(t.Context(), config)
	require.NoError(t, err)
	got := newTaken()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for range 2 {
		relay, err := NewRelay(RelayConfig{Cluster: cluster, Topic: topic}, got)
		require.NoError(t, err)
		go func() { ended <- relay.Serve(ctx) }()
	}

	full := fullResponse(t)
	require.NoError(t, s.Take(t.Context(), full))
	most := largest(t, s)
	begun := time.Now()
	require.NoError(t, s.Take(t.Context(), most))
	t.Logf("a body of %d bytes was acknowledged after %v", len(most.Body), time.Since(begun))
	more := newResponse(t, 5, string(most.Body)+strings.Repeat("x", 100))
	require.ErrorIs(t, s.Take(t.Context(), more), ErrTooLarge)

	const resources, each = 200, 50
	begun = time.Now()
	var takes sync.WaitGroup
	for n := range resources {
		takes.Go(func() {
			for k := range each {
				if err := s.Take(t.Context(), newResponse(t, 100+n, strconv.Itoa(k))); err != nil {
					t.Errorf("Take: %v", err)
				}
			}
		})
	}
	takes.Wait()
	t.Logf("%d responses were acknowledged in %v", resources*each, time.Since(begun))
	all := got.waitFor(t, resources*each+2)
	t.Logf("and taken after %v", time.Since(begun))
	for _, r := range all {
		switch r.Resource.ID {
		case full.Resource.ID:
			require.Equal(t, full, r)
		case most.Resource.ID:
			require.Equal(t, most.Body, r.Body)
		}
	}
	var want []string
	for k := range each {
		want = append(want, strconv.Itoa(k))
	}
	bodies := got.bodies()
	for n := range resources {
		require.Equal(t, want, bodies[newResource(t, fmt.Sprintf("https://a.example/%d", 100+n)).ID])
	}
	require.NoError(t, s.Close(t.Context()))
	cancel()
	for range 2 {
		require.NoError(t, <-ended)
	}
}

// largest returns the largest response that s takes, of what can't be compressed.
func largest(t *testing.T, s *Sink) *resource.Response {
	noise := make([]byte, s.producer.limit)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(noise)
	for size := len(noise); ; {
		r := newResponse(t, 2, string(noise[:size]))
		records, err := encodeResponse(r, s.name+"/1000000")
		require.NoError(t, err)
		over := recordSize(records[0]) - s.producer.limit
		if over <= 0 {
			return r
		}
		size -= over
	}
}

// Orders are carried out by one owner after the other, each of which begins where
// the one before has ended.
func TestRealOrders(t *testing.T) {
	config := OrdersConfig{Cluster: broker(t), Topic: "orders-" + db.NewOwner().String()}
	require.NoError(t, CreateOrdersTopic(t.Context(), config, LogTopic{Replicas: 1, Partitions: 3}))
	o, err := NewOrders(t.Context(), config)
	require.NoError(t, err)
	config.Recall = true
	c := newControlled()
	for i := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- Obey(ctx, config, 2, c) }()
		uri := fmt.Sprintf("https://a.example/%d", i)
		require.NoError(t, o.Add(t.Context(), 2, resource.Spec{URI: uri}))
		require.NoError(t, o.SetInterval(t.Context(), 2, time.Duration(i+1)*time.Minute, ids(t, uri)...))
		c.wait(t, "set "+(time.Duration(i+1)*time.Minute).String())
		cancel()
		require.NoError(t, <-ended)
	}
	require.Len(t, c.said, 6+1+2, "the second and the third were told of intervals again: %v", c.said)
	require.NoError(t, o.Close(t.Context()))
}
