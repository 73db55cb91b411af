package resource

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// bucketVersion is the first byte of a bucket's encoding.
const bucketVersion = 1

// AppendBinary appends what of a bucket outlives a process: quota, reset, park
// and backoff. What is in flight counts as spent: whoever decodes it will not
// hear the answers. The bounds that the user sets are not in it.
func (b *Bucket) AppendBinary(to []byte) []byte {
	flags := byte(0)
	if b.Known {
		flags |= 1
	}
	if b.Answered {
		flags |= 2
	}
	to = append(to, bucketVersion, flags, byte(b.Why), byte(b.probeWhy), b.Strikes, b.edges)
	unsaid := b.Unsaid
	if b.Known {
		unsaid += int64(b.InFlight)
	}
	for _, n := range [...]int64{b.Limit, b.Remaining, unsaid, int64(b.lag)} {
		to = binary.AppendUvarint(to, uint64(min(max(0, n), math.MaxInt64/2)))
	}
	for _, t := range [...]time.Time{b.Reset, b.window, b.unsaidAt, b.Park, b.ProbeFrom} {
		nano := int64(0)
		if s := t.Unix(); s >= 0 && s <= lastSecond { // all are: within sees to it
			nano = t.UnixNano()
		}
		to = binary.BigEndian.AppendUint64(to, uint64(nano))
	}
	return to
}

// UnmarshalBinary reads what AppendBinary wrote and ties its instants to the
// clock of now, which is time.Now(). Errors wrap [ErrEncoding] or [ErrNewer]; b
// is then unchanged.
func (b *Bucket) UnmarshalBinary(from []byte, now time.Time) error {
	if len(from) > 0 && from[0] > bucketVersion {
		return fmt.Errorf("%w: bucket version %d, this program knows %d", ErrNewer, from[0], bucketVersion)
	}
	d := decoder{b: from}
	if d.byte() != bucketVersion {
		d.fail("unknown version")
	}
	flags := d.byte()
	if flags > 3 {
		d.fail("unknown flag")
	}
	v := Bucket{Known: flags&1 != 0, Answered: flags&2 != 0}
	v.Why, v.probeWhy = Reason(d.byte()), Reason(d.byte())
	v.Strikes, v.edges = d.byte(), d.byte()
	const most = math.MaxInt64 / 2 // sums of two stay numbers
	v.Limit = int64(d.uvarint(most))
	v.Remaining = int64(d.uvarint(most))
	v.Unsaid = int64(d.uvarint(most))
	v.lag = time.Duration(d.uvarint(uint64(MaxLimitJitter)))
	for _, t := range [...]*time.Time{&v.Reset, &v.window, &v.unsaidAt, &v.Park, &v.ProbeFrom} {
		if *t = d.instant(); t.UnixNano() == 0 {
			*t = time.Time{}
		}
	}
	v.Reset, v.unsaidAt, v.Park, v.ProbeFrom = Rebase(v.Reset, now), Rebase(v.unsaidAt, now), Rebase(v.Park, now), Rebase(v.ProbeFrom, now)
	if v.Why >= reasons || v.probeWhy >= reasons || len(d.b) > 0 {
		d.fail("unknown reason, or bytes left over")
	}
	if d.bad != "" {
		return fmt.Errorf("%w: bucket: %s", ErrEncoding, d.bad)
	}
	*b = v
	return nil
}
