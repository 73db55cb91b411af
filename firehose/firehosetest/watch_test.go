package firehosetest

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// canned answers in turn, the last one for ever.
type canned struct {
	answers []http.Response
	body    string
	next    int
}

func (c *canned) RoundTrip(req *http.Request) (*http.Response, error) {
	resp := c.answers[min(c.next, len(c.answers)-1)]
	c.next++
	if resp.StatusCode == 0 {
		return nil, errors.New("no connection")
	}
	resp.ContentLength = -1
	resp.Body = io.NopCloser(strings.NewReader(c.body))
	return &resp, nil
}

func says(status int, pairs ...string) http.Response {
	resp := http.Response{StatusCode: status, Header: http.Header{}}
	for i := 0; i < len(pairs); i += 2 {
		resp.Header.Set(pairs[i], pairs[i+1])
	}
	return resp
}

// A Watcher reads any origin's answers. Each case asks twice, the given time
// apart; the second request is impolite or not.
func TestWatcherReads(t *testing.T) {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of a bubble
	date := func(after time.Duration) string { return start.Add(after).Format(http.TimeFormat) }
	epoch := func(after time.Duration) string { return strconv.FormatInt(start.Add(after).Unix(), 10) }
	tests := []struct {
		name string
		told http.Response
		body string
		wait time.Duration
		want map[string]int64
	}{
		{name: "nothing", told: says(200), want: map[string]int64{}},
		{name: "G-1", told: says(200, "X-Poll-Interval", "9"), wait: 8 * time.Second, want: map[string]int64{"early": 1}},
		{name: "G-1 over", told: says(200, "X-Poll-Interval", "9"), wait: 9 * time.Second, want: map[string]int64{}},
		{name: "G-1 nonsense", told: says(200, "X-Poll-Interval", "-9"), want: map[string]int64{}},
		{name: "C-5 max-age is a floor, not a rule", told: says(200, "Cache-Control", `private, max-age="60"`, "Age", "7"), want: map[string]int64{}},
		{name: "H-1 seconds", told: says(503, "Retry-After", "120"), wait: 119 * time.Second, want: map[string]int64{"early": 1}},
		{name: "H-1 saturates", told: says(503, "Retry-After", "99999999999999999999"), wait: time.Second, want: map[string]int64{}},
		{name: "H-4 date", told: says(503, "Retry-After", date(2*time.Hour+90*time.Second), "Date", date(2*time.Hour)), wait: 80 * time.Second, want: map[string]int64{"early": 1}},
		{name: "H-4 date over", told: says(503, "Retry-After", date(2*time.Hour+90*time.Second), "Date", date(2*time.Hour)), wait: 90 * time.Second, want: map[string]int64{}},
		{name: "H-1 date without Date", told: says(503, "Retry-After", date(90*time.Second)), wait: 80 * time.Second, want: map[string]int64{"early": 1}},
		{name: "S-429 a minute", told: says(429), wait: 59 * time.Second, want: map[string]int64{"early": 1}},
		{name: "S-500 a second", told: says(500), wait: 999 * time.Millisecond, want: map[string]int64{"early": 1}},
		{name: "G-15 refused", told: says(403), wait: time.Second, want: map[string]int64{}},
		{name: "G-12", told: says(403, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", epoch(time.Hour), "Date", date(0)), wait: 59 * time.Minute, want: map[string]int64{"parked": 1}},
		{name: "G-12 over", told: says(403, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", epoch(time.Hour), "Date", date(0)), wait: time.Hour, want: map[string]int64{}},
		{name: "G-7", told: says(200, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", epoch(time.Hour)), wait: time.Minute, want: map[string]int64{"overdraft": 1}},
		{name: "G-13 by Retry-After", told: says(403, "Retry-After", "30"), wait: 29 * time.Second, want: map[string]int64{"parked": 1}},
		{name: "G-14 by message", told: says(403), body: "You have exceeded a Secondary Rate Limit.", wait: 59 * time.Second, want: map[string]int64{"parked": 1}},
		{name: "G-14 by link", told: says(429), body: `{"documentation_url":"x#abuse-rate-limits"}`, wait: 59 * time.Second, want: map[string]int64{"parked": 1}},
		{name: "G-13 by reset", told: says(403, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", epoch(time.Hour)), body: "secondary rate limit", wait: 59 * time.Minute, want: map[string]int64{"parked": 1}},
		{name: "H-6", told: says(200, "ETag", `"x"`), want: map[string]int64{"unconditional": 1}},
		{name: "H-10", told: says(200), want: map[string]int64{}},
		{name: "S-net", told: http.Response{}, wait: 999 * time.Millisecond, want: map[string]int64{"early": 1}},
		{name: "S-301", told: says(301, "Location", "/x"), want: map[string]int64{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := Watch(&canned{answers: []http.Response{test.told, says(200)}, body: test.body})
				for range 2 {
					req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://other.test/x?page=1", nil)
					require.NoError(t, err)
					a := send(w, req)
					if a.err == nil && w.Verdict().Requests == 1 {
						require.Equal(t, test.body, a.text)
						time.Sleep(test.wait)
					} else if a.err != nil {
						time.Sleep(test.wait)
					}
				}
				requireWrongs(t, w.Verdict(), test.want)
			})
		})
	}
}

func TestWatcherValidators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &canned{answers: []http.Response{says(200, "ETag", `W/"1"`)}}
		w := Watch(net)
		ask := func(tags ...string) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://other.test/", nil)
			require.NoError(t, err)
			req.Header["If-None-Match"] = tags
			send(w, req)
		}
		ask(`"brought along"`)
		ask(`W/"1"`)
		ask(`"brought along"`, `W/"1"`)
		require.Zero(t, w.Verdict().BadValidator)
		ask(`"1"`)
		ask(`1`)
		ask(``)
		require.EqualValues(t, 3, w.Verdict().BadValidator)
		for i := range 20 {
			net.answers[0] = says(200, "ETag", strconv.Quote(strconv.Itoa(i)))
			ask(`W/"1"`)
		}
		require.EqualValues(t, 3, w.Verdict().BadValidator, "forgotten tags are not judged")
	})
}

// The client sees errors and bodies as they are.
func TestWatcherIsTransparent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := mustOrigin(t, Config{Timelines: 5})
		w := Watch(o.RoundTripper())
		c := newPolite(w, o.Paths()...)
		for i, s := range []Step{{Kind: Reset}, {Kind: Truncate}, {Kind: Endless}, {Kind: Secondary}, {}} {
			require.NoError(t, o.Script(o.Paths()[i], s))
			a := send(w, c.request(t.Context(), o.Paths()[i]))
			require.Equal(t, i < 3, a.err != nil)
			time.Sleep(time.Minute)
		}
		requireWrongs(t, w.Verdict(), map[string]int64{})
		require.Zero(t, flying(o))
		w.mu.Lock()
		require.Empty(t, w.flights)
		w.mu.Unlock()
	})
	require.Equal(t, http.DefaultTransport, Watch(nil).next)

	broken := failingReader{io.ErrClosedPipe}
	resp := &http.Response{StatusCode: 403, Body: io.NopCloser(io.MultiReader(strings.NewReader("secondary rate limit"), broken))}
	require.True(t, peekNotice(resp))
	text, err := io.ReadAll(resp.Body)
	require.Equal(t, "secondary rate limit", string(text))
	require.ErrorIs(t, err, io.ErrClosedPipe)
}
