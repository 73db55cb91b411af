package feeds

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
)

// checkEntries checks what holds for every body, however odd.
func checkEntries(t *testing.T, reader firehose.Reader[Entry], body []byte, contentType, link string) {
	r := answer(string(body), "Content-Type", contentType, "Link", link)
	p, err := reader.Read(r)
	require.Equal(t, string(body), string(r.Body), "the response was changed")
	if err != nil {
		_, charset := errors.AsType[*CharsetError](err)
		require.True(t, charset || errors.Is(err, ErrFormat), err)
		require.Zero(t, p)
		require.Less(t, len(err.Error()), 400)
		return
	}
	checkPage(t, r, &p)
	again, err := reader.Read(r)
	require.NoError(t, err)
	require.Equal(t, p, again, "not pure")
	raw := 0
	for _, item := range p.Items {
		e := item.Value
		raw += len(e.Raw)
		require.NotEmpty(t, e.Raw)
		require.LessOrEqual(t, len(e.Categories), MaxCategories)
		require.Equal(t, e.Content == "", e.ContentType == "")
		for _, text := range []string{e.Title, e.Summary, e.Content, e.Author, string(e.Raw)} {
			require.True(t, utf8.ValidString(text) || contentType == "json")
		}
		for _, at := range []time.Time{item.At, e.Published, e.Updated} {
			_, err := at.MarshalJSON()
			require.NoError(t, err)
			require.Equal(t, time.UTC, at.Location())
		}
	}
	require.LessOrEqual(t, raw, 4*len(body)+64, "entries overlap")
}

func FuzzRSS(f *testing.F) {
	for _, s := range []string{
		rssFixture, atomFixture, `<rdf:RDF xmlns="http://purl.org/rss/1.0/"><item rdf:about="1"/></rdf:RDF>`,
		`<rss><channel><item><title>a < b</title></item><item><guid>2</guid></item></channel></rss>`, `<rss><item>`, `<rss/><item/>`,
		`<rss><item x="></item>`, "\xff\xfe<\x00r\x00", `<?xml version="1.0" encoding="latin1"?><rss><item>` + "\xe9</item></rss>",
	} {
		f.Add([]byte(s), "text/xml; charset=latin1", "</2>; rel=next")
	}
	f.Fuzz(func(t *testing.T, body []byte, contentType, link string) {
		checkEntries(t, RSS(), body, contentType, link)
	})
}

func FuzzAtom(f *testing.F) {
	for _, s := range []string{
		atomFixture, rssFixture, `<a:feed xmlns:a="http://www.w3.org/2005/Atom"><a:entry>< </a:entry><a:entry/></a:feed>`,
		`<entry xmlns="http://www.w3.org/2005/Atom"><content type="xhtml"><div><p>x</div></content></entry>`,
		`<feed xml:base="x"><entry xml:base="//y"><link href="z"/><author><name>n</author></entry>`,
	} {
		f.Add([]byte(s), "application/atom+xml", "")
	}
	f.Fuzz(func(t *testing.T, body []byte, contentType, link string) {
		checkEntries(t, Atom(), body, contentType, link)
	})
}

func FuzzJSONFeed(f *testing.F) {
	for _, s := range []string{jsonFixture, `{"version":"https://jsonfeed.org/version/1","items":[{"id":1},{}],"items":[{"id":"\ud800"}]}`, `{"items":{}}`, `{`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) { checkEntries(t, JSONFeed(), body, "json", "") })
}

func FuzzAuto(f *testing.F) {
	for _, s := range []string{rssFixture, atomFixture, jsonFixture, "[]", "<html>", " ", "\xfe\xff\x00<"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) { checkEntries(t, Auto(), body, "json", "<?2>; rel=next") })
}

func FuzzGitHub(f *testing.F) {
	for _, s := range []string{gitHubPage(2), `[{"id":1,"payload":{}},{"id":"\ud800"},null]`, `{"message":"x"}`, `[{"ID":"1","id":[]}]`, "[", "[]]"} {
		f.Add([]byte(s), "<?page=2>; rel=next")
	}
	f.Fuzz(func(t *testing.T, body []byte, link string) {
		r := gitHubAnswer(string(body), "Link", link)
		p, err := GitHub().Read(r)
		if err != nil {
			require.ErrorIs(t, err, ErrFormat)
			require.Zero(t, p)
			return
		}
		if json.Valid(body) {
			var all []json.RawMessage
			require.NoError(t, json.Unmarshal(body, &all))
			require.Equal(t, len(all), len(p.Items)+p.Skipped, "elements were lost")
		}
		checkPage(t, r, &p)
		for _, item := range p.Items {
			require.True(t, json.Valid(item.Value.Raw))
			require.True(t, item.Value.Payload == nil || json.Valid(item.Value.Payload))
			require.Equal(t, item.ID, item.Value.ID)
		}
	})
}

func FuzzInstant(f *testing.F) {
	for _, s := range []string{"Sat, 01 Aug 2026 12:00:00 GMT", "2026-08-01T12:00:00Z", "1 Aug 26 08:00 EDT", "", ",", "Mon"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at := instant(s)
		if at.IsZero() {
			return
		}
		require.Equal(t, at, instant(at.Format(time.RFC3339Nano)))
	})
}
