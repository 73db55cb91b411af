package scheduler

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

const (
	maxCron = 1024 // bytes
	// searchYears is how far a tick is searched. The rarest day there is, a 29
	// February on a given weekday, comes again after at most 40 years.
	searchYears = 48
	// maxPieces bounds the changes of the clock that a search passes. Known
	// zones have at most a handful a year.
	maxPieces = 1000
	everyHour = 1<<24 - 1
)

// calendar is a parsed cron expression in its zone.
//
// The library knows the fields and the calendar, and is only asked about UTC,
// where the clock never changes. The changes are handled here: neither it nor
// any other of the libraries tried answers the same from one tick to the next
// around a change, so that the ticks would depend on when they were asked for.
type calendar struct {
	fields *cron.SpecSchedule // in UTC, which stands for the wall clock
	zone   *time.Location
	// rhythm: each hour of the day matches, so time that passes counts. Else
	// the expression gives times of the day, each of which ticks once.
	rhythm bool
}

// parseCron returns the calendar, or the reason to refuse the expression.
func parseCron(expr string, zone *time.Location) (c *calendar, reason string) {
	if len(expr) > maxCron {
		return nil, fmt.Sprintf("is %d bytes long; at most %d are allowed", len(expr), maxCron)
	}
	// The library takes the H of THU for its hash syntax, but not that of thu.
	expr = strings.ToLower(strings.TrimSpace(expr))
	if reason := badCron(expr); reason != "" {
		return nil, reason
	}
	parser, err := cron.TryNewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom |
		cron.Month | cron.Dow | cron.Descriptor | cron.Extended | cron.DowOrDom)
	if err != nil {
		return nil, err.Error()
	}
	schedule, err := parser.WithMaxSearchYears(searchYears).Parse(expr)
	if err != nil {
		return nil, unread(expr, err)
	}
	fields, ok := schedule.(*cron.SpecSchedule)
	if !ok {
		return nil, "is not made of fields"
	}
	fields.Location = time.UTC
	if parts := strings.Fields(expr); len(parts) > 1 {
		// By text, since the library takes */2 for a restricted field.
		fields.DowOrDom = !isStar(parts[len(parts)-3]) && !isStar(parts[len(parts)-1])
	}
	if fields.Next(time.Unix(0, 0)).IsZero() {
		return nil, "never fires: no date matches"
	}
	if zone == nil {
		zone = time.UTC
	}
	return &calendar{fields: fields, zone: zone, rhythm: fields.Hour&everyHour == everyHour}, ""
}

// unread says why the library couldn't read an expression.
func unread(expr string, err error) string {
	switch n := len(strings.Fields(expr)); {
	case expr[0] == '@':
		return fmt.Sprintf("is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly: %v", err)
	case n != 5 && n != 6:
		return fmt.Sprintf("is neither five nor six fields: %v", err)
	}
	return fmt.Sprintf("has a field that can't be read: %v", err)
}

// badCron refuses what the library would read in some way that is not meant;
// or returns an empty string.
func badCron(expr string) string {
	parts := strings.Fields(expr)
	switch {
	case expr == "":
		return "is blank"
	case strings.HasPrefix(expr, "tz=") || strings.HasPrefix(expr, "cron_tz="):
		return "names a zone; Location is the place for it"
	case strings.HasPrefix(expr, "@every"):
		return "is an interval; the field Every is the place for it"
	case strings.HasPrefix(expr, "@"):
		return ""
	}
	for i, part := range parts {
		for element := range strings.SplitSeq(part, ",") {
			switch {
			case element == "":
				return fmt.Sprintf("has an empty element in the field %.20q", part)
			case isStar(element) && len(element) > 1 && element[1] != '/':
				return fmt.Sprintf("has %.20q; only a step (/) can follow %c", element, element[0])
			case strings.Contains(element, "+"):
				return fmt.Sprintf("has a sign in %.20q", element)
			case i == len(parts)-1 && stepsOverWeekend(element):
				return fmt.Sprintf("has a step on %.20q, which goes over the end of the week; list the days instead", element)
			}
		}
	}
	return ""
}

func isStar(field string) bool { return field[0] == '*' || field[0] == '?' }

// stepsOverWeekend finds fri-mon/2, for which the library counts Sunday twice.
func stepsOverWeekend(element string) bool {
	days, _, stepped := strings.Cut(element, "/")
	first, last, ranged := strings.Cut(days, "-")
	return stepped && ranged && weekday(first) > weekday(last)
}

func weekday(s string) int {
	if i := strings.Index("sunmontuewedthufrisat", s); len(s) == 3 && i >= 0 {
		return i / 3
	}
	n, _ := strconv.Atoi(s) // the library refuses what is no number
	return n
}

// next returns the first tick strictly after the given instant, which has no
// monotonic reading, in UTC.
//
// Between two changes of the clock, in what is called a piece here, wall clock
// and instant differ by a fixed offset. The search goes from piece to piece
// until the next time that the wall clock is to show lies in one.
func (c *calendar) next(after time.Time) (tick time.Time, ok bool) {
	at := after.In(c.zone)
	start, end := piece(at)
	from := wall(at, at) // the wall clock, after which a time is searched
	if !c.rhythm && !start.IsZero() {
		// If the clock went back at start, what it has shown before that
		// doesn't count again.
		if shown := wall(start, start.Add(-1)).Add(-1); shown.After(from) {
			from = shown
		}
	}
	searched, found := from, c.fields.Next(from)
	for range maxPieces {
		if found.IsZero() {
			break
		}
		tick = found.Add(-offset(at))
		if end.IsZero() || tick.Before(end) {
			if tick.Before(at) {
				tick = at // the clock skipped it
			}
			return tick.UTC(), true
		}
		at = end
		_, end = piece(at)
		if c.rhythm {
			from = wall(at, at).Add(-1)
			if from.Before(searched) || !from.Before(found) {
				searched, found = from, c.fields.Next(from)
			}
		}
	}
	return time.Time{}, false
}

// piece returns the first instant of the piece of time that t lies in, and the
// first after it; they are zero if there is none.
func piece(t time.Time) (start, end time.Time) {
	start, end = t.ZoneBounds()
	if !end.IsZero() && !end.After(t) {
		// For years beyond those that the database lists, Go 1.26 ends each after
		// 365 days, and the last day of a leap year lies in no piece
		// (golang/go#81583). Nothing changes on that day.
		end = t.Add(24 * time.Hour)
	}
	return start, end
}

// wall returns what a wall clock shows at the instant t if it has the offset
// that holds at the instant of, as a time in UTC.
func wall(t, of time.Time) time.Time { return t.UTC().Add(offset(of)) }

func offset(t time.Time) time.Duration {
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}
