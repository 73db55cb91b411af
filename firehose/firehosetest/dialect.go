package firehosetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Dialect is how a host tells its limits. Only GitHub's tells X-Poll-Interval
// and gives 304s away; the others tell their poll interval as max-age, which
// the oracle takes as a duty, and charge every answer below 500. They reject
// with 429 and Retry-After.
type Dialect int

// The dialects.
const (
	// GitHub tells X-RateLimit-* with the reset as an epoch, and a bucket by
	// X-RateLimit-Resource (L-GitHub).
	GitHub Dialect = iota
	// GitLab tells RateLimit-* with the reset as an epoch, and rejects in
	// plain text (L-GitLab).
	GitLab
	// IETF tells RateLimit and RateLimit-Policy as structured fields, for two
	// policies: "burst", which is Config.Burst, and "daily", which is
	// Config.Limit, whatever the length of its window (I-1 to I-7).
	IETF
	// ThreeHeaders is the older form of the IETF draft: RateLimit-Limit,
	// -Remaining and -Reset, the latter in seconds from now (I-11).
	ThreeHeaders
	// Discord tells X-RateLimit-* with decimals, Reset-After, and the bucket
	// by X-RateLimit-Bucket. Windows end within a second (L-Discord).
	Discord
	// RetryAfterOnly tells nothing of its limit before a rejection.
	RetryAfterOnly
	// CacheControlOnly has no limit and tells nothing but max-age.
	CacheControlOnly
	dialects
)

// errDialect names those there are.
var errDialect = errors.New("must be github, gitlab, ietf, three-headers, discord, retry-after or cache-control")

// String is the name that DialectNamed takes.
func (d Dialect) String() string {
	names := [...]string{"github", "gitlab", "ietf", "three-headers", "discord", "retry-after", "cache-control"}
	if d < 0 || d >= dialects {
		return "dialect " + strconv.Itoa(int(d))
	}
	return names[d]
}

// DialectNamed returns the dialect of that name. The error lists the names.
func DialectNamed(name string) (Dialect, error) {
	for d := range dialects {
		if d.String() == name {
			return d, nil
		}
	}
	return 0, fmt.Errorf("firehosetest: dialect %q: %w", name, errDialect)
}

// secondsUp rounds up, so that a wait never ends before its instant.
func secondsUp(d time.Duration) string {
	return strconv.FormatInt(int64((max(d, 0)+time.Second-1)/time.Second), 10)
}

// decimals are seconds to the millisecond, rounded up.
func decimals(d time.Duration) string {
	ms := int64((max(d, 0) + time.Millisecond - 1) / time.Millisecond)
	return strconv.FormatFloat(float64(ms)/1000, 'f', 3, 64)
}

// epoch is the reset in the host's clock. The skew may have been changed
// during the window, which then does not end at a whole second.
func (h *host) epoch(reset instant) int64 {
	t := h.clock(reset)
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// limitHeaders writes the state of the bucket (G-7, I-1), and teaches it.
func (x *exchange) limitHeaders(now instant) {
	b, h, l := x.res.bucket, x.host, x.lesson
	w := &b.truth
	limit, left, used := strconv.Itoa(w.limit), strconv.Itoa(w.remaining), strconv.Itoa(w.limit-w.remaining)
	switch h.Dialect {
	case RetryAfterOnly, CacheControlOnly:
		return
	case GitLab:
		x.set("Ratelimit-Limit", limit)
		x.set("Ratelimit-Observed", used)
		x.set("Ratelimit-Remaining", left)
		x.set("Ratelimit-Reset", itoa(h.epoch(w.reset)))
		x.set("Ratelimit-Resettime", time.Unix(h.epoch(w.reset), 0).UTC().Format(http.TimeFormat))
		x.set("Ratelimit-Name", "throttle_authenticated_api")
	case IETF:
		s := &b.burst.truth
		x.set("Ratelimit-Policy", `"burst";q=`+strconv.Itoa(s.limit)+`;w=`+secondsUp(s.length)+
			`, "daily";q=`+limit+`;w=`+secondsUp(w.length))
		x.set("Ratelimit", `"burst";r=`+strconv.Itoa(s.remaining)+`;t=`+secondsUp(s.reset.since(now))+
			`, "daily";r=`+left+`;t=`+secondsUp(w.reset.since(now)))
		l.burst, l.burstNothing = s.reset, s.remaining == 0
	case ThreeHeaders:
		x.set("Ratelimit-Limit", limit)
		x.set("Ratelimit-Remaining", left)
		x.set("Ratelimit-Reset", secondsUp(w.reset.since(now)))
	case Discord:
		x.set("X-Ratelimit-Limit", limit)
		x.set("X-Ratelimit-Remaining", left)
		reset := h.clock(w.reset)
		x.set("X-Ratelimit-Reset", strconv.FormatFloat(float64(reset.UnixMilli())/1000, 'f', 3, 64))
		x.set("X-Ratelimit-Reset-After", decimals(w.reset.since(now)))
		x.set("X-Ratelimit-Bucket", b.name)
	default:
		x.set("X-Ratelimit-Limit", limit)
		x.set("X-Ratelimit-Remaining", left)
		x.set("X-Ratelimit-Used", used)
		x.set("X-Ratelimit-Reset", itoa(h.epoch(w.reset)))
		x.set("X-Ratelimit-Resource", b.name)
	}
	l.window, l.nothing = w.reset, w.remaining == 0
}

// limitPrimary rejects by the bucket's exhaustion (G-12).
func (x *exchange) limitPrimary(now instant) {
	h, until := x.host, x.res.bucket.freedAt()
	x.lesson.outcome, x.lesson.park = limited, until
	if h.Dialect == GitHub {
		x.say(x.rejectionStatus(), "API rate limit exceeded.", documentation+"/overview/rate-limits-for-the-rest-api")
		return
	}
	wait := until.since(now)
	x.set("Retry-After", secondsUp(wait))
	x.status = http.StatusTooManyRequests
	switch h.Dialect {
	case GitLab:
		x.plain("Retry later\n")
	case IETF:
		x.problem()
	case Discord:
		x.set("X-Ratelimit-Scope", "user")
		x.body = []byte(`{"message":"You are being rate limited.","retry_after":` + decimals(wait) + `,"global":false}`)
		x.set("Content-Type", "application/json")
	default:
		x.plain("Too Many Requests\n")
	}
}

func (x *exchange) plain(text string) {
	x.body = []byte(text)
	x.set("Content-Type", "text/plain; charset=utf-8")
}

// problem names the policies that were violated (I-10).
func (x *exchange) problem() {
	violated := []string{}
	if x.res.bucket.burst.truth.remaining == 0 {
		violated = append(violated, "burst")
	}
	if x.res.bucket.truth.remaining == 0 {
		violated = append(violated, "daily")
	}
	x.body, _ = json.Marshal(map[string]any{ // texts always encode
		"type": "https://iana.org/assignments/http-problem-types#quota-exceeded", "title": "Quota exceeded", "violated-policies": violated,
	})
	x.set("Content-Type", "application/problem+json")
}

// rejectionStatus is 429 but for GitHub's choice.
func (x *exchange) rejectionStatus() int {
	if x.origin.cfg.TooManyRequests || x.host.Dialect != GitHub {
		return http.StatusTooManyRequests
	}
	return http.StatusForbidden
}
