package db

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// Which optional fields an encoded record has.
const (
	hasOwner = 1 << iota
	hasUntil
)

var errEncoding = errors.New("malformed record")

// appendBody appends what a record has beyond its names and its version:
// a byte of flags, Until and Owner if there are any, and the Value, which
// runs to the end.
func appendBody(b []byte, r *Record) []byte {
	flags := byte(0)
	if r.Owner != (Owner{}) {
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

// decodeBody reads appendBody's form into r. Value is not copied.
func decodeBody(b []byte, r *Record) error {
	if len(b) == 0 || b[0]&^(hasOwner|hasUntil) != 0 {
		return errEncoding
	}
	flags := b[0]
	b = b[1:]
	if flags&hasUntil != 0 {
		if len(b) < 8 {
			return errEncoding
		}
		r.Until = time.Unix(0, int64(binary.LittleEndian.Uint64(b))).UTC()
		b = b[8:]
	}
	if flags&hasOwner != 0 {
		if len(b) < len(r.Owner) {
			return errEncoding
		}
		copy(r.Owner[:], b)
		b = b[len(r.Owner):]
	}
	r.Value = b
	return nil
}

// appendRecord appends the form of a record that the log keeps: names with
// their lengths, version, and the body. Version 0 is a delete and has no body.
func appendRecord(b []byte, r *Record) []byte {
	b = binary.AppendUvarint(b, uint64(len(r.Space)))
	b = append(b, r.Space...)
	b = binary.AppendUvarint(b, uint64(len(r.ID)))
	b = append(b, r.ID...)
	b = binary.AppendUvarint(b, uint64(r.Version))
	if r.Version == 0 {
		return b
	}
	return appendBody(b, r)
}

// rawRecord is a decoded record whose parts alias the bytes that it was
// decoded from.
type rawRecord struct {
	space, id []byte
	version   int64
	body      []byte
}

// decodeRecord reads appendRecord's form, and refuses what CheckWrites would.
func decodeRecord(b []byte) (r rawRecord, err error) {
	if r.space, b, err = decodeName(b, MaxSpace); err != nil {
		return r, err
	}
	if r.id, b, err = decodeName(b, MaxID); err != nil {
		return r, err
	}
	v, n := binary.Uvarint(b)
	if n <= 0 || v > math.MaxInt64 {
		return r, errEncoding
	}
	r.version, r.body = int64(v), b[n:]
	if r.version == 0 {
		if len(r.body) != 0 {
			return r, errEncoding
		}
		return r, nil
	}
	var body Record
	if err := decodeBody(r.body, &body); err != nil {
		return r, err
	}
	if len(body.Value) > MaxValue {
		return r, errEncoding
	}
	return r, nil
}

func decodeName(b []byte, limit uint64) (name, rest []byte, err error) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n == 0 || n > limit || n > uint64(len(b)-k) {
		return nil, nil, errEncoding
	}
	return b[k : k+int(n)], b[k+int(n):], nil
}
