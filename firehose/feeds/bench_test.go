package feeds

import (
	"fmt"
	"strings"
	"testing"
)

func BenchmarkGitHub(b *testing.B) {
	r := answer(gitHubPage(100))
	b.SetBytes(int64(len(r.Body)))
	b.ReportAllocs()
	reader := GitHub()
	for b.Loop() {
		if p, err := reader.Read(r); err != nil || len(p.Items) != 100 {
			b.Fatal(len(p.Items), err)
		}
	}
}

// BenchmarkAuto reads pages of 100 entries with half a kilobyte of text each.
func BenchmarkAuto(b *testing.B) {
	text := strings.Repeat("lorem ipsum ", 50)
	for _, c := range []struct{ name, begin, entry, between, end string }{
		{"RSS", `<rss version="2.0"><channel>`,
			"<item><guid>%d</guid><title>Title</title><link>/1</link><pubDate>Mon, 02 Jan 2006 15:04:05 GMT</pubDate><description>%s</description></item>", "\n", `</channel></rss>`},
		{"Atom", `<feed xmlns="http://www.w3.org/2005/Atom">`,
			`<entry><id>%d</id><title>Title</title><link href="/1"/><updated>2006-01-02T15:04:05Z</updated><summary>%s</summary></entry>`, "\n", `</feed>`},
		{"JSONFeed", `{"version": "https://jsonfeed.org/version/1.1", "items": [`,
			`{"id": "%d", "title": "Title", "url": "/1", "date_published": "2006-01-02T15:04:05Z", "summary": "%s"}`, ",\n", `]}`},
	} {
		entries := make([]string, 100)
		for i := range entries {
			entries[i] = fmt.Sprintf(c.entry, i, text)
		}
		r := answer(c.begin + strings.Join(entries, c.between) + c.end)
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(r.Body)))
			b.ReportAllocs()
			reader := Auto()
			for b.Loop() {
				if p, err := reader.Read(r); err != nil || len(p.Items) != 100 {
					b.Fatal(len(p.Items), err)
				}
			}
		})
	}
}
