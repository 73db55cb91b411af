package firehose_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// The first request leaves at once and without conditions; then each carries
// what the last answer gave, byte for byte (rules G-4, H-5, H-6, H-7).
//
// Peer colly-2: there is a cache by address, without validators.
// Peer nutch-3: neither tags nor Retry-After are read.
// Peer changedetection-1: no request is conditional.
// Peer ghtorrent-1: the quotes, the W/ and more are taken out of a tag before
// it is sent back.
func TestH6_BothValidatorsAreSent(t *testing.T) {
	const date = "Sat, 1 Jan 2000 0:0:0 GMT" // odd, and to be returned as it is
	for _, etag := range []string{`W/"abc"`, `"abc"`, `""`, `abc`, `"a b,c"`, `w/"x"`, `W/abc`, `"\"`} {
		t.Run(etag, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newScript(func(c call) reply {
					if c.n == 0 {
						return reply{body: "one", header: map[string]string{"Etag": etag, "Last-Modified": date}}
					}
					return status(304)
				})
				r := start(t, net, firehose.Config{Resources: resource.List(uriA)})
				until(150 * time.Second)
				calls := net.all(uriA)
				require.Equal(t, secs(0, 60, 120), net.times(uriA))
				require.NotContains(t, calls[0].Header, "If-None-Match")
				require.NotContains(t, calls[0].Header, "If-Modified-Since")
				for _, c := range calls[1:] {
					require.Equal(t, []string{etag}, c.Header["If-None-Match"])
					require.Equal(t, []string{date}, c.Header["If-Modified-Since"])
				}
				require.Equal(t, []string{"one"}, r.sink.bodies())
				require.Equal(t, firehose.DefaultUserAgent, calls[0].Header.Get("User-Agent"))
				require.NoError(t, r.stop())
			})
		})
	}
}

// What a response says of itself, and who owns it.
func TestResponseOfThePoll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			r := ok("body", `"1"`)
			r.header["Set-Cookie"] = "a=b"
			r.header["X-Poll-Interval"] = "10"
			r.slow = time.Second
			return r
		})
		r := start(t, net, firehose.Config{Resources: []resource.Spec{{URI: uriA, MediaType: ""}}})
		until(5 * time.Second)
		got := r.sink.responses[0]
		require.Equal(t, 200, got.Status)
		require.Equal(t, uriA, got.URL)
		require.Equal(t, resource.Modified, got.Outcome)
		require.Empty(t, got.Header.Values("Set-Cookie"))
		require.Equal(t, `"1"`, got.Header.Get("Etag"))
		require.Equal(t, time.Duration(0), got.Sent.Sub(epoch))
		require.Equal(t, time.Second, got.Received.Sub(epoch))
		require.Equal(t, resource.Validators{ETag: `"1"`}, got.Resource.Validators)
		require.Zero(t, got.Previous)
		until(30 * time.Second)
		require.Equal(t, secs(0, 11, 22), net.times(uriA), "waits count from the answer")
	})
}

// The origin's X-Poll-Interval rises and falls, on 200 and on 304, stays known
// when it is missing, and the longer of it and the user's wish counts (rules
// G-1, G-2, G-3).
//
// Peer all-1: nobody reads X-Poll-Interval, the one header by which the host of
// the firehose says how often it may be asked.
// Peer scrapy-4: no request can have a delay of its own.
// Peer gharchive-1: it asks every 750 ms, without a tag and whatever interval
// it is told.
func TestG2_PollIntervalsRiseFallAndAreKept(t *testing.T) {
	intervals := []string{"10", "30", "5", "", "0", "7"}
	for _, c := range []struct {
		wish time.Duration
		want []time.Duration
	}{
		{0, secs(0, 10, 40, 45, 50, 110, 117)},
		{20 * time.Second, secs(0, 20, 50, 70, 90, 110, 130)},
	} {
		t.Run(c.wish.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newScript(func(c call) reply {
					r := status(304)
					if c.n == 0 {
						r = ok("x", `"1"`)
					}
					if v := intervals[min(c.n, len(intervals)-1)]; v != "" {
						r.header["X-Poll-Interval"] = v
					}
					return r
				})
				start(t, net, firehose.Config{Resources: []resource.Spec{{URI: uriA, Interval: c.wish}}})
				until(130 * time.Second)
				require.Equal(t, c.want, net.times(uriA)[:len(c.want)])
			})
		})
	}
}

// A 200 that changed nothing is not published again (rule H-11), nor is a 304.
//
// Peer httpcache-1: a 304 becomes the stored 200: nobody can tell that nothing
// has changed, and it is published again.
// Peer bartventer-1: one header of the cache's own is the only trace of a 304.
func TestH11_UnchangedIsNotPublished(t *testing.T) {
	bubble(t, func(t *testing.T) {
		steps := []reply{
			ok("one", `"1"`), status(304, "Etag", `"1"`), ok("another", `"1"`), ok("two", ""), ok("two", ""),
			ok("two", `"2"`), ok("three", `"3"`), status(204), status(202), status(304),
		}
		net := newScript(func(c call) reply { return steps[min(c.n, len(steps)-1)] })
		r := start(t, net, firehose.Config{Resources: []resource.Spec{{URI: uriA, Interval: time.Second}}})
		until(9500 * time.Millisecond)
		require.Equal(t, []string{"one", "two", "three"}, r.sink.bodies())
		require.Len(t, net.all(uriA), 10)
		s := r.Stats()
		require.EqualValues(t, 10, s.Polls)
		require.EqualValues(t, map[string]int64{"modified": 3, "not-modified": 5, "empty": 2}, s.Outcomes)
		require.EqualValues(t, 3, s.Published)
		require.InDelta(t, 0.5, s.NotModifiedShare(), 1e-9)
	})
}

// gzipped is s, compressed.
func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

// A body that is not what it should be: nothing is stored, nothing published,
// the next request carries the old validators, and others go on (rules S-type,
// D-17).
func TestD17_BadBodies(t *testing.T) {
	whole := gzipped(strings.Repeat("a body that is long enough ", 50))
	bad := map[string]struct {
		reply reply
		cause string
		ends  time.Duration // how long the poll takes
	}{
		"login page": {reply{body: "<html>", header: map[string]string{"Content-Type": "text/html; charset=utf-8"}}, "text/html", 0},
		"no type":    {reply{body: "{}", header: map[string]string{"Content-Type": ""}}, `""`, 0},
		"odd type":   {reply{body: "{}", header: map[string]string{"Content-Type": "application/json;;;=\x01"}}, "instead of application/json", 0},
		"truncated":  {reply{body: `{"a":`, tail: io.ErrUnexpectedEOF}, "broke off", 0},
		"reset":      {reply{body: `{"a":`, tail: errReset}, "reset", 0},
		"too long":   {reply{body: strings.Repeat("x", 4097)}, "longer than 4096", 0},
		"endless":    {reply{body: "x", trickle: 10 * time.Hour}, "did not end in time", 30 * time.Second},
		"no gzip":    {reply{body: "plain", header: map[string]string{"Content-Encoding": "gzip"}}, "not gzip", 0},
		"cut gzip":   {reply{body: whole[:len(whole)-9], header: map[string]string{"Content-Encoding": "gzip"}}, "broke off", 0},
		"bomb":       {reply{body: gzipped(strings.Repeat("\x00", 1<<20)), header: map[string]string{"Content-Encoding": "GZIP"}}, "longer than 4096", 0},
	}
	for name, b := range bad {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				json := func(r reply) reply {
					if r.header == nil {
						r.header = map[string]string{}
					}
					if _, set := r.header["Content-Type"]; !set {
						r.header["Content-Type"] = "application/json"
					}
					return r
				}
				net := newScript(func(c call) reply {
					switch {
					case c.URL != uriA:
						return json(ok(fmt.Sprint(c.n), fmt.Sprintf(`"%d"`, c.n)))
					case c.n == 0:
						return json(ok("1", `W/"one"`))
					case c.n == 1:
						r := json(b.reply)
						r.header["Etag"], r.header["Last-Modified"] = `"bad"`, "Thu, 01 Jan 2026 00:00:00 GMT"
						return r
					}
					return json(ok("2", `"two"`))
				})
				r := start(t, net, firehose.Config{MaxBody: 4096, Resources: []resource.Spec{
					{URI: uriA, Interval: 10 * time.Second, MediaType: "application/json"},
					{URI: uriC, Interval: 10 * time.Second, MediaType: "application/json"},
				}})
				until(10*time.Second + b.ends + time.Millisecond)
				e := r.explain(uriA)
				require.Equal(t, resource.WaitingForServerAlive, e.State)
				require.Contains(t, e.Cause, b.cause)
				until(5 * time.Minute)
				calls := net.all(uriA)
				require.GreaterOrEqual(t, len(calls), 3)
				require.Equal(t, []string{`W/"one"`}, calls[1].Header["If-None-Match"])
				require.Equal(t, []string{`W/"one"`}, calls[2].Header["If-None-Match"])
				require.NotContains(t, calls[2].Header, "If-Modified-Since")
				require.GreaterOrEqual(t, calls[2].At-calls[1].At, 10*time.Second)
				require.Len(t, net.all(uriC), 31, "the other resource goes on")
				var published []string
				for _, p := range r.sink.responses {
					if p.Resource.URI == uriA {
						published = append(published, string(p.Body))
					}
				}
				require.Equal(t, []string{"1", "2"}, published)
				require.EqualValues(t, 1, r.Stats().Outcomes["failed"])
			})
		})
	}
}

// A gzip body of a transport that leaves it to us is published unpacked.
func TestD17_GzipIsUnpacked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			return reply{body: gzipped("unpacked"), header: map[string]string{"Content-Encoding": "gzip"}}
		})
		r := start(t, net, firehose.Config{Resources: resource.List(uriA)})
		synctest.Wait()
		require.Equal(t, []string{"unpacked"}, r.sink.bodies())
	})
}

// An answer whose length is 0 is judged as any other: an empty body that stays
// empty is no news, and of the wrong type it is no answer.
func TestD17_AnEmptyBodyIsABody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			return reply{none: true, header: map[string]string{"Content-Type": "text/plain"}}
		})
		r := start(t, net, firehose.Config{Resources: []resource.Spec{{URI: uriA}, {URI: uriC, MediaType: "application/json"}}})
		pass(10 * time.Minute)
		require.GreaterOrEqual(t, len(net.all(uriA)), 10)
		require.Equal(t, []string{""}, r.sink.bodies(), "published once")
		require.Equal(t, resource.ReasonMediaType, r.explain(uriC).Why)
	})
}

// What a profile adds to a request, and what it can't take away.
func TestG19_WhatARequestCarries(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply { return ok("x", `"1"`) })
		profile := resource.Profile{Header: map[string][]string{"X-Two": {"1", "2"}, "User-Agent": {"me"}}}
		start(t, net, firehose.Config{
			Resources: []resource.Spec{
				{URI: uriA, Profile: "p", MediaType: "text/plain"}, {URI: "https://api.github.com/events"}, {URI: uriC},
			},
			Profiles: map[string]resource.Profile{"p": profile}, UserAgent: "canned",
		})
		synctest.Wait()
		profile.Header.Set("X-Two", "changed later")
		until(61 * time.Second)
		for _, c := range net.all(uriA) {
			require.Equal(t, []string{"1", "2"}, c.Header["X-Two"], "New copied it")
			require.Equal(t, "me", c.Header.Get("User-Agent"))
			require.Equal(t, "text/plain", c.Header.Get("Accept"))
		}
		hub := net.all("https://api.github.com/events")[0].Header
		require.Equal(t, "application/vnd.github+json", hub.Get("Accept"))
		require.NotEmpty(t, hub.Get("X-Github-Api-Version"))
		require.Equal(t, "canned", hub.Get("User-Agent"))
		require.Equal(t, "*/*", net.all(uriC)[0].Header.Get("Accept"))
	})
}
