package firehosetest

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// FuzzRequest: no request makes an origin or a Watcher panic, and a validator
// that was not handed out is always found out.
func FuzzRequest(f *testing.F) {
	f.Add("/events?page=2&per_page=0", `W/"1", "2"`, "gzip;q=0", "yesterday")
	f.Add("/timelines/0/events?page=x", `"`, "gzip;;", "Sun, 06 Nov 1994 08:49:37 GMT")
	f.Add("/events", " ", "", "")
	f.Add("/moved/moved/events?page=99999999999999999999", `*`, ",", "")
	f.Fuzz(func(t *testing.T, target, tags, encoding, since string) {
		o := mustOrigin(t, Config{Latency: Instant})
		w := Watch(o.RoundTripper())
		req, err := http.NewRequest(http.MethodGet, "http://api.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if req.URL, err = req.URL.Parse(target); err != nil {
			return
		}
		if _, oracle := oraclePath(req); oracle {
			return
		}
		req.Header["If-None-Match"] = []string{tags}
		req.Header.Set("Accept-Encoding", encoding)
		req.Header.Set("If-Modified-Since", since)
		a := send(w, req)
		if a.err != nil || a.StatusCode < 200 {
			t.Fatal(a.err, a.StatusCode)
		}
		if v := o.Verdict(); v.BadValidator+v.Unjudged != 1 {
			t.Fatalf("%q: %+v", tags, v)
		}
	})
}

// FuzzAnswer: no answer makes a Watcher panic, or count what a client did that
// asked only once.
func FuzzAnswer(f *testing.F) {
	f.Add(403, "-1", "99999999999999999999", "60", "Sun Nov  6 08:49:37 1994", `private, max-age="`, "")
	f.Add(200, "Fri, 31 Dec 1999 23:59:59 GMT", "1743500000", "1.5", "x", "max-age=99999999999", "%zz")
	f.Add(301, "", "", "", "", "", "https://elsewhere.invalid:99999/?page=2")
	f.Fuzz(func(t *testing.T, status int, retry, reset, interval, date, control, location string) {
		if status < 200 || status > 599 {
			return
		}
		w := Watch(&canned{answers: []http.Response{says(status, "Retry-After", retry, "X-RateLimit-Reset", reset,
			"X-RateLimit-Remaining", "0", "X-Poll-Interval", interval, "Date", date, "Cache-Control", control, "Location", location)}})
		req, err := http.NewRequest(http.MethodGet, "https://other.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		send(w, req)
		if v := w.Verdict(); v.Impolite != 0 || v.Unknowable != 0 || v.Permitted > 2 {
			t.Fatalf("%+v", v)
		}
	})
}

// FuzzTags: splitting loses nothing but white space and empty members, and
// what one variant hands out no other takes for its own.
func FuzzTags(f *testing.F) {
	f.Add(`W/"a,b" , "c"`, uint64(7))
	f.Add(`"`, uint64(0))
	f.Fuzz(func(t *testing.T, line string, digest uint64) {
		rest := line
		for _, tag := range splitTags([]string{line}) {
			_, after, found := strings.Cut(rest, tag)
			if !found || tag == "" {
				t.Fatalf("%q: %q", line, tag)
			}
			rest = after
		}
		a := newVariant(1, "", line, resourceKey{"/x", 1})
		b := newVariant(2, "", line, resourceKey{"/x", 1})
		tag := a.tag(digest)
		if !a.handedOut(tag) || b.handedOut(tag) || a.handedOut(line) {
			t.Fatalf("%q", tag)
		}
	})
}

// FuzzPublishedID: any text is an id or not.
func FuzzPublishedID(f *testing.F) {
	f.Add("10000000000")
	f.Add("9223372036854775807")
	f.Fuzz(func(t *testing.T, id string) {
		o := mustOrigin(t, Config{Timelines: 2})
		o.Published(id)
		if v := o.Verdict(); v.Published != 1 || v.Duplicates != 0 {
			t.Fatalf("%+v", v)
		}
		o.Outage(time.Now(), time.Now())
	})
}
