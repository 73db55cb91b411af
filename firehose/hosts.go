package firehose

import (
	"sync"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// hostState is one server, shared by the scopes at its origin. Its lock is the
// last one: nothing else is taken, and nothing is called, under it.
type hostState struct {
	origin string
	shared bool // other shards may reach it too: its probe takes a lease

	mu      sync.Mutex
	host    resource.Host
	tickets int // resources on their way to it through requests
	scopes  []*scopeState

	probing bool      // its probe is under way, or asked for
	denied  time.Time // the instant before which a probe is not asked for again
}

// snapshot is the state of the host, as the Analyzer sees it: who is on the way
// to it counts as in flight. again says that one of them asks.
func (h *hostState) snapshot(again bool) resource.Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	host := h.viewLocked()
	if !again {
		host.InFlight = max(host.InFlight, h.tickets)
	}
	return host
}

// take reserves, or says why nothing may be sent now. p is the right to probe the
// host; nil: the request has none.
func (h *hostState) take(now time.Time, p *probe) resource.Decision {
	h.mu.Lock()
	defer h.mu.Unlock()
	host := h.host
	if p == nil {
		host = h.viewLocked()
	}
	d := host.Admit(now)
	if d.Kind == resource.Ready && p == nil && h.shared && host.State(now) == resource.HostHalfOpen { // since a moment
		d = resource.Decision{Kind: resource.Line, State: resource.WaitingForServerAlive, At: now.Add(time.Millisecond), Why: resource.ReasonBreaker}
	}
	if d.Kind == resource.Ready {
		h.host.Take()
	} else {
		d.Wide = true
	}
	return d
}

// ticket counts one that is on its way, or with -1 one that has arrived.
func (h *hostState) ticket(n int) {
	h.mu.Lock()
	h.tickets += n
	h.mu.Unlock()
}

// heard ends a request with what came of it. It reports a change of the host
// that people want to know of, and whether others may have waited for its end.
func (h *hostState) heard(r *hearsay) (news EventKind, changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	waited := h.host.Trips > 0 || h.host.Cap > 0
	news = noEvent
	switch {
	case r == nil:
		h.host.Release()
	case r.failed:
		if h.host.Fail(r.who, r.sent, r.now, r.until, r.jitter) && h.host.Trips == 1 {
			news = EventHostDown
		}
	case h.host.Answer():
		news = EventHostUp
	}
	return news, waited
}

// hold counts a request again that has been heard of: its body is on the way.
func (h *hostState) hold() {
	h.mu.Lock()
	h.host.Take()
	h.mu.Unlock()
}

// hearsay is what a request tells of its host. Nil: nothing.
type hearsay struct {
	failed           bool
	who              resource.ID // that was asked for
	sent, now, until time.Time
	jitter           float64
}

// signal tells every line of every scope at the host that something may be
// admitted now.
func (h *hostState) signal() {
	h.mu.Lock()
	scopes := h.scopes
	h.mu.Unlock()
	for _, s := range scopes {
		s.signal()
	}
}

// join adds a scope at the host.
func (h *hostState) join(s *scopeState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.scopes = append(h.scopes[:len(h.scopes):len(h.scopes)], s) // a copy: signal reads it without the lock
}

// leave takes a scope out that was forgotten. It reports whether nobody is left.
func (h *hostState) leave(s *scopeState) (empty bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var rest []*scopeState
	for _, other := range h.scopes {
		if other != s {
			rest = append(rest, other)
		}
	}
	h.scopes = rest
	return len(rest) == 0
}
