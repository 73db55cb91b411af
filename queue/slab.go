package queue

import "math/bits"

// A slab holds the fixed part of every message, 32 bytes each, in chunks that
// never move. Messages name each other by number, so there is no pointer for
// the collector to follow, however many wait.
//
//	chunks   0 ──► [ slot 0    | slot 1    | ... | slot 4095 ]   slot 0 is nobody
//	         1 ──► [ slot 4096 | slot 4097 | ...             ]
//	         2 ──► ...                    more as they are needed; none is copied
//
//	slot     due 8 | seq 4 | next 4 | prev 4 | val 4 | place 4 | seqHigh 2 | state 1
//	                           │                 │       └─ number of its name
//	                           │                 └─ where the arena has the rest
//	                           └─ its neighbours in a list of the wheel or in a line;
//	                              what else they hold is said at the states
//
//	vacant   a bit for each slot of a chunk that was given back, and the number of
//	         the next chunk that has any
//
// A message keeps its slot from its admission until it is retired. Slots are
// handed out chunk by chunk and in order, so that a batch of admissions writes
// to one stretch of memory, whoever was retired before in whatever order. (Tried:
// a list of them through the slots, each of which was a trip of its own.)
type slab struct {
	chunks []*[slabChunk]slot
	vacant []vacancies // by chunk
	first  int32       // 1 + the number of the first chunk with a vacancy; 0: none
	fresh  int32       // slots handed out at least once, slot 0 included
	used   int

	// An empty one of each for the wheels, so that they aren't made anew for
	// each message of a quiet name.
	sparePage  *page
	spareLevel *level
}

const (
	slabBits  = 12
	slabChunk = 1 << slabBits
)

// vacancies are the slots of a chunk that were given back.
type vacancies struct {
	bits  [slabChunk / 64]uint64
	count int32
	from  int32 // no word before this one has a bit
	next  int32 // like slab.first, while count isn't 0
}

// slot is the fixed part of a message. The zero slot is free.
type slot struct {
	due     int64  // nanoseconds on the clock of the Memory
	seqLow  uint32 // arrival, lower bits: see seq
	next    int32
	prev    int32
	val     uint32 // address in the arena
	place   int32
	seqHigh uint16
	state   state
}

// state says which structure a message is in, and so what next and prev mean.
type state uint8

const (
	slotFree state = iota // no links
	inCommit              // of a Commit that has not taken effect; no links
	inWheel               // a list of the wheel: next, and prev or the bucket
	inNear                // the heap of what is nearly due: prev is the position
	inLine                // the line of what is due: next and prev
	inLate                // the heap of what came late into the line: prev is the position
	inHand                // held by a session: next is the number of its hold

	// redelivered is a bit beside the states above.
	redelivered state = 1 << 7
)

// at returns the slot with number i. The pointer stays good until the slab goes.
func (s *slab) at(i int32) *slot { return &s.chunks[i>>slabBits][i&(slabChunk-1)] }

// take returns a slot of its own, zero but for what the caller sets.
func (s *slab) take() int32 {
	s.used++
	if s.first != 0 {
		return s.reuse()
	}
	s.fresh = max(s.fresh, 1) // slot 0 is nobody
	if int(s.fresh)>>slabBits == len(s.chunks) {
		s.chunks = append(s.chunks, new([slabChunk]slot))
		s.vacant = append(s.vacant, vacancies{})
	}
	s.fresh++
	return s.fresh - 1
}

// reuse takes the first vacancy of the first chunk that has any.
func (s *slab) reuse() int32 {
	n := s.first - 1
	v := &s.vacant[n]
	for v.bits[v.from] == 0 {
		v.from++
	}
	i := v.from*64 + int32(bits.TrailingZeros64(v.bits[v.from]))
	v.bits[v.from] &= v.bits[v.from] - 1
	if v.count--; v.count == 0 {
		s.first = v.next
	}
	return n<<slabBits + i
}

// give takes a slot back.
func (s *slab) give(i int32) {
	s.used--
	*s.at(i) = slot{}
	v := &s.vacant[i>>slabBits]
	if v.count == 0 {
		v.next, s.first = s.first, i>>slabBits+1
	}
	word := i & (slabChunk - 1) / 64
	v.bits[word] |= 1 << (i % 64)
	v.from = min(v.from, word)
	v.count++
}

// is returns the state without the bits beside it.
func (s *slot) is() state { return s.state &^ redelivered }

// become changes the state and leaves the bits beside it.
func (s *slot) become(is state) { s.state = is | s.state&redelivered }

// seq is the number of the arrival, which orders messages of equal due. Its 48
// bits last for eight years of a million arrivals a second.
func (s *slot) seq() uint64 { return uint64(s.seqHigh)<<32 | uint64(s.seqLow) }

func (s *slot) setSeq(n uint64) { s.seqLow, s.seqHigh = uint32(n), uint16(n>>32) }

// before reports whether s is to be delivered before o: due first, then arrival.
func (s *slot) before(o *slot) bool {
	return s.due < o.due || s.due == o.due && s.seq() < o.seq()
}
