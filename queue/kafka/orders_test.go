package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// controlled is a controller that remembers.
type controlled struct {
	fail func(n int, what string) error // called first, with the number of the call

	mu   sync.Mutex
	n    int
	said []string                      // every call that had an effect
	now  map[resource.ID]resource.Spec // what is polled

	changed chan struct{} // closed when said has changed
}

func newControlled() *controlled {
	return &controlled{now: map[resource.ID]resource.Spec{}, changed: make(chan struct{})}
}

func (c *controlled) do(what string, f func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	if c.fail != nil {
		if err := c.fail(c.n, what); err != nil {
			return err
		}
	}
	if err := f(); err != nil {
		return err
	}
	c.said = append(c.said, what)
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

func (c *controlled) known(id resource.ID) error {
	if _, ok := c.now[id]; !ok {
		return fmt.Errorf("firehose: %v: %w", id, firehose.ErrUnknown)
	}
	return nil
}

func (c *controlled) Add(_ context.Context, specs ...resource.Spec) error {
	return c.do(fmt.Sprintf("add %d", len(specs)), func() error {
		var errs []error
		for _, spec := range specs {
			if c.known(spec.ID) == nil {
				errs = append(errs, queue.ErrExists)
			}
			c.now[spec.ID] = spec
		}
		return errors.Join(errs...)
	})
}

func (c *controlled) Remove(_ context.Context, id resource.ID) error {
	return c.do("remove", func() error { err := c.known(id); delete(c.now, id); return err })
}

func (c *controlled) Pause(_ context.Context, id resource.ID) error {
	return c.do("pause", func() error { return c.known(id) })
}

func (c *controlled) Resume(_ context.Context, id resource.ID) error {
	return c.do("resume", func() error { return c.known(id) })
}

func (c *controlled) SetInterval(_ context.Context, id resource.ID, interval time.Duration) error {
	return c.do("set "+interval.String(), func() error { return c.known(id) })
}

// wait waits until the last that was done is this.
func (c *controlled) wait(t *testing.T, last string) {
	t.Helper()
	timeout := time.After(10 * time.Minute)
	for {
		c.mu.Lock()
		done, changed := len(c.said) > 0 && c.said[len(c.said)-1] == last, c.changed
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%q was not done, but %v", last, c.said)
		}
	}
}

func (c *controlled) list() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said
}

func newOrders(t *testing.T, partitions int) (*rig, *Orders) {
	r := newRig(t, partitions)
	c := r.orders(r.cable())
	require.NoError(t, CreateOrdersTopic(t.Context(), c, LogTopic{Partitions: partitions, Replicas: 1}))
	o, err := NewOrders(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, o.Close(context.Background())) })
	return r, o
}

func (r *rig) orders(c *cable) OrdersConfig {
	all := r.config.Orders()
	all.Cluster = r.plugged(c)
	return all
}

// obey obeys until the function that is returned is called.
func (r *rig) obey(config OrdersConfig, partition int, c Controller) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Obey(ctx, config, partition, c) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(r.t, <-ended)
	})
	r.t.Cleanup(stop)
	return stop
}

func ids(t *testing.T, uris ...string) (all []resource.ID) {
	for _, uri := range uris {
		all = append(all, newResource(t, uri).ID)
	}
	return all
}

func TestOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, o := newOrders(t, 2)
		require.Equal(t, 2, o.Partitions())
		a, b := "https://a.example/1?x=1&y=2", "https://a.example/2"
		spec := resource.Spec{URI: b, Interval: 90 * time.Second, MediaType: "application/json", Priority: -3}
		require.NoError(t, o.Add(t.Context(), 1, resource.Spec{URI: a}, spec))
		require.NoError(t, o.Pause(t.Context(), 1, ids(t, a)...))
		require.NoError(t, o.Resume(t.Context(), 1, ids(t, a)...))
		require.NoError(t, o.SetInterval(t.Context(), 1, time.Hour, ids(t, a, b)...))
		require.NoError(t, o.Remove(t.Context(), 1, ids(t, a)...))
		require.NoError(t, o.Add(t.Context(), 0, resource.Spec{URI: "https://b.example/"}))

		c := newControlled()
		stop := r.obey(r.orders(r.cable()), 1, c)
		c.wait(t, "remove")
		require.Equal(t, []string{"add 2", "pause", "resume", "set 1h0m0s", "set 1h0m0s", "remove"}, c.list())
		spec.ID = ids(t, b)[0]
		require.Equal(t, map[resource.ID]resource.Spec{spec.ID: spec}, c.now)
		time.Sleep(time.Second)
		stop()

		// The next owner begins behind it, with its own orders alone.
		require.NoError(t, o.Pause(t.Context(), 1, ids(t, b)...))
		r.obey(r.orders(r.cable()), 1, c)
		c.wait(t, "pause")
		require.Len(t, c.list(), 7)
	})
}

func TestOrdersRefusesWhatIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, o := newOrders(t, 1)
		err := o.Add(t.Context(), 0, resource.Spec{URI: "https://a.example/"}, resource.Spec{URI: "ftp://a.example/"})
		require.ErrorContains(t, err, "specs[1].URI")
		require.Error(t, o.Add(t.Context(), 1, resource.Spec{URI: "https://a.example/"}))
		require.Error(t, o.Add(t.Context(), -1, resource.Spec{URI: "https://a.example/"}))
		require.Error(t, o.Pause(t.Context(), 0, resource.ID{}))
		require.Error(t, o.SetInterval(t.Context(), 0, 0, resource.NewID()))
		require.Error(t, o.SetInterval(t.Context(), 0, resource.MaxInterval+1, resource.NewID()))
		require.NoError(t, o.Remove(t.Context(), 0))
		require.Zero(t, o.producer.client.BufferedProduceRecords())
	})
	_, err := NewOrders(t.Context(), OrdersConfig{})
	require.ErrorContains(t, err, "OrdersConfig.Brokers")
	require.ErrorContains(t, Obey(t.Context(), OrdersConfig{Topic: "/"}, 0, newControlled()), "OrdersConfig.Topic")
}

// What can't be carried out holds nothing up; what can be later is repeated.
func TestObeyErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, o := newOrders(t, 1)
		id := ids(t, "https://a.example/")
		require.NoError(t, o.Pause(t.Context(), 0, id...)) // of what nobody knows
		require.NoError(t, o.producer.write(t.Context(), []*kgo.Record{{Key: []byte("k"), Value: []byte(`{"format":1,"order":"explode"}`)}}))
		require.NoError(t, o.producer.write(t.Context(), []*kgo.Record{{Key: []byte("k"), Value: []byte(`{"format":9}`)}}))
		require.NoError(t, o.Add(t.Context(), 0, resource.Spec{URI: "https://a.example/"}))
		require.NoError(t, o.Add(t.Context(), 0, resource.Spec{URI: "https://b.example/", Profile: "none"}))
		require.NoError(t, o.Add(t.Context(), 0, resource.Spec{URI: "https://a.example/"}))
		require.NoError(t, o.SetInterval(t.Context(), 0, time.Hour, id...))
		c := newControlled()
		c.fail = func(n int, what string) error {
			switch {
			case what == "add 3":
				return errNo // so that they come one by one
			case n == 4:
				return &resource.FieldError{Field: "Profile", Value: "none", Want: "another"}
			case strings.HasPrefix(what, "set") && n < 12:
				return errNo
			}
			return nil
		}
		var refused []int64
		config := r.orders(r.cable())
		config.Refused = func(rec *kgo.Record, _ error) { refused = append(refused, rec.Offset) }
		begun := time.Now()
		r.obey(config, 0, c)
		c.wait(t, "set 1h0m0s")
		require.Equal(t, []string{"add 1", "set 1h0m0s"}, c.list())
		require.Len(t, refused, 3)
		require.Equal(t, []int64{1, 2}, refused[:2])
		require.Greater(t, time.Since(begun), time.Second, "it waits between tries")

		require.ErrorIs(t, Obey(t.Context(), config, 1, c), ErrUnfit)
		config.Topic = "none"
		require.ErrorIs(t, Obey(t.Context(), config, 0, c), ErrUnfit)
	})
}

// Owners come and go, and their network is cut: every order is carried out, and
// the last one of each resource last.
func TestObeyHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, o := newOrders(t, 1)
		c := newControlled()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for n := range 300 {
				uri := fmt.Sprintf("https://a.example/%d", n)
				for _, give := range []func() error{
					func() error { return o.Add(context.Background(), 0, resource.Spec{URI: uri}) },
					func() error { return o.Pause(context.Background(), 0, ids(t, uri)...) },
					func() error {
						if n%3 != 0 {
							return nil
						}
						return o.Remove(context.Background(), 0, ids(t, uri)...)
					},
				} {
					if err := give(); err != nil {
						t.Errorf("order: %v", err)
					}
				}
				time.Sleep(100 * time.Millisecond)
			}
		}()
		for range 10 { // each owner is cut off before its end
			plug := r.cable()
			stop := r.obey(r.orders(plug), 0, c)
			time.Sleep(3 * time.Second)
			plug.pull()
			time.Sleep(500 * time.Millisecond)
			stop()
		}
		<-ended
		require.NoError(t, o.SetInterval(t.Context(), 0, time.Minute, ids(t, "https://a.example/1")...))
		r.obey(r.orders(r.cable()), 0, c)
		c.wait(t, "set 1m0s")
		require.Len(t, c.now, 200)
		for n := range 300 {
			_, in := c.now[ids(t, fmt.Sprintf("https://a.example/%d", n))[0]]
			require.Equal(t, n%3 != 0, in, n)
		}
	})
}

// A controller that forgets is told again what has been said of pauses and
// intervals.
func TestObeyRecalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, o := newOrders(t, 1)
		uris := []string{"https://a.example/0", "https://a.example/1", "https://a.example/2", "https://a.example/3"}
		all := ids(t, uris...)
		ctx := t.Context()
		require.NoError(t, o.Add(ctx, 0, resource.List(uris...)...))
		require.NoError(t, o.Pause(ctx, 0, all...))
		require.NoError(t, o.Resume(ctx, 0, all[1]))
		require.NoError(t, o.SetInterval(ctx, 0, time.Hour, all[1], all[2]))
		require.NoError(t, o.SetInterval(ctx, 0, time.Minute, all[1]))
		require.NoError(t, o.Remove(ctx, 0, all[2]))
		require.NoError(t, o.Add(ctx, 0, resource.List(uris[2], uris[0])...))
		require.NoError(t, o.SetInterval(ctx, 0, 2*time.Hour, all[3]))
		c := newControlled()
		config := r.orders(r.cable())
		config.Recall = true
		stop := r.obey(config, 0, c)
		c.wait(t, "set 2h0m0s")
		time.Sleep(time.Second)
		stop()
		before := len(c.list())

		require.NoError(t, o.Remove(ctx, 0, all[3]))
		delete(c.now, all[0]) // it has ended otherwise
		r.obey(config, 0, c)
		c.wait(t, "remove")
		again := c.list()[before:]
		slices.Sort(again)
		require.Equal(t, []string{"pause", "remove", "set 1m0s", "set 2h0m0s"}, again)
	})
}

// How far it has come is written again while no orders come.
func TestObeyRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, o := newOrders(t, 1)
		require.NoError(t, o.Add(t.Context(), 0, resource.Spec{URI: "https://a.example/"}))
		c := newControlled()
		stop := r.obey(r.orders(r.cable()), 0, c)
		c.wait(t, "add 1")
		time.Sleep(time.Second)
		stop()
		commits := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Observe: true, Count: -1})
		r.obey(r.orders(r.cable()), 0, c)
		time.Sleep(5*time.Hour + time.Minute)
		require.EqualValues(t, 5, commits.Hits())
		require.Len(t, c.list(), 1)
	})
}

// A coordinator that doesn't answer is waited for.
func TestObeyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, o := newOrders(t, 1)
		require.NoError(t, o.Add(t.Context(), 0, resource.Spec{URI: "https://a.example/"}))
		fault := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch, kmsg.OffsetCommit}, Err: kerr.UnknownServerError, Count: -1})
		c := newControlled()
		stop := r.obey(r.orders(r.cable()), 0, c)
		time.Sleep(30 * time.Second)
		require.Empty(t, c.list())
		fault.Remove()
		c.wait(t, "add 1")
		stop()
	})
}

func FuzzDecodeOrder(f *testing.F) {
	id := resource.DeriveID(resource.ID{}, "x")
	for _, o := range []order{
		{verb: orderAdd, id: id, spec: resource.Spec{ID: id, URI: "https://a.example/?a=1&b=<2>", Interval: time.Minute, Profile: "p", MediaType: "a/b", Priority: 3}},
		{verb: orderInterval, id: id, interval: time.Hour, at: time.Unix(1e9, 5)},
		{verb: orderRemove, id: id}, {verb: orderPause, id: id}, {verb: orderResume, id: id},
	} {
		f.Add(id.String(), o.encode())
	}
	f.Add("", []byte(`{"format":2}`))
	f.Add("", []byte(`{"format":1,"order":"add","unknown":1} x`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		o, err := decodeOrder([]byte(key), value)
		if err != nil {
			if !errors.Is(err, errOrder) && !errors.Is(err, resource.ErrNewer) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if o.id.IsZero() || o.verb == orderAdd && o.spec.Validate() != nil || o.interval < 0 || o.interval > resource.MaxInterval {
			t.Fatalf("accepted: %+v", o)
		}
		again, err := decodeOrder([]byte(key), o.encode())
		if err != nil {
			t.Fatalf("%s: %v", o.encode(), err)
		}
		o.at, again.at = o.at.UTC(), again.at.UTC()
		if o != again {
			t.Fatalf("%+v became %+v", o, again)
		}
	})
}
