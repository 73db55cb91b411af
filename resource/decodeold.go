package resource

import (
	"math"
	"time"
)

// Versions 1 and 2 of the encoding, which are read and no longer written.
const (
	firstVersion  = 1
	secondVersion = 2
)

// Their layout:
//
//	version     1 byte
//	flags       uvarint: which of the optional fields follow
//	id          16 bytes
//	fixed       priority, state, why, seen, gones: 1 byte each
//	version     uvarint
//	...         optional numbers in the order of the flags, except
//	hint        version 2 only: interval and skipped hours as uvarints, skipped
//	            days as 1 byte, base as an instant, 0 for none
//	variant     version 2 only: 8 bytes
//	marks       version 2 only, last of the numbers: hops and hushed, 1 byte each,
//	            lull as a uvarint
//	lengths     a uvarint for each text whose flag is set
//	texts       all texts, one behind the other
//
// Instants are 8 bytes, nanoseconds since 1970 on the wall clock. Numbers come
// before texts so that a decoder makes one string for all of them.
const (
	oldHasInterval = 1 << iota
	oldHasOwner
	oldHasClaimed
	oldHasClaimUntil
	oldHasAsked
	oldHasAnswered
	oldHasChanged
	oldHasNotBefore
	oldHasPollInterval
	oldHasDigest
	oldHasCounters
	oldHasMediaType
	oldHasETag
	oldHasLastModified
	oldHasCause
	oldHasMoved
	oldHasProfile
	oldHasCredential
	oldHasBucket
	oldHasHop
	oldOriginInURI // the origin is the beginning of the URI: its length stands in the place of its text
	oldFlagsEnd1
	oldHasHint    = oldFlagsEnd1 // from version 2 on
	oldHasVariant = oldHasHint << 1
	oldHasMarks   = oldHasVariant << 1
	oldFlagsEnd   = oldHasMarks << 1
)

// oldTextFlags are the flags of the texts. URI and origin are always there.
var oldTextFlags = [textCount]uint32{
	0, 0, oldHasMediaType, oldHasETag, oldHasLastModified, oldHasCause, oldHasMoved, oldHasProfile, oldHasCredential, oldHasBucket, oldHasHop,
}

// oldResource reads an encoding of version 1 or 2 behind its first byte.
func (d *decoder) oldResource(version byte) (r Resource) {
	most, lastReason := uint64(oldFlagsEnd-1), reasons-1
	if version == firstVersion {
		most, lastReason = oldFlagsEnd1-1, lastReason1
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
	d.oldNumbers(&r, flags)
	d.oldTexts(&r, flags)
	if len(d.b) > 0 {
		d.fail("bytes left over")
	}
	return r
}

func (d *decoder) oldNumbers(r *Resource, flags uint32) {
	if flags&oldHasInterval != 0 {
		r.Interval = time.Duration(d.uvarint(uint64(MaxInterval)))
	}
	if flags&oldHasOwner != 0 {
		copy(r.Owner[:], d.take(16))
	}
	for i, t := range r.instants() {
		if flags&(oldHasClaimed<<i) != 0 {
			*t = d.instant()
		}
	}
	if flags&oldHasPollInterval != 0 {
		r.PollInterval = time.Duration(d.uvarint(math.MaxInt64))
	}
	if flags&oldHasDigest != 0 {
		r.Digest = d.uint64()
	}
	if flags&oldHasCounters != 0 {
		r.Polls = uint32(d.uvarint(math.MaxUint32))
		r.Modified = uint32(d.uvarint(math.MaxUint32))
		r.Failures = uint16(d.uvarint(math.MaxUint16))
		r.Quiet = uint32(d.uvarint(math.MaxUint32))
	}
	if flags&oldHasHint != 0 {
		d.oldHint(&r.Hint)
	}
	if flags&oldHasVariant != 0 {
		r.Variant = d.uint64()
	}
	if flags&oldHasMarks != 0 {
		r.Hops = d.byte()
		r.Hushed = d.mark()
		r.Lull = uint32(d.uvarint(math.MaxUint32))
	}
}

func (d *decoder) oldHint(h *Hint) {
	h.Interval = time.Duration(d.uvarint(uint64(MaxInterval)))
	h.SkipHours = uint32(d.uvarint(allHours))
	h.SkipDays = d.byte()
	d.hintBase(h)
}

func (d *decoder) oldTexts(r *Resource, flags uint32) {
	var lengths [textCount]int
	for i, flag := range oldTextFlags {
		if flag == 0 || flags&flag != 0 {
			lengths[i] = int(d.uvarint(textBounds[i]))
		}
	}
	if flags&oldOriginInURI != 0 && lengths[textOrigin] > lengths[textURI] {
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
	if flags&oldOriginInURI != 0 && d.bad == "" {
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
