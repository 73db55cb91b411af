package resource

import (
	"net/http"
	"strings"
	"time"
)

// HTTPDate reads any of the three date forms of RFC 9110, section 5.6.7, which
// are all in UTC. A date that names another zone is refused, as is anything
// else: ok is false.
func HTTPDate(s string) (t time.Time, ok bool) {
	if t, ok = fixdate(s); ok {
		return t, true
	}
	t, err := http.ParseTime(strings.TrimSpace(s))
	if err != nil {
		return time.Time{}, false
	}
	if zone, offset := t.Zone(); zone != "GMT" && zone != "UTC" || offset != 0 {
		return time.Time{}, false
	}
	if y := t.Year(); y < 1970 || y > 2200 {
		return time.Time{}, false
	}
	return t.UTC(), true
}

// fixdate reads the form that servers send, such as "Sun, 06 Nov 1994 08:49:37
// GMT", in a tenth of the time: every answer carries one. What it does not like
// the standard library may.
func fixdate(s string) (t time.Time, ok bool) {
	if len(s) != len(http.TimeFormat) || s[3:5] != ", " || s[7] != ' ' || s[11] != ' ' || s[16] != ' ' ||
		s[19] != ':' || s[22] != ':' || s[25:] != " GMT" || strings.Index("SunMonTueWedThuFriSat", s[:3])%3 != 0 {
		return time.Time{}, false
	}
	number := func(digits string) (n int) {
		for i := range len(digits) {
			if c := digits[i] - '0'; c <= 9 {
				n = n*10 + int(c)
			} else {
				n = 1 << 20 // too large for all that follows, whatever comes behind it
			}
		}
		return n
	}
	month := strings.Index("JanFebMarAprMayJunJulAugSepOctNovDec", s[8:11])
	day, year := number(s[5:7]), number(s[12:16])
	hour, minute, second := number(s[17:19]), number(s[20:22]), number(s[23:25])
	if month%3 != 0 || day < 1 || day > 28 || year < 1970 || year > 2200 ||
		hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false // the last days of a month are left to whoever knows its length
	}
	return time.Date(year, time.Month(month/3+1), day, hour, minute, second, 0, time.UTC), true
}

// maxSkew is how far a Date header may lie from our clock and still be believed
// to be the clock of an origin, rather than nonsense.
const maxSkew = 366 * 24 * time.Hour

// serverNow is the instant received as the origin's clock shows it: its Date
// header, or received itself where there is no sane one. It has no monotonic
// reading.
func serverNow(h http.Header, received time.Time) time.Time {
	wall := received.Round(0).UTC()
	lines := h["Date"]
	if len(lines) == 0 {
		return wall
	}
	date, ok := HTTPDate(lines[0])
	if !ok || date.Sub(wall).Abs() > maxSkew {
		return wall
	}
	return date
}

// RetryAfter reads a Retry-After value (RFC 9110, section 10.2.3): seconds from
// the receipt, or a date on the origin's clock, of which server is the reading
// at the receipt (rule H-4). Fractions of a second, which some APIs send, are
// rounded up (rule H-3). A date in the past is the instant of receipt.
//
// A number that can only be an instant in Unix seconds or milliseconds is read
// as one, since an origin that sends it cannot mean 30 years, and odd says so. A
// wait beyond any clock saturates at 100 years, and odd says so. Anything else is
// not ok, and to be ignored by the standard's rule.
func RetryAfter(value string, received, server time.Time) (until time.Time, odd string, ok bool) {
	value = strings.Trim(value, " \t")
	if n, isNumber := roundedUp(value); isNumber {
		switch {
		case n >= firstEpoch && n <= lastEpoch:
			return received.Add(max(0, time.Unix(n, 0).Sub(server))), "Unix seconds in Retry-After", true
		case n >= firstEpoch*1000 && n <= lastEpoch*1000:
			return received.Add(max(0, time.UnixMilli(n).Sub(server))), "Unix milliseconds in Retry-After", true
		case n > int64(farFuture/time.Second):
			return received.Add(farFuture), "Retry-After beyond a century", true
		}
		return received.Add(time.Duration(n) * time.Second), "", true
	}
	date, isDate := HTTPDate(value)
	if !isDate {
		return time.Time{}, "", false
	}
	return received.Add(min(max(0, date.Sub(server)), farFuture)), "", true
}

// Numbers of seconds between these, 1998 to 2096, are taken for Unix time where
// a number of seconds to wait was expected. The first lies before the year 2000,
// at which the clock of a testing/synctest bubble starts.
const (
	firstEpoch = 900_000_000
	lastEpoch  = 4_000_000_000
)

// roundedUp reads digits with at most one fraction (no sign, no exponent, no
// space) as the next whole number. It saturates.
func roundedUp(s string) (n int64, ok bool) {
	const most = 1 << 60 // room for another digit
	whole, fraction, hasPoint := strings.Cut(s, ".")
	if whole == "" || hasPoint && fraction == "" {
		return 0, false
	}
	for i := range len(whole) {
		if whole[i] < '0' || whole[i] > '9' {
			return 0, false
		}
		n = min(n, most/10)*10 + int64(whole[i]-'0')
	}
	more := int64(0)
	for i := range len(fraction) {
		switch c := fraction[i]; {
		case c < '0' || c > '9':
			return 0, false
		case c > '0':
			more = 1
		}
	}
	return n + more, true
}

// retryAfter is RetryAfter over the header lines of an answer: the latest of
// those that are valid.
func retryAfter(a *Answer) (until time.Time, odd string, ok bool) {
	lines := a.Header["Retry-After"]
	if len(lines) == 0 {
		return time.Time{}, "", false
	}
	server := serverNow(a.Header, a.Received)
	for _, line := range lines {
		u, o, valid := RetryAfter(line, a.Received, server)
		if valid && (!ok || u.After(until)) {
			until, odd, ok = u, o, true
		}
	}
	return until, odd, ok
}
