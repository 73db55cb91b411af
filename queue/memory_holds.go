package queue

// holds are the deliveries in the hands of sessions, each linked with the others
// of its session. A receipt is the number of a hold and the serial of this use
// of it, so that a receipt of an earlier use opens nothing.
type holds struct {
	all  []hold // number 0 is none
	free int32  // first unused one, linked by next
}

type hold struct {
	session *memorySession // nil: unused
	slot    int32
	next    int32
	prev    int32
	serial  uint32
	mark    int32 // 1 + the position in the Commit that is being checked
	fenced  bool  // in a Commit between prepare and its end: not in the list
}

// add notes that s holds a slot.
func (hs *holds) add(s *memorySession, slot int32) (h int32, receipt uint64) {
	if hs.free == 0 {
		if len(hs.all) == 0 {
			hs.all = append(hs.all, hold{})
		}
		hs.all = append(hs.all, hold{})
		hs.free = int32(len(hs.all) - 1)
	}
	h = hs.free
	e := &hs.all[h]
	hs.free = e.next
	*e = hold{session: s, slot: slot, serial: e.serial + 1}
	hs.link(h)
	return h, uint64(e.serial)<<32 | uint64(h)
}

// find returns the number of the hold of s that a receipt names; 0: s holds
// no such delivery, or a Commit has it.
func (hs *holds) find(s *memorySession, receipt uint64) int32 {
	h := receipt & (1<<32 - 1)
	if h >= uint64(len(hs.all)) {
		return 0
	}
	e := &hs.all[h]
	if e.session != s || e.fenced || e.serial != uint32(receipt>>32) {
		return 0
	}
	return int32(h)
}

// drop forgets a hold.
func (hs *holds) drop(h int32) {
	e := &hs.all[h]
	if !e.fenced {
		hs.unlink(h)
	}
	*e = hold{serial: e.serial, next: hs.free}
	hs.free = h
}

// fence takes a hold out of reach of its session's end; unfence puts it back.
func (hs *holds) fence(h int32) {
	hs.unlink(h)
	hs.all[h].fenced = true
}

func (hs *holds) unfence(h int32) {
	hs.all[h].fenced = false
	hs.link(h)
}

func (hs *holds) link(h int32) {
	e := &hs.all[h]
	e.prev, e.next = 0, e.session.first
	if e.next != 0 {
		hs.all[e.next].prev = h
	}
	e.session.first = h
}

func (hs *holds) unlink(h int32) {
	e := &hs.all[h]
	if e.prev != 0 {
		hs.all[e.prev].next = e.next
	} else {
		e.session.first = e.next
	}
	if e.next != 0 {
		hs.all[e.next].prev = e.prev
	}
}
