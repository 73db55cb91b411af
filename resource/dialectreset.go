package resource

import (
	"strings"
	"time"
)

// unit is how a dialect writes the reset of a window.
type unit uint8

const (
	anyUnit      unit = iota // nobody has said
	secondsLeft              // seconds from the receipt
	epochSeconds             // Unix seconds
)

// What is said of a reset that is not as the dialect has it.
const (
	doubtSeconds = "a reset that is a small number: read as seconds from now"
	doubtEpoch   = "a reset that can't be seconds from now: read as Unix seconds"
	doubtMillis  = "a reset that can't be in seconds: read as Unix milliseconds"
	doubtDate    = "a reset that is a date or a duration instead of a number: read as it says"
	doubtHuge    = "a reset that makes sense in no unit: not believed"
	doubtForm    = "a reset in a form that is not known: not believed"
	doubtNone    = "nothing remains, and no reset says until when: a minute is waited"
)

// readReset reads when a window ends, in whatever form (rules I-11, L-Others): a
// number, a date of RFC 9110 or RFC 3339, or a duration such as 6m0s. A number
// that is no instant from 1998 to 2096 in seconds or milliseconds is a wait, and
// one in seconds, since a wait in milliseconds would be shorter. doubt says where
// something else than the unit was found, and where no unit is known and a bare
// small number left both open.
func readReset(a *Answer, value string, expect unit) (r reset, doubt string, ok bool) {
	value = strings.TrimSpace(value)
	n, isNumber := roundedUp(value)
	switch {
	case isNumber && n >= firstEpoch && n <= lastEpoch:
		if r = a.until(time.Unix(n, 0)); expect == secondsLeft {
			doubt = doubtEpoch
		}
	case isNumber && n >= firstEpoch*1000 && n <= lastEpoch*1000:
		r, doubt = a.until(time.UnixMilli(n)), doubtMillis
	case isNumber:
		if r = a.in(seconds(n)); expect != secondsLeft {
			doubt = doubtSeconds
		}
	default:
		if expect != anyUnit {
			doubt = doubtDate
		}
		if t, isDate := date(value); isDate {
			r = a.until(t)
		} else if d, isDuration := duration(value); isDuration {
			r = a.in(d)
		} else {
			return reset{}, doubtForm, false
		}
	}
	if r.wait > MaxInterval {
		return reset{}, doubtHuge, false
	}
	return r, doubt, true
}

// duration reads a duration without a sign, such as 6m0s, 1.5s or 20ms.
func duration(s string) (time.Duration, bool) {
	if s == "" || len(s) > 40 || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	d, err := time.ParseDuration(s)
	return d, err == nil
}

// window is what three headers of a window say, by their canonical names.
type window struct {
	limit, remaining, reset string // names; an empty limit: not told
	unit                    unit
}

// read fills in the quota of a window. Without a limit, what remains stands in
// for it. Nothing left without a reset that makes sense is a minute of waiting,
// after which one request finds out: an origin that says 0 means it. found says
// that a number of what remains was there.
func (w window) read(a *Answer, l *Lesson) (found bool) {
	remaining, ok := count(a.Header, w.remaining)
	if !ok {
		return false
	}
	limit, ok := quotaNumber(first(a.Header, w.limit))
	if !ok {
		limit = remaining
	}
	r, told := reset{}, false
	if value := first(a.Header, w.reset); value != "" {
		r, l.Doubt, told = readReset(a, value, w.unit)
	}
	if !told && remaining == 0 {
		r, told = a.in(LimitFallback), true
		l.Doubt = strings.TrimSpace(l.Doubt + "; " + doubtNone)
		l.Doubt = strings.TrimPrefix(l.Doubt, "; ")
	}
	if told {
		l.tell(a, limit, remaining, r)
	}
	return true
}

// quotaNumber reads a limit. The drafts of the IETF allowed policies behind it,
// as in "100, 100;w=60".
func quotaNumber(s string) (int64, bool) {
	if i := strings.IndexAny(s, ",;"); i >= 0 {
		s = s[:i]
	}
	return roundedDown(s)
}
