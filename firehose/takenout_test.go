package firehose_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// A resource that is taken out while its claim still waits for a Requestor was not
// asked under that claim: added again, it rests for what its last answer has said,
// and not for an answer that never was on its way.
func TestD4_AClaimThatWaitedIsNothingToRestFor(t *testing.T) {
	for name, store := range stores() {
		for _, restart := range []bool{false, true} {
			if restart && name != "durable" {
				continue
			}
			bubble(t, func(t *testing.T) {
				net := newScript(func(c call) reply {
					switch {
					case c.URL == uriA:
						return reply{body: "x", header: map[string]string{"X-Poll-Interval": "20"}}
					case c.n == 1: // from 15 s to 25 s nobody is left to ask
						return reply{body: "x", slow: 10 * time.Second}
					}
					return reply{body: "x"}
				})
				config := firehose.Config{DB: store(), Workers: 1, Resources: []resource.Spec{{URI: uriC, Interval: 15 * time.Second}}}
				r := start(t, net, config)
				require.NoError(t, r.Ready(t.Context()))
				require.NoError(t, r.Add(t.Context(), resource.Spec{URI: uriA}))
				again := func() {
					require.NoError(t, r.Remove(t.Context(), idOf(t, uriA)))
					_, err := r.Explain(t.Context(), idOf(t, uriA))
					require.ErrorIs(t, err, firehose.ErrUnknown)
					if restart {
						require.NoError(t, r.stop())
						r = start(t, net, config)
					}
					require.NoError(t, r.Add(t.Context(), resource.Spec{URI: uriA}))
				}
				until(10 * time.Second)
				again() // that the origin said 20 s is forgotten now, but for when they are over
				until(21 * time.Second)
				require.Equal(t, firehose.QueueRequests, r.explain(uriA).Queue)
				again()
				until(46 * time.Second)
				require.Equal(t, secs(0, 25, 45), net.times(uriA))
				require.NotContains(t, r.sink.kinds(), firehose.EventForfeited.String())
				require.NoError(t, r.stop())
			})
		}
	}
}

// A claim whose Requestor has ended with it in hand counts as sent, whoever finds it:
// a resource that is taken out then, and added again, rests for its interval.
func TestD4_AClaimThatWasInHandIsRestedFor(t *testing.T) {
	for _, op := range []string{"receive", "commit"} { // before its request, and after the answer
		bubble(t, func(t *testing.T) {
			inner, err := queue.NewMemory(queue.MemoryConfig{})
			require.NoError(t, err)
			defer inner.Close()
			d := &deadly{Queue: inner, name: firehose.QueueRequests, op: op, each: 1}
			d.how = func() {
				d.over.Store(true)
				panic("injected")
			}
			net := newScript(func(call) reply { return reply{body: "x", slow: time.Second} })
			r := start(t, net, firehose.Config{Queue: d, Workers: 1, Resources: resource.List(uriA)})
			ended := time.Duration(0)
			if op == "commit" {
				ended = time.Second
			}
			until(ended + 5*time.Millisecond) // the Requestor is started again after 10 ms
			require.Equal(t, 1, d.deaths)
			require.Equal(t, firehose.QueueRequests, r.explain(uriA).Queue)
			require.NoError(t, r.Remove(t.Context(), idOf(t, uriA)))
			require.NoError(t, r.Add(t.Context(), resource.Spec{URI: uriA}))
			n := len(net.all(uriA))
			until(ended + resource.DefaultInterval)
			require.Len(t, net.all(uriA), n)
			pass(time.Second)
			require.Len(t, net.all(uriA), n+1)
			require.NoError(t, r.stop())
		})
	}
}
