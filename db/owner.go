package db

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// Owner names one run of one program: a random UUID, fixed for the life of
// the run and never used again. The zero Owner is nobody. Owners are compared
// with ==.
type Owner [16]byte

// NewOwner returns a new random Owner (UUID version 4).
func NewOwner() Owner {
	var o Owner
	rand.Read(o[:]) // never fails: the runtime ends the program instead
	o[6] = o[6]&0x0f | 0x40
	o[8] = o[8]&0x3f | 0x80
	return o
}

// ParseOwner reads the form that [Owner.String] writes, in either case.
func ParseOwner(s string) (Owner, error) {
	var o Owner
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return Owner{}, fmt.Errorf("db: parse owner %q: %w: want 8-4-4-4-12 hexadecimal digits", s, ErrInvalid)
	}
	digits := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	if _, err := hex.Decode(o[:], []byte(digits)); err != nil {
		return Owner{}, fmt.Errorf("db: parse owner %q: %w: want 8-4-4-4-12 hexadecimal digits", s, ErrInvalid)
	}
	return o, nil
}

// IsZero reports whether o is nobody.
func (o Owner) IsZero() bool { return o == Owner{} }

// String returns the canonical form of the UUID, such as
// "0b4c1a52-77f0-4f6e-9d7e-6a1f0f0c9a11".
func (o Owner) String() string {
	var b [36]byte
	hex.Encode(b[0:8], o[0:4])
	hex.Encode(b[9:13], o[4:6])
	hex.Encode(b[14:18], o[6:8])
	hex.Encode(b[19:23], o[8:10])
	hex.Encode(b[24:36], o[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}
