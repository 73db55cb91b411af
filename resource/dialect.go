package resource

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Dialect is how an origin speaks of its limits. It is data plus functions, and
// pure like all of this package.
type Dialect struct {
	// Name is what a [Profile] calls it.
	Name string

	// Concurrency is how many requests of one scope may be in flight together
	// where the user says nothing.
	Concurrency int

	// Detect reports whether an answer of an origin speaks this dialect. Nil:
	// only when it is asked for by name.
	Detect func(origin string, h http.Header) bool

	// Read fills in what the answer teaches. It is not called for answers that
	// never came. Of answers that a cache served, what it reads of a quota or a
	// bucket's name is dropped.
	Read func(a *Answer, l *Lesson)
}

// Dialects returns the dialects that this package knows, most specific first.
// The last one, "plain", knows nothing but Retry-After and status codes, and
// fits every origin.
func Dialects() []Dialect {
	return []Dialect{
		{Name: "github", Concurrency: 1, Detect: detectGitHub, Read: readGitHub},
		{Name: "plain", Concurrency: 4, Detect: func(string, http.Header) bool { return true }, Read: readPlain},
	}
}

// DialectNamed returns the dialect of that name. The error is a [*FieldError]
// that lists the known ones.
func DialectNamed(name string) (Dialect, error) {
	all := Dialects()
	i := slices.IndexFunc(all, func(d Dialect) bool { return d.Name == name })
	if i >= 0 {
		return all[i], nil
	}
	var names []string
	for _, d := range all {
		names = append(names, strconv.Quote(d.Name))
	}
	return Dialect{}, &FieldError{"Dialect", clip(name), "one of " + strings.Join(names, ", ") + ", or empty to detect it"}
}

func detectGitHub(origin string, h http.Header) bool {
	return origin == "https://api.github.com" || len(h["X-Github-Request-Id"]) > 0 || len(h["X-Ratelimit-Resource"]) > 0
}

// readGitHub reads what GitHub documents for its REST API under "Rate limits"
// and "Best practices" (rules G-7, G-12 to G-15).
func readGitHub(a *Answer, l *Lesson) {
	h := a.Header
	if lines := h["X-Ratelimit-Resource"]; len(lines) > 0 && lines[0] != "" && len(lines[0]) <= MaxBucket {
		l.Named, l.Bucket = true, lines[0]
	}
	limit, ok1 := count(h, "X-Ratelimit-Limit")
	remaining, ok2 := count(h, "X-Ratelimit-Remaining")
	reset, ok3 := count(h, "X-Ratelimit-Reset")
	if ok1 && ok2 && ok3 && reset >= firstEpoch && reset <= lastEpoch {
		window := time.Unix(reset, 0).UTC()
		if wait := window.Sub(serverNow(h, a.Received)); wait <= MaxInterval {
			l.HasQuota, l.Limit, l.Remaining, l.Window = true, limit, remaining, window
			l.Reset = a.Received.Add(max(0, wait))
		}
	}
	if a.Status == http.StatusForbidden || a.Status == http.StatusTooManyRequests {
		// Nothing may be left without a reset that makes sense.
		readGitHubRejection(a, l, ok2 && remaining == 0)
		return
	}
	readOverload(a, l)
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
		if hasRetry && until.After(l.Until) {
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
		l.HasQuota, l.Limit, l.Remaining, l.Reset, l.Window = false, 0, 0, time.Time{}, time.Time{}
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

// readPlain reads limits of an origin that sends no quota: status codes and
// Retry-After.
func readPlain(a *Answer, l *Lesson) {
	if a.Status == http.StatusForbidden {
		if until, odd, ok := retryAfter(a); ok { // some origins limit with a 403; a refusal names no instant
			l.Kind, l.Wide, l.Until = OverloadLimit, true, until
			l.Evidence = strings.TrimSpace("status 403, retry-after " + odd)
		}
		return
	}
	readOverload(a, l)
}

// readOverload reads 429 and 503 with Retry-After, which mean the same to every
// client (rules S-429, S-503). A 429 without it is one in every dialect, and the
// Parser's business.
func readOverload(a *Answer, l *Lesson) {
	if a.Status != http.StatusTooManyRequests && a.Status != http.StatusServiceUnavailable {
		return
	}
	if until, odd, ok := retryAfter(a); ok {
		l.Kind, l.Wide, l.Until = OverloadLimit, true, until
		l.Evidence = strings.TrimSpace("status " + strconv.Itoa(a.Status) + ", retry-after " + odd)
	}
}

// count reads a header of one non-negative number. It saturates.
func count(h http.Header, name string) (int64, bool) {
	lines := h[name]
	if len(lines) == 0 || lines[0] == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(lines[0]), 10, 63)
	if err != nil && !isRange(err) {
		return 0, false
	}
	return int64(min(n, 1<<62)), true
}
