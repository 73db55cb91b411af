package firehosetest

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// polite is a reference client: serial, prompt, and obedient. Turning one of
// its virtues off makes it impolite in exactly that respect.
type polite struct {
	rt    http.RoundTripper
	base  string
	token string
	pages bool // walk all pages while page one is new

	polls map[string]*memory
	limit limits
	items map[string]bool
}

// memory is what it keeps per path.
type memory struct {
	tag   string
	due   time.Time
	fails int
	wait  time.Duration
}

// limits is what it keeps per credential.
type limits struct {
	remaining int
	reset     time.Time
	park      time.Time
	strikes   int
}

func newPolite(rt http.RoundTripper, paths ...string) *polite {
	c := &polite{rt: rt, base: "http://api.test", polls: map[string]*memory{}, limit: limits{remaining: 1}}
	for _, p := range paths {
		c.polls[p] = &memory{wait: time.Minute}
	}
	return c
}

// run polls until the context ends.
func (c *polite) run(ctx context.Context) {
	for {
		path, due := c.earliest()
		if !sleep(ctx, time.Until(due)) {
			return
		}
		c.poll(ctx, path)
	}
}

func (c *polite) earliest() (string, time.Time) {
	var best string
	paths := make([]string, 0, len(c.polls))
	for p := range c.polls {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		if best == "" || c.polls[p].due.Before(c.polls[best].due) {
			best = p
		}
	}
	due := c.polls[best].due
	if c.limit.park.After(due) {
		due = c.limit.park
	}
	if c.limit.remaining == 0 && c.limit.reset.After(due) {
		due = c.limit.reset
	}
	return best, due
}

// request makes a conditional request for a path.
func (c *polite) request(ctx context.Context, path string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		panic(err)
	}
	req.Header.Set("User-Agent", "polite")
	req.Header.Set("Accept", "application/vnd.github+json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if m := c.polls[path]; m != nil && m.tag != "" {
		req.Header.Set("If-None-Match", m.tag)
	}
	return req
}

// answer is what came back, with its body read.
type answer struct {
	*http.Response
	received time.Time
	text     string
	err      error
}

func send(rt http.RoundTripper, req *http.Request) answer {
	resp, err := rt.RoundTrip(req)
	a := answer{Response: resp, received: time.Now(), err: err}
	if err != nil {
		return a
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	a.text, a.err = string(text), err
	if len(text) == 1<<20 {
		a.err = io.ErrShortBuffer
	}
	return a
}

func (c *polite) poll(ctx context.Context, path string) answer {
	a := send(c.rt, c.request(ctx, path))
	c.learn(path, a)
	for at := 0; at < 10 && a.err == nil && redirects(a.StatusCode); at++ { // each hop is a request
		to, err := a.Location()
		if err != nil || "http://"+to.Host != c.base {
			break
		}
		hop := c.request(ctx, to.RequestURI())
		if tag := c.polls[path].tag; tag != "" {
			hop.Header.Set("If-None-Match", tag)
		}
		a = send(c.rt, hop)
		c.learn(path, a)
	}
	if c.pages && a.err == nil && a.StatusCode == http.StatusOK {
		for n := 2; n <= 10; n++ {
			next := path + "?page=" + strconv.Itoa(n)
			if !strings.Contains(a.Header.Get("Link"), `rel="next"`) || c.limit.park.After(time.Now()) {
				break
			}
			if c.polls[next] == nil {
				c.polls[next] = &memory{}
			}
			b := send(c.rt, c.request(ctx, next))
			c.learn(next, b)
			c.polls[next].due = time.Now().Add(1e6 * time.Hour) // with its parent only
			if b.err != nil || b.StatusCode != http.StatusOK {
				break
			}
		}
	}
	return a
}

func (c *polite) learn(path string, a answer) {
	m := c.polls[path]
	if a.err != nil {
		m.fail(a.received)
		if a.Response == nil {
			return
		}
	}
	h := a.Header
	if n, err := strconv.Atoi(h.Get("X-Poll-Interval")); err == nil {
		m.wait = time.Duration(n) * time.Second
	}
	date, _ := http.ParseTime(h.Get("Date"))
	if n, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		c.limit.remaining, _ = strconv.Atoi(h.Get("X-RateLimit-Remaining"))
		c.limit.reset = a.received.Add(time.Unix(n, 0).Sub(date))
	}
	retry := a.received
	if n, err := strconv.Atoi(h.Get("Retry-After")); err == nil {
		retry = a.received.Add(time.Duration(n) * time.Second)
	} else if t, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		retry = a.received.Add(t.Sub(date))
	}
	if a.err != nil {
		return
	}
	switch status := a.StatusCode; {
	case status == 200 && strings.HasPrefix(h.Get("Content-Type"), "text/html"):
		m.tag = ""
		m.fail(a.received)
	case status == 200, status == 304:
		m.tag, m.fails, c.limit.strikes = h.Get("ETag"), 0, 0
		m.due = a.received.Add(m.wait)
		c.count(a)
	case redirects(status):
		m.due = a.received.Add(m.wait)
	case status == 403 || status == 429:
		c.limited(m, a, retry)
	default:
		m.fail(a.received)
		if retry.After(m.due) {
			m.due = retry
		}
	}
}

func (c *polite) limited(m *memory, a answer, retry time.Time) {
	switch {
	case retry.After(a.received):
		c.limit.park = retry
	case strings.Contains(a.text, "secondary"):
		c.limit.park = a.received.Add(time.Minute << c.limit.strikes)
		c.limit.strikes++
	case c.limit.remaining == 0:
		c.limit.park = c.limit.reset
	case a.StatusCode == 429:
		m.due = a.received.Add(time.Minute)
	default:
		m.due = a.received.Add(time.Hour)
	}
}

func (m *memory) fail(at time.Time) {
	m.due = at.Add(max(min(time.Second<<m.fails, 5*time.Minute), m.wait))
	m.fails++
}

func (c *polite) count(a answer) {
	if c.items == nil {
		c.items = map[string]bool{}
	}
	for part := range strings.SplitSeq(a.text, `{"id":"`) {
		if id, _, ok := strings.Cut(part, `","type"`); ok {
			c.items[id] = true
		}
	}
}

// wrongs are the counters of impoliteness by name, the zero ones left out.
func wrongs(v Verdict) map[string]int64 {
	all := map[string]int64{
		"early": v.Early, "parked": v.Parked, "overdraft": v.Overdraft, "overlap": v.Overlap,
		"concurrency": v.Concurrency, "bad_validator": v.BadValidator,
		"unconditional": v.Unconditional, "credential_leak": v.CredentialLeak, "stale_token": v.StaleToken, "unknowable": v.Unknowable,
	}
	for name, n := range all {
		if n == 0 {
			delete(all, name)
		}
	}
	return all
}

func requireWrongs(t *testing.T, v Verdict, want map[string]int64) {
	t.Helper()
	require.Equal(t, want, wrongs(v), "%+v", v)
	sum := int64(0)
	for name, n := range want {
		if name != "unknowable" {
			sum += n
		}
	}
	require.Equal(t, sum, v.Impolite)
}

func mustOrigin(t testing.TB, cfg Config) *Origin {
	t.Helper()
	o, err := New(cfg)
	require.NoError(t, err)
	return o
}
