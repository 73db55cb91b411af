package queue

import (
	"container/list"
	"context"
	"errors"
	"fmt"

	"github.com/cannedos/cannedos/resource"
)

// A Commit goes through four stages, the last three under one hold of the lock:
//
//	encode   each next becomes a value, or the Commit is refused; what has to be
//	         known of done and next under the lock is gathered beside them
//	check    what is held, what is in, what has been passed; nothing changes: see
//	         memory_check.go
//	store    the values go into the arena, admissions into the index: this may
//	         fail and is then undone
//	apply    the rest, which can't fail; a value of the same size class goes where
//	         the former one lies
//
// Of a batch of 64 among a million messages nearly all is far away in the memory.
// So each stage begins by loading what it needs of the whole batch, with nothing
// in between that waits for it (touch): a few of those trips take as long as one.
//
// Between store and apply a [Durable] writes its journal; see memory_journal.go.

// encodedValue is a message of next on its way in.
type encodedValue struct {
	end     int // of its value in scratch.bytes
	version int64
	hash    uint32 // of its id, unless inTurn
	inTurn  bool   // done has the same resource in the same place
}

// given is a delivery of done.
type given struct {
	receipt uint64
	id      resource.ID
}

// change is what a Commit does with one message of next.
type change struct {
	kind    changeKind
	inPlace bool // of a move: the new value goes where the old one is, in apply
	slot    int32
	hold    int32  // of a move
	hash    uint32 // of an admission
	val     uint32 // the new value, once stored
	place   *place // once it is applied
	due     int64  // the same
}

type changeKind uint8

const (
	isMove changeKind = iota
	isAdmission
	isPassed // a move that has happened already: ignored
)

// errNoRoom says that a Commit has to wait.
var errNoRoom = errors.New("queue: memory: no room now")

// Commit moves, admits and retires; see [Session].
func (s *memorySession) Commit(ctx context.Context, done []Delivery, next ...Message) error {
	b := s.m.scratch.Get().(*scratch)
	defer s.m.release(b)
	return s.commit(ctx, done, next, b, s.applyLocked)
}

// commit takes a Commit as far as store, waits for room where it must, and then
// calls finish, still under the lock.
func (s *memorySession) commit(ctx context.Context, done []Delivery, next []Message, b *scratch,
	finish func(next []Message, b *scratch)) error {
	m := s.m
	if err := m.encode(done, next, b); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var turn *list.Element
	defer func() { m.room.leave(turn) }()
	for {
		err := s.overLocked(ctx)
		if err == nil {
			err = s.checkLocked(b, turn)
		}
		if err == nil {
			err = m.storeLocked(next, b)
		}
		if err == nil {
			finish(next, b)
		}
		if err != errNoRoom {
			return err
		}
		if turn == nil {
			turn = m.room.wait(b.need)
		}
		woken := turn.Value.(*admission).woken
		m.mu.Unlock()
		select {
		case <-woken:
		case <-ctx.Done():
		case <-s.over:
		}
		m.mu.Lock()
	}
}

// encode makes a value of each message, before the lock is taken, and reads all
// that checkLocked wants: a Message and a Delivery are half a kilobyte each, and
// a batch of them is read from end to end once, not once in each stage.
func (m *Memory) encode(done []Delivery, next []Message, b *scratch) error {
	for j := range done {
		b.given = append(b.given, given{done[j].Receipt, done[j].Resource.ID})
	}
	now, _ := m.now()
	for i := range next {
		if err := check(&next[i]); err != nil {
			return err
		}
		r := &next[i].Resource
		b.bytes = m.clock.appendValue(b.bytes, &next[i], r.Version+1, now)
		v := encodedValue{end: len(b.bytes), version: r.Version}
		if i < len(b.given) && b.given[i].id == r.ID {
			v.inTurn = true
		} else {
			v.hash = hashOf(m.seed, &r.ID)
		}
		b.values = append(b.values, v)
	}
	return nil
}

// storeLocked puts the values into the arena and the admissions into the index,
// where nobody sees them yet. After an error nothing of it is left.
func (m *Memory) storeLocked(next []Message, b *scratch) error {
	for i := range b.changes {
		c := &b.changes[i]
		if c.kind == isPassed {
			continue
		}
		if err := m.storeOneLocked(c, &next[i].Resource, b.value(i)); err != nil {
			m.unstoreLocked(b.changes[:i], b)
			return err
		}
	}
	m.room.used += max(b.need, 0) // what is given up is given up by apply
	return nil
}

func (m *Memory) storeOneLocked(c *change, r *resource.Resource, v value) (err error) {
	if c.kind == isMove {
		at := m.slots.at(c.slot).val
		v.setShared(m.texts.hold(r, v.flags(), value(m.arena.get(at)).shared()))
		if c.inPlace = m.arena.fits(at, len(v)); c.inPlace {
			return nil
		}
	} else {
		m.lastText = m.texts.hold(r, v.flags(), m.lastText)
		v.setShared(m.lastText)
	}
	if c.val, err = m.arena.put(v); err != nil {
		m.texts.release(v.shared())
		return err
	}
	if c.kind == isMove {
		return nil
	}
	c.slot = m.slots.take()
	sl := m.slots.at(c.slot)
	sl.state, sl.val = inCommit, c.val
	if m.index.add(c.hash, r.ID, c.slot) != c.slot {
		m.slots.give(c.slot)
		m.dropValueLocked(c.val)
		return fmt.Errorf("%w: resource %v is admitted twice in one Commit", ErrRefused, r.ID)
	}
	return nil
}

// unstoreLocked undoes storeLocked but for the room.
func (m *Memory) unstoreLocked(changes []change, b *scratch) {
	for i := range changes {
		switch c := &changes[i]; {
		case c.kind == isPassed:
		case c.inPlace:
			m.texts.release(b.value(i).shared())
		default:
			if c.kind == isAdmission {
				m.index.remove(c.hash, m.idLocked(c.slot))
				m.slots.give(c.slot)
			}
			m.dropValueLocked(c.val)
		}
	}
}

func (m *Memory) dropValueLocked(val uint32) {
	m.texts.release(value(m.arena.get(val)).shared())
	m.arena.drop(val)
}

// value returns the encoded value of the i-th message.
func (b *scratch) value(i int) value {
	start := 0
	if i > 0 {
		start = b.values[i-1].end
	}
	return b.bytes[start:b.values[i].end]
}

// applyLocked makes a Commit that was stored take effect.
func (s *memorySession) applyLocked(next []Message, b *scratch) {
	m := s.m
	now, at := m.now()
	m.room.used += min(b.need, 0)
	var p *place
	for i := range b.changes {
		c := &b.changes[i]
		if c.kind == isPassed {
			continue
		}
		if p == nil || p.name != next[i].Queue {
			p = m.placeLocked(next[i].Queue)
		}
		c.place, c.due = p, at
		if !next[i].Due.IsZero() {
			c.due = m.clock.nanos(next[i].Due, now)
		}
		b.touched ^= byte(p.wheel.touch(&m.slots, c.due))
	}
	for i := range b.changes {
		if c := &b.changes[i]; c.kind != isPassed {
			m.landLocked(c, next[i].Response, b.value(i), at)
		}
	}
	for j, h := range b.held {
		if h != 0 && !b.moved[j] {
			m.retireLocked(h)
		}
	}
	// Once for each name in a row, not once for each message.
	p = nil
	for i := range b.changes {
		if c := &b.changes[i]; c.kind != isPassed && c.place != p {
			p = c.place
			m.wakeLocked(p, at)
		}
	}
	m.room.wake()
}

// landLocked lets a message that was moved or admitted arrive. v is its value.
func (m *Memory) landLocked(c *change, response *resource.Response, v value, now int64) {
	sl := m.slots.at(c.slot)
	if c.kind == isMove {
		m.holds.drop(c.hold)
		m.leaveLocked(c.slot)
		m.replaceLocked(c, sl, v)
	}
	m.states[v.state()]++
	if response != nil {
		size := response.Size()
		m.bodies[c.slot] = body{response, size}
		c.place.body += size
	}
	m.seq++
	sl.due, sl.state = c.due, inCommit
	sl.setSeq(m.seq)
	m.putLocked(c.place, c.slot, now)
}

// replaceLocked gives a slot its new value, in the place of the old one.
func (m *Memory) replaceLocked(c *change, sl *slot, v value) {
	old := value(m.arena.get(sl.val))
	m.states[old.state()]--
	if c.inPlace {
		m.texts.release(old.shared())
		old.overwrite(v)
		return
	}
	m.dropValueLocked(sl.val)
	sl.val = c.val
}

// leaveLocked takes a slot that was held out of the counters of its name.
func (m *Memory) leaveLocked(i int32) {
	p := m.places[m.slots.at(i).place]
	p.held--
	if len(m.bodies) == 0 {
		return
	}
	if b, ok := m.bodies[i]; ok {
		p.body -= b.size
		delete(m.bodies, i)
	}
}

// retireLocked forgets what was held.
func (m *Memory) retireLocked(h int32) {
	i := m.holds.all[h].slot
	m.holds.drop(h)
	m.leaveLocked(i)
	val := m.slots.at(i).val
	v := value(m.arena.get(val))
	m.index.remove(m.index.hash(v.id()), *v.id())
	m.states[v.state()]--
	m.dropValueLocked(val)
	m.setAuxLocked(i, 0)
	m.slots.give(i)
}
