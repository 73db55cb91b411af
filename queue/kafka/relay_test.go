package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cannedos/cannedos/resource"
)

// publish takes many responses of a few resources, one after the other for each.
func publish(t *testing.T, s *Sink, resources, each int) {
	for k := range each {
		for n := range resources {
			require.NoError(t, s.Take(t.Context(), newResponse(t, n, strconv.Itoa(k))))
		}
	}
}

// complete checks that all that was published has been taken, in order.
func complete(t *testing.T, got map[resource.ID][]string, resources, each int) {
	t.Helper()
	var want []string
	for k := range each {
		want = append(want, strconv.Itoa(k))
	}
	require.Len(t, got, resources)
	for n := range resources {
		require.Equal(t, want, got[newResource(t, fmt.Sprintf("https://a.example/%d", n)).ID])
	}
}

// Whatever a sink does, what comes after it waits, and nothing is left out.
func TestRelayRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{Partitions: 4})
		publish(t, r.sink(t, r.cable()), 20, 10)
		random := rand.New(rand.NewPCG(1, 2))
		got := newTaken()
		got.refuse = func(ctx context.Context, n int, _ *resource.Response) error {
			got.mu.Lock()
			what := random.IntN(20)
			got.mu.Unlock()
			switch what {
			case 0:
				return errNo
			case 1:
				panic("sink panics")
			case 2:
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		a := r.relay(r.cable(), got, nil)
		got.waitFor(t, 200)
		complete(t, got.bodies(), 20, 10)
		require.Len(t, got.list(), 200)
		require.False(t, got.twice)
		a.stop()
		<-a.ended
		require.NoError(t, a.err)
		require.EqualValues(t, 200, a.Stats().Taken)
		require.EqualValues(t, got.n-200, a.Stats().Failed)
	})
}

// A relay that comes, and one that goes in peace, repeat nothing; one that loses
// its network has others go on for it.
func TestRelayRebalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{Partitions: 6})
		s := r.sink(t, r.cable())
		got := newTaken()
		got.refuse = func(context.Context, int, *resource.Response) error { // all share it, so that order is seen over all
			time.Sleep(20 * time.Millisecond)
			return nil
		}
		cut := r.cable()
		a := r.relay(cut, got, nil)
		published := make(chan struct{})
		go func() {
			defer close(published)
			for k := range 40 {
				for n := range 30 {
					if err := s.Take(context.Background(), newResponse(t, n, strconv.Itoa(k))); err != nil {
						t.Errorf("Take: %v", err)
					}
				}
				time.Sleep(time.Second)
			}
		}()
		time.Sleep(5 * time.Second)
		b := r.relay(r.cable(), got, nil)
		time.Sleep(5 * time.Second)
		c := r.relay(r.cable(), got, nil)
		time.Sleep(5 * time.Second)
		b.stop()
		<-b.ended
		require.NoError(t, b.err)
		<-published
		got.wait(t, func(all []*resource.Response) bool { return len(all) >= 1200 })
		time.Sleep(time.Minute)
		complete(t, got.bodies(), 30, 40)
		require.Len(t, got.list(), 1200, "nobody had to repeat anything")
		require.Positive(t, b.Stats().Taken)
		require.Positive(t, c.Stats().Taken)

		go func() {
			time.Sleep(100 * time.Millisecond)
			cut.pull()
		}()
		for k := 40; k < 60; k++ {
			for n := range 30 {
				require.NoError(t, s.Take(t.Context(), newResponse(t, n, strconv.Itoa(k))))
			}
		}
		got.wait(t, func([]*resource.Response) bool {
			n := 0
			for _, bodies := range got.bodies() {
				n += len(bodies)
			}
			return n == 30*60
		})
		complete(t, got.bodies(), 30, 60)
		cut.plug()
		time.Sleep(time.Minute)
		for _, p := range []*relaying{a, c} {
			p.stop()
			<-p.ended
			require.NoError(t, p.err)
		}
	})
}

// A Take that runs when the relay stops may go on for StopTimeout; one that is
// deaf to the end of its context is given up.
func TestRelayStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{Partitions: 1})
		publish(t, r.sink(t, r.cable()), 1, 3)
		release := make(chan struct{})
		for _, end := range []struct {
			take func(ctx context.Context) error
			want int // taken
			late bool
		}{
			{func(context.Context) error { time.Sleep(20 * time.Second); return nil }, 1, false},
			{func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }, 0, false},
			{func(context.Context) error { <-release; return errNo }, 0, true},
		} {
			got := newTaken()
			got.refuse = func(ctx context.Context, _ int, _ *resource.Response) error { return end.take(ctx) }
			a := r.relay(r.cable(), got, func(c *RelayConfig) { c.TakeTimeout = time.Hour })
			time.Sleep(15 * time.Second)
			a.stop()
			begun := time.Now()
			<-a.ended
			require.Less(t, time.Since(begun), 35*time.Second)
			require.Len(t, got.list(), end.want)
			if end.late {
				require.NoError(t, a.err)
			}
		}
		close(release)
		got := newTaken()
		r.relay(r.cable(), got, nil)
		all := got.waitFor(t, 2)
		require.Equal(t, "1", string(all[0].Body), "the first was committed")
	})
}

func TestRelayUndecodable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{Partitions: 1})
		s := r.sink(t, r.cable())
		publish(t, s, 1, 1)
		require.NoError(t, s.producer.write(t.Context(), []*kgo.Record{{Key: []byte("k"), Value: []byte("strange")}}))
		newer, err := encodeResponse(newResponse(t, 7, ""), "x/1")
		require.NoError(t, err)
		newer[0].Headers[0].Value = []byte("2")
		require.NoError(t, s.producer.write(t.Context(), newer))
		require.NoError(t, s.Take(t.Context(), newResponse(t, 0, "1")))

		got := newTaken()
		a := r.relay(r.cable(), got, nil)
		<-a.ended
		require.ErrorContains(t, a.err, "topic cannedos-responses, partition 0, offset 1")
		require.Len(t, got.list(), 1)

		var offsets []int64
		a = r.relay(r.cable(), got, func(c *RelayConfig) {
			c.Undecodable = func(rec *kgo.Record, err error) error {
				offsets = append(offsets, rec.Offset)
				if rec.Offset == 2 && !errors.Is(err, resource.ErrNewer) {
					t.Errorf("%v", err)
				}
				return nil
			}
		})
		all := got.waitFor(t, 2)
		require.Equal(t, "1", string(all[1].Body))
		require.Equal(t, []int64{1, 2}, offsets)
		require.EqualValues(t, 2, a.Stats().Undecodable)
	})
}

// A response of which a part was never written was never acknowledged: it is left
// out, and holds nothing up.
func TestRelayPartial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{Partitions: 1})
		s := r.sink(t, r.cable())
		write := func(take string, n int, pieces ...int) {
			full := fullResponse(t)
			full.Resource = newResource(t, fmt.Sprintf("https://a.example/%d", n))
			records, err := encodeResponse(full, take)
			require.NoError(t, err)
			for _, i := range pieces {
				require.NoError(t, s.producer.write(t.Context(), []*kgo.Record{records[i]}))
			}
		}
		write("a/1", 1, 0, 1)       // repeated below, so it has failed
		write("b/1", 1, 0, 1)       // by another sink, and never ended
		write("a/2", 1, 0, 1, 2, 3) // whole
		write("b/2", 2, 0, 1, 3)    // with a hole
		write("b/3", 3, 2, 3)       // without its beginning
		write("c/1", 3, 0)          // goes on below
		write("b/4", 4, 0, 1, 2, 3)
		write("c/1", 3, 1, 2, 3)
		got := newTaken()
		a := r.relay(r.cable(), got, nil)
		all := got.waitFor(t, 3)
		for _, taken := range all {
			require.Len(t, taken.Pages, 3)
			require.Equal(t, []int{200, 200, 304}, []int{taken.Pages[0].Status, taken.Pages[1].Status, taken.Pages[2].Status})
		}
		a.stop()
		<-a.ended
		require.EqualValues(t, 2, a.Stats().Partial, "a/1 and b/2; b/1 may go on")

		// b/1 is held on to: what comes behind it is read again until it is old.
		got = newTaken()
		a = r.relay(r.cable(), got, nil)
		got.waitFor(t, 3)
		time.Sleep(partialTimeout)
		require.NoError(t, s.Take(t.Context(), newResponse(t, 9, "late")))
		got.waitFor(t, 4)
		require.EqualValues(t, 2, a.Stats().Partial, "b/2 again, and b/1")
		a.stop()
		<-a.ended
		got = newTaken()
		r.relay(r.cable(), got, nil)
		require.NoError(t, s.Take(t.Context(), newResponse(t, 9, "last")))
		require.Equal(t, "last", string(got.waitFor(t, 1)[0].Body))
	})
}

// A sink whose network is cut in the middle of everything loses nothing that it
// has acknowledged.
func TestRelayAfterCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{Partitions: 3})
		c := r.cable()
		s := r.sink(t, c)
		got := newTaken()
		r.relay(r.cable(), got, nil)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			random := rand.New(rand.NewPCG(3, 4))
			for range 30 {
				time.Sleep(time.Duration(random.IntN(2000)) * time.Millisecond)
				c.pull()
				time.Sleep(time.Duration(random.IntN(2000)) * time.Millisecond)
				c.plug()
			}
		}()
		for k := range 30 {
			for n := range 10 {
				response := fullResponse(t)
				response.Resource = newResource(t, fmt.Sprintf("https://a.example/%d", n))
				response.Body = []byte(strconv.Itoa(k))
				for {
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
					err := s.Take(ctx, response)
					cancel()
					if err == nil {
						break
					}
				}
			}
		}
		<-ended
		got.wait(t, func([]*resource.Response) bool {
			n := 0
			for _, bodies := range got.bodies() {
				n += len(bodies)
			}
			return n >= 300
		})
		complete(t, got.bodies(), 10, 30)
		for _, taken := range got.list() {
			require.Len(t, taken.Pages, 3)
		}
	})
}

// What waits in memory is bounded, and a partition whose sink is slow stops no
// other.
func TestRelayBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{Partitions: 2})
		s := r.sink(t, r.cable())
		body := make([]byte, 10_000)
		for n := range 2000 {
			copy(body, strconv.Itoa(n)+" ")
			sent, err := encodeResponse(newResponse(t, n, string(body)), "a/1")
			require.NoError(t, err)
			_, err = s.producer.send(t.Context(), sent)
			require.NoError(t, err)
		}
		require.NoError(t, s.producer.client.Flush(t.Context()))
		var slow int64 = -1
		release := make(chan struct{})
		got := newTaken()
		got.refuse = func(ctx context.Context, _ int, response *resource.Response) error {
			got.mu.Lock()
			if slow < 0 { // the first one stays
				slow = int64(response.Resource.Version)
				got.mu.Unlock()
				<-release
				return nil
			}
			got.mu.Unlock()
			return nil
		}
		a := r.relay(r.cable(), got, func(c *RelayConfig) {
			c.BufferRecords, c.TakeTimeout = 100, time.Hour
		})
		time.Sleep(2 * time.Minute)
		taken := a.Stats().Taken
		require.Greater(t, taken, int64(800), "the other partition went on")
		require.Less(t, taken, int64(1200))
		for n := range int32(2) {
			p := a.part(n)
			p.mu.Lock()
			require.Less(t, len(p.waiting), 250, "partition %d", n) // its share, and a poll
			p.mu.Unlock()
		}
		close(release)
		got.waitFor(t, 2000)
	})
}

// Commits that fail are made up for by later ones.
func TestRelayCommitFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{Partitions: 2})
		fault := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.NotCoordinator, Count: -1})
		publish(t, r.sink(t, r.cable()), 10, 5)
		got := newTaken()
		a := r.relay(r.cable(), got, nil)
		got.waitFor(t, 50)
		time.Sleep(time.Minute)
		fault.Remove()
		time.Sleep(time.Minute)
		a.stop()
		<-a.ended
		require.NoError(t, a.err)
		next := newTaken()
		b := r.relay(r.cable(), next, nil)
		time.Sleep(time.Minute)
		require.Empty(t, next.list())
		require.Zero(t, b.Stats().Missing)
	})
}

// What retention has taken before it was read is counted.
func TestRelayMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{Partitions: 1})
		s := r.sink(t, r.cable())
		publish(t, s, 1, 2)
		got := newTaken()
		a := r.relay(r.cable(), got, nil)
		got.waitFor(t, 2)
		a.stop()
		<-a.ended
		for k := 2; k < 6; k++ {
			require.NoError(t, s.Take(t.Context(), newResponse(t, 0, strconv.Itoa(k))))
		}
		require.NoError(t, r.cluster.DeleteRecords(DefaultResponses, 0, 4))
		got = newTaken()
		a = r.relay(r.cable(), got, nil)
		got.waitFor(t, 2)
		require.EqualValues(t, 2, a.Stats().Missing)
	})
}

func TestRelayForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{Partitions: 1})
		r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.GroupAuthorizationFailed, Count: -1})
		a := r.relay(r.cable(), newTaken(), nil)
		<-a.ended
		require.ErrorIs(t, a.err, kerr.GroupAuthorizationFailed)
		require.ErrorIs(t, a.Serve(t.Context()), ErrServing)
	})
}

// A Take that is deaf to the end of its context, when its partition is given away,
// ends its relay, since no other Take may begin beside it there.
func TestRelayDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlow(t, LogTopic{Partitions: 2})
		s := r.sink(t, r.cable())
		publish(t, s, 10, 1)
		release := make(chan struct{})
		defer close(release)
		deaf := newTaken()
		deaf.refuse = func(context.Context, int, *resource.Response) error {
			<-release
			return nil
		}
		a := r.relay(r.cable(), deaf, nil)
		time.Sleep(10 * time.Second)
		got := newTaken()
		r.relay(r.cable(), got, nil)
		<-a.ended
		require.ErrorContains(t, a.err, "goes on after its context has ended")
		got.waitFor(t, 10)
		complete(t, got.bodies(), 10, 1)
	})
}
