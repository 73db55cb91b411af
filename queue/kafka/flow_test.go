package kafka

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// echo is an origin that gives back what it is told, in every header it has.
type echo struct{ n atomic.Int64 }

func (e *echo) RoundTrip(req *http.Request) (*http.Response, error) {
	secret := req.Header.Get("Authorization")
	header := http.Header{"X-Echo": {secret}, "Set-Cookie": {secret}, "Etag": {fmt.Sprintf(`"%s %d"`, secret, e.n.Add(1))}, "Content-Type": {"text/plain"}}
	answer := func(status int, body string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: req, ProtoMajor: 1, ProtoMinor: 1}, nil
	}
	switch req.URL.Path {
	case "/gone":
		return answer(400, secret)
	case "/moved":
		header.Set("Location", "/there?got="+secret)
		return answer(302, "")
	}
	return answer(200, "n "+header.Get("Etag")[len(secret)+1:])
}

// The whole flow: orders from one process, polls in another, what they bring in a
// third, and what ends in an error in a topic; and the token nowhere.
func TestFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{Partitions: 2})
		errorsConfig := ErrorDrainConfig{Cluster: r.plugged(r.cable()), Interval: 10 * time.Second}
		require.NoError(t, CreateErrorsTopic(t.Context(), errorsConfig, LogTopic{Replicas: 1, Partitions: 1}))
		ordersConfig := r.orders(r.cable())
		require.NoError(t, CreateOrdersTopic(t.Context(), ordersConfig, LogTopic{Replicas: 1, Partitions: 1}))

		secret := strings.Join([]string{"made", "up", "by", "the", "test"}, "-0451-")
		token, err := resource.BearerToken(secret)
		require.NoError(t, err)
		canned, err := firehose.New(firehose.Config{
			Sink: r.sink(t, r.cable()), Transport: &echo{},
			Tokens: resource.Fixed("main", token, "https://a.example"),
		})
		require.NoError(t, err)
		drain, err := NewErrorDrain(errorsConfig, canned)
		require.NoError(t, err)
		got := newTaken()
		r.relay(r.cable(), got, nil)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 3)
		go func() { ended <- canned.Serve(ctx) }()
		go func() { ended <- Obey(ctx, ordersConfig, 0, canned) }()
		go func() { ended <- drain.Serve(ctx) }()

		orders, err := NewOrders(t.Context(), ordersConfig)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, orders.Close(context.Background())) })
		require.NoError(t, orders.Add(t.Context(), 0, resource.List("https://a.example/1", "https://a.example/moved", "https://a.example/gone", "https://a.example/2")...))
		require.NoError(t, orders.SetInterval(t.Context(), 0, 10*time.Minute, ids(t, "https://a.example/1")...))
		time.Sleep(time.Hour)
		require.NoError(t, orders.Remove(t.Context(), 0, ids(t, "https://a.example/1", "https://a.example/2", "https://a.example/moved")...))
		time.Sleep(time.Minute)
		took := len(got.list())
		time.Sleep(time.Hour)
		require.Len(t, got.list(), took, "nothing is polled any more")

		bodies := got.bodies()
		require.InDelta(t, 7, len(bodies[ids(t, "https://a.example/1")[0]]), 1)
		require.InDelta(t, 60, len(bodies[ids(t, "https://a.example/2")[0]]), 8)
		require.Greater(t, len(bodies[ids(t, "https://a.example/moved")[0]]), 30)
		_, err = canned.Explain(t.Context(), ids(t, "https://a.example/gone")[0])
		require.ErrorIs(t, err, firehose.ErrUnknown, "it was drained")
		var buried firehose.Buried
		dead := r.records(t, DefaultErrorsTopic)
		require.Len(t, dead, 1)
		require.NoError(t, json.Unmarshal(dead[0].Value, &buried))
		require.Equal(t, "https://a.example/gone", buried.Resource.URI)

		cancel()
		for range 3 {
			if err := <-ended; err != nil {
				require.ErrorIs(t, err, context.Canceled)
			}
		}
		for _, topic := range []string{DefaultResponses, DefaultErrorsTopic, ordersConfig.Topic} {
			for _, rec := range r.records(t, topic) {
				require.False(t, holds(rec, secret), "%s: %s %q %s", topic, rec.Key, rec.Headers, rec.Value)
			}
		}
	})
}

// holds reports whether any part of a record holds a text.
func holds(rec *kgo.Record, text string) bool {
	all := append(append([]byte{}, rec.Key...), rec.Value...)
	for _, h := range rec.Headers {
		all = append(append(all, h.Key...), h.Value...)
	}
	return bytes.Contains(all, []byte(text))
}
