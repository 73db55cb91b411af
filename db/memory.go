package db

import (
	"context"
	"fmt"
	"iter"
	"sync"
)

// Memory is a [DB] that forgets everything when the process ends. It costs
// about 30 bytes a record beyond its ID, of which a UUID takes 17, and its value,
// and nothing that the collector would have to walk. What records leave when they
// grow, shrink or go is used again for others of any size.
type Memory struct {
	mu     sync.RWMutex
	spaces map[string]*index // none is empty
	owners owners
	closed bool
	body   []byte // scratch, under mu
}

// NewMemory returns an empty store. It starts nothing.
func NewMemory() *Memory {
	return &Memory{spaces: make(map[string]*index), owners: newOwners()}
}

// Get implements [DB].
func (m *Memory) Get(ctx context.Context, space string, ids ...string) ([]Record, error) {
	if err := CheckKeys(space, ids...); err != nil {
		return nil, fmt.Errorf("db: get: %w", err)
	}
	if ctx.Err() != nil {
		return nil, contextError(ctx, "get")
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, fmt.Errorf("db: get: %w", ErrClosed)
	}
	x := m.spaces[space]
	if x == nil {
		return nil, nil
	}
	var records []Record
	for _, id := range ids {
		if slot, ok := x.find(id); ok {
			records = append(records, m.recordLocked(x, space, id, slot))
		}
	}
	return records, nil
}

// Write implements [DB].
func (m *Memory) Write(ctx context.Context, writes ...Write) ([]Result, error) {
	if err := CheckWrites(writes...); err != nil {
		return nil, fmt.Errorf("db: write: %w", err)
	}
	if ctx.Err() != nil {
		return nil, contextError(ctx, "write")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, fmt.Errorf("db: write: %w", ErrClosed)
	}
	results := make([]Result, len(writes))
	for i := range writes {
		results[i] = m.writeLocked(&writes[i])
	}
	return results, nil
}

func (m *Memory) writeLocked(w *Write) Result {
	r := &w.Record
	x := m.spaces[r.Space]
	var stored int64
	var former []byte
	if x != nil {
		if slot, ok := x.find(r.ID); ok {
			if stored, former = x.at(slot); stored != w.If {
				return Result{Current: m.recordLocked(x, r.Space, r.ID, slot)}
			}
		}
	}
	switch {
	case stored != w.If:
		return Result{}
	case r.Version == 0:
		m.releaseBody(former)
		x.remove(r.ID)
		if x.n == 0 {
			// A scan under way keeps the old table. It misses nothing by
			// that: no record of this space exists throughout it.
			delete(m.spaces, r.Space)
		}
	default:
		if x == nil {
			x = newIndex()
			m.spaces[r.Space] = x
		}
		m.body = m.appendBody(m.body[:0], r)
		if former != nil {
			m.releaseBody(former)
		}
		x.put(r.ID, r.Version, m.body)
	}
	return Result{OK: true}
}

// Scan implements [DB].
func (m *Memory) Scan(ctx context.Context, space string) iter.Seq2[Record, error] {
	return scan(ctx, space, func() (walk, error) {
		m.mu.RLock()
		defer m.mu.RUnlock()
		if m.closed {
			return walk{}, ErrClosed
		}
		x := m.spaces[space]
		if x == nil {
			return walk{}, nil
		}
		return walk{end: x.slots(), step: func(slot, end uint32, batch []Record) ([]Record, uint32, error) {
			return m.scanStep(x, space, slot, end, batch)
		}}, nil
	})
}

func (m *Memory) scanStep(x *index, space string, slot, end uint32, batch []Record) ([]Record, uint32, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, 0, ErrClosed
	}
	for size := 0; slot < end && len(batch) < scanRecords && size < scanBytes; slot++ {
		if version, body := x.at(slot); version != 0 {
			size += len(body)
			batch = append(batch, m.recordLocked(x, space, x.id(slot), slot))
		}
	}
	return batch, slot, nil
}

// Close implements [DB]. It gives the memory back.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.spaces, m.owners, m.body = true, nil, owners{}, nil
	return nil
}

// recordLocked copies a record out of a table whose payloads are bodies.
func (m *Memory) recordLocked(x *index, space, id string, slot uint32) Record {
	version, body := x.at(slot)
	r := Record{Space: space, ID: id, Version: version}
	m.readBody(body, &r)
	return r
}
