package scheduler

import (
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// wallCheck is how often the wall clock is compared with the monotonic one,
// which timers follow: it may be set, and it goes on while a machine sleeps. A
// difference above wallStep makes every wait for an instant of it be armed anew.
const (
	wallCheck = time.Minute
	wallStep  = 100 * time.Millisecond
)

// wallWatch notices that the wall clock was set. Guarded by the manager.
type wallWatch struct {
	schedules int           // services that follow the wall clock
	ahead     time.Duration // of the monotonic clock, when it was last compared
	timer     *time.Timer   // nil: nobody follows it, or Serve does not run
}

// watchWall begins to watch the clock, if anybody follows it. It runs under the
// manager's lock.
func (m *ServiceManager) watchWall() {
	if m.wall.schedules > 0 && m.wall.timer == nil && m.session != nil {
		m.wall.ahead = m.wallAhead()
		m.wall.timer = time.AfterFunc(wallCheck, m.compareWall)
	}
}

// wallAhead is how far the wall clock has moved more than the monotonic one
// since the manager's birth.
func (m *ServiceManager) wallAhead() time.Duration {
	now := time.Now()
	return now.Round(0).Sub(m.birth.Round(0)) - now.Sub(m.birth)
}

// compareWall is the timer's goroutine; under no lock.
func (m *ServiceManager) compareWall() {
	m.mu.Lock()
	defer m.unlock()
	m.wall.timer = nil
	if m.closing {
		return
	}
	moved := m.wallAhead() - m.wall.ahead
	m.watchWall()
	if moved.Abs() > wallStep {
		m.rearmWall()
	}
}

// rearmWall makes those who wait for an instant of the wall clock wait for the
// time that is left by that clock now. It runs under the manager's lock.
func (m *ServiceManager) rearmWall() {
	for _, e := range m.directory.entries {
		if e.options.timetable == nil || !e.options.timetable.wallClock() {
			continue
		}
		for w := range e.workers() {
			if w.state == Waiting && w.armed {
				m.armTick(w)
			}
		}
	}
}

// Trigger runs a scheduled service now, beside its ticks, and does not wait
// for the run to end.
//
// Errors: ErrUnknown; ErrNotScheduled; ErrNotStarted if its schedule is not on,
// or what it comes After is not started; ErrRunning if a run is under way, and
// with Overlap Allow if no worker is free.
func (m *ServiceManager) Trigger(alias string) error {
	m.mu.Lock()
	defer m.unlock()
	e, err := m.find("trigger", alias)
	switch {
	case err != nil:
		return err
	case e.options.timetable == nil:
		return fmt.Errorf("scheduler: trigger %q: %w", alias, ErrNotScheduled)
	case e.down || !e.up():
		return fmt.Errorf("%w: trigger %q: %v", ErrNotStarted, alias, e.state())
	case !e.needsUp():
		return fmt.Errorf("%w: trigger %q: it waits for %s", ErrNotStarted, alias, strings.Join(e.waitsFor(make(map[*entry]bool)), ", "))
	}
	var free *worker
	for w := range e.workers() {
		if w.state == Waiting && (free == nil || !w.armed) {
			free = w
		}
	}
	if free == nil {
		return fmt.Errorf("scheduler: trigger %q: %w", alias, ErrRunning)
	}
	if k := e.keep; free.armed && !k.tick.After(k.now()) { // a tick that its jitter puts off
		k.accounted = k.tick
	}
	m.runNow(free)
	return nil
}

// What follows runs under the manager's lock.

// enroll makes a worker wait for the first tick of its schedule, which begins
// anew: nobody was there for the ticks before.
func (m *ServiceManager) enroll(w *worker) {
	e, k := w.entry, w.entry.keep
	for o := range e.workers() {
		if o != w && (o.state == Waiting || o.state.live() || o.state == BackingOff || o.due) {
			m.awaitTick(w) // of a pool whose schedule is on
			return
		}
	}
	k.table = e.options.timetable.anchored(time.Now())
	k.accounted, k.queued = k.now(), 0
	next, ok := k.table.first()
	if !ok && w.index <= 1 {
		k.skipped++
	}
	m.plan(w, next, ok)
}

// awaitTick makes a worker wait for the next tick; of a pool only one waits.
func (m *ServiceManager) awaitTick(w *worker) {
	e, k := w.entry, w.entry.keep
	for o := range e.workers() {
		if o != w && o.state == Waiting && o.armed {
			m.set(w, Waiting)
			return
		}
	}
	after := k.now()
	if k.accounted.After(after) { // the clock was set back
		after = k.accounted
	}
	next, ok := k.table.next(after)
	m.plan(w, next, ok)
}

// plan makes a worker wait for a tick, or ends it if there is none any more:
// as Failed if its latest run has failed, and was not tried again with success.
func (m *ServiceManager) plan(w *worker, tick time.Time, ok bool) {
	if !ok {
		end := Completed
		if w.streak > 0 {
			end = Failed
		}
		m.rest(w, end)
		for o := range w.entry.workers() {
			if o.state == Waiting {
				m.rest(o, Completed)
			}
		}
		return
	}
	k := w.entry.keep
	k.tick, k.next = tick, tick.Add(k.table.delay(tick))
	if w.state != Waiting {
		m.set(w, Waiting)
	}
	m.armTick(w)
}

func (m *ServiceManager) armTick(w *worker) {
	m.arm(w, time.Until(w.entry.keep.next))
}

// tick follows when the time that a worker waited for may have come.
func (m *ServiceManager) tick(w *worker) {
	k := w.entry.keep
	now := k.now()
	if now.Before(k.next) {
		m.armTick(w)
		return
	}
	// Those since then are one with it: nobody was awake for them.
	k.skipped += uint64(k.table.missed(k.tick, now))
	k.accounted = now
	if e := w.entry; !e.needsUp() && e.owes() {
		k.skipped++
		m.awaitTick(w)
		return
	}
	m.runNow(w)
}

// owes reports whether a run waits for what the service comes After, so that
// further ticks are one with it.
func (e *entry) owes() bool {
	for w := range e.workers() {
		if w.state == Idle && w.due {
			return true
		}
	}
	return false
}

// runNow starts a run of a worker that waits, and lets another wait instead.
func (m *ServiceManager) runNow(w *worker) {
	e := w.entry
	w.due = true
	m.launch(w)
	for o := range e.workers() {
		if o.state == Waiting {
			m.awaitTick(o)
			return
		}
	}
}

// ticked decides what follows a run of a scheduled service.
func (m *ServiceManager) ticked(w *worker, x *exit) {
	e, o := w.entry, w.entry.options
	fatal := x.err != nil && (o.exitOnError || o.haltOnFailure || o.restart == Temporary)
	tried := w.run.failing
	fail := func(end End, delay time.Duration) {
		if x.err != tried {
			m.failBy(w, x, end, delay)
		}
	}
	switch {
	case x.err == nil:
		w.streak = 0
		m.note(slog.LevelDebug, "ended, waits for its next tick", w, nil, 0)
	case fatal:
		fail(Failed, 0)
		m.rest(w, Failed)
		m.condemn(w, x.err)
		return
	case o.restart == Transient && !m.overLimit(w):
		if end, escalates := m.overSharedLimit(w); end != NotEnded {
			fail(end, 0)
			m.rest(w, end)
			if escalates {
				m.endSession(w, &gaveUpError{err: x.err})
			}
			return
		}
		fail(NotEnded, x.delay)
		w.due = true
		if x.delay > 0 {
			m.set(w, BackingOff)
		}
		m.backOff(w, x.delay)
		return
	default:
		m.account(e)
		fail(m.failedTick(e))
	}
	m.nextRun(e, w)
}

// failedTick returns what follows a failed run that is not tried again: the
// wait for the next, or the end if there is none.
func (m *ServiceManager) failedTick(e *entry) (end End, delay time.Duration) {
	k := e.keep
	if k.queued > 0 {
		return NotEnded, 0
	}
	next, ok := k.table.next(k.now())
	if !ok && !e.waits() {
		return Failed, 0
	}
	return NotEnded, max(0, time.Until(next))
}

// overLimit counts another try against the service's own limit.
func (m *ServiceManager) overLimit(w *worker) bool {
	o := w.entry.options
	if o.retryLimit == 0 {
		return false
	}
	if w.ends == nil {
		w.ends = &instants{}
	}
	return w.ends.over(m.now(), o.retryLimit, o.retryWindow)
}

// account notes the ticks that fell into a run: as queued, if that is asked, or
// as skipped.
func (m *ServiceManager) account(e *entry) {
	k := e.keep
	if e.options.overlap == Allow && e.waits() {
		return
	}
	now := k.now()
	fell := k.queued + k.table.missed(k.accounted, now)
	k.accounted = now
	k.queued = min(fell, e.options.queueLimit)
	k.skipped += uint64(fell - k.queued)
}

// nextRun runs for a tick that fell into the run before, if that is asked, or
// waits for the next.
func (m *ServiceManager) nextRun(e *entry, w *worker) {
	k := e.keep
	m.account(e)
	if k.queued > 0 {
		k.queued--
		w.due = true
		m.launch(w)
		return
	}
	m.awaitTick(w)
}

// keepTick makes one of those that wait wait for the tick that one which went
// by Resize has waited for.
func (m *ServiceManager) keepTick(e *entry) {
	if e.options.timetable == nil || e.waits() {
		return
	}
	for w := range e.workers() {
		if w.state == Waiting {
			m.armTick(w)
			return
		}
	}
}

// waits reports whether some worker waits for the next tick, so that none can
// fall into a run.
func (e *entry) waits() bool {
	for w := range e.workers() {
		if w.state == Waiting && w.armed {
			return true
		}
	}
	return false
}

func (e *entry) waitingReason(now time.Duration) string {
	return fmt.Sprintf("next run in %v", max(0, time.Until(e.keep.next).Round(time.Millisecond)))
}
