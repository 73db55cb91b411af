package queuetest

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

func (s *naiveSession) Take(ctx context.Context, id resource.ID) (queue.Delivery, error) {
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := s.aliveLocked(); err != nil {
		return queue.Delivery{}, err
	}
	it := q.findLocked(id)
	switch {
	case it == nil:
		return queue.Delivery{}, queue.ErrNotFound
	case it.holder != nil && q.fault != takingHeld:
		return queue.Delivery{}, queue.ErrHeld
	}
	return s.deliverLocked(it), nil
}

func (q *naive) Find(ctx context.Context, id resource.ID) (queue.Message, bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return queue.Message{}, false, queue.ErrClosed
	}
	it := q.findLocked(id)
	if it == nil || (q.fault == findingReady && it.holder != nil) {
		return queue.Message{}, false, queue.ErrNotFound
	}
	m := it.m
	m.Response = nil
	return m, it.holder != nil, nil
}

func (q *naive) Depths(ctx context.Context) ([]queue.Depth, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, queue.ErrClosed
	}
	var all []queue.Depth
	now := time.Now()
	for _, name := range slices.Sorted(slices.Values(q.names)) {
		d := queue.Depth{Name: name}
		for _, it := range q.items {
			if it.m.Queue != name {
				continue
			}
			if it.m.Response != nil {
				d.Bodies += it.m.Response.Size()
			}
			switch {
			case it.holder != nil && q.fault != countingReady:
				d.Held++
			case it.from.After(now):
				d.Waiting++
				if d.Next.IsZero() || it.from.Before(d.Next) {
					d.Next = it.from
				}
			default:
				d.Ready++
			}
		}
		all = append(all, d)
	}
	return all, nil
}

func (q *naive) States(ctx context.Context) (map[resource.State]int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, queue.ErrClosed
	}
	counts := map[resource.State]int{}
	for _, it := range q.items {
		if it.holder == nil || q.fault != forgettingHeldStates {
			counts[it.m.Resource.State]++
		}
	}
	return counts, nil
}

func (q *naive) List(ctx context.Context, name string, after resource.ID, limit int) ([]queue.Message, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, queue.ErrClosed
	}
	var all []queue.Message
	for _, it := range q.items {
		if it.m.Queue == name && (bytes.Compare(it.m.Resource.ID[:], after[:]) > 0 || q.fault == listingFromTheStart) {
			m := it.m
			m.Response = nil
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b queue.Message) int { return bytes.Compare(a.Resource.ID[:], b.Resource.ID[:]) })
	return all[:min(limit, len(all))], nil
}
