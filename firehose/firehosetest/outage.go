package firehosetest

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"
)

// Outage is a span in which no request is answered as it should be, given as
// durations since New. Nothing in it counts against a limit.
type Outage struct {
	From time.Duration // its beginning
	To   time.Duration // its end, which is outside
	// Status, 500 to 599, answers every request. Default 0: connections are
	// cut before an answer.
	Status int
	// Refused refuses connections instead of cutting them. A socket can't,
	// while it listens, and cuts them. Not together with Status.
	Refused bool
}

func (o Outage) validate() error {
	switch {
	case o.From < 0 || o.To < o.From:
		return fmt.Errorf("from %v to %v: must be in order and not negative", o.From, o.To)
	case o.Status != 0 && (o.Status < 500 || o.Status > 599):
		return fmt.Errorf("status %d: must be 0, or 500 to 599", o.Status)
	case o.Status != 0 && o.Refused:
		return fmt.Errorf("status %d: a refused connection has no answer", o.Status)
	}
	return nil
}

// outage is a span on the clock of an oracle.
type outage struct {
	from, to instant
	status   int
	refused  bool
}

// mostOutages bounds the outages that are remembered; the oldest are forgotten.
const mostOutages = 1024

func startOutages(list []Outage, now instant) (all []outage) {
	for _, out := range list {
		all = append(all, outage{now.add(out.From), now.add(out.To), out.Status, out.Refused})
	}
	return all
}

// addOutage keeps the number bounded.
func addOutage(list []outage, out outage) []outage {
	if len(list) >= mostOutages {
		list = slices.Delete(list, 0, len(list)-mostOutages+1)
	}
	return append(list, out)
}

// down finds the outage that a request meets.
func (x *exchange) down(now instant) *outage {
	for _, list := range [...][]outage{x.origin.outages, x.host.outages} {
		for i := range list {
			if list[i].from <= now && now < list[i].to {
				return &list[i]
			}
		}
	}
	return nil
}

// suffer answers a request in an outage.
func (x *exchange) suffer(out *outage) {
	x.step = Step{Kind: Reset}
	if out.status != 0 {
		x.step = Step{Kind: Status, Status: out.status}
	}
	x.refused = out.refused
}

// resetError is what a client sees of a connection without an answer.
func (x *exchange) resetError() error {
	if x.refused {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
}

// darkness measures how much of a span a scope could not be asked in: by
// outages, secondary limits and kills, whichever overlap.
func (o *oracle) darkness(s *scope, from, to instant) time.Duration {
	spans := o.spans[:0]
	for _, list := range [...][]outage{o.outages, s.origin.outages} {
		for _, span := range list {
			if span.from < to && span.to > from {
				spans = append(spans, span)
			}
		}
	}
	for _, list := range [...][]outage{s.dark, o.kills} { // in the order of their ends
		for i := len(list) - 1; i >= 0 && list[i].to > from; i-- {
			if list[i].from < to {
				spans = append(spans, list[i])
			}
		}
	}
	o.spans = spans
	if len(spans) == 0 {
		return 0
	}
	slices.SortFunc(spans, func(a, b outage) int { return int(min(max(a.from-b.from, -1), 1)) })
	dark, at := time.Duration(0), from
	for _, span := range spans {
		if begin, end := max(span.from, at), min(span.to, to); end > begin {
			dark += end.since(begin)
			at = end
		}
	}
	return dark
}

// awake ends the time in which clients lay killed: a request came.
func (o *oracle) awake(now instant) {
	if n := len(o.kills); n > 0 && o.kills[n-1].to == never {
		o.kills[n-1].to = now
	}
}

// startHosts makes the state of all hosts.
func (o *Origin) startHosts(cfg Config) {
	o.main = newHost(Host{Dialect: cfg.Dialect, Secondary: cfg.Secondary, Skew: cfg.Skew}, cfg, o.oracle)
	for _, h := range cfg.Hosts {
		if o.hosts == nil {
			o.hosts = map[string]*host{}
		}
		o.hosts[h.Name] = newHost(h, cfg, o.oracle)
	}
}

// unauthorized is what a revoked token gets (S-401).
func unauthorized() Step { return Step{Kind: Status, Status: http.StatusUnauthorized} }
