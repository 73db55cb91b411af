package db

import (
	"encoding/binary"
	"time"
)

// A body of Memory is what a record has beyond its names and its version: a byte
// of flags, Until and the number of the Owner if there are any, and the Value,
// which runs to the end. It never leaves the process, unlike that of File, and so
// it can name the owner, which is nearly always the same one, by a number.

// appendBody appends the body of a record, whose Owner is then held once more.
func (m *Memory) appendBody(b []byte, r *Record) []byte {
	at := len(b)
	b = append(b, 0)
	if !r.Until.IsZero() {
		b[at] |= hasUntil
		b = binary.LittleEndian.AppendUint64(b, uint64(r.Until.UnixNano()))
	}
	if r.Owner != (Owner{}) {
		b[at] |= hasOwner
		b = binary.AppendUvarint(b, uint64(m.owners.hold(r.Owner)))
	}
	return append(b, r.Value...)
}

// readBody reads a body into r. Value is a copy.
func (m *Memory) readBody(b []byte, r *Record) {
	flags := b[0]
	b = b[1:]
	if flags&hasUntil != 0 {
		r.Until = time.Unix(0, int64(binary.LittleEndian.Uint64(b))).UTC()
		b = b[8:]
	}
	if flags&hasOwner != 0 {
		n, k := binary.Uvarint(b)
		r.Owner = m.owners.all[n].Owner
		b = b[k:]
	}
	r.Value = append([]byte(nil), b...)
}

// releaseBody gives up what a body holds.
func (m *Memory) releaseBody(b []byte) {
	if b[0]&hasOwner == 0 {
		return
	}
	at := 1
	if b[0]&hasUntil != 0 {
		at += 8
	}
	n, _ := binary.Uvarint(b[at:])
	m.owners.release(uint32(n))
}

// owners numbers those of the records that there are, and forgets the others.
type owners struct {
	numbers map[Owner]uint32
	all     []countedOwner
	free    []uint32
	last    uint32 // held last
}

type countedOwner struct {
	Owner
	records int
}

func newOwners() owners { return owners{numbers: map[Owner]uint32{}} }

// hold returns the number of an owner for one record more.
func (o *owners) hold(owner Owner) uint32 {
	if int(o.last) < len(o.all) && o.all[o.last].Owner == owner {
		o.all[o.last].records++
		return o.last
	}
	n, ok := o.numbers[owner]
	if !ok {
		if k := len(o.free); k > 0 {
			n, o.free = o.free[k-1], o.free[:k-1]
		} else {
			n = uint32(len(o.all))
			o.all = append(o.all, countedOwner{})
		}
		o.all[n].Owner, o.numbers[owner] = owner, n
	}
	o.all[n].records++
	o.last = n
	return n
}

// release gives one record's hold up.
func (o *owners) release(n uint32) {
	c := &o.all[n]
	if c.records--; c.records > 0 {
		return
	}
	delete(o.numbers, c.Owner)
	*c = countedOwner{}
	o.free = append(o.free, n)
}
