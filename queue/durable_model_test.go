package queue_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// Processes that are killed at random, over a store that fails at random, with
// several workers each that Commit at the same time. After each kill the next
// process must find of each resource what was acknowledged last, or, where the
// outcome of something later is unknown, that.
func TestDurableKillsAndFaults(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3, 4, 5, 6} {
		t.Run(fmt.Sprintf("seed-%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, seed)
				defer func() {
					if t.Failed() {
						t.Logf("seed %d", seed)
					}
				}()
				store := db.NewMemory()
				for range 12 {
					w.generation(store)
				}
				require.Greater(t, w.failures, 50, "the store has failed too seldom to prove anything")
			})
		})
	}
}

// The same over a file that is opened anew by each process.
func TestDurableKillsAndFaultsOverFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 99)
		path := filepath.Join(t.TempDir(), "q.db")
		for range 4 {
			file, err := db.OpenFile(path)
			require.NoError(t, err)
			w.generation(file)
			require.NoError(t, file.Close())
		}
	})
}

// world is the model: what the journal may hold of each resource.
type world struct {
	*testing.T
	rand     *rand.Rand
	workers  []*worker
	all      map[resource.ID]*known
	failures int
}

// known is what is known of the record of one resource.
type known struct {
	m     *queue.Message   // acknowledged; nil: no record
	maybe []*queue.Message // of unknown outcome since
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{T: t, rand: rand.New(rand.NewPCG(seed, 0)), all: map[resource.ID]*known{}}
	for i := range 4 {
		w.workers = append(w.workers, &worker{
			number: i, rand: rand.New(rand.NewPCG(seed, uint64(i)+1)),
			names: []string{fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)},
		})
	}
	return w
}

// generation is the life of one process. Its store fails, delays and cuts; it
// ends by a kill with everybody at work.
func (w *world) generation(store db.DB) {
	h := newHandle(store)
	f := &faulty{DB: h, rand: rand.New(rand.NewPCG(w.rand.Uint64(), 0)), rate: 0.25}
	d := newDurable(w.T, f, queue.DurableConfig{Batch: 1 + w.rand.IntN(8)})
	s, err := d.Open(w.Context())
	require.NoError(w, err)
	w.check(s)
	for _, x := range w.workers {
		x.begin(w, d)
	}
	var all sync.WaitGroup
	for _, x := range w.workers {
		all.Go(func() {
			for range 60 {
				if err := x.step(); err != nil {
					w.Errorf("worker %d: %v", x.number, err)
					return
				}
			}
		})
	}
	all.Wait()
	h.cut.Store(true) // the kill: nothing is closed, and nothing more arrives
	w.failures += f.failed
	for _, x := range w.workers {
		maps.Copy(w.all, x.mine)
	}
	require.NoError(w, d.Close())
	time.Sleep(db.DefaultTTL)
}

// check compares what a new process finds with what is known, and gives all of
// it to the workers.
func (w *world) check(s queue.Session) {
	w.Helper()
	for _, x := range w.workers {
		x.mine = map[resource.ID]*known{}
		for _, name := range x.names {
			for {
				d, ok := receiveNow(w.T, s, name)
				if !ok {
					break
				}
				k := w.all[d.Resource.ID]
				require.NotNil(w, k, "found a resource that was never admitted")
				require.Nil(w, x.mine[d.Resource.ID], "found a resource twice")
				found := k.explain(&d.Message)
				require.NotNil(w, found, "found %v, want %v or one of %d of unknown outcome", summary(&d.Message), summary(k.m), len(k.maybe))
				require.Equal(w, !d.Resource.Owner.IsZero(), d.Redelivered)
				x.mine[d.Resource.ID] = &known{m: found}
			}
		}
		for id, k := range w.all {
			if k.owner() == x.number && x.mine[id] == nil {
				require.True(w, k.mayBeGone(), "lost: %v", summary(k.m))
			}
		}
	}
	clear(w.all)
	require.NoError(w, s.Close()) // gives all back to the workers' sessions
}

// receiveNow returns the next delivery of a name if one is due.
func receiveNow(t *testing.T, s queue.Session, name string) (queue.Delivery, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errStop)
	defer cancel()
	ds, err := s.Receive(ctx, name, 1)
	if errors.Is(err, errStop) {
		return queue.Delivery{}, false
	}
	require.NoError(t, err)
	return ds[0], true
}

// explain returns what of the known m is, if it is anything.
func (k *known) explain(m *queue.Message) *queue.Message {
	for _, candidate := range append([]*queue.Message{k.m}, k.maybe...) {
		if candidate != nil && summary(candidate) == summary(m) {
			return candidate
		}
	}
	return nil
}

func (k *known) mayBeGone() bool {
	for _, m := range k.maybe {
		if m == nil {
			return true
		}
	}
	return k.m == nil
}

// owner is the worker whose name any known message is in.
func (k *known) owner() int {
	for _, m := range append([]*queue.Message{k.m}, k.maybe...) {
		if m != nil {
			var letter, number int
			fmt.Sscanf(m.Queue, "%c%d", &letter, &number)
			return number
		}
	}
	return -1
}

func summary(m *queue.Message) string {
	if m == nil {
		return "nothing"
	}
	return fmt.Sprintf("%v in %s, attempts %d, cause %q, owner %v, tag %s",
		m.Resource.ID, m.Queue, m.Attempts, m.Cause, m.Resource.Owner, m.Resource.Validators.ETag)
}

// worker moves its own resources through its own names.
type worker struct {
	number int
	rand   *rand.Rand
	names  []string
	mine   map[resource.ID]*known
	d      *queue.Durable
	s      queue.Session
	made   int
	tags   int
	held   []queue.Delivery
}

func (x *worker) begin(w *world, d *queue.Durable) {
	s, err := d.Open(w.Context())
	require.NoError(w, err)
	x.d, x.s, x.held = d, s, nil
	maps.Copy(w.all, x.mine)
}

func (x *worker) name() string { return x.names[x.rand.IntN(len(x.names))] }

func (x *worker) step() error {
	if x.rand.IntN(40) == 0 { // a service that crashes: its deliveries come back
		if err := x.s.Close(); err != nil {
			return err
		}
		x.held = nil
		s, err := x.d.Open(context.Background())
		if err != nil {
			return err
		}
		x.s = s
	}
	if len(x.held) < 3 {
		if err := x.receive(); err != nil {
			return err
		}
	}
	var done []queue.Delivery
	var next []queue.Message
	if n := len(x.held); n > 0 && x.rand.IntN(5) > 0 {
		n = 1 + x.rand.IntN(n)
		done = x.held[:n]
	}
	for _, d := range done {
		if m, ok := x.move(d); ok {
			next = append(next, m)
		}
	}
	if len(done) == 0 || x.rand.IntN(4) == 0 {
		m := admission(x.name(), x.number*1_000_000+x.made)
		x.made++
		next = append(next, x.tagged(m))
	}
	return x.commit(done, next)
}

func (x *worker) receive() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), time.Millisecond, errStop)
	defer cancel()
	ds, err := x.s.Receive(ctx, x.name(), 3)
	if errors.Is(err, errStop) {
		return nil
	}
	x.held = append(x.held, ds...)
	return err
}

func (x *worker) tagged(m queue.Message) queue.Message {
	x.tags++
	m.Resource.Validators.ETag = fmt.Sprintf("%d-%d", x.number, x.tags)
	return m
}

// move decides what becomes of d; false: it is retired.
func (x *worker) move(d queue.Delivery) (queue.Message, bool) {
	m := x.tagged(d.To(x.name(), time.Time{}))
	m.Attempts++
	switch x.rand.IntN(7) {
	case 0:
		m.Resource.Claim(resource.NewOwner(), time.Now(), time.Now().Add(time.Minute))
	case 1:
		m.Resource.Unclaim()
	case 2:
		m.Cause = fmt.Sprintf("cause %d", x.tags)
	case 3:
		return m, false
	default:
		m.Cause = d.Cause
	}
	return m, true
}

// commit says it until it is acknowledged, or gives up after an error and says
// something else later.
func (x *worker) commit(done []queue.Delivery, next []queue.Message) error {
	for {
		err := x.s.Commit(context.Background(), done, next...)
		x.note(done, next, err)
		switch {
		case err == nil:
			x.held = append([]queue.Delivery(nil), x.held[len(done):]...)
			return nil
		case !errors.Is(err, errStore):
			return err
		case x.rand.IntN(2) == 0:
			return nil
		}
	}
}

// note says what the journal holds after a Commit.
func (x *worker) note(done []queue.Delivery, next []queue.Message, err error) {
	moved := map[resource.ID]bool{}
	for i := range next {
		id := next[i].Resource.ID
		moved[id] = true
		x.knownOf(id).note(&next[i], err)
	}
	for i := range done {
		if id := done[i].Resource.ID; !moved[id] {
			x.knownOf(id).note(nil, err)
		}
	}
}

func (x *worker) knownOf(id resource.ID) *known {
	if x.mine[id] == nil {
		x.mine[id] = &known{}
	}
	return x.mine[id]
}

// note leaves out what needs no record: it is never sent.
func (k *known) note(m *queue.Message, err error) {
	switch {
	case k.m != nil && m != nil && len(k.maybe) == 0 && k.m.Resource.Owner == m.Resource.Owner && k.m.Cause == m.Cause:
	case err != nil:
		k.maybe = append(k.maybe, m)
	default:
		k.m, k.maybe = m, nil
	}
}
