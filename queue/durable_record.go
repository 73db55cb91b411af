package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// recordVersion is the first byte of the value of a journal record. Raise it
// when the layout changes, and keep reading the older ones: see decodeRecord1.
const recordVersion = 2

// The layout of a value, version 2:
//
//	version   1 byte
//	flags     1 byte
//	due       8 bytes, nanoseconds since 1970 on the wall clock, if flagged
//	attempts  uvarint, if flagged
//	place     uvarint: the number of its name, or 0 and the name as a uvarint and
//	          so many bytes
//	cause     uvarint, and so many bytes, if flagged
//	resource  the rest: resource.AppendBinary, without the ID
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

	// From version 2 on.
	recordDueAsResource // due when the resource may be asked again, NotBefore: with no due of its own
	recordHasAttempts
	recordHasCause

	recordFlags1 = recordHasDue | recordStray | recordTomb
	recordFlags  = recordFlags1 | recordDueAsResource | recordHasAttempts | recordHasCause
)

// recordPlaces are names that records have by number, which counts from 1. They
// are those of the ready-made canned OS; any other is written out. What is here
// stays where it is, since records are read by it for years, and one name more
// needs a new version: an older program would take its number for damage.
var recordPlaces = [...]string{
	"analyze", "requests", "publish", "analyze-error", "requests-error", "publish-error",
	"frozen-50", "frozen-250", "frozen-500", "frozen-1000",
}

// tombLife is how long a tombstone stays: longer than any write is on its way.
const tombLife = 24 * time.Hour

func tombstone() []byte { return []byte{recordVersion, recordStray | recordTomb} }

func isTombstone(v []byte) bool {
	return len(v) == 2 && (v[0] == 1 || v[0] == recordVersion) && v[1]&recordTomb != 0
}

func isStray(v []byte) bool { return len(v) > 1 && v[1]&recordStray != 0 }

// setStray marks a value that appendRecord made.
func setStray(v []byte) { v[1] |= recordStray }

// appendRecord appends the value of m. Instants are written as the wall clock of
// now would show them, so that a jump of it since they were made doesn't count.
func appendRecord(b []byte, m *Message, now time.Time) ([]byte, error) {
	r := m.Resource
	r.ID = resource.ID{}
	for _, t := range [...]*time.Time{&r.Claimed, &r.ClaimUntil, &r.Asked, &r.Answered, &r.Changed, &r.NotBefore} {
		*t = onTheWall(*t, now)
	}
	flags, due := byte(0), onTheWall(m.Due, now)
	switch {
	case due.IsZero():
	case due.Equal(r.NotBefore):
		flags |= recordDueAsResource
	default:
		flags |= recordHasDue
	}
	if m.Attempts != 0 {
		flags |= recordHasAttempts
	}
	if m.Cause != "" {
		flags |= recordHasCause
	}
	b = append(b, recordVersion, flags)
	if flags&recordHasDue != 0 {
		b = binary.BigEndian.AppendUint64(b, uint64(wallNanos(due)))
	}
	if flags&recordHasAttempts != 0 {
		b = binary.AppendUvarint(b, uint64(m.Attempts))
	}
	if n := slices.Index(recordPlaces[:], m.Queue) + 1; n > 0 {
		b = append(b, byte(n))
	} else {
		b = binary.AppendUvarint(append(b, 0), uint64(len(m.Queue)))
		b = append(b, m.Queue...)
	}
	if flags&recordHasCause != 0 {
		b = binary.AppendUvarint(b, uint64(len(m.Cause)))
		b = append(b, m.Cause...)
	}
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
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

// readRecord returns the message of a record, its instants on the clock of now,
// and whether it is a claim. A claim is due at once, whatever it was due at: a
// former run had it in hand. Errors wrap ErrDamaged or ErrNewer and name the
// resource.
func readRecord(rec *db.Record, now time.Time) (m Message, claim bool, err error) {
	m, err = decodeRecord(rec.ID, rec.Value)
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

// decodeRecord returns the message of a value, whose record has this id.
func decodeRecord(id string, v []byte) (m Message, err error) {
	d := recordDecoder{v: v}
	version := d.byte()
	switch version {
	case 1:
		decodeRecord1(&d, &m)
	case recordVersion:
		decodeRecord2(&d, &m)
	default:
		if version > recordVersion {
			return m, fmt.Errorf("%w: version %d, this program knows %d", ErrNewer, version, recordVersion)
		}
		d.bad = true
	}
	if d.bad {
		return m, fmt.Errorf("%w: cut off or out of bounds at byte %d of %d", ErrDamaged, len(v)-len(d.v), len(v))
	}
	r := &m.Resource
	switch err := r.UnmarshalBinary(d.v); {
	case errors.Is(err, resource.ErrNewer):
		return m, fmt.Errorf("%w: %w", ErrNewer, err)
	case err != nil:
		return m, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if version != 1 && r.ID.IsZero() {
		if r.ID, err = resource.ParseID(id); err != nil {
			return m, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	if r.ID.String() != id {
		return m, fmt.Errorf("%w: it holds resource %v", ErrDamaged, r.ID)
	}
	if d.dueAsResource {
		m.Due = r.NotBefore
	}
	return m, nil
}

func decodeRecord2(d *recordDecoder, m *Message) {
	flags := d.flags(recordFlags)
	d.dueAsResource = flags&recordDueAsResource != 0
	if d.dueAsResource && flags&recordHasDue != 0 {
		d.bad = true
	}
	if flags&recordHasDue != 0 {
		m.Due = d.instant()
	}
	if flags&recordHasAttempts != 0 {
		m.Attempts = int(d.uvarint(math.MaxInt))
	}
	if n := d.uvarint(uint64(len(recordPlaces))); n > 0 {
		m.Queue = recordPlaces[n-1]
	} else {
		m.Queue = string(d.take(d.uvarint(MaxName)))
	}
	if flags&recordHasCause != 0 {
		m.Cause = string(d.take(d.uvarint(resource.MaxCause)))
	}
}

// decodeRecord1 reads version 1: every place was written out, attempts and the
// length of the cause were always there, and the resource had its ID.
func decodeRecord1(d *recordDecoder, m *Message) {
	if d.flags(recordFlags1)&recordHasDue != 0 {
		m.Due = d.instant()
	}
	m.Attempts = int(d.uvarint(math.MaxInt))
	m.Queue = string(d.take(d.uvarint(MaxName)))
	m.Cause = string(d.take(d.uvarint(resource.MaxCause)))
}

// recordDecoder reads from the front. What is wrong stays in bad; everything
// after it reads as zero.
type recordDecoder struct {
	v             []byte
	bad           bool
	dueAsResource bool
}

func (d *recordDecoder) byte() byte {
	if b := d.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

// flags reads flags, all of which have to be known.
func (d *recordDecoder) flags(known byte) byte {
	flags := d.byte()
	if flags&^known != 0 {
		d.bad = true
	}
	return flags
}

func (d *recordDecoder) instant() (t time.Time) {
	if b := d.take(8); len(b) == 8 {
		t = time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC()
	}
	return t
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
