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
//	encode   each next becomes a value, or the Commit is refused
//	check    what is held, what is in, what has been passed; nothing changes
//	store    the values go into the arena, admissions into the index: this may
//	         fail and is then undone
//	apply    the rest, which can't fail
//
// Between store and apply a [Durable] writes its journal; see memory_journal.go.

// encodedValue is a message of next on its way in.
type encodedValue struct {
	end    int // of its value in scratch.bytes
	shared texts
	idAt   uint8
}

// change is what a Commit does with one message of next.
type change struct {
	kind changeKind
	slot int32
	hold int32  // of a move
	val  uint32 // the new value, once stored
	idAt uint8
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
	if err := m.encode(next, b); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var turn *list.Element
	defer func() { m.room.leave(turn) }()
	for {
		err := s.overLocked(ctx)
		if err == nil {
			err = s.checkLocked(done, next, b, turn)
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

// encode makes a value of each message, before the lock is taken.
func (m *Memory) encode(next []Message, b *scratch) error {
	now, _ := m.now()
	for i := range next {
		err := check(&next[i])
		if err != nil {
			return err
		}
		var v encodedValue
		b.bytes, v.shared, v.idAt, err = m.clock.appendValue(b.bytes, &next[i], next[i].Resource.Version+1, now)
		if err != nil {
			return err
		}
		v.end = len(b.bytes)
		b.values = append(b.values, v)
	}
	return nil
}

// checkLocked decides what the Commit does with each message, and changes
// nothing. The errors are those of [Session.Commit], or errNoRoom.
func (s *memorySession) checkLocked(done []Delivery, next []Message, b *scratch, turn *list.Element) error {
	m := s.m
	b.held, b.moved, b.changes = b.held[:0], b.moved[:0], b.changes[:0]
	defer func() {
		for _, h := range b.held {
			if h != 0 {
				m.holds.all[h].mark = 0
			}
		}
	}()
	stale := 0
	for j := range done {
		h := s.heldLocked(&done[j])
		if h == 0 {
			stale++
		} else if m.holds.all[h].mark != 0 {
			return fmt.Errorf("%w: resource %v is given up twice in one Commit", ErrRefused, done[j].Resource.ID)
		} else {
			m.holds.all[h].mark = int32(j) + 1
		}
		b.held = append(b.held, h)
		b.moved = append(b.moved, false)
	}
	var exists []resource.ID
	match := matcher{done: done, stale: stale, held: b.held}
	for i := range next {
		c, err := s.decideLocked(&next[i], i, b, &match)
		if err == ErrExists {
			exists = append(exists, next[i].Resource.ID)
		} else if err != nil {
			return err
		}
		b.changes = append(b.changes, c)
	}
	return s.verdictLocked(done, b, exists, turn)
}

// heldLocked returns the hold of a delivery, 0 if s doesn't hold it.
func (s *memorySession) heldLocked(d *Delivery) int32 {
	h := s.m.holds.find(s, d.Receipt)
	if h != 0 && s.m.idLocked(s.m.holds.all[h].slot) != d.Resource.ID {
		return 0
	}
	return h
}

// decideLocked says what becomes of next message m, the i-th.
func (s *memorySession) decideLocked(msg *Message, i int, b *scratch, match *matcher) (change, error) {
	m, id, version := s.m, msg.Resource.ID, msg.Resource.Version
	j, slot := -1, int32(0)
	if i < len(match.done) && match.done[i].Resource.ID == id {
		j = i // as nearly everybody writes it
		if h := b.held[j]; h != 0 {
			slot = m.holds.all[h].slot
		}
	}
	if slot == 0 {
		slot = m.index.find(id)
	}
	if j < 0 {
		if slot != 0 && m.slots.at(slot).is() == inHand {
			j = int(m.holds.all[m.slots.at(slot).next].mark) - 1
		}
		if j < 0 {
			j = match.find(id)
		}
	}
	switch {
	case j < 0 && slot != 0:
		return change{}, ErrExists
	case j < 0:
		return change{kind: isAdmission}, nil
	case b.moved[j]:
		return change{}, fmt.Errorf("%w: resource %v is moved twice in one Commit", ErrRefused, id)
	case b.held[j] == 0:
		if slot != 0 && m.slots.at(slot).is() != inCommit && m.valueLocked(m.slots.at(slot)).version() > version {
			b.moved[j] = true
		} // else it is lost: verdictLocked finds it neither held nor moved
		return change{kind: isPassed}, nil
	}
	if stored := m.valueLocked(m.slots.at(slot)).version(); stored != version {
		return change{}, fmt.Errorf("%w: Version of resource %v: %d: want %d, the one received", ErrRefused, id, version, stored)
	}
	b.moved[j] = true
	return change{kind: isMove, slot: slot, hold: b.held[j]}, nil
}

// verdictLocked looks at the Commit as a whole.
func (s *memorySession) verdictLocked(done []Delivery, b *scratch, exists []resource.ID, turn *list.Element) error {
	var lost []resource.ID
	b.need = 0
	for j, h := range b.held {
		switch {
		case b.moved[j]:
		case h == 0:
			lost = append(lost, done[j].Resource.ID)
		default:
			b.need-- // retired
		}
	}
	if lost != nil {
		return &LostError{IDs: lost}
	}
	if exists != nil {
		return &ExistsError{IDs: exists}
	}
	for _, c := range b.changes {
		if c.kind == isAdmission {
			b.need++
		}
	}
	if b.need > s.m.room.capacity {
		return fmt.Errorf("%w: %d admissions at once into a queue for %d messages", ErrRefused, b.need, s.m.room.capacity)
	}
	if !s.m.room.fits(b.need, turn) {
		return errNoRoom
	}
	return nil
}

// matcher finds the position of a resource among the deliveries that are not
// held, for the rare Commit that has any.
type matcher struct {
	done  []Delivery
	held  []int32
	stale int
	byID  map[resource.ID]int
}

func (x *matcher) find(id resource.ID) int {
	if x.stale == 0 {
		return -1
	}
	if x.byID == nil {
		x.byID = make(map[resource.ID]int, x.stale)
		for j, h := range x.held {
			if h == 0 {
				x.byID[x.done[j].Resource.ID] = j
			}
		}
	}
	if j, ok := x.byID[id]; ok {
		return j
	}
	return -1
}

// storeLocked puts the values into the arena and the admissions into the index,
// where nobody sees them yet. After an error nothing of it is left.
func (m *Memory) storeLocked(next []Message, b *scratch) error {
	for i := range b.changes {
		c := &b.changes[i]
		if c.kind == isPassed {
			continue
		}
		err := m.storeOneLocked(c, next[i].Resource.ID, b.value(i), &b.values[i])
		if err != nil {
			m.unstoreLocked(b.changes[:i])
			return err
		}
	}
	m.room.used += max(b.need, 0) // what is given up is given up by apply
	return nil
}

func (m *Memory) storeOneLocked(c *change, id resource.ID, v value, e *encodedValue) (err error) {
	like := m.lastText
	if c.kind == isMove {
		like = m.valueLocked(m.slots.at(c.slot)).shared()
	}
	shared := m.texts.hold(e.shared, like)
	v.setShared(shared)
	if c.val, err = m.arena.put(v); err != nil {
		m.texts.release(shared)
		return err
	}
	c.idAt = e.idAt
	if c.kind == isAdmission {
		m.lastText = shared
		c.slot = m.slots.take()
		sl := m.slots.at(c.slot)
		sl.state, sl.val, sl.idAt = inCommit, c.val, c.idAt
		if m.index.add(id, c.slot) != c.slot {
			m.slots.give(c.slot)
			m.dropValueLocked(c.val)
			return fmt.Errorf("%w: resource %v is admitted twice in one Commit", ErrRefused, id)
		}
	}
	return nil
}

// unstoreLocked undoes storeLocked but for the room.
func (m *Memory) unstoreLocked(changes []change) {
	for _, c := range changes {
		switch c.kind {
		case isAdmission:
			m.index.remove(m.idLocked(c.slot))
			m.slots.give(c.slot)
			fallthrough
		case isMove:
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
	for i := range b.changes {
		c := &b.changes[i]
		if c.kind == isPassed {
			continue
		}
		due := at
		if !next[i].Due.IsZero() {
			due = m.clock.nanos(next[i].Due, now)
		}
		m.landLocked(c, &next[i], due, at)
	}
	for j, h := range b.held {
		if h != 0 && !b.moved[j] {
			m.retireLocked(h)
		}
	}
	// Once for each name in a row, not once for each message.
	for i := range next {
		if i == 0 || next[i].Queue != next[i-1].Queue {
			m.wakeLocked(m.placeLocked(next[i].Queue), at)
		}
	}
	m.room.wake()
}

// landLocked lets a message that was moved or admitted arrive.
func (m *Memory) landLocked(c *change, msg *Message, due, now int64) {
	sl := m.slots.at(c.slot)
	if c.kind == isMove {
		m.holds.drop(c.hold)
		m.leaveLocked(c.slot)
		m.states[m.stateLocked(sl)]--
		m.dropValueLocked(sl.val)
		sl.val, sl.idAt = c.val, c.idAt
	}
	m.states[m.stateLocked(sl)]++
	p := m.placeLocked(msg.Queue)
	if msg.Response != nil {
		size := msg.Response.Size()
		m.bodies[c.slot] = body{msg.Response, size}
		p.body += size
	}
	m.seq++
	sl.due, sl.state = due, inCommit
	sl.setSeq(m.seq)
	m.putLocked(p, c.slot, now)
}

// leaveLocked takes a slot that was held out of the counters of its name.
func (m *Memory) leaveLocked(i int32) {
	p := m.places[m.slots.at(i).place]
	p.held--
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
	m.index.remove(m.idLocked(i))
	m.states[m.stateLocked(m.slots.at(i))]--
	m.dropValueLocked(m.slots.at(i).val)
	m.setAuxLocked(i, 0)
	m.slots.give(i)
}
