package feeds

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/resource"
)

const gitHubURL = "https://api.github.com/events?per_page=100"

func gitHubAnswer(body string, headers ...string) *resource.Response {
	r := answer(body, headers...)
	r.URL = gitHubURL
	return r
}

func TestGitHub_APage(t *testing.T) {
	body := gitHubPage(100)
	p := read(t, GitHub(), gitHubAnswer(body, "Link", `<https://api.github.com/events?per_page=100&page=2>; rel="next", <https://api.github.com/events?per_page=100&page=3>; rel="last"`))
	require.Len(t, p.Items, 100)
	require.Zero(t, p.Skipped)
	require.Equal(t, "https://api.github.com/events?per_page=100&page=2", p.Next)

	at := time.Date(2026, 8, 1, 12, 1, 1, 0, time.UTC)
	item := p.Items[61]
	require.Equal(t, "51999999939", item.ID)
	require.Equal(t, at, item.At)
	e := item.Value
	require.Equal(t, []any{item.ID, "PushEvent", Party{61, "user-61"}, Party{427, "user-61/repo"}, Party{61, "org-61"}, true, at},
		[]any{e.ID, e.Type, e.Actor, e.Repo, e.Org, e.Public, e.CreatedAt})
	var payload struct {
		Ref string `json:"ref"`
	}
	require.NoError(t, json.Unmarshal(e.Payload, &payload))
	require.Equal(t, "refs/heads/main", payload.Ref)
}

// TestE10_BytesAreKeptAndOwned: what is kept is what came, and it does not change
// when somebody writes over the body.
func TestE10_BytesAreKeptAndOwned(t *testing.T) {
	const one = `{"id":"1", "payload": {"a" :1.50,  "b":"\u00e9"},"new_field":[ ] }`
	r := gitHubAnswer("[ " + one + " ]")
	p := read(t, GitHub(), r)
	for i := range r.Body {
		r.Body[i] = 'x'
	}
	require.Equal(t, one, string(p.Items[0].Value.Raw))
	require.Equal(t, `{"a" :1.50,  "b":"\u00e9"}`, string(p.Items[0].Value.Payload))
	require.Equal(t, "1", p.Items[0].ID)
}

func TestE10_MissingAndOddFieldsAreNoError(t *testing.T) {
	p := read(t, GitHub(), gitHubAnswer(`[
		{"id": "1"},
		{"id": "2", "type": null, "actor": null, "repo": null, "org": null, "public": null, "created_at": null, "payload": null},
		{"id": "3", "type": 7, "actor": "x", "repo": [1], "org": 5, "public": "yes", "created_at": 12, "payload": 3},
		{"id": "4", "actor": {"id": "12", "login": 3}, "repo": {"id": 1.5, "name": "a/b"}, "org": {"id": 99999999999999999999}, "created_at": "yesterday", "type": "ForkEvent"}
	]`))
	require.Zero(t, p.Skipped)
	require.Equal(t, []string{"1", "2", "3", "4"}, ids(p))
	require.Equal(t, Event{ID: "2", Raw: p.Items[1].Value.Raw}, p.Items[1].Value)
	require.Equal(t, Event{ID: "3", Raw: p.Items[2].Value.Raw, Payload: json.RawMessage("3")}, p.Items[2].Value)
	require.Equal(t, Event{ID: "4", Type: "ForkEvent", Actor: Party{ID: 12}, Repo: Party{Name: "a/b"}, Raw: p.Items[3].Value.Raw}, p.Items[3].Value)
}

func TestE4_IdsAreTexts(t *testing.T) {
	long := strings.Repeat("9", MaxID+1)
	p := read(t, GitHub(), gitHubAnswer(`[{"id":"0012"},{"id":12},{"id":"12"},{"id":18446744073709551616},{"id":" x "},{"id":-3},{"id":"`+long+`"},{"id":"12"}]`))
	require.Equal(t, []string{"0012", "12", "12", "18446744073709551616", "x", "-3", hashed(long), "12"}, ids(p), "repeated as the page repeats")
	require.Zero(t, p.Skipped)
}

func TestGitHub_WithoutAnIdIsSkipped(t *testing.T) {
	p := read(t, GitHub(), gitHubAnswer(`[{"id":"1"},{},{"id":null},{"id":""},{"id":"  "},{"id":1.0},{"id":1e3},{"id":{}},{"id":[1]},{"id":true},null,7,"x",[],[{"id":"2"}],{"id":"3"}]`))
	require.Equal(t, []string{"1", "3"}, ids(p))
	require.Equal(t, 14, p.Skipped)
}

// TestGitHub_DamageCostsTheBrokenEventOnly: an array that was not cut off tells
// its elements apart, whatever is in one of them.
func TestGitHub_DamageCostsTheBrokenEventOnly(t *testing.T) {
	deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
	for name, element := range map[string]string{
		"a bad word": `{"id":tru}`, "no comma": `{"id":"2"} {"id":"3"}`, "nothing": ` `, "brackets that don't match": `{"id":"2","x":[}}`,
		"nested too deeply": `{"id":"2","payload":` + deep + `}`, "an escape that is none": `{"id":"2\q"}`, "no name": `{"id":"2",}`,
	} {
		p := read(t, GitHub(), gitHubAnswer(`[{"id":"1","x":"\\\"],["} , `+element+`,{"id":"9","x":"\\"}]`))
		require.Equal(t, []string{"1", "9"}, ids(p), name)
		require.Equal(t, 1, p.Skipped, name)
	}
}

func TestGitHub_EmptyPageIsAPage(t *testing.T) {
	for _, body := range []string{"[]", " [ ] \n", "\xef\xbb\xbf[]"} {
		p := read(t, GitHub(), gitHubAnswer(body))
		require.Empty(t, p.Items)
		require.Empty(t, p.Next)
		require.NoError(t, p.Refused)
	}
}

// TestD16_RejectionsAreNoPage: a peer handed the object of a rejection to the
// parser of events, and asked again in less than a second.
func TestD16_RejectionsAreNoPage(t *testing.T) {
	const rejection = `{"message":"API rate limit exceeded, token ghx-1","documentation_url":"https://docs.github.com"}`
	for name, body := range map[string]string{
		"a rejection": rejection, "empty": "", "spaces": "  ", "null": "null", "a text": `"x"`, "a login page": "<html></html>",
		"cut off": `[{"id":"1"},{"id":"2"`, "cut off between": `[{"id":"1"},`, "not closed": `[{"id":"1"}`, "in a text": `[{"id":"1"},{"id":"2\"]`,
		"more behind": `[{"id":"1"}] [`, "closed twice": `[]]`, "a bracket": "[",
	} {
		p, err := GitHub().Read(gitHubAnswer(body, "Content-Type", "application/json; charset=utf-8"))
		require.ErrorIs(t, err, ErrFormat, name)
		require.ErrorContains(t, err, "GitHub events", name)
		require.ErrorContains(t, err, "application/json", name)
		require.NotContains(t, err.Error(), "ghx-1", name)
		require.Zero(t, p, name)
	}
	for _, status := range []int{0, 199, 300, 304, 403, 429, 500} {
		r := gitHubAnswer(`[{"id":"1"}]`)
		r.Status = status
		_, err := GitHub().Read(r)
		require.ErrorIs(t, err, ErrStatus)
		for name, reader := range readers() {
			_, err := reader.Read(r)
			require.ErrorIs(t, err, ErrStatus, name)
		}
	}
}

func TestGitHub_NextPageStaysInItsOrigin(t *testing.T) {
	p := read(t, GitHub(), gitHubAnswer(`[{"id":"1"}]`, "Link", `<https://evil.example.net/events?page=2>; rel="next"`))
	require.Equal(t, []string{"1"}, ids(p), "what was shown is not lost by it")
	require.Empty(t, p.Next)
	require.ErrorContains(t, p.Refused, "same origin")
}

func TestGitHub_EntriesBeyondTheBoundAreCounted(t *testing.T) {
	p := read(t, GitHub(), gitHubAnswer(`[{"id":"1"}`+strings.Repeat(`,{"id":"1"}`, MaxItems+4)+`]`))
	require.Len(t, p.Items, MaxItems)
	require.Equal(t, 5, p.Skipped)
}
