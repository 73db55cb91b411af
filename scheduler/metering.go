package scheduler

import (
	"context"
	"time"
)

// MeterOf returns the [Meter] of the run that ctx belongs to, by which a
// service says what it does: its [Stats] are found by alias, and the cop judges
// it by them (see [Bounds]). All calls in one run return the same Meter, which is
// made by the first; a service that never asks for it costs nothing. A call
// takes some nanoseconds, but one for each operation is still to be avoided.
//
// Outside a run and in a [Handler] it is nil, which is valid and measures
// nothing. It may be called from any goroutine.
func MeterOf(ctx context.Context) *Meter {
	r := runOf(ctx)
	if r == nil || r.detached {
		return nil
	}
	if meter := r.gear().meter; meter != nil {
		return meter
	}
	return r.worker.entry.manager.meter(r)
}

// meter makes the Meter of a run, and what is kept of the alias.
func (m *ServiceManager) meter(r *run) *Meter {
	m.mu.Lock()
	defer m.unlock()
	if meter := r.gear().meter; meter != nil {
		return meter
	}
	e := r.worker.entry
	if e.keep == nil {
		e.own().keep = &keep{}
	}
	if e.keep.beat == nil {
		e.keep.beat = newBeat(e, m.now())
		if !e.gone {
			m.cop.assign(e.keep.beat)
		}
		m.armHook(e)
	}
	meter := e.keep.beat.gauge.meter()
	if r.ended || r.abandoned {
		meter.close()
	}
	r.equip(func(g *gear) { g.meter = meter })
	return meter
}

// unwatch follows when a run has ended or was abandoned: it is in flight no
// more, and nothing is held against it. The caller holds the lock.
func (m *ServiceManager) unwatch(r *run) {
	r.gear().meter.close()
	e := r.worker.entry
	if r.late {
		r.late = false
		e.keep.late--
	}
	if b := e.beat(); b != nil {
		delete(b.stalled, r)
	}
}

// Stats returns what was measured of one service over the life of its alias,
// or ErrUnknown. Removing the alias forgets it. What is inside a service that
// is a Scheduler is not in it: see [ServiceManager.Total].
func (m *ServiceManager) Stats(alias string) (Stats, error) {
	m.mu.Lock()
	e, err := m.find("stats of", alias)
	if err != nil {
		m.unlock()
		return Stats{}, err
	}
	var t tally
	e.addTo(&t, m.now())
	b := e.beat()
	m.unlock()
	if b != nil { // which takes its time
		b.gauge.addTo(&t, b.gauge.now())
	}
	return t.stats(), nil
}

// Total returns what was measured of all services of this scheduler and of the
// schedulers inside, as if they were one: starts, failures and rates are sums,
// quantiles are those of all operations. Uptime is a sum too, so that ten
// services that are started make ten seconds each second. It takes time in
// proportion to their number, little of it under the lock.
//
// A Scheduler that is made by a Factory begins anew with each instance.
func (m *ServiceManager) Total() Stats {
	var t tally
	m.addTo(&t, make(map[*ServiceManager]bool))
	return t.stats()
}

// Stats returns the statistics of all services below; see
// [ServiceManager.Total].
func (s *Scheduler) Stats() Stats { return s.manager.Total() }

// addTo adds all that was measured below to a tally. seen keeps a scheduler
// that was registered in itself, though it can't be served there, from being
// counted for ever.
func (m *ServiceManager) addTo(t *tally, seen map[*ServiceManager]bool) {
	if seen[m] {
		return
	}
	seen[m] = true
	for _, b := range m.tallyEntries(t, seen) {
		b.gauge.addTo(t, b.gauge.now())
	}
}

// tallyEntries adds what the manager itself counts, and what is inside of its
// services; locks are taken from the outer scheduler to the inner. It returns
// what is to be added under no lock.
func (m *ServiceManager) tallyEntries(t *tally, seen map[*ServiceManager]bool) (beats []*beat) {
	var inner []*ServiceManager
	m.mu.Lock()
	now := m.now()
	for _, e := range m.directory.entries {
		e.addTo(t, now)
		if b := e.beat(); b != nil {
			beats = append(beats, b)
		}
		inner = append(inner, e.nested()...)
		// Between two runs it is in none of them.
		if s, ok := e.service.(*Scheduler); ok {
			inner = append(inner, s.manager)
		}
	}
	m.unlock()
	for _, i := range inner {
		i.addTo(t, seen)
	}
	return beats
}

// addTo adds what is counted of the entry's runs. The caller holds the lock.
func (e *entry) addTo(t *tally, now time.Duration) {
	t.starts += e.starts()
	t.failures += e.failures
	t.uptime += e.uptime
	for w := range e.workers() {
		if w.state == Started {
			t.uptime += now - w.since
		}
	}
}
