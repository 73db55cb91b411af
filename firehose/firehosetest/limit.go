package firehosetest

import (
	"net/http"
	"strconv"
	"time"
)

// window is the true state of a quota.
type window struct {
	limit     int
	length    time.Duration
	from      instant // it began
	reset     instant // zero: none began yet
	remaining int
	lost      int // charged for answers that did not arrive
}

// quota is a window with what answers told of it.
type quota struct {
	told  windowFact // a window that an answer told of
	zero  windowFact // one of which an answer told that nothing remains
	truth window
}

// secondary is the true state of a scope's secondary limit.
type secondary struct {
	until instant
	form  RetryForm
}

// openWindow begins a new window of each quota whose last one has ended. The
// new one ends at a whole second of the host's clock, Discord's at a
// millisecond.
func (o *Origin) openWindow(h *host, b *bucket, authorized bool, now instant) {
	if h.Dialect == IETF {
		if b.burst == nil {
			b.burst = &quota{}
		}
		if s := &b.burst.truth; now >= s.reset {
			*s = h.window(h.Burst, h.BurstWindow, now)
		}
	}
	w := &b.truth
	if w.reset != 0 && now < w.reset {
		return
	}
	limit := h.Limit
	if !authorized {
		limit = h.anonymous
	}
	b.scope.advance(o.oracle, now)
	if w.reset != 0 {
		b.close(o.oracle, now)
		b.pace.turn(w.limit, w.length, now)
	}
	*w = h.window(limit, h.Window, now)
}

func (h *host) window(limit int, length time.Duration, now instant) window {
	unit := time.Second
	if h.Dialect == Discord {
		unit = time.Millisecond
	}
	clock := h.clock(now).Add(length)
	end := clock.Truncate(unit)
	if end.Before(clock) {
		end = end.Add(unit)
	}
	return window{limit: limit, length: length, from: now, reset: h.unclock(end), remaining: limit}
}

// exhausted reports whether one of the quotas has nothing left.
func (b *bucket) exhausted() bool {
	return b.truth.remaining == 0 || b.burst != nil && b.burst.truth.remaining == 0
}

// freedAt is when all that have nothing left begin anew.
func (b *bucket) freedAt() (until instant) {
	if b.truth.remaining == 0 {
		until = b.truth.reset
	}
	if b.burst != nil && b.burst.truth.remaining == 0 {
		until = max(until, b.burst.truth.reset)
	}
	return until
}

// charge takes one request from the bucket; the caller looked whether there
// is one.
func (b *bucket) charge(f *flight) {
	b.truth.remaining--
	b.pace.used++
	f.charged, f.window = true, b.truth.reset
	if b.burst != nil {
		b.burst.truth.remaining--
		f.burst = b.burst.truth.reset
	}
}

// refund gives it back, for a 304 (G-5) or a request that was not answered.
func (b *bucket) refund(f *flight) {
	if f.charged && f.window == b.truth.reset {
		b.truth.remaining++
		b.pace.used--
	}
	if f.charged && b.burst != nil && f.burst == b.burst.truth.reset {
		b.burst.truth.remaining++
	}
	f.charged = false
}

// lose notes that an answer which was charged did not arrive.
func (b *bucket) lose() {
	b.truth.lost++
	if b.burst != nil {
		b.burst.truth.lost++
	}
}

// forget takes back what was told since an instant.
func (b *bucket) forget(since instant) {
	b.park.forget(since)
	for _, q := range [...]*quota{&b.quota, b.burst} {
		if q != nil {
			q.told.forget(since)
			q.zero.forget(since)
		}
	}
}

// trigger begins a secondary limit.
func (h *host) trigger(s *scope, wait time.Duration, form RetryForm, now instant) {
	until := now.add(wait)
	switch form {
	case RetryNone:
		until = now.add(time.Minute)
	case RetryDate, RetryRFC850, RetryANSI:
		until = h.unclock(h.clock(now).Truncate(time.Second).Add(wait))
	}
	s.secondary = secondary{until, form}
}

// retryAfter is the header for a wait until an instant; empty for none. Seconds
// round up, so that they never end before it.
func (h *host) retryAfter(form RetryForm, until, now instant) string {
	switch form {
	case RetryNone:
		return ""
	case RetrySeconds:
		return strconv.FormatInt(int64((until.since(now)+time.Second-1)/time.Second), 10)
	}
	date := h.clock(until)
	if whole := date.Truncate(time.Second); whole.Before(date) {
		date = whole.Add(time.Second)
	}
	switch form {
	case RetryRFC850:
		return date.Format("Monday, 02-Jan-06 15:04:05 GMT")
	case RetryANSI:
		return date.Format(time.ANSIC)
	}
	return date.Format(http.TimeFormat)
}
