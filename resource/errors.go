package resource

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// ErrEncoding is behind every error of decoding a resource: damaged, cut off,
// or beyond a bound. errors.Is finds it.
var ErrEncoding = errors.New("resource: not a valid encoding")

// ErrNewer says that an encoding was written by a newer version of this
// package. It comes instead of ErrEncoding, so that nobody throws away what a
// newer program can still read.
var ErrNewer = errors.New("resource: encoding of a newer version")

// FieldError says which field of the user's input is wrong, what it held and
// what is allowed there.
type FieldError struct {
	Field string // path of the field, such as "Resources[2].Interval"
	Value string // what it held, quoted and clipped; never a secret
	Want  string // what is allowed
}

// Error returns one line with all three.
func (e *FieldError) Error() string {
	return fmt.Sprintf("resource: %s: %s: want %s", e.Field, e.Value, e.Want)
}

// In returns a copy of e whose field is placed inside the one named by path.
func (e *FieldError) In(path string) *FieldError {
	return &FieldError{Field: path + "." + e.Field, Value: e.Value, Want: e.Want}
}

// clip quotes s and bounds its length, for use in an error.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		return strconv.Quote(s[:cut]) + "..."
	}
	return strconv.Quote(s)
}
