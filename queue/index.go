package queue

import (
	"hash/maphash"

	"github.com/cannedos/cannedos/resource"
)

// An index finds the slot of a resource by its id: extendible hashing with
// small tables of open addressing, so that growing splits one table of 1024 at
// a time and never rehashes the whole.
//
//	                 ┌ the first bits of the hash
//	directory  [ 00 | 01 | 10 | 11 ]      twice as long when a table must be
//	              │    │    └─┬─┘         split that has one entry in it
//	            table table table         tags   [ 8 bits of the hash, 0: none ]
//	                                      slots  [ number of the slot          ]
//
// The id itself is not here but in the value of the slot; it is compared only
// where the tag agrees, which is wrong once in 128. The hash has a seed of its
// own in each process, for users may choose ids.
type index struct {
	seed   maphash.Seed
	idOf   func(slot int32) resource.ID
	bits   uint8 // of the hash that the directory uses
	tables []*table
	count  int
}

const (
	tableSize = 1024
	tableMask = tableSize - 1
	tableFull = tableSize * 7 / 8
)

type table struct {
	bits  uint8 // of the hash that all entries share
	count int
	tags  [tableSize]uint8
	slots [tableSize]int32
}

func newIndex(idOf func(slot int32) resource.ID) index {
	return index{seed: maphash.MakeSeed(), idOf: idOf, tables: []*table{{}}}
}

// A hash serves three ends with bits of its own: the directory from the top, the
// place in a table from the bottom, and the tag between.
func (x *index) hash(id resource.ID) uint64 { return maphash.Bytes(x.seed, id[:]) }

func tagOf(h uint64) uint8 { return uint8(h>>10) | 0x80 }

func (x *index) table(h uint64) *table { return x.tables[h>>(64-x.bits)] }

// find returns the slot of a resource, 0 where there is none.
func (x *index) find(id resource.ID) int32 {
	h := x.hash(id)
	t := x.table(h)
	if at, ok := x.seek(t, h, id); ok {
		return t.slots[at]
	}
	return 0
}

// seek returns where in t the resource is, or where it would be put.
func (x *index) seek(t *table, h uint64, id resource.ID) (at uint64, ok bool) {
	tag := tagOf(h)
	for at = h & tableMask; t.tags[at] != 0; at = (at + 1) & tableMask {
		if t.tags[at] == tag && x.idOf(t.slots[at]) == id {
			return at, true
		}
	}
	return at, false
}

// add puts in the slot of a resource, whose id must be readable by idOf already.
// It returns the slot that the resource has: another one if it was in.
func (x *index) add(id resource.ID, slot int32) int32 {
	h := x.hash(id)
	for x.table(h).count >= tableFull {
		x.split(h)
	}
	t := x.table(h)
	at, ok := x.seek(t, h, id)
	if ok {
		return t.slots[at]
	}
	t.put(at, tagOf(h), slot)
	x.count++
	return slot
}

// remove takes a resource out. Its id must be readable still.
func (x *index) remove(id resource.ID) {
	h := x.hash(id)
	t := x.table(h)
	hole, ok := x.seek(t, h, id)
	if !ok {
		return
	}
	x.count--
	t.count--
	// Whatever stands behind the hole and may stand in it moves up.
	for at := (hole + 1) & tableMask; t.tags[at] != 0; at = (at + 1) & tableMask {
		home := x.hash(x.idOf(t.slots[at])) & tableMask
		if (at-home)&tableMask >= (at-hole)&tableMask {
			t.tags[hole], t.slots[hole] = t.tags[at], t.slots[at]
			hole = at
		}
	}
	t.tags[hole], t.slots[hole] = 0, 0
}

// split divides the table of h in two, by one more bit of the hash.
func (x *index) split(h uint64) {
	old := x.table(h)
	if old.bits == x.bits {
		double := make([]*table, 2*len(x.tables))
		for i, t := range x.tables {
			double[2*i], double[2*i+1] = t, t
		}
		x.tables = double
		x.bits++
	}
	halves := [2]*table{{bits: old.bits + 1}, {bits: old.bits + 1}}
	for i, tag := range old.tags {
		if tag == 0 {
			continue
		}
		h := x.hash(x.idOf(old.slots[i]))
		half := halves[h>>(63-old.bits)&1]
		at := h & tableMask
		for half.tags[at] != 0 {
			at = (at + 1) & tableMask
		}
		half.put(at, tag, old.slots[i])
	}
	// The entries of the directory that held old lie side by side.
	span := 1 << (x.bits - old.bits)
	first := int(h>>(64-x.bits)) &^ (span - 1)
	for i := range span {
		x.tables[first+i] = halves[2*i/span]
	}
}

func (t *table) put(at uint64, tag uint8, slot int32) {
	t.tags[at], t.slots[at] = tag, slot
	t.count++
}
