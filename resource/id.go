package resource

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
)

// ID identifies a resource: a UUID in its 16 bytes (RFC 9562). The zero ID
// means "none yet"; a [Spec] with a zero ID gets one derived from its profile
// and URI, so that the same wish is the same resource after a restart.
type ID [16]byte

// NewID returns a random ID (UUID version 4).
func NewID() ID {
	var id ID
	rand.Read(id[:]) // never fails: crypto/rand aborts the program instead
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// DeriveID returns the ID of a named child of parent: the same parent and name
// always give the same ID, in every process. It is a UUID version 8 over the
// first 122 bits of SHA-256.
func DeriveID(parent ID, name string) ID {
	h := sha256.New()
	h.Write(parent[:])
	h.Write([]byte(name))
	var id ID
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// ParseID reads the canonical text form, such as
// "6ba7b810-9dad-11d1-80b4-00c04fd430c8", in either case. Anything else gives a
// [*FieldError].
func ParseID(s string) (ID, error) {
	var id ID
	bad := &FieldError{Field: "ID", Value: clip(s), Want: "36 characters as in 6ba7b810-9dad-11d1-80b4-00c04fd430c8"}
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, bad
	}
	digits := s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36]
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return ID{}, bad
	}
	return id, nil
}

// IsZero reports whether id is the zero ID, "none yet".
func (id ID) IsZero() bool { return id == ID{} }

// String returns the canonical text form in lower case.
func (id ID) String() string {
	b, _ := id.AppendText(make([]byte, 0, 36))
	return string(b)
}

// AppendText appends the canonical text form; the error is always nil.
func (id ID) AppendText(b []byte) ([]byte, error) {
	b = hex.AppendEncode(b, id[0:4])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[4:6])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[6:8])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[8:10])
	b = append(b, '-')
	return hex.AppendEncode(b, id[10:16]), nil
}

// MarshalText returns the canonical text form; the error is always nil.
func (id ID) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// UnmarshalText reads what MarshalText wrote, with the errors of [ParseID].
func (id *ID) UnmarshalText(text []byte) error {
	v, err := ParseID(string(text))
	if err == nil {
		*id = v
	}
	return err
}

// Owner names one run of one process: a random UUID, fixed for the life of the
// run. The zero Owner is nobody. A resource with an Owner is claimed: its
// request was about to leave, or has left, and no result has been written.
type Owner [16]byte

// NewOwner returns a random Owner.
func NewOwner() Owner { return Owner(NewID()) }

// IsZero reports whether nobody is the owner.
func (o Owner) IsZero() bool { return o == Owner{} }

// String returns the canonical UUID form.
func (o Owner) String() string { return ID(o).String() }

// MarshalText returns the canonical text form; the error is always nil.
func (o Owner) MarshalText() ([]byte, error) { return ID(o).MarshalText() }

// UnmarshalText reads what MarshalText wrote, with the errors of [ParseID].
func (o *Owner) UnmarshalText(text []byte) error { return (*ID)(o).UnmarshalText(text) }
