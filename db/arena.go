package db

import (
	"encoding/binary"
	"math/bits"
)

// Cells of an arena come in classes, one for each 8 bytes up to 512 and eight to
// each doubling from there to 8 KiB, so that at most an eighth of a cell is
// wasted. Larger payloads are allocations of their own.
const (
	cellMin   = 16
	cellFine  = 512
	cellMax   = 8 << 10
	fineBits  = 3
	classes   = (cellFine-cellMin)>>fineBits + 1 + 4*8
	bigClass  = classes
	chunkSize = 64 << 10
	chunkBits = 12 // of a cell: chunkSize/cellMin
	maxSpare  = 16 // chunks of memory that are kept for whichever class needs one
)

// arena holds byte strings in pointer-free chunks, so that millions of them cost
// the collector nothing. A chunk serves one class at a time, and any other once it
// is empty: records that grow don't leave behind what they have grown out of.
// (Rejected: a free list for each class over all of its chunks. A million records
// that got their validators left 150 MB of smaller cells to nobody.)
type arena struct {
	chunks  []chunk
	partial [classes]uint32 // number+1 of the first chunk with something free; 0: none
	count   [classes]uint32 // chunks
	empty   []uint32        // chunks that serve no class
	spare   [][]byte        // memory of such
	big     [][]byte
	bigFree []uint64
}

// chunk is what an arena knows of one. The first chunk of a class grows by
// doubling, so that small arenas stay small.
type chunk struct {
	cells      []byte
	next, prev uint32 // number+1 of its neighbours with something free, of its class
	used       uint16 // cells in use
	fresh      uint16 // cells handed out at least once
	free       uint16 // 1 + number of the first free cell, in which the next one stands; 0: none
	class      uint8
	full       bool // not among those with something free
}

// classOf returns the smallest class whose cells hold n bytes.
func classOf(n int) int {
	switch {
	case n <= cellMin:
		return 0
	case n <= cellFine:
		return (n - cellMin + 7) >> fineBits
	case n > cellMax:
		return bigClass
	}
	// n lies in (2^e, 2^(e+1)], and the eighths of that range are classes.
	e := bits.Len(uint(n-1)) - 1
	eighth := (n - 1 - 1<<e) >> (e - 3)
	return (cellFine-cellMin)>>fineBits + 1 + (e-9)*8 + eighth
}

// cellSize is the inverse of classOf.
func cellSize(class int) int {
	coarse := class - (cellFine-cellMin)>>fineBits - 1
	if coarse < 0 {
		return cellMin + class<<fineBits
	}
	e := coarse/8 + 9
	return 1<<e + (coarse%8+1)<<(e-3)
}

// alloc returns a cell for n bytes; its content is undefined.
func (a *arena) alloc(n int) (class int, cell uint64) {
	class = classOf(n)
	if class == bigClass {
		if k := len(a.bigFree); k > 0 {
			cell, a.bigFree = a.bigFree[k-1], a.bigFree[:k-1]
		} else {
			cell = uint64(len(a.big))
			a.big = append(a.big, nil)
		}
		a.big[cell] = make([]byte, n)
		return class, cell
	}
	if a.partial[class] == 0 {
		a.open(class)
	}
	number := a.partial[class] - 1
	c, size := &a.chunks[number], cellSize(class)
	in := int(c.free) - 1
	if in >= 0 {
		c.free = binary.LittleEndian.Uint16(c.cells[in*size:])
	} else {
		in = int(c.fresh)
		c.fresh++
		if int(c.fresh)*size > len(c.cells) {
			a.grow(number)
		}
	}
	c.used++
	if c.free == 0 && int(c.fresh) == chunkSize/size {
		a.unlink(number)
		c.full = true
	}
	return class, uint64(number)<<chunkBits | uint64(in)
}

// bytes returns the first n bytes of a cell until the next alloc or release.
func (a *arena) bytes(class int, cell uint64, n int) []byte {
	if class == bigClass {
		return a.big[cell][:n]
	}
	at := int(cell&(1<<chunkBits-1)) * cellSize(class)
	return a.chunks[cell>>chunkBits].cells[at : at+n]
}

func (a *arena) release(class int, cell uint64) {
	if class == bigClass {
		a.big[cell] = nil
		a.bigFree = append(a.bigFree, cell)
		return
	}
	number, in := uint32(cell>>chunkBits), int(cell&(1<<chunkBits-1))
	c := &a.chunks[number]
	binary.LittleEndian.PutUint16(c.cells[in*cellSize(class):], c.free)
	c.free = uint16(in + 1)
	c.used--
	if c.full {
		c.full = false
		a.link(number)
	}
	if c.used == 0 {
		a.shut(number)
	}
}

// open lets an empty chunk serve a class.
func (a *arena) open(class int) {
	var number uint32
	if k := len(a.empty); k > 0 {
		number, a.empty = a.empty[k-1], a.empty[:k-1]
	} else {
		number = uint32(len(a.chunks))
		a.chunks = append(a.chunks, chunk{})
	}
	c := &a.chunks[number]
	c.class = uint8(class)
	if a.count[class] > 0 {
		c.cells = a.memory()
	}
	a.count[class]++
	a.link(number)
}

// grow doubles the first chunk of a class.
func (a *arena) grow(number uint32) {
	c := &a.chunks[number]
	grown := max(2*len(c.cells), cellSize(int(c.class)))
	old := c.cells
	if 2*grown > chunkSize {
		c.cells = a.memory()
	} else {
		c.cells = make([]byte, grown)
	}
	copy(c.cells, old)
}

// memory returns a whole chunk of it.
func (a *arena) memory() (m []byte) {
	k := len(a.spare)
	if k == 0 {
		return make([]byte, chunkSize)
	}
	m, a.spare = a.spare[k-1], a.spare[:k-1]
	return m
}

// shut takes a chunk in which nothing is used from its class.
func (a *arena) shut(number uint32) {
	a.unlink(number)
	c := &a.chunks[number]
	a.count[c.class]--
	if len(c.cells) == chunkSize && len(a.spare) < maxSpare {
		a.spare = append(a.spare, c.cells)
	}
	*c = chunk{}
	a.empty = append(a.empty, number)
}

// link puts a chunk first among those of its class with something free.
func (a *arena) link(number uint32) {
	c := &a.chunks[number]
	c.prev, c.next = 0, a.partial[c.class]
	if c.next != 0 {
		a.chunks[c.next-1].prev = number + 1
	}
	a.partial[c.class] = number + 1
}

func (a *arena) unlink(number uint32) {
	c := &a.chunks[number]
	if c.prev != 0 {
		a.chunks[c.prev-1].next = c.next
	} else {
		a.partial[c.class] = c.next
	}
	if c.next != 0 {
		a.chunks[c.next-1].prev = c.prev
	}
	c.next, c.prev = 0, 0
}
