package customqueue

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// Find is the power of a queue.Finder.
func (q *Queue) Find(_ context.Context, id resource.ID) (m queue.Message, held bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.items[id]
	switch {
	case q.closed:
		return m, false, queue.ErrClosed
	case it == nil:
		return m, false, queue.ErrNotFound
	}
	m = it.m
	m.Response = nil
	return m, it.holder != nil, nil
}

// Take is the power of a queue.Taker.
func (s *session) Take(_ context.Context, id resource.ID) (queue.Delivery, error) {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	if err := s.aliveLocked(); err != nil {
		return queue.Delivery{}, err
	}
	it := s.q.items[id]
	switch {
	case it == nil:
		return queue.Delivery{}, queue.ErrNotFound
	case it.holder != nil:
		return queue.Delivery{}, queue.ErrHeld
	}
	return s.holdLocked(s.q.lineLocked(it.m.Queue).take(it.index)), nil
}

// Depths is the power of a queue.Depther.
func (q *Queue) Depths(context.Context) ([]queue.Depth, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, queue.ErrClosed
	}
	depths := make(map[string]*queue.Depth, len(q.lines))
	for name := range q.lines {
		depths[name] = &queue.Depth{Name: name}
	}
	now := time.Now()
	for _, it := range q.items {
		d := depths[it.m.Queue]
		switch {
		case it.holder != nil:
			d.Held++
		case now.Before(it.from):
			d.Waiting++
			if d.Next.IsZero() || it.from.Before(d.Next) {
				d.Next = it.from
			}
		default:
			d.Ready++
		}
		if it.m.Response != nil {
			d.Bodies += it.m.Response.Size()
		}
	}
	all := make([]queue.Depth, 0, len(depths))
	for _, name := range slices.Sorted(maps.Keys(depths)) {
		all = append(all, *depths[name])
	}
	return all, nil
}

// States is the power of a queue.Stater.
func (q *Queue) States(context.Context) (map[resource.State]int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, queue.ErrClosed
	}
	states := map[resource.State]int{}
	for _, it := range q.items {
		states[it.m.Resource.State]++
	}
	return states, nil
}

// List is the power of a queue.Lister.
func (q *Queue) List(_ context.Context, name string, after resource.ID, limit int) ([]queue.Message, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, queue.ErrClosed
	}
	var page []queue.Message
	for id, it := range q.items {
		if it.m.Queue == name && bytes.Compare(id[:], after[:]) > 0 {
			m := it.m
			m.Response = nil
			page = append(page, m)
		}
	}
	slices.SortFunc(page, func(a, b queue.Message) int { return bytes.Compare(a.Resource.ID[:], b.Resource.ID[:]) })
	return page[:min(max(limit, 0), len(page))], nil
}
