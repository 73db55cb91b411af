package pebble

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
	"unicode/utf8"

	"github.com/cannedos/cannedos/db"
)

// A record is one key of the engine and its value.
//
//	key:    length of Space (one byte), Space, ID
//	value:  Version (uvarint), flags (one byte),
//	        UnixNano of Until (8 bytes, little-endian) if hasUntil,
//	        Owner (16 bytes) if hasOwner, Value
//
// The length in front keeps spaces apart whatever is in their names: the keys
// of one space are those that begin with its own prefix.
const (
	hasOwner = 1 << iota
	hasUntil
)

var errEncoding = errors.New("malformed record")

// appendPrefix appends what the keys of a space begin with.
func appendPrefix(b []byte, space string) []byte {
	return append(append(b, byte(len(space))), space...)
}

// appendKey appends the key of a record.
func appendKey(b []byte, space, id string) []byte {
	return append(appendPrefix(b, space), id...)
}

// after is the first key behind all that begin with a prefix of ours. UTF-8
// ends with no byte that could not be counted up.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	end[len(end)-1]++
	return end
}

// appendValue appends the value of a record.
func appendValue(b []byte, r *db.Record) []byte {
	b = binary.AppendUvarint(b, uint64(r.Version))
	flags := byte(0)
	if !r.Owner.IsZero() {
		flags |= hasOwner
	}
	if !r.Until.IsZero() {
		flags |= hasUntil
	}
	b = append(b, flags)
	if flags&hasUntil != 0 {
		b = binary.LittleEndian.AppendUint64(b, uint64(r.Until.UnixNano()))
	}
	if flags&hasOwner != 0 {
		b = append(b, r.Owner[:]...)
	}
	return append(b, r.Value...)
}

// decodeVersion reads the version at the beginning of a value.
func decodeVersion(b []byte) (version int64, rest []byte, err error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v == 0 || v > math.MaxInt64 {
		return 0, nil, errEncoding
	}
	return int64(v), b[n:], nil
}

// decodeRecord reads the record with a key and a value, which it copies.
func decodeRecord(key, value []byte) (db.Record, error) {
	if len(key) == 0 || len(key) < 1+int(key[0]) {
		return db.Record{}, errEncoding
	}
	space, id := key[1:1+int(key[0])], key[1+int(key[0]):]
	if len(space) == 0 || len(space) > db.MaxSpace || len(id) == 0 || len(id) > db.MaxID || !utf8.Valid(space) || !utf8.Valid(id) {
		return db.Record{}, errEncoding
	}
	return decodeValue(db.Record{Space: string(space), ID: string(id)}, value)
}

// decodeValue fills in what a value holds, which it copies.
func decodeValue(r db.Record, b []byte) (db.Record, error) {
	var err error
	if r.Version, b, err = decodeVersion(b); err != nil {
		return db.Record{}, err
	}
	if len(b) == 0 || b[0]&^(hasOwner|hasUntil) != 0 {
		return db.Record{}, errEncoding
	}
	flags := b[0]
	b = b[1:]
	if flags&hasUntil != 0 {
		if len(b) < 8 {
			return db.Record{}, errEncoding
		}
		r.Until = time.Unix(0, int64(binary.LittleEndian.Uint64(b))).UTC()
		b = b[8:]
	}
	if flags&hasOwner != 0 {
		if len(b) < len(r.Owner) {
			return db.Record{}, errEncoding
		}
		copy(r.Owner[:], b)
		b = b[len(r.Owner):]
	}
	if len(b) > db.MaxValue {
		return db.Record{}, errEncoding
	}
	if len(b) > 0 {
		r.Value = append(make([]byte, 0, len(b)), b...)
	}
	return r, nil
}
