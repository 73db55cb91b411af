package queue

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/cannedos/cannedos/internal/packed"
	"github.com/cannedos/cannedos/resource"
)

// decode sets what a zero m has of a whole value. text is what writeTexts wrote,
// shared what it shares with others. It keeps no reference to v.
func (c clock) decode(m *Message, v value, text string, shared *texts) {
	r := &m.Resource
	r.ID = *v.id()
	r.State, r.Why = v.state(), resource.Reason(v[valueState+1])
	n := numbers{v, valueVersion}
	r.Version = int64(n.uvarint())

	flags := v.flags()
	c.decodeNumbers(m, &n, flags)
	decodeTexts(m, &n, flags, text)
	shared.join(r, flags)
}

func (c clock) decodeNumbers(m *Message, n *numbers, flags uint32) {
	r := &m.Resource
	if flags&withPriority != 0 {
		r.Priority = int8(n.take(1)[0])
	}
	if flags&withInterval != 0 {
		r.Interval = n.wait()
	}
	if flags&withPollInterval != 0 {
		r.PollInterval = n.wait()
	}
	if set := uint8(flags / withClaimed & withInstants); set != 0 {
		var at packed.Instants
		n.at += packed.ReadInstants(n.v[n.at:], &at, set)
		for i, t := range [...]*time.Time{&r.Claimed, &r.ClaimUntil, &r.Asked, &r.Answered, &r.Changed, &r.NotBefore} {
			if set&(1<<i) != 0 {
				*t = c.instant(at[i])
			}
		}
	}
	if flags&withDigest != 0 {
		r.Digest = n.uint64()
	}
	if flags&withCounters != 0 {
		r.Polls, r.Modified = uint32(n.uvarint()), uint32(n.uvarint())
		r.Failures, r.Quiet = uint16(n.uvarint()), uint32(n.uvarint())
	}
	if flags&withAttempts != 0 {
		m.Attempts = int(n.uvarint())
	}
	if flags&withOwner != 0 {
		copy(r.Owner[:], n.take(len(r.Owner)))
	}
	if flags&withMarks != 0 {
		b := n.take(4)
		r.Seen, r.Gones, r.Hops, r.Hushed, r.Lull = b[0], b[1], b[2], b[3] == 1, uint32(n.uvarint())
	}
	if flags&withHint != 0 {
		h := &r.Hint
		h.Interval, h.SkipDays, h.SkipHours = n.wait(), n.take(1)[0], uint32(n.uvarint())
		if flags&withHintBase != 0 {
			h.Base = time.Unix(0, int64(n.uint64())).UTC()
		}
	}
}

func decodeTexts(m *Message, n *numbers, flags uint32, text string) {
	r := &m.Resource
	origin := 0
	if flags&withOrigin != 0 {
		origin = int(n.uvarint())
	}
	if flags&textsBesideURI != 0 {
		decodeMore(m, n, flags, text)
	} else {
		r.URI = text[decodePacked(r, n, flags, text):]
	}
	switch {
	case flags&withOriginOfURI != 0:
		r.Origin = r.URI[:packed.OriginLen(r.URI)]
	case flags&withOrigin != 0:
		r.Origin = r.URI[:origin]
	}
}

// decodePacked sets the texts that are packed and returns where the others begin.
func decodePacked(r *resource.Resource, n *numbers, flags uint32, text string) (at int) {
	if flags&withTag != 0 {
		at = packed.TagForm(n.take(1)[0]).Len()
		r.Validators.ETag = text[:at]
	}
	if flags&withDate != 0 {
		r.Validators.LastModified = text[at : at+packed.DateLen]
		at += packed.DateLen
	}
	return at
}

// decodeMore sets the texts of a message that has others than its URI, which are
// not packed.
func decodeMore(m *Message, n *numbers, flags uint32, text string) {
	r := &m.Resource
	more := [...]*string{&r.Validators.ETag, &r.Validators.LastModified, &r.Moved, &r.Hop, &r.Cause}
	var lengths [len(more)]int
	for i := range more {
		if flags&(withETag<<i) != 0 {
			lengths[i] = int(n.uvarint())
		}
	}
	uri := int(n.uvarint())
	if flags&withSecure != 0 {
		uri += len(packed.Secure)
	}
	text = text[decodePacked(r, n, flags, text):]
	r.URI, text = text[:uri], text[uri:]
	for i, s := range more {
		if flags&(withETag<<i) != 0 {
			*s, text = text[:lengths[i]], text[lengths[i]:]
		}
	}
	m.Cause = text
}

// textLen is how many bytes writeTexts writes.
func (v value) textLen() int {
	flags, n := v.flags(), len(v.texts())
	if flags&withTag != 0 {
		form := v.form()
		n += form.Len() - form.Size()
	}
	if flags&withDate != 0 {
		n += packed.DateLen - packed.DateSize
	}
	if flags&withSecure != 0 {
		n += len(packed.Secure)
	}
	return n
}

// writeTexts writes the texts of a whole value as they were before they were
// packed.
func (v value) writeTexts(to *strings.Builder) {
	flags, texts := v.flags(), v.texts()
	var room [2*packedRoom + packed.DateLen]byte
	b := room[:0]
	if flags&withTag != 0 {
		form := v.form()
		b = packed.AppendTagText(b, form, texts[:form.Size()])
		texts = texts[form.Size():]
	}
	if flags&withDate != 0 {
		b = packed.AppendDateText(b, texts[:packed.DateSize])
		texts = texts[packed.DateSize:]
	}
	if flags&withSecure != 0 {
		b = append(b, packed.Secure...)
	}
	to.Write(b)
	to.Write(texts)
}

// form is that of the tag, which is packed: it stands before the texts.
func (v value) form() packed.TagForm {
	return packed.TagForm(v[binary.LittleEndian.Uint16(v[valueTexts:])-1])
}

// numbers reads the numbers of a value, one after the other.
type numbers struct {
	v  value
	at int
}

func (n *numbers) take(k int) []byte {
	n.at += k
	return n.v[n.at-k : n.at]
}

func (n *numbers) uint64() uint64 {
	n.at += 8
	return binary.LittleEndian.Uint64(n.v[n.at-8:])
}

func (n *numbers) uvarint() uint64 {
	if b := n.v[n.at]; b < 0x80 {
		n.at++
		return uint64(b)
	}
	return n.long()
}

func (n *numbers) long() uint64 {
	x, k := binary.Uvarint(n.v[n.at:])
	n.at += k
	return x
}

func (n *numbers) wait() time.Duration {
	w, _ := packed.Wait(n.uvarint())
	return w
}
