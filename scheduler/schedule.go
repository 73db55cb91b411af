package scheduler

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// Bounds of a [Schedule]; beyond them it is refused.
const (
	MinEvery      = time.Millisecond // timers wake on whole milliseconds
	MaxQueueLimit = 10_000           // ticks
)

// maxMissed bounds how many ticks of a cron expression are counted at once,
// each of which has to be found. Those of Every are a division.
const maxMissed = 1000

// Overlap says what becomes of a tick that falls into a run.
type Overlap uint8

const (
	// Forbid: the tick is dropped, and counted.
	Forbid Overlap = iota
	// Queue: the tick is remembered, up to QueueLimit of them, and a run is
	// made for each once the one under way has ended.
	Queue
	// Allow: another run starts beside the one under way. It needs a Factory,
	// since one instance can't run twice.
	Allow
)

func (o Overlap) String() string {
	switch o {
	case Forbid:
		return "forbid"
	case Queue:
		return "queue"
	case Allow:
		return "allow"
	}
	return fmt.Sprintf("Overlap(%d)", uint8(o))
}

// MarshalText makes overlaps readable in JSON.
func (o Overlap) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Schedule says when a service is run. Exactly one of At, Every and Cron is
// set. It is plain data: it is copied with its [Spec], and checked then.
//
// Ticks that nobody could serve in time, since the machine slept or was busy, or
// since what the service comes After was down by itself, are not made up for one
// by one: they coalesce into one run, as soon as there can be one. Those while
// the service, what it comes After or the scheduler was stopped are forgotten,
// and those of an earlier process, too.
//
// # What Cron accepts
//
// Five fields separated by blanks: minute (0-59), hour (0-23), day of the
// month (1-31), month (1-12 or jan-dec) and day of the week (0-7 or sun-sat; 0
// and 7 are Sunday). With six, the first is the second (0-59), which otherwise
// is 0. Letters count in either case; at most 1024 bytes. A field is a list of
// elements with commas between them:
//
//	?  *            each value
//	5               this value
//	1-5  22-2       a range, which may go over the end of the field
//	*/15  10-40/5   each 15th value, each 5th of a range
//	10/5            each 5th value from 10 to the end of the field
//	L  L-3          day of the month: the last one, three days before it
//	15W  LW         day of the month: the day from Monday to Friday that is
//	                nearest to the 15th within the month, the last such day
//	fri#2  fri#L    day of the week: the second, the last Friday of the month
//
// A step is smaller than the number of values it steps through, and is not
// accepted on a range of weekdays that goes over the end of the week. If day of
// the month and day of the week are both restricted, a day that matches either
// of them counts; if one of them begins with * or ?, even as */2, a day must
// match both. So does crontab(5).
//
// Instead of fields: @yearly or @annually, @monthly, @weekly, @daily or
// @midnight, @hourly. Not accepted are years, @every (that is Every), @reboot,
// H, and a zone in front (TZ=, CRON_TZ=; that is Location). An expression that
// never fires, such as 30 February, is refused.
//
// # When clocks change
//
// An expression that leaves out at least one hour of the day gives times of the
// day, and each of them ticks once on each of its days. If the clock skips it,
// the tick is at the instant of the change (several skipped at once make one
// tick). If the clock shows it twice, the tick is at the first.
//
//	30 2 * * *      New York, 8 March 2026: 2:30 is skipped, ticks at 3:00 EDT
//	30 1 * * *      New York, 1 November 2026: ticks at 1:30 EDT, not at 1:30 EST
//
// An expression with each hour of the day (as */15 * * * *) gives a rhythm: it
// ticks whenever the clock shows a time that matches, so that it goes on through
// the hour that comes twice and has nothing to make up for after a skipped one.
//
// Rejected: to drop skipped times, as most libraries do (a nightly backup would
// be left out once a year); to move them on by what was skipped (2:30 to 3:30
// is later than need be, and passes what is set for 3:00); to run repeated
// times twice.
type Schedule struct {
	// At runs the service once, at that instant of the wall clock. One that has
	// passed when the service is started is not made up for: the scheduler
	// remembers nothing of an earlier process, and would run it again with each
	// deployment. After it the service ends: as Failed if its last run has
	// failed, else as Completed. Zero: not set.
	At time.Time
	// Every runs the service at its start (after StartDelay), and then at each
	// whole multiple of Every from there, however long the runs take. To run
	// first one interval later, set StartDelay to it too. It follows the
	// monotonic clock: setting the wall clock changes nothing, and a machine
	// that sleeps may not count the time (Linux doesn't). At least MinEvery.
	// Zero: not set.
	Every time.Duration
	// Cron runs the service at each time of the wall clock that matches the
	// expression, first after its start. See above. Empty: not set.
	Cron string
	// Location is the zone of Cron. Nil: UTC. Not time.Local, since a service
	// must not move with the machine it is deployed to; who wants it says so.
	// How the zone was loaded is the user's: if a machine may lack the time
	// zone database, its program imports time/tzdata.
	Location *time.Location

	// Overlap says what becomes of a tick that falls into a run. Zero: Forbid.
	Overlap Overlap
	// QueueLimit is how many ticks Queue remembers; what comes beyond is
	// dropped, and counted. At most MaxQueueLimit. Zero: 1, so that all ticks
	// that fall into a run make one run after it.
	QueueLimit int
	// Jitter spreads services that share a schedule: each run is started by a
	// random time of less than Jitter after its tick. The ticks themselves
	// don't move, and none is put off as far as the next. Less than Every.
	// Zero: none.
	Jitter time.Duration
}

// queueLimit is the number of ticks that are remembered during a run.
func (s *Schedule) queueLimit() int {
	if s.Overlap != Queue {
		return 0
	}
	return max(s.QueueLimit, 1)
}

// validate refuses what can't be meant by the schedule of the service alias.
// That Allow needs a Factory is for the Spec to say.
func (s *Schedule) validate(alias string) error {
	_, field, reason := s.table()
	if reason == "" {
		return nil
	}
	return &SpecError{Alias: alias, Field: field, Reason: reason}
}

// compile makes the timetable of s, or returns what validate would, without an
// alias.
func compile(s *Schedule) (*timetable, error) {
	t, field, reason := s.table()
	if reason != "" {
		return nil, &SpecError{Field: field, Reason: reason}
	}
	return t, nil
}

// table makes the timetable, or returns the field to refuse and the reason.
func (s *Schedule) table() (t *timetable, field, reason string) {
	if field, reason := s.contradiction(); reason != "" {
		return nil, field, reason
	}
	t = &timetable{at: s.At.Round(0).UTC(), every: s.Every, jitter: s.Jitter}
	if s.Cron != "" {
		if t.cron, reason = parseCron(s.Cron, s.Location); reason != "" {
			return nil, "Schedule.Cron", fmt.Sprintf("%.80q %s", s.Cron, reason)
		}
	}
	return t, "", ""
}

// contradiction checks everything but the cron expression, and returns the
// field to refuse and the reason; or two empty strings.
func (s *Schedule) contradiction() (field, reason string) {
	var set []string
	if !s.At.IsZero() {
		set = append(set, "At")
	}
	if s.Every != 0 {
		set = append(set, "Every")
	}
	if s.Cron != "" {
		set = append(set, "Cron")
	}
	switch {
	case len(set) == 0:
		return "Schedule", "none of At, Every and Cron is set; exactly one must be"
	case len(set) > 1:
		return "Schedule", strings.Join(set, " and ") + " are set; exactly one of At, Every and Cron must be"
	case s.Every < 0:
		return "Schedule.Every", fmt.Sprintf("%v is negative", s.Every)
	case s.Every != 0 && s.Every < MinEvery:
		return "Schedule.Every", fmt.Sprintf("%v is less than %v", s.Every, MinEvery)
	case s.Location != nil && s.Cron == "":
		return "Schedule.Location", fmt.Sprintf("%v is set without Cron, which it belongs to", s.Location)
	case s.Overlap > Allow:
		return "Schedule.Overlap", fmt.Sprintf("%v is none of forbid, queue, allow", s.Overlap)
	case s.QueueLimit < 0 || s.QueueLimit > MaxQueueLimit:
		return "Schedule.QueueLimit", fmt.Sprintf("%d is not between 0 and %d", s.QueueLimit, MaxQueueLimit)
	case s.QueueLimit > 0 && s.Overlap != Queue:
		return "Schedule.QueueLimit", fmt.Sprintf("%d is set with Overlap %v; it belongs to queue", s.QueueLimit, s.Overlap)
	case s.Jitter < 0:
		return "Schedule.Jitter", fmt.Sprintf("%v is negative; zero means none", s.Jitter)
	case s.Every > 0 && s.Jitter >= s.Every:
		return "Schedule.Jitter", fmt.Sprintf("%v is not less than Every, which is %v", s.Jitter, s.Every)
	}
	return "", ""
}

// timetable is a compiled Schedule. It is never changed, so any number of
// goroutines and services may share one; it holds no timer and no goroutine.
type timetable struct {
	at     time.Time
	every  time.Duration
	anchor time.Time // first tick of every
	cron   *calendar
	jitter time.Duration
}

// anchored returns t for a service that is started at start (its StartDelay
// included). With Every it must be called before the other methods; start
// should have a monotonic reading, as time.Now gives it.
func (t *timetable) anchored(start time.Time) *timetable {
	c := *t
	c.anchor = start
	return &c
}

// first returns the first tick from the start that was given to anchored; ok
// is false if there is none.
func (t *timetable) first() (tick time.Time, ok bool) {
	if t.every > 0 {
		return t.anchor, true
	}
	return t.next(t.anchor)
}

// next returns the first tick strictly after the given instant; ok is false if
// there is none any more. It is the same for each instant from one tick to the
// next, so it doesn't matter when or how often it is asked.
//
// With Every the tick has a monotonic reading if after has one, and follows it
// if the anchor has one too. (It is in the zone of after: Time.UTC would drop
// the reading.) With At and Cron the reading of after is ignored, and the tick
// is in UTC and has none: who compares it with time.Now compares wall clocks.
func (t *timetable) next(after time.Time) (tick time.Time, ok bool) {
	switch {
	case t.every > 0:
		since := after.Sub(t.anchor)
		if since < 0 {
			return t.anchor, true
		}
		// Not anchor plus a multiple, which could overflow, and whose wall
		// clock would be wrong once that was set.
		return after.Add(t.every - since%t.every), true
	case t.cron != nil:
		return t.cron.next(after.Round(0))
	}
	return t.at, t.at.After(after.Round(0))
}

// wallClock reports whether the ticks are instants of the wall clock. A timer
// follows the monotonic one, so a long wait for such a tick must look at the
// wall clock in between: it may be set, and the machine may sleep.
func (t *timetable) wallClock() bool { return t.every == 0 }

// missed returns the number of ticks after from and not after to. Those of Cron
// are counted up to maxMissed.
func (t *timetable) missed(from, to time.Time) int {
	switch {
	case t.every > 0:
		return int(min(max(t.ticksUntil(to)-t.ticksUntil(from), 0), math.MaxInt32))
	case t.cron == nil:
		from, to = from.Round(0), to.Round(0)
		if t.at.After(from) && !t.at.After(to) {
			return 1
		}
		return 0
	}
	to = to.Round(0)
	for n := range maxMissed {
		tick, ok := t.next(from)
		if !ok || tick.After(to) {
			return n
		}
		from = tick
	}
	return maxMissed
}

// ticksUntil returns the number of ticks of every that are not after at.
func (t *timetable) ticksUntil(at time.Time) int64 {
	since := at.Sub(t.anchor)
	if since < 0 {
		return 0
	}
	return int64(since/t.every) + 1
}

// delay draws by how much the run of a tick is put off: less than the jitter,
// and less than the time to the next tick, so that runs keep their order.
func (t *timetable) delay(tick time.Time) time.Duration {
	if t.jitter == 0 {
		return 0
	}
	room := t.jitter
	if next, ok := t.next(tick); ok {
		room = min(room, next.Sub(tick))
	}
	return rand.N(room)
}
