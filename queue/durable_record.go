package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// recordVersion is the first byte of the value of a journal record. Raise it
// when the layout changes, and keep reading the older ones.
const recordVersion = 1

// The layout of a value, version 1:
//
//	version   1 byte
//	flags     1 byte
//	due       8 bytes, nanoseconds since 1970 on the wall clock, if flagged
//	attempts  uvarint
//	place     uvarint, and so many bytes
//	cause     uvarint, and so many bytes
//	resource  the rest: resource.AppendBinary
//
// The record's ID is the resource's in its text form, so that people find it
// with the tools of their store. A Response is never written.
const (
	recordHasDue = 1 << iota

	// recordStray says that a write which creates this record may still be on
	// its way: one of an unknown outcome. If the record were removed, that write
	// would find nothing in its way and bring it back. So its resource is retired
	// by a tombstone.
	recordStray

	// recordTomb says that nothing follows: there is no such resource. A
	// tombstone is removed when its Until has passed and the journal is read.
	recordTomb

	recordFlags = recordHasDue | recordStray | recordTomb
)

// tombLife is how long a tombstone stays: longer than any write is on its way.
const tombLife = 24 * time.Hour

func tombstone() []byte { return []byte{recordVersion, recordStray | recordTomb} }

func isTombstone(v []byte) bool { return len(v) == 2 && v[0] == recordVersion && v[1]&recordTomb != 0 }

func isStray(v []byte) bool { return len(v) > 1 && v[1]&recordStray != 0 }

// setStray marks a value that appendRecord made.
func setStray(v []byte) { v[1] |= recordStray }

// appendRecord appends the value of m. Instants are written as the wall clock of
// now would show them, so that a jump of it since they were made doesn't count.
func appendRecord(b []byte, m *Message, now time.Time) ([]byte, error) {
	r := m.Resource
	for _, t := range [...]*time.Time{&r.Claimed, &r.ClaimUntil, &r.Asked, &r.Answered, &r.Changed, &r.NotBefore} {
		*t = onTheWall(*t, now)
	}
	if m.Due.IsZero() {
		b = append(b, recordVersion, 0)
	} else {
		b = append(b, recordVersion, recordHasDue)
		b = binary.BigEndian.AppendUint64(b, uint64(wallNanos(onTheWall(m.Due, now))))
	}
	b = binary.AppendUvarint(b, uint64(m.Attempts))
	b = binary.AppendUvarint(b, uint64(len(m.Queue)))
	b = append(b, m.Queue...)
	b = binary.AppendUvarint(b, uint64(len(m.Cause)))
	b = append(b, m.Cause...)
	return r.AppendBinary(b)
}

// onTheWall is the opposite of resource.Rebase: the same distance from now, on
// the wall clock alone. A zero t stays zero.
func onTheWall(t, now time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return now.Round(0).Add(t.Sub(now)).UTC()
}

// wallNanos saturates where 64 bits of nanoseconds end.
func wallNanos(t time.Time) int64 {
	switch year := t.Year(); {
	case year < 1678:
		return math.MinInt64
	case year > 2261:
		return math.MaxInt64
	}
	return t.UnixNano()
}

// readRecord returns the message of a record, its instants on the clock of now,
// and whether it is a claim. A claim is due at once, whatever it was due at: a
// former run had it in hand. Errors wrap ErrDamaged or ErrNewer and name the
// resource.
func readRecord(rec *db.Record, now time.Time) (m Message, claim bool, err error) {
	m, err = decodeRecord(rec.Value)
	if err == nil && m.Resource.ID.String() != rec.ID {
		err = fmt.Errorf("%w: it holds resource %v", ErrDamaged, m.Resource.ID)
	}
	if err != nil {
		return m, false, fmt.Errorf("queue: journal: record %q of space %q: %w", rec.ID, rec.Space, err)
	}
	m.Resource.Rebase(now)
	m.Due = resource.Rebase(m.Due, now)
	if claim = !m.Resource.Owner.IsZero(); claim && m.Due.After(now) {
		m.Due = time.Time{}
	}
	return m, claim, nil
}

func decodeRecord(v []byte) (m Message, err error) {
	d := recordDecoder{v: v}
	if version := d.byte(); version > recordVersion {
		return m, fmt.Errorf("%w: version %d, this program knows %d", ErrNewer, version, recordVersion)
	} else if version != recordVersion {
		d.bad = true
	}
	flags := d.byte()
	if flags&^recordFlags != 0 {
		d.bad = true
	}
	if flags&recordHasDue != 0 {
		if t := d.take(8); !d.bad {
			m.Due = time.Unix(0, int64(binary.BigEndian.Uint64(t))).UTC()
		}
	}
	m.Attempts = int(d.uvarint(math.MaxInt))
	m.Queue = string(d.take(d.uvarint(MaxName)))
	m.Cause = string(d.take(d.uvarint(resource.MaxCause)))
	if d.bad {
		return m, fmt.Errorf("%w: cut off or out of bounds at byte %d of %d", ErrDamaged, len(v)-len(d.v), len(v))
	}
	switch err := m.Resource.UnmarshalBinary(d.v); {
	case errors.Is(err, resource.ErrNewer):
		return m, fmt.Errorf("%w: %w", ErrNewer, err)
	case err != nil:
		return m, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return m, nil
}

// recordDecoder reads from the front. What is wrong stays in bad; everything
// after it reads as zero.
type recordDecoder struct {
	v   []byte
	bad bool
}

func (d *recordDecoder) byte() byte {
	if b := d.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (d *recordDecoder) take(n uint64) []byte {
	if uint64(len(d.v)) < n {
		d.bad = true
	}
	if d.bad {
		return nil
	}
	b := d.v[:n]
	d.v = d.v[n:]
	return b
}

func (d *recordDecoder) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(d.v)
	if n <= 0 || v > most {
		d.bad = true
	}
	if d.bad {
		return 0
	}
	d.v = d.v[n:]
	return v
}
