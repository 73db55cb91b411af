package firehose_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// oneHost is a fleet whose shards all reach the host of uriA, each by a credential
// of its own.
func oneHost(t *testing.T, count int) firehose.Config {
	config := firehose.Config{Profiles: map[string]resource.Profile{}}
	var sources []resource.TokenSource
	for n := range count {
		name := ""
		for i := 0; name == "" || firehose.ShardOf(resource.Scope{Credential: name, Origin: "https://a.test"}, count) != n; i++ {
			name = fmt.Sprint("key-", i)
		}
		sources = append(sources, fixed(t, name))
		config.Profiles[name] = resource.Profile{Credential: name}
		for i := range 6 {
			config.Resources = append(config.Resources, resource.Spec{URI: fmt.Sprintf("https://a.test/%d", i), Profile: name, Interval: 10 * time.Second})
		}
	}
	config.Tokens = resource.Keyring(sources...)
	return config
}

// probeDB counts the writes of leases of probes, and fails with them.
type probeDB struct {
	db.DB
	writes atomic.Int64
	fault  atomic.Pointer[func(ctx context.Context) error]
}

func (p *probeDB) broken(ctx context.Context, space, id string) error {
	if f := p.fault.Load(); f != nil && space == "lease" && strings.HasPrefix(id, "probe/") {
		return (*f)(ctx)
	}
	return nil
}

func (p *probeDB) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	if err := p.broken(ctx, space, ids[0]); err != nil {
		return nil, err
	}
	return p.DB.Get(ctx, space, ids...)
}

func (p *probeDB) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if r := &writes[0].Record; r.Space == "lease" && strings.HasPrefix(r.ID, "probe/") {
		p.writes.Add(1)
		if err := p.broken(ctx, r.Space, r.ID); err != nil {
			return nil, err
		}
	}
	return p.DB.Write(ctx, writes...)
}

// gauge is a transport that knows the most requests in flight since reset.
type gauge struct {
	http.RoundTripper
	mu        sync.Mutex
	now, most int
}

func (g *gauge) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now += n
	g.most = max(g.most, g.now)
}

func (g *gauge) reset() (most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	most, g.most = g.most, g.now
	return most
}

func (g *gauge) RoundTrip(req *http.Request) (*http.Response, error) {
	g.add(1)
	resp, err := g.RoundTripper.RoundTrip(req)
	if err != nil {
		g.add(-1)
		return nil, err
	}
	resp.Body = &endingBody{resp.Body, sync.OnceFunc(func() { g.add(-1) })}
	return resp, nil
}

// endingBody says when it is closed.
type endingBody struct {
	io.ReadCloser
	end func()
}

func (b *endingBody) Close() error {
	b.end()
	return b.ReadCloser.Close()
}

// A host that does not answer is asked by one shard at a time, whose probes may be
// long, and each shard finds out for itself that it is back.
func TestOneShardAtATimeProbesAHost(t *testing.T) {
	for name, down := range map[string]reply{
		"hangs":        {slow: 20 * time.Second, err: errReset},
		"refuses":      {err: errReset},
		"fails":        {status: 500, slow: time.Second},
		"fails slowly": {status: 503, trickle: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				begin, end := 5*time.Minute, time.Hour
				net := newScript(func(c call) reply {
					if c.At >= begin && c.At < end {
						return down
					}
					return reply{body: fmt.Sprint(c.n), slow: 100 * time.Millisecond}
				})
				const shards = 3
				store, both := &probeDB{DB: db.NewMemory()}, &gauge{RoundTripper: net}
				config := oneHost(t, shards)
				config.DB, config.Transport = store, both
				all := startShards(t, net, config, shards)
				until(begin - time.Second)
				require.Greater(t, both.reset(), 1)
				require.Zero(t, store.writes.Load(), "as long as hosts answer")
				until(begin + 10*time.Minute)
				for _, r := range all {
					require.Contains(t, r.sink.kinds(), "host-down")
				}
				both.reset()
				before := len(net.all(""))
				until(end - time.Second)
				require.Equal(t, 1, both.reset(), "of all shards together")
				asked := map[string]int{}
				for _, c := range net.all("")[before:] {
					asked[c.Header.Get("Authorization")]++
				}
				require.Len(t, asked, shards)
				for _, n := range asked {
					require.Greater(t, n, 20, "in 45 minutes")
				}
				require.LessOrEqual(t, store.writes.Load(), int64(2*len(net.all(""))), "a claim and a release")

				until(end + 20*time.Minute)
				for _, r := range all {
					require.Equal(t, 1, count(r.sink.kinds(), "host-up"))
					require.NotContains(t, r.sink.kinds(), "forfeited")
				}
				writes := store.writes.Load()
				until(end + 30*time.Minute)
				require.Equal(t, writes, store.writes.Load())
				for _, r := range all {
					require.NoError(t, r.stop())
				}
			})
		})
	}
}

// As long as another shard's probe may be on its way, nothing is sent; if its
// process has died, until its lease is over.
func TestTheProbeOfAnotherShardIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := db.NewMemory()
		net := newScript(func(c call) reply {
			if c.At < 2*time.Minute {
				return reply{err: errReset}
			}
			return ok("x", "")
		})
		config := oneHost(t, 1)
		config.DB, config.Shard = store, firehose.Shard{Count: 1}
		spec := db.LeaseSpec{Space: "lease", ID: "probe/https://a.test", Owner: db.NewOwner(), TTL: 10 * time.Minute}
		_, err := db.Claim(t.Context(), store, spec)
		require.NoError(t, err)
		r := start(t, net, config)
		until(10*time.Minute - time.Second)
		calls := net.all("")
		require.Less(t, calls[len(calls)-1].At, 5*time.Second, "those that opened the breaker")
		e := r.explainSpec(config.Resources[0])
		require.Equal(t, resource.WaitingForServerAlive, e.State, e.String())
		require.WithinDuration(t, time.Now(), e.Until, 10*time.Second)
		until(10*time.Minute + 5*time.Second)
		require.Contains(t, r.sink.kinds(), "host-up")
		require.NoError(t, r.stop())
	})
}

// Where the store does not say whether another shard probes, nothing is sent, and
// the store is asked again.
func TestNoProbeWithoutTheStore(t *testing.T) {
	for name, fault := range map[string]func(ctx context.Context) error{
		"fails": func(context.Context) error { return errors.New("out of order") },
		"hangs": func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		},
		"too slow": func(context.Context) error {
			<-time.After(3 * time.Second)
			return nil
		},
		"panics": func(context.Context) error { panic("out of order") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := &probeDB{DB: db.NewMemory()}
				store.fault.Store(&fault)
				net := newScript(func(c call) reply {
					if c.At < 2*time.Minute {
						return reply{err: errReset}
					}
					return ok("x", "")
				})
				config := oneHost(t, 1)
				config.DB, config.Shard, config.RequestTimeout = store, firehose.Shard{Count: 1}, 2*time.Second
				r := start(t, net, config)
				until(20 * time.Minute)
				calls := net.all("")
				require.Less(t, calls[len(calls)-1].At, 5*time.Second, "those that opened the breaker")
				require.NotContains(t, r.sink.kinds(), "host-up")
				store.fault.Store(nil)
				until(21 * time.Minute)
				require.Contains(t, r.sink.kinds(), "host-up")
				until(22 * time.Minute)
				answered := map[string]bool{}
				for _, v := range r.sink.all() {
					answered[v.Resource.URI] = true
				}
				require.Len(t, answered, len(config.Resources), "all go on")
				require.NoError(t, r.stop())
			})
		})
	}
}

// lateDB answers too late that the lease of a probe was written.
type lateDB struct {
	db.DB
	late atomic.Bool
}

func (l *lateDB) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	results, err := l.DB.Write(ctx, writes...)
	if r := &writes[0].Record; l.late.Load() && !r.Owner.IsZero() && strings.HasPrefix(r.ID, "probe/") {
		<-time.After(3 * time.Second)
	}
	return results, err
}

// A lease that came when the time of its request was over is given back, and the
// host is not asked.
func TestALeaseOfAProbeThatComesTooLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &lateDB{DB: db.NewMemory()}
		store.late.Store(true)
		net := newScript(func(c call) reply {
			if c.At < 2*time.Minute {
				return reply{err: errReset}
			}
			return ok("x", "")
		})
		config := oneHost(t, 1)
		config.DB, config.Shard, config.RequestTimeout = store, firehose.Shard{Count: 1}, 2*time.Second
		r := start(t, net, config)
		until(10 * time.Minute)
		calls := net.all("")
		require.Less(t, calls[len(calls)-1].At, 5*time.Second, "those that opened the breaker")
		store.late.Store(false)
		until(11 * time.Minute)
		require.Contains(t, r.sink.kinds(), "host-up")
		require.NoError(t, r.stop())
		found, err := store.Get(t.Context(), "lease", "probe/https://a.test")
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Zero(t, found[0].Owner, "nobody has to wait for its end")
	})
}

// An OS that is not sharded takes no lease.
func TestNoLeaseWithoutShards(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &probeDB{DB: db.NewMemory()}
		net := newScript(func(c call) reply { return reply{err: errReset} })
		config := oneHost(t, 1)
		config.DB = store
		r := start(t, net, config)
		until(time.Hour)
		require.Contains(t, r.sink.kinds(), "host-down")
		require.Zero(t, store.writes.Load())
		require.NoError(t, r.stop())
	})
}
