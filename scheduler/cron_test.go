package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is promised about changes of the clock, as timelines.
func TestCronWhenClocksChange(t *testing.T) {
	for _, c := range []struct {
		zone, cron, after string
		want              []string // the ticks that follow
	}{
		// The hour from 2:00 is skipped.
		{"America/New_York", "30 2 * * *", "2026-03-07 03:00 EST",
			[]string{"2026-03-08 03:00 EDT", "2026-03-09 02:30 EDT", "2026-03-10 02:30 EDT"}},
		{"America/New_York", "30 2 * * *", "2026-03-08 03:00 EDT", []string{"2026-03-09 02:30 EDT"}},
		{"America/New_York", "*/10 2 * * *", "2026-03-08 00:00 EST", []string{"2026-03-08 03:00 EDT", "2026-03-09 02:00 EDT"}},
		{"America/New_York", "0 2,3 * * *", "2026-03-08 00:00 EST", []string{"2026-03-08 03:00 EDT", "2026-03-09 02:00 EDT"}},
		{"America/New_York", "0 */2 * * *", "2026-03-08 00:00 EST", []string{"2026-03-08 03:00 EDT", "2026-03-08 04:00 EDT"}},
		{"America/New_York", "*/30 * * * *", "2026-03-08 01:00 EST",
			[]string{"2026-03-08 01:30 EST", "2026-03-08 03:00 EDT", "2026-03-08 03:30 EDT"}},
		{"America/New_York", "15 0-23 * * *", "2026-03-08 01:00 EST", []string{"2026-03-08 01:15 EST", "2026-03-08 03:15 EDT"}},
		{"Europe/Berlin", "0 2 * * *", "2026-03-28 02:00 CET", []string{"2026-03-29 03:00 CEST", "2026-03-30 02:00 CEST"}},
		{"Europe/Berlin", "@daily", "2026-03-28 12:00 CET", []string{"2026-03-29 00:00 CET", "2026-03-30 00:00 CEST"}},
		// The hour from 1:00 (in Berlin from 2:00) comes twice.
		{"America/New_York", "30 1 * * *", "2026-11-01 00:00 EDT", []string{"2026-11-01 01:30 EDT", "2026-11-02 01:30 EST"}},
		{"America/New_York", "30 1 * * *", "2026-11-01 01:10 EST", []string{"2026-11-02 01:30 EST"}},
		{"America/New_York", "0 2 * * *", "2026-11-01 01:30 EDT", []string{"2026-11-01 02:00 EST", "2026-11-02 02:00 EST"}},
		{"America/New_York", "*/30 * * * *", "2026-11-01 01:00 EDT",
			[]string{"2026-11-01 01:30 EDT", "2026-11-01 01:00 EST", "2026-11-01 01:30 EST", "2026-11-01 02:00 EST"}},
		{"America/New_York", "@hourly", "2026-11-01 00:30 EDT",
			[]string{"2026-11-01 01:00 EDT", "2026-11-01 01:00 EST", "2026-11-01 02:00 EST"}},
		{"Europe/Berlin", "30 2 * * *", "2026-10-24 12:00 CEST", []string{"2026-10-25 02:30 CEST", "2026-10-26 02:30 CET"}},
		{"Europe/Berlin", "0 2-3 * * *", "2026-10-25 00:00 CEST",
			[]string{"2026-10-25 02:00 CEST", "2026-10-25 03:00 CET", "2026-10-26 02:00 CET"}},
		// Half an hour from 2:00 is skipped, half an hour from 1:30 comes twice.
		{"Australia/Lord_Howe", "15 2 * * *", "2026-10-03 12:00 +1030", []string{"2026-10-04 02:30 +11", "2026-10-05 02:15 +11"}},
		{"Australia/Lord_Howe", "45 2 * * *", "2026-10-03 12:00 +1030", []string{"2026-10-04 02:45 +11", "2026-10-05 02:45 +11"}},
		{"Australia/Lord_Howe", "30 1 * * *", "2026-10-04 01:55 +1030", []string{"2026-10-05 01:30 +11"}},
		{"Australia/Lord_Howe", "45 1 * * *", "2026-04-05 00:00 +11", []string{"2026-04-05 01:45 +11", "2026-04-06 01:45 +1030"}},
		{"Australia/Lord_Howe", "*/15 * * * *", "2026-04-05 01:30 +11",
			[]string{"2026-04-05 01:45 +11", "2026-04-05 01:30 +1030", "2026-04-05 01:45 +1030", "2026-04-05 02:00 +1030"}},
		{"Australia/Lord_Howe", "*/15 * * * *", "2026-10-04 01:45 +1030", []string{"2026-10-04 02:30 +11", "2026-10-04 02:45 +11"}},
		// Midnight is skipped; a whole day is skipped; the clock never changes.
		{"America/Sao_Paulo", "@daily", "2018-11-03 12:00 -03", []string{"2018-11-04 01:00 -02", "2018-11-05 00:00 -02"}},
		{"Pacific/Apia", "0 12 * * *", "2011-12-29 12:00 -10", []string{"2011-12-31 00:00 +14", "2011-12-31 12:00 +14"}},
		{"Asia/Kolkata", "30 2 * * *", "2026-03-08 02:00 IST", []string{"2026-03-08 02:30 IST", "2026-03-09 02:30 IST"}},
		// Rare days.
		{"", "0 0 29 2 *", "2096-03-01 00:00 UTC", []string{"2104-02-29 00:00 UTC"}},
		{"Europe/Berlin", "0 * 29 2 *", "2024-02-29 23:00 CET", []string{"2028-02-29 00:00 CET", "2028-02-29 01:00 CET"}},
		{"America/New_York", "0 0 29 2 */7", "2088-02-29 00:00 EST", []string{"2128-02-29 00:00 EST"}},
		// The last day of a leap year beyond what the database lists.
		{"America/New_York", "30 1 * * *", "2040-12-30 20:00 EST", []string{"2040-12-31 01:30 EST", "2041-01-01 01:30 EST"}},
		{"Australia/Lord_Howe", "0 */12 * * *", "2040-12-31 11:30 +11", []string{"2040-12-31 12:00 +11", "2041-01-01 00:00 +11"}},
		{"Australia/Lord_Howe", "@hourly", "2040-12-31 23:30 +11", []string{"2041-01-01 00:00 +11", "2041-01-01 01:00 +11"}},
	} {
		t.Run(c.zone+" "+c.cron, func(t *testing.T) {
			const layout = "2006-01-02 15:04 MST"
			s := Schedule{Cron: c.cron}
			zone := time.UTC
			if c.zone != "" {
				zone = mustZone(t, c.zone)
				s.Location = zone
			}
			table := mustCompile(t, s)
			at := findInstant(t, zone, layout, c.after)
			for _, want := range c.want {
				tick, ok := table.next(at)
				require.True(t, ok)
				require.Equal(t, time.UTC, tick.Location())
				require.Equal(t, want, tick.In(zone).Format(layout))
				at = tick
			}
		})
	}
}

// findInstant returns the instant at which the clock of the zone shows text,
// its abbreviation included, which time.Parse does not look at.
func findInstant(t *testing.T, zone *time.Location, layout, text string) time.Time {
	t.Helper()
	guess, err := time.ParseInLocation("2006-01-02 15:04", text[:16], time.UTC)
	require.NoError(t, err)
	for at := guess.Add(-15 * time.Hour); at.Before(guess.Add(15 * time.Hour)); at = at.Add(15 * time.Minute) {
		for step := range 15 {
			if at := at.Add(time.Duration(step) * time.Minute).In(zone); at.Format(layout) == text {
				return at
			}
		}
	}
	t.Fatalf("%s is never shown in %v", text, zone)
	return time.Time{}
}

// cronCase is an expression with what it means, said again in Go about what the
// clock shows.
type cronCase struct {
	cron   string
	rhythm bool
	match  func(w time.Time) bool
}

func cronCases() []cronCase {
	at := func(w time.Time, hour, minute int) bool { return w.Hour() == hour && w.Minute() == minute }
	midnight := func(w time.Time) bool { return at(w, 0, 0) }
	last := func(w time.Time) int { return w.AddDate(0, 1, -w.Day()).Day() }
	return []cronCase{
		{"* * * * *", true, func(time.Time) bool { return true }},
		{"? ? ? ? ?", true, func(time.Time) bool { return true }},
		{"30 2 * * *", false, func(w time.Time) bool { return at(w, 2, 30) }},
		{"45 1 * * *", false, func(w time.Time) bool { return at(w, 1, 45) }},
		{"10,50 1-3 * * *", false, func(w time.Time) bool { return w.Minute()%40 == 10 && w.Hour() >= 1 && w.Hour() <= 3 }},
		{"*/7 * * * *", true, func(w time.Time) bool { return w.Minute()%7 == 0 }},
		{"20/15 22-2 * * *", false, func(w time.Time) bool {
			return w.Minute()%15 == 5 && w.Minute() >= 20 && (w.Hour() >= 22 || w.Hour() <= 2)
		}},
		{"@hourly", true, func(w time.Time) bool { return w.Minute() == 0 }},
		{"@weekly", false, func(w time.Time) bool { return midnight(w) && w.Weekday() == 0 }},
		{"@monthly", false, func(w time.Time) bool { return midnight(w) && w.Day() == 1 }},
		{"@yearly", false, func(w time.Time) bool { return midnight(w) && w.YearDay() == 1 }},
		{"0 2 * * 6", false, func(w time.Time) bool { return at(w, 2, 0) && w.Weekday() == 6 }},
		{"0 0 * * 7", false, func(w time.Time) bool { return midnight(w) && w.Weekday() == 0 }},
		{"0 0 * * SAT-mon", false, func(w time.Time) bool { return midnight(w) && (w.Weekday() == 6 || w.Weekday() <= 1) }},
		{"0 0 * * THU", false, func(w time.Time) bool { return midnight(w) && w.Weekday() == 4 }},
		{"0 0 * * 5/2", false, func(w time.Time) bool { return midnight(w) && (w.Weekday() == 5 || w.Weekday() == 0) }},
		{"0 0 * nov-FEB *", false, func(w time.Time) bool { return midnight(w) && (w.Month() >= 11 || w.Month() <= 2) }},
		{"0 0 13 * 5", false, func(w time.Time) bool { return midnight(w) && (w.Day() == 13 || w.Weekday() == 5) }},
		{"0 0 */2 * 1", false, func(w time.Time) bool { return midnight(w) && w.Day()%2 == 1 && w.Weekday() == 1 }},
		{"0 0 1-7 * ?/2", false, func(w time.Time) bool { return midnight(w) && w.Day() <= 7 && w.Weekday()%2 == 0 }},
		{"0 0 30-2 * *", false, func(w time.Time) bool { return midnight(w) && (w.Day() >= 30 || w.Day() <= 2) }},
		{"0 0 L * *", false, func(w time.Time) bool { return midnight(w) && w.Day() == last(w) }},
		{"0 0 l-3,1 * *", false, func(w time.Time) bool { return midnight(w) && (w.Day() == last(w)-3 || w.Day() == 1) }},
		{"0 0 L * mon", false, func(w time.Time) bool { return midnight(w) && (w.Day() == last(w) || w.Weekday() == 1) }},
		{"0 0 LW * *", false, func(w time.Time) bool { return midnight(w) && w.Day() == workday(w, last(w), -1) }},
		{"0 0 15W * *", false, func(w time.Time) bool { return midnight(w) && w.Day() == nearest(w, 15) }},
		{"0 0 1w * *", false, func(w time.Time) bool { return midnight(w) && w.Day() == nearest(w, 1) }},
		{"0 0 30W * *", false, func(w time.Time) bool { return midnight(w) && last(w) >= 30 && w.Day() == nearest(w, 30) }},
		{"0 0 * * fri#L", false, func(w time.Time) bool { return midnight(w) && w.Weekday() == 5 && w.Day() > last(w)-7 }},
		{"0 0 * * 7#2", false, func(w time.Time) bool { return midnight(w) && w.Weekday() == 0 && (w.Day()-1)/7 == 1 }},
		{"0 0 * * wed#5,mon", false, func(w time.Time) bool { return midnight(w) && (w.Weekday() == 3 && w.Day() > 28 || w.Weekday() == 1) }},
		{"0 0 29 2 *", false, func(w time.Time) bool { return midnight(w) && w.Day() == 29 && w.Month() == 2 }},
		{"0 12 31 1,3,5-8/2 2-4", false, func(w time.Time) bool {
			return at(w, 12, 0) && w.Month()%2 == 1 && w.Month() < 8 && (w.Day() == 31 || w.Weekday() >= 2 && w.Weekday() <= 4)
		}},
	}
}

// workday returns the first day from the given one of w's month on, in steps,
// that is no weekend.
func workday(w time.Time, day, step int) int {
	for {
		at := time.Date(w.Year(), w.Month(), day, 0, 0, 0, 0, time.UTC)
		if at.Weekday() != time.Saturday && at.Weekday() != time.Sunday {
			return day
		}
		day += step
	}
}

// nearest returns the workday nearest to day within the month of w.
func nearest(w time.Time, day int) int {
	for _, d := range []int{day, day - 1, day + 1, day - 2, day + 2} {
		if d >= 1 && d <= w.AddDate(0, 1, -w.Day()).Day() && workday(w, d, 1) == d {
			return d
		}
	}
	return 0
}

// allTicks is what the table says from one instant to another, both included.
func allTicks(t *timetable, from, to time.Time) (ticks []time.Time) {
	for at := from.Add(-1); ; at = ticks[len(ticks)-1] {
		tick, ok := t.next(at)
		if !ok || tick.After(to) {
			return ticks
		}
		ticks = append(ticks, tick)
	}
}

// Around changes of the clock the ticks are those that somebody finds who looks
// at the clock each minute and remembers what it has shown.
func TestCronAgainstTheClock(t *testing.T) {
	for _, change := range []struct{ zone, day string }{
		{"America/New_York", "2026-03-08"}, {"America/New_York", "2026-11-01"},
		{"Europe/Berlin", "2026-03-29"}, {"Europe/Berlin", "2026-10-25"},
		{"Australia/Lord_Howe", "2026-04-05"}, {"Australia/Lord_Howe", "2026-10-04"},
		{"America/Sao_Paulo", "2018-11-04"}, {"America/Sao_Paulo", "2019-02-17"},
		{"Antarctica/Troll", "2026-03-29"}, {"Antarctica/Troll", "2026-10-25"},
		{"Africa/Casablanca", "2026-02-15"}, {"Africa/Casablanca", "2026-03-22"},
		{"Pacific/Apia", "2011-12-30"}, {"Asia/Kolkata", "2026-03-08"},
	} {
		t.Run(change.zone+" "+change.day, func(t *testing.T) {
			zone := mustZone(t, change.zone)
			day, err := time.Parse(time.DateOnly, change.day)
			require.NoError(t, err)
			from, to := day.Add(-36*time.Hour), day.Add(48*time.Hour)
			var shown []time.Time // what the clock shows, minute by minute
			for at := from; !at.After(to); at = at.Add(time.Minute) {
				local := at.In(zone)
				shown = append(shown, time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), 0, 0, time.UTC))
			}
			for _, c := range cronCases() {
				table := mustCompile(t, Schedule{Cron: c.cron, Location: zone})
				require.Equal(t, c.rhythm, table.cron.rhythm, c.cron)
				require.Equal(t, watchClock(c, from, shown), allTicks(table, from, to), c.cron)
			}
		})
	}
}

// watchClock returns the ticks of c by looking at what the clock shows each
// minute.
func watchClock(c cronCase, from time.Time, shown []time.Time) (ticks []time.Time) {
	awaited := shown[0] // what the clock is to show next
	for i, w := range shown {
		due := c.rhythm && c.match(w)
		for ; !c.rhythm && !awaited.After(w); awaited = awaited.Add(time.Minute) {
			due = due || c.match(awaited)
		}
		if due {
			ticks = append(ticks, from.Add(time.Duration(i)*time.Minute))
		}
	}
	return ticks
}

func TestCronAgainstTheCalendar(t *testing.T) {
	from, to := time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2033, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range cronCases() {
		var want []time.Time
		for day := from; !day.After(to); day = day.AddDate(0, 0, 1) {
			if c.match(day) {
				want = append(want, day)
			}
		}
		if c.match(from.Add(time.Hour)) || len(want) == 0 {
			continue // not one that ticks at midnight alone
		}
		table := mustCompile(t, Schedule{Cron: c.cron})
		got := allTicks(table, from, to)
		for i := range got {
			got[i] = got[i].Truncate(24 * time.Hour)
		}
		require.Equal(t, want, slices.Compact(got), c.cron)
	}
}

func TestCronWithSeconds(t *testing.T) {
	table := mustCompile(t, Schedule{Cron: "*/20 59 23 31 12 *"})
	from := time.Date(2026, 12, 31, 23, 59, 20, 1, time.UTC)
	require.Equal(t, []time.Time{
		time.Date(2026, 12, 31, 23, 59, 40, 0, time.UTC),
		time.Date(2027, 12, 31, 23, 59, 0, 0, time.UTC),
		time.Date(2027, 12, 31, 23, 59, 20, 0, time.UTC),
	}, allTicks(table, from, from.AddDate(1, 0, 0)))
}
