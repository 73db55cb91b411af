package resource

import (
	"net/http"
	"strings"
)

// detectLegacy knows the three fields of the drafts of the IETF up to the sixth.
func detectLegacy(_ string, h http.Header) string {
	if len(h["Ratelimit-Remaining"]) > 0 {
		return "RateLimit-Remaining"
	}
	return ""
}

// readLegacy reads RateLimit-Limit, -Remaining and -Reset, which is in seconds
// from now. Some origins send an instant under that name, which is then read as
// one and said so (rule I-11).
func readLegacy(a *Answer, l *Lesson) {
	window{"Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset", secondsLeft}.read(a, l)
	l.Reject(a)
}

// xWindows are the names under which services tell what remains, in the order in
// which they are tried. Those that count tokens or bytes are not among them.
var xWindows = [...]window{
	{"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", anyUnit},
	{"X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset", anyUnit},
	{"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests", anyUnit},
}

// detectXRateLimit knows services by the names of the headers alone.
func detectXRateLimit(_ string, h http.Header) string {
	switch {
	case len(h["X-Ratelimit-Remaining"]) > 0:
		return "X-RateLimit-Remaining"
	case len(h["X-Rate-Limit-Remaining"]) > 0:
		return "X-Rate-Limit-Remaining"
	case len(h["X-Ratelimit-Remaining-Requests"]) > 0:
		return "X-RateLimit-Remaining-Requests"
	}
	return ""
}

// readXRateLimit reads the headers of a service that nobody has described here.
// What they leave open is read as the longer wait (rule L-Others).
func readXRateLimit(a *Answer, l *Lesson) {
	for i := range xWindows {
		if xWindows[i].read(a, l) {
			break
		}
	}
	l.Reject(a)
}

// endpoint names what a path asks for, without what makes one request different
// from the next: identifiers, names of people, and anything else that could be a
// secret become a *. Services that count by endpoint count these together.
func endpoint(path string) string {
	if path == "" || len(path) > MaxURI {
		return ""
	}
	var b strings.Builder
	before := "/"
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		b.WriteByte('/')
		if before == "username" || !plainWord(part) && !version(part, before == "/") {
			b.WriteByte('*')
		} else {
			b.WriteString(part)
		}
		before = part
	}
	if b.Len() > MaxBucket {
		return ""
	}
	return b.String()
}

// plainWord reports whether a part of a path names a thing and not one of many.
func plainWord(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

// version reports whether a part of a path is the version of an interface: v1
// anywhere, 1.1 or 2 where it comes first.
func version(s string, isFirst bool) bool {
	number, hasV := strings.CutPrefix(s, "v")
	_, ok := roundedUp(number)
	return ok && len(s) <= 4 && (hasV || isFirst)
}
