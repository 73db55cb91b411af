package customqueue

import (
	"context"
	"fmt"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// Commit checks everything first and then does everything, under one hold of the
// lock. ctx counts for nothing here: there is neither I/O nor a wait for room.
func (s *session) Commit(_ context.Context, done []queue.Delivery, next ...queue.Message) error {
	for i := range next {
		if err := check(&next[i]); err != nil {
			return err
		}
	}
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := s.aliveLocked(); err != nil {
		return err
	}
	gone, come, err := s.planLocked(done, next)
	if err != nil {
		return err
	}
	for _, id := range gone {
		delete(s.held, id)
		delete(q.items, id)
	}
	now := time.Now()
	for _, m := range come {
		q.putLocked(*m, now)
	}
	return nil
}

// check refuses what no queue can hold, since no encoding can.
func check(m *queue.Message) error {
	if m.Queue == "" || len(m.Queue) > queue.MaxName {
		return fmt.Errorf("%w: Queue %.80q: want 1 to %d bytes", queue.ErrRefused, m.Queue, queue.MaxName)
	}
	if m.Resource.ID.IsZero() {
		return fmt.Errorf("%w: ID of %.80q is zero: want one, as resource.New gives it", queue.ErrRefused, m.Resource.URI)
	}
	if _, err := m.Resource.AppendBinary(nil); err != nil {
		return fmt.Errorf("%w: resource %v: %w", queue.ErrRefused, m.Resource.ID, err)
	}
	return nil
}

// planLocked says what a Commit takes out of the hands of s and what it puts in,
// and changes nothing.
func (s *session) planLocked(done []queue.Delivery, next []queue.Message) (gone []resource.ID, come []*queue.Message, err error) {
	given := make(map[resource.ID]*item, len(done)) // by done; nil: s does not hold it
	for i := range done {
		id := done[i].Resource.ID
		if _, twice := given[id]; twice {
			return nil, nil, fmt.Errorf("%w: resource %v is given up twice in one Commit", queue.ErrRefused, id)
		}
		given[id] = s.heldLocked(&done[i])
	}
	named := make(map[resource.ID]bool, len(next))
	passed := map[resource.ID]bool{}
	var exists []resource.ID
	for i := range next {
		m, id := &next[i], next[i].Resource.ID
		if named[id] {
			return nil, nil, fmt.Errorf("%w: resource %v has two places in one Commit", queue.ErrRefused, id)
		}
		named[id] = true
		present := s.q.items[id]
		held, isMove := given[id]
		switch {
		case !isMove && present != nil:
			exists = append(exists, id)
		case held != nil && held.m.Resource.Version != m.Resource.Version:
			return nil, nil, fmt.Errorf("%w: Version of resource %v: %d: want %d, the one received",
				queue.ErrRefused, id, m.Resource.Version, held.m.Resource.Version)
		case isMove && held == nil:
			// Either this very move has happened, or the delivery was lost.
			passed[id] = present != nil && present.m.Resource.Version > m.Resource.Version
		default:
			come = append(come, m)
		}
	}
	var lost []resource.ID
	for i := range done {
		switch id := done[i].Resource.ID; {
		case given[id] != nil:
			gone = append(gone, id)
		case !passed[id]:
			lost = append(lost, id)
		}
	}
	if lost != nil {
		return nil, nil, &queue.LostError{IDs: lost}
	}
	if exists != nil {
		return nil, nil, &queue.ExistsError{IDs: exists}
	}
	return gone, come, nil
}

// heldLocked returns the item of a delivery, nil if s does not hold it. The
// receipt tells apart two deliveries of one resource to the same session.
func (s *session) heldLocked(d *queue.Delivery) *item {
	it := s.held[d.Resource.ID]
	if it == nil || it.receipt != d.Receipt {
		return nil
	}
	return it
}

// putLocked lets a message wait in its line.
func (q *Queue) putLocked(m queue.Message, now time.Time) {
	m.Resource.Version++
	q.last++
	it := &item{m: m, from: m.Due, arrival: q.last}
	if m.Due.IsZero() {
		it.from = now
	}
	q.items[m.Resource.ID] = it
	q.lineLocked(m.Queue).add(it)
}
