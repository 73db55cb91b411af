package firehose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// Explanation answers why a resource waits, until when, by which rule, for which
// bucket, where it is, and who holds it.
type Explanation struct {
	resource.Explanation
	Queue   string // that holds it
	Held    bool   // a service has it in hands
	Service string // that has it in hands, or is the one to take it from its queue; empty: an error queue, which only its user empties
}

// String is one line of text. It holds no secret.
func (e Explanation) String() string {
	s := e.Explanation.String() + "; in queue " + e.Queue
	if e.Held {
		s += ", in the hands of the " + cmpOr(e.Service, "user")
	}
	return s
}

// whereabouts is what an Explanation adds to that of package resource.
type whereabouts struct {
	Queue   string `json:"queue"`
	Held    bool   `json:"held,omitempty"`
	Service string `json:"service,omitempty"`
}

// MarshalJSON returns the form for people. It holds no secret.
func (e Explanation) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(e.Explanation)
	if err != nil {
		return nil, err
	}
	where, err := json.Marshal(whereabouts{e.Queue, e.Held, e.Service})
	if err != nil {
		return nil, err
	}
	return append(append(text[:len(text)-1], ','), where[1:]...), nil
}

// UnmarshalJSON reads what MarshalJSON wrote; errors as in package resource.
func (e *Explanation) UnmarshalJSON(b []byte) error {
	var where whereabouts
	if err := json.Unmarshal(b, &where); err != nil {
		return err
	}
	if err := e.Explanation.UnmarshalJSON(b); err != nil {
		return err
	}
	e.Queue, e.Held, e.Service = where.Queue, where.Held, where.Service
	return nil
}

// Explain says why a resource waits, until when, by which rule, for which
// bucket, where it is, and who holds it. ErrUnknown where no queue holds it.
func (o *OS) Explain(ctx context.Context, id resource.ID) (Explanation, error) {
	f := o.f
	finder, ok := queue.As[queue.Finder](f.queue)
	if !ok {
		return Explanation{}, fmt.Errorf("firehose: explain: the queue can't find resources")
	}
	m, held, err := finder.Find(ctx, id)
	if errors.Is(err, queue.ErrNotFound) {
		return Explanation{}, ErrUnknown
	}
	if err != nil {
		return Explanation{}, fmt.Errorf("firehose: explain %v: %w", id, err)
	}
	now, r := time.Now(), m.Resource
	buried := slices.Contains(ErrorQueues(), m.Queue)
	if f.wishes.of(id).paused && r.Owner.IsZero() && !buried {
		r.State = resource.Paused // after a restart it is decided about again when it is due
	}
	reads := f.walks.of(&r) != nil
	if reads {
		r = walking(r)
	}
	e := Explanation{Queue: m.Queue, Held: held, Service: service(m.Queue)}
	e.Explanation = f.buckets.scope(r.Scope(), nil).explain(r, now, held && isLine(m.Queue))
	switch {
	case reads:
		e.Owner, e.Cause = m.Resource.Owner, "it has read its first page, and waits for the next"
	case buried:
		e.Follow(resource.Decision{Kind: resource.Fault, State: r.State, Why: r.Why}, now)
		e.Cause = m.Cause
	case m.Queue == QueuePublish:
		e.Follow(resource.Decision{Kind: resource.At, State: resource.HasOwner, Why: resource.ReasonSink}, now)
		if m.Due.After(now) { // refused, and to be offered again
			e.Until, e.Wait = m.Due, m.Due.Sub(now)
		}
	case m.Queue == QueueRequests && !held && f.credits.full():
		e.Cause = "not sent yet: as much waits for the sink as may"
	case m.Queue == QueueRequests && !held:
		e.Cause = "not sent yet: every worker is busy"
	}
	if e.Cause == "" && f.wishes.of(id).removed {
		e.Cause = "to be removed when its request has ended"
	}
	return e, nil
}

// service names the service that takes from a queue.
func service(queue string) string {
	switch {
	case queue == QueueRequests:
		return "requestor"
	case queue == QueuePublish:
		return "publisher"
	case isLine(queue):
		return "gate"
	case slices.Contains(ErrorQueues(), queue):
		return ""
	case queue == QueueAnalyze:
		return "analyzer"
	}
	return "freezer-" + strings.TrimPrefix(queue, "frozen-")
}
