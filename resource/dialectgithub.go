package resource

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func detectGitHub(origin string, h http.Header) string {
	switch {
	case origin == "https://api.github.com":
		return "its origin"
	case len(h["X-Github-Request-Id"]) > 0:
		return "X-GitHub-Request-Id"
	case len(h["X-Ratelimit-Resource"]) > 0:
		return "X-RateLimit-Resource"
	}
	return ""
}

// readGitHub reads what GitHub documents for its REST API under "Rate limits"
// and "Best practices" (rules G-7, G-12 to G-15).
func readGitHub(a *Answer, l *Lesson) {
	h := a.Header
	l.name(first(h, "X-Ratelimit-Resource"))
	limit, ok1 := count(h, "X-Ratelimit-Limit")
	remaining, ok2 := count(h, "X-Ratelimit-Remaining")
	if reset, ok3 := count(h, "X-Ratelimit-Reset"); ok1 && ok2 && ok3 {
		if reset < firstEpoch || !l.QuotaUntil(a, limit, remaining, time.Unix(reset, 0)) {
			l.Doubt = "x-ratelimit-reset is no Unix time within a year: not believed"
		}
	}
	if a.Status == http.StatusForbidden || a.Status == http.StatusTooManyRequests {
		// Nothing may be left without a reset that makes sense.
		readGitHubRejection(a, l, ok2 && remaining == 0)
		return
	}
	l.Reject(a)
}

// readGitHubRejection tells the primary limit from the secondary one, and both
// from a 403 that is neither.
func readGitHubRejection(a *Answer, l *Lesson, nothingLeft bool) {
	marker := secondaryMarker(a, nothingLeft)
	until, odd, hasRetry := retryAfter(a)
	switch {
	case marker == "" && nothingLeft:
		l.Kind, l.Evidence = PrimaryLimit, "x-ratelimit-remaining 0"
		if l.HasQuota {
			l.Until = l.Reset.Add(AfterReset)
		}
		if until.After(l.Until) {
			l.Until, l.Evidence = until, strings.TrimSpace("x-ratelimit-remaining 0, retry-after "+odd)
		}
		l.Fallback = l.Until.IsZero()
		return
	case marker != "":
		l.Evidence = marker
	case hasRetry || a.Status == http.StatusTooManyRequests:
		l.Evidence = "status " + strconv.Itoa(a.Status)
	default:
		return // forbidden (rule G-15)
	}
	l.Kind, l.Wide = SecondaryLimit, true
	switch {
	case hasRetry:
		l.Until = until
		l.Evidence = strings.TrimSpace(l.Evidence + ", retry-after " + odd)
	case nothingLeft && l.HasQuota:
		l.Until = l.Reset.Add(AfterReset)
		l.Evidence += ", x-ratelimit-remaining 0"
	default:
		l.Fallback = true
	}
	if nothingLeft {
		// A secondary limit that shows 0 says nothing of the quota (rule G-14).
		l.dropNumbers()
	}
}

// secondaryMarker returns how a rejection says that it is a secondary limit, or
// nothing.
func secondaryMarker(a *Answer, nothingLeft bool) string {
	text := bytes.ToLower(a.Excerpt)
	switch {
	case bytes.Contains(text, []byte("secondary rate limit")):
		return "message names a secondary rate limit"
	case bytes.Contains(text, []byte("secondary-rate-limits")), bytes.Contains(text, []byte("#abuse-rate-limits")):
		return "documentation_url names secondary rate limits"
	case len(a.Header["Gh-Limited-By"]) > 0:
		return "gh-limited-by"
	case bytes.Contains(text, []byte("api rate limit exceeded")) && !nothingLeft:
		return "message names a rate limit, and nothing says that none remain"
	}
	return ""
}
