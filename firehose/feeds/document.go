package feeds

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"strings"

	"github.com/cannedos/cannedos/resource"
)

// maxDepth bounds how deep elements nest. Feeds need five levels, and markup in
// a content some dozens.
const maxDepth = 256

// What ends the reading of an element before its end.
var (
	errDamaged   = errors.New("damaged XML")                // it can't be read further
	errMisplaced = errors.New("an entry inside of another") // an end tag is missing before it
)

// document reads an XML text element by element. It is as lenient as
// encoding/xml can be: attributes without quotes, an & that begins no entity,
// names of HTML entities, end tags left out.
type document struct {
	text    []byte // UTF-8
	d       *xml.Decoder
	shift   int    // from an offset of d to one of text
	at      int    // where the token that was read last begins
	bases   []base // of the elements that are open and have one
	depth   int
	rootTag []byte // what every restart begins with, so that namespaces stay known
}

// A base is the xml:base of an element.
type base struct {
	depth int
	uri   string // absolute, where the URL of the response is
}

func newDocument(text []byte, url string) *document {
	x := &document{text: text, bases: []base{{uri: url}}}
	x.decode(bytes.NewReader(text), 0)
	return x
}

func (x *document) decode(r io.Reader, shift int) {
	x.shift, x.depth, x.bases = shift, 0, x.bases[:1]
	x.d = xml.NewDecoder(r)
	x.d.Strict = false
	x.d.Entity = xml.HTMLEntity
	// The text is in UTF-8 already, whatever it says of itself.
	x.d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
}

// offset is where the next token begins.
func (x *document) offset() int { return x.shift + int(x.d.InputOffset()) }

// next returns the next token, whose bytes are its own only until the next call.
func (x *document) next() (xml.Token, error) {
	x.at = x.offset()
	token, err := x.d.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case xml.StartElement:
		if x.depth++; x.depth > maxDepth {
			return nil, errDamaged
		}
		if uri := attribute(token, xmlSpace, "base"); uri != "" {
			x.bases = append(x.bases, base{x.depth, x.resolve(uri)})
		}
	case xml.EndElement:
		if last := len(x.bases) - 1; last > 0 && x.bases[last].depth == x.depth {
			x.bases = x.bases[:last]
		}
		x.depth--
	}
	return token, nil
}

// root returns the first element.
func (x *document) root() (xml.StartElement, error) {
	for {
		token, err := x.next()
		if err != nil {
			return xml.StartElement{}, err
		}
		if start, ok := token.(xml.StartElement); ok {
			x.rootTag = x.text[x.at:x.offset()]
			return start, nil
		}
	}
}

// restart goes on at an offset of the text, as if it stood directly in the root.
func (x *document) restart(offset int) error {
	tag := bytes.NewReader(x.rootTag)
	rest := bytes.NewReader(x.text[offset:])
	x.decode(&twoReaders{tag, rest}, offset-len(x.rootTag))
	_, err := x.next() // the root
	return err
}

// twoReaders reads the one and then the other, byte by byte, so that the decoder
// needs no buffer and knows its offset.
type twoReaders struct{ first, second *bytes.Reader }

// ReadByte returns the next byte of what is left.
func (t *twoReaders) ReadByte() (byte, error) {
	if b, err := t.first.ReadByte(); err == nil {
		return b, nil
	}
	return t.second.ReadByte()
}

// Read is what the decoder asks for in its signature; it calls ReadByte.
func (t *twoReaders) Read(p []byte) (int, error) {
	if t.first.Len() > 0 {
		return t.first.Read(p)
	}
	return t.second.Read(p)
}

// each calls visit for each child of the element whose start was read last, and
// returns at its end. visit must read the child to its end: by each, content or
// skip.
func (x *document) each(visit func(child xml.StartElement) error) error {
	for {
		token, err := x.next()
		if err != nil {
			return err
		}
		switch token := token.(type) {
		case xml.StartElement:
			if err := visit(token); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		}
	}
}

// skip reads the element whose start was read last to its end. Elements that
// never can be part of it tell of damage, such as an end tag that is missing; nil
// allows all.
func (x *document) skip(never func(xml.Name) bool) error {
	for depth := x.depth; x.depth >= depth; {
		token, err := x.next()
		if err != nil {
			return err
		}
		if start, ok := token.(xml.StartElement); ok && never != nil && never(start.Name) {
			return errMisplaced
		}
	}
	return nil
}

// content reads the element whose start was read last to its end. Where it holds
// text, that is the result, without white space around it. Where it holds
// elements, that is markup which is XHTML, or should have been escaped, and the
// result is what stands between its tags; of a single div, between those.
func (x *document) content() (text string, markup bool, err error) {
	begin, depth := x.offset(), x.depth
	var chars []byte
	divBegin, divEnd, children := 0, 0, 0
	for {
		token, err := x.next()
		if err != nil {
			return "", false, err
		}
		switch token := token.(type) {
		case xml.CharData:
			if x.depth == depth {
				chars = append(chars, token...)
			}
		case xml.StartElement:
			if x.depth == depth+1 {
				if children++; token.Name.Local == "div" {
					divBegin = x.offset()
				}
			}
		case xml.EndElement:
			if x.depth == depth {
				divEnd = x.at
			}
			if x.depth >= depth {
				continue
			}
			switch chars = bytes.TrimSpace(chars); {
			case children == 0:
				return string(chars), false, nil
			case children == 1 && len(chars) == 0 && divBegin > 0 && divBegin <= divEnd:
				return string(bytes.TrimSpace(x.text[divBegin:divEnd])), true, nil
			}
			return beforeEndTag(x.text[begin:x.offset()]), true, nil
		}
	}
}

// beforeEndTag is what precedes the last end tag, which is that of an element
// around this one if its own was left out.
func beforeEndTag(raw []byte) string {
	if end := bytes.LastIndex(raw, []byte("</")); end >= 0 {
		raw = raw[:end]
	}
	return string(bytes.TrimSpace(raw))
}

// words is content in which any white space is one space: for what is meant as
// one line, whichever way a feed breaks it.
func (x *document) words() (string, error) {
	text, _, err := x.content()
	return strings.Join(strings.Fields(text), " "), err
}

// base is what relative references mean to be relative to where x is.
func (x *document) base() string { return x.bases[len(x.bases)-1].uri }

// resolve makes a reference absolute (RFC 3986, section 5), if it can be made so
// within the bound of a URI. Otherwise it is returned as it came.
func (x *document) resolve(ref string) string { return absolute(x.base(), ref) }

func absolute(from, ref string) string {
	if ref = strings.TrimSpace(ref); ref == "" || len(ref) > resource.MaxURI {
		return ref
	}
	to, err := url.Parse(ref)
	if err != nil || to.IsAbs() {
		return ref
	}
	b, err := url.Parse(from)
	if err != nil || !b.IsAbs() {
		return ref
	}
	if uri := b.ResolveReference(to).String(); len(uri) <= resource.MaxURI {
		return uri
	}
	return ref
}

// attribute is the value of an attribute, its name in either case, or nothing. A
// space of "" means one without a prefix.
func attribute(e xml.StartElement, space, name string) string {
	for _, a := range e.Attr {
		if a.Name.Space == space && strings.EqualFold(a.Name.Local, name) {
			return a.Value
		}
	}
	return ""
}
