package firehosetest

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// transport carries requests to an origin without sockets or goroutines.
type transport struct{ origin *Origin }

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	ctx := req.Context()
	sent := time.Now()
	up, down := t.origin.latency(req, sent)
	if ctx.Err() != nil || !sleep(ctx, up) {
		return nil, context.Cause(ctx)
	}
	if rest, ok := oraclePath(req); ok {
		return t.askOracle(req, rest), nil
	}
	x := t.origin.begin(req, originOf(req), sent, false)
	if !sleep(ctx, x.delay()) {
		x.end(cutByClient)
		return nil, context.Cause(ctx)
	}
	if x.resets() {
		x.end(cutByOrigin)
		if !sleep(ctx, down) {
			return nil, context.Cause(ctx)
		}
		return nil, x.resetError()
	}
	x.answer()
	if !sleep(ctx, down) {
		x.end(cutByClient)
		return nil, context.Cause(ctx)
	}
	x.render()
	return x.response(req), nil
}

// originOf is where a client sends a request.
func originOf(req *http.Request) string {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	return req.URL.Scheme + "://" + strings.ToLower(host)
}

// latency is how long the request and the answer travel.
func (o *Origin) latency(req *http.Request, sent time.Time) (up, down time.Duration) {
	mean := o.cfg.Latency
	if mean <= Instant {
		return 0, 0
	}
	h := o.cfg.Seed ^ uint64(sent.Sub(o.birth))
	for _, c := range []byte(req.URL.Path) {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	h = mix(h)
	up = time.Duration((0.25 + fraction(h)/2) * float64(mean))
	down = time.Duration((0.25 + fraction(mix(h))/2) * float64(mean))
	return up, down
}

// response makes what the client gets.
func (x *exchange) response(req *http.Request) *http.Response {
	resp := &http.Response{
		Status:        strconv.Itoa(x.status) + " " + http.StatusText(x.status),
		StatusCode:    x.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        x.header,
		ContentLength: x.announce,
		Request:       req,
		Body:          http.NoBody,
	}
	if x.announce == unannounced && x.fill == 0 {
		resp.ContentLength = 0
	} else if x.announce != unannounced {
		x.set("Content-Length", itoa(x.announce))
	}
	if len(x.body) == 0 && x.fill == 0 {
		x.end(complete)
		return resp
	}
	resp.Body = &stream{ctx: req.Context(), exchange: x, body: x.body, fill: x.fill}
	return resp
}

// stream is the body of an answer. It makes bytes as they are read.
type stream struct {
	ctx      context.Context
	exchange *exchange
	body     []byte
	fill     int64
	closed   atomic.Bool
}

// Read implements [io.Reader].
func (s *stream) Read(p []byte) (int, error) {
	switch {
	case s.closed.Load():
		return 0, http.ErrBodyReadAfterClose
	case len(p) == 0:
		return 0, nil
	case s.ctx.Err() != nil:
		s.exchange.end(cutByClient)
		return 0, context.Cause(s.ctx)
	}
	n := copy(p, s.body)
	s.body = s.body[n:]
	if n == 0 && s.fill > 0 {
		n = copy(p[:min(int64(len(p)), s.fill)], filler)
		s.fill -= int64(n)
	}
	switch {
	case len(s.body) > 0 || s.fill > 0:
		return n, nil
	case s.exchange.cut:
		s.exchange.end(cutByOrigin)
		return n, io.ErrUnexpectedEOF
	}
	s.exchange.end(complete)
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Close implements [io.Closer]. A client that closes early has the header, and
// its times, but not its validators, unless its request was cancelled or the
// body could not be read to an end.
func (s *stream) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	switch {
	case s.exchange.cut || s.exchange.fill > 0:
		s.exchange.end(cutByOrigin)
	case s.ctx.Err() != nil:
		s.exchange.end(cutByClient)
	default:
		s.exchange.end(partial)
	}
	return nil
}

// askOracle answers what is not counted.
func (t *transport) askOracle(req *http.Request, rest string) *http.Response {
	status, body := t.origin.consult(req, rest)
	x := &exchange{status: status, header: http.Header{"Content-Type": {"application/json"}}, announce: int64(len(body)), body: body}
	return x.response(req)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// sleep waits, and reports whether the context let it.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
