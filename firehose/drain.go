package firehose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// Buried is a resource in an error queue.
type Buried struct {
	Queue    string            `json:"queue"`
	Cause    string            `json:"cause"` // in words; no secret
	Resource resource.Resource `json:"resource"`
}

// Errors pages through an error queue, in order of id: up to limit entries
// whose ids are greater than after; the zero ID begins. The name is one of
// [ErrorQueues].
func (o *OS) Errors(ctx context.Context, name string, after resource.ID, limit int) ([]Buried, error) {
	if err := checkErrorQueue(name); err != nil {
		return nil, err
	}
	lister, ok := queue.As[queue.Lister](o.f.queue)
	if !ok {
		return nil, errors.New("firehose: list errors: the queue can't list")
	}
	page, err := lister.List(ctx, name, after, limit)
	if err != nil {
		return nil, fmt.Errorf("firehose: list errors: %w", err)
	}
	list := make([]Buried, len(page))
	for i, m := range page {
		list[i] = Buried{Queue: m.Queue, Cause: m.Cause, Resource: m.Resource}
	}
	return list, nil
}

// Replay lets resources in an error queue go on: they are decided about again,
// and no earlier than their interval allows. Ids that are not in an error queue
// are reported as ErrUnknown; the others are replayed all the same.
func (o *OS) Replay(ctx context.Context, ids ...resource.ID) error {
	return o.f.fromErrors(ctx, "replay", ids, func(d *queue.Delivery) []queue.Message {
		r := d.Resource
		r.State, r.Why, r.Cause, r.Failures = resource.Idle, resource.ReasonNone, "", 0
		r.Gones = 0
		m := d.To(QueueAnalyze, time.Time{})
		m.Resource, m.Attempts = r, 0
		return []queue.Message{m}
	})
}

// Drain takes resources out of an error queue and forgets them. One that the
// Config lists is admitted again by the next start, as if it were new. Ids that
// are not in an error queue are reported as ErrUnknown; the others are drained
// all the same.
func (o *OS) Drain(ctx context.Context, ids ...resource.ID) error {
	return o.f.fromErrors(ctx, "drain", ids, nil)
}

// fromErrors takes resources out of the error queues, to where next says; nil
// means out of everything, and out of the registry too.
func (f *flow) fromErrors(ctx context.Context, verb string, ids []resource.ID, next func(*queue.Delivery) []queue.Message) error {
	var errs []error
	for _, id := range ids {
		err := f.withSession(ctx, func(s queue.Session) error { return f.fromError(ctx, s, id, next) })
		if err != nil {
			errs = append(errs, fmt.Errorf("firehose: %s %v: %w", verb, id, err))
		}
	}
	return errors.Join(errs...)
}

func (f *flow) fromError(ctx context.Context, s queue.Session, id resource.ID, next func(*queue.Delivery) []queue.Message) error {
	d, ok, err := f.takeIf(ctx, s, id, func(name string) bool { return slices.Contains(ErrorQueues(), name) })
	if err != nil {
		return err
	}
	if !ok {
		return ErrUnknown
	}
	if next == nil {
		// Its rest is written before: whoever admits it from here on finds it.
		rest := restOf(&d.Resource).Rest
		if err := f.wishes.change(ctx, id, func(r *wishRecord) { r.Rest = rest }); err != nil {
			return err
		}
		if err := f.commit(ctx, s, []queue.Delivery{d}); err != nil {
			return err
		}
		return f.wishes.forget(ctx, &d.Resource)
	}
	return f.commit(ctx, s, []queue.Delivery{d}, next(&d)...)
}

func checkErrorQueue(name string) error {
	if slices.Contains(ErrorQueues(), name) {
		return nil
	}
	return fmt.Errorf("firehose: %w", &FieldError{Field: "queue", Value: strconv.Quote(name), Want: "one of " + strings.Join(ErrorQueues(), ", ")})
}
