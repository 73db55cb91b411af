package feeds

import (
	"cmp"
	"encoding/xml"
	"strings"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// RSS returns the reader of RSS 0.91 to 2.0 and of RSS 1.0, which is RDF, with
// what feeds use beside it: content:encoded, Dublin Core, and Atom's link, of
// which rel=next names the next page (RFC 5005, section 3).
//
// A body of another kind is an error with [ErrFormat]. Of one whose XML is damaged
// the entries are read that can be told apart; the broken ones are skipped. One
// that breaks off behind an entry counts as one skipped, since nobody knows.
func RSS() firehose.Reader[Entry] {
	return firehose.ReaderFunc[Entry](func(r *resource.Response) (firehose.Page[Entry], error) {
		return readXML(r, "RSS", rss)
	})
}

// rssChild reads a child of the root or of the channel. In RSS 1.0 the items
// stand beside the channel.
func (f *feed) rssChild(child xml.StartElement) (err error) {
	switch f.vocabulary(child.Name) {
	case rss:
		switch strings.ToLower(child.Name.Local) {
		case "channel":
			return f.each(f.rssChild)
		case "item":
			return f.take(func(e *Entry) error { return f.rssItem(e, child) })
		case "managingeditor":
			return set(&f.author, f.words)
		}
	case atom:
		f.paging(child)
	case dublinCore:
		if child.Name.Local == "creator" {
			return set(&f.author, f.words)
		}
	}
	return f.skip(f.isEntry)
}

// paging learns the next page from a link of the feed.
func (f *feed) paging(link xml.StartElement) {
	if f.named == "" && link.Name.Local == "link" && strings.EqualFold(attribute(link, "", "rel"), "next") {
		f.named = f.resolve(attribute(link, "", "href"))
	}
}

// set reads a text into a field that is empty, or past one that is not: of
// several the first counts.
func set(field *string, read func() (string, error)) error {
	text, err := read()
	if *field == "" {
		*field = text
	}
	return err
}

func (f *feed) rssItem(e *Entry, item xml.StartElement) error {
	about := strings.TrimSpace(cmp.Or(attribute(item, rdfSpace, "about"), attribute(item, "rdf", "about")))
	var editor string // author is an address; dc:creator is a name, and counts before it
	permalink := true // guid is one unless it says that it is not
	err := f.each(func(child xml.StartElement) error {
		local := strings.ToLower(child.Name.Local)
		switch f.vocabulary(child.Name) {
		case rss:
			switch local {
			case "item":
				return errMisplaced
			case "guid":
				if e.ID == "" {
					permalink = !strings.EqualFold(attribute(child, "", "isPermaLink"), "false")
				}
				return set(&e.ID, f.markup)
			case "author":
				return set(&editor, f.words)
			}
			return f.rssField(e, child, local)
		case atom:
			return f.atomInRSS(e, child, local)
		case dublinCore:
			return f.dublinCore(e, local)
		case contents:
			if local == "encoded" {
				return set(&e.Content, f.markup)
			}
		}
		return f.skip(nil)
	})
	if e.Link == "" && permalink && (strings.HasPrefix(e.ID, "http://") || strings.HasPrefix(e.ID, "https://")) {
		e.Link = e.ID
	}
	e.ID = cmp.Or(e.ID, about)
	e.Author = cmp.Or(e.Author, editor)
	if e.Content != "" {
		e.ContentType = "html"
	}
	return err
}

// markup is content, whether it was escaped or not.
func (f *feed) markup() (string, error) {
	text, _, err := f.content()
	return text, err
}

func (f *feed) rssField(e *Entry, child xml.StartElement, local string) error {
	switch local {
	case "title":
		return set(&e.Title, f.words)
	case "description":
		return set(&e.Summary, f.markup)
	case "category":
		return f.category(e, "")
	case "pubdate":
		text, err := f.words()
		if at := instant(text); !at.IsZero() {
			e.Published = at
		}
		return err
	case "link":
		href := f.resolve(attribute(child, "", "href")) // some write the link of Atom
		from := f.base()
		text, err := f.words()
		if text = absolute(from, text); e.Link == "" {
			if e.Link = text; text == "" {
				e.Link = href
			}
		}
		return err
	}
	return f.skip(nil)
}

// atomInRSS reads what items of RSS borrow from Atom.
func (f *feed) atomInRSS(e *Entry, child xml.StartElement, local string) error {
	switch local {
	case "link":
		f.alternate(e, child)
	case "updated":
		text, err := f.words()
		e.Updated = instant(text)
		return err
	}
	return f.skip(nil)
}

func (f *feed) dublinCore(e *Entry, local string) error {
	switch local {
	case "creator":
		return set(&e.Author, f.words)
	case "subject":
		return f.category(e, "")
	case "date":
		text, err := f.words()
		if e.Published.IsZero() {
			e.Published = instant(text)
		}
		return err
	case "modified":
		text, err := f.words()
		if e.Updated.IsZero() {
			e.Updated = instant(text)
		}
		return err
	}
	return f.skip(nil)
}

// category adds a category: the one given, else what the element holds.
func (f *feed) category(e *Entry, given string) error {
	text, err := f.words()
	if given != "" {
		text = given
	}
	if text != "" && len(e.Categories) < MaxCategories {
		e.Categories = append(e.Categories, text)
	}
	return err
}
