package queuetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// neverEarly: admissions, moves and short waits, each watched until just before
// it is due. That a delivery isn't early is checked for each one anyway.
func neverEarly(e *env) {
	q := e.newQueue()
	s := e.session(q)
	s.admit(e.message("a", e.in(4)))
	var got []queue.Delivery
	for range 3 {
		if got = s.receiveFor("a", 10, e.step); len(got) > 0 {
			break // on the wall clock the call may have come late
		}
	}
	if len(got) == 0 {
		got = s.receive("a", 10)
	}
	d := got[0]
	for _, wait := range []time.Duration{1, time.Microsecond, 49*time.Millisecond + 1, 250 * time.Millisecond, 999*time.Millisecond + 999} {
		due := time.Now().Add(wait)
		s.move(d, "b", due)
		if d = s.receiveOne("b"); !e.sameInstant(due, d.Due) {
			e.Errorf("Due of a move is %v, want the decided %v", d.Due, due)
		}
	}
}

// onTime: due instants near and far, each delivered when it is due and not
// merely some time after.
func onTime(e *env) {
	q := e.newQueue()
	s := e.session(q)
	waits := []time.Duration{0, 1, 10 * time.Millisecond, e.step, e.step + 1}
	if !e.suite.WallClock {
		waits = append(waits, 255*time.Second, 256*time.Second, time.Hour, 25*time.Hour, 40*24*time.Hour)
		e.patience = 60 * 24 * time.Hour
	}
	start := time.Now()
	for _, wait := range waits {
		s.admit(e.message("a", start.Add(wait)))
	}
	for range waits {
		d := s.receiveOne("a")
		e.punctual(d)
	}
}

// punctual judges lateness where time is virtual.
func (e *env) punctual(d queue.Delivery) {
	e.Helper()
	if late := time.Since(d.Due); !e.suite.WallClock && late > e.suite.Lateness {
		e.Errorf("delivered %v after it was due, want at most %v", late, e.suite.Lateness)
	}
}

// receiveBlocks: Receive waits for what is due later, for what is admitted later
// and for what another session gives up.
func receiveBlocks(e *env) {
	q := e.newQueue()
	s, other := e.session(q), e.session(q)
	var got []queue.Delivery
	var err error
	receive := func() <-chan struct{} {
		return e.start(func() { got, err = s.s.Receive(context.Background(), "a", 10) })
	}
	came := func(done <-chan struct{}, why string) queue.Delivery {
		e.Helper()
		if !e.inTime(func() { <-done }) {
			e.Errorf("Receive goes on waiting though %s", why)
			e.FailNow()
		}
		require.NoError(e, err)
		require.Len(e, got, 1)
		return got[0]
	}

	done := receive()
	e.waits(done, "Receive of an empty queue")
	other.admit(e.message("b", time.Time{}))
	e.waits(done, "Receive while only another name has something")
	m := e.message("a", e.in(6))
	other.admit(m)
	e.waitsUntil(m.Due, done, "Receive while nothing is due")
	d := came(done, "the only message is due")
	e.punctual(d)
	s.move(d, "c", time.Time{})

	done = receive()
	e.waits(done, "Receive")
	other.move(other.receiveOne("c"), "a", time.Time{})
	d = came(done, "a message was moved there")
	s.move(d, "a", e.in(10_000))

	done = receive()
	other.admit(e.message("a", time.Now().Add(e.step)))
	sooner := came(done, "a message was admitted that is due sooner than the others")
	e.punctual(sooner)
}

// waits checks that a call started before goes on waiting.
func (e *env) waits(done <-chan struct{}, what string) {
	e.Helper()
	e.waitsUntil(time.Time{}, done, what)
}

// waitsUntil is waits for a call that may return from an instant on. On the wall
// clock that may have come before anybody looks.
func (e *env) waitsUntil(due time.Time, done <-chan struct{}, what string) {
	e.Helper()
	e.settle()
	select {
	case <-done:
		if e.past(due) {
			return
		}
		e.Errorf("%s returned, want it to wait", what)
		e.FailNow()
	default:
	}
}

// past reports whether an instant has come, so that nothing can be said any more
// of what was before. In a bubble nothing comes by surprise. A zero one never
// comes.
func (e *env) past(at time.Time) bool {
	return e.suite.WallClock && !at.IsZero() && !time.Now().Before(at)
}

// receiveHonoursContext: the cause of the context comes back, at once, whether it
// ended before or meanwhile, and the message stays for others.
func receiveHonoursContext(e *env) {
	q := e.newQueue()
	s := e.session(q)
	errStop := errors.New("queuetest: the caller has to stop")

	ended, cancel := context.WithCancelCause(context.Background())
	cancel(errStop)
	var got []queue.Delivery
	var err error
	e.must("Receive with a context that has ended", func(context.Context) { got, err = s.s.Receive(ended, "a", 1) })
	require.ErrorIs(e, err, errStop, "Receive with a context that has ended: want its cause")
	require.Empty(e, got)

	s.admit(e.message("a", e.in(1000)))
	ctx, cancel := context.WithCancelCause(context.Background())
	done := e.start(func() { got, err = s.s.Receive(ctx, "a", 1) })
	e.waits(done, "Receive")
	began := time.Now()
	cancel(errStop)
	if !e.inTime(func() { <-done }) {
		e.Errorf("Receive is deaf to its context")
		e.FailNow()
	}
	require.ErrorIs(e, err, errStop, "want the cause of the context")
	require.Empty(e, got)
	if took := time.Since(began); !e.suite.WallClock && took > 0 {
		e.Errorf("Receive returned %v after its context ended, want at once", took)
	}

	ctx, stop := context.WithTimeoutCause(context.Background(), e.step, errStop)
	defer stop()
	e.must("Receive with a deadline", func(context.Context) { got, err = s.s.Receive(ctx, "a", 1) })
	require.ErrorIs(e, err, errStop, "want the cause of the deadline")

	s.admit(e.message("a", time.Time{}))
	s.receiveOne("a") // the session goes on, and nobody else has it
}

// receiveLimit: never more than asked for, and less than one is an error.
func receiveLimit(e *env) {
	q := e.newQueue()
	s := e.session(q)
	const n = 50
	want := e.messages("a", n)
	s.admit(want...)
	for _, limit := range []int{0, -1, math.MinInt} {
		var got []queue.Delivery
		var err error
		e.must("Receive with a limit below 1", func(ctx context.Context) { got, err = s.s.Receive(ctx, "a", limit) })
		if err == nil || errors.Is(err, errPatience) || len(got) > 0 {
			e.Errorf("Receive with limit %d: %d deliveries, error %v; want an error at once", limit, len(got), err)
		}
	}
	var got []queue.Delivery
	for _, limit := range []int{1, 2, 7} {
		got = append(got, s.receive("a", limit)...)
	}
	for len(got) < n {
		got = append(got, s.receive("a", math.MaxInt)...)
	}
	e.sameIDs(want, got)
	s.nothing("a")
}

// neverNothing: many who wait for few messages. Whoever is woken and finds
// nothing left must go on waiting.
func neverNothing(e *env) {
	q := e.newQueue()
	const receivers, rounds = 8, 30
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	errEnough := errors.New("queuetest: enough")
	var taken atomic.Int32
	feeder := e.session(q)
	finished := e.start(func() {
		for range rounds {
			_ = feeder.s.Commit(ctx, nil, e.message("a", time.Time{}), e.message("a", time.Now().Add(time.Millisecond)))
		}
	})
	e.together(receivers, func(i int) {
		s, err := q.Open(context.WithoutCancel(ctx))
		if err != nil {
			e.Errorf("Open: %v", err)
			return
		}
		defer s.Close()
		for {
			ds, err := s.Receive(ctx, "a", 1+i%3)
			if err == nil && len(ds) == 0 {
				e.Errorf("Receive returned neither a message nor an error")
				cancel(errEnough)
			}
			if err != nil {
				if context.Cause(ctx) == nil {
					e.Errorf("Receive: %v", err)
				}
				return
			}
			if err := s.Commit(context.WithoutCancel(ctx), ds); err != nil {
				e.Errorf("Commit: %v", err)
			}
			if taken.Add(int32(len(ds))) == 2*rounds {
				cancel(errEnough)
			}
		}
	})
	<-finished
}

// order: earliest due first, equal ones in order of arrival, whether they waited
// or were due from the beginning, and whichever way they came.
func order(e *env) {
	q := e.newQueue()
	s := e.session(q)

	// Future instants, admitted in a shuffled order, many of them equal.
	const n = 60
	base := e.in(2)
	type arrival struct {
		m   queue.Message
		seq int
	}
	var all []arrival
	for i := range n {
		m := e.message("a", base.Add(time.Duration(e.rand.IntN(8))*10*time.Millisecond))
		s.admit(m)
		all = append(all, arrival{m, i})
	}
	slices.SortFunc(all, func(x, y arrival) int {
		if c := x.m.Due.Compare(y.m.Due); c != 0 {
			return c
		}
		return x.seq - y.seq
	})
	time.Sleep(time.Until(base) + e.step)
	want := make([]queue.Message, n)
	for i := range all {
		want[i] = all[i].m
	}
	got := s.receiveAll("a", n)
	e.inOrder(want, got)

	// Moves in one Commit: in the order of the call.
	to := make([]queue.Message, n)
	for i := range got {
		to[i] = got[i].To("b", time.Time{})
	}
	require.NoError(e, s.commit(got, to...))
	e.inOrder(to, s.receiveAll("b", n))

	// What has been due for long goes before what is due since now.
	first, last := e.message("c", time.Now().Add(-time.Hour)), e.message("c", time.Time{})
	middle := e.message("c", time.Now().Add(-time.Minute))
	s.admit(last)
	s.admit(first, middle)
	e.inOrder([]queue.Message{first, middle, last}, s.receiveAll("c", 3))
}

// namesAreIndependent: names that look like parts of each other or like paths
// hold their own messages, and a full or blocked one delays no other.
func namesAreIndependent(e *env) {
	q := e.newQueue()
	s := e.session(q)
	names := []string{
		"a", "A", "aa", "a/", "/a", "a b", "line/token@https://api.github.com#core",
		"line/token@https://api.github.com#search", "analyze", "analyze-error", "\u00e9", "e\u0301", "%2F", "..", "-",
	}
	want := map[string]queue.Message{}
	for i, name := range names {
		m := e.message(name, time.Time{})
		want[name] = m
		s.admit(m, e.message(fmt.Sprintf("other %d", i), e.in(1)))
	}
	e.together(len(names), func(i int) {
		ctx, cancel := context.WithTimeoutCause(context.Background(), e.patience, errPatience)
		defer cancel()
		got, err := s.s.Receive(ctx, names[i], 10)
		switch {
		case err != nil:
			e.Errorf("Receive from %q: %v", names[i], err)
		case len(got) != 1 || got[0].Resource.ID != want[names[i]].Resource.ID:
			e.Errorf("Receive from %q delivered %d, the first: %s", names[i], len(got), describe(got[0].Message))
		}
	})
	for _, name := range names {
		s.nothing(name)
	}
}

// oneHolderAtATime: many sessions receive from one name at once. No message is
// ever in two hands, and after the last each one was handled as often as it was
// admitted and moved.
func oneHolderAtATime(e *env) {
	q := e.newQueue()
	const sessions, count, moves = 6, 60, 4
	want := e.messages("a", count)
	e.session(q).admit(want...)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	errEnough := errors.New("queuetest: enough")
	var (
		holders sync.Map
		handled = map[resource.ID]int{}
		mu      sync.Mutex
		left    atomic.Int32
	)
	left.Store(count)
	take := func(worker int, d queue.Delivery) {
		id := d.Resource.ID
		if other, held := holders.LoadOrStore(id, worker); held {
			e.Errorf("resource %v is in the hands of %d and of %v", id, worker, other)
		}
	}
	handle := func(s queue.Session, worker int, d queue.Delivery) error {
		id := d.Resource.ID
		mu.Lock()
		handled[id]++
		times := handled[id]
		mu.Unlock()
		if worker%2 == 0 {
			time.Sleep(time.Microsecond) // lets others meet it in our hands
		}
		holders.Delete(id)
		if times < moves {
			return s.Commit(context.WithoutCancel(ctx), []queue.Delivery{d}, d.To("a", time.Time{}))
		}
		err := s.Commit(context.WithoutCancel(ctx), []queue.Delivery{d})
		if left.Add(-1) == 0 {
			cancel(errEnough)
		}
		return err
	}
	// Nobody goes on before all have something in hand, as far as the queue gives
	// something to all.
	met, missing := make(chan struct{}), atomic.Int32{}
	missing.Store(sessions)
	meet := func() {
		if missing.Add(-1) == 0 {
			close(met)
		}
		select {
		case <-met:
		case <-time.After(e.step):
		}
	}
	e.together(sessions, func(worker int) {
		first := sync.OnceFunc(meet)
		s, err := q.Open(context.WithoutCancel(ctx))
		if err != nil {
			e.Errorf("Open: %v", err)
			return
		}
		defer s.Close()
		for {
			limit, stop := context.WithTimeoutCause(ctx, e.patience, errPatience)
			ds, err := s.Receive(limit, "a", 1+worker)
			stop()
			if err != nil {
				if context.Cause(ctx) == nil {
					e.Errorf("Receive: %v", err)
					cancel(errEnough)
				}
				return
			}
			for _, d := range ds {
				take(worker, d)
			}
			first()
			for _, d := range ds {
				if err := handle(s, worker, d); err != nil {
					e.Errorf("Commit: %v", err)
				}
			}
		}
	})
	for _, m := range want {
		if times := handled[m.Resource.ID]; times != moves {
			e.Errorf("resource %v was handled %d times, want %d", m.Resource.ID, times, moves)
		}
	}
}
