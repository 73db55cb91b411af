package queue

import (
	"hash/maphash"

	"github.com/cannedos/cannedos/resource"
)

// An index finds the slot of a resource by its id: extendible hashing with
// small tables of open addressing, so that growing splits one table of 1024 at
// a time and never rehashes the whole.
//
//	hash       [ from the top: directory ...  ... to the bottom: place in a table ]
//
//	                 ┌ the first bits of the hash
//	directory  [ 00 | 01 | 10 | 11 ]      twice as long when a table must be
//	              │    │    └─┬─┘         split that has one entry in it
//	            table table table         entries [ hash 4 | slot 4 ] of 1024, slot 0: none
//
// The id itself is not here but in the value of the slot, two trips to the
// memory away; it is compared only where all 32 bits of the hash agree. Because
// they are kept, a table is split without looking at any id. (Tried: 8 of them,
// which takes 4 bytes less of each message and made every split a thousand trips.)
// The hash has a seed of its own in each process, for users may choose ids.
type index struct {
	seed   maphash.Seed
	idOf   func(slot int32) resource.ID
	bits   uint8 // of the hash that the directory uses
	tables []table
	count  int
	steps  int // entries looked at or moved, for the test that counts them
}

const (
	tableSize = 1024
	tableMask = tableSize - 1
	tableFull = tableSize * 3 / 4
)

// table stands in the directory once or several times. Its entries take 8 KiB, of
// which the allocator has a size; with what else is known of them they would take
// 9.25 KiB.
type table struct {
	entries *[tableSize]entry
	about   *aboutTable
}

type aboutTable struct {
	bits  uint8 // of the hash that all entries share
	count int
}

func newTable(bits uint8) table { return table{new([tableSize]entry), &aboutTable{bits: bits}} }

type entry struct {
	hash uint32
	slot int32 // 0: none
}

func newIndex(seed maphash.Seed, idOf func(slot int32) resource.ID) index {
	return index{seed: seed, idOf: idOf, tables: []table{newTable(0)}}
}

// hashOf is what find, add and remove want to know of an id. It needs no lock.
func hashOf(seed maphash.Seed, id *resource.ID) uint32 {
	return uint32(maphash.Bytes(seed, id[:]) >> 32)
}

func (x *index) hash(id *resource.ID) uint32 { return hashOf(x.seed, id) }

func (x *index) table(h uint32) table { return x.tables[h>>(32-x.bits)] }

// touch loads the first entry that find, add and remove will look at.
func (x *index) touch(h uint32) int32 { return x.table(h).entries[h&tableMask].slot }

// find returns the slot of a resource, 0 where there is none.
func (x *index) find(h uint32, id resource.ID) int32 {
	t := x.table(h)
	return t.entries[x.seek(t, h, id)].slot
}

// seek returns where in t the resource is, or else the free place where it would
// be put.
func (x *index) seek(t table, h uint32, id resource.ID) uint32 {
	for at := h & tableMask; ; at = (at + 1) & tableMask {
		x.steps++
		if e := &t.entries[at]; e.slot == 0 || e.hash == h && x.idOf(e.slot) == id {
			return at
		}
	}
}

// add puts in the slot of a resource, whose id must be readable by idOf already.
// It returns the slot that the resource has: another one if it was in.
func (x *index) add(h uint32, id resource.ID, slot int32) int32 {
	for x.table(h).about.count >= tableFull {
		x.split(h)
	}
	t := x.table(h)
	e := &t.entries[x.seek(t, h, id)]
	if e.slot != 0 {
		return e.slot
	}
	*e = entry{h, slot}
	t.about.count++
	x.count++
	return slot
}

// remove takes a resource out. Its id must be readable still.
func (x *index) remove(h uint32, id resource.ID) {
	t := x.table(h)
	hole := x.seek(t, h, id)
	if t.entries[hole].slot == 0 {
		return
	}
	x.count--
	t.about.count--
	// Whatever stands behind the hole and may stand in it moves up.
	for at := (hole + 1) & tableMask; t.entries[at].slot != 0; at = (at + 1) & tableMask {
		x.steps++
		home := t.entries[at].hash & tableMask
		if (at-home)&tableMask >= (at-hole)&tableMask {
			t.entries[hole] = t.entries[at]
			hole = at
		}
	}
	t.entries[hole] = entry{}
}

// split divides the table of h in two, by one more bit of the hash.
func (x *index) split(h uint32) {
	old := x.table(h)
	bits := old.about.bits
	if bits == x.bits {
		double := make([]table, 2*len(x.tables))
		for i, t := range x.tables {
			double[2*i], double[2*i+1] = t, t
		}
		x.tables = double
		x.bits++
		x.steps += len(double)
	}
	// The entries of the directory that hold old lie side by side.
	span := 1 << (x.bits - bits)
	first := int(h>>(32-x.bits)) &^ (span - 1)
	// The old table becomes the first half: only the other one is new.
	entries := *old.entries
	*old.entries, *old.about = [tableSize]entry{}, aboutTable{bits: bits + 1}
	halves := [2]table{old, newTable(bits + 1)}
	for _, e := range entries {
		if e.slot == 0 {
			continue
		}
		half := halves[e.hash>>(31-bits)&1]
		at := e.hash & tableMask
		for half.entries[at].slot != 0 {
			at = (at + 1) & tableMask
		}
		half.entries[at] = e
		half.about.count++
	}
	x.steps += tableSize
	for i := range span / 2 {
		x.tables[first+span/2+i] = halves[1]
	}
}
