package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

var (
	randomSeeds = flag.Uint64("random.seeds", 0, "number of seeds of TestRandom; 0: as many as fit into an ordinary run")
	randomFirst = flag.Uint64("random.first", 1, "first seed of TestRandom")
)

const (
	drivers     = 4
	driverSteps = 150
)

// TestRandom drives trees of services through seeded operations and faults
// beside a model of what the documentation promises, and finds no difference.
// The dice of a seed are the same in each run; goroutines that are ready at the
// same instant may run in another order.
func TestRandom(t *testing.T) {
	seeds := uint64(120)
	if testing.Short() {
		seeds = 4
	}
	if *randomSeeds > 0 {
		seeds = *randomSeeds
	}
	var mu sync.Mutex
	tested, ops := map[string]int{}, 0
	t.Run("seeds", func(t *testing.T) {
		for i := range seeds {
			seed := *randomFirst + i
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					m := play(t, seed)
					mu.Lock()
					defer mu.Unlock()
					ops += m.ops
					for promise, n := range m.tested {
						tested[promise] += n
					}
				})
			})
		}
	})
	figures, err := json.Marshal(map[string]any{
		"trees": seeds, "first": *randomFirst, "operations": ops, "differences": 0, "tested": tested,
	})
	require.NoError(t, err)
	if !t.Failed() {
		t.Logf("random: %s", figures)
	}
	for _, promise := range []string{
		"start after what it comes after", "group restarts together", "group waits", "start timeout", "extend",
		"stop for a reason", "dependants stop first", "abandoned at its own stop timeout", "errors are those named",
		"named exactly", "Serve ends in time", "status", "drains inside if asked gently",
	} {
		t.Logf("%8d times: %s", tested[promise], promise)
		if seeds >= 4 && tested[promise] == 0 {
			t.Errorf("never put to the test: %s", promise)
		}
	}
}

// play is one seed.
func play(t *testing.T, seed uint64) *model {
	m := build(t, seed)
	var busy atomic.Bool
	busy.Store(true)
	var work, watch sync.WaitGroup
	for i := range drivers {
		work.Go(func() { m.drive(newDice(seed, uint64(200+i))) })
	}
	quit := make(chan struct{})
	watch.Go(func() { m.sessions(newDice(seed, 300), &busy, quit) })
	watch.Go(func() { m.watch(newDice(seed, 301), &busy) })
	work.Wait()
	m.calm.Store(true)
	busy.Store(false)
	time.Sleep(time.Minute) // for watch, too
	if !t.Failed() {
		m.settle(newDice(seed, 302))
	}
	close(quit)
	watch.Wait()
	for _, r := range m.realms {
		require.NoError(t, r.Manager().AwaitStopped(context.Background()))
	}
	time.Sleep(time.Minute)
	for _, r := range m.realms {
		require.True(t, r.Manager().BlankIsBlank(), "what all share was written for one")
	}
	m.inspect()
	return m
}

// watch looks at everything now and then, when nothing moves.
func (m *model) watch(d *dice, busy *atomic.Bool) {
	for busy.Load() {
		time.Sleep(d.odd(1500 * time.Millisecond))
		m.inspect()
	}
}

func (m *model) inspect() {
	synctest.Wait()
	for _, r := range m.realms {
		r.inspect()
		if wrong := r.Manager().Miscounted(); wrong != "" {
			m.t.Errorf("seed %d: %s", m.seed, wrong)
		}
	}
}

// sessions serves the tree again and again until quit is closed, and ends it in
// each way there is while the drivers are busy.
func (m *model) sessions(d *dice, busy *atomic.Bool, quit <-chan struct{}) {
	root := m.realms[0]
	for {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		m.mu.Lock()
		root.rest(false)
		root.trigger = time.Time{}
		m.mu.Unlock()
		result := make(chan error, 1)
		go func() { result <- root.Serve(ctx) }()
		alarm := time.After(d.odd(4 * time.Minute))
		for ended := false; !ended; {
			select {
			case err := <-result:
				m.mu.Lock()
				root.rest(true)
				m.mu.Unlock()
				root.served(time.Time{}, err)
				ended = true
			case <-alarm:
				if ended = busy.Load(); ended {
					m.finish(d.roll(4), d.odd(20*time.Second), cancel, result)
				}
			case <-quit:
				m.finish(d.roll(2), time.Hour, cancel, result)
				return
			}
		}
		time.Sleep(d.odd(3 * time.Second))
	}
}

// finish ends a session in one of four ways.
func (m *model) finish(how int, patience time.Duration, cancel context.CancelFunc, result <-chan error) {
	root := m.realms[0]
	m.mu.Lock()
	trigger := root.trigger
	root.excuse()
	root.trigger = trigger // which is what ends it by itself
	root.rest(true)
	begin := time.Now()
	gently := how > 0
	if gently {
		m.gentle.begin()
		for _, n := range root.nodes {
			n.gently = begin
		}
	}
	m.mu.Unlock()
	defer m.limit("Serve")()
	if !gently {
		cancel()
		root.served(begin, <-result)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	switch how {
	case 2: // impatient
		time.AfterFunc(patience, stop)
	case 3:
		time.AfterFunc(patience, cancel)
	}
	said := root.Shutdown(ctx)
	idle := errors.Is(said, scheduler.ErrNotServing)
	if idle { // it ended by itself, or has not begun
		cancel()
	}
	err := <-result
	if said != err && !idle {
		m.t.Errorf("seed %d: Shutdown answers %v, and Serve %v", m.seed, said, err)
	}
	root.served(begin, err)
	m.mu.Lock()
	m.gentle.end()
	m.mu.Unlock()
}

// limit ends the test with all stacks if something takes for ever, which
// nothing does.
func (m *model) limit(what string) (stop func() bool) {
	return time.AfterFunc(6*time.Hour, func() { panic(fmt.Sprintf("seed %d: %s takes for ever", m.seed, what)) }).Stop
}

// drive throws operations at the services.
func (m *model) drive(d *dice) {
	m.mu.Lock()
	all := slices.Collect(m.all())
	m.mu.Unlock()
	for range driverSteps {
		// In whole milliseconds, so that calls meet at the same instant.
		time.Sleep(time.Duration(d.roll(700)) * time.Millisecond)
		n := all[d.roll(len(all))]
		patience := time.Duration(d.roll(8000)) * time.Millisecond
		switch verb := d.roll(22); verb {
		default:
			m.do("Start", n, patience)
		case 6, 7, 8:
			m.do("Stop", n, patience)
		case 9, 10, 11:
			m.do("Restart", n, patience)
		case 12:
			m.do("Replace", n, patience)
		case 13, 14:
			m.do("Drain", n, patience)
		case 15:
			m.do("AwaitStarted", n, patience)
		case 16:
			m.do("AwaitStopped", n, patience)
		case 17, 18:
			m.resize(n, 1+d.roll(4))
		case 19:
			m.again(n, patience)
		case 20: // one that stops and starts what others come after
			for len(n.before) == 0 {
				n = all[d.roll(len(all))]
			}
			m.do("Restart", n, time.Minute)
		case 21: // a stop during backoff
			if s, err := n.Status(n.alias); err == nil && s.State == scheduler.BackingOff {
				m.do("Stop", n, patience)
				time.Sleep(d.odd(3 * time.Second))
				m.do("Start", n, patience)
			}
		}
	}
}

// do calls one operation and holds its answer against the model.
func (m *model) do(verb string, n *node, patience time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errImpatient)
	defer cancel()
	defer m.limit(verb + " " + n.path)()
	o := &operation{verb: verb, n: n, ctx: ctx}
	m.begin(o)
	s := n.Manager()
	switch verb {
	case "Start":
		o.err = s.Start(ctx, n.alias)
	case "Stop":
		o.err = s.Stop(ctx, n.alias)
	case "Restart":
		o.err = s.Restart(ctx, n.alias)
	case "Replace":
		o.err = s.Replace(ctx, n.alias)
	case "Drain":
		o.err = s.Drain(ctx, n.alias)
	case "Remove":
		o.err = s.Remove(ctx, n.alias)
	case "Add":
		o.err = s.Add(n.spec)
	case "AwaitStarted":
		o.err = s.AwaitStarted(ctx, n.alias)
	case "AwaitStopped":
		o.err = s.AwaitStopped(ctx, n.alias)
	}
	at := time.Now()
	m.answered(o)
	time.Sleep(time.Nanosecond) // for all that happens at this instant
	m.mu.Lock()
	defer m.mu.Unlock()
	o.judge(at)
	o.end()
	return o.err
}

var errImpatient = errors.New("test waited long enough")

// again removes a service that nothing comes after, and adds it again.
func (m *model) again(n *node, patience time.Duration) {
	m.mu.Lock()
	takes := !n.owned && len(n.before) == 0 && n.inside == nil && n.spec.Pool == 0 && !n.sole()
	if takes {
		n.owned = true
	}
	m.mu.Unlock()
	if !takes {
		return
	}
	_ = m.do("Remove", n, patience)
	for m.do("AwaitStopped", n, time.Hour) == nil {
		time.Sleep(time.Millisecond)
	}
	m.mu.Lock()
	n.starts, n.failures, n.fall = 0, 0, nil
	i := slices.Index(n.nodes, n)
	n.nodes = append(slices.Delete(n.nodes, i, i+1), n)
	m.mu.Unlock()
	for m.do("Add", n, time.Hour) != nil {
		time.Sleep(100 * time.Millisecond)
	}
	m.mu.Lock()
	n.owned = false
	m.mu.Unlock()
}

// resize changes the size of a pool.
func (m *model) resize(n *node, size int) {
	m.mu.Lock()
	takes := !n.owned && n.spec.Pool > 0
	if takes {
		n.size = size
		m.ops++
		n.note("Resize to %d", size)
		for _, l := range n.lives {
			l.spare = l.spare || l.index() > size
		}
		n.shrunk()
		n.owned = true
	}
	m.mu.Unlock()
	if !takes {
		return
	}
	if err := n.Manager().Resize(n.alias, size); err != nil {
		m.t.Errorf("seed %d: resize %s to %d: %v", m.seed, n.path, size, err)
	}
	m.mu.Lock()
	n.owned = false
	m.mu.Unlock()
}
