package resource

import (
	"encoding/binary"
	"math"
	"strings"
	"time"

	"github.com/cannedos/cannedos/internal/packed"
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
	switch version := d.byte(); version {
	case firstVersion, secondVersion:
		return d.oldResource(version)
	case encodingVersion:
	default:
		d.fail("unknown version")
		return r
	}
	flags := d.uvarint(flagsEnd - 1)
	if flags&hasID != 0 {
		copy(r.ID[:], d.take(16))
	}
	r.State = State(d.byte())
	r.Why = Reason(d.byte())
	if r.State >= states || r.Why >= reasons {
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

func (d *decoder) numbers(r *Resource, flags uint64) {
	if flags&hasPriority != 0 {
		r.Priority = int8(d.byte())
	}
	if flags&hasInterval != 0 {
		r.Interval = d.wait(MaxInterval)
	}
	if flags&hasOwner != 0 {
		copy(r.Owner[:], d.take(16))
	}
	d.instants(r, uint8(flags/hasAsked<<packed.Asked&askedBits|flags/hasClaimed&claimBits))
	if flags&hasPollInterval != 0 {
		r.PollInterval = d.wait(math.MaxInt64)
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
	if flags&hasVariant != 0 {
		r.Variant = d.uint64()
	}
	if flags&hasMarks != 0 {
		r.Seen, r.Gones, r.Hops = d.byte(), d.byte(), d.byte()
		r.Hushed = d.mark()
		r.Lull = uint32(d.uvarint(math.MaxUint32))
	}
	if flags&hasHint != 0 {
		h := &r.Hint
		h.Interval = d.wait(MaxInterval)
		h.SkipHours = uint32(d.uvarint(allHours))
		h.SkipDays = d.byte()
		d.hintBase(h)
	}
}

func (d *decoder) mark() bool {
	mark := d.byte()
	if mark > 1 {
		d.fail("unknown mark")
	}
	return mark == 1
}

// hintBase reads what comes last of a hint, whose rest is known.
func (d *decoder) hintBase(h *Hint) {
	if h.Base = d.instant(); h.Base.UnixNano() == 0 {
		h.Base = time.Time{}
	}
	if *h != h.normal() {
		d.fail("hint out of bounds")
	}
}

func (d *decoder) instants(r *Resource, set uint8) {
	if set == 0 {
		return
	}
	var at packed.Instants
	n := packed.ReadInstants(d.b, &at, set)
	if n == 0 {
		d.fail("instants cut off or out of bounds")
		return
	}
	d.b = d.b[n:]
	for i, t := range r.instants() {
		if set&(1<<i) != 0 {
			*t = d.wall(uint64(at[i]))
		}
	}
}

// texts makes one string of all texts.
func (d *decoder) texts(r *Resource, flags uint64) {
	var stored, lengths [textCount]int // in the encoding, and unpacked
	form, origin, total := packed.TagForm(0), 0, 0
	for i := range lengths {
		most := textBounds[i]
		switch {
		case i == textURI && flags&secureURI != 0:
			stored[i] = int(d.uvarint(most - uint64(len(packed.Secure))))
			lengths[i] = stored[i] + len(packed.Secure)
		case i == textOrigin && flags&originInURI != 0:
			origin = int(d.uvarint(most))
		case i == textOrigin && flags&hasOrigin == 0, i > textOrigin && flags&presence[i] == 0:
		case i == textETag && flags&packedETag != 0:
			if form = packed.TagForm(d.byte()); !form.Valid() {
				d.fail("unknown form of a tag")
				return
			}
			stored[i], lengths[i] = form.Size(), form.Len()
		case i == textLastModified && flags&packedLastModified != 0:
			stored[i], lengths[i] = packed.DateSize, packed.DateLen
		default:
			stored[i] = int(d.uvarint(most))
			lengths[i] = stored[i]
		}
		total += lengths[i]
	}
	if origin > lengths[textURI] {
		d.fail("origin longer than its URI")
	}
	if d.bad != "" {
		return
	}
	var text strings.Builder
	text.Grow(total)
	for i, n := range stored {
		if n > len(d.b) {
			d.fail("texts cut off")
			return
		}
		var room [2 * packedRoom]byte
		b := d.take(n)
		switch {
		case i == textURI && flags&secureURI != 0:
			text.WriteString(packed.Secure)
		case i == textETag && form != 0:
			b = packed.AppendTagText(room[:0], form, b)
		case i == textLastModified && flags&packedLastModified != 0 && n > 0:
			b = packed.AppendDateText(room[:0], b)
		}
		text.Write(b)
	}
	rest := text.String()
	for i, s := range [textCount]*string{
		&r.URI, &r.Origin, &r.MediaType, &r.Validators.ETag, &r.Validators.LastModified,
		&r.Cause, &r.Moved, &r.Profile, &r.Credential, &r.Bucket, &r.Hop,
	} {
		*s, rest = rest[:lengths[i]], rest[lengths[i]:]
	}
	switch {
	case flags&originOfURI != 0:
		r.Origin = r.URI[:packed.OriginLen(r.URI)]
	case flags&originInURI != 0:
		r.Origin = r.URI[:origin]
	}
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

func (d *decoder) wait(most time.Duration) time.Duration {
	w, ok := packed.Wait(d.uvarint(math.MaxUint64))
	if !ok || w > most {
		d.fail("wait out of bounds")
		return 0
	}
	return w
}

func (d *decoder) instant() time.Time { return d.wall(d.uint64()) }

// wall is the instant so many nanoseconds after 1970.
func (d *decoder) wall(v uint64) time.Time {
	if v/uint64(time.Second) > lastSecond {
		d.fail("instant out of bounds")
		return time.Time{}
	}
	return time.Unix(0, int64(v)).UTC()
}
