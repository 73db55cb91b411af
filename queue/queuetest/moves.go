package queuetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// everyField: what a holder changed is what the next one sees, field by field,
// with a claim and without.
func everyField(e *env) {
	q := e.newQueue()
	s := e.session(q)
	m := e.message("a", time.Time{})
	s.admit(m)
	d := s.receiveOne("a")
	e.same(m, d.Message)
	if d.Redelivered {
		e.Errorf("the first delivery is marked Redelivered")
	}

	d.Resource.Claim(resource.NewOwner(), time.Now(), time.Now().Add(time.Minute))
	claimed := d.To("requests", time.Time{})
	claimed.Attempts = 7
	require.NoError(e, s.commit([]queue.Delivery{d}, claimed))
	d = s.receiveOne("requests")
	e.same(claimed, d.Message)

	fresh := e.resource()
	fresh.ID, fresh.Version = d.Resource.ID, d.Resource.Version
	d.Resource = fresh
	result := d.To("frozen-1000", e.in(1))
	require.NoError(e, s.commit([]queue.Delivery{d}, result))
	e.same(result, s.receiveOne("frozen-1000").Message)

	// The least that a resource may hold: everything else is empty.
	bare := resource.Resource{Spec: resource.Spec{ID: resource.NewID(), URI: "https://h/"}, Origin: "https://h"}
	s.admit(queue.Message{Queue: "a", Resource: bare})
	e.same(queue.Message{Queue: "a", Resource: bare}, s.receiveOne("a").Message)
}

// allOrNothing: one thing wrong with a Commit, and none of it happens.
func allOrNothing(e *env) {
	q := e.newQueue()
	s, other := e.session(q), e.session(q)
	in := e.messages("a", 3)
	s.admit(in...)
	held := s.receiveAll("a", 3)
	foreign := e.message("foreign", time.Time{})
	s.admit(foreign)
	theirs := other.receiveOne("foreign")
	waiting := e.message("waiting", e.in(1000))
	s.admit(waiting)

	moves := func() []queue.Message {
		to := make([]queue.Message, len(held))
		for i := range held {
			to[i] = held[i].To("b", time.Time{})
		}
		return to
	}
	fresh := e.message("b", time.Time{})
	bad := e.message("", time.Time{})
	for _, c := range []struct {
		name string
		done []queue.Delivery
		next []queue.Message
		want error
	}{
		{"a delivery of somebody else", append(slices.Clone(held), theirs), append(moves(), fresh), queue.ErrLost},
		{"an admission of what is in", held, append(moves(), fresh, waiting), queue.ErrExists},
		{"an admission of what we hold", held[:2], append(moves(), fresh), queue.ErrExists},
		{"a message that can never be held", held, append(moves(), fresh, bad), queue.ErrRefused},
		{"nothing but admissions", nil, []queue.Message{fresh, waiting}, queue.ErrExists},
	} {
		err := s.commit(c.done, c.next...)
		if !errors.Is(err, c.want) {
			e.Errorf("Commit with %s: error %v, want %v", c.name, err, c.want)
		}
		if got := s.receiveFor("b", 10, e.step); len(got) > 0 {
			e.Errorf("Commit with %s has happened in part: %d messages moved", c.name, len(got))
			e.FailNow()
		}
		e.absent(q, fresh.Resource.ID)
		s.nothing("a")
		other.nothing("foreign")
	}

	require.NoError(e, s.commit(held, append(moves(), fresh)...), "the same without what was wrong")
	e.inOrder(append(moves(), fresh), s.receiveAll("b", 4))
	other.move(theirs, "foreign", time.Time{})
	require.Equal(e, foreign.Resource.ID, other.receiveOne("foreign").Resource.ID)
}

// lostDeliveries: the error names exactly the deliveries that are not held, in the
// order of the call, and the rest can be committed without them.
func lostDeliveries(e *env) {
	q := e.newQueue()
	s, ended, other := e.session(q), e.session(q), e.session(q)
	s.admit(e.messages("mine", 4)...)
	mine := s.receiveAll("mine", 4)
	s.admit(e.messages("theirs", 2)...)
	theirs := other.receiveAll("theirs", 2)
	s.admit(e.messages("lost", 2)...)
	lost := ended.receiveAll("lost", 2)
	ended.close()
	again := other.receiveAll("lost", 2)
	unknown := queue.Delivery{Message: e.message("mine", time.Time{}), Receipt: 1 << 60}
	unknown.Resource.Version = 1

	done := []queue.Delivery{lost[1], mine[2], theirs[0], mine[0], unknown, lost[0], mine[1], theirs[1], mine[3]}
	var next []queue.Message
	for i := range done {
		next = append(next, done[i].To("b", time.Time{}))
	}
	next = slices.Delete(next, 4, 5) // a move of what was never in would be an admission too
	err := s.commit(done, next...)
	lostErr, ok := errors.AsType[*queue.LostError](err)
	if !ok {
		e.Errorf("Commit of deliveries that are not held: error %v, want a *LostError", err)
		e.FailNow()
	}
	require.ErrorIs(e, err, queue.ErrLost)
	require.Equal(e, []resource.ID{
		lost[1].Resource.ID, theirs[0].Resource.ID, unknown.Resource.ID, lost[0].Resource.ID, theirs[1].Resource.ID,
	}, lostErr.IDs, "the lost deliveries, in the order of the call")
	s.nothing("b")

	isLost := func(id resource.ID) bool { return slices.Contains(lostErr.IDs, id) }
	done = slices.DeleteFunc(done, func(d queue.Delivery) bool { return isLost(d.Resource.ID) })
	next = slices.DeleteFunc(next, func(m queue.Message) bool { return isLost(m.Resource.ID) })
	require.NoError(e, s.commit(done, next...), "the rest, without what was lost")
	e.inOrder(next, s.receiveAll("b", len(next)))
	e.absent(q, unknown.Resource.ID)

	for _, d := range append(theirs, again...) {
		other.move(d, "kept", time.Time{})
	}
	require.Len(e, other.receiveAll("kept", 4), 4, "what others hold is theirs still")
}

// retire: what is given up without a next message is gone, and may be admitted
// anew.
func retire(e *env) {
	q := e.newQueue()
	s := e.session(q)
	in := e.messages("a", 3)
	s.admit(in...)
	held := s.receiveAll("a", 3)
	require.NoError(e, s.commit(held, held[1].To("b", time.Time{})), "one moves, two retire")
	require.Equal(e, held[1].Resource.ID, s.receiveOne("b").Resource.ID)
	s.nothing("a")
	e.absent(q, held[0].Resource.ID)
	e.absent(q, held[2].Resource.ID)
	other := e.session(q)
	s.close() // what was retired doesn't return with the rest
	got := other.receiveFor("a", 10, e.step)
	require.Empty(e, got, "retired, and back with the end of the session")

	other.admit(in[0])
	e.same(in[0], other.receiveOne("a").Message)
}

// bury: an error queue is a queue; its messages keep their Cause and their
// Due, and come back out of it by a move.
func bury(e *env) {
	q := e.newQueue()
	s := e.session(q)
	s.admit(e.message("publish", time.Time{}))
	d := s.receiveOne("publish")
	buried := d.To("publish-error", time.Time{})
	buried.Cause = "the sink refused it: 3 attempts"
	buried.Attempts = 3
	require.NoError(e, s.commit([]queue.Delivery{d}, buried))
	s.nothing("publish")
	d = s.receiveOne("publish-error")
	e.same(buried, d.Message)

	s.close() // and it stays buried with its cause if its holder ends
	s = e.session(q)
	d = s.receiveOne("publish-error")
	e.same(buried, d.Message)
	s.move(d, "publish", time.Time{})
	if d = s.receiveOne("publish"); d.Cause != "" {
		e.Errorf("Cause %q has survived To", d.Cause)
	}
}

// manyAtOnce: one Commit with many moves, admissions and retirements.
func manyAtOnce(e *env) {
	q := e.newQueue()
	s := e.session(q)
	const n = 1000
	in := e.messages("a", n)
	s.admit(in...)
	held := s.receiveAll("a", n)
	e.inOrder(in, held)
	var next []queue.Message
	for i := range held {
		if i%10 != 0 {
			next = append(next, held[i].To(fmt.Sprintf("b%d", i%10), time.Time{}))
		}
	}
	fresh := e.messages("b0", n/10)
	next = append(next, fresh...)
	require.NoError(e, s.commit(held, next...))
	for digit := range 10 {
		var want []queue.Message
		for _, m := range next {
			if m.Queue == fmt.Sprintf("b%d", digit) {
				want = append(want, m)
			}
		}
		got := s.receiveAll(want[0].Queue, len(want))
		e.inOrder(want, got)
		s.retire(got...)
	}
	for i := 0; i < n; i += 10 {
		e.absent(q, held[i].Resource.ID)
	}
}
