package resource

import (
	"encoding/binary"
	"math"
	"time"
)

// decoder reads an encoding from the front. The first thing that is wrong stays
// in bad; everything after it reads as zero.
type decoder struct {
	b   []byte
	bad string
}

func (d *decoder) resource() (r Resource) {
	if len(d.b) > MaxEncoded {
		d.bad = "longer than the bound"
		return r
	}
	version := d.byte()
	if version < firstVersion || version > encodingVersion {
		d.fail("unknown version")
		return r
	}
	most, lastReason := uint64(flagsEnd-1), reasons-1
	if version == firstVersion {
		most, lastReason = flagsEnd1-1, lastReason1
	}
	flags := uint32(d.uvarint(most))
	copy(r.ID[:], d.take(16))
	r.Priority = int8(d.byte())
	r.State = State(d.byte())
	r.Why = Reason(d.byte())
	r.Seen = d.byte()
	r.Gones = d.byte()
	if r.State >= states || r.Why > lastReason {
		d.fail("unknown state or reason")
	}
	r.Version = int64(d.uvarint(math.MaxInt64))
	d.numbers(&r, flags)
	d.texts(&r, flags)
	if len(d.b) > 0 {
		d.fail("bytes left over")
	}
	return r
}

func (d *decoder) numbers(r *Resource, flags uint32) {
	if flags&hasInterval != 0 {
		r.Interval = time.Duration(d.uvarint(uint64(MaxInterval)))
	}
	if flags&hasOwner != 0 {
		copy(r.Owner[:], d.take(16))
	}
	for i, t := range [...]*time.Time{&r.Claimed, &r.ClaimUntil, &r.Asked, &r.Answered, &r.Changed, &r.NotBefore} {
		if flags&(hasClaimed<<i) != 0 {
			*t = d.instant()
		}
	}
	if flags&hasPollInterval != 0 {
		r.PollInterval = time.Duration(d.uvarint(math.MaxInt64))
	}
	if flags&hasDigest != 0 {
		r.Digest = d.uint64()
	}
	if flags&hasCounters != 0 {
		r.Polls = uint32(d.uvarint(math.MaxUint32))
		r.Modified = uint32(d.uvarint(math.MaxUint32))
		r.Failures = uint16(d.uvarint(math.MaxUint16))
		r.Quiet = uint32(d.uvarint(math.MaxUint32))
	}
	if flags&hasHint != 0 {
		d.hint(&r.Hint)
	}
	if flags&hasVariant != 0 {
		r.Variant = d.uint64()
	}
	if flags&hasMarks != 0 {
		r.Hops = d.byte()
		hushed := d.byte()
		if hushed > 1 {
			d.fail("unknown mark")
		}
		r.Hushed = hushed == 1
		r.Lull = uint32(d.uvarint(math.MaxUint32))
	}
}

func (d *decoder) hint(h *Hint) {
	h.Interval = time.Duration(d.uvarint(uint64(MaxInterval)))
	h.SkipHours = uint32(d.uvarint(allHours))
	h.SkipDays = d.byte()
	if h.Base = d.instant(); h.Base.UnixNano() == 0 {
		h.Base = time.Time{}
	}
	if *h != h.normal() {
		d.fail("hint out of bounds")
	}
}

func (d *decoder) texts(r *Resource, flags uint32) {
	var lengths [textCount]int
	for i, flag := range textFlags {
		if flag == 0 || flags&flag != 0 {
			lengths[i] = int(d.uvarint(textBounds[i]))
		}
	}
	if flags&originInURI != 0 && lengths[textOrigin] > lengths[textURI] {
		d.fail("origin longer than its URI")
	}
	if d.bad != "" {
		return
	}
	text := string(d.b)
	next := func(i int) string {
		n := lengths[i]
		if n > len(text) {
			d.fail("texts cut off")
			n = len(text)
		}
		s := text[:n]
		text = text[n:]
		return s
	}
	r.URI = next(textURI)
	if flags&originInURI != 0 && d.bad == "" {
		r.Origin = r.URI[:lengths[textOrigin]]
	} else {
		r.Origin = next(textOrigin)
	}
	r.MediaType = next(textMediaType)
	r.Validators.ETag = next(textETag)
	r.Validators.LastModified = next(textLastModified)
	r.Cause = next(textCause)
	r.Moved = next(textMoved)
	r.Profile = next(textProfile)
	r.Credential = next(textCredential)
	r.Bucket = next(textBucket)
	r.Hop = next(textHop)
	d.b = d.b[len(d.b)-len(text):]
}

func (d *decoder) fail(what string) {
	if d.bad == "" {
		d.bad = what
	}
}

func (d *decoder) take(n int) []byte {
	if len(d.b) < n {
		d.fail("cut off")
		d.b = nil
		return make([]byte, n)
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) byte() byte { return d.take(1)[0] }

func (d *decoder) uint64() uint64 { return binary.BigEndian.Uint64(d.take(8)) }

func (d *decoder) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > most {
		d.fail("number cut off or out of bounds")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) instant() time.Time {
	v := d.uint64()
	if v/uint64(time.Second) > lastSecond {
		d.fail("instant out of bounds")
		return time.Time{}
	}
	return time.Unix(0, int64(v)).UTC()
}
