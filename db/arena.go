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
	chunkBits = 12 // of an address: chunkSize/cellMin
	maxChunks = 1 << (31 - chunkBits)
	maxSpare  = 16 // chunks of memory that are kept for whichever class needs one
	isBig     = 1 << 31
)

// arena holds byte strings in pointer-free chunks, so that millions of them cost
// the collector nothing. A chunk serves one class at a time, and any other once it
// is empty: records that grow don't leave behind what they have grown out of.
// (Rejected: a free list for each class over all of its chunks. A million records
// that got their validators left 150 MB of smaller cells to nobody.)
//
//	address   chunk, 19 bits | number of the cell in it, 12 bits
//	          or the highest bit and the number of an allocation
//	cell      content | ... | how much of the cell is not content, itself included:
//	          1 byte in cells up to cellFine, 2 bytes in larger ones
//
// Address 0 is nowhere. Content that finds no chunk any more, of 32 GiB, becomes
// an allocation of its own.
type arena struct {
	chunks  []chunk
	partial [classes]uint32 // number of the first chunk with something free; 0: none
	count   [classes]uint32 // chunks
	empty   []uint32        // chunks that serve no class
	spare   [][]byte        // memory of such
	big     [][]byte
	bigFree []uint32
	most    int // chunks, the first included, which is nowhere
}

func newArena() arena { return arena{chunks: make([]chunk, 1), most: maxChunks} }

// chunk is what an arena knows of one. The first chunk of a class grows by
// doubling, so that small arenas stay small.
type chunk struct {
	cells      []byte
	next, prev uint32 // its neighbours with something free, of its class
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

// classFor returns the class of the cells for n bytes and their tail.
func classFor(n int) int {
	if n < cellFine {
		return classOf(n + 1)
	}
	return classOf(n + 2)
}

// setTail notes in a cell that n bytes of it are content.
func setTail(cell []byte, n int) {
	rest := len(cell) - n
	if len(cell) <= cellFine {
		cell[len(cell)-1] = byte(rest)
		return
	}
	binary.LittleEndian.PutUint16(cell[len(cell)-2:], uint16(rest))
}

// alloc returns a cell for n bytes, and where they are to be written.
func (a *arena) alloc(n int) (addr uint32, content []byte) {
	class := classFor(n)
	if class == bigClass || a.partial[class] == 0 && !a.open(class) {
		return a.allocBig(n)
	}
	number := a.partial[class]
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
	cell := c.cells[in*size : (in+1)*size]
	setTail(cell, n)
	return number<<chunkBits | uint32(in), cell[:n]
}

func (a *arena) allocBig(n int) (addr uint32, content []byte) {
	content = make([]byte, n)
	if k := len(a.bigFree); k > 0 {
		addr, a.bigFree = a.bigFree[k-1], a.bigFree[:k-1]
		a.big[addr] = content
	} else {
		addr = uint32(len(a.big))
		a.big = append(a.big, content)
	}
	return addr | isBig, content
}

// cell returns all bytes of a cell.
func (a *arena) cell(addr uint32) (c *chunk, cell []byte) {
	c = &a.chunks[addr>>chunkBits]
	size := cellSize(int(c.class))
	at := int(addr&(1<<chunkBits-1)) * size
	return c, c.cells[at : at+size]
}

// get returns the content at an address until the next alloc or release.
func (a *arena) get(addr uint32) []byte {
	if addr&isBig != 0 {
		return a.big[addr&^isBig]
	}
	_, cell := a.cell(addr)
	if len(cell) <= cellFine {
		return cell[:len(cell)-int(cell[len(cell)-1])]
	}
	return cell[:len(cell)-int(binary.LittleEndian.Uint16(cell[len(cell)-2:]))]
}

// resize makes n bytes of the content at an address, if they belong in a cell of
// the same class, and returns where they are to be written.
func (a *arena) resize(addr uint32, n int) (content []byte, ok bool) {
	if addr&isBig != 0 {
		return nil, false
	}
	c, cell := a.cell(addr)
	if int(c.class) != classFor(n) {
		return nil, false
	}
	setTail(cell, n)
	return cell[:n], true
}

func (a *arena) release(addr uint32) {
	if addr&isBig != 0 {
		a.big[addr&^isBig] = nil
		a.bigFree = append(a.bigFree, addr&^isBig)
		return
	}
	c, cell := a.cell(addr)
	number := addr >> chunkBits
	binary.LittleEndian.PutUint16(cell, c.free)
	c.free = uint16(addr&(1<<chunkBits-1)) + 1
	c.used--
	if c.full {
		c.full = false
		a.link(number)
	}
	if c.used == 0 {
		a.shut(number)
	}
}

// open lets an empty chunk serve a class, if there can be one more.
func (a *arena) open(class int) bool {
	var number uint32
	switch k := len(a.empty); {
	case k > 0:
		number, a.empty = a.empty[k-1], a.empty[:k-1]
	case len(a.chunks) == a.most:
		return false
	default:
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
	return true
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
		a.chunks[c.next].prev = number
	}
	a.partial[c.class] = number
}

func (a *arena) unlink(number uint32) {
	c := &a.chunks[number]
	if c.prev != 0 {
		a.chunks[c.prev].next = c.next
	} else {
		a.partial[c.class] = c.next
	}
	if c.next != 0 {
		a.chunks[c.next].prev = c.prev
	}
	c.next, c.prev = 0, 0
}
