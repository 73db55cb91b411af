package feeds

import (
	"bytes"
	"encoding/binary"
	"mime"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/cannedos/cannedos/resource"
)

// toUTF8 returns the body of an XML response in UTF-8, without a byte order mark
// and without what XML forbids: control characters are dropped, and bytes that
// are no character become U+FFFD, since one of them would otherwise cost the
// whole feed. It is the body itself where there is nothing to change.
//
// The character set is what a byte order mark says, else the XML declaration,
// else the charset of the media type, else UTF-8. RFC 7303 puts the media type
// before the declaration; that is rejected here, since servers add the parameter
// by a default of theirs, while the declaration comes from whoever wrote the feed.
func toUTF8(r *resource.Response) ([]byte, error) {
	body := r.Body
	if text, ok := bytes.CutPrefix(body, []byte("\xef\xbb\xbf")); ok {
		return clean(text), nil
	}
	switch {
	case bytes.HasPrefix(body, []byte("\xfe\xff")):
		return clean(fromUTF16(body[2:], binary.BigEndian)), nil
	case bytes.HasPrefix(body, []byte("\xff\xfe")):
		return clean(fromUTF16(body[2:], binary.LittleEndian)), nil
	case bytes.HasPrefix(body, []byte("\x00<")):
		return clean(fromUTF16(body, binary.BigEndian)), nil
	case bytes.HasPrefix(body, []byte("<\x00")):
		return clean(fromUTF16(body, binary.LittleEndian)), nil
	}
	name := declared(body)
	if name == "" {
		if _, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil {
			name = params["charset"]
		}
	}
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return clean(body), nil
	case "utf-16", "utf-16le", "utf-16be":
		return clean(body), nil // it was written with single bytes, so it is not
	case "iso-8859-1", "iso8859-1", "latin1", "latin-1", "l1", "windows-1252", "cp1252", "x-cp1252":
		if utf8.Valid(body) {
			return clean(body), nil // said by habit; a text in Windows-1252 that happens to be UTF-8 is rare
		}
		return clean(fromWindows1252(body)), nil
	}
	return nil, &CharsetError{clip(name)}
}

// declared is the encoding that an XML declaration names, or nothing.
func declared(body []byte) string {
	body = bytes.TrimLeft(body, " \t\r\n")
	if !bytes.HasPrefix(body, []byte("<?xml")) {
		return ""
	}
	const longest = 256
	declaration, _, found := bytes.Cut(body[:min(len(body), longest)], []byte("?>"))
	if !found {
		return ""
	}
	_, rest, found := bytes.Cut(declaration, []byte("encoding"))
	rest = bytes.TrimLeft(rest, " \t\r\n=")
	if !found || len(rest) == 0 || rest[0] != '"' && rest[0] != '\'' {
		return ""
	}
	name, _, _ := bytes.Cut(rest[1:], rest[:1])
	return string(name)
}

// undeclared is a text without its XML declaration, which says nothing more once
// it is in UTF-8, but a version that encoding/xml would refuse.
func undeclared(text []byte) []byte {
	trimmed := bytes.TrimLeft(text, " \t\r\n")
	if bytes.HasPrefix(trimmed, []byte("<?xml ")) {
		if _, rest, found := bytes.Cut(trimmed, []byte("?>")); found {
			return rest
		}
	}
	return text
}

// clean returns a text that encoding/xml will read: text itself if it is one.
func clean(text []byte) []byte {
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	if !bytes.ContainsFunc(text, forbidden) {
		return text
	}
	return bytes.Map(func(c rune) rune {
		if forbidden(c) {
			return -1
		}
		return c
	}, text)
}

// forbidden reports whether XML 1.0, section 2.2, has no such character.
func forbidden(c rune) bool {
	return c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0xfffe || c == 0xffff
}

func fromUTF16(body []byte, order binary.ByteOrder) []byte {
	text := make([]byte, 0, len(body))
	for len(body) >= 2 {
		c := rune(order.Uint16(body))
		body = body[2:]
		if utf16.IsSurrogate(c) {
			low := rune(utf8.RuneError)
			if len(body) >= 2 {
				low = rune(order.Uint16(body))
			}
			if c = utf16.DecodeRune(c, low); c != utf8.RuneError {
				body = body[2:]
			}
		}
		text = utf8.AppendRune(text, c)
	}
	return text
}

// fromWindows1252 reads Windows-1252, which is what ISO-8859-1 is read as (WHATWG
// Encoding, section 4.2): they differ in control characters only, which nobody
// means.
func fromWindows1252(body []byte) []byte {
	const from0x80 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"
	high := []rune(from0x80)
	text := make([]byte, 0, len(body)+len(body)/8)
	for _, b := range body {
		switch {
		case b < utf8.RuneSelf:
			text = append(text, b)
		case b < 0xa0:
			text = utf8.AppendRune(text, high[b-0x80])
		default:
			text = utf8.AppendRune(text, rune(b))
		}
	}
	return text
}
