package resource

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const page1 = "https://api.example.com/events?per_page=100"

func linkHeader(lines ...string) http.Header { return http.Header{"Link": lines} }

// A comma may stand in a target and in a quoted string, and there may be several
// lines.
//
// Peer go-github-10: of several Link lines the first is read, and cut at every
// comma.
func TestD24_LinksByTheirGrammar(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  []Link
	}{
		{"none", nil, nil},
		{"empty", []string{"", " , ,"}, nil},
		{"as GitHub sends it", []string{`<https://api.example.com/events?page=2>; rel="next", <https://api.example.com/events?page=3>; rel="last"`},
			[]Link{{"https://api.example.com/events?page=2", []string{"next"}}, {"https://api.example.com/events?page=3", []string{"last"}}}},
		{"several lines", []string{`</a>; rel=prev`, `</b>; rel=next`},
			[]Link{{"https://api.example.com/a", []string{"prev"}}, {"https://api.example.com/b", []string{"next"}}}},
		{"commas and semicolons in the target", []string{`</a?x=1,2;3>; rel="next",</b>;rel=last`},
			[]Link{{"https://api.example.com/a?x=1,2;3", []string{"next"}}, {"https://api.example.com/b", []string{"last"}}}},
		{"and in a quoted string", []string{`</a>; title="one, <two>; rel=\"prev\""; rel="next", </b>; rel=last`},
			[]Link{{"https://api.example.com/a", []string{"next"}}, {"https://api.example.com/b", []string{"last"}}}},
		{"a list of relations", []string{`</a>; rel="next  last"`}, []Link{{"https://api.example.com/a", []string{"next", "last"}}}},
		{"unquoted, odd spaces, names in any case", []string{" \t</a> ;  REL = Next ;x"}, []Link{{"https://api.example.com/a", []string{"next"}}}},
		{"the first rel counts", []string{`</a>; rel=prev; rel=next`}, []Link{{"https://api.example.com/a", []string{"prev"}}}},
		{"also if it is empty", []string{`</a>; rel=""; rel=next`}, []Link{{"https://api.example.com/a", nil}}},
		{"also if it has no value", []string{`</a>; rel; rel=next`}, []Link{{"https://api.example.com/a", nil}}},
		{"no rel", []string{`</a>`}, []Link{{"https://api.example.com/a", nil}}},
		{"another name that ends alike", []string{`</a>; xrel=next; rel*=next`}, []Link{{"https://api.example.com/a", nil}}},
		{"an anchor speaks of something else", []string{`</a>; rel=next; anchor="#x", </b>; Anchor=""; rel=next, </c>; rel=next`},
			[]Link{{"https://api.example.com/c", []string{"next"}}}},
		{"relative targets", []string{`<?page=2>; rel=a, <x>; rel=b, <//other.example.net/y>; rel=c, <>; rel=d`},
			[]Link{{"https://api.example.com/events?page=2", []string{"a"}}, {"https://api.example.com/x", []string{"b"}},
				{"https://other.example.net/y", []string{"c"}}, {page1, []string{"d"}}}},
		{"absolute targets as they came", []string{`<HTTPS://API.example.com:443/a/../b?q=%7e>; rel=next`},
			[]Link{{"HTTPS://API.example.com:443/a/../b?q=%7e", []string{"next"}}}},
		{"a target that is no URI", []string{"<https://[::1>; rel=next, <%zz>; rel=next, </a\x00>; rel=next, </ok>; rel=next"},
			[]Link{{"https://api.example.com/ok", []string{"next"}}}},
		{"damage ends its line only", []string{`nonsense; rel=next, </a>; rel=next`, `</b>; rel="next" nonsense, </c>; rel=x`, `</d`, `</e>; rel="last`},
			[]Link{{"https://api.example.com/b", []string{"next"}}, {"https://api.example.com/e", []string{"last"}}}},
		{"an escape without an end", []string{`</a>; rel="ne\xt\`}, []Link{{"https://api.example.com/a", []string{`next\`}}}},
	} {
		require.Equal(t, c.want, Links(linkHeader(c.lines...), page1), c.name)
	}
	require.Nil(t, Links(http.Header{}, page1))
	require.Nil(t, Links(linkHeader("</a>; rel=next"), "https://[::1"), "a base that is none")
	require.Empty(t, Links(linkHeader("</a>; rel=next"), ""), "a relative target without a base")
	require.True(t, (&Link{Rel: []string{"next"}}).Is("NEXT"))
}

func TestD24_LinksAreBounded(t *testing.T) {
	many := strings.Repeat("</a>; rel=x,", 10*MaxLinks)
	require.Len(t, Links(linkHeader(many), page1), MaxLinks)
	require.Len(t, Links(linkHeader(many, many), page1), MaxLinks)

	long := "</a>; rel=prev; title=" + strings.Repeat("x", MaxLinkBytes/2)
	require.Len(t, Links(linkHeader(long, long, "</b>; rel=next"), page1), 1, "the second line is beyond the bound")

	rels := Links(linkHeader(`</a>; rel="`+strings.Repeat("r ", 1000)+`"`), page1)[0].Rel
	require.Len(t, rels, maxLinkRels)
}

// Peer benthos-5: the address of the next page is put together from the message
// before.
func TestG19_NextPageIsTheOneThatTheAnswerNames(t *testing.T) {
	for _, c := range []struct {
		name, base string
		lines      []string
		want       string
	}{
		{"no header", page1, nil, ""},
		{"no next", page1, []string{`</a>; rel=prev`, `</b>; rel=last`}, ""},
		{"one", page1, []string{`</a>; rel=last, <?per_page=100&page=2>; rel="NEXT"`}, "https://api.example.com/events?per_page=100&page=2"},
		{"the first of several", page1, []string{`</a>; rel="prev next"`, `</b>; rel=next`}, "https://api.example.com/a"},
		{"without a fragment", page1, []string{`</a#top>; rel=next`}, "https://api.example.com/a"},
		{"the same origin written out", page1, []string{`<https://API.example.com:443/a>; rel=next`}, "https://API.example.com:443/a"},
		{"relative to what was answered", "http://127.0.0.1:8080/x/y", []string{`<z>; rel=next`}, "http://127.0.0.1:8080/x/z"},
	} {
		uri, err := NextPage(linkHeader(c.lines...), c.base)
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, uri, c.name)
	}
}

func TestD24_NoTokenCrossesAnOrigin(t *testing.T) {
	for name, target := range map[string]string{
		"another host":        "https://evil.example.net/a",
		"without a scheme":    "//evil.example.net/a",
		"a subdomain":         "https://x.api.example.com/a",
		"another port":        "https://api.example.com:8443/a",
		"another scheme":      "http://api.example.com/a",
		"a password":          "https://u:secret@api.example.com/a",
		"a user as host":      "https://api.example.com@evil.example.net/a",
		"no http":             "ftp://api.example.com/a",
		"opaque":              "mailto:someone@example.com",
		"a script":            "javascript:alert(1)",
		"beyond the bound":    "https://api.example.com/" + strings.Repeat("a", MaxURI),
		"too long when whole": "/" + strings.Repeat("a", MaxURI-5),
		"a space":             "https://api.example.com/a b",
		"itself":              page1,
		"itself, relatively":  "",
		"itself, elsewhere":   "#top",
	} {
		uri, err := NextPage(linkHeader("<"+target+">; rel=next, </harmless>; rel=next"), page1)
		require.Empty(t, uri, name)
		field, ok := errors.AsType[*FieldError](err)
		require.True(t, ok, "%s: %v", name, err)
		require.Equal(t, "Next page", field.Field, name)
		require.NotContains(t, err.Error(), "secret", name)
		require.Less(t, len(err.Error()), 300, name)
	}
	_, err := PageURI("not a page", "/a")
	require.Error(t, err)
	_, err = PageURI(page1, "%zz")
	require.ErrorContains(t, err, "RFC 3986")
	uri, err := PageURI(page1, "/a")
	require.NoError(t, err)
	require.Equal(t, "https://api.example.com/a", uri)
}

func FuzzLinks(f *testing.F) {
	for _, s := range []string{
		`<https://api.example.com/events?page=2>; rel="next", <https://api.example.com/events?page=3>; rel="last"`,
		`</a,b;c>;title="x, \"<y>\"";REL=Next;anchor="#a"`, `<?page=2>; rel="next last"` + "\n" + `</b>;rel=prev`, `<`, `</a>;`, `</a>;=`, `</a>; rel="\`, ",,,",
	} {
		f.Add(s, page1)
	}
	f.Fuzz(func(t *testing.T, lines, base string) {
		h := linkHeader(strings.Split(lines, "\n")...)
		links := Links(h, base)
		require.LessOrEqual(t, len(links), MaxLinks)
		for _, l := range links {
			u, err := url.Parse(l.Target)
			require.NoError(t, err)
			require.True(t, u.IsAbs())
			require.LessOrEqual(t, len(l.Rel), maxLinkRels)
		}
		uri, err := NextPage(h, base)
		if err != nil || uri == "" {
			require.Empty(t, uri)
			return
		}
		want, err := Origin(base)
		require.NoError(t, err)
		spec := Spec{URI: uri}
		require.NoError(t, spec.Validate())
		got, err := Origin(uri)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}
