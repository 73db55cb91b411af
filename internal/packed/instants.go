package packed

import (
	"encoding/binary"
	"math"
	"time"
)

// Instants are those of a resource, in nanoseconds of whatever clock.
type Instants [6]int64

// The order of Instants.
const (
	Claimed = iota
	ClaimUntil
	Asked
	Answered
	Changed
	NotBefore
)

// order is the one in which instants are written. The first of those that there
// are is the one that the others are near to.
var order = [len(Instants{})]uint8{Answered, Asked, Changed, NotBefore, Claimed, ClaimUntil}

// A distance from the first instant is a uvarint. Its lowest two bits say what is
// above them.
const (
	later        = iota // nanoseconds after it
	earlier             // nanoseconds before it
	laterSeconds        // seconds after it
	apart               // nothing: 8 bytes follow, the instant itself
)

// AppendInstants appends those whose bits are in set: bit 1<<Asked for Asked, and
// so on. The first takes 8 bytes, the others as many as their distance needs.
func AppendInstants(b []byte, at *Instants, set uint8) []byte {
	var first int64
	begun := false
	for _, i := range order {
		if set&(1<<i) == 0 {
			continue
		}
		t := at[i]
		if !begun {
			begun, first = true, t
			b = binary.LittleEndian.AppendUint64(b, uint64(t))
			continue
		}
		d := t - first
		switch {
		case (t < first) != (d < 0) || d >= 1<<61 || d <= -1<<61:
			b = binary.LittleEndian.AppendUint64(append(b, apart), uint64(t))
		case d < 0:
			b = binary.AppendUvarint(b, uint64(-d)<<2|earlier)
		case d != 0 && d%int64(time.Second) == 0:
			b = binary.AppendUvarint(b, uint64(d/int64(time.Second))<<2|laterSeconds)
		default:
			b = binary.AppendUvarint(b, uint64(d)<<2) // later
		}
	}
	return b
}

// ReadInstants reads what AppendInstants wrote for the same set and returns how
// many bytes that was, or 0 where it is cut off or can't have been written. An
// empty set has no bytes: it is not asked for.
func ReadInstants(b []byte, at *Instants, set uint8) (n int) {
	var first int64
	begun := false
	for _, i := range order {
		if set&(1<<i) == 0 {
			continue
		}
		if !begun {
			if len(b) < 8 {
				return 0
			}
			begun, first = true, int64(binary.LittleEndian.Uint64(b))
			at[i], n = first, 8
			continue
		}
		v, k := binary.Uvarint(b[n:])
		if k <= 0 {
			return 0
		}
		n += k
		switch d := int64(v >> 2); {
		case v&3 == later:
			at[i] = first + d
		case v&3 == earlier:
			at[i] = first - d
		case v&3 == laterSeconds && d <= math.MaxInt64/int64(time.Second):
			at[i] = first + d*int64(time.Second)
		case v == apart && len(b)-n >= 8:
			at[i] = int64(binary.LittleEndian.Uint64(b[n:]))
			n += 8
		default:
			return 0
		}
	}
	return n
}

// AppendWait appends a duration that is not negative: the seconds of a whole
// number of them, in twos, and else the nanoseconds, in twos and one.
func AppendWait(b []byte, d time.Duration) []byte {
	if d%time.Second == 0 {
		return binary.AppendUvarint(b, uint64(d/time.Second)<<1)
	}
	return binary.AppendUvarint(b, uint64(d)<<1|1)
}

// Wait returns the duration of a uvarint that AppendWait appended, and false for
// one that it can't have.
func Wait(v uint64) (time.Duration, bool) {
	if v&1 != 0 {
		return time.Duration(v >> 1), true
	}
	return time.Duration(v>>1) * time.Second, v>>1 <= math.MaxInt64/uint64(time.Second)
}
