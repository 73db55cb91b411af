package packed

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
	start, all := len(b), byte(isDigit)
	for text := tag[1 : digits+1]; len(text) >= 8; text = text[8:] {
		h0, l0, h1, l1 := digitValue[text[0]], digitValue[text[1]], digitValue[text[2]], digitValue[text[3]]
		h2, l2, h3, l3 := digitValue[text[4]], digitValue[text[5]], digitValue[text[6]], digitValue[text[7]]
		all &= h0 & l0 & h1 & l1 & h2 & l2 & h3 & l3
		b = append(b, h0<<4|l0&15, h1<<4|l1&15, h2<<4|l2&15, h3<<4|l3&15)
	}
	if all == 0 {
		return b[:start], 0
	}
	return b, form | TagForm(digits/digitsStep)<<1
}

// AppendTagText appends the text of a tag, whose form must be valid and which
// must have as many bytes as the form says.
func AppendTagText(b []byte, form TagForm, tag []byte) []byte {
	const digits = "0123456789abcdef"
	if form&1 != 0 {
		b = append(b, 'W', '/')
	}
	b = append(b, '"')
	for _, v := range tag {
		b = append(b, digits[v>>4], digits[v&15])
	}
	return append(b, '"')
}

// digitValue is the value of each lower-case hexadecimal digit, beside isDigit.
var digitValue = [256]byte{
	'0': 0x80, '1': 0x81, '2': 0x82, '3': 0x83, '4': 0x84, '5': 0x85, '6': 0x86, '7': 0x87,
	'8': 0x88, '9': 0x89, 'a': 0x8a, 'b': 0x8b, 'c': 0x8c, 'd': 0x8d, 'e': 0x8e, 'f': 0x8f,
}

const isDigit = 0x80
