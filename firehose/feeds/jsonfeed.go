package feeds

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// JSONFeed returns the reader of JSON Feed 1.0 and 1.1 (jsonfeed.org). The next
// page is next_url.
//
// A body that is no object with a version of JSON Feed and an array of items is
// an error with [ErrFormat], as is one that is damaged. An item that is no object
// is skipped; one that has fields of other types than specified is read without
// those fields. An id that is a number is read as its digits, as the
// specification asks.
func JSONFeed() firehose.Reader[Entry] {
	return firehose.ReaderFunc[Entry](func(r *resource.Response) (firehose.Page[Entry], error) {
		return readJSON(r, "JSON Feed")
	})
}

func readJSON(r *resource.Response, format string) (none firehose.Page[Entry], err error) {
	if err := checked(format, r); err != nil {
		return none, err
	}
	body := withoutMark(r.Body)
	var w struct {
		Version looseLine       `json:"version"`
		Items   json.RawMessage `json:"items"`
		NextURL looseLine       `json:"next_url"`
		Author  byline          `json:"author"`  // of version 1.0
		Authors byline          `json:"authors"` // of version 1.1
	}
	switch {
	case len(body) == 0 || body[0] != '{':
		return none, formatError(format, "the body is no JSON object", r)
	case !unmarshal(body, &w):
		return none, formatError(format, "the JSON is damaged", r)
	case !strings.Contains(string(w.Version), "jsonfeed.org/version/1"):
		return none, formatError(format, "the object has no version of JSON Feed", r)
	}
	f := &jsonFeed{base: r.URL, author: string(cmp.Or(w.Authors, w.Author))}
	if f.skipped, err = elements(w.Items, f.take); err != nil {
		return none, formatError(format, "items: "+err.Error(), r)
	}
	f.named = absolute(r.URL, string(w.NextURL))
	return f.page(r), nil
}

// jsonFeed is what its items need of the feed.
type jsonFeed struct {
	collector
	base   string
	author string
}

// take reads one item; it keeps none of raw. A field of another type than specified
// stays empty.
func (f *jsonFeed) take(raw []byte) bool {
	if len(raw) == 0 || raw[0] != '{' {
		return false
	}
	var w struct {
		ID            looseText   `json:"id"`
		URL           string      `json:"url"`
		ExternalURL   string      `json:"external_url"`
		Title         string      `json:"title"`
		ContentHTML   string      `json:"content_html"`
		ContentText   string      `json:"content_text"`
		Summary       string      `json:"summary"`
		DatePublished looseTime   `json:"date_published"`
		DateModified  looseTime   `json:"date_modified"`
		Author        byline      `json:"author"`  // of version 1.0
		Authors       byline      `json:"authors"` // of version 1.1
		Tags          []looseLine `json:"tags"`
	}
	_ = unmarshal(raw, &w) // well formed, as the whole is
	e := Entry{
		ID: string(w.ID), Title: strings.TrimSpace(w.Title), Summary: strings.TrimSpace(w.Summary),
		Link:      absolute(f.base, cmp.Or(w.URL, w.ExternalURL)),
		Published: time.Time(w.DatePublished), Updated: time.Time(w.DateModified),
		Author: cmp.Or(string(w.Authors), string(w.Author), f.author), Base: f.base, Raw: bytes.Clone(raw),
	}
	if e.Content = strings.TrimSpace(w.ContentHTML); e.Content != "" {
		e.ContentType = "html"
	} else if e.Content = strings.TrimSpace(w.ContentText); e.Content != "" {
		e.ContentType = "text"
	}
	for _, tag := range w.Tags[:min(len(w.Tags), MaxCategories)] {
		if tag != "" {
			e.Categories = append(e.Categories, string(tag))
		}
	}
	f.entries = append(f.entries, e)
	return true
}
