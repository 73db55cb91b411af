package kafka

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/queue"
)

// A record of the topic has the id of a resource as its key, in its text form,
// so that people find it with the tools of Kafka. Its value is
//
//	format   1 byte
//	flags    1 byte
//	version  uvarint, 1 to 2^63-1
//	until    8 bytes, nanoseconds since 1970, if flagged
//	value    the rest: that of package queue
//
// and a record without a value says that the resource is gone. Besides, each
// partition has one record with the key [ownerKey], in which its owners say who
// they are before they read it.
const (
	valueFormat   = 1
	valueHasUntil = 1 << 0
	valueFlags    = valueHasUntil
)

// appendValue appends the value of a record that is there.
func appendValue(b []byte, r *db.Record) []byte {
	flags := byte(0)
	if !r.Until.IsZero() {
		flags |= valueHasUntil
	}
	b = append(b, valueFormat, flags)
	b = binary.AppendUvarint(b, uint64(r.Version))
	if flags&valueHasUntil != 0 {
		b = binary.BigEndian.AppendUint64(b, uint64(r.Until.UnixNano()))
	}
	return append(b, r.Value...)
}

// readValue is the opposite of appendValue. The record's Value is part of v.
func readValue(v []byte) (r db.Record, err error) {
	if len(v) > 0 && v[0] > valueFormat {
		return r, fmt.Errorf("%w: format %d, this program knows %d", queue.ErrNewer, v[0], valueFormat)
	}
	bad := fmt.Errorf("%w: cut off or out of bounds", queue.ErrDamaged)
	if len(v) < 3 || v[0] != valueFormat || v[1]&^valueFlags != 0 {
		return r, bad
	}
	version, n := binary.Uvarint(v[2:])
	if n <= 0 || version == 0 || version > 1<<63-1 {
		return r, bad
	}
	r.Version, r.Value = int64(version), v[2+n:]
	if v[1]&valueHasUntil != 0 {
		if len(r.Value) < 8 {
			return db.Record{}, bad
		}
		r.Until = time.Unix(0, int64(binary.BigEndian.Uint64(r.Value))).UTC()
		r.Value = r.Value[8:]
	}
	return r, nil
}

// ownerKey is the key of the record in which the owner of a partition says who
// it is. No resource has it.
const ownerKey = "owner"

// ownerMark is its value: people may read it, and the owner itself finds by it
// the end of what was there before.
type ownerMark struct {
	Instance   string    `json:"instance"`
	Opening    string    `json:"opening"` // of this owner alone, never twice
	Generation int32     `json:"generation"`
	Partitions int       `json:"partitions"` // of the topic: the number that resources were spread over
	At         time.Time `json:"at"`
}

func (o *ownerMark) encode() []byte {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // texts, numbers and an instant of now
	}
	return b
}

func readOwnerMark(v []byte) (o ownerMark, err error) {
	if err := json.Unmarshal(v, &o); err != nil {
		return o, fmt.Errorf("%w: %w", queue.ErrDamaged, err)
	}
	return o, nil
}
