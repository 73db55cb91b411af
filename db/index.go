package db

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

// index is the table of one space: from id to a slot that holds the version
// and a byte string of the store's choice. A record keeps its slot for as
// long as it exists, which is what lets a scan walk the slots in pieces and
// see each record once. It holds no pointer per record: 16 bytes, plus the cell
// with id, version and payload. Not safe for concurrent use.
//
//	heads     4 bytes for each slot: slot+1 of the first of a chain
//	entries   12 bytes for each slot: hash, next of the chain, cell
//	cell      key, see appendKey | version, uvarint | payload
//
// The table of chains grows by one with each slot, and then only the chain is
// divided that the new one comes from (linear hashing), by the hashes that the
// entries keep. (Rejected: a map from hash to slot. It doubles, so that a record
// costs 10 to 20 bytes of it by how many there are, and needs the chains as well.)
type index struct {
	seed    maphash.Seed
	heads   pages[uint32]
	entries pages[entry]
	cells   arena
	free    uint32 // slot+1 of the first free slot, chained
	n       int    // records
}

// entry is one slot. A free one has no cell.
type entry struct {
	hash uint32
	next uint32 // slot+1 of the next in the chain
	cell uint32
}

func newIndex() *index {
	return &index{seed: maphash.MakeSeed(), cells: newArena()}
}

// slots is the bound of a walk over at; it grows and never shrinks.
func (x *index) slots() uint32 { return x.entries.len() }

func (x *index) find(id string) (slot uint32, ok bool) {
	var b [keyBytes]byte
	return x.seek(x.hash(id), appendKey(b[:0], id))
}

func (x *index) seek(h uint32, key []byte) (slot uint32, ok bool) {
	if x.heads.len() == 0 {
		return 0, false
	}
	for s := *x.heads.at(x.chain(h)); s != 0; {
		e := x.entries.at(s - 1)
		if x.is(e, h, key) {
			return s - 1, true
		}
		s = e.next
	}
	return 0, false
}

// at returns what slot holds; version 0 means that it is free. The bytes are
// valid until the next change of the index.
func (x *index) at(slot uint32) (version int64, payload []byte) {
	e := x.entries.at(slot)
	if e.cell == 0 {
		return 0, nil
	}
	b := x.cells.get(e.cell)
	b = b[keySize(b):]
	v, n := binary.Uvarint(b)
	return int64(v), b[n:]
}

// used reports whether slot holds a record.
func (x *index) used(slot uint32) bool { return x.entries.at(slot).cell != 0 }

// id returns the id of the record in slot, which must be in use.
func (x *index) id(slot uint32) string { return idOf(x.cells.get(x.entries.at(slot).cell)) }

// put inserts or replaces a record, copying payload in, and returns its slot.
func (x *index) put(id string, version int64, payload []byte) uint32 {
	var b [keyBytes + binary.MaxVarintLen64]byte
	head := appendKey(b[:0], id)
	h, key := x.hash(id), len(head)
	slot, ok := x.seek(h, head)
	head = binary.AppendUvarint(head, uint64(version))
	size := len(head) + len(payload)
	if ok {
		e := x.entries.at(slot)
		if cell, same := x.cells.resize(e.cell, size); same {
			copy(cell[key:], head[key:])
			copy(cell[len(head):], payload)
			return slot
		}
		x.cells.release(e.cell)
	} else {
		slot = x.insert(h)
	}
	e := x.entries.at(slot)
	var cell []byte
	e.cell, cell = x.cells.alloc(size)
	copy(cell[copy(cell, head):], payload)
	return slot
}

// insert puts a slot without a cell into the chain of a hash.
func (x *index) insert(h uint32) (slot uint32) {
	if x.free != 0 {
		slot = x.free - 1
		x.free = x.entries.at(slot).next
	} else {
		slot = x.entries.len()
		x.entries.push(entry{})
		x.grow()
	}
	head := x.heads.at(x.chain(h))
	*x.entries.at(slot) = entry{hash: h, next: *head}
	*head = slot + 1
	x.n++
	return slot
}

// remove deletes a record, if there is one, and frees its slot.
func (x *index) remove(id string) {
	if x.heads.len() == 0 {
		return
	}
	var b [keyBytes]byte
	key, h := appendKey(b[:0], id), x.hash(id)
	for link := x.heads.at(x.chain(h)); *link != 0; {
		s := *link
		e := x.entries.at(s - 1)
		if !x.is(e, h, key) {
			link = &e.next
			continue
		}
		*link = e.next
		x.cells.release(e.cell)
		*e = entry{next: x.free}
		x.free = s
		x.n--
		return
	}
}

// chain returns which of the chains has the records of a hash.
func (x *index) chain(h uint32) uint32 {
	chains := x.heads.len()
	mask := uint32(1)<<bits.Len32(chains-1) - 1
	if i := h & mask; i < chains {
		return i
	}
	return h & (mask >> 1) // not divided yet
}

// grow adds a chain, and takes into it what belongs there.
func (x *index) grow() {
	added := x.heads.len()
	x.heads.push(0)
	if added == 0 {
		return
	}
	mask := uint32(1)<<bits.Len32(added) - 1
	from, to := x.heads.at(added&(mask>>1)), x.heads.at(added)
	for *from != 0 {
		e := x.entries.at(*from - 1)
		if e.hash&mask != added {
			from = &e.next
			continue
		}
		*to, to = *from, &e.next
		*from = e.next
	}
	*to = 0
}

func (x *index) hash(id string) uint32 { return uint32(maphash.String(x.seed, id)) }

func (x *index) is(e *entry, h uint32, key []byte) bool {
	return e.hash == h && bytes.HasPrefix(x.cells.get(e.cell), key)
}
