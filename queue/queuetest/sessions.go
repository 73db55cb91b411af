package queuetest

import (
	"context"
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
)

// gaveBack checks that what a session had in hand when it ended is delivered to
// others now, marked, and as it was.
func (e *env) gaveBack(q queue.Queue, name string, held []queue.Delivery) {
	e.Helper()
	e.settle()
	began := time.Now()
	s := e.session(q)
	got := s.receiveAll(name, len(held))
	if took := time.Since(began); !e.suite.WallClock && took > 0 {
		e.Errorf("deliveries of a session that ended came back after %v, want at once", took)
	}
	want := map[string]queue.Delivery{}
	for _, d := range held {
		want[d.Resource.ID.String()] = d
	}
	for _, d := range got {
		was, ok := want[d.Resource.ID.String()]
		require.True(e, ok, "delivered a resource that the session never held, or one twice: %v", d.Resource.ID)
		delete(want, d.Resource.ID.String())
		e.same(was.Message, d.Message)
		require.Equal(e, was.Resource.Version, d.Resource.Version, "a redelivery is no move")
		if !d.Redelivered {
			e.Errorf("resource %v came back from a session that ended, and isn't marked Redelivered", d.Resource.ID)
		}
	}
	// The mark belongs to the hands it went through, not to the message.
	s.move(got[0], "marked", time.Time{})
	if d := s.receiveOne("marked"); d.Redelivered {
		e.Errorf("still marked Redelivered after a move")
	}
}

// sessionEndsByClose: only what was not committed comes back, and a Close of the
// session that is repeated is no error.
func sessionEndsByClose(e *env) {
	q := e.newQueue()
	s := e.session(q)
	s.admit(e.messages("a", 5)...)
	held := s.receiveAll("a", 5)
	s.move(held[0], "b", time.Time{})
	s.retire(held[1])
	s.close()
	s.close()
	e.gaveBack(q, "a", held[2:])
	require.Equal(e, held[0].Resource.ID, e.session(q).receiveOne("b").Resource.ID)
}

// sessionEndsByContext: the end of the context that the session was opened with
// is its end, without anybody calling anything, and also for those who wait.
func sessionEndsByContext(e *env) {
	q := e.newQueue()
	ctx, cancel := context.WithCancel(context.Background())
	s := e.sessionIn(ctx, q)
	s.admit(e.messages("a", 3)...)
	held := s.receiveAll("a", 3)
	var err error
	done := e.start(func() { _, err = s.s.Receive(context.Background(), "empty", 1) })
	other := e.session(q)
	var got []queue.Delivery
	var otherErr error
	otherDone := e.start(func() { got, otherErr = other.s.Receive(context.Background(), "a", 3) })
	e.waits(done, "Receive")
	e.waits(otherDone, "Receive while another session holds all")

	ended := time.Now()
	cancel()
	if !e.inTime(func() { <-done; <-otherDone }) {
		e.Errorf("a session whose context has ended goes on waiting, or keeps what it held")
		e.FailNow()
	}
	if took := time.Since(ended); !e.suite.WallClock && took > 0 {
		e.Errorf("what a session held came to the one that waits for it %v after its end, want at once", took)
	}
	require.ErrorIs(e, err, queue.ErrSession, "Receive in a session whose context has ended")
	require.NoError(e, otherErr)
	require.NotEmpty(e, got)
	other.close()
	e.gaveBack(q, "a", held)
	s.close()
}

// sessionEndsByPanic: a holder that panics and closes by defer, as every
// service run does, gives back what it held.
func sessionEndsByPanic(e *env) {
	q := e.newQueue()
	e.session(q).admit(e.messages("a", 3)...)
	var held []queue.Delivery
	done := make(chan any)
	go func() {
		defer func() { done <- recover() }()
		s, err := q.Open(context.Background())
		if err != nil {
			panic(err)
		}
		defer s.Close()
		for len(held) < 3 {
			ds, err := s.Receive(context.Background(), "a", 3)
			if err != nil {
				panic(err)
			}
			held = append(held, ds...)
		}
		panic(errHolder)
	}()
	var p any
	if !e.inTime(func() { p = <-done }) {
		e.Errorf("a holder that panics never comes to its end")
		e.FailNow()
	}
	require.Equal(e, errHolder, p)
	e.gaveBack(q, "a", held)
}

var errHolder = errors.New("queuetest: the holder fails")

// redeliveredNeverEarly: a message that a session took before its time, or that
// became due in its hands, returns with its due instant.
func redeliveredNeverEarly(e *env) {
	q := e.newQueue()
	s := e.session(q)
	taker, ok := s.s.(queue.Taker)
	if !ok {
		e.Skipf("the sessions have no Taker: nothing can be held before it is due")
	}
	m := e.message("a", e.in(5))
	s.admit(m)
	_, err := take(e, taker, m.Resource.ID)
	require.NoError(e, err)
	s.close()
	s = e.session(q)
	d := s.receiveOne("a") // never early: checked on receipt
	e.same(m, d.Message)
	require.True(e, d.Redelivered, "a message that was taken and given back comes marked")
}

// endedSession: after its end every call says so; nothing of it reaches the
// queue, and the queue goes on.
func endedSession(e *env) {
	q := e.newQueue()
	byClose := e.session(q)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	byContext := e.sessionIn(ctx, q)
	for _, s := range []*session{byClose, byContext} {
		s.admit(e.message("a", time.Time{}))
		d := s.receiveOne("a")
		if s == byClose {
			s.close()
		} else {
			cancel()
			e.settle()
		}
		fresh := e.message("b", time.Time{})
		_, err := s.s.Receive(context.Background(), "a", 1)
		require.ErrorIs(e, err, queue.ErrSession, "Receive after the end of the session")
		require.ErrorIs(e, s.commit([]queue.Delivery{d}, d.To("b", time.Time{})), queue.ErrSession, "a move after the end")
		require.ErrorIs(e, s.commit([]queue.Delivery{d}), queue.ErrSession, "a retirement after the end")
		require.ErrorIs(e, s.commit(nil, fresh), queue.ErrSession, "an admission after the end")
		if taker, ok := s.s.(queue.Taker); ok {
			_, err := take(e, taker, d.Resource.ID)
			require.ErrorIs(e, err, queue.ErrSession, "Take after the end")
		}
		e.absent(q, fresh.Resource.ID)
		next := e.session(q)
		next.nothing("b")
		got := next.receiveOne("a")
		require.Equal(e, d.Resource.ID, got.Resource.ID)
		next.retire(got)
	}

	ended, end := context.WithCancelCause(context.Background())
	end(errHolder)
	_, err := q.Open(ended)
	if !errors.Is(err, errHolder) && !errors.Is(err, context.Canceled) {
		e.Errorf("Open with a context that has ended: error %v, want its end", err)
	}
}

// closeOfTheQueue: it lets go of everybody who waits, and says so ever after.
func closeOfTheQueue(e *env) {
	q := e.newQueue()
	s := e.session(q)
	s.admit(e.message("a", time.Time{}), e.message("far", e.in(1000)))
	d := s.receiveOne("a")
	names := []string{"a", "far", "empty"}
	errs := make([]error, len(names))
	var waiting []<-chan struct{}
	for i, name := range names {
		done := e.start(func() { _, errs[i] = s.s.Receive(context.Background(), name, 1) })
		e.waits(done, "Receive")
		waiting = append(waiting, done)
	}
	var err error
	e.must("Close of the queue", func(context.Context) { err = q.Close() })
	require.NoError(e, err)
	for i, done := range waiting {
		if !e.inTime(func() { <-done }) {
			e.Errorf("Close of the queue doesn't unblock Receive from %q", names[i])
			e.FailNow()
		}
		require.ErrorIs(e, errs[i], queue.ErrClosed, "Receive from %q when the queue is closed", names[i])
	}
	_, err = s.s.Receive(context.Background(), "a", 1)
	require.ErrorIs(e, err, queue.ErrClosed, "Receive after Close")
	require.ErrorIs(e, s.commit([]queue.Delivery{d}, d.To("b", time.Time{})), queue.ErrClosed, "Commit after Close")
	require.ErrorIs(e, s.commit(nil, e.message("b", time.Time{})), queue.ErrClosed, "an admission after Close")
	_, err = q.Open(context.Background())
	require.ErrorIs(e, err, queue.ErrClosed, "Open after Close")
	if f, ok := queue.As[queue.Finder](q); ok {
		_, _, err := find(e, f, d.Resource.ID)
		require.ErrorIs(e, err, queue.ErrClosed, "Find after Close")
	}
	s.close()
	e.must("Close, again", func(context.Context) { err = q.Close() })
	require.NoError(e, err, "closing twice is no error")
}
