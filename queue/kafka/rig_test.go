package kafka

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// rig is a cluster in the memory of the test, reached over a network in memory,
// so that all of it lives in a bubble.
type rig struct {
	t       testing.TB
	cluster *kfake.Cluster // nil: a real one
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	config  Config
}

// newRig makes a cluster with a journal. It must be called within a bubble.
func newRig(t *testing.T, partitions int, opts ...kfake.Opt) *rig {
	return newRigAs(t, partitions, func(*Config) {}, opts...)
}

// newRigAs changes what all of the rig are configured with.
func newRigAs(t *testing.T, partitions int, change func(*Config), opts ...kfake.Opt) *rig {
	var network kfake.VirtualNetwork
	cluster, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen),
		kfake.GroupMinSessionTimeout(time.Second), kfake.GroupMaxSessionTimeout(time.Hour),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	r := &rig{t: t, cluster: cluster, dial: network.DialContext, config: Config{Cluster: Cluster{Brokers: cluster.ListenAddrs(), Logger: testLog(t)}}}
	change(&r.config)
	r.createTopic(partitions)
	return r
}

func (r *rig) createTopic(partitions int) {
	c := r.config
	c.Client = []kgo.Opt{kgo.Dialer(r.dial)}
	require.NoError(r.t, CreateTopic(r.t.Context(), c, Topic{Partitions: partitions, Replicas: 1}))
}

// textLog logs all there is.
func textLog(to io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// cable is the network as one process sees it.
type cable struct {
	rig    *rig
	mu     sync.Mutex
	cut    bool
	lose   bool          // the next answer
	frozen chan struct{} // nil: it is not
	all    []net.Conn
}

func (c *cable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	conn, err := c.rig.dial(ctx, network, address)
	if err == nil {
		conn = &fragile{Conn: conn, cable: c}
		c.all = append(c.all, conn)
	}
	return conn, err
}

// pull cuts every connection, and refuses new ones until plug.
func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for _, conn := range c.all {
		conn.Close()
	}
	c.all = nil
}

func (c *cable) plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = false
}

// process is a member that runs.
type process struct {
	*Member
	cable *cable
	stop  context.CancelFunc
	ended chan struct{} // closed when Serve has returned err
	err   error

	mu    sync.Mutex
	parts map[int]*Partition
	came  chan struct{} // closed when parts has changed
}

// start runs a member whose function keeps the partition until its context ends.
func (r *rig) start(change func(*Config)) *process {
	return r.startWith(change, func(p *process) func(context.Context, *Partition) error { return p.serve })
}

// startWith runs a member with another function.
func (r *rig) startWith(change func(*Config), serve func(*process) func(context.Context, *Partition) error) *process {
	p := &process{cable: &cable{rig: r}, parts: map[int]*Partition{}, ended: make(chan struct{}), came: make(chan struct{})}
	c := r.config
	c.Client = append(c.Client, kgo.Dialer(p.cable.dial))
	if change != nil {
		change(&c)
	}
	m, err := NewMember(c, serve(p))
	require.NoError(r.t, err)
	p.Member = m
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	go func() {
		defer close(p.ended)
		p.err = m.Serve(ctx)
	}()
	r.t.Cleanup(func() {
		p.cable.plug()
		cancel()
		<-p.ended
	})
	return p
}

func (p *process) serve(ctx context.Context, part *Partition) error {
	p.set(part.Number, part)
	<-ctx.Done()
	p.set(part.Number, nil)
	return nil
}

func (p *process) set(n int, part *Partition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if part == nil {
		delete(p.parts, n)
	} else {
		p.parts[n] = part
	}
	close(p.came)
	p.came = make(chan struct{})
}

// wait waits until the process has so many partitions.
func (p *process) wait(t testing.TB, n int) {
	t.Helper()
	timeout := time.After(10 * time.Minute)
	for {
		p.mu.Lock()
		have, came := len(p.parts), p.came
		p.mu.Unlock()
		if have == n {
			return
		}
		select {
		case <-came:
		case <-p.ended:
			t.Fatalf("the member has ended: %v", p.err)
		case <-timeout:
			t.Fatalf("%d partitions, want %d", have, n)
		}
	}
}

// part waits for a partition.
func (p *process) part(t testing.TB, n int) *Partition {
	t.Helper()
	timeout := time.After(10 * time.Minute)
	for {
		p.mu.Lock()
		part, came := p.parts[n], p.came
		p.mu.Unlock()
		if part != nil {
			return part
		}
		select {
		case <-came:
		case <-p.ended:
			t.Fatalf("the member has ended: %v", p.err)
		case <-timeout:
			t.Fatalf("partition %d has not come", n)
		}
	}
}

func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

// fragile is a connection whose answers may get lost.
type fragile struct {
	net.Conn
	cable *cable
	muted atomic.Bool
}

// Write cuts the connection after it has sent, if the answer is to be lost.
func (f *fragile) Write(b []byte) (int, error) {
	f.cable.await()
	n, err := f.Conn.Write(b)
	f.cable.mu.Lock()
	lose := f.cable.lose
	f.cable.lose = false
	f.cable.mu.Unlock()
	if lose {
		f.Conn.Close()
	}
	return n, err
}

// loseAnswer cuts the next connection that sends a request, after it was sent.
func (c *cable) loseAnswer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lose = true
}

// mute leaves a connection half open: nothing comes from it any more.
func (c *cable) mute() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.all); n > 0 {
		c.all[n-1].(*fragile).muted.Store(true)
	}
}

// Read of a muted connection waits until it is closed.
func (f *fragile) Read(b []byte) (int, error) {
	for {
		n, err := f.Conn.Read(b)
		f.cable.await()
		if err != nil || !f.muted.Load() {
			return n, err
		}
	}
}

// freeze lets nothing through until thaw, and nobody notices.
func (c *cable) freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen == nil {
		c.frozen = make(chan struct{})
	}
}

func (c *cable) thaw() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen != nil {
		close(c.frozen)
		c.frozen = nil
	}
}

func (c *cable) await() {
	c.mu.Lock()
	frozen := c.frozen
	c.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}
