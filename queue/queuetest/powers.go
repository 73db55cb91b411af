package queuetest

import (
	"context"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

func find(e *env, f queue.Finder, id resource.ID) (m queue.Message, held bool, err error) {
	e.Helper()
	e.must("Find", func(ctx context.Context) { m, held, err = f.Find(ctx, id) })
	return m, held, err
}

func take(e *env, t queue.Taker, id resource.ID) (d queue.Delivery, err error) {
	e.Helper()
	e.must("Take", func(ctx context.Context) { d, err = t.Take(ctx, id) })
	return d, err
}

// finder: a resource is found wherever it is, as it is, and only where it is.
func finder(e *env) {
	q := e.newQueue()
	f, ok := queue.As[queue.Finder](q)
	if !ok {
		e.Skipf("the queue has no Finder")
	}
	s := e.session(q)
	m := e.message("a", e.in(3))
	s.admit(m)
	s.admit(e.messages("a", 3)...)
	look := func(want queue.Message, wantHeld bool) {
		e.Helper()
		got, held, err := find(e, f, want.Resource.ID)
		require.NoError(e, err)
		require.Equal(e, wantHeld, held, "held, of a message in %q", want.Queue)
		e.same(want, got)
	}
	look(m, false)
	s.receiveAll("a", 3)
	d := s.receiveOne("a")
	look(m, true)
	next := d.To("b", e.in(2))
	next.Cause, next.Attempts = "why", 9
	require.NoError(e, s.commit([]queue.Delivery{d}, next))
	look(next, false)
	d = s.receiveOne("b")
	got, _, err := find(e, f, d.Resource.ID)
	require.NoError(e, err)
	require.Equal(e, d.Resource.Version, got.Resource.Version)
	spoil(&got)
	look(next, true)
	s.close()
	look(next, false)
	s = e.session(q)
	s.retire(s.receiveOne("b"))
	_, _, err = find(e, f, d.Resource.ID)
	require.ErrorIs(e, err, queue.ErrNotFound, "Find of what was retired")
	_, _, err = find(e, f, resource.NewID())
	require.ErrorIs(e, err, queue.ErrNotFound, "Find of what never was in")
}

// taker: one resource out of turn, due or not, under the same rules as Receive.
func taker(e *env) {
	q := e.newQueue()
	s, other := e.session(q), e.session(q)
	t, ok := s.s.(queue.Taker)
	if !ok {
		e.Skipf("the sessions have no Taker")
	}
	far, ready := e.message("far", e.in(1000)), e.message("ready", time.Time{})
	s.admit(far, ready)
	s.admit(e.messages("ready", 2)...)
	for _, m := range []queue.Message{far, ready} {
		d, err := take(e, t, m.Resource.ID)
		require.NoError(e, err)
		e.same(m, d.Message)
		_, err = take(e, t, m.Resource.ID)
		require.ErrorIs(e, err, queue.ErrHeld, "Take of what we hold")
		_, err = take(e, other.s.(queue.Taker), m.Resource.ID)
		require.ErrorIs(e, err, queue.ErrHeld, "Take of what another session holds")
		next := d.To(m.Queue, m.Due)
		next.Attempts = m.Attempts
		require.NoError(e, s.commit([]queue.Delivery{d}, next))
	}
	_, err := take(e, t, resource.NewID())
	require.ErrorIs(e, err, queue.ErrNotFound)

	d, err := take(e, t, far.Resource.ID)
	require.NoError(e, err)
	s.close() // taken and not committed: back as anything else
	d2, err := take(e, other.s.(queue.Taker), far.Resource.ID)
	require.NoError(e, err)
	require.True(e, d2.Redelivered)
	require.Equal(e, d.Resource.Version, d2.Resource.Version)
	other.retire(d2)
	require.Len(e, other.receiveAll("ready", 3), 3, "those that were not taken, and the one that went back")
	other.nothing("ready")
	other.nothing("far")
}

// depther: the counters add up at every stage.
func depther(e *env) {
	q := e.newQueue()
	p, ok := queue.As[queue.Depther](q)
	if !ok {
		e.Skipf("the queue has no Depther")
	}
	s := e.session(q)
	soon, later := e.in(2), e.in(10)
	check := func(when string, until time.Time, want ...queue.Depth) {
		e.Helper()
		e.settle()
		var got []queue.Depth
		var err error
		e.must("Depths", func(ctx context.Context) { got, err = p.Depths(ctx) })
		require.NoError(e, err)
		if e.past(until) {
			return // what was waiting is due by now
		}
		for i := range got {
			if i < len(want) && e.sameInstant(want[i].Next, got[i].Next) {
				got[i].Next = want[i].Next
			}
		}
		require.Equal(e, want, got, "depths %s", when)
	}
	s.admit(e.message("b", soon), e.message("b", later), e.message("a", time.Time{}), e.message("a", time.Time{}))
	check("after admissions", soon,
		queue.Depth{Name: "a", Ready: 2},
		queue.Depth{Name: "b", Waiting: 2, Next: soon})
	a := s.receiveAll("a", 2)
	b := s.receiveOne("b")
	check("with three held", later,
		queue.Depth{Name: "a", Held: 2},
		queue.Depth{Name: "b", Waiting: 1, Held: 1, Next: later})
	publish := a[0].To("publish", time.Time{})
	publish.Response = response(a[0].Resource)
	require.NoError(e, s.commit(a[:1], publish))
	size := publish.Response.Size()
	check("with an answer to publish", later,
		queue.Depth{Name: "a", Held: 1},
		queue.Depth{Name: "b", Waiting: 1, Held: 1, Next: later},
		queue.Depth{Name: "publish", Ready: 1, Bodies: size})
	p1 := s.receiveOne("publish")
	check("with an answer in hand", later,
		queue.Depth{Name: "a", Held: 1},
		queue.Depth{Name: "b", Waiting: 1, Held: 1, Next: later},
		queue.Depth{Name: "publish", Held: 1, Bodies: size})
	s.retire(p1)
	s.move(b, "a", e.in(20))
	s.close()
	s = e.session(q)
	s.retire(s.receiveOne("a"))
	far := s.receiveOne("b")
	s.retire(far)
	s.retire(s.receiveOne("a"))
	check("when all are retired", time.Time{},
		queue.Depth{Name: "a"}, queue.Depth{Name: "b"}, queue.Depth{Name: "publish"})
}

// stater: resources are counted in the state that they are in, whoever holds them.
func stater(e *env) {
	q := e.newQueue()
	p, ok := queue.As[queue.Stater](q)
	if !ok {
		e.Skipf("the queue has no Stater")
	}
	s := e.session(q)
	check := func(when string, want map[resource.State]int) {
		e.Helper()
		e.settle()
		var got map[resource.State]int
		var err error
		e.must("States", func(ctx context.Context) { got, err = p.States(ctx) })
		require.NoError(e, err)
		for _, state := range resource.States() {
			require.Equal(e, want[state], got[state], "resources in state %v %s", state, when)
		}
	}
	all := e.messages("a", 3)
	for i := range all {
		all[i].Resource.State = resource.Idle
	}
	all[2].Resource.State = resource.Parked
	s.admit(all...)
	check("after admissions", map[resource.State]int{resource.Idle: 2, resource.Parked: 1})
	held := s.receiveAll("a", 3)
	check("while held", map[resource.State]int{resource.Idle: 2, resource.Parked: 1})
	next := held[0].To("b", time.Time{})
	next.Resource.State = resource.WaitingForInterval
	require.NoError(e, s.commit(held[:2], next))
	var left resource.State
	for _, d := range held[2:] {
		left = d.Resource.State
	}
	want := map[resource.State]int{resource.WaitingForInterval: 1}
	want[left]++
	check("after a move and a retirement", want)
}

// lister: pages by id, of everything that is there, whoever holds it.
func lister(e *env) {
	q := e.newQueue()
	l, ok := queue.As[queue.Lister](q)
	if !ok {
		e.Skipf("the queue has no Lister")
	}
	s := e.session(q)
	list := func(name string, after resource.ID, limit int) (ms []queue.Message) {
		e.Helper()
		var err error
		e.must("List", func(ctx context.Context) { ms, err = l.List(ctx, name, after, limit) })
		require.NoError(e, err)
		require.LessOrEqual(e, len(ms), limit)
		return ms
	}
	const n = 25
	var want []queue.Message
	for i := range n {
		m := e.message("publish-error", time.Time{})
		if i%3 == 0 {
			m.Due = e.in(1000)
		}
		m.Cause = "the sink refused it"
		m.Response = response(m.Resource)
		want = append(want, m)
	}
	s.admit(want...)
	s.admit(e.messages("other", 5)...)
	s.receive("publish-error", 4)
	for i := range want {
		want[i].Response = nil
	}
	slices.SortFunc(want, func(a, b queue.Message) int { return slices.Compare(a.Resource.ID[:], b.Resource.ID[:]) })

	for _, page := range []int{1, 7, n, n + 1} {
		var got []queue.Message
		var after resource.ID
		for {
			ms := list("publish-error", after, page)
			if len(ms) == 0 {
				break
			}
			got = append(got, ms...)
			after = ms[len(ms)-1].Resource.ID
			require.LessOrEqual(e, len(got), n, "pages of %d go on for ever", page)
		}
		require.Len(e, got, n, "in pages of %d", page)
		for i := range got {
			e.same(want[i], got[i])
		}
	}
	require.Empty(e, list("nobody", resource.ID{}, 10))
}
