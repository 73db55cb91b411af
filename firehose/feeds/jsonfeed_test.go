package feeds

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const jsonFixture = `{
	"version": "https://jsonfeed.org/version/1.1",
	"items": [
		{
			"id": "https://feeds.example.org/1", "url": "/1", "external_url": "https://other.example.net/", "title": " One ",
			"content_html": "<p>Hi</p>", "content_text": "Hi", "summary": "Short", "image": "x.png",
			"date_published": "2026-08-01T14:00:00+02:00", "date_modified": "2026-08-02T00:00:00Z",
			"authors": [{}, {"name": "Ada", "url": "https://ada.example.org"}], "author": {"name": "Old"}, "tags": ["a", 7, "", "b"],
			"attachments": [{"url": "x", "mime_type": "y", "size_in_bytes": 3.5}], "_extension": {"x": [1]}
		},
		{"id": 2, "content_text": "Text", "author": {"url": "https://eve.example.org"}},
		{"url": "https://feeds.example.org/3", "authors": "none", "tags": "none", "date_published": 5, "title": ["x"]},
		{"content_text": "Neither id nor url"},
		null, "x", [1], 5,
		{"id": {"x": 1}, "external_url": "https://other.example.net/5"}
	],
	"title": "Example", "authors": [{"name": "Desk"}], "next_url": "https://feeds.example.org/page/2"
}
`

func TestJSONFeed_APage(t *testing.T) {
	r := answer(jsonFixture, "Content-Type", "application/feed+json")
	p := read(t, JSONFeed(), r)
	require.Equal(t, p, read(t, Auto(), r))
	for i := range r.Body {
		r.Body[i] = 'x' // what was read owns its memory
	}
	require.Equal(t, 4, p.Skipped)
	require.Equal(t, "https://feeds.example.org/page/2", p.Next)
	require.Len(t, p.Items, 5)

	e := p.Items[0].Value
	require.True(t, strings.HasPrefix(string(e.Raw), `{`) && strings.HasSuffix(string(e.Raw), `}`), "%s", e.Raw)
	require.Contains(t, string(e.Raw), `"size_in_bytes": 3.5`)
	e.Raw = nil
	at := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	require.Equal(t, Entry{
		ID: "https://feeds.example.org/1", Title: "One", Link: "https://feeds.example.org/1", Published: at,
		Updated: time.Date(2026, 8, 2, 0, 0, 0, 0, time.UTC), Author: "Ada", Summary: "Short", Content: "<p>Hi</p>", ContentType: "html",
		Base: feedURL, Categories: []string{"a", "b"},
	}, e)
	require.Equal(t, at, p.Items[0].At)

	two, three := p.Items[1].Value, p.Items[2].Value
	require.Equal(t, []string{"2", "https://eve.example.org", "Text", "text"}, []string{two.ID, two.Author, two.Content, two.ContentType})
	require.Equal(t, []string{"https://feeds.example.org/3", "Desk", ""}, []string{three.ID, three.Author, three.Title})
	require.Empty(t, three.Categories)
	require.Zero(t, p.Items[2].At)
	require.Regexp(t, "^sha256:", p.Items[3].ID)
	require.Equal(t, "https://other.example.net/5", p.Items[4].ID)
}

func TestJSONFeed_OtherBodiesAreNoPage(t *testing.T) {
	const begin = `{"version":"https://jsonfeed.org/version/1","items":`
	for name, body := range map[string]string{
		"a rejection":       `{"message":"Not Found"}`,
		"another API":       `{"total_count":1,"items":[{"id":1}]}`,
		"a later version":   `{"version":"https://jsonfeed.org/version/2","items":[]}`,
		"a version of 5":    `{"version":5,"items":[]}`,
		"no items":          `{"version":"https://jsonfeed.org/version/1"}`,
		"items of no array": begin + `{"id":1}}`,
		"items of null":     begin + `null}`,
		"cut off":           begin + `[{"id":1}`,
		"cut off behind":    begin + `[{"id":1}]`,
		"cut off before":    begin,
		"cut off in a name": `{"version`,
		"damaged":           begin + `[{"id":1},{"id":}]}`,
		"damaged elsewhere": `{"title":tru,"items":[]}`,
		"more behind":       begin + `[]} {`,
		"a number as name":  `{5:1}`,
	} {
		for _, reader := range []string{"JSONFeed", "Auto"} {
			p, err := readers()[reader].Read(answer(body))
			require.ErrorIs(t, err, ErrFormat, name)
			require.ErrorContains(t, err, "no media type", name)
			require.Zero(t, p, name)
		}
	}
	p := read(t, Auto(), answer("\xef\xbb\xbf \n"+begin+`[]}`))
	require.Empty(t, p.Items)
}

func TestJSONFeed_EntriesBeyondTheBoundAreCounted(t *testing.T) {
	tags := `"t"` + strings.Repeat(`,"t"`, MaxCategories)
	p := read(t, JSONFeed(), answer(`{"version":"https://jsonfeed.org/version/1","items":[{"id":"1","tags":[`+tags+`]}`+strings.Repeat(`,{"id":"1"}`, MaxItems+4)+`]}`))
	require.Len(t, p.Items, MaxItems)
	require.Equal(t, 5, p.Skipped)
	require.Len(t, p.Items[0].Value.Categories, MaxCategories)
}
