package kafka

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
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

// A history is lines in the order in which they happened, each written before what
// follows from it:
//
//	F who name state   who has taken name over, and found it in this state
//	T who name state   who tries to move it to this state
//	D who name state   that was acknowledged
//
// A state is a number that each move raises, and who makes it.
type history struct {
	mu  sync.Mutex
	out io.Writer
}

func (h *history) add(kind, who, name, state string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := fmt.Fprintln(h.out, kind, who, name, state); err != nil {
		panic(err)
	}
}

// judged is what a history shows.
type judged struct {
	moves, takeovers int
	last             map[string]map[string]bool // by name: the state that was acknowledged last, and what was tried since
	wrong            []string
}

// judge checks that each owner finds what was acknowledged to the one before it, or
// what that one had tried since, and that nothing is acknowledged to one that has
// lost the resource, unless it is what its successor has found.
func judge(in io.Reader, initial string) judged {
	type life struct {
		holder, acked string
		maybe         map[string]bool // tried since
		inForce       map[string]bool // at any time
	}
	const enough = 5 // one mistake has many that follow from it
	j := judged{last: map[string]map[string]bool{}}
	lives := map[string]*life{}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var kind, who, name, state string
		if _, err := fmt.Sscan(lines.Text(), &kind, &who, &name, &state); err != nil {
			j.wrong = append(j.wrong, fmt.Sprintf("%q: %v", lines.Text(), err))
			continue
		}
		l := lives[name]
		if l == nil {
			l = &life{acked: initial, maybe: map[string]bool{}, inForce: map[string]bool{}}
			lives[name] = l
		}
		switch {
		case kind == "F" && (state == l.acked || l.maybe[state]):
			j.takeovers++
			l.holder, l.acked, l.inForce[state] = who, state, true
			clear(l.maybe)
		case kind == "F":
			j.wrong = append(j.wrong, fmt.Sprintf("%s: %s has found %s, acknowledged was %s, and %v may be", name, who, state, l.acked, l.maybe))
		case kind == "T" && who == l.holder:
			l.maybe[state] = true
		case kind == "T": // by one that has not noticed yet
		case who == l.holder:
			j.moves++
			l.acked, l.inForce[state] = state, true
			clear(l.maybe)
		case !l.inForce[state]:
			j.wrong = append(j.wrong, fmt.Sprintf("%s: %s was acknowledged to %s, which had lost it to %s", name, state, who, l.holder))
		}
	}
	j.wrong = j.wrong[:min(enough, len(j.wrong))]
	for name, l := range lives {
		l.maybe[l.acked] = true
		j.last[name] = l.maybe
	}
	return j
}

func TestJudge(t *testing.T) {
	for _, c := range []struct{ lines, wrong string }{
		{"F a x 0|T a x 1a|D a x 1a|F b x 1a", ""},
		{"F a x 0|T a x 1a|F b x 1a|D a x 1a", ""},
		{"F a x 0|T a x 1a|F b x 0|T b x 1b|D b x 1b", ""},
		{"F a x 0|T a x 1a|D a x 1a|F b x 0", "b has found 0, acknowledged was 1a"},
		{"F a x 0|T a x 1a|F b x 0|D a x 1a", "1a was acknowledged to a, which had lost it to b"},
		{"F a x 0|F b x 0|T a x 1a|F c x 1a", "c has found 1a"},
		{"F a x 1", "a has found 1"},
	} {
		j := judge(strings.NewReader(strings.ReplaceAll(c.lines, "|", "\n")), "0")
		if c.wrong == "" {
			require.Empty(t, j.wrong, c.lines)
		} else {
			require.Len(t, j.wrong, 1, c.lines)
			require.Contains(t, j.wrong[0], c.wrong)
		}
	}
}

// work moves the resources of a partition until ctx ends, or it is fenced: claims
// and results in turn. Each has a queue of its own.
func (h *history) work(ctx context.Context, who string, part *Partition, pause time.Duration) error {
	s, err := part.Queue.Open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	depths, err := part.Queue.(queue.Depther).Depths(ctx)
	if err != nil {
		return err
	}
	inFlight, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(5*time.Second, cancel) })()
	held, err := part.Queue.Open(inFlight)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for _, d := range depths {
		all, err := part.Queue.(queue.Lister).List(ctx, d.Name, resource.ID{}, 2)
		if err != nil {
			return err
		}
		for _, m := range all { // two would be one too many, and the history shows it
			h.add("F", who, m.Queue, m.Resource.Validators.ETag)
		}
		wg.Go(func() { h.move(ctx, inFlight, who, held, d.Name, pause) })
	}
	wg.Wait()
	return held.Close()
}

// move finishes what is in flight when ctx ends.
func (h *history) move(ctx, inFlight context.Context, who string, s queue.Session, name string, pause time.Duration) {
	owner := resource.NewOwner()
	for ctx.Err() == nil {
		ds, err := s.Receive(ctx, name, 1)
		if err != nil {
			return
		}
		m := ds[0].To(name, time.Time{})
		number, _, _ := strings.Cut(m.Resource.Validators.ETag, "-")
		n, err := strconv.Atoi(number)
		if err != nil {
			panic(err)
		}
		state := fmt.Sprintf("%d-%s", n+1, who)
		m.Resource.Validators.ETag = state
		if m.Resource.Owner.IsZero() {
			m.Resource.Claim(owner, time.Now(), time.Now().Add(30*time.Second))
		} else {
			m.Resource.Owner = resource.Owner{}
		}
		h.add("T", who, name, state)
		for {
			err := s.Commit(inFlight, ds, m)
			if err == nil {
				h.add("D", who, name, state)
				break
			}
			if errors.Is(err, queue.ErrClosed) || errors.Is(err, queue.ErrSession) || inFlight.Err() != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(rand.N(pause))
	}
}

// admitAll puts resources into all partitions, each in a queue of its own, in the
// state 0.
func admitAll(t testing.TB, p *process, partitions, resources int) {
	t.Helper()
	for i := range resources {
		name := fmt.Sprintf("r%03d", i)
		res := newResource(t, "https://"+name+".example/")
		res.Validators.ETag = "0"
		s := open(t, p.part(t, i%partitions))
		require.NoError(t, s.Commit(t.Context(), nil, queue.Message{Queue: name, Resource: res}))
		require.NoError(t, s.Close())
	}
}

// requireAll checks that a process finds everything once, as it was left.
func requireAll(t testing.TB, p *process, j judged, partitions, resources int) {
	t.Helper()
	require.Len(t, j.last, resources)
	found := 0
	for n := range partitions {
		part := p.part(t, n)
		for { // some of the faults may be left
			if _, err := part.Queue.Open(t.Context()); err == nil {
				break
			}
			<-time.After(time.Second)
			part = p.part(t, n)
		}
		depths, err := part.Queue.(queue.Depther).Depths(t.Context())
		require.NoError(t, err)
		for _, d := range depths {
			all, err := part.Queue.(queue.Lister).List(t.Context(), d.Name, resource.ID{}, 100)
			require.NoError(t, err)
			for _, m := range all {
				require.Contains(t, j.last[m.Queue], m.Resource.Validators.ETag)
				found++
			}
		}
	}
	require.Equal(t, resources, found)
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
			synctest.Test(t, func(t *testing.T) { testHistory(t, rand.New(rand.NewPCG(seed, round))) })
		})
	}
}

func testHistory(t *testing.T, random *rand.Rand) {
	const partitions, resources = 6, 30
	r := newRig(t, partitions)
	first := r.start(nil)
	admitAll(t, first, partitions, resources)
	first.stop()
	<-first.ended
	require.NoError(t, first.err)

	var lines strings.Builder
	h := &history{out: &lines}
	runs := 0
	var mu sync.Mutex
	serve := func(p *process) func(context.Context, *Partition) error {
		return func(ctx context.Context, part *Partition) error {
			mu.Lock()
			runs++
			who := fmt.Sprint(runs)
			mu.Unlock()
			return h.work(ctx, who, part, 400*time.Millisecond)
		}
	}
	impatient := func(c *Config) { c.SessionTimeout = 4 * time.Second }
	all := make([]*process, 3)
	for i := range all {
		all[i] = r.startWith(impatient, serve)
	}
	keys := []kmsg.Key{kmsg.Produce, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.InitProducerID, kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Fetch, kmsg.Metadata, kmsg.FindCoordinator}
	errs := []*kerr.Error{kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.RequestTimedOut, kerr.NotEnoughReplicas, kerr.NotLeaderForPartition, kerr.UnknownServerError, kerr.ConcurrentTransactions, kerr.UnknownMemberID, kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.NetworkException}
	for begun := time.Now(); time.Since(begun) < 2*time.Minute; {
		time.Sleep(time.Duration(random.Int64N(int64(6 * time.Second))))
		i := random.IntN(len(all))
		p := all[i]
		switch random.IntN(10) {
		case 8, 9: // as if it were stopped
			p.cable.freeze()
			time.Sleep(time.Duration(random.Int64N(int64(9 * time.Second))))
			p.cable.thaw()
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
			all[i] = r.startWith(impatient, serve)
		case 5: // as if it were killed, but it goes on and notices nothing
			p.cable.pull()
			all[i] = r.startWith(impatient, serve)
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
	h.mu.Lock()
	j := judge(strings.NewReader(lines.String()), "0")
	h.mu.Unlock()
	require.Empty(t, j.wrong)
	requireAll(t, r.start(nil), j, partitions, resources)
	t.Logf("%d moves, %d times taken over", j.moves, j.takeovers)
	require.Greater(t, j.moves, 1000)
	require.Greater(t, j.takeovers, 20)
}
