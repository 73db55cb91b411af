package scheduler

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// clock is a manager with nothing but its deadlines, and the model that these
// are checked against: what is armed, sorted by nothing but the test.
type clock struct {
	*ServiceManager
	t       *testing.T
	workers []*worker
	model   map[*worker]time.Duration // armed, and for when
}

func newClock(t *testing.T, workers int) *clock {
	c := &clock{ServiceManager: &ServiceManager{birth: time.Now().Add(-1)}, t: t, model: make(map[*worker]time.Duration)}
	for range workers {
		// Stopped, and not given up: nothing follows when its time has come.
		c.workers = append(c.workers, &worker{entry: &entry{}, state: Stopped})
	}
	return c
}

func (c *clock) set(w *worker, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arm(w, d)
	c.model[w] = plus(c.now(), max(d, 0))
}

func (c *clock) unset(w *worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.disarm(w)
	delete(c.model, w)
}

// check compares with the model, of which what is due has fired.
func (c *clock) check() {
	c.t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for w, at := range c.model {
		if at <= now {
			delete(c.model, w)
		}
	}
	for i, w := range c.workers {
		at, armed := c.model[w]
		if w.armed != armed || armed && w.next != at {
			c.t.Fatalf("at %v worker %d is armed %v for %v; want %v for %v", now, i, w.armed, w.next, armed, at)
		}
	}
	q := &c.deadlines
	valid := 0
	for i, d := range q.heap {
		if !d.void() {
			valid++
		}
		if i > 0 && q.heap[(i-1)/2].at > d.at {
			c.t.Fatalf("at %v: no heap: %v", now, q.heap)
		}
	}
	require.Equal(c.t, len(c.model)+q.voids, len(q.heap), "everything inside is armed or counted as void")
	require.GreaterOrEqual(c.t, valid, len(c.model))
	require.LessOrEqual(c.t, q.voids, max(deadlineBatch, len(q.heap)/2), "what is void is bounded")
	require.LessOrEqual(c.t, cap(q.heap), max(4*deadlineBatch, 8*len(q.heap)), "and so is the room")
	if len(c.model) == 0 {
		require.Nil(c.t, q.heap)
		require.Zero(c.t, q.rings)
	} else {
		first := slices.MinFunc(q.heap, func(a, b deadline) int { return int(a.at - b.at) }).at
		require.True(c.t, q.rings > 0 && q.rings <= first, "the timer rings at %v, the first is due at %v", q.rings, first)
	}
}

// Whatever is armed, disarmed and armed anew, each fires at its time and no
// other does, and nothing void stays.
func TestDeadlines(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dice := rand.New(rand.NewPCG(seed, 3))
				c := newClock(t, 1+dice.IntN(1000))
				// Few different instants, so that many are the same.
				instants := 1 + dice.IntN(50)
				for range 3000 {
					w := c.workers[dice.IntN(len(c.workers))]
					switch n := dice.IntN(100); {
					case n < 60:
						c.set(w, time.Duration(dice.IntN(instants)-1)*time.Second)
					case n < 90:
						c.unset(w)
					case n < 92: // a crowd that stops together
						from := dice.IntN(len(c.workers))
						for _, w := range c.workers[from:] {
							c.unset(w)
						}
					case n < 93:
						c.set(w, math.MaxInt64)
					default:
						time.Sleep(time.Duration(dice.IntN(3)) * time.Second)
					}
					if dice.IntN(20) == 0 {
						c.check()
					}
				}
				c.check()
				for _, w := range c.workers {
					if c.model[w] == math.MaxInt64 {
						c.unset(w)
					}
				}
				time.Sleep(time.Minute)
				require.Empty(t, c.fired())
			})
		})
	}
}

// fired checks, and returns what is still armed.
func (c *clock) fired() map[*worker]time.Duration {
	c.check()
	return c.model
}

// The heap yields what is inside in the order of time.
func TestDeadlinesOrder(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		var q deadlines
		var want []time.Duration
		for range dice.IntN(300) {
			w := &worker{armed: dice.IntN(3) > 0, next: time.Duration(dice.IntN(100))}
			q.push(deadline{at: w.next, worker: w})
			if w.armed {
				want = append(want, w.next)
			}
		}
		slices.Sort(want)
		q.purge()
		var got []time.Duration
		for len(q.heap) > 0 {
			got = append(got, q.heap[0].at)
			q.pop()
		}
		require.Equal(t, want, got)
	}
}

// One that is armed twice for the same instant fires once, and is counted
// once, also when it is cleared away in between.
func TestDeadlinesTwins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(t, 3*deadlineBatch)
		for _, w := range c.workers {
			c.set(w, time.Second)
			c.set(w, 2*time.Second)
			c.set(w, time.Second)
			c.set(w, 2*time.Second)
		}
		c.check()
		for _, w := range c.workers[1:] {
			c.unset(w)
			c.check()
		}
		time.Sleep(time.Second)
		require.Len(t, c.fired(), 1)
		time.Sleep(time.Second)
		require.Empty(t, c.fired())
	})
}

// A crowd that has fired, or was disarmed, leaves no memory and no timer.
func TestDeadlinesMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(t, 20_000)
		for i, w := range c.workers {
			c.set(w, time.Duration(i)*time.Millisecond)
		}
		c.check()
		time.Sleep(19_900 * time.Millisecond)
		require.Len(t, c.fired(), 99, "check looks at the room that the last ones take")
		time.Sleep(time.Second)
		require.Empty(t, c.fired())
		for _, w := range c.workers { // a crowd that fires at once
			c.set(w, time.Second)
		}
		time.Sleep(time.Second)
		require.Empty(t, c.fired())
		for _, w := range c.workers {
			c.set(w, time.Hour)
		}
		for _, w := range c.workers[10:] {
			c.unset(w)
		}
		require.Len(t, c.fired(), 10)
		for _, w := range c.workers[:10] {
			c.unset(w)
		}
		require.Empty(t, c.fired())
		require.False(t, c.deadlines.timer.Stop(), "it has been stopped")
	})
}
