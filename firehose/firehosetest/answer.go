package firehosetest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	documentation   = "https://docs.github.com/rest"
	secondaryDocs   = documentation + "/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"
	secondaryNotice = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
)

// answer makes status, headers and lesson. It is called just before the
// header is written: this instant is the one that clients are judged by.
func (x *exchange) answer() {
	o := x.origin
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	x.header = make(http.Header, mostHeaders)
	x.values = make([]string, 0, mostHeaders)
	x.announce = unannounced
	x.set("Date", x.host.clock(now).Format(http.TimeFormat))
	if x.res == nil {
		x.say(http.StatusServiceUnavailable, "Too many resources.", documentation)
		return
	}
	o.openWindow(x.host, x.res.bucket, x.authorization != "", now)
	interval, maxAge := o.intervalOf(x.host, x.path, now)
	x.lesson = &lesson{begun: now, vary: x.vary(), renew: x.stale, pause: max(interval, maxAge)}
	switch {
	case x.rejection == bySecondary:
		x.limitSecondary(now)
	case x.rejection == byPrimary:
		x.limitPrimary(now)
	default:
		x.perform(interval, maxAge, now)
	}
	switch {
	case x.status >= 500: // it can't say what it cost, so it costs nothing
		x.res.bucket.refund(x.flight)
	case !x.stale: // else it is nobody's
		x.limitHeaders(now)
	}
	x.lesson.status = x.status
}

// intervalOf is the poll interval and max-age of a path at a host.
func (o *Origin) intervalOf(h *host, path string, now instant) (interval, maxAge time.Duration) {
	interval = o.interval
	for _, p := range o.cfg.PollSteps {
		if now >= o.born.add(p.After) {
			interval = p.Interval
		}
	}
	if h.PollInterval != 0 {
		interval = h.PollInterval
	}
	if own, ok := o.intervals[strings.TrimPrefix(path, movedPrefix)]; ok {
		interval = own
	}
	if maxAge = o.maxAge; maxAge == 0 {
		maxAge = interval
	}
	return interval, maxAge
}

// perform answers by the step.
func (x *exchange) perform(interval, maxAge time.Duration, now instant) {
	switch x.step.Kind {
	case Secondary:
		wait := x.step.RetryAfter
		if wait == 0 {
			wait = x.origin.cfg.SecondaryWait
		}
		x.host.trigger(x.res.scope, wait, x.step.Form, now)
		x.limitSecondary(now)
	case Status:
		x.failWith(now)
	case LoginPage:
		x.status, x.body = http.StatusOK, []byte(loginPage)
		x.set("Content-Type", "text/html; charset=utf-8")
		x.lesson.outcome = failed
	case Redirect:
		x.redirect()
	default:
		x.normal(interval, maxAge, now)
	}
}

// say answers with GitHub's form of a message.
func (x *exchange) say(status int, message, docs string) {
	x.status = status
	x.body, _ = json.Marshal(map[string]string{"message": message, "documentation_url": docs}) // strings always encode
	x.set("Content-Type", "application/json; charset=utf-8")
}

// limitSecondary rejects by the scope's secondary limit. Without Retry-After
// every rejection means a minute from then (G-13).
func (x *exchange) limitSecondary(now instant) {
	scope := x.res.scope
	s := &scope.secondary
	if s.form == RetryNone {
		s.until = now.add(time.Minute)
	}
	scope.dark = addOutage(scope.dark, outage{from: now, to: s.until})
	if x.say(x.rejectionStatus(), secondaryNotice, secondaryDocs); x.host.Dialect != GitHub {
		x.plain("Too Many Requests\n")
	}
	if after := x.host.retryAfter(s.form, s.until, now); after != "" {
		x.set("Retry-After", after)
	}
	x.lesson.outcome, x.lesson.park, x.lesson.whole = limited, s.until, true
}

// failWith answers a status of a script or fault.
func (x *exchange) failWith(now instant) {
	step, l := x.step, x.lesson
	message := http.StatusText(step.Status)
	if x.agentless {
		message = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header."
	}
	x.say(step.Status, message, documentation)
	l.outcome = failed
	switch step.Status {
	case 400, 401, 403, 410, 422, 451:
		l.outcome = refused
	case http.StatusTooManyRequests:
		l.retry = now.add(time.Minute)
	}
	if step.RetryAfter > 0 && step.Form != RetryNone {
		l.retry = now.add(step.RetryAfter)
		if step.Form != RetrySeconds {
			l.retry = x.host.unclock(x.host.clock(now).Truncate(time.Second).Add(step.RetryAfter))
		}
		x.set("Retry-After", x.host.retryAfter(step.Form, l.retry, now))
	}
}

// redirect answers a 3xx; each hop is a request of its own (G-18).
func (x *exchange) redirect() {
	x.status = x.step.Status
	if x.status == 0 {
		x.status = http.StatusFound
	}
	location := x.step.Location
	same := x.path
	if len(x.query) > 0 || x.key.page > 1 {
		same += "?" + x.pageQuery(x.key.page)
	}
	switch location {
	case "":
		back, isMoved := strings.CutPrefix(same, movedPrefix)
		if location = x.where + movedPrefix + same; isMoved {
			location = x.where + back
		}
	case Elsewhere:
		location = elsewhere(x.where) + same
	}
	x.lesson.outcome = moved
	base := &url.URL{Path: x.path}
	base.Scheme, base.Host, _ = strings.Cut(x.where, "://")
	if u, err := base.Parse(location); err == nil {
		x.lesson.away = u.Scheme + "://" + u.Host
		key, _ := keyOf(u)
		x.lesson.target = &key
	}
	x.set("Location", location)
	x.body = []byte{}
}

// normal answers with the events.
func (x *exchange) normal(interval, maxAge time.Duration, now instant) {
	switch {
	case x.timeline < 0:
		x.lesson.outcome = failed
		x.say(http.StatusNotFound, "Not Found", documentation)
		return
	case x.method != http.MethodGet && x.method != http.MethodHead:
		x.lesson.outcome = refused
		x.say(http.StatusMethodNotAllowed, "Method Not Allowed", documentation)
		return
	}
	digest, modified, ok := x.turn(now)
	if !ok {
		x.pastLast()
		return
	}
	tag := x.res.tag(digest)
	x.eventHeaders(tag, modified, interval, maxAge)
	x.lesson.tag = true
	if from := x.flight.from; from != nil {
		from.tags.via = x.res.tags.variant
	}
	if x.host.Dialect != GitHub {
		interval = maxAge
	}
	if interval > 0 && x.key.page == 1 {
		x.lesson.wait = interval
	}
	whole := x.step.Kind == Normal || x.step.Kind == Slow
	if whole && x.unchanged(tag, modified) {
		x.status = http.StatusNotModified
		if x.authorization != "" && x.host.Dialect == GitHub {
			x.res.bucket.refund(x.flight)
		}
		return
	}
	x.status = http.StatusOK
	x.set("Content-Type", "application/json; charset=utf-8")
}

// turn finds the page that was asked for; not ok past the last one.
func (x *exchange) turn(now instant) (digest uint64, modified time.Time, ok bool) {
	o := x.origin
	if f := o.feed; f != nil && x.timeline == o.cfg.Timelines {
		f.advance(now)
		if x.last = f.pages(x.per); x.key.page > x.last {
			return 0, time.Time{}, false
		}
		if x.key.page > 1 {
			f.hurry(o.cfg.ShiftOnPage, now)
			x.last = f.pages(x.per)
		}
		x.page = f.page(x.key.page, x.per)
		return x.page.digest(), o.wall(f.modified()).UTC(), true
	}
	if x.last = pages(x.per); x.key.page > x.last {
		return 0, time.Time{}, false
	}
	t := o.timeline(x.timeline)
	t.look(o.segments.slot(now), o.cfg.Late)
	x.page, x.segments = t.page(x.key.page, x.per), o.segments
	return t.digest, o.segments.wallOf(o.oracle, t.top, t), true
}

// pastLast answers a request for a page that there is not (E-1).
func (x *exchange) pastLast() {
	if x.origin.cfg.PastLast == http.StatusNotFound {
		x.lesson.outcome = failed
		x.say(http.StatusNotFound, "Not Found", documentation)
		return
	}
	x.lesson.outcome = refused
	x.say(http.StatusUnprocessableEntity, "In order to keep the API fast for everyone, pagination is limited for this resource.", documentation)
}

// tag returns the ETag for what a page shows.
func (r *resource) tag(digest uint64) string {
	if m := &r.tags; m.tag == "" || m.digest != digest {
		m.digest, m.tag = digest, m.variant.tag(digest)
	}
	return r.tags.tag
}

// unchanged compares validators; If-None-Match comes first (H-6).
func (x *exchange) unchanged(tag string, modified time.Time) bool {
	if x.tags == nil {
		since, err := http.ParseTime(x.since)
		return err == nil && !modified.Truncate(time.Second).After(since)
	}
	for _, t := range x.tags {
		if t == "*" || opaque(t) != "" && opaque(t) == opaque(tag) {
			return true
		}
	}
	return false
}

// elsewhere is another origin that the same listener or RoundTripper serves.
func elsewhere(where string) string {
	u, err := url.Parse(where)
	if err != nil || u.Port() == "" {
		scheme, _, _ := strings.Cut(where, ":")
		return scheme + "://elsewhere.invalid"
	}
	host := "localhost"
	if u.Hostname() == host {
		host = "127.0.0.1"
	}
	return u.Scheme + "://" + host + ":" + u.Port()
}
