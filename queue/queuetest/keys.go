package queuetest

import (
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// admitTwice: a second admission names what is in already and changes nothing,
// wherever the first one is by now.
func admitTwice(e *env) {
	q := e.newQueue()
	s, other := e.session(q), e.session(q)
	m := e.message("a", time.Time{})
	m.Attempts = 5
	s.admit(m)
	intruder := e.message("b", time.Time{})
	intruder.Resource.ID = m.Resource.ID
	bystander := e.message("b", time.Time{})

	refuse := func(where string) {
		e.Helper()
		err := other.commit(nil, bystander, intruder)
		exists, ok := errors.AsType[*queue.ExistsError](err)
		if !ok {
			e.Errorf("admission of a resource that is %s: error %v, want an *ExistsError", where, err)
			e.FailNow()
		}
		require.ErrorIs(e, err, queue.ErrExists)
		require.Equal(e, []resource.ID{m.Resource.ID}, exists.IDs, "exactly the one that is in already")
		other.nothing("b")
		e.absent(q, bystander.Resource.ID)
	}
	refuse("ready")
	d := s.receiveOne("a")
	e.same(m, d.Message)
	refuse("held")
	s.move(d, "far", e.in(3))
	refuse("waiting")
	d = s.receiveOne("far")
	m.Queue, m.Due = d.Queue, d.Due
	e.same(m, d.Message)
	s.retire(d)
	other.admit(bystander, intruder) // and now it may come in
	e.inOrder([]queue.Message{bystander, intruder}, other.receiveAll("b", 2))
}

// oneMessagePerResource: twice the same resource in one Commit is refused, and a
// race of admissions has one winner.
func oneMessagePerResource(e *env) {
	q := e.newQueue()
	s := e.session(q)
	m := e.message("a", time.Time{})
	twin := m
	twin.Queue = "b"
	err := s.commit(nil, m, twin)
	if !errors.Is(err, queue.ErrRefused) && !errors.Is(err, queue.ErrExists) {
		e.Errorf("the same resource twice in one admission: error %v, want ErrRefused or ErrExists", err)
	}
	s.nothing("a")
	s.nothing("b")

	s.admit(m)
	d := s.receiveOne("a")
	err = s.commit([]queue.Delivery{d}, d.To("a", time.Time{}), d.To("b", time.Time{}))
	if !errors.Is(err, queue.ErrRefused) && !errors.Is(err, queue.ErrExists) {
		e.Errorf("one delivery moved to two places: error %v, want ErrRefused or ErrExists", err)
	}
	s.nothing("a")
	s.nothing("b")
	s.retire(d)

	const racers = 8
	won := make([]error, racers)
	e.together(racers, func(i int) {
		race := m
		race.Queue = []string{"a", "b"}[i%2]
		won[i] = s.s.Commit(e.t.Context(), nil, race)
	})
	winners := 0
	for _, err := range won {
		if err == nil {
			winners++
		} else if !errors.Is(err, queue.ErrExists) {
			e.Errorf("admission that lost the race: error %v, want ErrExists", err)
		}
	}
	got := append(s.receiveFor("a", 10, e.step), s.receiveFor("b", 10, e.step)...)
	if winners != 1 || len(got) != 1 {
		e.Errorf("%d of %d racing admissions won and %d messages came out, want 1 and 1", winners, racers, len(got))
	}
}

// versionRises: by one with each move, from 0 at the admission, and not with a
// redelivery.
func versionRises(e *env) {
	q := e.newQueue()
	s := e.session(q)
	s.admit(e.message("a", time.Time{}))
	for want := int64(1); want <= 5; want++ {
		d := s.receiveOne("a")
		require.Equal(e, want, d.Resource.Version, "version after %d commits", want)
		s.close()
		s = e.session(q)
		d = s.receiveOne("a")
		require.Equal(e, want, d.Resource.Version, "version of the redelivery")
		next := d.To("a", time.Time{})
		require.Equal(e, want, next.Resource.Version, "a message to commit carries the version that was received")
		require.NoError(e, s.commit([]queue.Delivery{d}, next))
		require.Equal(e, want, next.Resource.Version, "Commit has changed the caller's value")
	}
}

// repeatIsHarmless: the same Commit again, as after an unknown outcome, moves
// nothing and disturbs nobody, however far the message has come meanwhile.
func repeatIsHarmless(e *env) {
	q := e.newQueue()
	s := e.session(q)
	in := e.messages("a", 3)
	s.admit(in...)
	held := s.receiveAll("a", 3)
	next := []queue.Message{held[0].To("b", time.Time{}), held[1].To("far", e.in(3)), held[2].To("c", time.Time{})}
	require.NoError(e, s.commit(held, next...))
	require.NoError(e, s.commit(held, next...), "the same Commit again")
	b := s.receiveOne("b")
	require.NoError(e, s.commit(held, next...), "the same Commit, when one of its messages is held again")
	s.move(b, "d", time.Time{})
	require.NoError(e, s.commit(held, next...), "the same Commit, when one of its messages has moved on")

	s.nothing("b")
	d := s.receiveOne("d")
	require.EqualValues(e, 3, d.Resource.Version)
	far := s.receiveOne("far")
	require.True(e, e.sameInstant(next[1].Due, far.Due), "Due of a message is %v after a repeat, want %v", far.Due, next[1].Due)
	c := s.receiveOne("c")
	for _, name := range []string{"a", "b", "c", "d", "far"} {
		s.nothing(name)
	}

	// A repeated retirement finds nothing, or says so. It brings nothing back.
	gone := []queue.Delivery{c, d, far}
	s.retire(gone...)
	if err := s.commit(gone); err != nil {
		require.ErrorIs(e, err, queue.ErrLost, "the same retirement again")
	}
	// A repeated admission is told that the resource is in.
	m := e.message("a", time.Time{})
	s.admit(m)
	require.ErrorIs(e, s.commit(nil, m), queue.ErrExists)
	require.Equal(e, m.Resource.ID, s.receiveOne("a").Resource.ID)
	s.nothing("a")
}

// oldDelivery: whoever lost a message can't move it any more, neither while
// another session holds it nor after that has moved it, and not with an older
// delivery of its own.
func oldDelivery(e *env) {
	q := e.newQueue()
	first, second, third := e.session(q), e.session(q), e.session(q)
	first.admit(e.message("a", time.Time{}))
	old := []queue.Delivery{first.receiveOne("a")}
	first.close()
	d := second.receiveOne("a")
	stolen := old[0].To("stolen", time.Time{})

	require.ErrorIs(e, first.commit(old, stolen), queue.ErrSession, "the session that has ended")
	require.ErrorIs(e, third.commit(old, stolen), queue.ErrLost, "a session that never had it")
	require.ErrorIs(e, third.commit(old), queue.ErrLost, "retired by a session that never had it")
	third.nothing("stolen")
	second.move(d, "b", time.Time{})

	// The message is in b at version 2; both deliveries of version 1 are old.
	for _, s := range []*session{second, third} {
		for _, next := range [][]queue.Message{{stolen}, nil} {
			if err := s.commit(old, next...); err != nil {
				require.ErrorIs(e, err, queue.ErrLost, "an old delivery")
			}
		}
	}
	third.nothing("stolen")
	d2 := second.receiveOne("b")
	require.EqualValues(e, 2, d2.Resource.Version)

	// The holder's own delivery of a former visit.
	if err := second.commit([]queue.Delivery{d}, d.To("stolen", time.Time{})); err != nil {
		require.ErrorIs(e, err, queue.ErrLost)
	}
	third.nothing("stolen")
	second.move(d2, "c", time.Time{})
	d3 := third.receiveOne("c")
	require.EqualValues(e, 3, d3.Resource.Version)
	require.False(e, d3.Redelivered)
	third.retire(d3)
	e.absent(q, d3.Resource.ID)
}
