package firehose

import (
	"context"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
	"github.com/cannedos/cannedos/scheduler"
)

// Analyzer decides about the resources that are new, or whose decision was
// undone. One is enough; several share the queue.
type Analyzer struct{ stage }

// Freezer holds one tier of waiting resources, and decides about each again
// when it is due.
type Freezer struct{ stage }

// stage receives from one queue and places what it receives.
type stage struct {
	f    *flow
	name string // of the queue
}

// String names the queue.
func (s *stage) String() string { return s.name }

// Serve places messages until ctx ends. It is called by a scheduler.
func (s *stage) Serve(ctx context.Context) error {
	work, release := s.f.work(ctx)
	defer release()
	session, err := s.f.queue.Open(work)
	if err != nil {
		return s.f.ending(ctx, err)
	}
	defer session.Close()
	scheduler.Ready(ctx)
	next := make([]queue.Message, 0, batch)
	for {
		clear(next)
		next = next[:0]
		got, err := session.Receive(ctx, s.name, batch)
		if err != nil {
			return s.f.ending(ctx, err)
		}
		now := time.Now()
		var removed []queue.Delivery
		var gone []resource.Resource // those of removed, and their IDs
		var ids []resource.ID
		for i := range got {
			r := got[i].Resource
			if s.f.walks.of(&r) == nil {
				s.f.abandon(r.ID)
				r.Forfeit(now) // nobody else holds it, so a claim in it is one that got lost
			}
			if p, ok := s.f.place(&got[i], r, now, false); ok {
				next = append(next, p.Message)
			} else {
				removed, gone, ids = append(removed, got[i]), append(gone, r), append(ids, r.ID)
			}
		}
		if ids != nil { // taken out one by one, below
			got, _ = without(got, nil, ids)
		}
		if err := s.f.commit(work, session, got, next...); err != nil {
			s.f.undo(next)
			return s.f.ending(ctx, err)
		}
		for i := range removed {
			if err := s.f.retire(work, session, removed[i:i+1], &gone[i]); err != nil {
				return s.f.ending(ctx, err)
			}
		}
	}
}

// undo takes back what place has handed out for messages that were not moved.
func (f *flow) undo(next []queue.Message) {
	for i := range next {
		m := &next[i]
		s := f.buckets.scope(m.Resource.Scope(), nil)
		if m.Queue == QueueRequests {
			s.giveBack(m.Resource.ID)
		} else if isLine(m.Queue) {
			s.leave(m.Queue)
		}
	}
}

// ending is what a service returns when it was interrupted by err: nothing if
// it was asked to stop.
func (f *flow) ending(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return f.fail(err)
}

// forfeit ends a claim of a run that is over. It reports whether there was one.
func (f *flow) forfeit(d *queue.Delivery, r *resource.Resource, now time.Time) bool {
	if r.Owner.IsZero() || !d.Redelivered && r.Owner == f.owner {
		return false
	}
	r.Forfeit(now)
	f.notify(EventForfeited, r, "a claim was found again: it counts as sent")
	return true
}
