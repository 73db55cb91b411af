package main

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"
)

// visited is one request of a timeline, in milliseconds.
type visited struct{ url, due, arrives, answered int64 }

func TestJudge(t *testing.T) {
	const every = 1000
	ms := func(n int64) int64 { return n * int64(time.Millisecond) }
	tests := []struct {
		name   string
		visits []visited // in order of arrival; the first of each URL comes before the judge is open
		want   counts
		late   int64 // p99 at most
	}{
		{"polite", []visited{{0, 0, 1, 2}, {0, 0, 1002, 1003}, {0, 0, 2003, 2004}}, counts{Requests: 2, InTime: 2}, 0},
		{"late", []visited{{0, 0, 1, 2}, {0, 0, 1052, 1053}}, counts{Requests: 1, InTime: 1}, 50},
		{"a slot missed", []visited{{0, 0, 1, 2}, {0, 0, 2003, 2004}}, counts{Requests: 1}, 1001},
		{"early", []visited{{0, 0, 1, 2}, {0, 0, 998, 999}}, counts{Requests: 1, InTime: 1, Impolite: 1, Earliest: ms(3)}, 0},
		{"one of two URLs early", []visited{{0, 0, 1, 2}, {1, 0, 1, 2}, {1, 0, 700, 701}, {0, 0, 1002, 1003}},
			counts{Requests: 2, InTime: 2, Impolite: 1, Earliest: ms(301)}, 0},
		{"in flight already", []visited{{0, 0, 1, 5000}, {0, 0, 1500, 1501}}, counts{Requests: 1, InTime: 1, Impolite: 1}, 499},
		{"on its own schedule", []visited{{0, 0, 5, 6}, {0, 1000, 1009, 1010}, {0, 2000, 2030, 2031}},
			counts{Requests: 2, InTime: 2}, 30},
		{"late and then on schedule", []visited{{0, 0, 5, 6}, {0, 1000, 1200, 1201}, {0, 2000, 2001, 2002}},
			counts{Requests: 2, InTime: 2, Impolite: 1, Earliest: ms(199)}, 200},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := newJudge(2, every*time.Millisecond)
			for i, v := range test.visits {
				if i > 0 && test.visits[i-1].url == v.url || i > 1 {
					j.begin()
				}
				j.arrive(int(v.url), ms(v.due), ms(v.arrives))
				if v.answered < 5000 {
					j.answer(int(v.url), false, ms(v.answered))
				}
			}
			got := j.end()
			if got.counts != test.want {
				t.Errorf("got %+v, want %+v", got.counts, test.want)
			}
			if late := int64(got.LateP99 / time.Millisecond); late < test.late-1 || late > test.late+test.late/50 {
				t.Errorf("late by %v, want %d ms", got.LateP99, test.late)
			}
		})
	}
	j := newJudge(1, time.Second)
	j.arrive(0, 0, ms(1))
	j.answer(0, true, ms(2))
	if v := j.end(); v != (verdict{Seen: 1}) {
		t.Errorf("a judge that was never open says %+v", v)
	}
}

// TestOriginSeesImpolite has a client of net/http ask too early, over a socket.
func TestOriginSeesImpolite(t *testing.T) {
	j := newJudge(3, time.Hour)
	r, err := respond(j)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	j.begin()
	p := page{uri: "http://" + r.listener.Addr().String() + "/2"}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for range 3 {
		if err := p.ask(client, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	other := page{uri: strings.TrimSuffix(p.uri, "2") + "3"}
	if err := other.ask(client, time.Time{}); err == nil {
		t.Error("a URL that the origin doesn't have was answered")
	}
	client.CloseIdleConnections()
	r.close() // each answer has been taken note of
	v := j.end()
	if want := (counts{Requests: 3, NotModified: 2, InTime: 2, Impolite: 2, Earliest: v.Earliest}); v.counts != want || v.Earliest < int64(time.Minute) {
		t.Errorf("got %+v, want %+v", v.counts, want)
	}
}

func TestReadRequest(t *testing.T) {
	for text, want := range map[string]request{
		"GET /7 HTTP/1.1\r\nHost: x\r\n\r\n":                                         {url: 7},
		"GET /7 HTTP/1.1\r\nIF-NONE-MATCH: \"tag-7\"\r\n\r\n":                        {url: 7, matches: true},
		"GET /8 HTTP/1.1\r\nIf-None-Match: \"tag-7\"\r\n\r\n":                        {url: 8},
		"GET /0 HTTP/1.1\r\nX-Due: 12345\r\nAccept: */*\r\nUser-Agent: a: b\r\n\r\n": {url: 0, due: 12345},
	} {
		got, err := read(bufio.NewReader(strings.NewReader(text)))
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "GET /7", "POST /7 HTTP/1.1\r\n\r\n", "GET /x HTTP/1.1\r\n\r\n", "GET /7 HTTP/1.0\r\n\r\n",
		"GET /7 HTTP/1.1\r\nHost: x\r\n", "GET /7 HTTP/1.1\r\nX-Due: soon\r\n\r\n",
	} {
		if got, err := read(bufio.NewReader(strings.NewReader(text))); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}

func TestServeOriginRefuses(t *testing.T) {
	for _, test := range []struct{ plan, in, want string }{
		{"", "", "unexpected end"},
		{`{"URLs": 0, "Every": 1}`, "", "an origin of 0 URLs"},
		{`{"URLs": 1, "Every": 1}`, "hurry\n", `told "hurry"`},
	} {
		var out, log bytes.Buffer
		if code := serveOrigin(test.plan, strings.NewReader(test.in), &out, &log); code != 1 || !strings.Contains(log.String(), test.want) {
			t.Errorf("%s: exit code %d, log %q, want %q", test.plan, code, &log, test.want)
		}
	}
	var out, log bytes.Buffer
	if code := serveOrigin(`{"URLs": 1, "Every": 1}`, strings.NewReader("begin\nend\n"), &out, &log); code != 0 || strings.Count(out.String(), "\n") != 3 {
		t.Errorf("exit code %d, printed %q, log %q", code, &out, &log)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	if h.quantile(99) != 0 {
		t.Error("an empty one has quantiles")
	}
	h.add(-time.Second)
	for i := range 100 {
		h.add(time.Duration(i) * time.Millisecond)
	}
	for percent, want := range map[int64]time.Duration{1: 0, 50: 49 * time.Millisecond, 99: 98 * time.Millisecond, 100: 99 * time.Millisecond} {
		if got := h.quantile(percent); got < want || got > want+want/50 {
			t.Errorf("%d %% is %v, want %v", percent, got, want)
		}
	}
	h.add(1<<63 - 1)
	if got := h.quantile(100); got != 1<<63-1 {
		t.Errorf("the longest is %v", got)
	}
}
