package feeds

import (
	"bytes"
	"encoding/json"
	"errors"
)

const jsonSpace = " \t\r\n"

// withoutMark is a JSON body without white space around it and without a byte
// order mark, which JSON doesn't allow and some servers send (RFC 8259, section
// 8.1).
func withoutMark(body []byte) []byte {
	return bytes.Trim(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), jsonSpace)
}

// unmarshal is json.Unmarshal, but that a field of another type than v has stays
// empty: it reports only whether the text is well formed.
func unmarshal(text []byte, v any) bool {
	err := json.Unmarshal(text, v)
	if err == nil {
		return true
	}
	_, mistyped := errors.AsType[*json.UnmarshalTypeError](err)
	return mistyped
}

// elements gives each element of a JSON array to take, which must not keep it and
// says whether it took it. Elements that were not taken are skipped, as are those
// beyond MaxItems.
//
// It looks for the ends of elements and no closer: one that is damaged inside
// costs itself. Rejected: json.Decoder, which reads every byte twice more, and
// gives up the page for one bad element. The error says that the text is no
// array, or has no end; it quotes nothing.
func elements(text []byte, take func(raw []byte) bool) (skipped int, err error) {
	if len(text) == 0 || text[0] != '[' {
		return 0, errors.New("no JSON array")
	}
	rest := bytes.TrimLeft(text[1:], jsonSpace)
	if bytes.Equal(rest, []byte("]")) {
		return 0, nil
	}
	for taken := 0; ; {
		end := elementEnd(rest)
		if end < 0 {
			return 0, errors.New("a JSON array without its end")
		}
		if taken < MaxItems && take(bytes.Trim(rest[:end], jsonSpace)) {
			taken++
		} else {
			skipped++
		}
		closed := rest[end] == ']'
		if rest = bytes.TrimLeft(rest[end+1:], jsonSpace); closed {
			break
		}
	}
	if len(rest) > 0 {
		return 0, errors.New("something follows the JSON array")
	}
	return skipped, nil
}

// elementEnd is where the comma or bracket behind the first element stands;
// negative: nowhere.
func elementEnd(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			n := stringEnd(text[i+1:])
			if n < 0 {
				return -1
			}
			i += 1 + n
		case '{', '[':
			depth++
		case '}':
			depth--
		case ']':
			if depth <= 0 {
				return i
			}
			depth--
		case ',':
			if depth <= 0 {
				return i
			}
		}
	}
	return -1
}

// stringEnd is where the quote that ends a string stands; negative: nowhere.
func stringEnd(text []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(text[from:], '"')
		if i < 0 {
			return -1
		}
		i += from
		escapes := 0
		for j := i - 1; j >= from && text[j] == '\\'; j-- {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
		from = i + 1
	}
}
