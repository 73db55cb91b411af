package feeds

import (
	"cmp"
	"encoding/xml"
	"strings"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// Atom returns the reader of Atom (RFC 4287) and of its predecessor 0.3. The next
// page is the link of the feed with rel=next (RFC 5005, section 3). A document
// that is one entry is a page of one. What damage does, [RSS] says.
func Atom() firehose.Reader[Entry] {
	return firehose.ReaderFunc[Entry](func(r *resource.Response) (firehose.Page[Entry], error) {
		return readXML(r, "Atom", atom)
	})
}

// atomChild reads a child of the feed.
func (f *feed) atomChild(child xml.StartElement) error {
	if f.vocabulary(child.Name) != atom {
		return f.skip(f.isEntry)
	}
	switch strings.ToLower(child.Name.Local) {
	case "entry":
		return f.take(f.atomEntry)
	case "author":
		return f.person(&f.author)
	}
	f.paging(child)
	return f.skip(f.isEntry)
}

func (f *feed) atomEntry(e *Entry) error {
	return f.each(func(child xml.StartElement) error {
		if f.vocabulary(child.Name) != atom {
			return f.skip(nil)
		}
		switch local := strings.ToLower(child.Name.Local); local {
		case "entry":
			return errMisplaced
		case "id":
			return set(&e.ID, f.markup)
		case "title":
			return set(&e.Title, f.words)
		case "link":
			f.alternate(e, child)
		case "published", "issued", "created", "updated", "modified":
			return f.atomDate(e, local)
		case "author":
			return f.person(&e.Author)
		case "category":
			return f.category(e, cmp.Or(attribute(child, "", "label"), attribute(child, "", "term")))
		case "summary":
			return set(&e.Summary, f.markup)
		case "content":
			return f.atomContent(e, child)
		}
		return f.skip(nil)
	})
}

// atomDate reads a date under its name in Atom 1.0, or in 0.3.
func (f *feed) atomDate(e *Entry, local string) error {
	text, err := f.words()
	at := instant(text)
	switch {
	case local == "updated" || local == "modified":
		e.Updated = at
	case local == "published" || e.Published.IsZero():
		e.Published = at
	}
	return err
}

// alternate takes over the link to what an entry is about (RFC 4287, section
// 4.2.7.2: a link without rel is one).
func (f *feed) alternate(e *Entry, link xml.StartElement) {
	rel := attribute(link, "", "rel")
	if e.Link == "" && (rel == "" || strings.EqualFold(rel, "alternate")) {
		e.Link = f.resolve(attribute(link, "", "href"))
	}
}

// person reads the name, else the address, of an author.
func (f *feed) person(field *string) error {
	var name, address string
	err := f.each(func(child xml.StartElement) error {
		switch strings.ToLower(child.Name.Local) {
		case "name":
			return set(&name, f.words)
		case "email":
			return set(&address, f.words)
		}
		return f.skip(f.isEntry)
	})
	*field = cmp.Or(*field, name, address)
	return err
}

// atomContent reads the content (RFC 4287, section 4.1.3). One that is elsewhere
// is where the entry leads to, if it says nothing else.
func (f *feed) atomContent(e *Entry, child xml.StartElement) error {
	kind := attribute(child, "", "type")
	if src := attribute(child, "", "src"); src != "" && e.Link == "" {
		e.Link = f.resolve(src)
	}
	from := f.base()
	text, _, err := f.content()
	if e.Content == "" && text != "" {
		if kind == "" {
			kind = "text"
		}
		e.Content, e.ContentType, e.Base = text, strings.ToLower(clip(kind)), from
	}
	return err
}
