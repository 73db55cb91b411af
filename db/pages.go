package db

import "math/bits"

// pageSize is how many elements a page of pages holds.
const pageSize = 4096

// pages is a growing array that never copies more than one page when it grows,
// so that appending to ten million elements has no pause. The zero value is
// empty and ready.
type pages[T any] struct {
	page [][]T // all full but the last; only the first is ever reallocated
	n    uint32
}

func (p *pages[T]) len() uint32 { return p.n }

// at points to an element until the next push.
func (p *pages[T]) at(i uint32) *T { return &p.page[i/pageSize][i%pageSize] }

func (p *pages[T]) push(v T) {
	last := int(p.n / pageSize)
	switch {
	case last == len(p.page) && last == 0:
		p.page = append(p.page, nil) // small tables stay small
	case last == len(p.page):
		p.page = append(p.page, make([]T, 0, pageSize))
	}
	p.page[last] = append(p.page[last], v)
	p.n++
}

// grow appends zero values until there are n elements.
func (p *pages[T]) grow(n uint32) {
	var zero T
	for p.n < n {
		p.push(zero)
	}
}

// Cells of an arena come in classes, four to each doubling from 16 bytes to
// 8 KiB, so that at most a fifth of a cell is wasted. Larger payloads are
// allocations of their own.
const (
	cellMin   = 16
	cellMax   = 8 << 10
	classes   = 37
	bigClass  = classes
	chunkSize = 64 << 10
)

// arena holds byte strings in pointer-free chunks, so that millions of them
// cost the collector nothing. A freed cell is reused by its class alone: what
// a class once needed stays allocated until the arena goes.
type arena struct {
	class [classes]struct {
		chunk [][]byte
		n     uint32   // cells ever handed out
		free  []uint32 // cells given back
	}
	big     [][]byte
	bigFree []uint32
}

// classOf returns the smallest class whose cells hold n bytes.
func classOf(n int) int {
	if n <= cellMin {
		return 0
	}
	if n > cellMax {
		return bigClass
	}
	// n lies in (2^e, 2^(e+1)], and the quarters of that range are classes.
	e := bits.Len(uint(n-1)) - 1
	quarter := (n - 1 - 1<<e) >> (e - 2)
	return (e-4)*4 + quarter + 1
}

// cellSize is the inverse of classOf.
func cellSize(class int) int {
	if class == 0 {
		return cellMin
	}
	e, quarter := (class-1)/4+4, (class-1)%4
	return 1<<e + (quarter+1)<<(e-2)
}

// perChunk is a power of two, so that finding a cell is a shift and a mask.
func perChunk(class int) int {
	return 1 << (bits.Len(uint(chunkSize/cellSize(class))) - 1)
}

// alloc returns a cell for n bytes; its content is undefined.
func (a *arena) alloc(n int) (class int, cell uint32) {
	class = classOf(n)
	if class == bigClass {
		if k := len(a.bigFree); k > 0 {
			cell, a.bigFree = a.bigFree[k-1], a.bigFree[:k-1]
		} else {
			cell = uint32(len(a.big))
			a.big = append(a.big, nil)
		}
		a.big[cell] = make([]byte, n)
		return class, cell
	}
	c := &a.class[class]
	if k := len(c.free); k > 0 {
		cell, c.free = c.free[k-1], c.free[:k-1]
		return class, cell
	}
	cell = c.n
	c.n++
	size, per := cellSize(class), perChunk(class)
	chunk, in := int(cell)/per, int(cell)%per
	switch {
	case chunk == 0 && (in == 0 || in*size == len(c.chunk[0])):
		// The first chunk grows by doubling, so that small arenas stay small.
		grown := make([]byte, max(1, in*2)*size)
		if in == 0 {
			c.chunk = append(c.chunk, grown)
		} else {
			copy(grown, c.chunk[0])
			c.chunk[0] = grown
		}
	case chunk == len(c.chunk):
		c.chunk = append(c.chunk, make([]byte, per*size))
	}
	return class, cell
}

// bytes returns the first n bytes of a cell until the next alloc or release.
func (a *arena) bytes(class int, cell uint32, n int) []byte {
	if class == bigClass {
		return a.big[cell][:n]
	}
	size, per := cellSize(class), perChunk(class)
	at := int(cell) % per * size
	return a.class[class].chunk[int(cell)/per][at : at+n]
}

func (a *arena) release(class int, cell uint32) {
	if class == bigClass {
		a.big[cell] = nil
		a.bigFree = append(a.bigFree, cell)
		return
	}
	c := &a.class[class]
	c.free = append(c.free, cell)
}
