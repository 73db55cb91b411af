package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

func newResource(t testing.TB, uri string) resource.Resource {
	r, err := resource.New(resource.Spec{URI: uri}, "")
	require.NoError(t, err)
	return r
}

func messageOf(name string, r resource.Resource) queue.Message {
	return queue.Message{Queue: name, Resource: r}
}

func open(t testing.TB, p *Partition) queue.Session {
	t.Helper()
	s, err := p.Queue.Open(t.Context())
	require.NoError(t, err)
	return s
}

// admit puts n resources into a partition, due at once.
func admit(t testing.TB, s queue.Session, n int) {
	t.Helper()
	for i := range n {
		res := newResource(t, fmt.Sprintf("https://%d.example/", i))
		require.NoError(t, s.Commit(t.Context(), nil, queue.Message{Queue: "analyze", Resource: res}))
	}
}

func TestHandedOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1)
		a := r.start(nil)
		s := open(t, a.part(t, 0))
		res := newResource(t, "https://a.example/")
		due := time.Now().Add(time.Hour)
		require.NoError(t, s.Commit(t.Context(), nil, queue.Message{Queue: "analyze", Resource: res, Due: due}))
		begun := time.Now()
		a.stop()
		<-a.ended
		require.NoError(t, a.err)
		require.ErrorIs(t, s.Commit(t.Context(), nil, queue.Message{Queue: "analyze", Resource: newResource(t, "https://b.example/")}), queue.ErrClosed)

		b := r.start(nil)
		part := b.part(t, 0)
		open(t, part)
		require.Less(t, time.Since(begun), 5*time.Second, "who leaves is not waited for")
		m, held, err := part.Queue.(queue.Finder).Find(t.Context(), res.ID)
		require.NoError(t, err)
		require.False(t, held)
		require.Equal(t, res.URI, m.Resource.URI)
		require.WithinDuration(t, due, m.Due, time.Millisecond)
		require.Equal(t, []int{0}, b.Partitions())
	})
}

// TestTakenOver cuts a process off. Another one has its partition after the
// session timeout, finds the claim as one, and nothing that the first still writes
// counts.
func TestTakenOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1)
		a := r.start(nil)
		s := open(t, a.part(t, 0))
		admit(t, s, 3)
		ds, err := s.Receive(t.Context(), "analyze", 1)
		require.NoError(t, err)
		m := ds[0].To("requests", time.Time{})
		m.Resource.Claim(resource.NewOwner(), time.Now(), time.Now().Add(30*time.Second))
		require.NoError(t, s.Commit(t.Context(), ds, m))

		b := r.start(nil)
		time.Sleep(5 * time.Second)
		require.Empty(t, b.Partitions())
		begun := time.Now()
		a.cable.pull()
		lost := make(chan error, 1)
		go func() {
			lost <- s.Commit(context.Background(), nil, queue.Message{Queue: "analyze", Resource: newResource(t, "https://late.example/")})
		}()
		s2 := open(t, b.part(t, 0))
		require.Less(t, time.Since(begun), DefaultSessionTimeout+5*time.Second)
		ds, err = s2.Receive(t.Context(), "requests", 10)
		require.NoError(t, err)
		require.Len(t, ds, 1)
		require.True(t, ds[0].Redelivered)
		require.Equal(t, m.Resource.Owner, ds[0].Resource.Owner)
		depths, err := b.part(t, 0).Queue.(queue.Depther).Depths(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, depths[0].Ready)

		a.cable.plug()
		require.Error(t, <-lost)
		time.Sleep(time.Minute)
		require.ErrorIs(t, s.Commit(t.Context(), nil, queue.Message{Queue: "analyze", Resource: newResource(t, "https://later.example/")}), queue.ErrClosed)
		require.Empty(t, a.Partitions(), "it has joined again, and there is nothing left for it")
		_, _, err = b.part(t, 0).Queue.(queue.Finder).Find(t.Context(), newResource(t, "https://late.example/").ID)
		require.ErrorIs(t, err, queue.ErrNotFound)
	})
}

// TestShared has members join and leave. At any time each partition is in the hands
// of one at the most, and those that stay with their holder go on being written.
func TestShared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const partitions = 12
		r := newRig(t, partitions)
		var holders [partitions]atomic.Int32
		serve := func(p *process) func(context.Context, *Partition) error {
			return func(ctx context.Context, part *Partition) error {
				require.EqualValues(t, 1, holders[part.Number].Add(1), "partition %d has two holders", part.Number)
				defer holders[part.Number].Add(-1)
				require.Equal(t, partitions, part.Count)
				s, err := part.Queue.Open(context.WithoutCancel(ctx))
				if err != nil {
					return err
				}
				p.set(part.Number, part)
				defer p.set(part.Number, nil)
				for i := 0; ctx.Err() == nil; i++ {
					res := newResource(t, fmt.Sprintf("https://%d.example/%d", part.Number, time.Now().UnixNano()))
					if err := s.Commit(context.WithoutCancel(ctx), nil, queue.Message{Queue: "a", Resource: res}); err != nil {
						t.Errorf("partition %d: %v", part.Number, err)
						return err
					}
					time.Sleep(100 * time.Millisecond)
				}
				time.Sleep(3 * time.Second) // what is in flight
				res := newResource(t, fmt.Sprintf("https://%d.example/%d/last", part.Number, time.Now().UnixNano()))
				require.NoError(t, s.Commit(context.WithoutCancel(ctx), nil, queue.Message{Queue: "a", Resource: res}))
				return nil
			}
		}
		a := r.startWith(nil, serve)
		a.wait(t, 12)
		b := r.startWith(nil, serve)
		b.wait(t, 6)
		a.wait(t, 6)
		c := r.startWith(nil, serve)
		c.wait(t, 4)
		a.wait(t, 4)
		a.stop()
		<-a.ended
		require.NoError(t, a.err)
		b.wait(t, 6)
		c.wait(t, 6)
		b.stop()
		d := r.startWith(nil, serve) // joins while b hands over, which takes it a while
		<-b.ended
		require.NoError(t, b.err)
		c.wait(t, 6)
		d.wait(t, 6)
		for n := range partitions {
			require.EqualValues(t, 1, holders[n].Load())
		}
	})
}

// TestFence writes with what proved the right to write one generation ago.
func TestFence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2)
		a := r.start(nil)
		open(t, a.part(t, 0))
		old := a.present()
		b := r.start(nil)
		b.wait(t, 1)
		a.wait(t, 1)
		time.Sleep(time.Minute) // the group comes to rest
		require.Greater(t, a.present().generation, old.generation)

		c := a.config
		c.Instance = "another"
		s, err := openSession(t.Context(), &c)
		require.NoError(t, err)
		defer s.close()
		late := &kgo.Record{Topic: c.Topic, Partition: 0, Key: []byte("late"), Value: []byte("x")}
		for _, f := range []fence{old, {member: "nobody", generation: old.generation + 1}, {member: old.member, generation: 1000}} {
			require.ErrorIs(t, s.transact(t.Context(), f, []*kgo.Record{late}), errOutdated, "%v", f)
		}
		require.NoError(t, s.transact(t.Context(), a.present(), []*kgo.Record{{Topic: c.Topic, Partition: 0, Key: []byte("right"), Value: []byte("x")}}))
		st := newStore(a.newHolding(0), a.writer, 2)
		mark := ownerMark{Opening: "end", Partitions: 2}
		require.NoError(t, s.transact(t.Context(), a.present(), []*kgo.Record{{Topic: c.Topic, Partition: 0, Key: []byte(ownerKey), Value: mark.encode()}}))
		all, err := st.read(t.Context(), "end")
		require.NoError(t, err)
		require.Contains(t, all, "right")
		require.NotContains(t, all, "late")
	})
}

// TestWrittenAgain: a transaction that meets a new generation is undone, and written
// again in the next one by the same Commit.
func TestWrittenAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1)
		a := r.start(nil)
		s := open(t, a.part(t, 0))
		for _, err := range []*kerr.Error{kerr.IllegalGeneration, kerr.RebalanceInProgress, kerr.UnknownMemberID} {
			fault := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: err, Count: 2})
			res := newResource(t, "https://"+fmt.Sprint(err.Code)+".example/")
			require.NoError(t, s.Commit(t.Context(), nil, messageOf("q", res)), "%v", err)
			require.Equal(t, 2, fault.Hits())
		}
		a.stop()
		<-a.ended
		ds, err := open(t, r.start(nil).part(t, 0)).Receive(t.Context(), "q", 10)
		require.NoError(t, err)
		require.Len(t, ds, 3)
	})
}

// TestDeadTransaction leaves a transaction open, as a process that is killed
// within one. The next owner waits until the brokers have undone it, or, under the
// same name, undoes it at once.
func TestDeadTransaction(t *testing.T) {
	for _, c := range []struct {
		instance string
		within   time.Duration
	}{{"dead", 2 * time.Second}, {"", DefaultTransactionTimeout + 11*time.Second}} {
		t.Run(c.instance, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 1)
				config, err := r.config.withDefaults()
				require.NoError(t, err)
				config.Client = []kgo.Opt{kgo.Dialer(r.dial)}
				config.Instance = "dead"
				s, err := openSession(t.Context(), &config)
				require.NoError(t, err)
				require.NoError(t, s.client.BeginTransaction())
				require.NoError(t, s.client.ProduceSync(t.Context(), &kgo.Record{Topic: config.Topic, Partition: 0, Key: []byte("half"), Value: []byte("x")}).FirstErr())
				t.Cleanup(s.close) // it isn't ended, and its connections stay open
				begun := time.Now()
				a := r.start(func(config *Config) { config.Instance = c.instance })
				open(t, a.part(t, 0))
				require.Less(t, time.Since(begun), c.within)
				if c.instance == "" {
					require.Greater(t, time.Since(begun), DefaultTransactionTimeout-time.Second)
				}
			})
		})
	}
}

func TestSameInstance(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2)
		twins := []*process{}
		for range 2 {
			p := r.startWith(func(c *Config) { c.Instance = "twin" }, func(p *process) func(context.Context, *Partition) error {
				return func(ctx context.Context, part *Partition) error {
					s, err := part.Queue.Open(ctx)
					if err != nil {
						return err
					}
					p.set(part.Number, part)
					defer p.set(part.Number, nil)
					for i := 0; ctx.Err() == nil; i++ {
						_ = s.Commit(ctx, nil, queue.Message{Queue: "a", Resource: newResource(t, fmt.Sprintf("https://%d.example/%d", part.Number, time.Now().UnixNano()))})
						time.Sleep(time.Second)
					}
					return nil
				}
			})
			twins = append(twins, p)
		}
		select {
		case <-twins[0].ended:
			require.ErrorIs(t, twins[0].err, ErrInstance)
		case <-twins[1].ended:
			require.ErrorIs(t, twins[1].err, ErrInstance)
		case <-time.After(5 * time.Minute):
			t.Fatal("neither has noticed the other")
		}
	})
}

func TestPartitionsChanged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1)
		a := r.start(nil)
		open(t, a.part(t, 0))
		a.stop()
		<-a.ended
		client, err := kgo.NewClient(kgo.SeedBrokers(r.config.Brokers...), kgo.Dialer(r.dial))
		require.NoError(t, err)
		defer client.Close()
		_, err = kadm.NewClient(client).CreatePartitions(t.Context(), 1, DefaultTopic)
		require.NoError(t, err)
		b := r.start(nil)
		_, err = b.part(t, 0).Queue.Open(t.Context())
		require.Error(t, err, "which one is a matter of who comes first")
		<-b.ended
		require.ErrorIs(t, b.err, ErrPartitions)
		require.ErrorContains(t, b.err, "it has 2, and 1 were counted")
	})
}

// TestPartitionsGrow while a member serves: it ends as soon as it is told.
func TestPartitionsGrow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1)
		a := r.start(nil)
		open(t, a.part(t, 0))
		client, err := kgo.NewClient(kgo.SeedBrokers(r.config.Brokers...), kgo.Dialer(r.dial))
		require.NoError(t, err)
		defer client.Close()
		_, err = kadm.NewClient(client).CreatePartitions(t.Context(), 2, DefaultTopic)
		require.NoError(t, err)
		<-a.ended
		require.ErrorIs(t, a.err, ErrPartitions)
	})
}

// TestFunctionFails: a function that fails, or panics, is called again, later and
// later, with a queue that is as before; one that returns nil is not.
func TestFunctionFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1)
		var calls []time.Time
		done := make(chan struct{})
		r.startWith(nil, func(*process) func(context.Context, *Partition) error {
			return func(ctx context.Context, part *Partition) error {
				calls = append(calls, time.Now())
				s, err := part.Queue.Open(ctx)
				require.NoError(t, err)
				res := newResource(t, "https://a.example/")
				err = s.Commit(ctx, nil, queue.Message{Queue: "a", Resource: res})
				switch len(calls) {
				case 1:
					require.NoError(t, err)
					return errors.New("a reason")
				case 2:
					require.ErrorIs(t, err, queue.ErrExists)
					panic("a bug")
				}
				require.ErrorIs(t, err, queue.ErrExists)
				close(done)
				return nil
			}
		})
		<-done
		time.Sleep(time.Hour)
		require.Len(t, calls, 3)
		require.InDelta(t, 1, calls[1].Sub(calls[0]).Seconds(), 0.5)
		require.InDelta(t, 2, calls[2].Sub(calls[1]).Seconds(), 0.5)
	})
}

// TestDeafFunction doesn't end when its partition is to be handed over. It is waited
// for as long as StopTimeout says, and can write no more after that.
func TestDeafFunction(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1)
		release := make(chan struct{})
		var s queue.Session
		opened := make(chan struct{})
		a := r.startWith(nil, func(*process) func(context.Context, *Partition) error {
			return func(ctx context.Context, part *Partition) error {
				var err error
				s, err = part.Queue.Open(context.Background())
				require.NoError(t, err)
				close(opened)
				<-release
				return nil
			}
		})
		<-opened
		admit(t, s, 1)
		begun := time.Now()
		a.stop()
		<-a.ended
		require.ErrorContains(t, a.err, "partitions [0] have not stopped within 30s")
		require.InDelta(t, DefaultStopTimeout.Seconds(), time.Since(begun).Seconds(), 2)
		b := r.start(nil)
		open(t, b.part(t, 0))
		require.ErrorIs(t, s.Commit(t.Context(), nil, queue.Message{Queue: "a", Resource: newResource(t, "https://late.example/")}), queue.ErrClosed)
		close(release)
		synctest.Wait()
	})
}

func TestServesOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1)
		a := r.start(nil)
		a.wait(t, 1)
		require.ErrorIs(t, a.Serve(t.Context()), ErrServing)
	})
}
