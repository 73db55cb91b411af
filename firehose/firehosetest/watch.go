package firehosetest

import (
	"context"
	"hash/maphash"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Watcher is a RoundTripper that judges the requests of its client by the
// answers that come back, whatever the origin, with the rules of [Verdict].
// It may be used by several goroutines.
//
// It knows what the client knows and no more. So Overdraft counts requests
// after an answer said that nothing remains, Concurrency those above GitHub's
// 100, and BadValidator those with an If-None-Match that is no entity tag or,
// among the last eight of a resource, none that was handed out or brought
// along. Instants from headers in the server's clock are reckoned from Date,
// and one second early, since Date is cut to seconds. An answer to one
// request is taken as known to others for other resources after 50 ms. Items,
// and what is asked of an [Origin], stay zero. Permitted knows no share of a
// limit, only its exhaustion.
type Watcher struct {
	next http.RoundTripper

	mu sync.Mutex
	*oracle
}

// The figures of a Watcher.
const (
	watchedCap    = 100
	watchedSettle = 50 * time.Millisecond
	watchedMax    = 1_000_000
	watchedSlack  = 5 * time.Second
	mostBuckets   = 64 // per scope
)

// Watch wraps a RoundTripper (nil: [http.DefaultTransport]). Put it next to
// the network, under the client's own wrappers, so that it sees every request
// that leaves.
func Watch(rt http.RoundTripper) *Watcher {
	if rt == nil {
		rt = http.DefaultTransport
	}
	w := &Watcher{next: rt, oracle: newOracle()}
	w.oracle.cap, w.oracle.max, w.blind = watchedCap, watchedMax, true
	w.oracle.backoff, w.oracle.settle, w.oracle.slack = time.Second, watchedSettle, watchedSlack
	return w
}

// Verdict tells what was seen so far.
func (w *Watcher) Verdict() Verdict {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.oracle.verdict(w.oracle.now())
}

// RoundTrip passes the request on and judges it.
func (w *Watcher) RoundTrip(req *http.Request) (*http.Response, error) {
	f, sent := w.depart(req)
	resp, err := w.next.RoundTrip(req)
	if f == nil {
		return resp, err
	}
	if err != nil {
		w.end(req.Context(), f, nil, err, false)
		return resp, err
	}
	received := time.Now()
	notice := peekNotice(resp)
	l := w.read(req, resp, f, sent, received, notice)
	if resp.Body == nil || resp.Body == http.NoBody || resp.ContentLength == 0 {
		w.end(req.Context(), f, l, nil, false)
		return resp, nil
	}
	resp.Body = &watchedBody{ReadCloser: resp.Body, left: resp.ContentLength, end: func(err error, partial bool) {
		w.end(req.Context(), f, l, err, partial)
	}}
	return resp, nil
}

// depart judges a request; nil if there are too many resources.
func (w *Watcher) depart(req *http.Request) (*flight, instant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.oracle.now()
	authorization := req.Header.Get("Authorization")
	key, _ := keyOf(req.URL)
	var r *resource
	if len(key.target) <= longestTarget {
		r = w.find(originOf(req), w.credential(authorization), key, "")
	}
	if r == nil {
		w.counts.Requests++
		w.counts.Unjudged++
		return nil, 0
	}
	return w.arrive(r, request{
		sent:       now,
		remote:     true,
		authorized: authorization != "",
		validator:  r.tags.judge(req.Header["If-None-Match"], w.hopTo(r) != nil),
		vary:       maphash.String(w.seed, req.Header.Get("Accept")),
	}, now), now
}

// end tells the oracle what became of the answer.
func (w *Watcher) end(ctx context.Context, f *flight, l *lesson, err error, partial bool) {
	fate := complete
	switch {
	case err != nil && ctx.Err() != nil:
		fate = cutByClient
	case err != nil:
		fate = cutByOrigin
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if partial {
		l.partial = true
	}
	w.finish(f, l, fate, w.oracle.now())
}

// judge tells what If-None-Match holds, by what was handed out before.
func (m *tagMemory) judge(lines []string, hop bool) validator {
	if len(lines) == 0 {
		return noValidator
	}
	tags := splitTags(lines)
	for _, tag := range tags {
		switch {
		case opaque(tag) == "":
			return foreign
		case m.remembers(tag):
		case m.handed == 0 || hop:
			m.remember(tag)
		case m.known <= len(m.seen):
			return foreign
		}
	}
	if len(tags) == 0 {
		return foreign
	}
	return handedOut
}

func (m *tagMemory) remembers(tag string) bool {
	for _, s := range m.seen {
		if s == tag {
			return true
		}
	}
	return false
}

func (m *tagMemory) remember(tag string) {
	if tag != "" && !m.remembers(tag) {
		m.seen[m.known%len(m.seen)] = tag
		m.known++
	}
}

// watchedBody notices the end of a body: its last announced byte, its end, an
// error, or its closing, whichever comes first.
type watchedBody struct {
	io.ReadCloser
	left int64 // announced; negative if not
	end  func(err error, partial bool)
	over atomic.Bool
}

// Read implements [io.Reader].
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left > 0 {
		if b.left -= int64(n); b.left <= 0 && (err == nil || err == io.EOF) {
			b.finish(nil, false)
			return n, err
		}
	}
	switch err {
	case nil:
	case io.EOF:
		b.finish(nil, false)
	default:
		b.finish(err, false)
	}
	return n, err
}

// Close implements [io.Closer]. Who closes early has the header, and its times,
// but may well have dropped its validators with the rest.
func (b *watchedBody) Close() error {
	b.finish(nil, true)
	return b.ReadCloser.Close()
}

func (b *watchedBody) finish(err error, partial bool) {
	if !b.over.Swap(true) {
		b.end(err, partial)
	}
}

// longestNotice bounds what is read ahead of a rejection.
const longestNotice = 64 << 10

// peekNotice reports whether a rejection says that it is a secondary limit
// (G-14). The client reads the same bytes after it.
func peekNotice(resp *http.Response) bool {
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusTooManyRequests || resp.Body == nil {
		return false
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, longestNotice))
	rest := io.Reader(resp.Body)
	if err != nil {
		rest = failingReader{err}
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(strings.NewReader(string(head)), rest), resp.Body}
	text := strings.ToLower(string(head))
	return strings.Contains(text, "secondary rate limit") || strings.Contains(text, "abuse-rate-limits")
}

type failingReader struct{ err error }

// Read implements [io.Reader].
func (r failingReader) Read([]byte) (int, error) { return 0, r.err }
