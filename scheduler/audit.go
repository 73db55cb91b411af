package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// lockBound is how long one hold of the manager's lock may take, and how
	// late the manager may be with what is due, before it counts as not
	// working. With a hundred thousand services both take less than a second.
	lockBound = 5 * time.Second
	// logBound is how long the user's log may take for a line before it counts
	// as stuck.
	logBound = 5 * time.Second
	// lossMemory is how long what was dropped is spoken of.
	lossMemory = time.Minute
	// The lock is looked at again after firstPoll, and then less and less often
	// down to each lastPoll.
	firstPoll, lastPoll = 100 * time.Microsecond, 10 * time.Millisecond
)

// lockWatch is by what the manager's lock is judged without taking it. A hold
// that ends is counted (see ServiceManager.unlocks): if the lock can't be had,
// and the count has not moved since it couldn't be had before, it is the same
// hold. Rejected: to time each hold, which reads the clock for each restart.
type lockWatch struct {
	seen atomic.Pointer[sighting]
	path atomic.Pointer[string] // the lineage, which the lock guards; nil: Serve was never called
}

type sighting struct {
	hold  uint64
	since time.Duration
}

// heldFor returns for how long the lock is known to be held by the one who has
// it now. It is called when the lock could not be had.
func (m *ServiceManager) heldFor() time.Duration {
	hold, now := m.unlocks.Load(), m.now()
	if s := m.lockWatch.seen.Load(); s != nil && s.hold == hold {
		return now - s.since
	}
	m.lockWatch.seen.Store(&sighting{hold: hold, since: now})
	return 0
}

// tryLock takes the lock, unless giveUp says that it was held for too long, or
// done is closed. It polls, since whoever waits in Lock can't be told that
// nobody will ever come.
func (m *ServiceManager) tryLock(done <-chan struct{}, giveUp func(held time.Duration) bool) bool {
	if m.mu.TryLock() {
		return true
	}
	wait := firstPoll
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for !giveUp(m.heldFor()) {
		select {
		case <-done:
			return false
		case <-timer.C:
		}
		if m.mu.TryLock() {
			return true
		}
		wait = min(2*wait, lastPoll)
		timer.Reset(wait)
	}
	return false
}

// lock takes the manager's lock for the cop, however long that takes. It is
// false if the cop is to go.
func (p *patrol) lock() bool {
	m := p.manager
	ok := m.tryLock(p.off, func(held time.Duration) bool {
		if held > lockBound && !p.wedged {
			p.wedged = true
			p.shout(slog.LevelError, "the manager hangs: its lock is not given up", "held", held)
		}
		return false
	})
	if ok && p.wedged {
		p.wedged = false
		p.shout(slog.LevelWarn, "the manager works again")
	}
	return ok
}

// shout logs a line past the queue, for which there would be need of the lock,
// in a goroutine of its own, since the user's log may hang. It says nothing
// while its line before, or one of the queue, is being written.
func (p *patrol) shout(level slog.Level, text string, args ...any) {
	if p.logger == nil || p.manager.log.began.Load() != 0 {
		return
	}
	if p.said != nil {
		select {
		case <-p.said:
		default:
			return
		}
	}
	said := make(chan struct{})
	p.said = said
	go call(func() error {
		p.logger.Log(context.Background(), level, text, append([]any{"service", p.root}, args...)...)
		return nil
	}, func(outcome) { close(said) })
}

// losses are what was dropped because the user's side was too slow. Guarded by
// the manager.
type losses struct {
	lines, failures loss
	worker          *worker // whose failure was lost last, until the cop has told it
}

type loss struct {
	n  uint64
	at time.Duration // the latest
}

func (l *loss) count(now time.Duration) { l.n, l.at = l.n+1, now }

// recent reports whether there is something to speak of.
func (l *loss) recent(now time.Duration) bool { return l.n > 0 && now-l.at < lossMemory }

// lateness is how long ago the manager should have done what is due. Its timer
// keeps it below a moment. The caller holds the lock.
func (m *ServiceManager) lateness(now time.Duration) time.Duration {
	if q := &m.deadlines; len(q.heap) > 0 {
		return max(0, now-q.heap[0].at)
	}
	return 0
}

// ailments says in words what is wrong with the manager itself, and whether it
// works all the same. The caller holds the lock.
func (m *ServiceManager) ailments(now time.Duration) (ills []string, works bool) {
	works = true
	if late := m.lateness(now); late > lockBound {
		works = false
		ills = append(ills, fmt.Sprintf("the manager is %v late", rounded(late)))
	}
	if began := time.Duration(m.log.began.Load()); began > 0 && now-began > logBound {
		ills = append(ills, fmt.Sprintf("the log hangs for %v with a line", rounded(now-began)))
	}
	if l := &m.losses.lines; l.recent(now) {
		ills = append(ills, fmt.Sprintf("the log is too slow, %s dropped, the latest %v ago", plural(l.n, "line"), rounded(now-l.at)))
	}
	if l := &m.losses.failures; l.recent(now) {
		ills = append(ills, fmt.Sprintf("handlers are too slow, %s dropped, the latest %v ago", plural(l.n, "failure"), rounded(now-l.at)))
	}
	return ills, works
}
