package queuetest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// entry is what the model knows of one message.
type entry struct {
	m       queue.Message
	from    time.Time // earliest delivery: Due, or the arrival where Due is zero
	arrival int       // counts arrivals over all names
	holder  *session
	d       queue.Delivery
	again   bool // comes back from a session that ended: its place among equals is open
}

// model is the simplest thing that a queue could be.
type model struct {
	*env
	q        queue.Queue
	in       map[resource.ID]*entry
	sessions []*session
	names    []string
	arrivals int
	retired  []queue.Delivery
}

// randomWorkload does thousands of random steps with several sessions, one step
// at a time, and compares with a model after each. In a bubble the model also
// says exactly what is due.
func randomWorkload(e *env) {
	steps := 4000
	if e.suite.WallClock {
		steps = 400
	}
	w := &model{env: e, q: e.newQueue(), in: map[resource.ID]*entry{}, names: []string{"a", "b", "c", "line/x"}}
	for range 3 {
		w.sessions = append(w.sessions, e.session(w.q))
	}
	failed := true
	defer func() {
		if failed {
			e.Logf("seed %d, %d messages in", e.suite.Seed, len(w.in))
		}
	}()
	for range steps {
		w.offTheGrid()
		w.randomStep()
	}
	w.drain()
	failed = false
}

// offTheGrid moves on to the middle of a step. Due instants are whole steps, so
// that many are equal and none is due just about now.
func (w *model) offTheGrid() {
	now := time.Now()
	middle := now.Truncate(w.step).Add(w.step / 2)
	if middle.Before(now) {
		middle = middle.Add(w.step)
	}
	if !w.suite.WallClock {
		time.Sleep(middle.Sub(now))
	}
}

func (w *model) randomStep() {
	switch n := w.rand.IntN(100); {
	case n < 25:
		w.admitSome()
	case n < 55:
		w.receiveSome()
	case n < 88:
		w.commitSome()
	case n < 92:
		w.endSession()
	case n < 95:
		w.commitWrongly()
	default:
		time.Sleep(time.Duration(1+w.rand.IntN(3)) * w.step)
	}
}

func (w *model) anySession() *session { return w.sessions[w.rand.IntN(len(w.sessions))] }

func (w *model) anyName() string { return w.names[w.rand.IntN(len(w.names))] }

// anyDue is zero, past or up to some steps away. Many are equal.
func (w *model) anyDue() time.Time {
	switch n := w.rand.IntN(10); {
	case n < 4:
		return time.Time{}
	case n < 5:
		return time.Now().Truncate(w.step).Add(-time.Duration(w.rand.IntN(5)) * w.step)
	default:
		return time.Now().Truncate(w.step).Add(time.Duration(1+w.rand.IntN(6)) * w.step)
	}
}

func (w *model) arrive(m queue.Message) {
	w.arrivals++
	from := m.Due
	if from.IsZero() {
		from = time.Now()
	}
	m.Resource.Version++
	w.in[m.Resource.ID] = &entry{m: m, from: from, arrival: w.arrivals}
}

func (w *model) admitSome() {
	if len(w.in) > 150 {
		return
	}
	var ms []queue.Message
	for range 1 + w.rand.IntN(5) {
		ms = append(ms, w.message(w.anyName(), w.anyDue()))
	}
	w.anySession().admit(ms...)
	for _, m := range ms {
		w.arrive(m)
	}
}

// due returns what the named queue may deliver now, in order.
func (w *model) due(name string) []*entry {
	now := time.Now()
	var all []*entry
	for _, x := range w.in {
		if x.m.Queue == name && x.holder == nil && !now.Before(x.from) {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b *entry) int {
		if c := a.from.Compare(b.from); c != 0 {
			return c
		}
		return a.arrival - b.arrival
	})
	return all
}

func (w *model) receiveSome() {
	s, name, limit := w.anySession(), w.anyName(), 1+w.rand.IntN(6)
	want := w.due(name)
	var got []queue.Delivery
	if len(want) > 0 {
		got = s.receive(name, limit)
	} else if got = s.receiveFor(name, limit, w.step/10); len(got) > 0 && !w.suite.WallClock {
		w.Errorf("delivered %s, and by the model nothing is due", describe(got[0].Message))
		w.FailNow()
	}
	for _, d := range got {
		w.deliver(s, d)
		if !w.suite.WallClock {
			w.nothingBefore(d, want)
		}
	}
}

// nothingBefore checks that all of want that belongs before d was delivered
// before d.
func (w *model) nothingBefore(d queue.Delivery, want []*entry) {
	w.Helper()
	mine := w.in[d.Resource.ID]
	for _, x := range want {
		if x == mine {
			return
		}
		open := mine.again || x.again // the place of what came back, among equals and among those due at once
		if open && (x.from.Equal(mine.from) || x.m.Due.IsZero() || mine.m.Due.IsZero()) {
			continue
		}
		if x.holder == nil {
			w.Errorf("delivered %s before %s", describe(d.Message), describe(x.m))
			w.FailNow()
		}
	}
}

// deliver notes that s holds d, and checks d against the model.
func (w *model) deliver(s *session, d queue.Delivery) {
	w.Helper()
	x := w.in[d.Resource.ID]
	if x == nil {
		w.Errorf("delivered %s, which is not in", describe(d.Message))
		w.FailNow()
	}
	if x.holder != nil {
		w.Errorf("delivered %s, which a session holds", describe(d.Message))
		w.FailNow()
	}
	w.same(x.m, d.Message)
	require.Equal(w, x.m.Resource.Version, d.Resource.Version, "version of %v", d.Resource.ID)
	require.Equal(w, x.again, d.Redelivered, "Redelivered of %v", d.Resource.ID)
	x.holder, x.d = s, d
}

// heldBy returns what s holds, in order of arrival.
func (w *model) heldBy(s *session) []*entry {
	var all []*entry
	for _, x := range w.in {
		if x.holder == s {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b *entry) int { return a.arrival - b.arrival })
	w.rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// commitSome moves, retires and admits in one Commit, and sometimes says it
// twice.
func (w *model) commitSome() {
	s := w.anySession()
	held := w.heldBy(s)
	if len(held) == 0 {
		return
	}
	held = held[:1+w.rand.IntN(len(held))]
	var done []queue.Delivery
	var next []queue.Message
	var retired []queue.Delivery
	for _, x := range held {
		done = append(done, x.d)
		if w.rand.IntN(6) == 0 {
			retired = append(retired, x.d)
			continue
		}
		m := x.d.To(w.anyName(), w.anyDue())
		m.Attempts++
		m.Resource.Polls++
		if w.rand.IntN(4) == 0 {
			m.Cause = fmt.Sprintf("cause %d", m.Attempts)
		}
		next = append(next, m)
	}
	require.NoError(w, s.commit(done, next...))
	for _, d := range retired {
		delete(w.in, d.Resource.ID)
		w.retired = append(w.retired, d)
	}
	for _, m := range next {
		w.arrive(m)
	}
	if len(retired) == 0 && w.rand.IntN(4) == 0 {
		require.NoError(w, s.commit(done, next...), "the same Commit again")
	}
}

// commitWrongly tries what must be refused, and expects that nothing changes.
func (w *model) commitWrongly() {
	s, thief := w.sessions[0], w.sessions[1]
	for _, x := range w.heldBy(s) {
		require.ErrorIs(w, thief.commit([]queue.Delivery{x.d}, x.d.To("b", time.Time{})), queue.ErrLost)
		intruder := w.message("c", time.Time{})
		intruder.Resource.ID = x.m.Resource.ID
		require.ErrorIs(w, thief.commit(nil, intruder), queue.ErrExists)
	}
	for _, d := range w.retired { // and never admitted again: it must stay away
		if err := thief.commit([]queue.Delivery{d}, d.To("b", time.Time{})); err != nil {
			require.ErrorIs(w, err, queue.ErrLost, "a move of what was retired")
		}
	}
	w.retired = nil
}

func (w *model) endSession() {
	i := w.rand.IntN(len(w.sessions))
	s := w.sessions[i]
	for _, x := range w.in {
		if x.holder == s {
			x.holder, x.again = nil, true
		}
	}
	s.close()
	w.sessions[i] = w.session(w.q)
}

// drain receives everything that the model has, and nothing else.
func (w *model) drain() {
	for _, s := range w.sessions {
		for _, x := range w.heldBy(s) {
			s.move(x.d, x.m.Queue, time.Time{})
			w.arrive(x.d.To(x.m.Queue, time.Time{}))
		}
	}
	s := w.sessions[0]
	left := map[string]int{}
	for _, x := range w.in {
		left[x.m.Queue]++
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		for _, d := range s.receiveAll(name, left[name]) {
			w.deliver(s, d)
			s.retire(d)
			delete(w.in, d.Resource.ID)
		}
	}
	for _, name := range w.names {
		s.nothing(name)
	}
	require.Empty(w, w.in)
}
