package scheduler

import (
	"container/heap"
	"log/slog"
	"sync"
	"time"
)

const (
	// auditEvery is how often the cop looks at the manager. It is all that it
	// wakes for while nothing is metered.
	auditEvery = 5 * time.Second
	// exitBound is how long after Serve's return the Backoff function may take
	// to return before the run is a zombie. It is asked for a number: whatever
	// it does beside that should not take the time of a network.
	exitBound = time.Second
	// copRest is the least time between two rounds, so that thousands of
	// windows that end at different times don't each wake the goroutine.
	copRest = 10 * time.Millisecond
	// copPardon is how long a beat at which the cop itself has failed is left
	// alone, so that it is judged again, and a mistake that stands does not fill
	// the log.
	copPardon = time.Minute
	// keptExits is how many places for runs that exit at once are kept.
	keptExits = 1024
)

// cop is what the cop has before it: the services that are metered, and the
// runs that are over and wait for their Backoff function. What it knows of
// nobody else costs nothing, however many they are.
//
// Its mutex is its own, so that it can work out when to wake while the
// manager's is held; if both are needed, the manager's is taken first.
type cop struct {
	mu     sync.Mutex
	beats  beatHeap
	exits  []leaving
	hung   map[*worker]*hungExit // whose curve has not returned since its run was ended for it
	check  time.Duration         // when exits are looked at; zero: there was none
	alarm  time.Duration         // when the goroutine wakes
	wakeup chan struct{}         // capacity 1, of the session's goroutine: alarm is too late
}

// assign gives the cop a beat, unless that was dismissed.
func (c *cop) assign(b *beat) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.dismissed {
		return
	}
	heap.Push(&c.beats, b)
	c.wake(b.due)
}

// dismiss takes a beat from the cop for good, lest what was removed is held
// until its window ends. The caller holds the manager's lock.
func (c *cop) dismiss(b *beat) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.dismissed = true
	if b.place > 0 { // else the cop is looking at it
		heap.Remove(&c.beats, b.place-1)
	}
}

// wake makes the goroutine wake at that time at the latest. The caller holds
// the cop's mutex.
func (c *cop) wake(at time.Duration) {
	if at < c.alarm {
		select {
		case c.wakeup <- struct{}{}: // blocks on nil, when Serve does not run
		default:
		}
	}
}

// next takes the beat that is due, or returns nil.
func (c *cop) next(now time.Duration) *beat {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.beats) == 0 || c.beats[0].due > now {
		return nil
	}
	return heap.Pop(&c.beats).(*beat)
}

// set sets the alarm and returns the time until then.
func (c *cop) set(now, audit, rested time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alarm = audit
	if len(c.beats) > 0 {
		c.alarm = min(c.alarm, c.beats[0].due)
	}
	if c.check > 0 {
		c.alarm = min(c.alarm, c.check)
	}
	c.alarm = max(c.alarm, rested)
	return max(0, c.alarm-now)
}

// patrol is the cop's goroutine, one for each session.
type patrol struct {
	manager *ServiceManager
	session *session
	logger  *slog.Logger
	root    string
	wakeup  chan struct{}
	off     chan struct{} // closed when it shall end
	gone    chan struct{} // closed when it has

	audit  time.Duration // when the manager is looked at next
	rested time.Duration // when the next round may be made
	said   chan struct{} // closed once the line that was shouted last is written; nil: none
	wedged bool          // it was shouted that the lock is held too long
	late   bool          // it was shouted that the manager is late
	told   uint64        // failures that handlers lost, as logged last
}

// beginPatrol starts the cop's goroutine. The caller holds the lock.
func (m *ServiceManager) beginPatrol(s *session) {
	p := &patrol{
		manager: m, session: s, logger: m.logger, root: m.root, told: m.losses.failures.n,
		wakeup: make(chan struct{}, 1), off: make(chan struct{}), gone: make(chan struct{}),
		audit: m.now() + auditEvery, said: m.log.shouted,
	}
	s.patrol = p
	m.lockWatch.path.Store(&p.root)
	m.cop.mu.Lock()
	m.cop.wakeup = p.wakeup
	m.cop.mu.Unlock()
	go p.walk()
}

// endPatrol ends it and waits for it, and reports whether a line that it
// shouted hangs in the user's log.
func (m *ServiceManager) endPatrol(s *session) (stuck bool) {
	p := s.patrol
	close(p.off)
	<-p.gone
	m.mu.Lock()
	m.log.shouted = p.said
	m.unlock()
	if p.said == nil {
		return false
	}
	timeout := time.NewTimer(m.limits.handlerTimeout)
	defer timeout.Stop()
	select {
	case <-p.said:
		return false
	case <-timeout.C:
		return true
	}
}

func (p *patrol) walk() {
	defer close(p.gone)
	m := p.manager
	timer := time.NewTimer(auditEvery)
	defer timer.Stop()
	for {
		timer.Reset(m.cop.set(m.now(), p.audit, p.rested))
		select {
		case <-p.off:
			return
		case <-p.wakeup:
			continue
		case <-timer.C:
		}
		for p.guarded(p.step) {
		}
		p.guarded(p.watchExits)
		p.guarded(p.watchManager)
		p.rested = m.now() + copRest
	}
}

// guarded calls a part of the round, so that a mistake in it ends only that
// part, until the next round. It reports whether there is more to be done.
func (p *patrol) guarded(part func() bool) (more bool) {
	call(func() error {
		more = part()
		return nil
	}, func(out outcome) {
		if out.err != nil {
			p.shout(slog.LevelError, "the cop failed", "err", out.err, "at", where(out.stack))
		}
	})
	return more
}

// step looks at the beat that is due first. One at which the cop itself fails
// is looked at again after a while, instead of in each round.
func (p *patrol) step() (more bool) {
	m := p.manager
	b := m.cop.next(m.now())
	if b == nil {
		return false
	}
	failed := true
	defer func() {
		if failed {
			b.due = later(m.now(), copPardon)
			m.cop.assign(b)
		}
	}()
	stays := p.inspect(b)
	if failed = false; stays {
		b.plan()
		m.cop.assign(b)
	}
	return true
}

// inspect does what is due for a beat, and reports whether the beat stays.
func (p *patrol) inspect(b *beat) bool {
	now := p.manager.now()
	if b.bounds.Stall > 0 && b.stallAt <= now {
		b.stallAt = later(now, p.watchStall(b, now))
	}
	if b.tick <= now {
		w := b.read(now)
		b.tick = later(now, b.bounds.Window)
		return p.watchWindow(b, w)
	}
	return true
}
