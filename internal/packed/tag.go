package packed

import (
	"encoding/binary"
	"slices"
)

// A TagForm says what an entity tag looks like whose text is a number of
// hexadecimal digits, such as those of GitHub, GitLab or S3: in its lowest bit
// whether the tag is weak, and above how many times 8 digits it has. The zero
// TagForm is none.
//
//	W/"0123456789abcdef"   2<<1 | 1 and 8 bytes
type TagForm byte

const (
	digitsStep = 8
	mostDigits = 128
	mostTag    = len(`W/""`) + mostDigits
)

// Valid reports whether there are tags of the form.
func (f TagForm) Valid() bool { return f>>1 >= 1 && f>>1 <= mostDigits/digitsStep }

// Size is how many bytes a tag of the form takes, packed.
func (f TagForm) Size() int { return int(f>>1) * (digitsStep / 2) }

// Len is how many bytes its text has.
func (f TagForm) Len() int { return 2*f.Size() + 2 + 2*int(f&1) }

// AppendTag appends a tag, packed. For one that has no form it appends nothing
// and returns the zero TagForm.
func AppendTag(b []byte, tag string) ([]byte, TagForm) {
	form := TagForm(0)
	if len(tag) > 2 && tag[0] == 'W' && tag[1] == '/' {
		form, tag = 1, tag[2:]
	}
	digits := len(tag) - 2
	if digits < digitsStep || digits > mostDigits || digits%digitsStep != 0 || tag[0] != '"' || tag[digits+1] != '"' {
		return b, 0
	}
	start, bad := len(b), uint64(0)
	b = slices.Grow(b, digits/2)[:start+digits/2]
	to := b[start:]
	for s := []byte(tag[1 : digits+1]); len(s) >= digitsStep && len(to) >= 4; s, to = s[digitsStep:], to[4:] { // not copied
		text := binary.LittleEndian.Uint64(s)
		values := text&(each*0x0f) + text>>6&each*9 // letters are those with 64 in them
		bad |= digitsOf(values) ^ text | values&(each*0xf0)
		pairs := (values<<4 | values>>8) & 0x00ff00ff00ff00ff
		pairs = (pairs | pairs>>8) & 0x0000ffff0000ffff
		binary.LittleEndian.PutUint32(to, uint32(pairs|pairs>>16))
	}
	if bad != 0 {
		return b[:start], 0
	}
	return b, form | TagForm(digits/digitsStep)<<1
}

// AppendTagText appends the text of a tag, whose form must be valid and which
// must have as many bytes as the form says.
func AppendTagText(b []byte, form TagForm, tag []byte) []byte {
	start := len(b)
	b = slices.Grow(b, form.Len())[:start+form.Len()]
	to := b[start:]
	if form&1 != 0 {
		to[0], to[1] = 'W', '/'
		to = to[2:]
	}
	to[0] = '"'
	for to = to[1:]; len(tag) >= 4 && len(to) >= digitsStep; tag, to = tag[4:], to[digitsStep:] {
		pairs := uint64(binary.LittleEndian.Uint32(tag))
		pairs = (pairs | pairs<<16) & 0x0000ffff0000ffff
		pairs = (pairs | pairs<<8) & 0x00ff00ff00ff00ff
		values := pairs>>4&0x000f000f000f000f | pairs<<8&0x0f000f000f000f00
		binary.LittleEndian.PutUint64(to, digitsOf(values))
	}
	to[0] = '"'
	return b
}

// Eight digits are handled at a time, a byte of a word each.
const each = 0x0101010101010101

// digitsOf returns the digits of eight values from 0 to 15, in lower case.
func digitsOf(values uint64) uint64 {
	letters := (values + each*6) >> 4 & each
	return values + each*'0' + letters*('a'-'0'-10)
}
