package queue

import (
	"container/list"
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// MaxCapacity is the most messages that a [Memory] can hold: 2^27, 134 million.
const MaxCapacity = 1 << 27

// MemoryConfig is what NewMemory needs to know. The zero value is good.
type MemoryConfig struct {
	// Capacity is the most messages that the queue holds over all names, those
	// in the hands of sessions included. An admission beyond it waits, in order
	// of arrival, until messages are retired; a move never does. Zero means
	// [MaxCapacity].
	Capacity int
}

// Memory is a [Queue] in the memory of the process. It forgets everything when
// it is closed or the process ends. It is a [Finder], a [Depther], a
// [Lister] and a [Stater], and its sessions are [Taker]s.
//
// Beyond the promises of the package:
//
//   - A Commit is decided at once and its outcome is always known: with an error
//     nothing has changed. A repeated one does no harm: a move whose version has
//     been passed is ignored, a retirement that has happened is a [LostError],
//     an admission that has happened an [ExistsError].
//   - Nothing runs in the background, and nothing is kept per message but its
//     bytes: receivers drive the clock while they wait, with one timer for each
//     name that somebody waits for. One message wakes one receiver.
//   - Instants count by the monotonic clock: a jump of the wall clock neither
//     delays nor hastens anything. A Due more than 292 years away is taken as
//     292 years.
//   - Receive returns at most 1024 messages at a time, whatever the limit. A
//     Commit has no limit, but takes effect in one go: while one of 100,000
//     does, all others wait for tens of milliseconds. Keep to some hundreds. The
//     texts of neighbours share objects of 1 KiB: whoever keeps one text of a
//     delivery for long keeps that much, and clones it where it matters.
//   - A name, once used, is kept, with some 500 bytes. Room that messages
//     have taken is used again, but given back to the system only in part.
type Memory struct {
	clock   clock
	seed    maphash.Seed // of the index
	scratch sync.Pool    // of *scratch

	mu       sync.Mutex // guards what follows; never held while anything waits
	closed   bool
	slots    slab
	arena    arena
	index    index
	texts    interner
	seq      uint64 // arrivals so far
	holds    holds
	places   []*place
	names    map[string]int32
	bodies   map[int32]body      // by slot
	aux      []*[slabChunk]int64 // by slot: see setAuxLocked; nil while unused
	room     room
	states   [256]int // resources that are in, by state
	sessions map[*memorySession]struct{}
	idle     []*receiver // for use again
	lastText uint32      // shared texts of the latest admission
}

// place is what is known of a name.
type place struct {
	name   string
	number int32

	wheel wheel
	near  heap
	line  line
	late  heap
	held  int
	body  int64 // bytes of responses

	receivers list.List // of *receiver: those that wait and were not woken
	woken     int       // receivers that were woken and have not looked yet
}

// body is a response in the queue, and what it counts for.
type body struct {
	*resource.Response
	size int64
}

// NewMemory returns an empty queue. It starts nothing; Close gives it up. The
// error says which field of the configuration is out of its bounds.
func NewMemory(config MemoryConfig) (*Memory, error) {
	if config.Capacity < 0 || config.Capacity > MaxCapacity {
		return nil, fmt.Errorf("queue: MemoryConfig.Capacity: %d: want 1 to %d, or 0 for the most", config.Capacity, MaxCapacity)
	}
	if config.Capacity == 0 {
		config.Capacity = MaxCapacity
	}
	m := &Memory{
		clock:    clock{base: time.Now()},
		seed:     maphash.MakeSeed(),
		arena:    newArena(),
		texts:    newInterner(),
		names:    map[string]int32{},
		bodies:   map[int32]body{},
		room:     room{capacity: config.Capacity},
		sessions: map[*memorySession]struct{}{},
	}
	m.scratch.New = func() any { return new(scratch) }
	m.index = newIndex(m.seed, m.idLocked)
	return m, nil
}

// Open begins a session; see [Queue].
func (m *Memory) Open(ctx context.Context) (Session, error) {
	s, err := m.open(ctx)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (m *Memory) open(ctx context.Context) (*memorySession, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s := &memorySession{m: m, over: make(chan struct{}), returned: make(chan struct{})}
	s.stop = context.AfterFunc(ctx, s.end)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		s.stop()
		return nil, ErrClosed
	}
	if !s.ended {
		m.sessions[s] = struct{}{}
	}
	return s, nil
}

// Close ends all sessions and drops all messages; see [Queue].
func (m *Memory) Close() error {
	m.mu.Lock()
	m.closed = true
	var all []*memorySession
	for s := range m.sessions {
		all = append(all, s)
	}
	m.mu.Unlock()
	for _, s := range all {
		s.Close()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.slots, m.arena, m.texts, m.holds = slab{}, newArena(), newInterner(), holds{}
	m.index = newIndex(m.seed, m.idLocked)
	m.places, m.names, m.bodies, m.aux, m.idle = nil, map[string]int32{}, nil, nil, nil
	return nil
}

// now returns the instant, and the same on the clock of m.
func (m *Memory) now() (time.Time, int64) {
	now := time.Now()
	return now, int64(now.Sub(m.clock.base))
}

// valueLocked returns the value of a slot. It is the arena's own.
func (m *Memory) valueLocked(sl *slot) value { return value(m.arena.get(sl.val)).whole() }

// idLocked returns the id of the resource in a slot.
func (m *Memory) idLocked(i int32) resource.ID {
	return *value(m.arena.get(m.slots.at(i).val)).id()
}

// placeLocked returns the place of a name that has been checked.
func (m *Memory) placeLocked(name string) *place {
	if i, ok := m.names[name]; ok {
		return m.places[i]
	}
	p := &place{name: string([]byte(name)), number: int32(len(m.places))}
	p.near.is, p.late.is = inNear, inLate
	m.places = append(m.places, p)
	m.names[p.name] = p.number
	return p
}

// putLocked lets slot i wait in p until it is due. Its due and seq are set.
func (m *Memory) putLocked(p *place, i int32, now int64) {
	sl := m.slots.at(i)
	sl.place = p.number
	if p.wheel.count == 0 {
		// Nothing to pass on the way: what is due needs no wheel.
		p.wheel.pos = max(p.wheel.pos, tickOf(now)+1)
	}
	switch {
	case tickOf(sl.due) >= p.wheel.pos:
		p.wheel.insert(&m.slots, i)
	case sl.due > now:
		p.near.push(&m.slots, i)
	default:
		m.ripeLocked(p, i)
	}
}

// ripeLocked puts slot i, which is due, where it belongs in the order.
func (m *Memory) ripeLocked(p *place, i int32) {
	if p.line.last != 0 && m.slots.at(i).before(m.slots.at(p.line.last)) {
		p.late.push(&m.slots, i)
		return
	}
	p.line.push(&m.slots, i)
}

// removeLocked takes slot i out of p, wherever in it it waits.
func (m *Memory) removeLocked(p *place, i int32) {
	switch m.slots.at(i).is() {
	case inWheel:
		p.wheel.remove(&m.slots, i)
	case inNear:
		p.near.remove(&m.slots, i)
	case inLine:
		p.line.remove(&m.slots, i)
	case inLate:
		p.late.remove(&m.slots, i)
	}
}

// firstLocked returns the slot that is to be delivered next of those outside
// the wheel, if it is due: the first of line, late and near. 0: there is none.
func (m *Memory) firstLocked(p *place, now int64) int32 {
	i := p.line.first
	if len(p.late.entries) > 0 {
		if late := p.late.entries[0].slot; i == 0 || m.slots.at(late).before(m.slots.at(i)) {
			i = late
		}
	}
	if len(p.near.entries) > 0 {
		// A tick that the wheel is still emptying isn't in order yet.
		if e := &p.near.entries[0]; e.due <= now && tickOf(e.due) < p.wheel.pos {
			if i == 0 || m.slots.at(e.slot).before(m.slots.at(i)) {
				i = e.slot
			}
		}
	}
	return i
}

// nextLocked returns the instant at which p must be looked at again: that of
// its first message, or of the wheel when that has something to do before.
func (m *Memory) nextLocked(p *place, now int64) (at int64, ok bool) {
	if p.line.len > 0 || len(p.late.entries) > 0 {
		return now, true
	}
	if p.wheel.count > 0 {
		at, ok = p.wheel.start()
	}
	if len(p.near.entries) > 0 && (!ok || p.near.entries[0].due < at) {
		at, ok = p.near.entries[0].due, true
	}
	return at, ok
}
