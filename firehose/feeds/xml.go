package feeds

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// maxReading bounds how much is read of a damaged page, as a multiple of its
// length: behind a broken entry it is taken up again, and each entry may reach to
// the end of the body before it is known to be broken.
const maxReading = 4

// feed is a document with what reading a feed from it needs.
type feed struct {
	*document
	collector
	format  vocabulary // rss or atom
	own     string     // namespace of the root, taken for that of the format
	author  string     // of the feed
	tag     string     // how the start tag of an entry begins
	last    int        // where the last entry, or the last restart, begins
	open    bool       // an entry is being read
	damaged bool       // something could not be read
}

// readXML reads a page in one of the formats that are wanted.
func readXML(r *resource.Response, format string, wanted ...vocabulary) (none firehose.Page[Entry], err error) {
	if err := checked(format, r); err != nil {
		return none, err
	}
	text, err := toUTF8(r)
	if err != nil {
		return none, fmt.Errorf("feeds: %s: %w", format, err)
	}
	f := &feed{document: newDocument(undeclared(text), r.URL)}
	root, err := f.root()
	if err != nil {
		return none, formatError(format, "the body is no XML", r)
	}
	name := f.recognize(root)
	if !slices.Contains(wanted, f.format) {
		return none, formatError(format, fmt.Sprintf("the root element is %q", clip(name)), r)
	}
	if name == "entry" {
		f.settle(f.take(f.atomEntry), false)
	} else {
		f.all()
	}
	if f.damaged && len(f.entries) == 0 {
		return none, formatError(format, "the XML is damaged, and no entry of it could be read", r)
	}
	for i := range f.entries {
		f.entries[i].Author = cmp.Or(f.entries[i].Author, f.author)
	}
	return f.page(r), nil
}

// recognize tells the format by the root, whose name it returns in lower case.
func (f *feed) recognize(root xml.StartElement) (name string) {
	name, f.own = strings.ToLower(root.Name.Local), root.Name.Space
	switch {
	case name == "rss" || name == "rdf":
		f.format, f.tag = rss, "<item"
	case name != "feed" && name != "entry":
	case f.own == "" || strings.Contains(strings.ToLower(f.own), "atom"): // also with https, or in lower case
		prefix, _, found := strings.Cut(tagName(f.rootTag), ":")
		if f.format, f.tag = atom, "<entry"; found {
			f.tag = "<" + prefix + ":entry"
		}
	}
	return name
}

// tagName is the name in a start tag, with its prefix.
func tagName(tag []byte) string {
	tag = tag[min(1, len(tag)):]
	if end := bytes.IndexAny(tag, " \t\r\n/>"); end >= 0 {
		tag = tag[:end]
	}
	return string(tag)
}

// vocabulary is vocabularyOf, but that the namespace of the root is the format's,
// whatever it is: feeds declare the strangest.
func (f *feed) vocabulary(name xml.Name) vocabulary {
	if v := vocabularyOf(name.Space); name.Space != f.own || v == dublinCore || v == contents {
		return v
	}
	return f.format
}

// isEntry reports whether an element is an entry of the feed.
func (f *feed) isEntry(name xml.Name) bool {
	local := "item"
	if f.format == atom {
		local = "entry"
	}
	return strings.EqualFold(name.Local, local) && f.vocabulary(name) == f.format
}

// all reads the root to its end, and goes on behind what is damaged.
func (f *feed) all() {
	visit := f.rssChild
	if f.format == atom {
		visit = f.atomChild
	}
	begin, room := 0, maxReading*len(f.text)
	for err := f.each(visit); ; err = f.each(visit) {
		room -= f.offset() - begin + len(f.rootTag)
		begin = f.nextEntry(max(f.at, f.last+1))
		f.settle(err, begin >= 0)
		if begin < 0 {
			return
		}
		if room < 0 {
			for ; begin >= 0; begin = f.nextEntry(begin + 1) {
				f.skipped++
			}
			return
		}
		f.last = begin
		if err := f.restart(begin); err != nil {
			return // not possible: the root has been read before
		}
	}
}

// settle counts what an error has cost: the entry that was open, or whose start
// tag could not be read; or one at least of those that may have followed, if
// nothing does.
func (f *feed) settle(err error, more bool) {
	if err != nil {
		f.damaged = true
		if f.open || f.at == f.last || !more {
			f.skipped++
		}
	}
	f.open = false
}

// nextEntry is where a start tag of an entry begins, from an offset on; negative:
// nowhere. It looks at text and not at XML, which is why it is asked only where
// XML has failed or the root has ended.
func (f *feed) nextEntry(from int) int {
	for from < len(f.text) {
		i := bytes.Index(f.text[from:], []byte(f.tag))
		if i < 0 {
			return -1
		}
		from += i
		if end := from + len(f.tag); end < len(f.text) && strings.IndexByte(" \t\r\n/>", f.text[end]) >= 0 {
			return from
		}
		from++
	}
	return -1
}

// take reads an entry by read, and keeps it if there is room. An entry that did
// not end by its own end tag has lost it, or part of itself: it is damaged.
func (f *feed) take(read func(e *Entry) error) error {
	begin := f.at
	name := tagName(f.text[begin:])
	f.last, f.open, f.tag = begin, true, "<"+name
	e := Entry{Base: f.base()}
	if f.full() {
		read = func(*Entry) error { return f.skip(f.isEntry) }
	}
	if err := read(&e); err != nil {
		return err
	}
	raw := f.text[begin:f.offset()]
	if !endsAs(raw, name) {
		return errDamaged
	}
	if f.open = false; f.full() {
		f.skipped++
		return nil
	}
	e.Raw = bytes.Clone(raw)
	f.entries = append(f.entries, e)
	return nil
}

// endsAs reports whether an element has the end tag of that name, or needs none.
func endsAs(raw []byte, name string) bool {
	raw, ok := bytes.CutSuffix(raw, []byte(">"))
	raw = bytes.TrimRight(raw, " \t\r\n")
	return ok && (bytes.HasSuffix(raw, []byte("</"+name)) || bytes.HasSuffix(raw, []byte("/")))
}
