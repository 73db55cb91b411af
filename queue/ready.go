package queue

// What a name has to deliver soon lies in three places outside the wheel:
//
//	near   due before the end of the wheel's present tick, and not due yet
//	line   due, in order: who comes last goes last
//	late   due, and come out of order: given back, or admitted with a due
//	       before that of the end of the line
//
// The next delivery is the first of the three in (due, arrival). Nearly all go
// through the line or near; a line is linked through the slots and costs
// nothing.

// line is a list of messages that are due, in order of (due, arrival).
type line struct {
	first, last int32
	len         int
}

func (l *line) push(s *slab, i int32) {
	sl := s.at(i)
	sl.become(inLine)
	sl.next, sl.prev = 0, l.last
	if l.last != 0 {
		s.at(l.last).next = i
	} else {
		l.first = i
	}
	l.last = i
	l.len++
}

func (l *line) remove(s *slab, i int32) {
	sl := s.at(i)
	if sl.prev != 0 {
		s.at(sl.prev).next = sl.next
	} else {
		l.first = sl.next
	}
	if sl.next != 0 {
		s.at(sl.next).prev = sl.prev
	} else {
		l.last = sl.prev
	}
	l.len--
}

// heap is a heap of four children each, ordered by (due, arrival). Its entries
// carry their order with them, so that comparing touches no slot; each slot
// knows its position, so that it can be taken out of the middle.
type heap struct {
	is      state // of the slots in it
	entries []heapEntry
	steps   int // entries put somewhere, for the test that counts them
}

type heapEntry struct {
	due  int64
	seq  uint64
	slot int32
}

func (e *heapEntry) before(o *heapEntry) bool {
	return e.due < o.due || e.due == o.due && e.seq < o.seq
}

func (h *heap) push(s *slab, i int32) {
	sl := s.at(i)
	sl.become(h.is)
	h.entries = append(h.entries, heapEntry{})
	h.up(s, len(h.entries)-1, heapEntry{sl.due, sl.seq(), i})
}

// remove takes the slot out, wherever in the heap it is.
func (h *heap) remove(s *slab, i int32) {
	at := int(s.at(i).prev)
	n := len(h.entries) - 1
	last := h.entries[n]
	h.entries = h.entries[:n]
	if c := cap(h.entries); c > 256 && n < c/4 {
		h.entries = append(make([]heapEntry, 0, c/2), h.entries...) // a herd has passed
	}
	if at == n {
		return
	}
	if at > 0 && last.before(&h.entries[(at-1)/4]) {
		h.up(s, at, last)
	} else {
		h.down(s, at, last)
	}
}

// up and down put e in at the free position at, or where it belongs from there.

func (h *heap) up(s *slab, at int, e heapEntry) {
	for at > 0 {
		parent := (at - 1) / 4
		if !e.before(&h.entries[parent]) {
			break
		}
		h.set(s, at, h.entries[parent])
		at = parent
	}
	h.set(s, at, e)
}

func (h *heap) down(s *slab, at int, e heapEntry) {
	for {
		child := 4*at + 1
		if child >= len(h.entries) {
			break
		}
		for other := child + 1; other < min(4*at+5, len(h.entries)); other++ {
			if h.entries[other].before(&h.entries[child]) {
				child = other
			}
		}
		if !h.entries[child].before(&e) {
			break
		}
		h.set(s, at, h.entries[child])
		at = child
	}
	h.set(s, at, e)
}

func (h *heap) set(s *slab, at int, e heapEntry) {
	h.steps++
	h.entries[at] = e
	s.at(e.slot).prev = int32(at)
}
