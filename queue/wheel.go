package queue

import (
	"math"
	"math/bits"
)

// A wheel holds the messages of one name that are not due yet. Time is cut into
// ticks of 2^20 ns (1.05 ms); a bucket is an unordered list of messages, linked
// through their slots, and costs 4 bytes.
//
//	           now
//	            ▼ pos
//	level 0  ···┌──┬──┬──┬─ ─ ─┬──┐            131,072 buckets of a tick:      137 s
//	            └─┬┴──┴──┴─ ─ ─┴──┘
//	level 1  ┌────┴────┬─────────┬─ ─ ─┐       131,072 buckets of 2^16 ticks:  104 days
//	         └─────────┴────┬────┴─ ─ ─┘
//	level 2  ┌──────────────┴─────┬─ ─         131,072 buckets of 2^32 ticks:  all the rest
//	         └────────────────────┴─ ─
//
// A message goes into the lowest level whose window, which begins at pos,
// reaches its due. A bucket of level 1 or 2 is poured into the level below
// before pos enters it. Since a window spans two buckets of the level above,
// there is as long to do that as a bucket lasts: [wheel.pourAhead] does a little
// with each Receive, or whoever waits does it in steps, and nothing has to stop
// while a million messages of one bucket are moved. What was not done in time,
// [wheel.turn] does.
//
// When pos reaches a bucket of level 0, its messages go to the heap "near" (see
// ready.go), which puts them in order; pos passes on when the bucket is empty.
// So everything before pos is outside the wheel, and everything in it is later:
// that is the whole of the invariant, and it doesn't matter how far pos lags
// behind the clock. Empty stretches are skipped by bitmaps.
//
//	level  [ page | nil | page ... ]  128 pages; level and page are made when needed
//	                                  and go when they are empty
//	page   [ first of bucket 0 | 1 | ... 1023 ]  and a bit for each bucket in use
//
// A slot in a bucket has next and prev; the first has, in place of prev, the
// number of its bucket (negative), so that anyone can be taken out at once.
type wheel struct {
	pos    int64 // tick; never greater than that of anything in the wheel
	count  int
	levels [levels]*level
	ahead  int64 // tick up to which buckets have been touched: see touchAhead
	steps  int   // slots put somewhere or loaded, for the test that counts them
}

const (
	tickBits  = 20 // nanoseconds of a tick
	levels    = 3
	levelBits = 16 // each level's bucket is so much longer than the one below
	span      = 1 << (levelBits + 1)
	pageBits  = 10
	pageSize  = 1 << pageBits
	pages     = span / pageSize
)

type level struct {
	pages [pages]*page
	used  [pages / 64]uint64 // bit: the page exists
}

type page struct {
	first [pageSize]int32
	used  [pageSize / 64]uint64 // bit: the bucket is not empty
	count int                   // buckets not empty
}

// tickOf returns the tick that an instant lies in.
func tickOf(due int64) int64 { return due >> tickBits }

// insert puts slot i in. Its tick must not lie before pos.
func (w *wheel) insert(s *slab, i int32) {
	w.count++
	w.place(s, i)
}

// place puts slot i into the lowest level that reaches it. The topmost reaches
// everything.
func (w *wheel) place(s *slab, i int32) {
	w.steps++
	sl := s.at(i)
	sl.become(inWheel)
	tick := tickOf(sl.due)
	k := 0
	for k < levels-1 && tick>>(k*levelBits)-w.pos>>(k*levelBits) >= span {
		k++
	}
	at := int(tick >> (k * levelBits) & (span - 1))
	first := w.bucket(s, k, at)
	if *first != 0 {
		s.at(*first).prev = i
	}
	sl.next, sl.prev = *first, ^int32(k*span+at)
	*first = i
}

// bucket returns the first of a bucket that is about to be in use.
func (w *wheel) bucket(s *slab, k, at int) *int32 {
	l := w.levels[k]
	if l == nil {
		if l, s.spareLevel = s.spareLevel, nil; l == nil {
			l = new(level)
		}
		w.levels[k] = l
	}
	n, b := at>>pageBits, at&(pageSize-1)
	p := l.pages[n]
	if p == nil {
		if p, s.sparePage = s.sparePage, nil; p == nil {
			p = new(page)
		}
		l.pages[n] = p
		l.used[n/64] |= 1 << (n % 64)
	}
	if p.first[b] == 0 {
		p.used[b/64] |= 1 << (b % 64)
		p.count++
	}
	return &p.first[b]
}

// remove takes slot i out, wherever in the wheel it is.
func (w *wheel) remove(s *slab, i int32) {
	w.count--
	sl := s.at(i)
	if sl.next != 0 {
		s.at(sl.next).prev = sl.prev
	}
	if sl.prev >= 0 {
		s.at(sl.prev).next = sl.next
		return
	}
	n := int(^sl.prev) // the first: prev is its bucket
	w.setFirst(s, n/span, n%span, sl.next)
}

// setFirst makes slot i the first of a bucket; 0 empties it.
func (w *wheel) setFirst(s *slab, k, at int, i int32) {
	l := w.levels[k]
	n, b := at>>pageBits, at&(pageSize-1)
	p := l.pages[n]
	p.first[b] = i
	if i != 0 {
		return
	}
	p.used[b/64] &^= 1 << (b % 64)
	if p.count--; p.count > 0 {
		return
	}
	l.pages[n], s.sparePage = nil, p
	l.used[n/64] &^= 1 << (n % 64)
	if l.used == [len(l.used)]uint64{} {
		w.levels[k], s.spareLevel = nil, l
	}
}

// next returns the earliest bucket: its level, its number and its first slot.
// Where two begin at once it is the one of the upper level. ok is false when the
// wheel is empty.
func (w *wheel) next() (k int, bucket int64, first int32, ok bool) {
	var start int64
	for i := levels - 1; i >= 0; i-- {
		if w.levels[i] == nil {
			continue
		}
		n, slot := w.levels[i].next(w.pos >> (i * levelBits))
		if at := n << (i * levelBits); slot != 0 && (!ok || at < start) {
			k, bucket, first, start, ok = i, n, slot, at, true
		}
	}
	return k, bucket, first, ok
}

// start returns the instant at which there is something to do again: the
// earliest bucket begins, or one can be poured ahead.
func (w *wheel) start() (at int64, ok bool) {
	k, bucket, _, ok := w.next()
	tick := bucket << (k * levelBits)
	for k := 1; k < levels && ok; k++ {
		if bucket, first := w.upper(k); first != 0 {
			tick = min(tick, max(w.pos, w.reachedAt(k, bucket)))
		}
	}
	return tick << tickBits, ok
}

// next returns the first bucket in use from number from on, and its first slot;
// 0 when there is none.
func (l *level) next(from int64) (int64, int32) {
	at := int(from & (span - 1))
	k, b := at>>pageBits, at&(pageSize-1)
	if p := l.pages[k]; p != nil {
		if i := nextBit(p.used[:], b); i >= 0 {
			return from + int64(i-b), p.first[i]
		}
	}
	// The pages behind, once around: in its own, now, what lies before from.
	next := nextBit(l.used[:], k+1)
	if next < 0 {
		next = nextBit(l.used[:], 0)
	}
	if next < 0 {
		return 0, 0
	}
	i := nextBit(l.pages[next].used[:], 0)
	ahead := (next<<pageBits + i - at) & (span - 1)
	return from + int64(ahead), l.pages[next].first[i]
}

// nextBit returns the first bit that is set from number from on, or -1.
func nextBit(words []uint64, from int) int {
	for k := from / 64; k < len(words); k++ {
		word := words[k]
		if k == from/64 {
			word &= ^uint64(0) << (from % 64)
		}
		if word != 0 {
			return k*64 + bits.TrailingZeros64(word)
		}
	}
	return -1
}

// turn moves pos on towards tick and what lies before it to near, until tick is
// passed, at least one message was moved and its bucket is empty, or most
// messages were touched. It returns how many were touched, and whether there is
// nothing left to do.
func (w *wheel) turn(s *slab, near *heap, tick int64, most int) (touched int, done bool) {
	for touched < most {
		k, bucket, first, ok := w.next()
		if !ok || bucket<<(k*levelBits) > tick {
			w.pos = max(w.pos, tick+1)
			return touched, true
		}
		w.pos = max(w.pos, bucket<<(k*levelBits))
		if k > 0 {
			touched += w.pour(s, k, bucket, first, most-touched)
			continue
		}
		if bucket >= w.ahead {
			w.touchAhead(s, bucket)
		}
		n, empty := w.drain(s, near, bucket, first, most-touched)
		touched += n
		if empty {
			w.pos = bucket + 1
			return touched, false
		}
	}
	return touched, false
}

// touch loads what insert will need for a message of that due: the bucket, and
// the slot that is the first in it.
func (w *wheel) touch(s *slab, due int64) int32 {
	tick := tickOf(due)
	if w.levels[0] == nil || tick-w.pos < 0 || tick-w.pos >= span {
		return 0 // an upper level, with few buckets, which are near
	}
	at := int(tick & (span - 1))
	p := w.levels[0].pages[at>>pageBits]
	if p == nil {
		return 0
	}
	return s.at(p.first[at&(pageSize-1)]).prev // slot 0 can be read too
}

// touchAhead loads the slots of the next few buckets. A list can only be followed one
// slot after the other, and each costs a trip to the memory; several lists side
// by side make their trips together.
func (w *wheel) touchAhead(s *slab, bucket int64) {
	var at [16]int32 // slot 0, where a list has ended, has no next
	for i := range at {
		n := int(bucket+int64(i)) & (span - 1)
		if p := w.levels[0].pages[n>>pageBits]; p != nil {
			at[i] = p.first[n&(pageSize-1)]
		}
	}
	w.ahead = bucket + int64(len(at))
	for more, n := true, 0; more && n < stepSize/len(at); n++ {
		more = false
		for i, slot := range at {
			at[i] = s.at(slot).next
			if slot != 0 {
				more = true
				w.steps++
			}
		}
	}
}

// drain moves up to most messages of a bucket of level 0 to near.
func (w *wheel) drain(s *slab, near *heap, bucket int64, first int32, most int) (n int, empty bool) {
	for n < most && first != 0 {
		next := s.at(first).next
		near.push(s, first)
		first = next
		n++
	}
	w.count -= n
	w.steps += n
	w.restart(s, 0, bucket, first)
	return n, first == 0
}

// pour moves up to most messages of a bucket of level k to the levels below.
func (w *wheel) pour(s *slab, k int, bucket int64, first int32, most int) (n int) {
	for n < most && first != 0 {
		next := s.at(first).next
		w.place(s, first)
		first = next
		n++
	}
	w.restart(s, k, bucket, first)
	return n
}

// restart lets a bucket begin with slot first after those before it have left.
func (w *wheel) restart(s *slab, k int, bucket int64, first int32) {
	at := int(bucket & (span - 1))
	w.setFirst(s, k, at, first)
	if first != 0 {
		s.at(first).prev = ^int32(k*span + at)
	}
}

// pourAhead pours up to most messages of the buckets that the windows below
// reach already, so that turn finds little left to do. It returns how many.
func (w *wheel) pourAhead(s *slab, most int) (n int) {
	for k := 1; k < levels && n < most; k++ {
		if bucket, first := w.upper(k); first != 0 && w.reachedAt(k, bucket) <= w.pos {
			n += w.pour(s, k, bucket, first, most-n)
		}
	}
	return n
}

// upper returns the first bucket of level k, 0 for its slot if there is none.
func (w *wheel) upper(k int) (bucket int64, first int32) {
	if w.levels[k] == nil {
		return 0, 0
	}
	return w.levels[k].next(w.pos >> (k * levelBits))
}

// reachedAt returns the tick from which on the window below level k reaches to
// the end of a bucket.
func (w *wheel) reachedAt(k int, bucket int64) int64 {
	return ((bucket+1)<<levelBits - span) << ((k - 1) * levelBits)
}

// earliest returns the first due of what is in the wheel, looking at no more
// than most messages of a bucket.
func (w *wheel) earliest(s *slab, most int) int64 {
	at := int64(math.MaxInt64)
	for k := range levels {
		if w.levels[k] == nil {
			continue
		}
		bucket, i := w.levels[k].next(w.pos >> (k * levelBits))
		if i == 0 || bucket<<(k*levelBits+tickBits) >= at {
			continue
		}
		for n := 0; n < most && i != 0; n++ {
			at = min(at, s.at(i).due)
			i = s.at(i).next
		}
	}
	return at
}
