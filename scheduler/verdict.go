package scheduler

import (
	"fmt"
	"log/slog"
	"time"
)

// watchWindow judges a window, and reports whether the entry is still there. A
// window that the service wasn't started all through, or that it is asked to
// stop in, is thrown away.
func (p *patrol) watchWindow(b *beat, w *window) (stays bool) {
	m, e := p.manager, b.entry
	if !p.lock() {
		return true
	}
	defer m.unlock()
	switch {
	case e.gone:
		return false
	case e.down:
		b.conduct = conduct{}
		return true
	case b.started == 0 || b.started > w.begin:
		return true
	}
	switch b.conduct.take(b.bounds, w) {
	case foundBad:
		m.degraded(b)
	case foundGood:
		m.note(slog.LevelInfo, "is healthy again", e.spokesman(), nil, 0)
		m.conditionChanged(e)
	}
	return true
}

// watchStall looks for runs without progress, and returns when to look again:
// when the one that has gone without for longest has reached its limit.
func (p *patrol) watchStall(b *beat, now time.Duration) time.Duration {
	limit := b.bounds.Stall
	if longest := b.gauge.stalled(now); longest < limit && !b.wary {
		return limit - longest
	}
	m := p.manager
	if !p.lock() {
		return limit
	}
	defer m.unlock()
	longest := m.judgeProgress(b, m.now())
	next := limit - longest
	if b.wary = len(b.stalled) > 0; b.wary {
		next = min(next, max(limit/4, 10*copRest)) // for whether it goes on
	}
	return next
}

// What follows runs under the manager's lock, as in transition.go.

// judgeProgress finds the runs that have come to a stall, and those that have
// come out of it, and returns for how long the next one has gone without
// progress.
func (m *ServiceManager) judgeProgress(b *beat, now time.Duration) (longest time.Duration) {
	e, limit := b.entry, b.bounds.Stall
	var zombies []*worker
	for w := range e.workers() {
		if w.state != Started || w.retired || e.down {
			continue
		}
		// What it began before it was ready is judged from then on.
		since := min(w.run.gear().meter.stalled(now), now-time.Duration(w.run.readyAt.Load()))
		_, known := b.stalled[w.run]
		switch {
		case since >= limit && !known:
			zombies = append(zombies, w)
		case since < limit:
			longest = max(longest, since)
			if known {
				delete(b.stalled, w.run)
				m.note(slog.LevelInfo, "makes progress again", w, nil, 0)
				m.conditionChanged(e)
			}
		}
	}
	for _, w := range zombies {
		m.stalled(b, w, now)
	}
	return longest
}

// stalled follows when a run makes no progress.
func (m *ServiceManager) stalled(b *beat, w *worker, now time.Duration) {
	if w.state != Started || b.entry.down { // another one's end has stopped it
		return
	}
	meter := w.run.gear().meter
	b.stall = fmt.Sprintf("no progress for %v, %d in flight", rounded(meter.stalled(now)), meter.inFlight.Load())
	if b.stalled == nil {
		b.stalled = make(map[*run]struct{})
	}
	b.stalled[w.run] = struct{}{}
	failure := fmt.Errorf("%w: %s", ErrStalled, b.stall)
	m.callHook(w, Stalled, failure)
	if b.bounds.Restart || b.entry.options.recover {
		m.convict(w, Stalled, failure)
	} else {
		m.record(w, &mishap{kind: Stalled, err: failure})
	}
	m.conditionChanged(b.entry)
}

// degraded follows when the windows of a service amount to a verdict.
func (m *ServiceManager) degraded(b *beat) {
	e := b.entry
	failure := fmt.Errorf("%w: %s", ErrBounds, b.conduct.concern)
	m.callHook(e.spokesman(), Convicted, failure)
	if !b.bounds.Restart {
		m.record(e.spokesman(), &mishap{kind: Convicted, err: failure})
		m.conditionChanged(e)
		return
	}
	var guilty []*worker
	for w := range e.workers() {
		if w.state == Started && !w.retired {
			guilty = append(guilty, w)
		}
	}
	for _, w := range guilty {
		if w.state == Started && !e.down {
			m.convict(w, Convicted, failure)
		}
	}
}

// spokesman is the worker in whose name something is said of all of them: of a
// pool one that does not exist, whose path is that of the pool.
func (e *entry) spokesman() *worker {
	if e.pool == nil {
		return &e.solo
	}
	return &worker{entry: e}
}

// conditionChanged tells those who watch the entry.
func (m *ServiceManager) conditionChanged(e *entry) {
	m.notify(e)
	for w := range e.workers() {
		m.tellWatchers(w, EventJudged)
		return
	}
}

// armHook makes the hook of the entry's Bounds ready to be called, and lets
// Serve wait for it as long as one call may take.
func (m *ServiceManager) armHook(e *entry) {
	h := e.options.bounds.Hook
	if h.Handle == nil || e.keep.hook != nil {
		return
	}
	if h.Timeout == 0 {
		h.Timeout = m.limits.handlerTimeout
	}
	e.keep.hook = &step{Handler: h}
	m.grace = max(m.grace, plus(h.Timeout, settleTime))
}

// callHook tells the hook of the Bounds of a verdict, in a goroutine that Serve waits
// for.
func (m *ServiceManager) callHook(w *worker, kind Kind, failure error) {
	e, s := w.entry, m.session
	if e.keep == nil || e.keep.hook == nil || s == nil || s.deaf {
		return
	}
	n := notice{worker: w, failure: m.exception(w, &mishap{
		at: m.now(), index: w.index, generation: w.generation, kind: kind, err: failure,
	})}
	hook := e.keep.hook
	s.chains++
	go func() {
		m.guardedHandle(s, hook, n)
		m.mu.Lock()
		defer m.unlock()
		s.chains--
		s.wake()
	}()
}
