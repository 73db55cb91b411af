package queue

import (
	"errors"
	"slices"
)

// An arena holds values of any length without an object for each: the
// collector sees chunks of 64 KiB and nothing inside them.
//
//	a chunk serves one size      [ value | value | free ─┐ value | free ◄┘ | fresh ... ]
//	a class is a size            48, 56, 64, ... 512, then each about an eighth more
//	an address is 32 bits        chunk number, and the offset in units of 8 bytes
//
// A value lies in the smallest class that holds it, so at most 7 bytes (above
// 512: an eighth) are lost. Free values of a chunk are linked inside it; chunks
// with something free are linked by class; a chunk with nothing in use serves
// any class again, so that a fleet whose values grow doesn't leave the small
// classes behind.
type arena struct {
	sizes   []int32  // of the classes, ascending
	classes [65]byte // class of a length up to 512, by its eighths rounded up
	partial []int32  // by class: first chunk with something free; 0: none
	chunks  []*[arenaChunk]byte
	about   []chunk
	empty   []int32 // chunks that serve no class; some keep their memory
	spare   int     // how many of those do
	used    int64   // bytes of the classes in use
}

const (
	arenaChunk = 64 << 10
	unitBits   = 3                      // an address counts 8 bytes
	chunkUnits = arenaChunk >> unitBits // 8192
	maxChunks  = 1 << 32 / chunkUnits   // 32 GiB
	maxSpare   = 16                     // empty chunks that keep their memory
	minValue   = 48                     // smallest class
	maxValue   = 40 << 10               // largest class
	unitMask   = uint32(chunkUnits - 1) // of an address
	chunkBits  = 16 - unitBits          // of an address
	fineValues = 512                    // up to here a class for each 8 bytes
)

// errArena says that the values of a Memory have reached the bound of an arena.
var errArena = errors.New("queue: memory: no room for more than 32 GiB of messages")

// chunk is what the arena knows of a chunk, outside of it.
type chunk struct {
	next, prev int32 // neighbours with something free, of the same class
	size       int32 // of its values; 0: serves no class
	class      uint8
	full       bool   // not among those with something free
	used       uint16 // values in use
	fresh      uint16 // values handed out at least once
	free       uint16 // 1 + number of the first free value; 0: none
}

func newArena() arena {
	a := arena{
		chunks: make([]*[arenaChunk]byte, 1), // chunk 0 is nowhere, so that address 0 is
		about:  make([]chunk, 1),
	}
	for n := int32(minValue); n < maxValue; {
		a.sizes = append(a.sizes, n)
		if n < fineValues {
			n += 8
		} else {
			n += n / 8 &^ 7
		}
	}
	a.sizes = append(a.sizes, maxValue)
	a.partial = make([]int32, len(a.sizes))
	for i := range a.classes {
		a.classes[i] = byte(a.search(i * 8))
	}
	return a
}

func (a *arena) search(n int) int {
	class, _ := slices.BinarySearch(a.sizes, int32(n))
	return class
}

// class returns the number of the smallest class that holds n bytes.
func (a *arena) class(n int) int {
	if n <= fineValues {
		return int(a.classes[(n+7)>>unitBits])
	}
	return a.search(n)
}

// fits reports whether n bytes belong in the class of the value at an address,
// so that they may be written there.
func (a *arena) fits(addr uint32, n int) bool {
	return int(a.about[addr>>chunkBits].class) == a.class(n)
}

// put copies v, at most maxValue bytes, and returns its address. It fails when
// the arena is at its bound.
func (a *arena) put(v []byte) (uint32, error) {
	class := a.class(len(v))
	n := a.partial[class]
	if n == 0 {
		if n = a.open(class); n == 0 {
			return 0, errArena
		}
	}
	c := &a.about[n]
	i := c.free
	if i != 0 {
		i--
		at := int32(i) * c.size
		c.free = uint16(a.chunks[n][at]) | uint16(a.chunks[n][at+1])<<8
	} else {
		i = c.fresh
		c.fresh++
	}
	c.used++
	a.used += int64(c.size)
	if c.free == 0 && (int32(c.fresh)+1)*c.size > arenaChunk {
		a.unlink(n)
		c.full = true
	}
	at := int32(i) * c.size
	copy(a.chunks[n][at:at+c.size], v)
	return uint32(n)<<chunkBits | uint32(at)>>unitBits, nil
}

// get returns the bytes at an address, to the end of their class. They are the
// arena's own: good until the address is dropped.
func (a *arena) get(addr uint32) []byte {
	n := addr >> chunkBits
	at := (addr & unitMask) << unitBits
	return a.chunks[n][at : at+uint32(a.about[n].size)]
}

// drop gives the value at an address up.
func (a *arena) drop(addr uint32) {
	n := int32(addr >> chunkBits)
	at := int32(addr&unitMask) << unitBits
	c := &a.about[n]
	a.chunks[n][at], a.chunks[n][at+1] = byte(c.free), byte(c.free>>8)
	c.free = uint16(at/c.size) + 1
	c.used--
	a.used -= int64(c.size)
	if c.full {
		c.full = false
		a.link(n)
	}
	if c.used == 0 {
		a.unlink(n)
		*c = chunk{}
		a.empty = append(a.empty, n)
		if a.spare++; a.spare > maxSpare {
			a.chunks[n] = nil
			a.spare--
			// Those with memory stay at the end, where open takes them from.
			last := len(a.empty) - 1
			first := last - a.spare
			a.empty[first], a.empty[last] = a.empty[last], a.empty[first]
		}
	}
}

// open makes an empty chunk serve a class; 0 when there can be no more.
func (a *arena) open(class int) int32 {
	var n int32
	switch last := len(a.empty) - 1; {
	case last >= 0:
		n = a.empty[last]
		a.empty = a.empty[:last]
	case len(a.chunks) == maxChunks:
		return 0
	default:
		n = int32(len(a.chunks))
		a.chunks = append(a.chunks, nil)
		a.about = append(a.about, chunk{})
	}
	if a.chunks[n] == nil {
		a.chunks[n] = new([arenaChunk]byte)
	} else {
		a.spare--
	}
	a.about[n] = chunk{size: a.sizes[class], class: uint8(class)}
	a.link(n)
	return n
}

// link puts chunk n first among those of its class with something free.
func (a *arena) link(n int32) {
	c := &a.about[n]
	c.prev, c.next = 0, a.partial[c.class]
	if c.next != 0 {
		a.about[c.next].prev = n
	}
	a.partial[c.class] = n
}

func (a *arena) unlink(n int32) {
	c := &a.about[n]
	if c.prev != 0 {
		a.about[c.prev].next = c.next
	} else {
		a.partial[c.class] = c.next
	}
	if c.next != 0 {
		a.about[c.next].prev = c.prev
	}
	c.next, c.prev = 0, 0
}
