package scheduler

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"
	_ "time/tzdata" // the tests need the zones wherever they run

	"github.com/stretchr/testify/require"
)

func mustCompile(t testing.TB, s Schedule) *timetable {
	t.Helper()
	table, err := compile(&s)
	require.NoError(t, err)
	return table
}

func mustZone(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	require.NoError(t, err)
	return zone
}

func TestScheduleContradictions(t *testing.T) {
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		field, want string
		schedule    Schedule
	}{
		{"Schedule", "none of At, Every and Cron", Schedule{}},
		{"Schedule", "none of At, Every and Cron", Schedule{Location: time.UTC}},
		{"Schedule", "At and Every are set", Schedule{At: noon, Every: time.Second}},
		{"Schedule", "Every and Cron are set", Schedule{Every: time.Second, Cron: "@daily"}},
		{"Schedule", "At and Every and Cron are set", Schedule{At: noon, Every: -1, Cron: "@daily"}},
		{"Schedule.Every", "-1s is negative", Schedule{Every: -time.Second}},
		{"Schedule.Every", "999.999µs is less than 1ms", Schedule{Every: time.Millisecond - 1}},
		{"Schedule.Location", "UTC is set without Cron", Schedule{Every: time.Second, Location: time.UTC}},
		{"Schedule.Location", "without Cron", Schedule{At: noon, Location: time.Local}},
		{"Schedule.Overlap", "Overlap(3) is none", Schedule{Cron: "@daily", Overlap: 3}},
		{"Schedule.QueueLimit", "-1 is not between 0 and 10000", Schedule{Cron: "@daily", Overlap: Queue, QueueLimit: -1}},
		{"Schedule.QueueLimit", "10001 is not between", Schedule{Cron: "@daily", Overlap: Queue, QueueLimit: 10_001}},
		{"Schedule.QueueLimit", "1 is set with Overlap forbid", Schedule{Cron: "@daily", QueueLimit: 1}},
		{"Schedule.QueueLimit", "1 is set with Overlap allow", Schedule{Cron: "@daily", Overlap: Allow, QueueLimit: 1}},
		{"Schedule.Jitter", "-1s is negative", Schedule{At: noon, Jitter: -time.Second}},
		{"Schedule.Jitter", "1s is not less than Every", Schedule{Every: time.Second, Jitter: time.Second}},
		{"Schedule.Cron", "is blank", Schedule{Cron: "\t "}},
		{"Schedule.Cron", "1025 bytes long; at most 1024", Schedule{Cron: strings.Repeat("*", 1025)}},
		{"Schedule.Cron", "expected 5 to 6 fields, found 4", Schedule{Cron: "* * * *"}},
		{"Schedule.Cron", "expected 5 to 6 fields, found 7", Schedule{Cron: "0 * * * * * 2030"}},
		{"Schedule.Cron", "is neither five nor six fields", Schedule{Cron: "* * * *"}},
		{"Schedule.Cron", `"60 * * * *" has a field that can't be read: end of range (60) above maximum (59)`, Schedule{Cron: "60 * * * *"}},
		{"Schedule.Cron", "is none of @yearly, @annually", Schedule{Cron: "@reboot"}},
		{"Schedule.Cron", "above maximum", Schedule{Cron: "0 0 * * 8"}},
		{"Schedule.Cron", "below minimum", Schedule{Cron: "0 0 0 * *"}},
		{"Schedule.Cron", "monday", Schedule{Cron: "0 0 * * monday"}},
		{"Schedule.Cron", "step (60) must be less", Schedule{Cron: "*/60 * * * *"}},
		{"Schedule.Cron", "positive", Schedule{Cron: "*/0 * * * *"}},
		{"Schedule.Cron", "never fires", Schedule{Cron: "0 0 30 2 *"}},
		{"Schedule.Cron", "never fires", Schedule{Cron: "0 0 31 4,6,9,11 *", Location: time.Local}},
		{"Schedule.Cron", "never fires", Schedule{Cron: "0 0 31W 2 *"}},
		{"Schedule.Cron", "Location is the place", Schedule{Cron: "TZ=Europe/Berlin 0 0 * * *"}},
		{"Schedule.Cron", "Location is the place", Schedule{Cron: " CRON_TZ=UTC @daily", Location: time.UTC}},
		{"Schedule.Cron", "Location is the place", Schedule{Cron: "TZ=0"}},
		{"Schedule.Cron", "Every is the place", Schedule{Cron: "@every 5m"}},
		{"Schedule.Cron", "unrecognized", Schedule{Cron: "@reboot"}},
		{"Schedule.Cron", "H", Schedule{Cron: "H * * * *"}},
		{"Schedule.Cron", "empty element", Schedule{Cron: "0 , * * *"}},
		{"Schedule.Cron", "empty element", Schedule{Cron: "0 0 1,,2 * *"}},
		{"Schedule.Cron", "only a step (/) can follow *", Schedule{Cron: "*5 * * * *"}},
		{"Schedule.Cron", "only a step (/) can follow *", Schedule{Cron: "*-30 * * * *"}},
		{"Schedule.Cron", "sign", Schedule{Cron: "+5 * * * *"}},
		{"Schedule.Cron", "end of the week", Schedule{Cron: "0 0 * * fri-MON/2"}},
		{"Schedule.Cron", "end of the week", Schedule{Cron: "0 0 * * 1,7-2/2"}},
	} {
		t.Run(c.field+" "+c.want, func(t *testing.T) {
			err := c.schedule.validate("a")
			require.ErrorIs(t, err, ErrSpec)
			spec, ok := errors.AsType[*SpecError](err)
			require.True(t, ok)
			require.Equal(t, "a", spec.Alias)
			require.Equal(t, c.field, spec.Field)
			require.Contains(t, strings.ToLower(spec.Reason), strings.ToLower(c.want))

			table, err := compile(&c.schedule)
			require.Nil(t, table)
			require.ErrorIs(t, err, ErrSpec)
		})
	}
}

func TestScheduleIsValid(t *testing.T) {
	for _, s := range []Schedule{
		{At: time.Unix(0, 0), Jitter: time.Hour},
		{Every: MinEvery, Jitter: MinEvery - 1},
		{Every: math.MaxInt64, Overlap: Allow},
		{Cron: "* * * * * *", Location: time.Local, Overlap: Queue, QueueLimit: MaxQueueLimit},
		{Cron: "  @Midnight "},
		{Cron: "0 0 * * SAT,THU#2"},
		{Cron: "0 0 29 2 *"},
		{Cron: "0 0 * 2 fri#5"},
	} {
		require.NoError(t, s.validate("a"), "%+v", s)
	}
}

func TestOverlap(t *testing.T) {
	text, err := json.Marshal([]Overlap{Forbid, Queue, Allow, 9})
	require.NoError(t, err)
	require.JSONEq(t, `["forbid","queue","allow","Overlap(9)"]`, string(text))
	require.Zero(t, (&Schedule{}).queueLimit())
	require.Zero(t, (&Schedule{Overlap: Allow}).queueLimit())
	require.Equal(t, 1, (&Schedule{Overlap: Queue}).queueLimit())
	require.Equal(t, 7, (&Schedule{Overlap: Queue, QueueLimit: 7}).queueLimit())
}

func TestAt(t *testing.T) {
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, mustZone(t, "Europe/Berlin"))
	table := mustCompile(t, Schedule{At: noon})
	require.True(t, table.wallClock())
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{-time.Hour, true}, {-1, true}, {0, false}, {1, false}} {
		tick, ok := table.next(noon.Add(c.after))
		require.Equal(t, c.want, ok, c.after)
		require.True(t, !ok || tick.Equal(noon) && tick.Location() == time.UTC)
		_, ok = table.anchored(noon.Add(c.after)).first()
		require.Equal(t, c.want, ok, c.after)
	}
	require.Equal(t, 1, table.missed(noon.Add(-1), noon))
	require.Equal(t, 0, table.missed(noon, noon.Add(time.Hour)))
	require.Equal(t, 0, table.missed(noon.Add(-2), noon.Add(-1)))
}

// The instants of an interval are multiples from its start, whenever they are
// asked for, so that runs and late timers don't make them drift.
func TestEvery(t *testing.T) {
	const every = 10 * time.Second
	start := time.Date(2026, 7, 1, 12, 0, 3, 0, time.UTC)
	table := mustCompile(t, Schedule{Every: every}).anchored(start)
	require.False(t, table.wallClock())
	tick, ok := table.first()
	require.True(t, ok && tick.Equal(start))
	for _, c := range []struct{ after, want time.Duration }{
		{-time.Hour, 0}, {-1, 0}, {0, every}, {1, every}, {every - 1, every},
		{every, 2 * every}, {25 * time.Second, 3 * every}, {24 * time.Hour, 24*time.Hour + every},
	} {
		tick, ok := table.next(start.Add(c.after))
		require.True(t, ok)
		require.Equal(t, c.want, tick.Sub(start), c.after)
	}
	for _, c := range []struct {
		from, to time.Duration
		want     int
	}{
		{-2, -1, 0}, {-1, 0, 1}, {0, every - 1, 0}, {0, every, 1}, {every, every, 0},
		{0, 365 * 24 * time.Hour, 365 * 24 * 360}, {every, 0, 0},
	} {
		require.Equal(t, c.want, table.missed(start.Add(c.from), start.Add(c.to)), c)
	}
}

func TestEveryFarFromItsStart(t *testing.T) {
	start := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	table := mustCompile(t, Schedule{Every: time.Millisecond}).anchored(start)
	after := start.AddDate(1000, 0, 0) // beyond what a Duration can hold
	tick, ok := table.next(after)
	require.True(t, ok)
	require.True(t, tick.After(after) && tick.Sub(after) <= time.Millisecond)
	require.Equal(t, math.MaxInt32, table.missed(start, after))

	longest := mustCompile(t, Schedule{Every: math.MaxInt64}).anchored(start)
	tick, ok = longest.next(start)
	require.True(t, ok)
	require.Equal(t, time.Duration(math.MaxInt64), tick.Sub(start))
}

// Every keeps the monotonic reading, which setting the wall clock doesn't
// change; Cron and At drop it, since they mean what the wall clock shows.
func TestWhichClock(t *testing.T) {
	monotonic := func(at time.Time) bool { return strings.Contains(at.String(), " m=") }
	start := time.Now() // not in a bubble, whose clock has no such reading
	require.True(t, monotonic(start))

	every := mustCompile(t, Schedule{Every: time.Minute}).anchored(start)
	tick, _ := every.first()
	require.True(t, monotonic(tick))
	tick, _ = every.next(start.Add(90 * time.Second))
	require.True(t, monotonic(tick))
	require.Equal(t, 2*time.Minute, tick.Sub(start))

	for _, s := range []Schedule{{Cron: "* * * * *"}, {At: start.Add(time.Minute)}} {
		table := mustCompile(t, s).anchored(start)
		for _, ask := range []func() (time.Time, bool){table.first, func() (time.Time, bool) { return table.next(start) }} {
			tick, ok := ask()
			require.True(t, ok)
			require.False(t, monotonic(tick), "%+v", s)
			require.True(t, tick.After(start.Round(0)) && !tick.After(start.Round(0).Add(time.Minute)))
		}
	}
}

func TestMissedOfCron(t *testing.T) {
	table := mustCompile(t, Schedule{Cron: "0 * * * *"})
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		from, to time.Duration
		want     int
	}{
		{0, 0, 0}, {0, time.Hour - 1, 0}, {0, time.Hour, 1}, {-1, 0, 1}, {0, -time.Hour, 0},
		{time.Minute, 24 * time.Hour, 24}, {0, 1000 * time.Hour, 1000}, {0, 1001 * time.Hour, maxMissed},
	} {
		require.Equal(t, c.want, table.missed(noon.Add(c.from), noon.Add(c.to)), c)
	}
}

// One timetable serves any number of services at the same time.
func TestTimetableIsShared(t *testing.T) {
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for _, s := range []Schedule{
		{At: noon}, {Every: time.Minute, Jitter: time.Second},
		{Cron: "30 2 L * fri#2", Location: mustZone(t, "Europe/Berlin"), Jitter: time.Second},
	} {
		table := mustCompile(t, s).anchored(noon)
		want, _ := table.next(noon.Add(-1))
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for range 100 {
					got, ok := table.next(noon.Add(-1))
					if !ok || !got.Equal(want) || table.delay(got) >= time.Second || table.missed(noon.Add(-1), want) != 1 {
						t.Errorf("%v, not %v", got, want)
					}
				}
			})
		}
		group.Wait()
	}
}

func TestJitter(t *testing.T) {
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		schedule Schedule
		below    time.Duration
	}{
		{Schedule{Every: time.Minute, Jitter: time.Second}, time.Second},
		{Schedule{Cron: "* * * * *", Jitter: time.Hour}, time.Minute}, // not as far as the next tick
		{Schedule{At: noon, Jitter: math.MaxInt64}, math.MaxInt64},
	} {
		table := mustCompile(t, c.schedule).anchored(noon)
		var least, most time.Duration = math.MaxInt64, 0
		for range 1000 {
			d := table.delay(noon)
			require.True(t, d >= 0 && d < c.below, d)
			least, most = min(least, d), max(most, d)
		}
		require.True(t, least < c.below/4 && most > c.below/4*3, "%v to %v", least, most)
		tick, _ := table.next(noon)
		again, _ := table.next(noon)
		require.Equal(t, tick, again) // the ticks themselves don't move
	}
	require.Zero(t, mustCompile(t, Schedule{At: noon}).delay(noon))
}

func BenchmarkNextTick(b *testing.B) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	zone := mustZone(b, "America/New_York")
	for _, c := range []struct {
		name     string
		schedule Schedule
	}{
		{"every", Schedule{Every: time.Minute}},
		{"cron", Schedule{Cron: "30 2 * * 1-5", Location: zone}},
		{"rhythm", Schedule{Cron: "*/5 * * * *", Location: zone}},
		{"leapday", Schedule{Cron: "0 0 29 2 *", Location: zone}},
	} {
		table := mustCompile(b, c.schedule).anchored(at)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.next(at)
			}
		})
	}
}
