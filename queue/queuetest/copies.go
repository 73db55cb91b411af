package queuetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// spoil overwrites a message as a careless holder would.
func spoil(m *queue.Message) {
	*m = queue.Message{Queue: "spoilt", Cause: "spoilt", Attempts: 99, Due: time.Now().Add(time.Hour)}
	m.Resource.URI = "https://spoilt.example/"
	m.Resource.Validators.ETag = "spoilt"
}

// copiesIn: what the caller does to its slices and values after Commit doesn't
// reach the queue, and Commit leaves them as they were.
func copiesIn(e *env) {
	q := e.newQueue()
	s := e.session(q)
	want := append(e.messages("a", 3), e.message("a", e.in(1)))
	given := append([]queue.Message(nil), want...)
	s.admit(given...)
	require.Equal(e, want, given, "Commit has changed the caller's messages")
	for i := range given {
		spoil(&given[i])
	}
	held := s.receiveAll("a", 4)
	for i := range want {
		e.same(want[i], held[i].Message)
	}

	want = want[:0]
	for i := range held {
		want = append(want, held[i].To("b", time.Time{}))
	}
	given = append(given[:0], want...)
	done := append([]queue.Delivery(nil), held...)
	require.NoError(e, s.commit(done, given...))
	require.Equal(e, held, done, "Commit has changed the caller's deliveries")
	for i := range given {
		spoil(&given[i])
		spoil(&done[i].Message)
	}
	for i, d := range s.receiveAll("b", 4) {
		e.same(want[i], d.Message)
	}
}

// copiesOut: what a holder does to its deliveries stays with it, and what it
// keeps of them stays as it was, whatever the queue does afterwards.
func copiesOut(e *env) {
	q := e.newQueue()
	s := e.session(q)
	in := e.messages("a", 20)
	s.admit(in...)
	batch := s.receive("a", 10)
	second := s.receive("a", 10)
	rest := in[len(batch):]
	for i := range batch {
		e.same(in[i], batch[i].Message)
	}

	// Spoilt by its holder, and intact for the next one.
	kept := append([]queue.Delivery(nil), second...)
	for i := range batch {
		spoil(&batch[i].Message)
	}
	for i := range second {
		e.same(rest[i], second[i].Message)
	}
	s.close()
	s = e.session(q)
	again := s.receiveAll("a", len(in))
	want := map[resource.ID]queue.Message{}
	for _, m := range in {
		want[m.Resource.ID] = m
	}
	for _, d := range again {
		e.same(want[d.Resource.ID], d.Message)
	}

	// Kept by a holder while the queue uses the room for others, again and again.
	for round := range 5 {
		s.retire(again...)
		s.admit(e.messages(fmt.Sprintf("a%d", round), 20)...)
		again = s.receiveAll(fmt.Sprintf("a%d", round), 20)
	}
	for i := range kept {
		e.same(rest[i], kept[i].Message)
	}
}

// responseHandedOn: the very pointer, on every way but To, and never in the
// hands of those who only look.
func responseHandedOn(e *env) {
	q := e.newQueue()
	s := e.session(q)
	s.admit(e.message("requests", time.Time{}))
	d := s.receiveOne("requests")
	publish := d.To("publish", time.Time{})
	publish.Response = response(d.Resource)
	body := string(publish.Response.Body)
	require.NoError(e, s.commit([]queue.Delivery{d}, publish))

	if f, ok := queue.As[queue.Finder](q); ok {
		m, _, err := find(e, f, d.Resource.ID)
		require.NoError(e, err)
		require.Nil(e, m.Response, "Find returns messages without their Response")
	}
	d = s.receiveOne("publish")
	e.same(publish, d.Message)

	s.close() // a publisher that failed gets it again, answer and all
	s = e.session(q)
	d = s.receiveOne("publish")
	e.same(publish, d.Message)
	require.Equal(e, body, string(d.Response.Body))

	on := d.Message
	on.Queue, on.Attempts = "publish-again", 1
	require.NoError(e, s.commit([]queue.Delivery{d}, on))
	d = s.receiveOne("publish-again")
	e.same(on, d.Message)
	s.move(d, "analyze", time.Time{})
	if d = s.receiveOne("analyze"); d.Response != nil {
		e.Errorf("Response has survived To")
	}
}

// bigResource: every text at its bound, with names at theirs.
func bigResource(e *env) {
	q := e.newQueue()
	s := e.session(q)
	full := func(prefix string, n int) string { return prefix + strings.Repeat("x", n-len(prefix)) }
	m := e.message(full("", queue.MaxName), time.Time{})
	m.Cause = full("why ", resource.MaxCause)
	r := &m.Resource
	r.URI = full("https://host.example/", resource.MaxURI)
	r.Origin = "https://host.example"
	r.Interval = resource.MaxInterval
	r.Profile = full("p", resource.MaxName)
	r.MediaType = full("application/", resource.MaxName)
	r.Credential = full("c", resource.MaxName)
	r.Bucket = full("b", resource.MaxBucket)
	r.Validators = resource.Validators{ETag: full("W/", resource.MaxValidator), LastModified: full("S", resource.MaxValidator)}
	r.Cause = full("because ", resource.MaxCause)
	r.Moved = full("https://other.example/", resource.MaxURI)
	r.Digest, r.Polls, r.Modified, r.Failures, r.Quiet = 1<<64-1, 1<<32-1, 1<<32-1, 1<<16-1, 1<<32-1
	r.Seen, r.Priority = 255, -128
	_, err := r.MarshalBinary()
	require.NoError(e, err, "the suite's own resource")

	s.admit(m)
	for range 3 {
		d := s.receiveOne(m.Queue)
		e.same(m, d.Message)
		next := d.Message
		require.NoError(e, s.commit([]queue.Delivery{d}, next))
	}
}

// refused: what can never be held is told apart from what may be tried again,
// and changes nothing.
func refused(e *env) {
	q := e.newQueue()
	s := e.session(q)
	s.admit(e.message("a", time.Time{}))
	d := s.receiveOne("a")
	for _, c := range []struct {
		name string
		harm func(m *queue.Message)
	}{
		{"no name", func(m *queue.Message) { m.Queue = "" }},
		{"a name that is too long", func(m *queue.Message) { m.Queue = strings.Repeat("q", queue.MaxName+1) }},
		{"a URI that is too long", func(m *queue.Message) { m.Resource.URI += strings.Repeat("x", resource.MaxURI) }},
		{"an ETag that is too long", func(m *queue.Message) {
			m.Resource.Validators.ETag = strings.Repeat("x", resource.MaxValidator+1)
		}},
		{"a negative interval", func(m *queue.Message) { m.Resource.Interval = -1 }},
		{"an instant that no encoding holds", func(m *queue.Message) {
			m.Resource.NotBefore = time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC)
		}},
	} {
		m := e.message("b", time.Time{})
		c.harm(&m)
		require.ErrorIs(e, s.commit(nil, m), queue.ErrRefused, "admission with %s", c.name)
		e.absent(q, m.Resource.ID)

		next := d.To("b", time.Time{})
		c.harm(&next)
		require.ErrorIs(e, s.commit([]queue.Delivery{d}, next), queue.ErrRefused, "move with %s", c.name)
	}
	s.nothing("a")
	s.nothing("b")
	s.move(d, "b", time.Time{}) // and the delivery is still ours
	require.EqualValues(e, 2, s.receiveOne("b").Resource.Version)
}
