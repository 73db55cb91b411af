package firehosetest

import (
	"hash/maphash"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// read makes the lesson of a real answer, and remembers its ETag and bucket.
func (w *Watcher) read(req *http.Request, resp *http.Response, f *flight, sent instant, received time.Time, notice bool) *lesson {
	h := resp.Header
	w.mu.Lock()
	defer w.mu.Unlock()
	r := f.res
	l := &lesson{status: resp.StatusCode, begun: w.at(received), vary: maphash.String(w.seed, req.Header.Get("Accept"))}
	l.wait, _ = seconds(h.Get("X-Poll-Interval"))
	l.pause = max(l.wait, maxAge(h))
	if name := h.Get("X-Ratelimit-Resource"); name != "" && (len(r.scope.buckets) < mostBuckets || r.bucket.name == name) {
		r.bucket = r.scope.bucket(name, l.begun)
	}
	clock := serverClock{oracle: w.oracle, sent: sent}
	clock.date, _ = http.ParseTime(h.Get("Date"))
	if epoch, err := strconv.ParseInt(h.Get("X-Ratelimit-Reset"), 10, 64); err == nil && epoch > 0 && epoch < 1<<33 {
		l.window = clock.instant(time.Unix(epoch, 0))
		l.nothing = h.Get("X-Ratelimit-Remaining") == "0"
	}
	retry, told := clock.retryAfter(h.Get("Retry-After"), l.begun)
	w.classify(req, resp, l, retry, told, notice)
	if tag := h.Get("Etag"); tag != "" && l.outcome == answered {
		l.tag = true
		r.tags.remember(tag)
		r.tags.handed++
		if f.from != nil {
			f.from.tags.remember(tag)
		}
	}
	return l
}

// classify says what the status means (3.6, G-12 to G-15).
func (w *Watcher) classify(req *http.Request, resp *http.Response, l *lesson, retry instant, told, notice bool) {
	switch status := resp.StatusCode; {
	case status == http.StatusOK || status == http.StatusNotModified:
		l.outcome = answered
	case redirects(status):
		l.outcome, l.retry = moved, retry
		if to, err := req.URL.Parse(resp.Header.Get("Location")); err == nil {
			l.away = to.Scheme + "://" + to.Host
			key, _ := keyOf(to)
			l.target = &key
		}
	case status == http.StatusForbidden && told, (status == http.StatusForbidden || status == http.StatusTooManyRequests) && notice:
		l.outcome, l.whole = limited, true
		switch {
		case told:
			l.park = retry
		case l.nothing:
			l.park = l.window
		default:
			l.park = l.begun.add(time.Minute)
		}
	case (status == http.StatusForbidden || status == http.StatusTooManyRequests) && l.nothing && !told:
		l.outcome, l.park = limited, l.window
	case status == http.StatusTooManyRequests && !told:
		l.outcome, l.retry = failed, l.begun.add(time.Minute)
	case status == 400, status == 401, status == 403, status == 410, status == 422, status == 451:
		l.outcome, l.retry = refused, retry
	default:
		l.outcome, l.retry = failed, retry
	}
}

// serverClock converts what a server's clock shows.
type serverClock struct {
	*oracle
	sent instant
	date time.Time
}

// instant is the earliest at which the server can show a time. Date was shown
// after the request was sent, and up to a second before the clock's full time.
func (c serverClock) instant(t time.Time) instant {
	if c.date.IsZero() {
		return c.at(t)
	}
	return max(1, c.sent.add(t.Sub(c.date)-time.Second))
}

// retryAfter reads Retry-After in its two forms; anything else is ignored
// (H-1 to H-4).
func (c serverClock) retryAfter(text string, begun instant) (until instant, told bool) {
	if wait, ok := seconds(text); ok {
		return begun.add(wait), true
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	return c.instant(date), true
}

// seconds reads delay-seconds.
func seconds(text string) (time.Duration, bool) {
	n, err := strconv.ParseUint(text, 10, 31)
	return time.Duration(n) * time.Second, err == nil
}

// maxAge is what remains of max-age; zero if there is none.
func maxAge(h http.Header) time.Duration {
	for _, line := range h.Values("Cache-Control") {
		for part := range strings.SplitSeq(line, ",") {
			value, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(part)), "max-age=")
			if !ok {
				continue
			}
			age, _ := seconds(h.Get("Age"))
			fresh, _ := seconds(strings.Trim(value, `"`))
			return max(0, fresh-age)
		}
	}
	return 0
}
