package queuetest

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// resource returns one that was never admitted, with a value in every field, so
// that whatever a queue drops or mixes up shows.
func (e *env) resource() resource.Resource {
	e.made++
	n := e.made
	when := time.Now()
	ago := func(d time.Duration) time.Time { return when.Add(-d - time.Duration(n)) }
	origin := fmt.Sprintf("https://host-%d.example", n%5)
	return resource.Resource{
		Spec: resource.Spec{
			ID:        resource.DeriveID(resource.ID{}, fmt.Sprintf("queuetest %d", n)),
			URI:       fmt.Sprintf("%s/feed/%d?page=1", origin, n),
			Interval:  time.Minute + time.Duration(n),
			Profile:   fmt.Sprintf("profile-%d", n%3),
			MediaType: "application/json",
			Priority:  int8(n % 3),
		},
		Credential:   fmt.Sprintf("token-%d", n%4),
		Origin:       origin,
		Bucket:       fmt.Sprintf("core-%d", n%7),
		State:        resource.WaitingForInterval,
		Why:          resource.ReasonInterval,
		Cause:        fmt.Sprintf("cause %d", n),
		Asked:        ago(time.Minute),
		Answered:     ago(59 * time.Second),
		Changed:      ago(time.Hour),
		NotBefore:    when.Add(time.Duration(n)),
		PollInterval: time.Second * time.Duration(n%90+1),
		Validators:   resource.Validators{ETag: fmt.Sprintf(`W/"%d"`, n), LastModified: "Sat, 01 Jan 2000 00:00:00 GMT"},
		Digest:       uint64(n) << 40,
		Polls:        uint32(n),
		Modified:     uint32(n / 2),
		Failures:     uint16(n % 11),
		Quiet:        uint32(n % 13),
		Moved:        fmt.Sprintf("%s/moved/%d", origin, n),
		Seen:         uint8(n % 3),
	}
}

// message returns an admission to the named queue.
func (e *env) message(name string, due time.Time) queue.Message {
	return queue.Message{Queue: name, Resource: e.resource(), Due: due, Attempts: e.made % 4}
}

// messages returns n admissions to the named queue, due at once.
func (e *env) messages(name string, n int) []queue.Message {
	ms := make([]queue.Message, n)
	for i := range ms {
		ms[i] = e.message(name, time.Time{})
	}
	return ms
}

// in returns the instant that is n steps away, off the round numbers, so that
// an adapter that cuts instants off delivers early.
func (e *env) in(n int) time.Time {
	return time.Now().Add(time.Duration(n)*e.step + 999_999*time.Nanosecond - time.Duration(e.made%1000))
}

// response returns an answer to publish.
func response(r resource.Resource) *resource.Response {
	return &resource.Response{
		Resource: r, URL: r.URI, Status: 200, Outcome: resource.Modified,
		Header: http.Header{"Etag": {r.Validators.ETag}}, Body: []byte(r.URI),
	}
}

// same checks that got is want, as the queue must hand it out: everything
// equal, the version aside.
func (e *env) same(want, got queue.Message) {
	e.Helper()
	id := want.Resource.ID
	require.Equal(e, want.Queue, got.Queue, "Queue of %v", id)
	require.Equal(e, want.Attempts, got.Attempts, "Attempts of %v", id)
	require.Equal(e, want.Cause, got.Cause, "Cause of %v", id)
	if want.Response != got.Response {
		e.Errorf("Response of %v: got %p, want %p, the very one", id, got.Response, want.Response)
		e.FailNow()
	}
	if !want.Due.IsZero() && !e.sameInstant(want.Due, got.Due) {
		e.Errorf("Due of %v: got %v, want %v", id, got.Due, want.Due)
		e.FailNow()
	}
	e.sameResource(want.Resource, got.Resource)
}

func (e *env) sameResource(want, got resource.Resource) {
	e.Helper()
	w, g := instantsOf(&want), instantsOf(&got)
	for i := range w {
		if !e.sameInstant(*w[i], *g[i]) {
			e.Errorf("instant %d of resource %v: got %v, want %v", i, want.ID, *g[i], *w[i])
			e.FailNow()
		}
		*w[i], *g[i] = time.Time{}, time.Time{}
	}
	want.Version, got.Version = 0, 0
	require.Equal(e, want, got)
}

// sameInstant allows for the drift between the two clocks of the process, which
// a value that went through an encoding shows. A bubble has none.
func (e *env) sameInstant(want, got time.Time) bool {
	if want.IsZero() || got.IsZero() {
		return want.IsZero() == got.IsZero()
	}
	if e.suite.WallClock {
		return got.Sub(want).Abs() <= time.Millisecond
	}
	return got.Equal(want)
}

func instantsOf(r *resource.Resource) []*time.Time {
	return []*time.Time{&r.Claimed, &r.ClaimUntil, &r.Asked, &r.Answered, &r.Changed, &r.NotBefore}
}

// sameIDs checks which deliveries came, in whatever order.
func (e *env) sameIDs(want []queue.Message, got []queue.Delivery) {
	e.Helper()
	w := make([]string, len(want))
	for i := range want {
		w[i] = want[i].Resource.ID.String()
	}
	g := make([]string, len(got))
	for i := range got {
		g[i] = got[i].Resource.ID.String()
	}
	slices.Sort(w)
	slices.Sort(g)
	require.Equal(e, w, g, "resources delivered")
}

// inOrder checks which deliveries came, and their order.
func (e *env) inOrder(want []queue.Message, got []queue.Delivery) {
	e.Helper()
	require.Len(e, got, len(want))
	for i := range got {
		if got[i].Resource.ID != want[i].Resource.ID {
			e.Errorf("delivery %d of %d is %s, want %s", i, len(got), describe(got[i].Message), describe(want[i]))
			e.FailNow()
		}
	}
}

// absent checks that an id is in none of the named queues, and nowhere at all
// where the queue has the power to tell.
func (e *env) absent(q queue.Queue, id resource.ID) {
	e.Helper()
	f, ok := queue.As[queue.Finder](q)
	if !ok {
		return
	}
	m, _, err := find(e, f, id)
	if err == nil {
		e.Errorf("resource %v must be in no queue, and is found: %s", id, describe(m))
		e.FailNow()
	}
	require.ErrorIs(e, err, queue.ErrNotFound)
}
