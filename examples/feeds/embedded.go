package main

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"net/http"
	"time"
)

// newFeeds returns a handler with three feeds, each with another way to say that
// nothing is new: an entity tag, a date, and a tag with a time to stay away.
func newFeeds(start time.Time) http.Handler {
	start = start.Truncate(time.Second) // as a date in a header has it
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rss.xml", func(w http.ResponseWriter, r *http.Request) {
		body := []byte(`<?xml version="1.0"?><rss version="2.0"><channel><title>Tags</title>` +
			`<item><guid>1</guid><title>An entity tag tells editions apart</title></item></channel></rss>`)
		serve(w, r, "application/rss+xml", tag(body), time.Time{}, body)
	})
	mux.HandleFunc("GET /atom.xml", func(w http.ResponseWriter, r *http.Request) {
		body := fmt.Appendf(nil, `<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>Dates</title>`+
			`<updated>%s</updated></feed>`, start.UTC().Format(time.RFC3339))
		serve(w, r, "application/atom+xml", "", start, body)
	})
	mux.HandleFunc("GET /feed.json", func(w http.ResponseWriter, r *http.Request) {
		items := 1 + int(time.Since(start)/(4*time.Second)) // there is news every four seconds
		body := fmt.Appendf(nil, `{"version":"https://jsonfeed.org/version/1.1","title":"News","items":[{"id":"%d"}]}`, items)
		w.Header().Set("Cache-Control", "max-age=2") // more than the interval that the program asks for: it counts
		serve(w, r, "application/feed+json", tag(body), time.Time{}, body)
	})
	return mux
}

func tag(body []byte) string {
	hash := fnv.New64a()
	hash.Write(body)
	return fmt.Sprintf(`"%x"`, hash.Sum64())
}

// serve answers 304 where the request carries the validators of this edition.
func serve(w http.ResponseWriter, r *http.Request, mediaType, etag string, modified time.Time, body []byte) {
	w.Header().Set("Content-Type", mediaType)
	if etag != "" {
		w.Header().Set("Etag", etag)
	}
	http.ServeContent(w, r, "", modified, bytes.NewReader(body))
}
