package firehosetest

import (
	"net/http"
	"strconv"
	"time"
)

// mostHeaders is how many an answer has, about.
const mostHeaders = 18

// set is Header.Set for a key that is canonical already. The values share one
// allocation.
func (x *exchange) set(key, value string) {
	n := len(x.values)
	x.values = append(x.values, value)
	x.header[key] = x.values[n : n+1 : n+1]
}

// eventHeaders are the same on 200 and 304 (H-8).
func (x *exchange) eventHeaders(tag string, modified time.Time, interval, maxAge time.Duration) {
	x.set("Etag", tag)
	x.set("Last-Modified", modified.Format(http.TimeFormat))
	x.set("Vary", "Accept, Authorization, Accept-Encoding")
	visibility := "public"
	if x.authorization != "" {
		visibility = "private"
	}
	if maxAge > 0 {
		age := strconv.FormatInt(int64(maxAge/time.Second), 10)
		x.set("Cache-Control", visibility+", max-age="+age+", s-maxage="+age)
	}
	if interval > 0 && x.host.Dialect == GitHub {
		x.set("X-Poll-Interval", strconv.FormatInt(int64(interval/time.Second), 10))
	}
	x.set("Link", x.links())
}

func (x *exchange) pageQuery(n int) string {
	q := x.query.Encode()
	if q != "" {
		q += "&"
	}
	return q + "page=" + strconv.Itoa(n)
}

// links are GitHub's: absolute, with the query of the request.
func (x *exchange) links() string {
	last := x.last
	b := make([]byte, 0, 256)
	link := func(rel string, page int) {
		if len(b) > 0 {
			b = append(b, ", "...)
		}
		b = append(b, '<')
		b = append(b, x.where...)
		b = append(b, x.path...)
		b = append(b, '?')
		b = append(b, x.pageQuery(page)...)
		b = append(b, `>; rel="`...)
		b = append(b, rel...)
		b = append(b, '"')
	}
	if x.key.page > 1 {
		link("prev", x.key.page-1)
	}
	if x.key.page < last {
		link("next", x.key.page+1)
		link("last", last)
	}
	if x.key.page > 1 {
		link("first", 1)
	}
	return string(b)
}
