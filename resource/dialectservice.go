package resource

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// from reports whether an origin is the host or one below it, over https.
func from(origin, host string) bool {
	rest, ok := strings.CutPrefix(origin, "https://")
	return ok && (rest == host || strings.HasSuffix(rest, host) && rest[len(rest)-len(host)-1] == '.')
}

const byOrigin = "its origin"

func detectGitLab(origin string, h http.Header) string {
	switch {
	case from(origin, "gitlab.com"):
		return byOrigin
	case len(h["Ratelimit-Observed"]) > 0:
		return "RateLimit-Observed"
	case len(h["Ratelimit-Resettime"]) > 0:
		return "RateLimit-ResetTime"
	case len(h["X-Gitlab-Meta"]) > 0:
		return "X-Gitlab-Meta"
	}
	return ""
}

// readGitLab reads the headers that GitLab documents under "Rate limits": the
// names of the older drafts of the IETF with a reset in Unix seconds, which comes
// again as a date (rules L-GitLab, I-11). Where the two differ the later counts.
// On a 429, whose body is text, they are often missing or those of another
// window, so that they only ever lengthen its wait.
func readGitLab(a *Answer, l *Lesson) {
	window{"Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset", epochSeconds}.read(a, l)
	limit, ok1 := quotaNumber(first(a.Header, "Ratelimit-Limit"))
	remaining, ok2 := count(a.Header, "Ratelimit-Remaining")
	if t, ok := a.Date("Ratelimit-Resettime"); ok && ok1 && ok2 {
		r := a.until(t)
		guessed := !l.HasQuota || l.Doubt != ""
		switch apart := r.window.Sub(l.Window); {
		case guessed && l.tell(a, limit, remaining, r):
			l.Doubt = "ratelimit-reset is no Unix time that makes sense: ratelimit-resettime counts"
		case apart > windowSlack && l.tell(a, limit, remaining, r):
			l.Doubt = "ratelimit-reset and ratelimit-resettime differ: the later counts"
		case apart < -windowSlack:
			l.Doubt = "ratelimit-reset and ratelimit-resettime differ: the later counts"
		}
	}
	if ok2 {
		l.name(first(a.Header, "Ratelimit-Name"))
	}
	l.Reject(a)
}

func detectReddit(origin string, h http.Header) string {
	switch {
	case from(origin, "reddit.com"):
		return byOrigin
	case len(h["X-Ratelimit-Used"]) > 0 && len(h["X-Ratelimit-Remaining"]) > 0 && len(h["X-Ratelimit-Limit"]) == 0:
		return "X-RateLimit-Used without a limit"
	}
	return ""
}

// readReddit reads X-Ratelimit-Used, -Remaining and -Reset: approximate numbers
// with fractions, the last of them seconds left in a window of ten minutes. What
// a CDN answers carries none and was not counted. The second limit that reddit
// writes into bodies of status 200 concerns posting, which nobody polls.
func readReddit(a *Answer, l *Lesson) {
	window{remaining: "X-Ratelimit-Remaining", reset: "X-Ratelimit-Reset", unit: secondsLeft}.read(a, l)
	if used, _ := roundedUp(strings.TrimSpace(first(a.Header, "X-Ratelimit-Used"))); l.HasQuota {
		l.Limit = l.Remaining + used
	}
	l.Reject(a)
}

func detectX(origin string, _ http.Header) string {
	if from(origin, "x.com") || from(origin, "twitter.com") {
		return byOrigin
	}
	return ""
}

// readX reads x-rate-limit-limit, -remaining and -reset, with its three hyphens:
// windows of mostly 15 minutes that end at a Unix time, for each endpoint and
// each user or app, which the credential stands for.
func readX(a *Answer, l *Lesson) {
	window{"X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset", epochSeconds}.read(a, l)
	l.name(endpoint(a.Path))
	l.Reject(a)
}

func detectShopify(origin string, h http.Header) string {
	switch {
	case from(origin, "myshopify.com"):
		return byOrigin
	case len(h["X-Shopify-Shop-Api-Call-Limit"]) > 0:
		return "X-Shopify-Shop-Api-Call-Limit"
	}
	return ""
}

// Shopify's bucket of the ordinary plan: so many requests, of which so many drain
// in a second.
const (
	shopifySize  = 40
	shopifyDrain = 2
)

// readShopify reads X-Shopify-Shop-Api-Call-Limit, as in 32/40: a leaky bucket,
// used and size. It has no reset; that of the ordinary plan has drained after
// used/2 seconds, and those of larger plans earlier, so this is the longer wait.
// 430 is Shopify's refusal for reasons of security, and lifted after a while.
func readShopify(a *Answer, l *Lesson) {
	usedText, sizeText, _ := strings.Cut(first(a.Header, "X-Shopify-Shop-Api-Call-Limit"), "/")
	used, ok1 := roundedUp(strings.TrimSpace(usedText))
	size, ok2 := roundedDown(sizeText)
	if ok1 && ok2 && size > 0 {
		drained := time.Duration(min(used, 1<<20)) * time.Second / shopifyDrain
		l.QuotaFor(a, size, max(0, size-used), drained)
		if size != shopifySize {
			l.Doubt = "the drain of a bucket of this size is not told: that of the ordinary plan is assumed"
		}
	}
	if a.Status == 430 {
		l.Refuse(a, OverloadLimit, true, "status 430")
		return
	}
	l.Reject(a)
}

func detectSlack(origin string, h http.Header) string {
	switch {
	case from(origin, "slack.com"):
		return byOrigin
	case len(h["X-Slack-Req-Id"]) > 0:
		return "X-Slack-Req-Id"
	}
	return ""
}

// readSlack reads the limits of Slack's Web API, which tells none before they are
// reached: each method has its own, for each workspace and app, and a 429 says
// with Retry-After how long that method has to wait. What Slack reports in bodies
// of status 200 is for who reads them.
func readSlack(a *Answer, l *Lesson) {
	method := a.Path[strings.LastIndexByte(a.Path, '/')+1:]
	if strings.HasPrefix(a.Path, "/api/") {
		l.name(method)
	}
	if a.Status == http.StatusTooManyRequests {
		l.Refuse(a, OverloadLimit, !l.Named, "status 429")
		return
	}
	l.Reject(a)
}

func detectStripe(origin string, h http.Header) string {
	switch {
	case from(origin, "stripe.com"):
		return byOrigin
	case len(h["Stripe-Version"]) > 0:
		return "Stripe-Version"
	case len(h["Stripe-Rate-Limited-Reason"]) > 0:
		return "Stripe-Rate-Limited-Reason"
	}
	return ""
}

// readStripe reads the limits of Stripe, which come without numbers: those of the
// whole account, and those of one endpoint, whatever the identifiers in its path.
// Stripe-Rate-Limited-Reason tells them apart; without one, as for an object that
// another request holds locked, it is the endpoint that waits. A 429 that says
// that a retry is of no use is waited for like the others: the next poll is a new
// request.
func readStripe(a *Answer, l *Lesson) {
	l.name(endpoint(a.Path))
	if a.Status != http.StatusTooManyRequests {
		l.Reject(a)
		return
	}
	evidence, wide := "status 429", !l.Named
	switch reason := first(a.Header, "Stripe-Rate-Limited-Reason"); reason {
	case "global-rate", "global-concurrency":
		evidence, wide = evidence+", "+reason, true
	case "endpoint-rate", "endpoint-concurrency", "resource-specific":
		evidence += ", " + reason
	case "":
	default:
		evidence, wide = evidence+", a reason that is not known", true
	}
	if strings.EqualFold(first(a.Header, "Stripe-Should-Retry"), "false") {
		evidence += ", stripe-should-retry false"
	}
	l.Refuse(a, OverloadLimit, wide, evidence)
}

func detectBasecamp(origin string, h http.Header) string {
	switch {
	case from(origin, "basecampapi.com"), from(origin, "basecamp.com"):
		return byOrigin
	case strings.HasPrefix(first(h, "X-Ratelimit"), "{"):
		return "X-RateLimit with JSON"
	}
	return ""
}

// readBasecamp reads X-RateLimit: an object in JSON whose until is an instant as
// text.
func readBasecamp(a *Answer, l *Lesson) {
	var told struct {
		Name      string
		Period    int64
		Limit     *int64
		Remaining *int64
		Until     string
	}
	text := first(a.Header, "X-Ratelimit")
	if len(text) <= 1<<10 && json.Unmarshal([]byte(text), &told) == nil && told.Limit != nil && told.Remaining != nil {
		if t, ok := date(told.Until); ok && l.QuotaUntil(a, *told.Limit, *told.Remaining, t) {
			l.name(told.Name)
			if told.Period <= int64(MaxInterval/time.Second) {
				l.Spacing = Limit{Requests: int(min(*told.Limit, 1<<30)), Per: seconds(told.Period)}.Spacing()
			}
		}
	}
	l.Reject(a)
}
