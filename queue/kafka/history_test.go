package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// history is what is known of resources that several processes move: of each, which
// state was acknowledged last, and which ones may be in force besides, since nobody
// knows what became of them.
type history struct {
	t testing.TB

	mu        sync.Mutex
	resources map[resource.ID]*life
	moves     int // acknowledged
	unknown   int
	takeovers int
}

// life is that of one resource. Its states are numbers, that its ETag shows.
type life struct {
	part    int
	name    string // of its queue
	holder  any    // who works on it
	acked   int
	maybe   map[int]bool
	pending int // greatest that was ever tried
}

func newHistory(t testing.TB) *history { return &history{t: t, resources: map[resource.ID]*life{}} }

func (h *history) of(part int) (ids []resource.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, l := range h.resources {
		if l.part == part {
			ids = append(ids, id)
		}
	}
	return ids
}

// found is told what a new owner finds.
func (h *history) found(who any, id resource.ID, m *queue.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.resources[id]
	h.takeovers++
	state, err := strconv.Atoi(m.Resource.Validators.ETag)
	if err != nil {
		h.t.Errorf("%s: found with ETag %q", l.name, m.Resource.Validators.ETag)
	}
	if state != l.acked && !l.maybe[state] {
		h.t.Errorf("%s: found as %d, acknowledged was %d, and %v may be", l.name, state, l.acked, l.maybe)
	}
	l.acked, l.holder = state, who
	clear(l.maybe)
}

// try returns the next state of a resource, which may be in force from now on.
func (h *history) try(id resource.ID) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.resources[id]
	l.pending++
	l.maybe[l.pending] = true
	return l.pending
}

// done says that a state was acknowledged to who.
func (h *history) done(who any, id resource.ID, state int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.resources[id]
	if l.holder != who {
		h.t.Errorf("%s: %d was acknowledged to one that had lost it", l.name, state)
		return
	}
	l.acked = state
	clear(l.maybe)
	h.moves++
}

// work moves the resources of a partition until ctx ends, or it is fenced: claims
// and results in turn.
func (h *history) work(ctx context.Context, part *Partition) error {
	s, err := part.Queue.Open(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer s.Close()
	var wg sync.WaitGroup
	for _, id := range h.of(part.Number) {
		m, _, err := part.Queue.(queue.Finder).Find(ctx, id)
		if errors.Is(err, queue.ErrClosed) {
			return err
		}
		if err != nil {
			h.t.Errorf("%v: %v", id, err)
			continue
		}
		h.found(part, id, &m)
		wg.Go(func() { h.move(ctx, part, s, id, m.Queue) })
	}
	wg.Wait()
	return ctx.Err()
}

func (h *history) move(ctx context.Context, part *Partition, s queue.Session, id resource.ID, name string) {
	owner := resource.NewOwner()
	for ctx.Err() == nil {
		ds, err := s.Receive(ctx, name, 1)
		if err != nil {
			return
		}
		m := ds[0].To(name, time.Time{})
		state := h.try(id)
		m.Resource.Validators.ETag = strconv.Itoa(state)
		if m.Resource.Owner.IsZero() {
			m.Resource.Claim(owner, time.Now(), time.Now().Add(30*time.Second))
		} else {
			m.Resource.Owner = resource.Owner{}
		}
		for {
			err := s.Commit(context.WithoutCancel(ctx), ds, m)
			if err == nil {
				h.done(part, id, state)
				break
			}
			if errors.Is(err, queue.ErrClosed) || errors.Is(err, queue.ErrSession) {
				return
			}
			h.mu.Lock()
			h.unknown++
			h.mu.Unlock()
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(time.Duration(rand.Int64N(int64(400 * time.Millisecond))))
	}
}

// seedOf returns the seed of a random test, which CANNEDOS_SEED sets.
func seedOf(t testing.TB) uint64 {
	seed := rand.Uint64()
	if v := os.Getenv("CANNEDOS_SEED"); v != "" {
		var err error
		seed, err = strconv.ParseUint(v, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("seed %d", seed)
	return seed
}

// TestHistory has three processes move resources while requests fail, answers get
// lost, cables are pulled, processes come and go, and the log is compacted. Each new
// owner finds each resource once, as it was acknowledged.
func TestHistory(t *testing.T) {
	seed := seedOf(t)
	for round := range uint64(2) {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			bubble(t, func(t *testing.T) { testHistory(t, rand.New(rand.NewPCG(seed, round))) })
		})
	}
}

func testHistory(t *testing.T, random *rand.Rand) {
	const partitions, resources = 6, 30
	r := newRig(t, partitions)
	h := newHistory(t)

	// Who admits them leaves before it begins.
	first := r.start(nil)
	for i := range resources {
		l := &life{part: i % partitions, name: fmt.Sprintf("r%02d", i), maybe: map[int]bool{}}
		res := newResource(t, "https://"+l.name+".example/")
		res.Validators.ETag = "0"
		s := open(t, first.part(t, l.part))
		require.NoError(t, s.Commit(t.Context(), nil, queue.Message{Queue: l.name, Resource: res}))
		h.resources[res.ID] = l
	}
	first.stop()
	<-first.ended
	require.NoError(t, first.err)

	serve := func(p *process) func(context.Context, *Partition) error {
		return func(ctx context.Context, part *Partition) error {
			p.set(part.Number, part)
			defer p.set(part.Number, nil)
			return h.work(ctx, part)
		}
	}
	var all []*process
	for range 3 {
		all = append(all, r.startWith(nil, serve))
	}
	keys := []kmsg.Key{kmsg.Produce, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.InitProducerID, kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Fetch, kmsg.Metadata, kmsg.FindCoordinator}
	errs := []*kerr.Error{kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.RequestTimedOut, kerr.NotEnoughReplicas, kerr.NotLeaderForPartition, kerr.UnknownServerError, kerr.ConcurrentTransactions, kerr.UnknownMemberID, kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.NetworkException}
	for begun := time.Now(); time.Since(begun) < 5*time.Minute; {
		time.Sleep(time.Duration(random.Int64N(int64(6 * time.Second))))
		i := random.IntN(len(all))
		p := all[i]
		switch random.IntN(8) {
		case 0, 1:
			key := keys[random.IntN(len(keys))]
			err := errs[random.IntN(len(errs))]
			r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Count: 1 + random.IntN(3), TopLevel: random.IntN(2) == 0})
		case 2:
			p.cable.pull()
			time.Sleep(time.Duration(random.Int64N(int64(20 * time.Second))))
			p.cable.plug()
		case 3:
			p.cable.loseAnswer()
		case 4:
			p.stop()
			all[i] = r.startWith(nil, serve)
		case 5: // killed; its process may go on for a while and notice nothing
			p.cable.pull()
			all[i] = r.startWith(nil, serve)
		case 6:
			r.cluster.Compact()
		case 7:
			r.cluster.RehashCoordinators()
		}
	}
	for _, p := range all {
		p.stop()
	}
	for _, p := range all {
		p.cable.plug()
		<-p.ended
	}

	// In the end everything is there, once, as it was left.
	last := r.start(nil)
	for n := range partitions {
		part := last.part(t, n)
		for { // some of the faults may be left
			if _, err := part.Queue.Open(t.Context()); err == nil {
				break
			}
			time.Sleep(time.Second)
		}
		for _, id := range h.of(n) {
			m, _, err := part.Queue.(queue.Finder).Find(t.Context(), id)
			require.NoError(t, err)
			h.found(last, id, &m)
		}
		depths, err := part.Queue.(queue.Depther).Depths(t.Context())
		require.NoError(t, err)
		count := 0
		for _, d := range depths {
			count += d.Waiting + d.Ready + d.Held
		}
		require.Equal(t, resources/partitions, count)
	}
	t.Logf("%d moves, %d of unknown outcome, %d times taken over", h.moves, h.unknown, h.takeovers)
	require.Greater(t, h.moves, 2000)
	require.Greater(t, h.takeovers, 50)
}

// fragile is a connection whose next request is answered in vain.
type fragile struct {
	net.Conn
	cable *cable
}

func (f *fragile) Write(b []byte) (int, error) {
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
