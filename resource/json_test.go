package resource

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestJSON_RoundTrip(t *testing.T) {
	for name, r := range map[string]Resource{"zero": {}, "full": full()} {
		text, err := json.Marshal(r)
		require.NoError(t, err)
		var back Resource
		require.NoError(t, json.Unmarshal(text, &back), name)
		require.Equal(t, r, back, name)
	}
	require.JSONEq(t, `{
		"id": "3f1b3b5c-0000-0000-0000-000000000000",
		"uri": "https://api.example.com/events", "interval": "1m30s", "origin": "https://api.example.com",
		"state": "waiting-for-reset", "why": "secondary rate limit", "rule": "G-13", "why_code": 9,
		"not_before": "2026-01-01T00:00:01Z", "validators": {"etag": "\"x\""}
	}`, func() string {
		id, _ := ParseID("3f1b3b5c-0000-0000-0000-000000000000")
		text, err := json.Marshal(Resource{
			Spec:   Spec{ID: id, URI: "https://api.example.com/events", Interval: 90 * time.Second},
			Origin: "https://api.example.com", State: WaitingForReset, Why: ReasonSecondary,
			NotBefore: at(sec).In(time.FixedZone("elsewhere", 3600)), Validators: Validators{ETag: `"x"`},
		})
		require.NoError(t, err)
		return string(text)
	}())
	embedding := struct {
		Resource
	}{full()}
	text, err := json.Marshal(embedding)
	require.NoError(t, err)
	require.Contains(t, string(text), `"validators"`)
}

func TestJSON_Spec(t *testing.T) {
	s := Spec{ID: DeriveID(ID{}, "x"), URI: "https://a.example/", Interval: 90 * time.Second, Profile: "p", MediaType: "text/html", Priority: 2}
	for _, v := range []any{s, &s} {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		require.JSONEq(t, `{"id":"`+s.ID.String()+`","uri":"https://a.example/","interval":"1m30s","profile":"p","media_type":"text/html","priority":2}`, string(text))
		var back Spec
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, s, back)
	}
	text, err := json.Marshal([]Spec{{URI: "https://a.example/"}})
	require.NoError(t, err)
	require.Equal(t, `[{"uri":"https://a.example/"}]`, string(text))
	for in, want := range map[string]string{
		`{"uri":"x","interval":"-1s"}`:  `resource: interval: "-1s": want a duration of 0 or more, such as 1m30s`,
		`{"uri":"x","interval":"soon"}`: `resource: interval: "soon": want a duration of 0 or more, such as 1m30s`,
		`{"id":"1234"}`:                 `resource: ID: "1234": want 36 characters as in 6ba7b810-9dad-11d1-80b4-00c04fd430c8`,
	} {
		kept := s
		require.EqualError(t, json.Unmarshal([]byte(in), &kept), want)
		require.Equal(t, s, kept)
	}
	require.Error(t, json.Unmarshal([]byte(`{"interval":90}`), &s))
}

func TestJSON_ProfileAndExplanation(t *testing.T) {
	p := Profile{
		Header: header("User-Agent", "mirror/1"), Dialect: "github", Credential: "GITHUB_TOKEN",
		Limit: Limit{100, time.Minute}, Concurrency: 2, Reserve: 50,
	}
	text, err := json.Marshal(p)
	require.NoError(t, err)
	require.JSONEq(t, `{"header":{"User-Agent":["mirror/1"]},"dialect":"github","credential":"GITHUB_TOKEN",
		"limit":{"requests":100,"per":"1m0s"},"concurrency":2,"reserve":50}`, string(text))
	var back Profile
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, p, back)
	text, err = json.Marshal(Profile{})
	require.NoError(t, err)
	require.Equal(t, `{}`, string(text))
	require.EqualError(t, json.Unmarshal([]byte(`{"limit":{"requests":1,"per":"often"}}`), &back),
		`resource: per: "often": want a duration of 0 or more, such as 1m30s`)

	r := full()
	r.Owner, r.NotBefore = Owner{}, time.Time{}
	e := Explain(&r, &Snapshot{Scope: Bucket{Answered: true, Park: at(90 * sec), Why: ReasonSecondary}}, at(0))
	text, err = json.Marshal(e)
	require.NoError(t, err)
	require.JSONEq(t, `{
		"id":"`+r.ID.String()+`","uri":"https://api.example.com/events?per_page=100","state":"waiting-for-reset","kind":"line",
		"until":"2026-01-01T00:01:30Z","wait":"1m30s","why":"secondary rate limit","rule":"G-13","why_code":9,
		"bucket":"GITHUB_TOKEN@https://api.example.com","cause":"because"
	}`, string(text))
	var again Explanation
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, e, again)
	for _, bad := range []string{`{"wait":"long"}`, `{"why_code":200}`, `{"kind":"maybe"}`, `{"state":"odd"}`, `[]`} {
		require.Error(t, json.Unmarshal([]byte(bad), &again), bad)
	}
	for _, bad := range []string{`{"interval":"x"}`, `{"poll_interval":"x"}`, `{"why_code":200}`, `{"owner":"x"}`, `[]`} {
		require.Error(t, json.Unmarshal([]byte(bad), &r), bad)
	}
	for _, bad := range []string{`{"requests":"x"}`, `[]`} {
		require.Error(t, json.Unmarshal([]byte(bad), &p.Limit), bad)
	}
}
