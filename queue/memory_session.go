package queue

import (
	"context"
	"fmt"
	"strings"

	"github.com/cannedos/cannedos/resource"
)

// memorySession is a [Session] of a Memory, and a [Taker].
//
// It ends by Close or by the end of the context that it was opened with,
// whichever comes first. Both call end; over is closed when it begins, returned
// when everything has been given back.
type memorySession struct {
	m        *Memory
	stop     func() bool // takes back the call of end by the context
	over     chan struct{}
	returned chan struct{}

	// Guarded by the lock of m.
	ended bool
	first int32 // of its holds
}

const (
	maxBatch = 1024 // messages that Receive returns at most: it takes them in one hold of the lock
	stepSize = 1024 // messages touched in one hold of the lock, beyond those asked for
)

// scratch is what a call works with outside the lock. It is used again.
type scratch struct {
	bytes   []byte
	slots   []int32
	taken   []taken
	texts   int  // bytes of the texts of taken
	touched byte // keeps the compiler from leaving out what loads ahead
	given   []given
	values  []encodedValue
	changes []change
	held    []int32 // of done: the number of its hold; 0: not held
	moved   []bool  // of done: whether next has the same resource
	need    int     // admissions less retirements
}

// taken is a message on its way out: everything that must be read under the
// lock, so that it can be decoded without.
type taken struct {
	end         int // of its value in bytes
	text        int // bytes of its texts
	due         int64
	receipt     uint64
	shared      *texts
	response    *resource.Response
	place       *place
	redelivered bool
}

// release gives b back for use by other calls, with nothing left in it that
// would be kept alive.
func (m *Memory) release(b *scratch) {
	const most = 1 << 20
	clear(b.taken)
	clear(b.changes)
	b.bytes, b.slots, b.taken, b.given, b.values = b.bytes[:0], b.slots[:0], b.taken[:0], b.given[:0], b.values[:0]
	b.changes, b.held, b.moved, b.texts = b.changes[:0], b.held[:0], b.moved[:0], 0
	if cap(b.bytes) <= most {
		m.scratch.Put(b)
	}
}

// Receive waits for messages of a name; see [Session].
func (s *memorySession) Receive(ctx context.Context, name string, limit int) ([]Delivery, error) {
	if limit < 1 {
		return nil, fmt.Errorf("queue: Receive: limit %d: want 1 or more", limit)
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	b := s.m.scratch.Get().(*scratch)
	defer s.m.release(b)
	if err := s.collect(ctx, name, min(limit, maxBatch), b); err != nil {
		return nil, err
	}
	return s.m.deliver(b), nil
}

// Take delivers the message of one resource, due or not; see [Taker].
func (s *memorySession) Take(ctx context.Context, id resource.ID) (Delivery, error) {
	b := s.m.scratch.Get().(*scratch)
	defer s.m.release(b)
	if err := s.takeID(ctx, id, b); err != nil {
		return Delivery{}, err
	}
	return s.m.deliver(b)[0], nil
}

func (s *memorySession) takeID(ctx context.Context, id resource.ID, b *scratch) error {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := s.overLocked(ctx); err != nil {
		return err
	}
	i, err := m.findLocked(id)
	if err != nil {
		return err
	}
	if m.slots.at(i).is() == inHand {
		return ErrHeld
	}
	_, now := m.now()
	p := m.places[m.slots.at(i).place]
	m.removeLocked(p, i)
	b.slots = append(b.slots, i)
	s.takeLocked(p, b)
	m.wakeLocked(p, now)
	return nil
}

// Close ends the session; see [Session].
func (s *memorySession) Close() error {
	s.stop()
	s.end()
	<-s.returned
	return nil
}

// end gives back what the session holds. It is called once by Close and perhaps
// once more by the context; the second does nothing.
func (s *memorySession) end() {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	close(s.over)
	for s.first != 0 && !m.closed {
		_, now := m.now()
		for n := 0; n < stepSize && s.first != 0; n++ {
			m.giveBackLocked(s.first, now)
		}
		m.mu.Unlock() // others may go on between the steps
		m.mu.Lock()
	}
	delete(m.sessions, s)
	close(s.returned)
}

// overLocked returns why the session can do nothing more for a call with ctx.
func (s *memorySession) overLocked(ctx context.Context) error {
	switch {
	case s.m.closed:
		return ErrClosed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case s.ended:
		return ErrSession
	}
	return nil
}

// collect waits until at least one message of the name is due and takes up to
// limit of them.
func (s *memorySession) collect(ctx context.Context, name string, limit int, b *scratch) error {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	var p *place
	for again := false; ; {
		if err := s.overLocked(ctx); err != nil {
			if p != nil { // it was ours to look; now it is another's
				_, now := m.now()
				m.wakeLocked(p, now)
			}
			return err
		}
		_, now := m.now()
		p = m.placeLocked(name)
		done := m.pickLocked(p, now, limit, b)
		if len(b.slots) > 0 {
			s.takeLocked(p, b)
			p.wheel.pourAhead(&m.slots, min(2*len(b.taken)+16, stepSize))
			m.wakeLocked(p, now)
			return nil
		}
		if done && p.wheel.pourAhead(&m.slots, stepSize) == 0 {
			s.waitLocked(ctx, p, now, again)
			again = true
			continue
		}
		m.mu.Unlock() // much is being put in order: others may go on between the steps
		m.mu.Lock()
	}
}

// pickLocked takes up to limit messages that are due out of p, in order. Where
// it found none, it reports whether none is due, or whether there are more steps
// to be done first.
func (m *Memory) pickLocked(p *place, now int64, limit int, b *scratch) (done bool) {
	for budget := stepSize; ; {
		if i := m.firstLocked(p, now); i != 0 {
			m.removeLocked(p, i)
			b.slots = append(b.slots, i)
			if len(b.slots) == limit {
				return true
			}
			continue
		}
		if done || budget <= 0 {
			return done
		}
		var n int
		n, done = p.wheel.turn(&m.slots, &p.near, tickOf(now), budget)
		budget -= n
	}
}

// takeLocked takes the slots of b, which wait nowhere any more, into the hands
// of s, and reads them.
func (s *memorySession) takeLocked(p *place, b *scratch) {
	m := s.m
	m.touchLocked(b)
	for _, i := range b.slots {
		sl := m.slots.at(i)
		sl.become(inHand)
		p.held++
		h, receipt := m.holds.add(s, i)
		sl.next = h
		t := m.readLocked(i, b)
		t.receipt, t.redelivered = receipt, sl.state&redelivered != 0
		if len(m.bodies) > 0 {
			t.response = m.bodies[i].Response
		}
	}
}

// touchLocked loads the values of the slots of b, with nothing that waits for
// the memory in between: that takes a tenth of the time of loading each when it
// is copied.
func (m *Memory) touchLocked(b *scratch) {
	x := byte(0)
	for _, i := range b.slots {
		v := m.arena.get(m.slots.at(i).val)
		for at := 0; at < len(v); at += cacheLine {
			x ^= v[at]
		}
		x ^= v[len(v)-1]
	}
	b.touched = x
}

const cacheLine = 64

// readLocked copies slot i into b, to be decoded outside the lock.
func (m *Memory) readLocked(i int32, b *scratch) *taken {
	sl := m.slots.at(i)
	v := m.valueLocked(sl)
	b.bytes = append(b.bytes, v...)
	text := v.textLen()
	b.texts += text
	b.taken = append(b.taken, taken{
		end: len(b.bytes), text: text, due: sl.due, place: m.places[sl.place], shared: &m.texts.all[v.shared()].texts,
	})
	return &b.taken[len(b.taken)-1]
}

// textChunk is how many bytes of text the deliveries of a batch share: an object
// for each costs as much as all else of decoding it, and one for all would keep
// the texts of a batch, up to megabytes, for as long as anybody keeps one of them.
const textChunk = 1 << 10

// deliver decodes what was read into b. The names of places and the shared
// texts never change, so no lock is needed.
func (m *Memory) deliver(b *scratch) []Delivery {
	ds := make([]Delivery, len(b.taken))
	var chunk strings.Builder
	start, left := 0, b.texts
	for i := range b.taken {
		t, d := &b.taken[i], &ds[i]
		v := value(b.bytes[start:t.end])
		if chunk.Cap()-chunk.Len() < t.text {
			chunk.Reset()
			chunk.Grow(max(min(left, textChunk), t.text))
		}
		at := chunk.Len()
		v.writeTexts(&chunk)
		m.clock.decode(&d.Message, v, chunk.String()[at:], t.shared)
		start, left = t.end, left-t.text
		d.Queue, d.Due = t.place.name, m.clock.instant(t.due)
		d.Response, d.Receipt, d.Redelivered = t.response, t.receipt, t.redelivered
	}
	return ds
}

// giveBackLocked lets what was held wait again, where it was and marked.
func (m *Memory) giveBackLocked(h int32, now int64) {
	i := m.holds.all[h].slot
	m.holds.drop(h)
	sl := m.slots.at(i)
	sl.state |= redelivered
	p := m.places[sl.place]
	p.held--
	m.putLocked(p, i, now)
	m.wakeLocked(p, now)
}
