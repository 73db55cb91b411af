package queuetest

import (
	"context"
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
)

// movesNeverWait: in a queue that is full to the last place, everything that is
// in goes round, by one and by many, to names new and old.
func movesNeverWait(e *env) {
	const room = 8
	q := e.newRoom(room)
	s := e.session(q)
	s.admit(e.messages("a", room)...)
	names := []string{"a", "b", "c", "a"}
	for i := range 3 {
		held := s.receiveAll(names[i], room)
		for _, d := range held[:3] {
			s.move(d, names[i+1], time.Time{})
		}
		var next []queue.Message
		for _, d := range held[3:] {
			next = append(next, d.To(names[i+1], time.Time{}))
		}
		require.NoError(e, s.commit(held[3:], next...))
	}
	require.Len(e, s.receiveAll("a", room), room)
}

// admissionsWait: an admission into a full queue waits until there is room, or
// until its context ends, and then nothing of it is in.
func admissionsWait(e *env) {
	const room = 4
	q := e.newRoom(room)
	s := e.session(q)
	s.admit(e.messages("a", room)...)
	errStop := errors.New("queuetest: waited long enough")

	late := e.message("late", time.Time{})
	ctx, cancel := context.WithCancelCause(context.Background())
	var err error
	done := e.start(func() { err = s.s.Commit(ctx, nil, late) })
	e.waits(done, "an admission into a full queue")
	cancel(errStop)
	if !e.inTime(func() { <-done }) {
		e.Errorf("an admission that waits for room is deaf to its context")
		e.FailNow()
	}
	require.ErrorIs(e, err, errStop, "want the cause of the context")
	e.absent(q, late.Resource.ID)

	done = e.start(func() { err = s.s.Commit(context.Background(), nil, late) })
	e.waits(done, "an admission into a full queue")
	s.move(s.receiveOne("a"), "b", time.Time{}) // makes no room, and needs none
	e.waits(done, "an admission into a full queue, after a move")
	s.retire(s.receiveOne("b"))
	if !e.inTime(func() { <-done }) {
		e.Errorf("an admission goes on waiting though a message was retired")
		e.FailNow()
	}
	require.NoError(e, err)
	require.Equal(e, late.Resource.ID, s.receiveOne("late").Resource.ID)

	// An exchange needs no room beyond what it gives up itself.
	d := s.receiveOne("a")
	fresh := e.message("fresh", time.Time{})
	require.NoError(e, s.commit([]queue.Delivery{d}, fresh), "retire one, admit one")
	require.Equal(e, fresh.Resource.ID, s.receiveOne("fresh").Resource.ID)
}

// closeEndsWaitForRoom: for the whole queue and for the session alone.
func closeEndsWaitForRoom(e *env) {
	q := e.newRoom(1)
	s, other := e.session(q), e.session(q)
	s.admit(e.message("a", time.Time{}))
	var errs [2]error
	for i, end := range []struct {
		in    *session
		close func()
		want  error
	}{
		{other, other.close, queue.ErrSession},
		{s, func() { e.must("Close of the queue", func(context.Context) { _ = q.Close() }) }, queue.ErrClosed},
	} {
		m := e.message("a", time.Time{})
		done := e.start(func() { errs[i] = end.in.s.Commit(context.Background(), nil, m) })
		e.waits(done, "an admission into a full queue")
		end.close()
		if !e.inTime(func() { <-done }) {
			e.Errorf("an admission waits for room after %v", end.want)
			e.FailNow()
		}
		require.ErrorIs(e, errs[i], end.want)
	}
}
