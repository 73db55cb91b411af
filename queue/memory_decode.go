package queue

import (
	"encoding/binary"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// decode sets what a zero m has of a whole value. text is that of its texts,
// shared what it shares with others. It keeps no reference to v.
func (c clock) decode(m *Message, v value, text string, shared *texts) {
	r := &m.Resource
	r.ID = *v.id()
	r.Priority, r.State, r.Why = int8(v[valueState-1]), v.state(), resource.Reason(v[valueState+1])
	n := numbers{v, valueVersion}
	r.Version = int64(n.uvarint())

	flags := v.flags()
	c.decodeNumbers(m, &n, flags)
	decodeTexts(m, &n, flags, text)
	shared.join(r, flags)
}

func (c clock) decodeNumbers(m *Message, n *numbers, flags uint32) {
	r := &m.Resource
	if flags&withInterval != 0 {
		r.Interval = n.wait()
	}
	if flags&withPollInterval != 0 {
		r.PollInterval = n.wait()
	}
	for i, t := range [...]*time.Time{&r.Claimed, &r.ClaimUntil, &r.Asked, &r.Answered, &r.Changed, &r.NotBefore} {
		if flags&(withClaimed<<i) != 0 {
			*t = c.instant(int64(n.uint64()))
		}
	}
	if flags&withDigest != 0 {
		r.Digest = n.uint64()
	}
	if flags&withVariant != 0 {
		r.Variant = n.uint64()
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
	next := int(n.uvarint())
	r.URI, text = text[:next], text[next:]
	if flags&withOrigin != 0 {
		r.Origin = r.URI[:n.uvarint()]
	}
	if flags&withETag != 0 {
		next = int(n.uvarint())
		r.Validators.ETag, text = text[:next], text[next:]
	}
	if flags&withLastModified != 0 {
		next = int(n.uvarint())
		r.Validators.LastModified, text = text[:next], text[next:]
	}
	if flags&withMoved != 0 {
		next = int(n.uvarint())
		r.Moved, text = text[:next], text[next:]
	}
	if flags&withHop != 0 {
		next = int(n.uvarint())
		r.Hop, text = text[:next], text[next:]
	}
	if flags&withCauses != 0 {
		next = int(n.uvarint())
		r.Cause, m.Cause = text[:next], text[next:]
	}
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
	x := n.uvarint()
	if x&1 == 0 {
		return time.Duration(x>>1) * time.Second
	}
	return time.Duration(x >> 1)
}
