package queue

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/cannedos/cannedos/resource"
)

// findLocked returns the slot of a resource that is in. One whose admission has
// not taken effect isn't.
func (m *Memory) findLocked(id resource.ID) (int32, error) {
	i := m.index.find(m.index.hash(&id), id)
	if i == 0 || m.slots.at(i).is() == inCommit {
		return 0, ErrNotFound
	}
	return i, nil
}

// aliveLocked returns why nobody is served any more.
func (m *Memory) aliveLocked(ctx context.Context) error {
	switch {
	case m.closed:
		return ErrClosed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return nil
}

// Find returns the message of a resource; see [Finder].
func (m *Memory) Find(ctx context.Context, id resource.ID) (msg Message, held bool, err error) {
	b := m.scratch.Get().(*scratch)
	defer m.release(b)
	held, err = m.findInto(ctx, id, b)
	if err != nil {
		return Message{}, false, err
	}
	return m.deliver(b)[0].Message, held, nil
}

func (m *Memory) findInto(ctx context.Context, id resource.ID, b *scratch) (held bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.aliveLocked(ctx); err != nil {
		return false, err
	}
	i, err := m.findLocked(id)
	if err != nil {
		return false, err
	}
	m.readLocked(i, b)
	return m.slots.at(i).is() == inHand, nil
}

// Depths returns the sizes of all names; see [Depther]. They are of one instant,
// and Next is exact unless more than a thousand messages share the bucket of
// the wheel that comes next, where it may be up to a bucket late.
func (m *Memory) Depths(ctx context.Context) ([]Depth, error) {
	for n, more := 0, true; more; n++ {
		var err error
		if more, err = m.settle(ctx, n); err != nil {
			return nil, err
		}
	}
	depths, err := m.depths(ctx)
	slices.SortFunc(depths, func(a, b Depth) int { return cmp.Compare(a.Name, b.Name) })
	return depths, err
}

func (m *Memory) depths(ctx context.Context) ([]Depth, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.aliveLocked(ctx); err != nil {
		return nil, err
	}
	depths := make([]Depth, len(m.places))
	for i, p := range m.places {
		d := &depths[i]
		d.Name, d.Held, d.Bodies = p.name, p.held, p.body
		d.Waiting = p.wheel.count + len(p.near.entries)
		d.Ready = p.line.len + len(p.late.entries)
		if d.Waiting > 0 {
			d.Next = m.clock.instant(m.earliestLocked(p))
		}
	}
	return depths, nil
}

// settle moves all that is due in the n-th place to where it counts as ready, in
// steps. It reports whether there is such a place.
func (m *Memory) settle(ctx context.Context, n int) (more bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		if err := m.aliveLocked(ctx); err != nil || n >= len(m.places) {
			return false, err
		}
		_, now := m.now()
		if m.settleLocked(m.places[n], now) {
			return true, nil
		}
		m.mu.Unlock()
		m.mu.Lock()
	}
}

// settleLocked does one step; done says that it was the last.
func (m *Memory) settleLocked(p *place, now int64) (done bool) {
	for budget := stepSize; budget > 0; budget-- {
		if len(p.near.entries) > 0 {
			if e := p.near.entries[0]; e.due <= now && tickOf(e.due) < p.wheel.pos {
				p.near.remove(&m.slots, e.slot)
				m.ripeLocked(p, e.slot)
				continue
			}
		}
		if done {
			return true
		}
		var n int
		n, done = p.wheel.turn(&m.slots, &p.near, tickOf(now), budget)
		budget -= n
	}
	return false
}

// earliestLocked returns the first due of what waits in p.
func (m *Memory) earliestLocked(p *place) int64 {
	at := int64(math.MaxInt64)
	if p.wheel.count > 0 {
		at = p.wheel.earliest(&m.slots, stepSize)
	}
	if len(p.near.entries) > 0 {
		at = min(at, p.near.entries[0].due)
	}
	return at
}

// List returns messages of a name in the order of their ids; see [Lister]. It
// looks at every message of the Memory, a few thousand at a time, so that nobody
// else waits long. A message that moves meanwhile may be left out.
func (m *Memory) List(ctx context.Context, name string, after resource.ID, limit int) ([]Message, error) {
	if limit < 1 {
		return nil, fmt.Errorf("queue: List: limit %d: want 1 or more", limit)
	}
	page := idPage{after: after, limit: limit}
	for n, more := 0, true; more; n++ {
		var err error
		if more, err = m.scan(ctx, name, n, &page); err != nil {
			return nil, err
		}
		page.trim() // outside the lock
	}
	var ms []Message
	for ids := range slices.Chunk(page.sorted(), stepSize) {
		var err error
		if ms, err = m.appendMessages(ctx, ms, name, ids); err != nil {
			return nil, err
		}
	}
	return ms, nil
}

// scan collects the ids of a name from the n-th chunk of the slab. It reports
// whether there may be more.
func (m *Memory) scan(ctx context.Context, name string, n int, page *idPage) (more bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.aliveLocked(ctx); err != nil {
		return false, err
	}
	number, ok := m.names[name]
	if !ok || n >= len(m.slots.chunks) || m.places[number].len() == 0 {
		return false, nil
	}
	for i := range m.slots.chunks[n] {
		sl := &m.slots.chunks[n][i]
		if is := sl.is(); sl.place == number && is != slotFree && is != inCommit {
			page.add(m.idLocked(int32(n<<slabBits + i)))
		}
	}
	return true, nil
}

// len returns how many messages the name has.
func (p *place) len() int {
	return p.wheel.count + len(p.near.entries) + p.line.len + len(p.late.entries) + p.held
}

// appendMessages appends the messages of resources that are still in the name.
func (m *Memory) appendMessages(ctx context.Context, ms []Message, name string, ids []resource.ID) ([]Message, error) {
	b := m.scratch.Get().(*scratch)
	defer m.release(b)
	if err := m.readAll(ctx, name, ids, b); err != nil {
		return nil, err
	}
	for _, d := range m.deliver(b) {
		ms = append(ms, d.Message)
	}
	return ms, nil
}

func (m *Memory) readAll(ctx context.Context, name string, ids []resource.ID, b *scratch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.aliveLocked(ctx); err != nil {
		return err
	}
	for _, id := range ids {
		if i, err := m.findLocked(id); err == nil && m.places[m.slots.at(i).place].name == name {
			m.readLocked(i, b)
		}
	}
	return nil
}

// idPage collects the smallest ids after one, up to limit.
type idPage struct {
	after resource.ID
	limit int
	ids   []resource.ID
	full  bool
	last  resource.ID // once full: the greatest that can still be on the page
}

func (p *idPage) add(id resource.ID) {
	if compareIDs(id, p.after) <= 0 || p.full && compareIDs(id, p.last) >= 0 {
		return
	}
	p.ids = append(p.ids, id)
}

// trim sorts when as many again as belong on the page have been collected. So an
// id costs a logarithm, however long the page, and the page twice its room.
func (p *idPage) trim() {
	if len(p.ids) > 2*p.limit+stepSize {
		p.sorted()
	}
}

// sorted returns the page so far.
func (p *idPage) sorted() []resource.ID {
	slices.SortFunc(p.ids, compareIDs)
	if len(p.ids) >= p.limit {
		p.ids = p.ids[:p.limit]
		p.full, p.last = true, p.ids[p.limit-1]
	}
	return p.ids
}

func compareIDs(a, b resource.ID) int { return slices.Compare(a[:], b[:]) }
