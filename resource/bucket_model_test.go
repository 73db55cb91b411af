package resource

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
)

// world is an origin that counts requests in windows, a network that delays,
// reorders and loses, and one bucket that is asked before each request. Both
// clocks run at the same speed and differ by skew.
type world struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand
	now  time.Time
	b    Bucket

	window  time.Duration // length of a window of the origin's
	limit   int64
	skew    time.Duration // the origin's clock is ahead by this
	faults  bool
	current int64 // number of the window that counted belongs to
	counted int64

	flights []*flight
	served  int // answers with a status of 200

	// unheard counts the requests of this window whose answers told nothing or
	// never came. When the window before was all that was known, one request
	// alone has to find out about them, and may be refused.
	unheard int
}

// flight is a request under way.
type flight struct {
	sent    time.Time
	arrives time.Time // at the origin; zero: it has, or never does
	back    time.Time // when the answer is with us; zero: not answered yet
	lost    bool      // the answer never comes
	silent  bool      // the answer carries no headers
	free    bool      // a 304
	probe   bool      // sent alone, to find out
	answer  *Answer
}

const giveUp = 10 * time.Second // after which a request counts as lost

// A pool of any size, with answers late, out of order, without headers or lost,
// with a crash now and then, never sends more than the limit in any window of
// the origin's; and from every state it reaches there is a way on.
func TestD6_ModelNeverOverdraws(t *testing.T) {
	worlds := 400
	if testing.Short() {
		worlds = 100
	}
	for seed := range uint64(worlds) {
		w := newWorld(t, seed, true)
		w.run(15 * time.Minute)
	}
}

// And it is no way out to send little: without faults the whole quota is used.
func TestD6_ModelUsesTheQuota(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(t, seed, false)
		w.window = time.Duration(30+w.rng.IntN(60)) * time.Second
		w.limit = 1 + w.rng.Int64N(20)
		w.run(time.Hour)
		want := float64(max(1, w.limit-w.b.Reserve)) * float64(time.Hour/w.window)
		if got := float64(w.served); got < 0.9*want {
			t.Fatalf("seed %d: served %v of %v, limit %d in %v, cap %d", seed, got, want, w.limit, w.window, w.b.Cap)
		}
	}
}

func newWorld(t *testing.T, seed uint64, faults bool) *world {
	rng := rand.New(rand.NewPCG(seed, 0x5eed))
	w := &world{
		t: t, seed: seed, rng: rng, now: at(0), faults: faults,
		window: time.Duration(1+rng.IntN(90)) * time.Second,
		limit:  1 + rng.Int64N(12),
		skew:   time.Duration(rng.Int64N(int64(2*time.Hour))) - time.Hour,
	}
	w.b.Cap = rng.IntN(9) // 0: no bound
	if rng.IntN(3) == 0 {
		w.b.Reserve = rng.Int64N(3)
	}
	return w
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d at %v: %s\nbucket %+v", w.seed, w.now.Sub(at(0)), fmt.Sprintf(format, args...), w.b)
}

func (w *world) run(length time.Duration) {
	for w.now.Before(at(length)) {
		park := w.b.Park
		w.step()
		if w.b.Park.Before(park) {
			w.fail("park went back from %v", park)
		}
		if w.rng.IntN(20) == 0 {
			w.mustGoOn()
		}
		w.now = w.now.Add(time.Duration(1 + w.rng.Int64N(int64(500*time.Millisecond))))
	}
}

// step lets the network do what is due, and sends if the bucket lets it.
func (w *world) step() {
	w.network()
	if w.faults && w.rng.IntN(2000) == 0 {
		w.crash()
	}
	for range 4 {
		d := w.b.Admit(w.now)
		if d.Kind != Ready {
			if d.Kind != Line || d.At.IsZero() && w.b.InFlight == 0 || !d.At.IsZero() && !d.At.After(w.now) {
				w.fail("says %+v", d)
			}
			return
		}
		w.b.Take()
		if w.faults && w.rng.IntN(20) == 0 {
			w.b.Release()
			continue
		}
		w.send(d.Why == ReasonProbe)
	}
}

func (w *world) send(probe bool) {
	f := &flight{probe: probe, sent: w.now, arrives: w.now.Add(w.delay(2 * time.Second))}
	f.free = w.rng.IntN(4) == 0
	if w.faults && w.b.Known { // the first word has to come from somewhere
		f.silent = w.rng.IntN(8) == 0
		f.lost = w.rng.IntN(12) == 0
		if f.lost && w.rng.IntN(2) == 0 {
			f.arrives = time.Time{}
		}
	}
	w.flights = append(w.flights, f)
}

func (w *world) delay(most time.Duration) time.Duration {
	if !w.faults {
		most /= 20
	}
	return time.Duration(1 + w.rng.Int64N(int64(most)))
}

// network brings requests to the origin in the order of their arrival, and
// answers back in the order of theirs.
func (w *world) network() {
	slices.SortStableFunc(w.flights, func(a, b *flight) int { return a.arrives.Compare(b.arrives) })
	for _, f := range w.flights {
		if !f.arrives.IsZero() && !f.arrives.After(w.now) {
			w.arrive(f)
		}
	}
	slices.SortStableFunc(w.flights, func(a, b *flight) int { return a.back.Compare(b.back) })
	w.flights = slices.DeleteFunc(w.flights, func(f *flight) bool {
		switch {
		case f.answer != nil && !f.lost && !f.back.After(w.now):
			w.learn(f)
			return true
		case f.lost && !f.sent.Add(giveUp).After(w.now):
			w.b.Lose(f.sent, w.now)
			return true
		}
		return false
	})
}

// arrive is the origin at work, on its own clock.
func (w *world) arrive(f *flight) {
	clock := f.arrives.Add(w.skew)
	number := clock.UnixNano() / int64(w.window)
	if number != w.current {
		w.current, w.counted, w.unheard = number, 0, 0
	}
	f.arrives = time.Time{}
	if f.lost || f.silent {
		w.unheard++
	}
	status := 200
	switch {
	case w.counted >= w.limit && f.probe && w.unheard > 0:
		status = 403
	case w.counted >= w.limit:
		w.fail("overdraft: request of %v arrives in a window of %d that is used up", f.sent.Sub(at(0)), w.limit)
	case f.free:
		status = 304
	default:
		w.counted++
	}
	end := time.Unix(0, (number+1)*int64(w.window))
	h := header(
		"Date", clock.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"),
		"X-Ratelimit-Limit", strconv.FormatInt(w.limit, 10),
		"X-Ratelimit-Remaining", strconv.FormatInt(w.limit-w.counted, 10),
		"X-Ratelimit-Reset", strconv.FormatInt(end.Unix(), 10),
	)
	if f.silent {
		status, h = 502, header()
		f.free = false
	}
	f.answer = &Answer{Origin: GitHubOrigin, Status: status, Header: h, Sent: f.sent, Jitter: w.rng.Float64()}
	f.back = clock.Add(-w.skew).Add(w.delay(3 * time.Second))
}

func (w *world) learn(f *flight) {
	var p Parser
	f.answer.Received = w.now
	l := p.Lesson(f.answer)
	w.b.Settle(&l, f.sent, w.now, f.free)
	if f.answer.Status == 200 {
		w.served++
	}
}

// crash ends the process. What is in flight still arrives, and nobody hears the
// answer.
func (w *world) crash() {
	kept := w.b.AppendBinary(nil)
	limit, reserve := w.b.Cap, w.b.Reserve
	var b Bucket
	if err := b.UnmarshalBinary(kept, w.now); err != nil {
		w.fail("%v", err)
	}
	w.b = b
	w.b.Cap, w.b.Reserve = limit, reserve
	w.b.TakeOver(w.now.Add(giveUp))
	w.flights = slices.DeleteFunc(w.flights, func(f *flight) bool {
		if f.arrives.IsZero() && f.answer != nil && f.answer.Header.Get("X-Ratelimit-Remaining") != "" {
			w.unheard++ // it was counted, maybe in this window
		}
		return f.arrives.IsZero()
	})
	for _, f := range w.flights {
		f.lost = true
		f.sent = w.now.Add(time.Hour * 1000) // never given up: nobody is there to do it
	}
}

// mustGoOn checks that the state is no dead end: waiting for the instants that
// it names, and losing what is in flight, leads to Ready.
func (w *world) mustGoOn() {
	b, now := w.b, w.now
	for range 1000 {
		d := b.Admit(now)
		switch {
		case d.Kind == Ready:
			return
		case d.At.IsZero() && b.InFlight > 0:
			b.Lose(now, now)
		case !d.At.After(now):
			w.fail("stuck at %+v", d)
		default:
			now = d.At
		}
	}
	w.fail("never ready again")
}
