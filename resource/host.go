package resource

import "time"

// Defaults of a [Host].
const (
	HostFailures  = 5                // failures in a row after which a host is left alone
	HostWitnesses = 3                // different resources that must have failed in them
	HostWait      = 5 * time.Second  // the first time that it is left alone for, then doubling
	MaxHostWait   = 30 * time.Second // and at most this: it is one request, and what waits is everything
)

// Host says whether a server answers at all: a circuit breaker, shared by every
// scope at one origin (rules S-500, S-503, S-net), and how many requests it is
// sent at once. It is a plain value; one registry in the process owns the living
// one under a lock, as with a [Bucket].
//
//	closed ── HostFailures in a row, of HostWitnesses resources ──► open
//	  ▲                                                              │ Until
//	  └── an answer ── half-open: one request alone ◄────────────────┘
//	                       │ a failure: open for twice as long
//
// One resource that fails by itself opens nothing: its own backoff slows it
// down, and the others must not pay for it. The zero Host is closed.
type Host struct {
	Cap      int // how many requests may be in flight together; 0: no bound
	InFlight int // requests taken and not ended

	Failures uint8     // in a row, as far as they are different incidents
	Trips    uint8     // times that it opened without an answer between
	Until    time.Time // open: no request before this instant
	tripped  time.Time // when it opened last: failures of requests from before are the same incident
	first    ID        // two different resources that have failed
	second   ID
	third    bool // and a third one has
}

// HostState is what a [Host] amounts to.
type HostState uint8

// The states of a host.
const (
	HostClosed   HostState = iota // it answers, as far as is known
	HostOpen                      // it does not: nothing is sent
	HostHalfOpen                  // one request alone finds out
)

// String returns the name in lower case.
func (s HostState) String() string {
	switch s {
	case HostClosed:
		return "closed"
	case HostOpen:
		return "open"
	}
	return "half-open"
}

// MarshalText returns the name.
func (s HostState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// State says how the host stands at the instant now.
func (h *Host) State(now time.Time) HostState {
	switch {
	case h.Trips == 0:
		return HostClosed
	case ahead(h.Until, now):
		return HostOpen
	}
	return HostHalfOpen
}

// Admit says whether one more request may go to the host at the instant now:
// Ready, or Line with the first instant that can change that (zero when only an
// answer in flight can).
func (h *Host) Admit(now time.Time) (d Decision) {
	h.admit(now, &d)
	return d
}

func (h *Host) admit(now time.Time, d *Decision) {
	switch {
	case ahead(h.Until, now):
		d.wait(h.Until, ReasonBreaker)
		d.State = WaitingForServerAlive
	case h.Trips > 0 && h.InFlight > 0: // the one that finds out, or one from before
		d.wait(time.Time{}, ReasonBreaker)
		d.State = WaitingForServerAlive
	case h.Cap > 0 && h.InFlight >= h.Cap:
		d.wait(time.Time{}, ReasonConcurrency)
	}
}

// Take counts a request as in flight. The caller has asked Admit under the same
// lock. Exactly one of Release, Answer and Fail ends it.
func (h *Host) Take() { h.InFlight++ }

// Release takes a request back that tells nothing of the host: it never left,
// or what sent it broke.
func (h *Host) Release() { h.InFlight = max(0, h.InFlight-1) }

// Answer ends a request that the host has answered as a host that works: with
// anything but a failure of its own. It reports whether the host was closed by
// it.
func (h *Host) Answer() (closed bool) {
	h.Release()
	closed = h.Trips > 0
	*h = Host{Cap: h.Cap, InFlight: h.InFlight}
	return closed
}

// Fail ends a request of the resource who that the host has not answered, or has
// answered with a failure of its own. sent is when it left, now when that is
// known, jitter is from [0,1). until is when the host asked to be left alone to,
// if it did. It reports whether the host was opened by it.
func (h *Host) Fail(who ID, sent, now, until time.Time, jitter float64) (opened bool) {
	h.Release()
	if h.Trips > 0 && !sent.After(h.tripped) {
		return false // in flight together with those that opened it, as far as the clock can tell
	}
	h.Failures = satInc(h.Failures)
	switch {
	case h.first.IsZero():
		h.first = who
	case who == h.first:
	case h.second.IsZero():
		h.second = who
	case who != h.second:
		h.third = true
	}
	if h.Trips == 0 && (h.Failures < HostFailures || !h.third) {
		return false
	}
	wait := backoff(HostWait, uint16(h.Trips), MaxHostWait, jitter)
	h.Trips = satInc(h.Trips)
	h.tripped, h.Until = now, now.Add(wait)
	if until.After(h.Until) {
		h.Until = within(until, now)
	}
	return true
}
