package queue

import (
	"container/list"
	"fmt"

	"github.com/cannedos/cannedos/resource"
)

// checkLocked decides what the Commit does with each message, and changes
// nothing. The errors are those of [Session.Commit], or errNoRoom.
func (s *memorySession) checkLocked(b *scratch, turn *list.Element) error {
	m := s.m
	b.held, b.moved, b.changes = b.held[:0], b.moved[:0], b.changes[:0]
	defer func() {
		for _, h := range b.held {
			if h != 0 {
				m.holds.all[h].mark = 0
			}
		}
	}()
	x := int32(0)
	for i := range b.values {
		if v := &b.values[i]; !v.inTurn {
			x ^= m.index.touch(v.hash)
		}
	}
	b.touched = byte(x)
	stale := 0
	for j := range b.given {
		h := s.heldLocked(&b.given[j])
		if h == 0 {
			stale++
		} else if m.holds.all[h].mark != 0 {
			return fmt.Errorf("%w: resource %v is given up twice in one Commit", ErrRefused, b.given[j].id)
		} else {
			m.holds.all[h].mark = int32(j) + 1
		}
		b.held = append(b.held, h)
		b.moved = append(b.moved, false)
	}
	var exists []resource.ID
	match := matcher{given: b.given, stale: stale, held: b.held}
	for i := range b.values {
		c, err := s.decideLocked(i, b, &match)
		if err == ErrExists {
			exists = append(exists, *b.value(i).id())
		} else if err != nil {
			return err
		}
		b.changes = append(b.changes, c)
	}
	return s.verdictLocked(b, exists, turn)
}

// heldLocked returns the hold of a delivery, 0 if s doesn't hold it.
func (s *memorySession) heldLocked(g *given) int32 {
	h := s.m.holds.find(s, g.receipt)
	if h != 0 && s.m.idLocked(s.m.holds.all[h].slot) != g.id {
		return 0
	}
	return h
}

// decideLocked says what becomes of the i-th message of next.
func (s *memorySession) decideLocked(i int, b *scratch, match *matcher) (change, error) {
	m, v := s.m, &b.values[i]
	id, version := b.value(i).id(), v.version
	j, slot, hash := -1, int32(0), v.hash
	if v.inTurn {
		j = i // as nearly everybody writes it
		if h := b.held[j]; h != 0 {
			slot = m.holds.all[h].slot
		} else {
			hash = m.index.hash(id)
		}
	}
	if slot == 0 {
		slot = m.index.find(hash, *id)
	}
	if j < 0 {
		if slot != 0 && m.slots.at(slot).is() == inHand {
			j = int(m.holds.all[m.slots.at(slot).next].mark) - 1
		}
		if j < 0 {
			j = match.find(*id)
		}
	}
	switch {
	case j < 0 && slot != 0:
		return change{}, ErrExists
	case j < 0:
		return change{kind: isAdmission, hash: hash}, nil
	case b.moved[j]:
		return change{}, fmt.Errorf("%w: resource %v is moved twice in one Commit", ErrRefused, *id)
	case b.held[j] == 0:
		if slot != 0 && m.slots.at(slot).is() != inCommit && m.valueLocked(m.slots.at(slot)).version() > version {
			b.moved[j] = true
		} // else it is lost: verdictLocked finds it neither held nor moved
		return change{kind: isPassed}, nil
	}
	if stored := m.valueLocked(m.slots.at(slot)).version(); stored != version {
		return change{}, fmt.Errorf("%w: Version of resource %v: %d: want %d, the one received", ErrRefused, *id, version, stored)
	}
	b.moved[j] = true
	return change{kind: isMove, slot: slot, hold: b.held[j]}, nil
}

// verdictLocked looks at the Commit as a whole.
func (s *memorySession) verdictLocked(b *scratch, exists []resource.ID, turn *list.Element) error {
	var lost []resource.ID
	b.need = 0
	for j, h := range b.held {
		switch {
		case b.moved[j]:
		case h == 0:
			lost = append(lost, b.given[j].id)
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
	given []given
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
				x.byID[x.given[j].id] = j
			}
		}
	}
	if j, ok := x.byID[id]; ok {
		return j
	}
	return -1
}
