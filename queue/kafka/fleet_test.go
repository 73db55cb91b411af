package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/firehosetest"
	"github.com/cannedos/cannedos/resource"
)

// fleet is an origin that judges, a store that all share, and processes that run an
// OS for each partition that they get.
type fleet struct {
	t      *testing.T
	rig    *rig
	origin *firehosetest.Origin
	store  db.DB
	config firehose.Config
}

// ship is one of the processes.
type ship struct {
	*process
	dead atomic.Bool
}

func newFleet(t *testing.T, random *rand.Rand, partitions, resources, credentials int) *fleet {
	f := &fleet{t: t, rig: newRig(t, partitions), store: db.NewMemory()}
	f.rig.config.Logger = slog.New(slog.DiscardHandler)
	var err error
	f.origin, err = firehosetest.New(firehosetest.Config{
		Seed: random.Uint64(), Timelines: resources, Rate: 0.05, PollInterval: 20 * time.Second, Limit: 2000, Window: 10 * time.Minute,
		Concurrency: 1, Latency: 100 * time.Millisecond, Unread: time.Second, Secondary: 0.0005,
	})
	require.NoError(t, err)
	profiles := map[string]resource.Profile{}
	var keys []resource.TokenSource
	for i := range credentials {
		name := fmt.Sprintf("credential-%d", i)
		profiles[name] = resource.Profile{Credential: name}
		token, err := resource.BearerToken(fmt.Sprintf("made-up-%d", i))
		require.NoError(t, err)
		keys = append(keys, resource.Fixed(name, token, "https://origin.test"))
	}
	var specs []resource.Spec
	for i, path := range f.origin.Paths() {
		specs = append(specs, resource.Spec{URI: "https://origin.test" + path, Profile: fmt.Sprintf("credential-%d", i%credentials)})
	}
	f.config = firehose.Config{
		Resources: specs, Profiles: profiles, Tokens: resource.Keyring(keys...), RequestTimeout: 5 * time.Second,
		StopTimeout: 10 * time.Second, Sink: firehose.SinkFunc(f.take), Logger: slog.New(slog.DiscardHandler),
	}
	return f
}

func (f *fleet) take(_ context.Context, r *resource.Response) error {
	var events []struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(r.Body, &events); err != nil {
		return err
	}
	for _, e := range events {
		f.origin.Published(e.ID)
	}
	return nil
}

func (f *fleet) start() *ship {
	s := &ship{}
	s.process = f.rig.startWith(func(c *Config) { c.SessionTimeout = 6 * time.Second }, func(p *process) func(context.Context, *Partition) error {
		return func(ctx context.Context, part *Partition) error {
			config := f.config
			config.Queue, config.Shard = part.Queue, firehose.Shard{Number: part.Number, Count: part.Count}
			config.DB, config.Transport = mortalDB{f.store, &s.dead}, mortalNet{f.origin.RoundTripper(), &s.dead}
			canned, err := firehose.New(config)
			if err != nil {
				return err
			}
			p.set(part.Number, part)
			defer p.set(part.Number, nil)
			return canned.Serve(ctx)
		}
	})
	return s
}

// kill ends a process: none of its bytes gets anywhere from here on.
func (f *fleet) kill(s *ship) {
	f.origin.Killed(time.Now())
	s.dead.Store(true)
	s.cable.pull()
}

// mortalDB and mortalNet end with their process.
type mortalDB struct {
	db.DB
	dead *atomic.Bool
}

func (m mortalDB) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if m.dead.Load() {
		return nil, db.ErrClosed
	}
	return m.DB.Write(ctx, writes...)
}

type mortalNet struct {
	http.RoundTripper
	dead *atomic.Bool
}

func (m mortalNet) RoundTrip(req *http.Request) (*http.Response, error) {
	if m.dead.Load() {
		return nil, io.ErrUnexpectedEOF
	}
	resp, err := m.RoundTripper.RoundTrip(req)
	if err == nil && m.dead.Load() {
		resp.Body.Close()
		return nil, io.ErrUnexpectedEOF
	}
	return resp, err
}

// TestFleet has three processes poll an origin that judges every request, while
// processes are killed, leave and join, and lose the brokers for a while. Nothing is
// asked impolitely, nothing is forgotten, and everything is published.
func TestFleet(t *testing.T) {
	seed := seedOf(t)
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(seed, 1))
		const partitions, resources, credentials = 8, 160, 20
		f := newFleet(t, random, partitions, resources, credentials)
		ships := []*ship{f.start(), f.start(), f.start()}
		time.Sleep(3 * time.Minute)
		for begun := time.Now(); time.Since(begun) < 20*time.Minute; {
			time.Sleep(time.Minute + time.Duration(random.Int64N(int64(2*time.Minute))))
			i := random.IntN(len(ships))
			switch random.IntN(4) {
			case 0, 1:
				f.kill(ships[i])
				ships[i] = f.start()
			case 2:
				ships[i].stop()
				<-ships[i].ended
				require.NoError(t, ships[i].err)
				ships[i] = f.start()
			case 3: // it reaches the origin, and no broker
				ships[i].cable.pull()
				time.Sleep(time.Duration(random.Int64N(int64(30 * time.Second))))
				ships[i].cable.plug()
			}
		}
		time.Sleep(3 * time.Minute)
		before := f.origin.Verdict()
		time.Sleep(2 * time.Minute)
		after := f.origin.Verdict()
		require.Greater(t, after.Polls-before.Polls, int64(resources*4), "everything goes on")
		for _, s := range ships {
			s.stop()
			<-s.ended
			require.NoError(t, s.err)
		}
		v := f.origin.Verdict()
		line, err := json.Marshal(v)
		require.NoError(t, err)
		t.Logf("fleet: %s", line)
		require.Zero(t, v.Impolite)
		require.EqualValues(t, resources, v.Resources)
		require.LessOrEqual(t, v.Unknowable, v.InFlightAtKills)
		require.Zero(t, v.LostItems)
		require.Positive(t, v.Published)
		require.GreaterOrEqual(t, float64(v.Polls)/float64(v.Permitted), 0.8)
	})
}
