package resource

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
	"time"
)

// maxFeedHead bounds how much of a feed is looked at for its hint, in bytes.
const maxFeedHead = 64 << 10

// syndication is the name space of the Syndication module of RSS 1.0, which the
// other formats borrow.
const syndication = "http://purl.org/rss/1.0/modules/syndication/"

// FeedHint reads what an RSS or Atom feed says of its own interval: the elements
// of its channel before the first item or entry, of which at most the first 64
// KiB. What is malformed says nothing; what was said before it counts. ok is
// false where nothing was said, or where the body is no such feed.
//
// Sources: the RSS 2.0 specification for ttl, skipHours and skipDays, the
// Syndication module of RSS 1.0 for updatePeriod, updateFrequency and updateBase.
// A feed in an encoding that ASCII is no part of, such as UTF-16, says nothing.
func FeedHint(body []byte) (h Hint, ok bool) {
	head := bytes.ToValidUTF8(body[:min(len(body), maxFeedHead)], []byte("?"))
	d := xml.NewDecoder(bytes.NewReader(head))
	d.Strict = false // it is the world's feeds that are read
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	r := feedReader{frequency: 1}
	for range maxFeedHead { // each token is at least a byte
		token, err := d.Token()
		if err != nil || !r.token(token) {
			break
		}
	}
	h = r.hint()
	return h, !h.IsZero()
}

// feedReader puts the hint together, element by element.
type feedReader struct {
	path  [4]xml.Name // the outermost open elements
	depth int
	text  []byte

	ttl, period time.Duration
	hasPeriod   bool
	frequency   int64
	hours       uint32
	days        uint8
	base        time.Time
}

// token takes the next part of the feed; more is false where the items begin, or
// where it turns out to be something else.
func (r *feedReader) token(token xml.Token) (more bool) {
	switch t := token.(type) {
	case xml.StartElement:
		switch {
		case r.depth == 0 && t.Name.Local != "rss" && t.Name.Local != "RDF" && t.Name.Local != "feed":
			return false
		case t.Name.Local == "item" || t.Name.Local == "entry":
			return false
		}
		if r.depth < len(r.path) {
			r.path[r.depth] = t.Name
		}
		r.depth++
		r.text = r.text[:0]
	case xml.CharData:
		const most = 64 // bytes of any text that means something here
		r.text = append(r.text, t[:min(len(t), most-min(len(r.text), most))]...)
	case xml.EndElement:
		if r.depth == 0 {
			return false
		}
		if r.depth <= len(r.path) {
			r.element(r.path[:r.depth], strings.TrimSpace(string(r.text)))
		}
		r.depth--
		r.text = r.text[:0]
	}
	return true
}

// element reads a complete element by where it stands.
func (r *feedReader) element(path []xml.Name, text string) {
	name := path[len(path)-1]
	inFeed := len(path) == 2 && path[0].Local == "feed"
	inChannel := path[0].Local != "feed" && len(path) > 2 && path[1].Local == "channel"
	switch {
	case (name.Space == syndication || name.Space == "sy") && (inFeed || inChannel && len(path) == 3):
		r.syndicated(name.Local, text)
	case !inChannel:
	case len(path) == 3 && name.Local == "ttl":
		if n, ok := roundedUp(text); ok {
			r.ttl = time.Duration(min(n, int64(MaxInterval/time.Minute))) * time.Minute
		}
	case len(path) == 4 && path[2].Local == "skipHours" && name.Local == "hour":
		if n, ok := roundedDown(text); ok && n <= 24 { // RSS 0.91 counted from 1 to 24
			r.hours |= 1 << (n % 24)
		}
	case len(path) == 4 && path[2].Local == "skipDays" && name.Local == "day":
		if day, ok := weekday(text); ok {
			r.days |= 1 << day
		}
	}
}

func (r *feedReader) syndicated(name, text string) {
	const day = 24 * time.Hour
	switch name {
	case "updatePeriod":
		r.hasPeriod = true
		switch strings.ToLower(text) {
		case "hourly":
			r.period = time.Hour
		case "daily":
			r.period = day
		case "weekly":
			r.period = 7 * day
		case "monthly":
			r.period = 30 * day
		case "yearly":
			r.period = 365 * day
		default:
			r.hasPeriod = false
		}
	case "updateFrequency":
		if n, ok := roundedDown(text); ok && n > 0 {
			r.frequency, r.hasPeriod = n, true
		}
	case "updateBase":
		if t, ok := baseDate(text); ok {
			r.base = t
		}
	}
}

// hint is what was found. The period is a day where only a frequency is given.
func (r *feedReader) hint() Hint {
	h := Hint{Interval: r.ttl, SkipHours: r.hours, SkipDays: r.days}
	if r.hasPeriod {
		if r.period == 0 {
			r.period = 24 * time.Hour
		}
		if every := r.period / time.Duration(r.frequency); every >= max(h.Interval, time.Second) {
			h.Interval, h.Base = every, r.base
		}
	}
	return h.normal()
}

// baseDate reads the dates of the Syndication module, which need no seconds, such
// as 2000-01-01T12:00+00:00. Without a zone it is UTC.
func baseDate(s string) (time.Time, bool) {
	if t, ok := date(s); ok {
		return t, true
	}
	for _, layout := range [...]string{"2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
