package queue

import (
	"context"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// durableSession is a [Session] of a Durable, and a [Taker]: one of its Memory
// whose Commit writes the journal first.
type durableSession struct {
	d       *Durable
	s       *memorySession
	journal *journal
}

// Receive waits for messages of a name; see [Session].
func (s *durableSession) Receive(ctx context.Context, name string, limit int) ([]Delivery, error) {
	ds, err := s.s.Receive(ctx, name, limit)
	return ds, s.d.explain(err)
}

// Take delivers the message of one resource, due or not; see [Taker].
func (s *durableSession) Take(ctx context.Context, id resource.ID) (Delivery, error) {
	d, err := s.s.Take(ctx, id)
	return d, s.d.explain(err)
}

// Close ends the session; see [Session].
func (s *durableSession) Close() error { return s.s.Close() }

// Commit moves, admits and retires; see [Session] and [Durable]. It ends with ctx
// while it waits for room, and for others who write. What it writes itself, for
// others too, it waits for.
func (s *durableSession) Commit(ctx context.Context, done []Delivery, next ...Message) error {
	p, err := s.s.prepare(ctx, done, next...)
	if err != nil {
		return s.d.explain(err)
	}
	aux, err := s.write(ctx, p)
	if err != nil {
		return s.d.explain(err)
	}
	p.apply(aux)
	return nil
}

// write brings what p changes into the journal, and returns the numbers that its
// messages have afterwards. Without success p is aborted.
func (s *durableSession) write(ctx context.Context, p *prepared) (aux []int64, err error) {
	ok := false
	defer func() {
		if !ok {
			p.abort() // for an error, and for a store that panics
		}
	}()
	entries := p.entries()
	if _, err := s.d.loaded(); err != nil {
		return nil, err // a Memory that was closed has no entries
	}
	changes, at, err := s.changes(p, entries)
	if err == nil && len(changes) > 0 {
		err = s.journal.commit(ctx, changes)
	}
	if err != nil {
		return nil, err
	}
	ok = true
	if len(changes) == 0 {
		return nil, nil
	}
	for i := range entries {
		switch e := &entries[i]; {
		case e.Retired:
		case at[i] < 0:
			aux = append(aux, e.Aux)
		default:
			c := &changes[at[i]]
			aux = append(aux, auxOf(c.version, &p.next[e.Index], isStray(c.value)))
		}
	}
	return aux, nil
}

// changes returns what has to be written, and for each entry which of it is
// its own, or -1.
func (s *durableSession) changes(p *prepared, entries []journaled) (changes []journalChange, at []int, err error) {
	now := time.Now()
	unsure := s.journal.unsureOf(entries)
	for i := range entries {
		e := &entries[i]
		var before sent
		if unsure != nil {
			before = unsure[i]
		}
		needed := before != 0
		if !needed {
			if needed, err = s.needed(p, e); err != nil {
				return nil, nil, err
			}
		}
		if at == nil && needed { // nothing is made for a Commit that writes nothing
			at = make([]int, i, len(entries))
			for k := range at {
				at[k] = -1
			}
		}
		if !needed {
			if at != nil {
				at = append(at, -1)
			}
			continue
		}
		c, err := changeOf(p, e, before, now)
		if err != nil {
			return nil, nil, err
		}
		at = append(at, len(changes))
		changes = append(changes, c)
	}
	return changes, at, nil
}

// changeOf returns what an entry is in the journal.
func changeOf(p *prepared, e *journaled, before sent, now time.Time) (c journalChange, err error) {
	stray := e.Aux&auxStray != 0 || before&sentCreate != 0
	c = journalChange{id: e.ID, known: e.Aux >> auxBits, retire: e.Retired}
	if e.Retired {
		if stray {
			c.value = tombstone()
		}
		return c, nil
	}
	m := p.next[e.Index]
	m.Resource.Version = e.Version
	c.value, err = appendRecord(nil, &m, now)
	if err == nil && stray {
		setStray(c.value)
	}
	return c, err
}

// needed reports whether a change belongs into the journal.
func (s *durableSession) needed(p *prepared, e *journaled) (bool, error) {
	if e.Retired || e.Aux == 0 {
		return true, nil
	}
	next := &p.next[e.Index]
	marks := marksOf(next)
	if marks != e.Aux&(auxOwner|auxCause) {
		return true, nil
	}
	if marks == 0 {
		return false, nil
	}
	// Both claimed, or both buried: by the same, at the same instant, and for the
	// same? A claim that follows a claim carries the result of the first.
	held, _, err := s.s.m.Find(context.Background(), e.ID)
	return held.Resource.Owner != next.Resource.Owner || !held.Resource.Claimed.Equal(next.Resource.Claimed) ||
		held.Cause != next.Cause, err
}

// The number that Memory keeps for each message is the version of its record
// and, in the lowest bits, three marks of it. Since whatever changes the first two
// is written, they are those of the message as well.
const (
	auxOwner int64 = 1 << iota // it has an Owner
	auxCause                   // it has a Cause
	auxStray                   // see recordStray
	auxBits  = iota
)

func auxOf(version int64, m *Message, stray bool) int64 {
	aux := version<<auxBits | marksOf(m)
	if stray {
		aux |= auxStray
	}
	return aux
}

func marksOf(m *Message) (marks int64) {
	if !m.Resource.Owner.IsZero() {
		marks |= auxOwner
	}
	if m.Cause != "" {
		marks |= auxCause
	}
	return marks
}
