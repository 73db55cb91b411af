package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// fullResponse has all that a response can have.
func fullResponse(t testing.TB) *resource.Response {
	now := time.Date(2026, 3, 4, 5, 6, 7, 123456789, time.UTC)
	r := newResponse(t, 1, `{"a": [1, 2]}`)
	res := &r.Resource
	res.Version, res.Credential, res.Bucket, res.State = 17, "main", "core", resource.WaitingForInterval
	res.Asked, res.Answered, res.Changed, res.NotBefore = now, now.Add(time.Second), now, now.Add(time.Minute)
	res.Validators = resource.Validators{ETag: "W/\"\xff\"", LastModified: "yesterday"}
	r.URL = "https://a.example/elsewhere?page=1"
	r.Header = http.Header{"Content-Type": {"application/json; charset=utf-8"}, "Link": {"<https://a.example/2>; rel=next", "second"}, "X-Empty": {""}}
	r.Sent, r.Received, r.Confirmed = now, now.Add(time.Millisecond), now.Add(-time.Hour)
	r.Previous = resource.Validators{ETag: `"before"`, LastModified: "Mon, 02 Mar 2026 00:00:00 GMT"}
	for n := range 3 {
		child, err := res.Page(fmt.Sprintf("https://a.example/1?page=%d", n+2))
		require.NoError(t, err)
		page := &resource.Response{Resource: child, URL: child.URI, Status: 200, Header: http.Header{"Etag": {"x"}}, Body: []byte{}, Outcome: resource.Modified, Sent: now, Received: now}
		if n == 2 {
			page.Status, page.Outcome, page.Body = 304, resource.NotModified, nil
		}
		r.Pages = append(r.Pages, page)
	}
	r.Cut = "too many pages"
	return r
}

// What a Sink has written a Relay gives on, down to the last byte.
func TestSinkRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{})
		s := r.sink(t, r.cable())
		want := []*resource.Response{fullResponse(t), newResponse(t, 2, ""), newResponse(t, 3, "x")}
		want[1].Status, want[1].Outcome, want[1].Body = 410, resource.Retired, nil
		for _, w := range want {
			require.NoError(t, s.Take(t.Context(), w))
		}
		got := newTaken()
		a := r.relay(r.cable(), got, nil)
		all := got.waitFor(t, len(want))
		for _, w := range want {
			for _, g := range all {
				if g.Resource.ID == w.Resource.ID {
					require.Equal(t, w, g)
				}
			}
		}
		a.stop()
		<-a.ended
		require.NoError(t, a.err)
		require.Equal(t, RelayStats{Taken: 3}, a.Stats())

		// It was committed: the next one begins behind it.
		require.NoError(t, s.Take(t.Context(), newResponse(t, 4, "new")))
		next := newTaken()
		r.relay(r.cable(), next, nil)
		all = next.waitFor(t, 1)
		require.Equal(t, "new", string(all[0].Body))
		require.Len(t, all, 1)
	})
}

// A header for people: the parts of a record that need no program of ours.
func TestSinkRecord(t *testing.T) {
	records, err := encodeResponse(fullResponse(t), "me/1")
	require.NoError(t, err)
	require.Len(t, records, 4)
	want := map[string]string{
		"format": "1", "take": "me/1", "page": "0", "pages": "3", "uri": "https://a.example/1", "url": "https://a.example/elsewhere?page=1",
		"status": "200", "outcome": "modified", "media-type": "application/json", "sent": "2026-03-04T05:06:07.123456789Z",
		"received": "2026-03-04T05:06:07.124456789Z", "confirmed": "2026-03-04T04:06:07.123456789Z",
		"previous-etag": `"before"`, "cut": "too many pages", "http.X-Empty": "",
	}
	got := map[string]string{}
	for _, h := range records[0].Headers {
		got[h.Key] = string(h.Value)
	}
	for k, v := range want {
		require.Equal(t, v, got[k], k)
	}
	require.Equal(t, `{"a": [1, 2]}`, string(records[0].Value))
	for _, rec := range records {
		require.Equal(t, newResource(t, "https://a.example/1").ID.String(), string(rec.Key))
	}
}

func TestSinkSecrets(t *testing.T) {
	secret := strings.Join([]string{"made", "up"}, "-0451-")
	r := fullResponse(t)
	for _, name := range []string{"Set-Cookie", "set-cookie", "Set-Cookie2", "Cookie", "Authorization", "Proxy-Authorization", "X-Auth-Token"} {
		r.Header[name] = []string{secret}
	}
	in := "https://me:" + secret + "@a.example/x"
	r.URL, r.Resource.Hop, r.Resource.Moved = in, in, in
	r.Header["Location"] = []string{in, "//u:" + secret + "@host/a//b@c?c=d@e", "https://a%zz:" + secret + "@host"}
	r.Header["Link"] = []string{"<" + in + ">; rel=next, <https://" + secret + "@b.example?x>; rel=last"}
	r.Pages[1].URL = in
	r.Value = secret
	records, err := encodeResponse(r, "me/1")
	require.NoError(t, err)
	for _, rec := range records {
		all := append(append([]byte{}, rec.Key...), rec.Value...)
		for _, h := range rec.Headers {
			all = append(append(all, h.Key...), h.Value...)
		}
		require.False(t, bytes.Contains(all, []byte(secret)), "%s", all)
	}
	got, err := decodeResponse(records[0])
	require.NoError(t, err)
	require.Equal(t, "https://a.example/x", got.response.URL)
	require.Equal(t, []string{"https://a.example/x", "//host/a//b@c?c=d@e", "https://host"}, got.response.Header["Location"])
	require.Equal(t, []string{"<https://a.example/x>; rel=next, <https://b.example?x>; rel=last"}, got.response.Header["Link"])
}

func TestSinkTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{MessageBytes: 100_000})
		s := r.sink(t, r.cable())
		noise := make([]byte, 200_000)
		random := rand.NewChaCha8([32]byte{})
		_, _ = random.Read(noise)
		err := s.Take(t.Context(), newResponse(t, 1, string(noise)))
		require.ErrorIs(t, err, ErrTooLarge)
		require.ErrorIs(t, err, queue.ErrRefused)
		require.ErrorContains(t, err, "cannedos-responses takes 100000")

		// The largest that passes here passes there, too.
		most := 100_000
		for {
			response := newResponse(t, 1, string(noise[:most]))
			records, err := encodeResponse(response, s.name+"/10")
			require.NoError(t, err)
			over := recordSize(records[0]) - 100_000
			if over <= 0 {
				require.NoError(t, s.Take(t.Context(), response))
				break
			}
			most -= over
		}
		require.Greater(t, most, 98_000)

		_, err = NewSink(t.Context(), SinkConfig{Cluster: r.plugged(r.cable()), MaxBytes: 1 << 20})
		require.ErrorIs(t, err, ErrUnfit)
		require.ErrorContains(t, err, "100000")
	})
}

// While the replicas are not in sync a Take waits; then it goes on.
func TestSinkSlowBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{})
		s := r.sink(t, r.cable())
		fault := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
		go func() {
			time.Sleep(20 * time.Second)
			fault.Remove()
		}()
		begun := time.Now()
		require.NoError(t, s.Take(t.Context(), newResponse(t, 1, "x")))
		require.GreaterOrEqual(t, time.Since(begun), 20*time.Second)
		require.Less(t, time.Since(begun), 40*time.Second)
	})
}

func TestSinkErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{})
		s := r.sink(t, r.cable())
		response := newResponse(t, 1, "x")
		r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed})
		require.ErrorIs(t, s.Take(t.Context(), response), kerr.TopicAuthorizationFailed)
		require.NoError(t, s.Take(t.Context(), response))
		require.Len(t, r.records(t, DefaultResponses), 1)

		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errNo)
		require.ErrorIs(t, s.Take(ctx, response), errNo)
		require.NoError(t, s.Close(t.Context()))
		require.NoError(t, s.Close(t.Context()))
		require.ErrorIs(t, s.Take(t.Context(), response), queue.ErrClosed)
	})
}

// A Take whose context ends leaves its response on its way. Offered again it isn't
// written twice.
func TestSinkOfferedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{Partitions: 1})
		c := r.cable()
		s := r.sink(t, c)
		require.NoError(t, s.Take(t.Context(), newResponse(t, 1, "before")))
		c.pull()
		response := fullResponse(t)
		for range 4 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			begun := time.Now()
			require.ErrorIs(t, s.Take(ctx, response), context.DeadlineExceeded)
			require.Equal(t, 10*time.Second, time.Since(begun))
			cancel()
		}
		c.plug()
		require.NoError(t, s.Take(t.Context(), response))
		require.Len(t, r.records(t, DefaultResponses), 5)
	})
}

// Many Takes at once share batches, and one that is impatient takes no others
// with it.
func TestSinkShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{Partitions: 2})
		c := r.cable()
		s := r.sink(t, c)
		require.NoError(t, s.Take(t.Context(), newResponse(t, 0, "warm")))
		c.pull()
		requests := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Observe: true, Count: -1})
		var takes sync.WaitGroup
		for n := range 500 {
			takes.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				if n%10 == 0 {
					ctx, cancel = context.WithTimeout(context.Background(), time.Second)
				}
				defer cancel()
				err := s.Take(ctx, newResponse(t, n, "x"))
				if n%10 == 0 {
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("Take of %d: %v", n, err)
					}
				} else if err != nil {
					t.Errorf("Take of %d: %v", n, err)
				}
			})
		}
		time.Sleep(5 * time.Second)
		c.plug()
		takes.Wait()
		require.Less(t, requests.Hits(), 20)
	})
}

func TestSinkConfig(t *testing.T) {
	_, err := NewSink(t.Context(), SinkConfig{Topic: "..", MaxBytes: 1})
	for _, want := range []string{"SinkConfig.Brokers", "SinkConfig.Topic", "SinkConfig.MaxBytes"} {
		require.ErrorContains(t, err, want)
	}
	_, err = NewRelay(RelayConfig{StopTimeout: 1, TakeTimeout: -1, BufferBytes: -1}, newTaken())
	for _, want := range []string{"RelayConfig.Brokers", "RelayConfig.StopTimeout", "RelayConfig.TakeTimeout", "RelayConfig.BufferBytes"} {
		require.ErrorContains(t, err, want)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		c := SinkConfig{Cluster: r.plugged(r.cable())}
		_, err := NewSink(t.Context(), c)
		require.ErrorIs(t, err, ErrUnfit)
		require.ErrorContains(t, err, "is not there")
		c.Topic = DefaultTopic // compacted
		require.ErrorIs(t, CreateResponsesTopic(t.Context(), c, LogTopic{Replicas: 1}), ErrUnfit)
		require.ErrorContains(t, CreateResponsesTopic(t.Context(), c, LogTopic{Replicas: 100, MessageBytes: 1}), "LogTopic.Replicas")
	})
}

// Close waits for what is on its way, and gives it up when its context ends.
func TestSinkClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{})
		for _, c := range []struct {
			heals time.Duration
			want  error
		}{{5 * time.Second, nil}, {time.Hour, queue.ErrClosed}} {
			s := r.sink(t, r.cable())
			fault := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
			time.AfterFunc(c.heals, fault.Remove)
			took := make(chan error, 1)
			go func() { took <- s.Take(context.Background(), newResponse(t, 1, "x")) }()
			time.Sleep(time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			err := s.Close(ctx)
			cancel()
			require.ErrorIs(t, <-took, c.want)
			require.Equal(t, c.want == nil, err == nil, "%v", err)
			time.Sleep(2 * time.Hour)
		}
	})
}
