package feeds

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

const feedURL = "https://feeds.example.org/blog/feed?format=xml"

// answer is a 200 with a body, and headers in pairs.
func answer(body string, headers ...string) *resource.Response {
	r := &resource.Response{URL: feedURL, Status: 200, Outcome: resource.Modified, Body: []byte(body), Header: http.Header{}}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// read reads a page that has to be one, and checks what holds for every page.
func read[T any](t *testing.T, reader firehose.Reader[T], r *resource.Response) firehose.Page[T] {
	t.Helper()
	before := bytes.Clone(r.Body)
	p, err := reader.Read(r)
	require.NoError(t, err)
	require.Equal(t, before, r.Body, "the response was changed")
	checkPage(t, r, &p)
	return p
}

func checkPage[T any](t *testing.T, r *resource.Response, p *firehose.Page[T]) {
	t.Helper()
	require.LessOrEqual(t, len(p.Items), MaxItems)
	require.GreaterOrEqual(t, p.Skipped, 0)
	for _, item := range p.Items {
		require.NotEmpty(t, item.ID)
		require.LessOrEqual(t, len(item.ID), max(MaxID, len("sha256:")+64))
	}
	if p.Next != "" {
		require.NoError(t, p.Refused)
		spec := resource.Spec{URI: p.Next}
		require.NoError(t, spec.Validate())
		to, err := resource.Origin(p.Next)
		require.NoError(t, err)
		from, err := resource.Origin(r.URL)
		require.NoError(t, err)
		require.Equal(t, from, to, "the next page leaves the origin")
	}
}

func ids[T any](p firehose.Page[T]) []string {
	var all []string
	for _, item := range p.Items {
		all = append(all, item.ID)
	}
	return all
}

func readers() map[string]firehose.Reader[Entry] {
	return map[string]firehose.Reader[Entry]{"RSS": RSS(), "Atom": Atom(), "JSONFeed": JSONFeed(), "Auto": Auto()}
}

// gitHubPage is a page of the GitHub events API with n events of about two
// kilobytes each, as they are.
func gitHubPage(n int) string {
	var b strings.Builder
	b.WriteString("[\n")
	for i := range n {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, `  {"id": "%d", "type": "PushEvent",
    "actor": {"id": %d, "login": "user-%d", "display_login": "user-%d", "gravatar_id": "", "url": "https://api.github.com/users/user-%d", "avatar_url": "https://avatars.githubusercontent.com/u/%d?"},
    "repo": {"id": %d, "name": "user-%d/repo", "url": "https://api.github.com/repos/user-%d/repo"},
    "payload": {"repository_id": %d, "push_id": %d, "ref": "refs/heads/main", "head": "%040x", "before": "%040x", "note": %q},
    "public": true, "created_at": "2026-08-01T12:%02d:%02dZ",
    "org": {"id": %d, "login": "org-%d", "gravatar_id": "", "url": "https://api.github.com/orgs/org-%d", "avatar_url": "https://avatars.githubusercontent.com/u/%d?"}}`,
			52_000_000_000-i, i, i, i, i, i, 7*i, i, i, 7*i, i, i, i+1, strings.Repeat("lorem \"ipsum\" ", 80), i/60%60, i%60, i, i, i, i)
	}
	b.WriteString("\n]\n")
	return b.String()
}
