package resource

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Count reads a header of one non-negative number. A fraction is cut off, so that
// what remains is never overstated. It saturates above 2^60. ok is false for a
// header that is not there or holds something else.
func (a *Answer) Count(name string) (n int64, ok bool) {
	return count(a.Header, http.CanonicalHeaderKey(name))
}

// Seconds reads a header of a number of seconds to wait, a fraction rounded up to
// the next whole one (rule H-3). It saturates at 100 years.
func (a *Answer) Seconds(name string) (wait time.Duration, ok bool) {
	n, ok := roundedUp(strings.TrimSpace(first(a.Header, http.CanonicalHeaderKey(name))))
	return seconds(n), ok
}

// Unix reads a header of an instant in Unix seconds on the origin's clock, a
// fraction rounded up. A number that is no instant from 1998 to 2096, such as one
// of seconds to wait or of milliseconds, is not ok.
func (a *Answer) Unix(name string) (t time.Time, ok bool) {
	n, ok := roundedUp(strings.TrimSpace(first(a.Header, http.CanonicalHeaderKey(name))))
	if !ok || n < firstEpoch || n > lastEpoch {
		return time.Time{}, false
	}
	return time.Unix(n, 0).UTC(), true
}

// Date reads a header of an instant as a date of RFC 9110, or of RFC 3339 with
// its zone, on the origin's clock.
func (a *Answer) Date(name string) (t time.Time, ok bool) {
	return date(first(a.Header, http.CanonicalHeaderKey(name)))
}

// RetryAfter reads Retry-After as the function of that name does, on the clock of
// the answer's Date. Of several lines the latest instant counts.
func (a *Answer) RetryAfter() (until time.Time, odd string, ok bool) { return retryAfter(a) }

// QuotaFor says that so many of limit requests remain for so long from the
// receipt of the answer. It says nothing, and reports false, where a number is
// negative or the wait is beyond [MaxInterval].
func (l *Lesson) QuotaFor(a *Answer, limit, remaining int64, wait time.Duration) bool {
	return l.tell(a, limit, remaining, a.in(wait))
}

// QuotaUntil says that so many of limit requests remain until the instant window
// on the origin's clock. Else it is like QuotaFor.
func (l *Lesson) QuotaUntil(a *Answer, limit, remaining int64, window time.Time) bool {
	return l.tell(a, limit, remaining, a.until(window))
}

// Reject reads a rejection in the way that suits most origins, and nothing else.
// A 429 or 403 with nothing left is the primary limit of the quota, until its
// reset or Retry-After, whichever is later. Else a 429, 503 or 403 with
// Retry-After is a limit of the whole scope. (A 429 without is one too, which the
// [Parser] sees to in every dialect; a 503 is a failure, a 403 a refusal.) Read
// calls it last.
func (l *Lesson) Reject(a *Answer) {
	if a.Status != http.StatusTooManyRequests && a.Status != http.StatusServiceUnavailable && a.Status != http.StatusForbidden {
		return
	}
	until, odd, hasRetry := retryAfter(a)
	status := "status " + strconv.Itoa(a.Status)
	switch {
	case l.HasQuota && l.Remaining == 0 && a.Status != http.StatusServiceUnavailable:
		l.Kind, l.Until, l.Evidence = PrimaryLimit, l.Reset.Add(AfterReset), status+", nothing remains"
		if hasRetry && until.After(l.Until) {
			l.Until, l.Evidence = until, strings.TrimSpace(l.Evidence+", retry-after "+odd)
		}
	case hasRetry:
		l.Kind, l.Wide, l.Until = OverloadLimit, true, until
		l.Evidence = strings.TrimSpace(status + ", retry-after " + odd)
	}
}

// Refuse says that the answer is a rejection of this kind, of the whole scope
// where wide: until its Retry-After, or without one for a minute, doubling. The
// evidence says in words what that rests on; it must not hold text of the origin.
func (l *Lesson) Refuse(a *Answer, kind LimitKind, wide bool, evidence string) {
	l.Kind, l.Wide, l.Evidence = kind, wide, evidence
	until, odd, ok := retryAfter(a)
	if l.Until, l.Fallback = until, !ok; ok {
		l.Evidence = strings.TrimSpace(evidence + ", retry-after " + odd)
	}
}

// name says what the answer calls its bucket. A name beyond the bound is none.
func (l *Lesson) name(s string) {
	if s != "" && len(s) <= MaxBucket {
		l.Named, l.Bucket = true, s
	}
}

// reset is the end of a window: how long from the receipt, and the instant as the
// origin wrote it.
type reset struct {
	wait   time.Duration
	window time.Time
}

func (a *Answer) in(wait time.Duration) reset {
	return reset{wait, a.Received.Round(0).UTC().Add(min(max(0, wait), farFuture))}
}

func (a *Answer) until(window time.Time) reset {
	window = window.Round(0).UTC()
	return reset{window.Sub(serverNow(a.Header, a.Received)), window}
}

func (a *Answer) tied(r reset) time.Time { return a.Received.Add(max(0, r.wait)) }

func (l *Lesson) tell(a *Answer, limit, remaining int64, r reset) bool {
	if limit < 0 || remaining < 0 || r.wait > MaxInterval {
		return false
	}
	l.HasQuota, l.Limit, l.Remaining, l.Reset, l.Window = true, limit, remaining, a.tied(r), r.window
	return true
}

// first is the first line of a header, by its canonical name.
func first(h http.Header, name string) string {
	if lines := h[name]; len(lines) > 0 {
		return lines[0]
	}
	return ""
}

// count reads a header of one non-negative number, by its canonical name. It
// saturates.
func count(h http.Header, name string) (int64, bool) { return roundedDown(first(h, name)) }

// roundedDown reads digits with at most one fraction as a whole number. Nearly
// all are digits alone, of which few enough not to saturate: every answer carries
// two.
func roundedDown(s string) (n int64, ok bool) {
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 || i == 18 {
			return roundedDownOdd(strings.TrimSpace(s))
		}
		n = n*10 + int64(c)
	}
	return n, s != ""
}

func roundedDownOdd(s string) (int64, bool) {
	if _, ok := roundedUp(s); !ok {
		return 0, false
	}
	whole, _, _ := strings.Cut(s, ".")
	return roundedUp(whole)
}

func seconds(n int64) time.Duration {
	return time.Duration(min(n, int64(farFuture/time.Second))) * time.Second
}

// date reads a date of RFC 9110, or of RFC 3339, whose zone may also be written
// without its colon.
func date(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	if t, ok := HTTPDate(s); ok {
		return t, true
	}
	if len(s) < len("2006-01-02T15:04:05Z") || len(s) > 40 || s[4] != '-' {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05Z0700", s)
	}
	if err != nil || t.UTC().Year() < 1970 || t.UTC().Year() > 2200 {
		return time.Time{}, false
	}
	return t.UTC(), true
}
