package feeds

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
)

func inUTF16(s string, order binary.AppendByteOrder) string {
	var b []byte
	for _, c := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, c)
	}
	return string(b)
}

func TestCharsets(t *testing.T) {
	page := func(declaration, title string) string {
		return declaration + "<rss><channel><item><guid>1</guid><title>" + title + "</title></item></channel></rss>"
	}
	const wide = "caf\u00e9 \u20ac \U0001f600"
	declare := func(name string) string { return `<?xml version="1.0" encoding="` + name + `"?>` }
	for _, c := range []struct{ name, body, mediaType, want string }{
		{"nothing said", page("", wide), "", wide},
		{"UTF-8, in lower case", page(declare("utf-8"), wide), "text/xml; charset=iso-8859-1", wide},
		{"a mark", "\xef\xbb\xbf" + page(declare("iso-8859-1"), wide), "", wide},
		{"UTF-16, high byte first", inUTF16("\ufeff"+page(declare("utf-16"), wide), binary.BigEndian), "", wide},
		{"UTF-16, low byte first", inUTF16("\ufeff"+page("", wide), binary.LittleEndian), "", wide},
		{"UTF-16 without a mark", inUTF16(page("", wide), binary.LittleEndian), "", wide},
		{"the other way round", inUTF16(page("", wide), binary.BigEndian), "", wide},
		{"UTF-16 that is none", page(declare("utf-16"), wide), "", wide},
		{"Latin 1", page(declare("ISO-8859-1"), "caf\xe9"), "", "caf\u00e9"},
		{"Latin 1 that is Windows-1252", page(declare("latin1"), "\x80 \x93x\x94 \xff"), "", "\u20ac \u201cx\u201d \u00ff"},
		{"Latin 1 that is UTF-8", page(declare("ISO-8859-1"), wide), "", wide},
		{"by the media type", page("", "caf\xe9"), "text/xml; charset=Windows-1252", "caf\u00e9"},
		{"single quotes", page(`<?xml version='1.0' encoding = 'windows-1252' ?>`, "caf\xe9"), "", "caf\u00e9"},
		{"an encoding of nothing", page(`<?xml version="1.0" encoding?>`, wide), "", wide},
		{"version 1.1", page(`<?xml version="1.1"?>`, wide), "", wide},
		{"space before", page(" \n"+declare("utf-8"), wide), "", wide},
		{"bytes that are no character", page("", "a\xff\xfe\xfdb"), "", "a\ufffdb"},
		{"control characters", page("", "a\x00\x01\x08\x1fb\ufffe\uffff"), "", "ab"},
		{"half a pair", strings.Replace(inUTF16("\ufeff"+page("", "a!b"), binary.BigEndian), "\x00!", "\xd8\x00", 1), "", "a\ufffdb"},
	} {
		for _, reader := range []string{"RSS", "Auto"} {
			p := read(t, readers()[reader], answer(c.body, "Content-Type", c.mediaType))
			require.Equal(t, []string{"1"}, ids(p), c.name)
			require.Equal(t, c.want, p.Items[0].Value.Title, c.name)
			require.Contains(t, string(p.Items[0].Value.Raw), "<title>"+c.want+"</title>", c.name)
		}
	}
	for _, reader := range []string{"RSS", "Atom", "Auto"} {
		_, err := readers()[reader].Read(answer(page(declare("KOI8-R"), "x"), "Content-Type", "text/xml; charset=utf-8"))
		charset, ok := errors.AsType[*CharsetError](err)
		require.True(t, ok, err)
		require.Equal(t, "KOI8-R", charset.Charset)
		require.ErrorContains(t, err, `"KOI8-R"`)
		_, err = readers()[reader].Read(answer(page("", "x"), "Content-Type", "text/xml; charset="+strings.Repeat("x", 1000)))
		require.Less(t, len(err.Error()), 250)
	}
}
