package firehosetest

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// get asks once, with headers given as pairs.
func get(t *testing.T, o *Origin, target string, headers ...string) answer {
	t.Helper()
	if strings.HasPrefix(target, "/") {
		target = "http://api.test" + target
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header[http.CanonicalHeaderKey(headers[i])] = []string{headers[i+1]}
	}
	return send(o.RoundTripper(), req)
}

type event struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	CreatedAt time.Time `json:"created_at"`
	Public    bool      `json:"public"`
}

func events(t *testing.T, a answer) []event {
	t.Helper()
	require.NoError(t, a.err)
	require.Equal(t, 200, a.StatusCode, a.text)
	var list []event
	require.NoError(t, json.Unmarshal([]byte(a.text), &list))
	return list
}

// in runs a test in a bubble with an origin of its own.
func in(t *testing.T, cfg Config, do func(t *testing.T, o *Origin)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { do(t, mustOrigin(t, cfg)) })
}

var weakTag = regexp.MustCompile(`^W/"[0-9a-f]{64}"$`)

func TestHeaders(t *testing.T) {
	in(t, Config{Skew: 3 * time.Hour, Limit: 17}, func(t *testing.T, o *Origin) {
		a := get(t, o, "/events", "Authorization", "token x")
		require.Len(t, events(t, a), 30)
		require.Regexp(t, weakTag, a.Header.Get("ETag"))
		require.Equal(t, "60", a.Header.Get("X-Poll-Interval"))
		require.Equal(t, "private, max-age=60, s-maxage=60", a.Header.Get("Cache-Control"))
		require.Equal(t, "17", a.Header.Get("X-RateLimit-Limit"))
		require.Equal(t, "16", a.Header.Get("X-RateLimit-Remaining"))
		require.Equal(t, "1", a.Header.Get("X-RateLimit-Used"))
		require.Equal(t, "core", a.Header.Get("X-RateLimit-Resource"))
		date, err := http.ParseTime(a.Header.Get("Date"))
		require.NoError(t, err)
		require.InDelta(t, 3*time.Hour.Seconds(), time.Until(date).Seconds(), 1)
		reset, err := strconv.ParseInt(a.Header.Get("X-RateLimit-Reset"), 10, 64)
		require.NoError(t, err)
		require.InDelta(t, time.Hour.Seconds(), time.Unix(reset, 0).Sub(date).Seconds(), 2)
		require.Equal(t, `<http://api.test/events?page=2>; rel="next", <http://api.test/events?page=10>; rel="last"`, a.Header.Get("Link"))
		modified, err := http.ParseTime(a.Header.Get("Last-Modified"))
		require.NoError(t, err)
		require.Equal(t, events(t, a)[0].CreatedAt, modified)
		require.Equal(t, strconv.Itoa(len(a.text)), a.Header.Get("Content-Length"))
	})
}

// E-1, E-3, E-4: 300 events, newest first, numeric ids, three pages of 100.
func TestPages(t *testing.T) {
	for _, late := range []float64{0, 0.3} {
		in(t, Config{Late: late, Latency: Instant}, func(t *testing.T, o *Origin) {
			seen := map[string]bool{}
			tags := map[string]bool{}
			target := path0 + "?per_page=1000"
			last := int64(math.MaxInt64)
			for n := 1; n <= 3; n++ {
				a := get(t, o, target)
				list := events(t, a)
				require.Len(t, list, 100)
				tags[a.Header.Get("ETag")] = true
				for _, e := range list {
					id, err := strconv.ParseInt(e.ID, 10, 64)
					require.NoError(t, err)
					require.Less(t, id, last)
					last, seen[e.ID] = id, true
					require.False(t, e.CreatedAt.After(time.Now()))
				}
				link := a.Header.Get("Link")
				require.Equal(t, n < 3, strings.Contains(link, `rel="next"`))
				require.Equal(t, n < 3, strings.Contains(link, `rel="last"`))
				require.Equal(t, n > 1, strings.Contains(link, `rel="first"`))
				require.Equal(t, n > 1, strings.Contains(link, `rel="prev"`))
				if next := regexp.MustCompile(`<([^>]*)>; rel="next"`).FindStringSubmatch(link); next != nil {
					target = next[1]
				}
			}
			require.Len(t, seen, 300)
			require.Len(t, tags, 3)
			require.Equal(t, 422, get(t, o, path0+"?per_page=100&page=4").StatusCode)
			v := o.Verdict()
			require.EqualValues(t, 1, v.Polls)
			require.EqualValues(t, 100, v.Items)
			require.Zero(t, v.Impolite)
		})
	}
}

// E-3: late events enter behind newer ones, and every one is seen in the end.
func TestLateEventsEnterBehind(t *testing.T) {
	in(t, Config{Late: 0.2, Seed: 3, PollInterval: time.Second, Limit: 1e6}, func(t *testing.T, o *Origin) {
		seen := map[string]bool{}
		highest, behind := "", 0
		for range 600 {
			for _, e := range events(t, get(t, o, path0+"?per_page=100")) {
				if !seen[e.ID] && e.ID < highest {
					behind++
				}
				seen[e.ID] = true
				highest = max(highest, e.ID)
			}
			time.Sleep(time.Second)
		}
		require.Greater(t, behind, 20)
	})
}

// G-5, H-5, H-6: conditional requests.
func TestConditional(t *testing.T) {
	in(t, Config{Rate: 1e-6, Latency: Instant}, func(t *testing.T, o *Origin) {
		first := get(t, o, path0, "Authorization", "a")
		tag, modified := first.Header.Get("ETag"), first.Header.Get("Last-Modified")
		conditional := func(want int, headers ...string) answer {
			t.Helper()
			a := get(t, o, path0, append([]string{"Authorization", "a"}, headers...)...)
			require.NoError(t, a.err)
			require.Equal(t, want, a.StatusCode)
			return a
		}
		same := conditional(304, "If-None-Match", tag)
		require.Equal(t, first.Header.Get("X-RateLimit-Remaining"), same.Header.Get("X-RateLimit-Remaining"), "a 304 is free")
		require.Equal(t, tag, same.Header.Get("ETag"))
		require.Equal(t, "60", same.Header.Get("X-Poll-Interval"))
		require.Empty(t, same.text)
		conditional(304, "If-None-Match", strings.TrimPrefix(tag, "W/")) // weak comparison
		conditional(304, "If-None-Match", `"other, one", `+tag)
		conditional(304, "If-None-Match", "*")
		conditional(200, "If-None-Match", strings.ReplaceAll(tag, `"`, ""))
		conditional(200, "If-None-Match", "", "If-Modified-Since", modified) // If-None-Match comes first
		conditional(304, "If-Modified-Since", modified)
		conditional(200, "If-Modified-Since", "yesterday")
		conditional(200, "If-None-Match", tag, "Accept", "text/plain")
		require.Equal(t, 200, get(t, o, path0, "Authorization", "b", "If-None-Match", tag).StatusCode)
		require.EqualValues(t, 7, o.Verdict().BadValidator)
		anonymous := get(t, o, path0)
		again := get(t, o, path0, "If-None-Match", anonymous.Header.Get("ETag"))
		require.Equal(t, 304, again.StatusCode)
		require.Equal(t, "4998", again.Header.Get("X-RateLimit-Remaining"), "without a credential a 304 counts")
	})
}

// The same seed makes the same events, tags and faults, another one others.
func TestDeterminism(t *testing.T) {
	record := func(seed uint64) (all []string) {
		in(t, Config{Seed: seed, Rate: 3, Late: 0.1, Timelines: 2, Faults: []Fault{{0.3, Step{Kind: Status, Status: 500}}}}, func(t *testing.T, o *Origin) {
			for range 20 {
				for _, p := range o.Paths() {
					a := get(t, o, p, "Authorization", "x")
					all = append(all, fmt.Sprint(a.StatusCode, a.Header, a.text))
				}
				time.Sleep(time.Minute)
			}
		})
		return all
	}
	require.Equal(t, record(1), record(1))
	require.NotEqual(t, record(1), record(2))
}

func TestRates(t *testing.T) {
	in(t, Config{Rate: 2, Latency: Instant}, func(t *testing.T, o *Origin) {
		newest := func() int64 {
			n, err := strconv.ParseInt(events(t, get(t, o, "/events"))[0].ID, 10, 64)
			require.NoError(t, err)
			return n / 2 // two timelines share the ids
		}
		start := newest()
		time.Sleep(1000 * time.Second)
		require.InDelta(t, start+2000, newest(), 1)
		require.NoError(t, o.SetRate(0))
		silent := newest()
		time.Sleep(24 * time.Hour)
		require.Equal(t, silent, newest())
		for range 5000 { // the memory of rates is bounded
			require.NoError(t, o.SetRate(0.5))
			time.Sleep(time.Second)
			require.NoError(t, o.SetRate(0))
		}
		require.InDelta(t, silent+2500, newest(), 1)
		require.LessOrEqual(t, len(o.segments), maxSegments+1)
	})
}

func TestSecondaryByConcurrency(t *testing.T) {
	in(t, Config{SecondaryConcurrency: 2, Timelines: 3, TooManyRequests: true}, func(t *testing.T, o *Origin) {
		w := Watch(o.RoundTripper())
		c := newPolite(w, o.Paths()...)
		c.at(t, o.Paths()...)
		require.True(t, c.limit.park.After(time.Now()))
		require.EqualValues(t, 2, o.Verdict().Modified)
		a := get(t, o, path0)
		require.Equal(t, 429, a.StatusCode)
		require.Contains(t, a.text, "secondary rate limit")
		require.Equal(t, "60", a.Header.Get("Retry-After"))
	})
}

func TestFaults(t *testing.T) {
	in(t, Config{Timelines: 2}, func(t *testing.T, o *Origin) {
		next := func(s Step, headers ...string) answer {
			t.Helper()
			require.NoError(t, o.Script(path0, s))
			return get(t, o, path0, headers...)
		}
		require.ErrorIs(t, next(Step{Kind: Reset}).err, syscall.ECONNRESET)
		require.ErrorIs(t, next(Step{Kind: Truncate}).err, io.ErrUnexpectedEOF)
		a := next(Step{Kind: Huge})
		require.ErrorIs(t, a.err, io.ErrShortBuffer)
		require.Equal(t, hugeBody, a.ContentLength)
		a = next(Step{Kind: Endless})
		require.ErrorIs(t, a.err, io.ErrShortBuffer)
		require.Equal(t, unannounced, a.ContentLength)
		a = next(Step{Kind: LoginPage})
		require.Equal(t, "text/html; charset=utf-8", a.Header.Get("Content-Type"))
		require.Empty(t, a.Header.Get("ETag"))
		start := time.Now()
		require.Equal(t, 200, next(Step{Kind: Slow}).StatusCode)
		require.GreaterOrEqual(t, time.Since(start), 10*time.Second)
		for _, status := range []int{202, 204, 404, 410, 429, 500, 504} {
			require.Equal(t, status, next(Step{Kind: Status, Status: status}).StatusCode)
		}
		a = next(Step{Kind: Status, Status: 503, RetryAfter: 7 * time.Second})
		require.Equal(t, "7", a.Header.Get("Retry-After"))
		require.Empty(t, a.Header.Get("X-RateLimit-Limit"))
		a = next(Step{Kind: Status, Status: 503, RetryAfter: 7 * time.Second, Form: RetryRFC850})
		_, err := http.ParseTime(a.Header.Get("Retry-After"))
		require.NoError(t, err)
		require.Contains(t, a.Header.Get("Retry-After"), "day, ")
		require.NoError(t, o.Script(path0, Step{Kind: Status, Status: 500, Times: 2}, Step{}))
		for _, want := range []int{500, 500, 200, 200} {
			require.Equal(t, want, get(t, o, path0).StatusCode)
		}
		require.NoError(t, o.Script(path0+"?page=2", Step{Kind: Status, Status: 502}))
		require.Equal(t, 200, get(t, o, path0).StatusCode)
		require.Equal(t, 502, get(t, o, path0+"?page=2").StatusCode)
		require.Equal(t, 404, get(t, o, "/timelines/2/events").StatusCode)
		require.Equal(t, 404, get(t, o, "/timelines/01/events").StatusCode)
		require.Equal(t, 404, get(t, o, "/").StatusCode)
		require.Equal(t, 403, get(t, o, path0, "User-Agent", "").StatusCode)
	})
}

func TestRedirects(t *testing.T) {
	in(t, Config{}, func(t *testing.T, o *Origin) {
		for _, test := range []struct {
			step Step
			from string
			want string
		}{
			{Step{Kind: Redirect}, path0, "http://api.test/moved" + path0},
			{Step{Kind: Redirect, Status: 308}, path0 + "?per_page=9", "http://api.test/moved" + path0 + "?per_page=9&page=1"},
			{Step{Kind: Redirect, Status: 301, Location: "/events"}, path0, "/events"},
			{Step{Kind: Redirect, Status: 307, Location: Elsewhere}, path0, "http://elsewhere.invalid" + path0},
			{Step{Kind: Redirect, Location: Elsewhere}, "http://127.0.0.1:80" + path0, "http://localhost:80" + path0},
			{Step{Kind: Redirect, Location: Elsewhere}, "https://localhost:80" + path0, "https://127.0.0.1:80" + path0},
		} {
			require.NoError(t, o.Script(path0, test.step))
			a := get(t, o, test.from)
			require.Equal(t, max(test.step.Status, 302*(1-min(test.step.Status, 1))), a.StatusCode)
			require.Equal(t, test.want, a.Header.Get("Location"))
		}
		require.Len(t, events(t, get(t, o, "/moved"+path0)), 30)
	})
}

func TestOutage(t *testing.T) {
	in(t, Config{Outages: []Outage{{To: time.Minute}}, Latency: Instant}, func(t *testing.T, o *Origin) {
		require.ErrorIs(t, get(t, o, path0).err, syscall.ECONNRESET)
		time.Sleep(time.Minute)
		require.Equal(t, 200, get(t, o, path0).StatusCode)
		o.Outage(time.Now().Add(time.Hour), time.Now().Add(2*time.Hour))
		time.Sleep(90 * time.Minute)
		require.Error(t, get(t, o, path0).err)
		time.Sleep(time.Hour)
		require.NoError(t, get(t, o, path0).err)
	})
}

func TestEncodingAndMethods(t *testing.T) {
	in(t, Config{}, func(t *testing.T, o *Origin) {
		plain := get(t, o, path0)
		zipped := get(t, o, path0, "Accept-Encoding", "br, GZIP ; q=0.5")
		require.Equal(t, "gzip", zipped.Header.Get("Content-Encoding"))
		r, err := gzip.NewReader(strings.NewReader(zipped.text))
		require.NoError(t, err)
		text, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, plain.text, string(text))
		for _, refusal := range []string{"gzip;q=0", "gzip; q=0.000", "br", ""} {
			require.Empty(t, get(t, o, path0, "Accept-Encoding", refusal).Header.Get("Content-Encoding"), refusal)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, "http://api.test"+path0, nil)
		require.NoError(t, err)
		head := send(o.RoundTripper(), req)
		require.Equal(t, 200, head.StatusCode)
		require.Empty(t, head.text)
		require.Equal(t, plain.ContentLength, head.ContentLength)
		req, err = http.NewRequestWithContext(t.Context(), http.MethodPost, "http://api.test"+path0, strings.NewReader("x"))
		require.NoError(t, err)
		require.Equal(t, 405, send(o.RoundTripper(), req).StatusCode)
	})
}

func TestBuckets(t *testing.T) {
	in(t, Config{Timelines: 4, Buckets: 3, Limit: 1, AnonymousLimit: 2}, func(t *testing.T, o *Origin) {
		for path, want := range map[string]string{
			"/timelines/0/events": "core", "/timelines/1/events": "bucket-1",
			"/timelines/2/events": "bucket-2",
		} {
			a := get(t, o, path, "Authorization", "a")
			require.Equal(t, want, a.Header.Get("X-RateLimit-Resource"))
			require.Equal(t, "0", a.Header.Get("X-RateLimit-Remaining"))
			require.Equal(t, 200, a.StatusCode)
		}
		require.Equal(t, 403, get(t, o, "/timelines/3/events", "Authorization", "a").StatusCode)
		require.Equal(t, "1", get(t, o, path0).Header.Get("X-RateLimit-Remaining"))
		require.Equal(t, "core", get(t, o, "/events").Header.Get("X-RateLimit-Resource"))
	})
}

func TestSetters(t *testing.T) {
	in(t, Config{Timelines: 2, MaxAge: 5 * time.Second}, func(t *testing.T, o *Origin) {
		require.NoError(t, o.SetPollInterval(7*time.Second, path0))
		require.NoError(t, o.SetPollInterval(0))
		require.NoError(t, o.SetMaxAge(9*time.Second))
		o.SetSkew(time.Hour)
		a, b := get(t, o, path0), get(t, o, "/timelines/1/events")
		require.Equal(t, "7", a.Header.Get("X-Poll-Interval"))
		require.Contains(t, a.Header.Get("Cache-Control"), "max-age=9")
		require.NotContains(t, b.Header, "X-Poll-Interval")
		require.Equal(t, "7", get(t, o, "/moved"+path0).Header.Get("X-Poll-Interval"))
		require.NoError(t, o.SetSecondary(1))
		require.Equal(t, 403, get(t, o, path0).StatusCode)

		require.ErrorContains(t, o.SetRate(-1), "must be 0 to")
		require.ErrorContains(t, o.SetPollInterval(time.Second/2), "whole seconds")
		require.ErrorContains(t, o.SetMaxAge(-time.Second), "whole seconds")
		require.ErrorContains(t, o.SetSecondary(math.NaN()), "0 to 1")
		require.ErrorContains(t, o.Script(path0, Step{}, Step{Kind: Status}), "step 1: status 0")
	})
}

func TestMaxResources(t *testing.T) {
	in(t, Config{MaxResources: 2}, func(t *testing.T, o *Origin) {
		for i := range 5 {
			a := get(t, o, path0+"?n="+strconv.Itoa(i))
			require.Equal(t, i >= 2, a.StatusCode == 503)
		}
		require.Equal(t, 503, get(t, o, path0+"?"+strings.Repeat("x", longestTarget)).StatusCode)
		v := o.Verdict()
		require.EqualValues(t, 6, v.Requests)
		require.EqualValues(t, 4, v.Unjudged)
		require.EqualValues(t, 2, v.Resources)
	})
}

func TestPublished(t *testing.T) {
	in(t, Config{Rate: 0.2, PollInterval: time.Second, Limit: 1e6}, func(t *testing.T, o *Origin) {
		list := events(t, get(t, o, path0))
		require.Zero(t, o.Verdict().LostItems)
		for _, e := range list[1:] {
			o.Published(e.ID)
		}
		o.Published(list[3].ID)
		o.Published("7")
		o.Published("x")
		o.Published("99999999999999")
		v := o.Verdict()
		require.EqualValues(t, 33, v.Published)
		require.EqualValues(t, 1, v.LostItems)
		require.EqualValues(t, 1, v.Duplicates)
		time.Sleep(40_000 * time.Second) // more events than are remembered
		get(t, o, path0)
		require.EqualValues(t, 31, o.Verdict().LostItems)
		o.Published(list[0].ID)
		require.EqualValues(t, 31, o.Verdict().LostItems, "too late")
	})
}

func TestExpect(t *testing.T) {
	in(t, Config{}, func(t *testing.T, o *Origin) {
		o.Expect(path0, time.Hour)
		for range 4 {
			get(t, o, path0)
			time.Sleep(time.Hour)
		}
		v := o.Verdict()
		require.EqualValues(t, 4, v.Permitted)
		require.EqualValues(t, 4, v.Polls)
		require.Less(t, v.LateP99, 100.0)
	})
}

func TestHistogram(t *testing.T) {
	var h histogram
	require.Zero(t, h.quantile(0.5))
	for us := range int64(100_000) {
		h.record(time.Duration(us) * time.Microsecond)
	}
	require.InEpsilon(t, 50, h.quantile(0.5), 0.04)
	require.InEpsilon(t, 99, h.quantile(0.99), 0.04)
	h.record(math.MaxInt64)
	for slot := range len(h.counts) - 200 {
		if slot < 1900 {
			require.Equal(t, slot, slotOf(uint64(middleOf(slot))))
		}
	}
}
