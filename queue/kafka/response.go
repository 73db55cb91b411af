package kafka

import (
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/resource"
)

// A response is a record, whose key is the id of its resource in text form, and
// whose value is the body: null where there is none. The rest is in headers:
//
//	format                  "1"
//	take                    the sink, a slash, and the number of the Take: the pieces of one response have the same
//	page                    0, and 1 to pages for the further pages of the same response
//	pages                   how many further pages there are; absent: none
//	uri                     what was asked for
//	url                     what answered
//	status                  of HTTP
//	outcome                 such as "modified"
//	media-type              of the body, without parameters; absent: not told
//	sent                    instants as RFC 3339 with nanoseconds, in UTC; absent: not known
//	received
//	confirmed
//	previous-etag           what the request carried
//	previous-last-modified
//	cut                     why the reading of pages ended early
//	resource                the resource in its binary form
//	http.<Name>             a header of the answer, one for each line
//
// Each further page is a record of its own, behind that of the response, and with
// its key: so all are in one partition, and in order, though others may be in
// between.
const responseFormat = "1"

const (
	headFormat       = "format"
	headTake         = "take"
	headPage         = "page"
	headPages        = "pages"
	headURI          = "uri"
	headURL          = "url"
	headStatus       = "status"
	headOutcome      = "outcome"
	headMediaType    = "media-type"
	headSent         = "sent"
	headReceived     = "received"
	headConfirmed    = "confirmed"
	headETag         = "previous-etag"
	headLastModified = "previous-last-modified"
	headCut          = "cut"
	headResource     = "resource"
	headHTTP         = "http."
)

// maxPages bounds the pages of a response that is read.
const maxPages = 10_000

// unsafeHeaders are those of HTTP that carry what lets somebody in. An answer has
// hardly any of them, but for Set-Cookie, which a [resource.Response] is without.
var unsafeHeaders = [...]string{
	"Set-Cookie", "Set-Cookie2", "Cookie", "Authorization", "Proxy-Authorization",
	"Authentication-Info", "Proxy-Authentication-Info", "X-Api-Key", "X-Auth-Token", "X-Csrf-Token",
}

// encodeResponse returns the records of a response: itself, and its pages.
func encodeResponse(r *resource.Response, take string) ([]*kgo.Record, error) {
	key := []byte(r.Resource.ID.String())
	records := make([]*kgo.Record, 0, 1+len(r.Pages))
	for i, page := range append([]*resource.Response{r}, r.Pages...) {
		headers, err := responseHeaders(page, take, i)
		if err != nil {
			return nil, err
		}
		if i == 0 && len(r.Pages) > 0 {
			headers = append(headers, header(headPages, strconv.Itoa(len(r.Pages))))
		}
		records = append(records, &kgo.Record{Key: key, Value: page.Body, Headers: headers})
	}
	return records, nil
}

func header(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}

func responseHeaders(r *resource.Response, take string, page int) ([]kgo.RecordHeader, error) {
	kept := r.Resource
	kept.URI, kept.Hop, kept.Moved = withoutUser(kept.URI), withoutUser(kept.Hop), withoutUser(kept.Moved)
	encoded, err := kept.MarshalBinary()
	if err != nil {
		return nil, err
	}
	all := []kgo.RecordHeader{
		header(headFormat, responseFormat), header(headTake, take), header(headPage, strconv.Itoa(page)),
		header(headURI, kept.URI), header(headURL, withoutUser(r.URL)),
		header(headStatus, strconv.Itoa(r.Status)), header(headOutcome, r.Outcome.String()),
	}
	optional := func(key, value string) {
		if value != "" {
			all = append(all, header(key, value))
		}
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil {
		optional(headMediaType, t)
	}
	optional(headSent, instantText(r.Sent))
	optional(headReceived, instantText(r.Received))
	optional(headConfirmed, instantText(r.Confirmed))
	optional(headETag, r.Previous.ETag)
	optional(headLastModified, r.Previous.LastModified)
	optional(headCut, r.Cut)
	all = append(all, kgo.RecordHeader{Key: headResource, Value: encoded})
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if slices.Contains(unsafeHeaders[:], http.CanonicalHeaderKey(name)) {
			continue
		}
		for _, value := range r.Header[name] {
			all = append(all, header(headHTTP+name, withoutUsers(name, value)))
		}
	}
	return all, nil
}

func instantText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// withoutUser takes user name and password out of a URL, however broken it is. A
// query stays: it is a part of what was asked for, and of what the next page is
// named by.
func withoutUser(uri string) string {
	before, after, found := strings.Cut(uri, "//")
	if !found {
		return uri
	}
	return before + "//" + pastUser(after)
}

// pastUser returns what follows the user in what follows the slashes of a URL.
func pastUser(s string) string {
	authority := s
	if i := strings.IndexAny(s, "/?#<>\"' ;,"); i >= 0 {
		authority = s[:i]
	}
	return s[strings.LastIndexByte(authority, '@')+1:]
}

// withoutUsers does so in a header that holds URLs, which begin at its beginning or
// behind a mark, or with a scheme.
func withoutUsers(name, value string) string {
	switch http.CanonicalHeaderKey(name) {
	case "Location", "Content-Location", "Refresh", "Link":
	default:
		return value
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(value, "//")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("//")
		if before == "" || strings.ContainsAny(before[len(before)-1:], ":<>\"'=,; ") {
			after = pastUser(after)
		}
		value = after
	}
}

// piece is one record of a response.
type piece struct {
	take     string
	page     int
	pages    int // further ones; of page 0
	response *resource.Response
}

var (
	errNoHeader = errors.New("there is no such header")
	errTwice    = errors.New("it is there twice")
)

// decodeResponse is the opposite of encodeResponse, for one record. What it
// returns shares no memory with it. Its instants have no monotonic reading.
func decodeResponse(rec *kgo.Record) (*piece, error) {
	fields := make(map[string]string, len(rec.Headers))
	r := &resource.Response{Header: http.Header{}}
	for _, h := range rec.Headers {
		if name, is := strings.CutPrefix(h.Key, headHTTP); is {
			r.Header[name] = append(r.Header[name], string(h.Value))
			continue
		}
		if _, twice := fields[h.Key]; twice && slices.Contains(known[:], h.Key) {
			return nil, fmt.Errorf("header %s: %w", h.Key, errTwice)
		}
		fields[h.Key] = string(h.Value)
	}
	switch format, ok := fields[headFormat]; {
	case !ok:
		return nil, fmt.Errorf("header %s: %w", headFormat, errNoHeader)
	case format != responseFormat:
		return nil, fmt.Errorf("%w: format %.20q, this program knows %s", resource.ErrNewer, format, responseFormat)
	}
	p := &piece{response: r, take: fields[headTake]}
	if p.take == "" {
		return nil, fmt.Errorf("header %s: %w", headTake, errNoHeader)
	}
	f := reader{fields: fields}
	p.page = f.number(headPage, maxPages)
	if _, ok := fields[headPages]; ok {
		p.pages = f.number(headPages, maxPages)
	}
	r.URL = f.text(headURL)
	r.Status = f.number(headStatus, 999)
	r.Sent, r.Received, r.Confirmed = f.instant(headSent), f.instant(headReceived), f.instant(headConfirmed)
	r.Previous = resource.Validators{ETag: fields[headETag], LastModified: fields[headLastModified]}
	r.Cut = fields[headCut]
	f.parse(headOutcome, func(text string) error { return r.Outcome.UnmarshalText([]byte(text)) })
	f.parse(headResource, func(text string) error { return r.Resource.UnmarshalBinary([]byte(text)) })
	if f.err != nil {
		return nil, f.err
	}
	if p.page > 0 && p.pages > 0 {
		return nil, errors.New("a page has pages of its own")
	}
	if p.page == 0 && string(rec.Key) != r.Resource.ID.String() {
		return nil, fmt.Errorf("the key %.40q is not the id of the resource, %v", rec.Key, r.Resource.ID)
	}
	if rec.Value != nil {
		r.Body = append([]byte{}, rec.Value...)
	}
	return p, nil
}

// known are the headers that are read, or that only people read: each may be there once.
var known = [...]string{
	headFormat, headTake, headPage, headPages, headURI, headURL, headStatus, headOutcome, headMediaType,
	headSent, headReceived, headConfirmed, headETag, headLastModified, headCut, headResource,
}

// reader reads headers, and keeps the first error.
type reader struct {
	fields map[string]string
	err    error
}

func (f *reader) parse(key string, parse func(text string) error) {
	text, ok := f.fields[key]
	err := errNoHeader
	if ok {
		err = parse(text)
	}
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("header %s: %w", key, err)
	}
}

func (f *reader) text(key string) (s string) {
	f.parse(key, func(text string) error { s = text; return nil })
	return s
}

func (f *reader) number(key string, most int) (n int) {
	f.parse(key, func(text string) error {
		v, err := strconv.ParseUint(text, 10, 31)
		if err == nil && v > uint64(most) {
			err = fmt.Errorf("%d: want at most %d", v, most)
		}
		n = int(v)
		return err
	})
	return n
}

// instant reads an instant; zero where there is none.
func (f *reader) instant(key string) (t time.Time) {
	if _, ok := f.fields[key]; !ok {
		return t
	}
	f.parse(key, func(text string) (err error) {
		if t, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return err
		}
		if t = t.UTC(); t.Year() < 1970 || t.Year() > 2200 {
			return fmt.Errorf("%s: want an instant from 1970 to 2200", text)
		}
		return nil
	})
	return t
}
