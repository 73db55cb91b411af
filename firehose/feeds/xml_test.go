package feeds

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const rssFixture = `<?xml version="1.0" encoding="UTF-8"?>
<!-- made by hand -->
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:dc="http://purl.org/dc/elements/1.1/"
	xmlns:a10="http://www.w3.org/2005/Atom" xmlns:media="http://search.yahoo.com/mrss/">
<channel>
	<title>News &amp; more</title>
	<link>https://feeds.example.org/</link>
	<managingEditor>desk@example.org (The Desk)</managingEditor>
	<a10:link rel="self" href="https://feeds.example.org/blog/feed"/>
	<a10:link rel="next" href="?format=xml&amp;page=2"/>
	<image><url>https://feeds.example.org/i.png</url><title>x</title></image>
	<item>
		<title><![CDATA[Ampersands & <b>marks</b>]]></title>
		<link>https://feeds.example.org/1</link>
		<guid isPermaLink="false"> tag:example.org,2026:1
		</guid>
		<pubDate>Sat, 01 Aug 2026 12:00:00 +0200</pubDate>
		<description>A &lt;i&gt;short&lt;/i&gt; text&nbsp;here</description>
		<content:encoded><![CDATA[<p>The whole text, with <a href="/x">a link</a></p>]]></content:encoded>
		<dc:creator>Ada</dc:creator>
		<author>ada@example.org</author>
		<category domain="x">one</category><category/><category>  two
			words </category>
		<media:content url="x"><media:title>not the title</media:title></media:content>
	</item>
	<item>
		<title>Dublin Core, and a guid for a link</title>
		<guid>https://feeds.example.org/2</guid>
		<dc:date>2026-08-01T09:30:00Z</dc:date>
		<a10:updated>2026-08-01T10:00:00Z</a10:updated>
	</item>
	<item>
		<title>A guid that was there before</title>
		<guid>https://feeds.example.org/2</guid>
		<pubDate>1 Aug 26 08:00 EDT</pubDate>
	</item>
	<item>
		<title>No guid</title>
		<link>3?x=1</link>
		<description><p>Not escaped</p> &amp; so on</description>
	</item>
	<item><description>Neither guid nor link nor title</description></item>
</channel>
</rss>
`

func TestRSS_APage(t *testing.T) {
	r := answer(rssFixture, "Content-Type", "application/rss+xml")
	p := read(t, RSS(), r)
	require.Equal(t, p, read(t, Auto(), r))
	for i := range r.Body {
		r.Body[i] = 'x' // what was read owns its memory
	}
	require.Zero(t, p.Skipped)
	require.NoError(t, p.Refused)
	require.Equal(t, "https://feeds.example.org/blog/feed?format=xml&page=2", p.Next)
	require.Len(t, p.Items, 5)

	first := p.Items[0]
	require.Equal(t, time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC), first.At)
	raw := string(first.Value.Raw)
	require.True(t, strings.HasPrefix(raw, "<item>\n") && strings.HasSuffix(raw, "</item>"), raw)
	require.Contains(t, raw, "<media:title>not the title</media:title>")
	first.Value.Raw = nil
	require.Equal(t, Entry{
		ID: "tag:example.org,2026:1", Title: "Ampersands & <b>marks</b>", Link: "https://feeds.example.org/1",
		Published: first.At, Author: "Ada", Summary: "A <i>short</i> text\u00a0here",
		Content: `<p>The whole text, with <a href="/x">a link</a></p>`, ContentType: "html", Base: feedURL,
		Categories: []string{"one", "two words"},
	}, first.Value)

	second := p.Items[1].Value
	require.Equal(t, "https://feeds.example.org/2", second.Link)
	require.Equal(t, time.Date(2026, 8, 1, 9, 30, 0, 0, time.UTC), second.Published)
	require.Equal(t, time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC), second.Updated)
	require.Equal(t, "desk@example.org (The Desk)", second.Author, "of the feed")

	require.Equal(t, p.Items[1].ID, p.Items[2].ID, "what the feed repeats, the page repeats")
	require.Equal(t, time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC), p.Items[2].At)

	require.Equal(t, "https://feeds.example.org/blog/3?x=1", p.Items[3].ID)
	require.Equal(t, p.Items[3].ID, p.Items[3].Value.Link)
	require.Equal(t, "<p>Not escaped</p> &amp; so on", p.Items[3].Value.Summary)
	require.Regexp(t, "^sha256:[0-9a-f]{64}$", p.Items[4].ID)
}

func TestRSS_OddShapes(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"the root's own namespace": {`<rss xmlns="urn:x"><channel><item><guid>1</guid><title>T</title></item></channel></rss>`, "1 T "},
		"Atom's as that":           {`<rss xmlns="http://www.w3.org/2005/Atom"><channel><item><guid>1</guid><title>T</title><link href="/l"/></item></channel></rss>`, "1 T https://feeds.example.org/l"},
		"no channel":               {`<rss><item><guid>1</guid><title>T</title></item></rss>`, "1 T "},
		"capitals":                 {`<RSS><Channel><ITEM><GUID>1</GUID><Title>T</Title></ITEM></Channel></RSS>`, "1 T "},
		"no declarations":          {`<rss><channel><item rdf:about="1"><title>T</title><dc:creator>x</dc:creator><atom:link href="/l"/></item></channel></rss>`, "1 T https://feeds.example.org/l"},
		"two of each":              {`<rss><channel><item><guid>1</guid><guid>2</guid><title>T</title><title>U</title><link>/l</link><link>/m</link></item></channel></rss>`, "1 T https://feeds.example.org/l"},
		"no permalink":             {`<rss><channel><item><guid isPermaLink="FALSE">https://x.org/1</guid><title>T</title></item></channel></rss>`, "https://x.org/1 T "},
		"a link that is none":      {`<rss><channel><item><guid>1</guid><title>T</title><link>%zz</link></item></channel></rss>`, "1 T %zz"},
		"xml:base":                 {`<rss xml:base="https://b.example.org/x/"><channel xml:base="y/"><item><guid>1</guid><title>T</title><link xml:base="z/">l</link></item></channel></rss>`, "1 T https://b.example.org/x/y/z/l"},
		"a base that is none":      {`<rss xml:base="%zz"><channel><item><guid>1</guid><title>T</title><link>l</link></item></channel></rss>`, "1 T l"},
		"two declarations":         {`<?xml version="1.0"?><?xml version="1.0" encoding="koi8-r"?><rss><item><guid>1</guid><title>T</title></item></rss>`, "1 T "},
	} {
		p := read(t, RSS(), answer(c.body))
		require.Len(t, p.Items, 1, name)
		e := p.Items[0].Value
		require.Equal(t, c.want, e.ID+" "+e.Title+" "+e.Link, name)
	}
	p := read(t, RSS(), answer(`<rss><item><guid>1</guid><dcterms:modified>2026-08-01</dcterms:modified><dc:format>x</dc:format><atom:rights>x</atom:rights></item></rss>`))
	require.Equal(t, time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC), p.Items[0].At)
}

// TestDocument_RestartsByteByByte: the decoder must not read ahead, or offsets
// would be wrong.
func TestDocument_RestartsByteByByte(t *testing.T) {
	two := func() *twoReaders {
		return &twoReaders{bytes.NewReader([]byte("ab")), bytes.NewReader([]byte("cd"))}
	}
	require.Implements(t, (*io.ByteReader)(nil), two())
	all, err := io.ReadAll(two())
	require.NoError(t, err)
	require.Equal(t, "abcd", string(all))
}

func TestRSS1_ItemsBesideTheChannel(t *testing.T) {
	p := read(t, Auto(), answer(`<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/">
<channel rdf:about="https://feeds.example.org/"><title>x</title><dc:creator>Desk</dc:creator>
<items><rdf:Seq><rdf:li rdf:resource="urn:1"/></rdf:Seq></items></channel>
<item rdf:about="urn:1"><title>One</title><link>/1</link><dc:subject>s</dc:subject><dc:date>2026-08-01</dc:date></item>
<item rdf:about="urn:2"><title>Two</title><link>/2</link></item>
</rdf:RDF>`))
	require.Equal(t, []string{"urn:1", "urn:2"}, ids(p))
	one := p.Items[0].Value
	require.Equal(t, []any{"One", "https://feeds.example.org/1", "Desk", []string{"s"}, time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)},
		[]any{one.Title, one.Link, one.Author, one.Categories, one.Published})
}

const atomFixture = `<?xml version='1.0' encoding='utf-8'?>
<feed xmlns="http://www.w3.org/2005/Atom" xml:base="https://feeds.example.org/a/">
	<title>Example</title><id>urn:feed</id><updated>2026-08-01T12:00:00Z</updated>
	<author><name>Desk</name></author>
	<link rel="self" href="feed"/><link rel="next" href="../blog/feed?page=2"/>
	<entry xml:base="2026/" xml:lang="en">
		<id>urn:uuid:1</id>
		<title type="html">&lt;b&gt;Bold&lt;/b&gt;</title>
		<link rel="enclosure" href="e.mp3"/><link href="one.html"/><link rel="alternate" href="other.html"/>
		<published>2026-08-01T11:00:00.25+02:00</published><updated>2026-08-01T12:00:00Z</updated>
		<author><email>bob@example.org</email><name>Bob</name></author><author><name>Eve</name></author>
		<category term="t" label="Label"/><category term="u"/>
		<summary>Short</summary>
		<content type="xhtml" xml:base="https://cdn.example.org/"><div xmlns="http://www.w3.org/1999/xhtml">
			<p>See <a href="x">this</a> &amp; <em>that</em><br/></p>
		</div></content>
		<source><id>urn:other</id><title>Another feed</title></source>
	</entry>
	<entry><id>urn:uuid:2</id><updated>2026-08-01T10:00:00Z</updated><author><email>carol@example.org</email></author><content>plain &lt;text&gt;</content></entry>
	<entry><id>urn:uuid:3</id><content type="image/png" src="/i.png"/></entry>
</feed>`

func TestAtom_APage(t *testing.T) {
	r := answer(atomFixture, "Content-Type", "text/xml")
	p := read(t, Atom(), r)
	require.Equal(t, p, read(t, Auto(), r))
	require.Equal(t, "https://feeds.example.org/blog/feed?page=2", p.Next)
	require.Equal(t, []string{"urn:uuid:1", "urn:uuid:2", "urn:uuid:3"}, ids(p))
	e := p.Items[0].Value
	e.Raw = nil
	at := time.Date(2026, 8, 1, 9, 0, 0, 250_000_000, time.UTC)
	require.Equal(t, Entry{
		ID: "urn:uuid:1", Title: "<b>Bold</b>", Link: "https://feeds.example.org/a/2026/one.html",
		Published: at, Updated: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC), Author: "Bob", Summary: "Short",
		Content: `<p>See <a href="x">this</a> &amp; <em>that</em><br/></p>`, ContentType: "xhtml", Base: "https://cdn.example.org/",
		Categories: []string{"Label", "u"},
	}, e)
	require.Equal(t, at, p.Items[0].At)
	two, three := p.Items[1].Value, p.Items[2].Value
	require.Equal(t, []any{"carol@example.org", "plain <text>", "text", "https://feeds.example.org/a/"}, []any{two.Author, two.Content, two.ContentType, two.Base})
	require.Equal(t, two.Updated, p.Items[1].At, "where nothing says when it was published")
	require.Equal(t, []any{"Desk", "https://feeds.example.org/i.png", "", ""}, []any{three.Author, three.Link, three.Content, three.ContentType})
}

func TestAtom_OtherShapes(t *testing.T) {
	for name, body := range map[string]string{
		"prefixes":     `<a:feed xmlns:a="http://www.w3.org/2005/Atom"><a:entry><a:id>1</a:id><x:id xmlns:x="urn:x">2</x:id><a:title>T</a:title></a:entry></a:feed>`,
		"Atom 0.3":     `<feed version="0.3" xmlns="http://purl.org/atom/ns#"><entry><id>1</id><title>T</title><issued>2026-08-01T00:00:00Z</issued></entry></feed>`,
		"no namespace": `<feed><entry><id>1</id><title>T</title></entry></feed>`,
		"odd one":      `<feed xmlns="https://www.w3.org/2005/atom"><entry><id>1</id><title>T</title></entry></feed>`,
		"one entry":    `<entry xmlns="http://www.w3.org/2005/Atom"><id>1</id><title>T</title></entry>`,
		"embedded":     `<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>1</id><title>T</title><content type="application/atom+xml"><entry><id>inner</id></entry></content></entry></feed>`,
	} {
		for _, reader := range []string{"Atom", "Auto"} {
			p := read(t, readers()[reader], answer(body))
			require.Equal(t, []string{"1"}, ids(p), name)
			require.Equal(t, "T", p.Items[0].Value.Title, name)
			require.Zero(t, p.Skipped, name)
		}
	}
}

// TestIdentity_SurvivesAnotherSerialisation: the same feed, written by another
// generator, is the same entries.
func TestIdentity_SurvivesAnotherSerialisation(t *testing.T) {
	want := ids(read(t, RSS(), answer(`<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel>
		<item><guid>https://x.org/?a=1&amp;b=2</guid></item>
		<item><link>https://x.org/2</link><title>Two</title></item>
		<item><title>A &amp; B</title><description>&lt;p&gt;x  y&lt;/p&gt;</description><content:encoded>c</content:encoded><pubDate>Sat, 01 Aug 2026 12:00:00 GMT</pubDate></item>
	</channel></rss>`)))
	require.Len(t, want, 3)
	require.Equal(t, want, ids(read(t, RSS(), answer(`<?xml version="1.1" encoding="utf-8"?><rss xmlns:c="http://purl.org/rss/1.0/modules/content/" version='2.0'><channel><item
	><guid  isPermaLink = "true" ><![CDATA[https://x.org/?a=1&b=2]]>
	</guid></item><item><title>Another title</title><link> <![CDATA[https://x.org/2]]> </link></item><item><pubDate>2026-08-01T14:00:00+02:00</pubDate><c:encoded> c
	</c:encoded><description><![CDATA[<p>x
	y</p>]]></description><title>A &#38; B</title></item></channel></rss>`))))
}

// TestIdentity_ALinkThatIsNone: entries of one page that all lead to the same
// place are told apart by what they say, or all but one of them would be lost.
func TestIdentity_ALinkThatIsNone(t *testing.T) {
	p := read(t, RSS(), answer(`<rss><channel>
		<item><link>https://x.org/</link><title>One</title></item>
		<item><link>https://x.org/</link><title>Two</title></item>
		<item><link>https://x.org/</link><guid>3</guid></item>
		<item><link>https://x.org/</link><title>Two</title><pubDate>Sat, 01 Aug 2026 12:00:00 GMT</pubDate></item>
		<item><link>https://x.org/5</link></item>
	</channel></rss>`))
	got := ids(p)
	require.Equal(t, []string{"3", "https://x.org/5"}, []string{got[2], got[4]})
	seen := map[string]bool{}
	for _, id := range got {
		require.False(t, seen[id], id)
		seen[id] = true
	}
	long := "https://x.org/" + strings.Repeat("x", MaxID)
	p = read(t, RSS(), answer(`<rss><channel><item><guid>`+long+`</guid></item><item><guid>`+long+`y</guid></item></channel></rss>`))
	require.Equal(t, []string{hashed(long), hashed(long + "y")}, ids(p))
}

// TestXML_DamageCostsTheBrokenEntryOnly: libraries give up the whole feed for one
// < that was not escaped.
func TestXML_DamageCostsTheBrokenEntryOnly(t *testing.T) {
	good := func(id string) string { return "<item><guid>" + id + "</guid><dc:creator>x</dc:creator></item>" }
	page := func(inside string) string {
		return `<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>t</title>` + good("1") + inside + good("9") + `</channel></rss>`
	}
	deep := strings.Repeat("<x>", maxDepth) + strings.Repeat("</x>", maxDepth)
	for _, c := range []struct {
		name, body string
		ids        string
		skipped    int
	}{
		{"whole", page(good("2")), "1 2 9", 0},
		{"a sign that is none", page("<item><guid>2</guid><title>a < b</title></item>"), "1 9", 1},
		{"two of them", page("<item><title>a < b</title></item>" + good("2") + "<item><title>a < b</title></item>"), "1 2 9", 2},
		{"an & that is none", page("<item><guid>2</guid><title>a & b &unknown; c</title><dc:creator>x</dc:creator></item>"), "1 2 9", 0},
		{"a tag without its end", page("<item><guid>2</guid><title>a<b>c</title><dc:creator>x</dc:creator></item>"), "1 2 9", 0},
		{"an end without its tag", page("<item><title>a</b>c</title><guid>2</guid></item>"), "1 9", 1},
		{"an end without its tag, outside", page("</b>"), "1 9", 0},
		{"an item without its end", page("<item><guid>2</guid>"), "1 9", 1},
		{"an element before without its end", strings.Replace(page(good("2")), "<title>t</title>", "<image><url>x</url>", 1), "1 2 9", 0},
		{"damage before the first", strings.Replace(page(good("2")), "<title>t</title>", "<title>a < b</title>", 1), "1 2 9", 0},
		{"CDATA without its end", page("<item><guid>2</guid><title><![CDATA[x</title></item>"), "1 9", 1},
		{"a comment without its end", page("<!-- x "), "1 9", 0},
		{"an attribute without its end", page(`<item x="><guid>2</guid></item>`), "1 9", 1},
		{"and as the last", page("") + `<item x="`, "1 9", 1},
		{"nested too deeply", page("<item><guid>2</guid>" + deep + "</item>"), "1 9", 1},
		{"cut off inside", strings.TrimSuffix(page(good("2")), "</dc:creator></item></channel></rss>"), "1 2", 1},
		{"cut off behind", strings.TrimSuffix(page(""), "</channel></rss>"), "1 9", 1},
		{"empty items", page("<item/><item></item>"), "1 + + 9", 0},
	} {
		p := read(t, RSS(), answer(c.body))
		got := ids(p)
		for i, id := range got {
			if strings.HasPrefix(id, "sha256:") {
				got[i] = "+"
			} else {
				require.Equal(t, "x", p.Items[i].Value.Author, "%s: namespaces are known behind damage", c.name)
			}
		}
		require.Equal(t, c.ids, strings.Join(got, " "), c.name)
		require.Equal(t, c.skipped, p.Skipped, c.name)
	}
	p := read(t, Atom(), answer(`<a:feed xmlns:a="http://www.w3.org/2005/Atom" xml:base="https://b.example.org/"><a:entry><a:id>1</a:id>< </a:entry><a:entry><a:id>2</a:id><a:link href="x"/></a:entry></a:feed>`))
	require.Equal(t, []string{"2"}, ids(p))
	require.Equal(t, "https://b.example.org/x", p.Items[0].Value.Link)
	require.Equal(t, 1, p.Skipped)
}

// TestXML_HostileBodies: each of them takes memory or time out of proportion, or
// the process, from parsers that trust what they read.
func TestXML_HostileBodies(t *testing.T) {
	item := func(s string) string {
		return `<rss xmlns:a="urn:a"><channel><item><guid>1</guid>` + s + `</item></channel></rss>`
	}
	const n = 20_000
	var namespaces, entities strings.Builder
	for i := range n {
		fmt.Fprintf(&namespaces, `<a:b xmlns:p%d="u%d">`, i, i)
	}
	entities.WriteString(`<!DOCTYPE x [<!ENTITY e0 "lol">`)
	for i := range 9 {
		fmt.Fprintf(&entities, `<!ENTITY e%d "%s">`, i+1, strings.Repeat(fmt.Sprintf("&e%d;", i), 10))
	}
	for name, c := range map[string]struct {
		body  string
		items int
	}{
		"deep elements":       {item(strings.Repeat("<a:b>", n) + strings.Repeat("</a:b>", n)), 0},
		"deep namespaces":     {item(namespaces.String() + strings.Repeat("</a:b>", n)), 0},
		"entities":            {entities.String() + `]>` + item("<title>&e9;</title>"), 1},
		"many pieces of text": {item("<a:t>" + strings.Repeat("x<!-- -->", n) + "</a:t>"), 1},
		"many attributes":     {item("<a:b" + strings.Repeat(` x="1"`, n) + "/>"), 1},
		"broken items":        {strings.Repeat("<rss>", 1) + strings.Repeat("<item><", n), 0},
		"open items":          {"<rss>" + strings.Repeat("<item><![CDATA[", n), 0},
		"a long root":         {`<rss x="` + strings.Repeat("x", n) + `">` + strings.Repeat("<item><", n), 0},
	} {
		p, err := RSS().Read(answer(c.body))
		if c.items == 0 {
			require.ErrorIs(t, err, ErrFormat, name)
			continue
		}
		require.NoError(t, err, name)
		require.Len(t, p.Items, c.items, name)
		require.Less(t, len(p.Items[0].Value.Title), 100, name)
	}
	p := read(t, RSS(), answer("<rss><item><guid>0</guid></item>"+strings.Repeat("<item><![CDATA[", n)))
	require.Equal(t, []string{"0"}, ids(p))
	require.GreaterOrEqual(t, p.Skipped, n, "also those that were not tried any more")

	p = read(t, RSS(), answer("<rss>"+strings.Repeat("<item><guid>1</guid></item>", MaxItems+7)+"</rss>"))
	require.Len(t, p.Items, MaxItems)
	require.Equal(t, 7, p.Skipped)

	p = read(t, RSS(), answer(item(strings.Repeat("<category>c</category>", MaxCategories+1))))
	require.Len(t, p.Items[0].Value.Categories, MaxCategories)
}

func TestXML_OtherBodiesAreNoPage(t *testing.T) {
	for name, body := range map[string]string{
		"empty": "", "a login page": `<!DOCTYPE html><html><body><form>secret-1</form></body></html>`, "text": "secret-1", "another root": "<opml/>",
		"another feed": `<feed xmlns="urn:x"><entry><id>1</id></entry></feed>`, "not opened": "<", "an array": "[]", "nothing in it": "<rss><channel><",
	} {
		for reader, r := range readers() {
			p, err := r.Read(answer(body, "Content-Type", "text/html; charset=utf-8"))
			require.ErrorIs(t, err, ErrFormat, "%s: %s", reader, name)
			require.ErrorContains(t, err, "text/html")
			require.NotContains(t, err.Error(), "secret-1")
			require.Zero(t, p)
		}
	}
	_, err := RSS().Read(answer(atomFixture))
	require.ErrorContains(t, err, `the root element is "feed"`)
	_, err = Atom().Read(answer(rssFixture))
	require.ErrorContains(t, err, `the root element is "rss"`)
	_, err = Atom().Read(answer("<" + strings.Repeat("x", 1000) + "/>"))
	require.Less(t, len(err.Error()), 200)

	p := read(t, Auto(), answer("<rss><channel><title>Nothing yet</title></channel></rss>"))
	require.Empty(t, p.Items)
}

func TestD24_NextPagesOfDocuments(t *testing.T) {
	for _, c := range []struct{ name, href, link, want, refused string }{
		{"in the document", "/p2", "", "https://feeds.example.org/p2", ""},
		{"before the header", "/p2", "</p3>; rel=next", "https://feeds.example.org/p2", ""},
		{"by the header alone", "", "</p3>; rel=next", "https://feeds.example.org/p3", ""},
		{"neither", "", "</p3>; rel=prev", "", ""},
		{"another origin", "https://evil.example.net/p2", "</p3>; rel=next", "", "same origin"},
		{"itself", feedURL, "", "", "another page"},
		{"a script", "javascript:x", "", "", "absolute http"},
	} {
		link := ""
		if c.href != "" {
			link = `<link xmlns="http://www.w3.org/2005/Atom" rel="next" href="` + c.href + `"/>`
		}
		for name, body := range map[string]string{
			"RSS":      `<rss><channel>` + link + `<item><guid>1</guid></item></channel></rss>`,
			"Atom":     `<feed xmlns="http://www.w3.org/2005/Atom">` + link + `<entry><id>1</id></entry></feed>`,
			"JSONFeed": `{"version":"https://jsonfeed.org/version/1","next_url":"` + c.href + `","items":[{"id":"1"}]}`,
		} {
			p := read(t, readers()[name], answer(body, "Link", c.link))
			require.Equal(t, c.want, p.Next, "%s: %s", name, c.name)
			require.Equal(t, []string{"1"}, ids(p))
			if c.refused == "" {
				require.NoError(t, p.Refused, "%s: %s", name, c.name)
			} else {
				require.ErrorContains(t, p.Refused, c.refused, "%s: %s", name, c.name)
			}
		}
	}
	// A base that the document names can't lead elsewhere either.
	p := read(t, Atom(), answer(`<feed xmlns="http://www.w3.org/2005/Atom" xml:base="https://evil.example.net/"><link rel="next" href="p2"/><entry><id>1</id></entry></feed>`))
	require.Empty(t, p.Next)
	require.ErrorContains(t, p.Refused, "same origin")
}
