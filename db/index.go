package db

import (
	"encoding/binary"
	"hash/maphash"
)

// index is the table of one space: from id to a slot that holds the version
// and a byte string of the store's choice. A record keeps its slot for as
// long as it exists, which is what lets a scan walk the slots in pieces and
// see each record once. It holds no pointer per record: about 40 bytes, plus
// the cell with id and payload. Not safe for concurrent use.
type index struct {
	seed    maphash.Seed
	heads   map[uint32]uint32 // hash of id to slot+1; collisions are chained
	entries pages[entry]
	cells   arena
	free    uint32 // slot+1 of the first free slot, chained
	n       int    // records
}

// entry is one slot. A free one has version 0.
type entry struct {
	version int64
	next    uint32 // slot+1 of the next in the chain
	cell    uint32
	size    uint32 // bytes used of the cell, below 1<<24, and its class above
}

func newIndex() *index {
	return &index{seed: maphash.MakeSeed(), heads: make(map[uint32]uint32)}
}

// slots is the bound of a walk over at; it grows and never shrinks.
func (x *index) slots() uint32 { return x.entries.len() }

func (x *index) find(id string) (slot uint32, ok bool) {
	for s := x.heads[x.hash(id)]; s != 0; s = x.entries.at(s - 1).next {
		if got, _ := x.split(x.entries.at(s - 1)); string(got) == id {
			return s - 1, true
		}
	}
	return 0, false
}

// at returns what slot holds; version 0 means that it is free. The bytes are
// valid until the next change of the index.
func (x *index) at(slot uint32) (id []byte, version int64, payload []byte) {
	e := x.entries.at(slot)
	if e.version == 0 {
		return nil, 0, nil
	}
	id, payload = x.split(e)
	return id, e.version, payload
}

// put inserts or replaces a record, copying payload in, and returns its slot.
func (x *index) put(id string, version int64, payload []byte) uint32 {
	slot, ok := x.find(id)
	if ok {
		e := x.entries.at(slot)
		e.version = version
		size, class := x.size(id, payload), int(e.size>>24)
		if classOf(size) == class && class != bigClass {
			x.fill(e, class, id, payload, size)
			return slot
		}
		x.cells.release(class, e.cell)
		x.store(e, id, payload)
		return slot
	}
	if x.free != 0 {
		slot = x.free - 1
		x.free = x.entries.at(slot).next
	} else {
		slot = x.entries.len()
		x.entries.push(entry{})
	}
	h := x.hash(id)
	e := x.entries.at(slot)
	*e = entry{version: version, next: x.heads[h]}
	x.heads[h] = slot + 1
	x.store(e, id, payload)
	x.n++
	return slot
}

// remove deletes a record, if there is one, and frees its slot.
func (x *index) remove(id string) {
	h := x.hash(id)
	before := uint32(0)
	for s := x.heads[h]; s != 0; before, s = s, x.entries.at(s-1).next {
		e := x.entries.at(s - 1)
		if got, _ := x.split(e); string(got) != id {
			continue
		}
		switch {
		case before != 0:
			x.entries.at(before - 1).next = e.next
		case e.next != 0:
			x.heads[h] = e.next
		default:
			delete(x.heads, h)
		}
		x.cells.release(int(e.size>>24), e.cell)
		*e = entry{next: x.free}
		x.free = s
		x.n--
		return
	}
}

func (x *index) hash(id string) uint32 { return uint32(maphash.String(x.seed, id)) }

// size is the length of a cell's content: the id behind its length, and the
// payload.
func (x *index) size(id string, payload []byte) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], uint64(len(id))) + len(id) + len(payload)
}

func (x *index) store(e *entry, id string, payload []byte) {
	size := x.size(id, payload)
	class, cell := x.cells.alloc(size)
	e.cell = cell
	x.fill(e, class, id, payload, size)
}

func (x *index) fill(e *entry, class int, id string, payload []byte, size int) {
	e.size = uint32(size) | uint32(class)<<24
	b := x.cells.bytes(class, e.cell, size)
	n := binary.PutUvarint(b, uint64(len(id)))
	n += copy(b[n:], id)
	copy(b[n:], payload)
}

func (x *index) split(e *entry) (id, payload []byte) {
	b := x.cells.bytes(int(e.size>>24), e.cell, int(e.size&(1<<24-1)))
	n, k := binary.Uvarint(b)
	return b[k : k+int(n)], b[k+int(n):]
}
