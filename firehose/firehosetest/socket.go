package firehosetest

import (
	"maps"
	"net"
	"net/http"
	"strings"
	"time"
)

// ServeHTTP answers one request on a real socket. The host of a request is
// its origin. Cut answers end their connection, by [http.ErrAbortHandler] if
// it can't be taken over.
//
// GET /_oracle is the Verdict as JSON. POST /_oracle/killed calls Killed with
// the present instant, or with that of the query parameter at (RFC 3339).
// POST /_oracle/published calls Published with each line of its body. POST
// /_oracle/items calls Items with its body, an ItemReport as JSON, and answers
// the ItemVerdict. None of them is counted as a request.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rest, ok := oraclePath(r); ok {
		status, body := o.consult(r, rest)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(body) // who went away misses it
		return
	}
	where := "http://" + strings.ToLower(r.Host)
	if r.TLS != nil {
		where = "https://" + strings.ToLower(r.Host)
	}
	x := o.begin(r, where, time.Now(), true)
	if reused := o.reused(r.RemoteAddr); x.resets() {
		x.flight.again = reused
	}
	if !sleep(r.Context(), x.delay()) {
		x.end(cutByClient)
		return
	}
	if x.resets() {
		x.end(cutByOrigin)
		reset(w)
		return
	}
	x.answer()
	x.render()
	x.write(w, r)
}

// mostConnections bounds the client addresses that are remembered.
const mostConnections = 1 << 16

// reused reports whether a connection may have carried a request before. If it
// is then reset before an answer, a client may repeat its GET at once on
// another one (RFC 9112, 9.3.1), and the transport of net/http does so unseen.
func (o *Origin) reused(remote string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.connections[remote]; known || len(o.connections) >= mostConnections {
		return true
	}
	o.connections[remote] = struct{}{}
	return false
}

// write hands the answer over. The oracle takes it as complete just before
// its last byte: from then on the client may act on it, and the handler need
// not have returned. A last byte that can't be written revokes that. A context
// that is cancelled after it does not: the client may have closed its
// connection because it had all that it wanted.
func (x *exchange) write(w http.ResponseWriter, r *http.Request) {
	maps.Copy(w.Header(), x.header)
	if x.announce != unannounced {
		w.Header()["Content-Length"] = []string{itoa(x.announce)}
	}
	flush := http.NewResponseController(w).Flush
	w.WriteHeader(x.status)
	if len(x.body) == 0 && x.fill == 0 {
		if r.Context().Err() != nil {
			x.end(cutByClient)
			return
		}
		x.end(complete)
		if flush() != nil {
			x.revoke()
		}
		return
	}
	last := len(x.body)
	if !x.cut && x.fill == 0 {
		last--
	}
	_, err := w.Write(x.body[:last])
	if x.fill > 0 {
		x.end(cutByOrigin) // whoever gives it up now is right, and seen late
	}
	for err == nil && x.fill > 0 {
		n := min(x.fill, int64(len(filler)))
		_, err = w.Write([]byte(filler[:n]))
		x.fill -= n
	}
	switch {
	case err != nil || r.Context().Err() != nil:
		x.end(cutByClient)
	case x.cut:
		_ = flush() // half of it is what the client shall get
		x.end(cutByOrigin)
	default:
		x.end(complete)
		_, err = w.Write(x.body[last:])
		if flush() != nil || err != nil {
			x.revoke()
		}
	}
}

// filler is white space, so that a huge body is a very long JSON text.
const (
	filler16  = "                "
	filler128 = filler16 + filler16 + filler16 + filler16 + filler16 + filler16 + filler16 + filler16
	filler    = filler128 + filler128 + filler128 + filler128 + filler128 + filler128 + filler128 + filler128
)

// reset ends the connection before any byte of an answer.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the documented way to end it without an answer
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // discard and reset; closing decides anyway
	}
	_ = conn.Close()
}
