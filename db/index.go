package db

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
)

// index is the table of one space: from id to a slot that holds the version
// and a byte string of the store's choice. A record keeps its slot for as
// long as it exists, which is what lets a scan walk the slots in pieces and
// see each record once. It holds no pointer per record: about 40 bytes, plus
// the cell with id and payload, in which an id that is a UUID takes 17. Not safe
// for concurrent use.
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
	cell    uint64
	next    uint32 // slot+1 of the next in the chain
	size    uint32 // bytes used of the cell, below 1<<24, and its class above
}

func newIndex() *index {
	return &index{seed: maphash.MakeSeed(), heads: make(map[uint32]uint32)}
}

// slots is the bound of a walk over at; it grows and never shrinks.
func (x *index) slots() uint32 { return x.entries.len() }

func (x *index) find(id string) (slot uint32, ok bool) {
	var b [keyBytes]byte
	key := appendKey(b[:0], id)
	for s := x.heads[x.hash(id)]; s != 0; s = x.entries.at(s - 1).next {
		if x.is(x.entries.at(s-1), key) {
			return s - 1, true
		}
	}
	return 0, false
}

// at returns what slot holds; version 0 means that it is free. The bytes are
// valid until the next change of the index.
func (x *index) at(slot uint32) (version int64, payload []byte) {
	e := x.entries.at(slot)
	if e.version == 0 {
		return 0, nil
	}
	b := x.content(e)
	return e.version, b[keySize(b):]
}

// id returns the id of the record in slot, which must be in use.
func (x *index) id(slot uint32) string { return idOf(x.content(x.entries.at(slot))) }

// put inserts or replaces a record, copying payload in, and returns its slot.
func (x *index) put(id string, version int64, payload []byte) uint32 {
	slot, ok := x.find(id)
	if ok {
		e := x.entries.at(slot)
		e.version = version
		var b [keyBytes]byte
		key, class := appendKey(b[:0], id), int(e.size>>24)
		if size := len(key) + len(payload); classOf(size) == class && class != bigClass {
			x.fill(e, class, key, payload)
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
	var b [keyBytes]byte
	key, before := appendKey(b[:0], id), uint32(0)
	for s := x.heads[h]; s != 0; before, s = s, x.entries.at(s-1).next {
		e := x.entries.at(s - 1)
		if !x.is(e, key) {
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

func (x *index) store(e *entry, id string, payload []byte) {
	var b [keyBytes]byte
	key := appendKey(b[:0], id)
	class, cell := x.cells.alloc(len(key) + len(payload))
	e.cell = cell
	x.fill(e, class, key, payload)
}

// fill writes the content of a cell: the key, and the payload behind it.
func (x *index) fill(e *entry, class int, key, payload []byte) {
	size := len(key) + len(payload)
	e.size = uint32(size) | uint32(class)<<24
	b := x.cells.bytes(class, e.cell, size)
	copy(b[copy(b, key):], payload)
}

func (x *index) content(e *entry) []byte {
	return x.cells.bytes(int(e.size>>24), e.cell, int(e.size&(1<<24-1)))
}

func (x *index) is(e *entry, key []byte) bool { return bytes.HasPrefix(x.content(e), key) }

// A key is an id as a cell has it: behind its length, or, where it is a UUID in
// lower case, its 16 bytes behind a zero, which no length is. No key is the
// beginning of another.
const keyBytes = 64 // of those that need no allocation to be looked for

func appendKey(b []byte, id string) []byte {
	if len(id) == uuidText {
		if packed, ok := appendUUID(append(b, 0), id); ok {
			return packed
		}
	}
	return append(binary.AppendUvarint(b, uint64(len(id))), id...)
}

// keySize is the length of the key at the beginning of b.
func keySize(b []byte) int {
	if b[0] == 0 {
		return 1 + uuidBytes
	}
	n, k := binary.Uvarint(b)
	return k + int(n)
}

// idOf returns the id whose key is at the beginning of b.
func idOf(b []byte) string {
	if b[0] != 0 {
		n, k := binary.Uvarint(b)
		return string(b[k : k+int(n)])
	}
	id := make([]byte, 0, uuidText)
	for i, v := range b[1 : 1+uuidBytes] {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			id = append(id, '-')
		}
		id = hex.AppendEncode(id, []byte{v})
	}
	return string(id)
}

const (
	uuidText  = 36
	uuidBytes = 16
)

// appendUUID appends the bytes of a UUID, unless id is none in lower case.
func appendUUID(b []byte, id string) ([]byte, bool) {
	for i := 0; i < uuidText; {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if id[i] != '-' {
				return b, false
			}
			i++
			continue
		}
		high, low := hexDigit(id[i]), hexDigit(id[i+1])
		if high|low > 15 {
			return b, false
		}
		b = append(b, high<<4|low)
		i += 2
	}
	return b, true
}

// hexDigit is the value of a digit, 16 where it is none.
func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 16
}
