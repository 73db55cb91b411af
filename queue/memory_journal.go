package queue

import (
	"context"
	"fmt"

	"github.com/cannedos/cannedos/resource"
)

// What a queue over Memory needs to keep a journal of it. The order of a Commit
// with a journal is
//
//	p, err := session.prepare(ctx, done, next...)   all checks, room, and a fence
//	... write what p says to the journal ...
//	p.apply()  or  p.abort()                        exactly one of them, exactly once
//
// and after prepare nothing can fail any more. Between the two
//
//   - the deliveries in done stay in the hands of the Commit, not of the session:
//     its end doesn't give them back, and another Commit finds them lost;
//   - admissions have their place (another one of the same resource gets
//     ExistsError) and their room, but nobody finds or receives them;
//   - no lock is held, and Close of the Memory may come: apply and abort then do
//     nothing.
//
// After a write of unknown outcome keep the prepared Commit and write it again;
// abort only what certainly hasn't reached the journal.
//
// Besides, each message may carry one number of its journal (aux), such as the
// version of its record, which Memory keeps and never looks at. It stays with
// the resource over all moves, until it is retired.

// prepared is a Commit between its checks and its effect. Its methods are to be
// called by one goroutine.
type prepared struct {
	s    *memorySession
	done []Delivery
	next []Message
	b    *scratch
}

// prepare does all of a Commit but its effect. The errors are those of
// [Session.Commit], with nothing changed. done and next must stay as they are
// until apply or abort.
func (s *memorySession) prepare(ctx context.Context, done []Delivery, next ...Message) (*prepared, error) {
	p := &prepared{s: s, done: done, next: next, b: new(scratch)}
	if err := s.commit(ctx, done, next, p.b, s.fenceLocked); err != nil {
		return nil, err
	}
	return p, nil
}

func (s *memorySession) fenceLocked(_ []Message, b *scratch) {
	for _, h := range b.held {
		if h != 0 {
			s.m.holds.fence(h)
		}
	}
}

// journaled is what a journal must know of one message of a prepared Commit.
type journaled struct {
	ID      resource.ID
	Version int64 // that it will have; of a retirement: that it had
	Aux     int64 // 0 for an admission

	// Index is the position in next, or, for a retirement, in done.
	Index   int
	Retired bool
}

// entries returns what the Commit will change, the messages of next in order
// and then the retirements. Moves that have happened already are left out. It
// returns nothing once the Memory is closed.
func (p *prepared) entries() []journaled {
	m := p.s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	var all []journaled
	for i, c := range p.b.changes {
		if c.kind == isPassed {
			continue
		}
		r := &p.next[i].Resource
		all = append(all, journaled{ID: r.ID, Version: r.Version + 1, Aux: m.auxLocked(c.slot), Index: i})
	}
	for j, h := range p.b.held {
		if h != 0 && !p.b.moved[j] {
			r := &p.done[j].Resource
			all = append(all, journaled{ID: r.ID, Version: r.Version, Aux: m.auxLocked(m.holds.all[h].slot), Index: j, Retired: true})
		}
	}
	return all
}

// apply makes the Commit take effect. aux gives, for the entries that are not
// retired and in their order, the new number of each; nil leaves them as they
// are. A Due of zero counts from now.
func (p *prepared) apply(aux []int64) {
	m := p.s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	for _, c := range p.b.changes {
		if c.kind != isPassed && len(aux) > 0 {
			m.setAuxLocked(c.slot, aux[0])
			aux = aux[1:]
		}
	}
	p.s.applyLocked(p.next, p.b)
}

// abort undoes prepare: the session holds its deliveries again, and those of a
// session that has ended meanwhile return, marked Redelivered.
func (p *prepared) abort() {
	m := p.s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.unstoreLocked(p.b.changes, p.b)
	m.room.used -= max(p.b.need, 0)
	_, now := m.now()
	for _, h := range p.b.held {
		if h == 0 {
			continue
		}
		if p.s.ended {
			m.giveBackLocked(h, now)
		} else {
			m.holds.unfence(h)
		}
	}
	m.room.wake()
}

// load puts in a message from a journal, without a session, without waiting for
// room and with the version as it is. Call it before the first session is
// opened, for messages of the same due in the order in which they arrived.
func (m *Memory) load(msg Message, marked bool, aux int64) error {
	if err := check(&msg); err != nil {
		return err
	}
	now, at := m.now()
	v := value(m.clock.appendValue(nil, &msg, msg.Resource.Version, now))
	h := hashOf(m.seed, &msg.Resource.ID)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if m.index.find(h, msg.Resource.ID) != 0 {
		return &ExistsError{IDs: []resource.ID{msg.Resource.ID}}
	}
	c := change{kind: isAdmission, hash: h}
	if err := m.storeOneLocked(&c, &msg.Resource, v); err != nil {
		return fmt.Errorf("queue: load: %w", err)
	}
	m.room.used++
	m.setAuxLocked(c.slot, aux)
	p := m.placeLocked(msg.Queue)
	c.place, c.due = p, at
	if !msg.Due.IsZero() {
		c.due = m.clock.nanos(msg.Due, now)
	}
	if p.wheel.count == 0 && len(p.near.entries)+len(p.late.entries)+p.line.len == 0 {
		// What was due while nobody was there goes through the wheel too,
		// which puts any number in order cheaply and little by little.
		const back = 50 * 24 * 3600 * 1e9
		p.wheel.pos = tickOf(at - back)
		p.wheel.count++ // so that landing leaves pos alone
		defer func() { p.wheel.count-- }()
	}
	m.landLocked(&c, msg.Response, v, at)
	if marked {
		m.slots.at(c.slot).state |= redelivered
	}
	m.wakeLocked(p, at)
	return nil
}

// auxLocked returns the number that the journal has given to slot i.
func (m *Memory) auxLocked(i int32) int64 {
	if n := int(i >> slabBits); n < len(m.aux) && m.aux[n] != nil {
		return m.aux[n][i&(slabChunk-1)]
	}
	return 0
}

// setAuxLocked keeps a number for slot i, in chunks beside those of the slab
// that exist only where a number other than 0 was ever set.
func (m *Memory) setAuxLocked(i int32, aux int64) {
	n := int(i >> slabBits)
	if aux == 0 && (n >= len(m.aux) || m.aux[n] == nil) {
		return
	}
	for len(m.aux) <= n {
		m.aux = append(m.aux, nil)
	}
	if m.aux[n] == nil {
		m.aux[n] = new([slabChunk]int64)
	}
	m.aux[n][i&(slabChunk-1)] = aux
}
