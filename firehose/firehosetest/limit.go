package firehosetest

import (
	"net/http"
	"strconv"
	"time"
)

// window is the true state of a bucket's quota.
type window struct {
	limit     int
	length    time.Duration
	reset     instant // zero: none began yet
	remaining int
	lost      int // charged for answers that did not arrive
}

// secondary is the true state of a scope's secondary limit.
type secondary struct {
	until instant
	form  RetryForm
}

// openWindow begins a new window when the last one has ended. The new one
// ends at a whole second of the origin's clock.
func (o *Origin) openWindow(b *bucket, authorized bool, now instant) {
	w := &b.truth
	if w.reset != 0 && now < w.reset {
		return
	}
	limit := o.cfg.Limit
	if !authorized {
		limit = o.cfg.AnonymousLimit
	}
	b.scope.advance(o.oracle, now)
	if w.reset != 0 {
		b.pace.turn(w.limit, w.length, now)
	}
	clock := o.clock(now).Add(o.cfg.Window)
	end := clock.Truncate(time.Second)
	if end.Before(clock) {
		end = end.Add(time.Second)
	}
	*w = window{limit: limit, length: o.cfg.Window, reset: o.unclock(end), remaining: limit}
}

// charge takes one request from the bucket; the caller looked whether there
// is one.
func (b *bucket) charge(f *flight) {
	b.truth.remaining--
	b.pace.used++
	f.charged, f.window = true, b.truth.reset
}

// refund gives it back, for a 304 (G-5) or a request that was not answered.
func (b *bucket) refund(f *flight) {
	if f.charged && f.window == b.truth.reset {
		b.truth.remaining++
		b.pace.used--
	}
	f.charged = false
}

// clock is the time that the origin shows.
func (o *Origin) clock(i instant) time.Time { return o.wall(i).Add(o.skew).UTC() }

// unclock is the instant at which the origin shows a time.
func (o *Origin) unclock(t time.Time) instant { return o.at(t.Add(-o.skew)) }

// limitHeaders writes the state of the bucket (G-7).
func (x *exchange) limitHeaders() {
	o, b := x.origin, x.res.bucket
	w := &b.truth
	reset := o.clock(w.reset)
	epoch := reset.Unix()
	if reset.Nanosecond() > 0 { // the skew was changed during the window
		epoch++
	}
	x.set("X-Ratelimit-Limit", strconv.Itoa(w.limit))
	x.set("X-Ratelimit-Remaining", strconv.Itoa(w.remaining))
	x.set("X-Ratelimit-Used", strconv.Itoa(w.limit-w.remaining))
	x.set("X-Ratelimit-Reset", strconv.FormatInt(epoch, 10))
	x.set("X-Ratelimit-Resource", b.name)
}

// trigger begins a secondary limit.
func (o *Origin) trigger(s *scope, wait time.Duration, form RetryForm, now instant) {
	until := now.add(wait)
	switch form {
	case RetryNone:
		until = now.add(time.Minute)
	case RetryDate, RetryRFC850, RetryANSI:
		until = o.unclock(o.clock(now).Truncate(time.Second).Add(wait))
	}
	s.secondary = secondary{until, form}
}

// retryAfter is the header for a wait until an instant; empty for none. Seconds
// round up, so that they never end before it.
func (o *Origin) retryAfter(form RetryForm, until, now instant) string {
	switch form {
	case RetryNone:
		return ""
	case RetrySeconds:
		return strconv.FormatInt(int64((until.since(now)+time.Second-1)/time.Second), 10)
	}
	date := o.clock(until)
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
