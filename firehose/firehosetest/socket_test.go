package firehosetest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// serve starts an origin on a loopback socket.
func serve(t *testing.T, cfg Config) (*Origin, string, *http.Transport) {
	t.Helper()
	o := mustOrigin(t, cfg)
	server := httptest.NewServer(o)
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
	return o, server.URL, transport
}

// polls and nothing else is what most of these tests are about, so they send
// no poll interval and need not wait.
func unpaced(t *testing.T, o *Origin) {
	t.Helper()
	require.NoError(t, o.SetPollInterval(0))
}

// No false alarm on a real socket: serial per resource, as fast as it goes,
// eight resources at once.
func TestSocketRaisesNoFalseAlarm(t *testing.T) {
	t.Parallel()
	o, base, transport := serve(t, Config{Timelines: 8, Limit: 1e9, Rate: 50, Seed: 5})
	unpaced(t, o)
	w := Watch(transport)
	var wg sync.WaitGroup
	for i, path := range o.Paths() {
		wg.Go(func() {
			c := newPolite(w, path)
			c.base, c.token = base, []string{"", "a"}[i%2]
			for range 300 {
				if a := c.poll(t.Context(), path); a.err != nil {
					t.Error(a.err)
				}
			}
			if len(c.items) < 30 {
				t.Error("too few items")
			}
		})
	}
	wg.Wait()
	for name, v := range map[string]Verdict{"origin": o.Verdict(), "watcher": w.Verdict()} {
		requireWrongs(t, v, map[string]int64{})
		require.EqualValues(t, 2400, v.Polls, name)
		require.GreaterOrEqual(t, v.Modified, int64(8), name)
		require.Greater(t, v.NotModified, int64(0), name)
		require.EqualValues(t, 2400, v.Modified+v.NotModified, name)
	}
}

// The polite client of the bubbles is polite on a socket too, with no
// tolerance at all.
func TestSocketPoliteClient(t *testing.T) {
	t.Parallel()
	o, base, transport := serve(t, Config{Timelines: 20, Limit: 1e9, PollInterval: time.Second, Rate: 0.5})
	c := newPolite(transport, o.Paths()...)
	c.base, c.token = base, "a"
	ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
	defer cancel()
	c.run(ctx)
	v := o.Verdict()
	t.Logf("%+v", v)
	requireWrongs(t, v, map[string]int64{})
	require.GreaterOrEqual(t, v.Polls, int64(20)) // how prompt it is, the bubbles judge: they have the machine to themselves
	require.GreaterOrEqual(t, v.Items, int64(len(c.items)), "the last answer may be cut by the end of the test")
}

func TestSocketImpoliteClients(t *testing.T) {
	t.Run("early", func(t *testing.T) {
		o, base, transport := serve(t, Config{})
		w := Watch(transport)
		c := newPolite(w, path0)
		c.base = base
		for range 3 {
			require.NoError(t, c.poll(t.Context(), path0).err)
		}
		requireWrongs(t, o.Verdict(), map[string]int64{"early": 2})
		requireWrongs(t, w.Verdict(), map[string]int64{"early": 2})
	})
	t.Run("overlap", func(t *testing.T) {
		o, base, transport := serve(t, Config{Faults: []Fault{{1, Step{Kind: Slow, Delay: 100 * time.Millisecond}}}})
		c := newPolite(transport, path0)
		c.base = base
		c.at(t, path0, path0, path0)
		requireWrongs(t, o.Verdict(), map[string]int64{"overlap": 2})
	})
	t.Run("credential_leak", func(t *testing.T) {
		o, base, transport := serve(t, Config{Timelines: 2})
		require.NoError(t, o.Script(path0, Step{Kind: Redirect, Location: Elsewhere}))
		require.NoError(t, o.Script("/timelines/1/events", Step{Kind: Redirect, Location: Elsewhere}))
		client := &http.Client{Transport: transport}
		c := newPolite(nil)
		c.base, c.token = base, "a"
		ask := func(path string) {
			resp, err := client.Do(c.request(t.Context(), path))
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, 200, resp.StatusCode)
			require.Equal(t, "localhost", resp.Request.URL.Hostname())
		}
		ask(path0) // net/http takes the credential away
		requireWrongs(t, o.Verdict(), map[string]int64{})
		client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
			req.Header.Set("Authorization", via[0].Header.Get("Authorization"))
			return nil
		}
		ask("/timelines/1/events")
		requireWrongs(t, o.Verdict(), map[string]int64{"credential_leak": 1})
	})
}

func TestSocketFaults(t *testing.T) {
	t.Parallel()
	o, base, transport := serve(t, Config{Timelines: 6})
	c := newPolite(transport, o.Paths()...)
	c.base = base
	for i, kind := range []Kind{Reset, Truncate, Endless, Huge, Slow, LoginPage} {
		path := o.Paths()[i]
		require.NoError(t, o.Script(path, Step{Kind: kind, Delay: time.Duration(i/4) * time.Hour}))
		ctx, cancel := context.WithCancel(t.Context())
		if i >= 4 {
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		}
		a := send(transport, c.request(ctx, path))
		cancel()
		require.Error(t, a.err, "%d", kind)
	}
	transport.CloseIdleConnections()
	for o.Verdict().MaxInFlight > 0 && flying(o) > 0 {
		if !sleep(t.Context(), time.Millisecond) {
			t.Fatal("answers stay in flight")
		}
	}
	v := o.Verdict()
	require.Zero(t, v.Modified)
	requireWrongs(t, v, map[string]int64{})
}

func flying(o *Origin) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.flights)
}

func TestSocketOracle(t *testing.T) {
	o, base, transport := serve(t, Config{})
	ask := func(method, path, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		require.NoError(t, err)
		a := send(transport, req)
		require.NoError(t, a.err)
		return a.StatusCode, a.text
	}
	status, text := ask("GET", "/_oracle", "")
	require.Equal(t, 200, status)
	var v Verdict
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	require.Equal(t, Verdict{}, v)
	for _, name := range []string{"polls", "permitted", "not_modified", "late_p99_ms", "in_flight_at_kills", "lost_items"} {
		require.Contains(t, text, `"`+name+`":`)
	}
	status, _ = ask("POST", "/_oracle/killed", "")
	require.Equal(t, 200, status)
	status, _ = ask("POST", "/_oracle/killed?at=2026-01-02T03:04:05.6Z", "")
	require.Equal(t, 200, status)
	status, text = ask("POST", "/_oracle/killed?at=noon", "")
	require.Equal(t, 400, status)
	require.Contains(t, text, "RFC 3339")
	status, _ = ask("POST", "/_oracle/published", "10000000001\n\n 10000000003 \n10000000001")
	require.Equal(t, 200, status)
	status, text = ask("POST", "/_oracle/published", strings.Repeat("1", 1<<17))
	require.Equal(t, 400, status)
	require.Contains(t, text, "too long")
	status, _ = ask("DELETE", "/_oracle", "")
	require.Equal(t, 404, status)
	v = o.Verdict()
	require.EqualValues(t, 2, v.Kills)
	require.EqualValues(t, 3, v.Published)
	require.EqualValues(t, 1, v.Duplicates)
	require.Zero(t, v.Requests)

	// The same without a socket.
	a := get(t, o, "/_oracle")
	require.NoError(t, json.Unmarshal([]byte(a.text), &v))
	require.EqualValues(t, 2, v.Kills)
	require.Equal(t, 404, get(t, o, "/_oracle/stop").StatusCode)
}

// record answers one request as on a socket, in virtual time.
func record(t *testing.T, o *Origin, path string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	req.Header.Set("User-Agent", "x")
	rec := httptest.NewRecorder()
	o.ServeHTTP(rec, req)
	return rec
}

// What another connection was told counts only once it has settled; what the
// resource itself was told, at once; and a serial client knows everything.
func TestSettle(t *testing.T) {
	for name, test := range map[string]struct {
		cap  int
		wait time.Duration
		path string
		want map[string]int64
	}{
		"other resource, at once":       {100, 0, "/timelines/1/events", map[string]int64{}},
		"other resource, 249 ms later":  {100, 249 * time.Millisecond, "/timelines/1/events", map[string]int64{}},
		"other resource, 250 ms later":  {100, 250 * time.Millisecond, "/timelines/1/events", map[string]int64{"parked": 1}},
		"same resource, at once":        {100, 0, path0, map[string]int64{"parked": 1}},
		"serial, other resource":        {1, 0, "/timelines/1/events", map[string]int64{"parked": 1}},
		"other resource, park is over":  {100, time.Minute, "/timelines/1/events", map[string]int64{}},
		"other resource, just not over": {100, time.Minute - 1, "/timelines/1/events", map[string]int64{"parked": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, Config{Timelines: 2, Concurrency: test.cap}, func(t *testing.T, o *Origin) {
				require.NoError(t, o.Script(path0, Step{Kind: Secondary}))
				require.Equal(t, 403, record(t, o, path0).Code)
				time.Sleep(test.wait)
				record(t, o, test.path)
				requireWrongs(t, o.Verdict(), test.want)
			})
		})
	}
}

// failing is a connection that dies at its last byte.
type failing struct {
	*httptest.ResponseRecorder
	cancel func()
}

func (f failing) FlushError() error { f.cancel(); return io.ErrClosedPipe }

// An answer of which the last byte could not be written was not told.
func TestSocketRevokes(t *testing.T) {
	for _, step := range []Step{{}, {Kind: Secondary}, {Kind: Status, Status: 204}} {
		in(t, Config{Limit: 1, Timelines: 2}, func(t *testing.T, o *Origin) {
			require.NoError(t, o.Script(path0, step))
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path0, nil)
			req.Header.Set("User-Agent", "x")
			o.ServeHTTP(failing{httptest.NewRecorder(), func() {}}, req)
			time.Sleep(time.Second)
			record(t, o, path0)
			require.Zero(t, o.Verdict().Impolite)
			require.EqualValues(t, 1, o.Verdict().Unknowable)
		})
	}
}

// Without a connection to take over, a reset is net/http's way to abort.
func TestResetWithoutConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := mustOrigin(t, Config{})
		require.NoError(t, o.Script(path0, Step{Kind: Reset}))
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { record(t, o, path0) })
	})
}

// A client that gives a request up and goes on is not accused because the
// origin is slow to notice; one that did not give it up is.
func TestSocketGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		cap    int
		second string
		notice time.Duration // from the second request until the first is seen to be given up
		want   map[string]int64
	}{
		"overlap, seen at once":       {100, path0, time.Millisecond, map[string]int64{}},
		"overlap, seen too late":      {100, path0, time.Second, map[string]int64{"overlap": 1}},
		"overlap, never":              {100, path0, time.Hour, map[string]int64{"overlap": 1}},
		"concurrency, seen at once":   {1, "/timelines/1/events", time.Millisecond, map[string]int64{}},
		"concurrency, seen too late":  {1, "/timelines/1/events", time.Second, map[string]int64{"concurrency": 1}},
		"concurrency, room after all": {2, "/timelines/1/events", time.Second, map[string]int64{}},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, Config{Timelines: 2, Concurrency: test.cap}, func(t *testing.T, o *Origin) {
				require.NoError(t, o.Script(path0, Step{Kind: Slow, Delay: time.Minute}))
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() {
					req := httptest.NewRequestWithContext(ctx, http.MethodGet, path0, nil)
					req.Header.Set("User-Agent", "x")
					o.ServeHTTP(httptest.NewRecorder(), req)
				})
				time.Sleep(time.Second)
				record(t, o, test.second)
				time.Sleep(test.notice)
				cancel()
				wg.Wait()
				requireWrongs(t, o.Verdict(), test.want)
			})
		})
	}
}

// net/http repeats a GET that was reset on a connection in use. That is not
// the client's doing; a hot loop on new connections is.
func TestSocketRepeatsByTransport(t *testing.T) {
	o, base, transport := serve(t, Config{})
	unpaced(t, o)
	c := newPolite(transport, path0)
	c.base = base
	require.NoError(t, c.poll(t.Context(), path0).err)
	require.NoError(t, o.Script(path0, Step{Kind: Reset}))
	require.NoError(t, c.poll(t.Context(), path0).err)
	require.EqualValues(t, 3, o.Verdict().Requests)
	requireWrongs(t, o.Verdict(), map[string]int64{})

	transport.DisableKeepAlives = true
	require.NoError(t, o.Script(path0, Step{Kind: Reset, Times: 3}))
	for range 3 {
		require.Error(t, c.poll(t.Context(), path0).err)
	}
	requireWrongs(t, o.Verdict(), map[string]int64{"early": 2})
}
