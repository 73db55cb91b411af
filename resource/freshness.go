package resource

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// cacheControl is what a poller needs of Cache-Control (RFC 9111, section 5.2.2).
type cacheControl struct {
	maxAge    time.Duration
	hasMaxAge bool
	noStore   bool
}

// parseCacheControl reads all Cache-Control lines. Of several max-age the
// shortest counts, and one that is no number means stale (rule C-2). s-maxage is
// for shared caches, which a poller is not (rule C-1).
func parseCacheControl(lines []string) (c cacheControl) {
	for _, line := range lines {
		for line != "" {
			var directive string
			directive, line = cutUnquoted(line, ',')
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "no-store":
				c.noStore = true
			case "max-age":
				age := deltaSeconds(strings.Trim(value, " \t\""))
				if c.hasMaxAge {
					age = min(age, c.maxAge)
				}
				c.maxAge, c.hasMaxAge = age, true
			}
		}
	}
	return c
}

// cutUnquoted cuts s at the first sep outside a quoted string.
func cutUnquoted(s string, sep byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			i++
		case !quoted && s[i] == sep:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// deltaSeconds reads the delta-seconds of RFC 9111, section 1.2.2: an overflow
// becomes 2^31 seconds, anything that is no number becomes 0, which is stale.
func deltaSeconds(s string) time.Duration {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return time.Duration(min(n, math.MaxInt32+1)) * time.Second
}

// freshUntil is when an answer stops being fresh (RFC 9111, section 4.2), on
// the clock of this process: max-age, else Expires. There is no guess where
// neither is given: to ask again is what a poller is for.
//
// The age that is taken off is what an Age header tells, plus the time on the
// way. Without that header the origin answered itself and the answer is new; the
// apparent age of section 4.2.3, by the Date header, would take the skew of two
// clocks for age, and poll an origin early whose clock is slow.
func freshUntil(a *Answer) (until time.Time, c cacheControl, ok bool) {
	c = parseCacheControl(a.Header["Cache-Control"])
	lifetime := c.maxAge
	if !c.hasMaxAge {
		expires := a.Header["Expires"]
		if len(expires) == 0 {
			return time.Time{}, c, false
		}
		date, valid := HTTPDate(expires[0])
		if !valid {
			return a.Received, c, true
		}
		lifetime = max(0, date.Sub(serverNow(a.Header, a.Received)))
	}
	return a.Received.Add(min(max(0, lifetime-age(a)), farFuture)), c, true
}

// age is the current age of an answer that a cache served, 0 for others.
func age(a *Answer) time.Duration {
	lines := a.Header["Age"]
	if len(lines) == 0 {
		return 0
	}
	onTheWay := time.Duration(0)
	if !a.Sent.IsZero() {
		onTheWay = min(max(0, a.Received.Sub(a.Sent)), farFuture)
	}
	apparent := max(0, a.Received.Round(0).Sub(serverNow(a.Header, a.Received)))
	return max(apparent, deltaSeconds(strings.TrimSpace(lines[0]))+onTheWay)
}

// cached reports whether a cache served the answer: its rate limit headers are
// then those of an older answer (rule C-7).
func cached(h http.Header) bool {
	if lines := h["Age"]; len(lines) > 0 && deltaSeconds(strings.TrimSpace(lines[0])) > 0 {
		return true
	}
	if len(h["X-From-Cache"]) > 0 {
		return true
	}
	lines := h["Cf-Cache-Status"]
	if len(lines) == 0 {
		return false
	}
	switch strings.ToUpper(lines[0]) {
	case "HIT", "STALE", "UPDATING":
		return true
	}
	return false
}
