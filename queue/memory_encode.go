package queue

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/cannedos/cannedos/internal/packed"
	"github.com/cannedos/cannedos/resource"
)

// appendValue appends the value of a message that was checked, with the version
// given, and its shared texts still unnumbered. now is time.Now().
func (c clock) appendValue(b []byte, m *Message, version int64, now time.Time) []byte {
	start, r := len(b), &m.Resource
	texts := len(r.URI) + len(r.Validators.ETag) + len(r.Validators.LastModified) +
		len(r.Moved) + len(r.Hop) + len(r.Cause) + len(m.Cause)
	b = slices.Grow(b, mostNumbers+texts)

	b = b[:start+valueVersion]
	v := b[start:]
	copy(v[valueID:], r.ID[:])
	v[valueState], v[valueState+1] = byte(r.State), byte(r.Why)
	b = appendUvarint(b, uint64(version))

	var flags uint32
	b, flags = c.appendNumbers(b, m, now)
	b, flags = appendTexts(b, m, flags, start)

	v = b[start:]
	binary.LittleEndian.PutUint16(v[valueLength:], uint16(len(v)))
	binary.LittleEndian.PutUint32(v[valueFlags:], flags)
	return b
}

func (c clock) appendNumbers(b []byte, m *Message, now time.Time) (_ []byte, flags uint32) {
	r := &m.Resource
	if r.Priority != 0 {
		b, flags = append(b, byte(r.Priority)), flags|withPriority
	}
	if r.Interval != 0 {
		b, flags = packed.AppendWait(b, r.Interval), flags|withInterval
	}
	if r.PollInterval != 0 {
		b, flags = packed.AppendWait(b, r.PollInterval), flags|withPollInterval
	}
	var at packed.Instants
	var set uint8
	sinceBase := int64(now.Sub(c.base))
	for i, t := range [...]*time.Time{&r.Claimed, &r.ClaimUntil, &r.Asked, &r.Answered, &r.Changed, &r.NotBefore} {
		if !t.IsZero() {
			at[i] = add(int64(t.Sub(now)), sinceBase)
			set |= 1 << i
		}
	}
	b, flags = packed.AppendInstants(b, &at, set), flags|uint32(set)*withClaimed
	if r.Digest != 0 {
		b, flags = binary.LittleEndian.AppendUint64(b, r.Digest), flags|withDigest
	}
	if r.Polls != 0 || r.Modified != 0 || r.Failures != 0 || r.Quiet != 0 {
		b = appendUvarint(b, uint64(r.Polls))
		b = appendUvarint(b, uint64(r.Modified))
		b = appendUvarint(b, uint64(r.Failures))
		b = appendUvarint(b, uint64(r.Quiet))
		flags |= withCounters
	}
	if m.Attempts != 0 {
		b, flags = appendUvarint(b, uint64(m.Attempts)), flags|withAttempts
	}
	if !r.Owner.IsZero() {
		b, flags = append(b, r.Owner[:]...), flags|withOwner
	}
	if r.Seen != 0 || r.Gones != 0 || r.Hops != 0 || r.Hushed || r.Lull != 0 {
		hushed := byte(0)
		if r.Hushed {
			hushed = 1
		}
		b, flags = appendUvarint(append(b, r.Seen, r.Gones, r.Hops, hushed), uint64(r.Lull)), flags|withMarks
	}
	if !r.Hint.IsZero() {
		b, flags = appendHint(b, &r.Hint, flags|withHint)
	}
	return b, flags
}

// appendHint: its base is an instant of the wall clock, unlike all others.
func appendHint(b []byte, h *resource.Hint, flags uint32) ([]byte, uint32) {
	b = packed.AppendWait(b, h.Interval)
	b = appendUvarint(append(b, h.SkipDays), uint64(h.SkipHours))
	if !h.Base.IsZero() {
		b, flags = binary.LittleEndian.AppendUint64(b, uint64(h.Base.UnixNano())), flags|withHintBase
	}
	return b, flags
}

// appendTexts appends the lengths and the texts, and notes where those begin.
func appendTexts(b []byte, m *Message, flags uint32, start int) ([]byte, uint32) {
	r := &m.Resource
	var room [packedRoom]byte
	tag, form := packed.AppendTag(room[:0], r.Validators.ETag)
	date, isDate := packed.AppendDate(tag[len(tag):], r.Validators.LastModified)
	uri := r.URI
	if strings.HasPrefix(uri, packed.Secure) {
		uri, flags = uri[len(packed.Secure):], flags|withSecure
	}
	switch {
	case r.Origin == "":
	case r.Origin == r.URI[:packed.OriginLen(r.URI)]:
		flags |= withOriginOfURI
	case strings.HasPrefix(r.URI, r.Origin):
		b, flags = appendUvarint(b, uint64(len(r.Origin))), flags|withOrigin
	}
	if s := r.Validators.ETag; s != "" && form == 0 {
		b, flags = appendUvarint(b, uint64(len(s))), flags|withETag
	}
	if s := r.Validators.LastModified; s != "" && !isDate {
		b, flags = appendUvarint(b, uint64(len(s))), flags|withLastModified
	}
	if r.Moved != "" {
		b, flags = appendUvarint(b, uint64(len(r.Moved))), flags|withMoved
	}
	if r.Hop != "" {
		b, flags = appendUvarint(b, uint64(len(r.Hop))), flags|withHop
	}
	if r.Cause != "" || m.Cause != "" {
		b, flags = appendUvarint(b, uint64(len(r.Cause))), flags|withCauses
	}
	if flags&textsBesideURI != 0 {
		b = appendUvarint(b, uint64(len(uri)))
	}
	if form != 0 {
		b, flags = append(b, byte(form)), flags|withTag
	}
	binary.LittleEndian.PutUint16(b[start+valueTexts:], uint16(len(b)-start))
	b = append(b, tag...)
	if isDate {
		b, flags = append(b, date...), flags|withDate
	}
	b = append(b, uri...)
	if flags&textsBesideURI == 0 {
		return b, flags
	}
	if flags&withETag != 0 {
		b = append(b, r.Validators.ETag...)
	}
	if flags&withLastModified != 0 {
		b = append(b, r.Validators.LastModified...)
	}
	b = append(b, r.Moved...)
	b = append(b, r.Hop...)
	b = append(b, r.Cause...)
	return append(b, m.Cause...), flags
}

// packedRoom is what a packed tag and a packed date take at most.
const packedRoom = 64 + packed.DateSize

// appendUvarint is that of package binary with the short ones first.
func appendUvarint(b []byte, n uint64) []byte {
	if n < 0x80 {
		return append(b, byte(n))
	}
	return binary.AppendUvarint(b, n)
}
