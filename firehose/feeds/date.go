package feeds

import (
	"strings"
	"time"
)

// The forms of a date in feeds, without the name of the day and with a zone in
// digits: RFC 3339 and what W3C's note on date and time adds to it, which Atom,
// JSON Feed and Dublin Core use; RFC 822 with its successors, which RSS uses; and
// what is often written instead. Go reads fractions of a second where none are
// named, and "2" and "15" read one digit and two.
var dateForms = [...]string{
	"2006-01-02T15:04:05Z07:00",
	"2 Jan 2006 15:04:05 -0700",
	"2 Jan 2006 15:04 -0700",
	"2 Jan 06 15:04:05 -0700",
	"2 Jan 06 15:04 -0700",
	"2 January 2006 15:04:05 -0700",
	"2006-01-02T15:04Z07:00",
	"2006-01-02T15:04:05-0700",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05 -0700",
	"2 Jan 2006 15:04:05 -07:00",
	"Jan 2 15:04:05 2006 -0700",
	"2006-01-02",
	"2006-01",
	"2006",
	"2 Jan 2006",
	"2 January 2006",
}

// zones are the names of RFC 822, section 5.1, which RSS allows, with their
// offsets. Other names mean several zones, or none, and are not guessed at.
var zones = [...][2]string{
	{"GMT", "+0000"}, {"UTC", "+0000"}, {"UT", "+0000"}, {"Z", "+0000"},
	{"EST", "-0500"}, {"EDT", "-0400"}, {"CST", "-0600"}, {"CDT", "-0500"},
	{"MST", "-0700"}, {"MDT", "-0600"}, {"PST", "-0800"}, {"PDT", "-0700"},
}

// instant reads a date as feeds write it, in UTC. A date without a time is its
// first instant in UTC. One that does not say which instant it means, such as
// one with a time and without a zone, is zero, as is anything else: a wrong
// instant is worse than none.
func instant(s string) time.Time {
	const longest = 64
	if s = strings.TrimSpace(s); s == "" || len(s) > longest {
		return time.Time{}
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return sane(t)
	}
	s = numericZone(withoutDay(strings.Join(strings.Fields(s), " ")))
	for _, form := range dateForms {
		if t, err := time.Parse(form, s); err == nil {
			return sane(t)
		}
	}
	return time.Time{}
}

// sane is t in UTC, or zero where encodings could not hold it.
func sane(t time.Time) time.Time {
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// withoutDay drops the name of a day at the beginning, which says nothing more
// and is often wrong or in another language.
func withoutDay(s string) string {
	if day, rest, found := strings.Cut(s, ","); found && !strings.ContainsAny(day, "0123456789") {
		return strings.TrimSpace(rest)
	}
	day, rest, found := strings.Cut(s, " ")
	if found && len(day) == 3 && strings.Contains("MonTueWedThuFriSatSun", day) {
		return rest
	}
	return s
}

// numericZone replaces the name of a zone at the end by its offset.
func numericZone(s string) string {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s
	}
	for _, zone := range zones {
		if strings.EqualFold(s[i+1:], zone[0]) {
			return s[:i+1] + zone[1]
		}
	}
	return s
}
