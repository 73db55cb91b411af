package resource

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// epoch is the instant from which tests count: a whole second, as Unix time.
const epoch = 1_767_225_600 // 2026-01-01T00:00:00Z

// at is the instant so long after the epoch.
func at(after time.Duration) time.Time { return time.Unix(epoch, 0).UTC().Add(after) }

// unix is the Unix time in seconds so long after the epoch, as a header has it.
func unix(after time.Duration) string { return strconv.FormatInt(at(after).Unix(), 10) }

// httpDate is the HTTP-date so long after the epoch.
func httpDate(after time.Duration) string { return at(after).Format(http.TimeFormat) }

// header makes a header of names and values in turn.
func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// got is an answer that was received at the epoch, 100 ms after its request.
func got(status int, pairs ...string) *Answer {
	return &Answer{
		Origin: "https://api.example.com", Status: status, Header: header(pairs...),
		Sent: at(-100 * time.Millisecond), Received: at(0), Conditional: status == http.StatusNotModified,
	}
}

// github is an answer of GitHub's with 10 of 5,000 requests left for 1000 s.
func github(status int, pairs ...string) *Answer {
	a := got(status, pairs...)
	a.Origin = GitHubOrigin
	for name, value := range map[string]string{
		"Date": httpDate(0), "X-Ratelimit-Limit": "5000", "X-Ratelimit-Remaining": "10",
		"X-Ratelimit-Reset": unix(1000 * time.Second), "X-Ratelimit-Resource": "core",
	} {
		if a.Header.Get(name) == "" {
			a.Header.Set(name, value)
		}
	}
	return a
}

// without removes headers from an answer.
func without(a *Answer, names ...string) *Answer {
	for _, name := range names {
		a.Header.Del(name)
	}
	return a
}

// body gives an answer the beginning of a body.
func body(a *Answer, text string) *Answer {
	a.Excerpt = []byte(text)
	return a
}

// newborn is a resource that was never asked for.
func newborn(t testing.TB) *Resource {
	t.Helper()
	r, err := New(Spec{URI: "https://api.example.com/events"}, "")
	require.NoError(t, err)
	return &r
}

// poll lets an answer come in.
func poll(r *Resource, a *Answer) (Result, Lesson) {
	var p Parser
	l := p.Lesson(a)
	return p.Apply(r, a, &l), l
}

// quota is the lesson of an ordinary answer.
func quota(remaining int64, reset time.Time) *Lesson {
	return &Lesson{HasQuota: true, Limit: 100, Remaining: remaining, Reset: reset, Window: reset.Round(0)}
}

// known is a bucket with so much left until the instant.
func known(remaining int64, reset time.Time) Bucket {
	var b Bucket
	b.Take()
	b.Settle(quota(remaining, reset), at(-time.Second), at(0), false)
	return b
}
