package db

import (
	"encoding/binary"
	"encoding/hex"
)

// A key is an id as a cell has it: behind its length, or, where it is a UUID in
// lower case, its 16 bytes behind a zero, which no length is. No key is the
// beginning of another.
const keyBytes = 64 // of those that need no allocation to be looked for

func appendKey(b []byte, id string) []byte {
	if len(id) == uuidText {
		if packed, ok := appendUUID(append(b, 0), id); ok {
			return packed
		}
	}
	return append(binary.AppendUvarint(b, uint64(len(id))), id...)
}

// keySize is the length of the key at the beginning of b.
func keySize(b []byte) int {
	if b[0] == 0 {
		return 1 + uuidBytes
	}
	n, k := binary.Uvarint(b)
	return k + int(n)
}

// idOf returns the id whose key is at the beginning of b.
func idOf(b []byte) string {
	if b[0] != 0 {
		n, k := binary.Uvarint(b)
		return string(b[k : k+int(n)])
	}
	id := make([]byte, 0, uuidText)
	for i, v := range b[1 : 1+uuidBytes] {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			id = append(id, '-')
		}
		id = hex.AppendEncode(id, []byte{v})
	}
	return string(id)
}

const (
	uuidText  = 36
	uuidBytes = 16
)

// appendUUID appends the bytes of a UUID, unless id is none in lower case.
func appendUUID(b []byte, id string) ([]byte, bool) {
	for i := 0; i < uuidText; {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if id[i] != '-' {
				return b, false
			}
			i++
			continue
		}
		high, low := hexDigit(id[i]), hexDigit(id[i+1])
		if high|low > 15 {
			return b, false
		}
		b = append(b, high<<4|low)
		i += 2
	}
	return b, true
}

// hexDigit is the value of a digit, 16 where it is none.
func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 16
}
