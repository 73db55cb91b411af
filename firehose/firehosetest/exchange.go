package firehosetest

import (
	"encoding/binary"
	"hash/maphash"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// exchange is one request with its answer. begin reads the request, answer
// makes the header, render the body, and end tells the oracle what became of
// it; a socket or a RoundTripper carries it in between.
type exchange struct {
	origin *Origin
	host   *host

	where         string // scheme://host
	method        string
	path          string
	query         url.Values
	key           resourceKey
	per           int
	timeline      int // -1: none
	authorization string
	token         credential
	stale         bool // it was replaced
	refused       bool // the connection
	accept        string
	tags          []string // If-None-Match
	since         string   // If-Modified-Since
	gzip          bool
	agentless     bool

	res       *resource // nil: there are too many
	flight    *flight
	step      Step
	rejection rejection

	lesson   *lesson
	status   int
	header   http.Header
	values   []string // of header
	page     page
	last     int       // page
	delivery *delivery // nil: of no replay, or not delivered
	segments segments
	body     []byte
	fill     int64 // further bytes after body
	announce int64 // Content-Length; unannounced if not known
	cut      bool  // the connection ends with the bytes, short of what was announced
}

const unannounced = int64(-1)

// rejection says which limit in force rejects a request.
type rejection int

const (
	accepted rejection = iota
	byPrimary
	bySecondary
)

// longestTarget bounds what is remembered of one resource.
const longestTarget = 4096

// read takes what matters from a request.
func (o *Origin) read(r *http.Request, where string) *exchange {
	x := &exchange{
		origin:        o,
		where:         where,
		method:        r.Method,
		path:          r.URL.EscapedPath(),
		authorization: r.Header.Get("Authorization"),
		accept:        r.Header.Get("Accept"),
		since:         r.Header.Get("If-Modified-Since"),
		gzip:          acceptsGzip(r.Header.Values("Accept-Encoding")),
	}
	if lines := r.Header["If-None-Match"]; len(lines) > 0 {
		x.tags = splitTags(lines)
		if len(x.tags) == 0 {
			x.tags = []string{""}
		}
	}
	x.key, x.query = keyOf(r.URL)
	x.timeline = o.route(x.path)
	x.host = o.hostOf(where)
	x.token = o.credential(x.authorization)
	x.per = 30
	if n, err := strconv.Atoi(x.query.Get("per_page")); err == nil && n > 0 {
		x.per = min(n, 100)
	}
	return x
}

// begin judges a request and chooses its answer.
func (o *Origin) begin(r *http.Request, where string, sent time.Time, remote bool) *exchange {
	x := o.read(r, where)
	x.agentless = agentless(r, remote)
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	if len(x.key.target) <= longestTarget {
		x.res = o.find(where, o.user(x.token), x.key, x.bucketName())
	}
	if x.res == nil {
		o.counts.Requests++
		o.counts.Unjudged++
		return x
	}
	x.res.scope.origin.outages = x.host.outages
	o.openWindow(x.host, x.res.bucket, x.authorization != "", now)
	x.flight = o.arrive(x.res, request{
		sent:       o.at(sent),
		remote:     remote,
		authorized: x.authorization != "",
		validator:  x.validator(),
		vary:       x.vary(),
	}, now)
	x.judgeToken()
	o.choose(x, now)
	return x
}

// bucketName is how the host calls what a timeline draws on. Only GitHub's and
// Discord's answers can name several.
func (x *exchange) bucketName() string {
	o := x.origin
	n := 0
	if x.timeline < o.cfg.Timelines {
		n = max(x.timeline, 0) % o.cfg.Buckets
	}
	switch {
	case x.host.Dialect == Discord:
		return strconv.FormatUint(mix(o.cfg.Seed+uint64(n)), 16)
	case x.host.Dialect == GitHub && n > 0:
		return "bucket-" + strconv.Itoa(n)
	}
	return "core"
}

// vary is a hash of what the validators of an answer hold for (H-15).
func (x *exchange) vary() uint64 {
	return maphash.String(x.origin.seed, x.accept) ^ binary.LittleEndian.Uint64(x.token[:])
}

// validator judges If-None-Match, and remembers the variant of the request.
func (x *exchange) validator() validator {
	m := &x.res.tags
	if m.variant == nil || m.accept != x.accept || m.token != x.token {
		*m = tagMemory{via: m.via, accept: x.accept, token: x.token, variant: newVariant(x.origin.cfg.Seed, x.authorization, x.accept, x.key)}
	}
	if x.tags == nil {
		return noValidator
	}
	for _, tag := range x.tags {
		if tag != "" && tag == m.tag || m.variant.handedOut(tag) || m.via != nil && m.via.handedOut(tag) {
			continue
		}
		if from := x.origin.hopTo(x.res); from == nil || from.tags.variant == nil || !from.tags.variant.handedOut(tag) {
			return foreign
		}
	}
	return handedOut
}

// delay is how long to wait before the header.
func (x *exchange) delay() time.Duration {
	if x.step.Kind == Slow && x.step.Delay == 0 {
		return 10 * time.Second
	}
	return x.step.Delay
}

// resets reports whether the connection ends without an answer.
func (x *exchange) resets() bool { return x.step.Kind == Reset && x.rejection == accepted }

// end tells the oracle what became of the answer. The first call counts.
func (x *exchange) end(fate fate) {
	if x.flight == nil {
		return
	}
	o := x.origin
	o.mu.Lock()
	defer o.mu.Unlock()
	if x.flight.over {
		return
	}
	alive := x.flight.died == 0
	if x.lesson == nil {
		x.res.bucket.refund(x.flight)
	}
	if fate == cutByClient && (x.step.Kind == Truncate || x.step.Kind == Endless || x.step.Kind == Huge) {
		fate = cutByOrigin // it had no choice
	}
	if fate == partial {
		fate, x.lesson.partial = complete, true
	}
	now := o.now()
	o.finish(x.flight, x.lesson, fate, now)
	if !alive || fate != complete || x.lesson == nil || x.lesson.partial {
		return
	}
	x.learnToken(now)
	if x.deliver(now); x.page.feed != nil {
		return
	}
	if x.method == http.MethodGet && x.status == http.StatusOK && x.key.page == 1 && x.page.size > 0 {
		s := o.timeline(x.timeline).serving()
		for i := x.page.size - 1; i >= 0; i-- {
			if s.show(x.page.event(i)) {
				o.counts.Items++
			}
		}
	}
}

// revoke takes back that an answer was completed.
func (x *exchange) revoke() {
	if x.flight == nil {
		return
	}
	x.origin.mu.Lock()
	defer x.origin.mu.Unlock()
	x.origin.oracle.revoke(x.flight)
	if x.delivery != nil {
		x.delivery.unread = true
	}
}

func acceptsGzip(lines []string) bool {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") {
				q = strings.ReplaceAll(strings.ToLower(q), " ", "")
				return strings.TrimRight(strings.TrimPrefix(q, "q="), ".0") != "" || q == ""
			}
		}
	}
	return false
}

// agentless reports whether a request carries no User-Agent. Over a
// RoundTripper one that says nothing of it counts as that of net/http, whose
// transport would add its own.
func agentless(r *http.Request, remote bool) bool {
	if _, said := r.Header["User-Agent"]; !said && !remote {
		return false
	}
	return r.UserAgent() == ""
}
