package feeds

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// Bounds of what is kept of a page. The size of a body is bounded before, by
// firehose.Config.MaxBody.
const (
	MaxItems      = 10_000 // entries of a page; those beyond are counted as skipped
	MaxID         = 512    // bytes of an identity; a longer one is replaced by its hash
	MaxCategories = 64     // categories of an entry; those beyond are left out
)

// Entry is an entry of an RSS, Atom or JSON feed. Fields that the feed does not
// have are empty. Texts are decoded once, without white space around them: what
// a feed escaped twice, which is HTML, is HTML here. No text shares memory with
// the response.
type Entry struct {
	// ID is the identity of the entry: guid (RSS), rdf:about (RSS 1.0), id (Atom,
	// JSON Feed), as it stands but for white space around it. An entry without
	// one has its Link, if no other such entry of the page has the same; else,
	// as "sha256:" and hexadecimal digits, the hash of title, summary, content
	// and date, in which any white space counts as one space. An identity of more
	// than MaxID bytes is replaced by its hash.
	ID string

	// Title is text or HTML: feeds don't agree.
	Title string

	// Link leads to what the entry is about: absolute where the feed or the
	// response allow to resolve it. Its scheme may be any.
	Link string

	// Published and Updated are what the feed says, in UTC. Zero: it doesn't say,
	// or not in a form that names one instant.
	Published time.Time
	Updated   time.Time

	// Author is the name of the first author, or the address where there is only
	// that; the feed's own where the entry has none.
	Author string

	// Summary and Content are text or HTML; of a content in XHTML it is the
	// markup inside its div, byte for byte.
	Summary string
	Content string

	// ContentType says what Content is: "text", "html", "xhtml", or the media
	// type that an Atom feed names. Empty: there is no content.
	ContentType string

	// Base is what relative references inside Summary and Content mean to be
	// relative to: xml:base, else the URL that was answered.
	Base string

	// Categories are the categories or tags, in their order; MaxCategories at
	// most.
	Categories []string

	// Raw is the entry as it came, in UTF-8: an XML element, whose prefixes may
	// be declared outside of it, or a JSON object (rule E-10).
	Raw []byte
}

// at is when it happened, as an item of a feed tells it.
func (e *Entry) at() time.Time {
	if e.Published.IsZero() {
		return e.Updated
	}
	return e.Published
}

// contentHash is the identity of last resort. The instant belongs to it, since
// two entries that read alike and differ in it are two: better an entry twice,
// where a feed makes up new dates, than one lost. What changes when a feed is
// written anew, such as white space, does not.
func (e *Entry) contentHash() string {
	var b strings.Builder
	for _, text := range [...]string{e.Title, e.Summary, e.Content} {
		for word := range strings.FieldsSeq(text) {
			b.WriteString(word)
			b.WriteByte(' ')
		}
		b.WriteByte('\n') // no word has one
	}
	if !e.Published.IsZero() {
		b.WriteString(strconv.FormatInt(e.Published.Unix(), 10))
	}
	return hashed(b.String())
}

func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// identity bounds an identity that a feed gives.
func identity(id string) string {
	if len(id) > MaxID {
		return hashed(id)
	}
	return id
}

// collector gathers the entries of a page.
type collector struct {
	entries []Entry
	skipped int
	named   string // next page, as the document names it; empty: it does not
}

// full reports whether the page has all that it may have.
func (c *collector) full() bool { return len(c.entries) >= MaxItems }

// page makes a Page of what was gathered.
func (c *collector) page(r *resource.Response) firehose.Page[Entry] {
	links := make(map[string]int) // of entries without an identity of their own
	for i := range c.entries {
		if e := &c.entries[i]; e.ID == "" && e.Link != "" {
			links[e.Link]++
		}
	}
	p := firehose.Page[Entry]{Skipped: c.skipped, Items: make([]firehose.Item[Entry], len(c.entries))}
	for i, e := range c.entries {
		switch {
		case e.ID != "":
		case links[e.Link] == 1:
			e.ID = e.Link
		default:
			e.ID = e.contentHash()
		}
		e.ID = identity(e.ID)
		p.Items[i] = firehose.Item[Entry]{ID: e.ID, At: e.at(), Value: e}
	}
	p.Next, p.Refused = nextPage(r, c.named)
	return p
}

// nextPage is the page that the document names, else that of the Link header.
func nextPage(r *resource.Response, named string) (uri string, refused error) {
	if named != "" {
		return resource.PageURI(r.URL, named)
	}
	return resource.NextPage(r.Header, r.URL)
}
