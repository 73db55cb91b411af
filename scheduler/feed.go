package scheduler

import (
	"cmp"
	"math"
	"slices"
)

// feed is what one manager tells one watcher. Guarded by that manager, except
// entries, which only the watcher's loop uses.
//
// The services are listed one batch after the other, in the order of their
// addition, so that the manager is never held up for long. Events are told of
// those that were listed, and of those added since the listing began. An event
// in the middle of the list that is not told is in what is listed later.
type feed struct {
	watcher *watcher
	manager *ServiceManager
	inside  bool // the watcher watches a scheduler around this one
	closed  bool // the watcher is not told any more
	begun   bool
	last    uint64 // serial of the last entry when the listing began
	serial  uint64 // up to which entry the listing has come,
	count   int    // and how many workers of that one were listed
	entries []*entry
}

// listBatch bounds what is listed in one hold of the lock.
const listBatch = 128

// list tells of the next services and of the schedulers inside of them. It is
// called by the watcher's loop, under no lock.
func (f *feed) list(kind EventKind) {
	m := f.manager
	if !f.begun {
		m.mu.Lock()
		f.begun, f.last = true, m.serial
		f.entries = make([]*entry, 0, len(m.directory.entries))
		for _, e := range m.directory.entries {
			f.entries = append(f.entries, e)
		}
		m.unlock()
		slices.SortFunc(f.entries, func(a, b *entry) int { return cmp.Compare(a.serial, b.serial) })
	}
	m.mu.Lock()
	defer m.unlock()
	for room := listBatch; room > 0 && !f.closed && len(f.entries) > 0; room-- {
		if !f.listOne(f.entries[0], kind) {
			return // no room: the loop comes again
		}
	}
	if f.closed || len(f.entries) == 0 {
		f.serial, f.count, f.entries = f.last, whole, nil
		f.watcher.listed()
	}
}

// whole is the count of a feed that has come to the end of an entry.
const whole = math.MaxInt

// listOne tells of the next worker of an entry, unless there is no room.
func (f *feed) listOne(e *entry, kind EventKind) bool {
	if f.serial != e.serial {
		f.serial, f.count = e.serial, 0
	}
	w, last := &e.solo, true
	if p := e.pool; p != nil {
		w, last = nil, f.count >= len(p.workers)-1 // it grows and shrinks at its end
		if f.count < len(p.workers) {
			w = p.workers[f.count]
		}
	}
	if w != nil && !w.gone() {
		if !f.watcher.offer(e.manager.telling(w, kind)) {
			return false
		}
		f.enter(w.run)
	}
	f.count++
	if last {
		f.count = whole
		f.entries = f.entries[1:]
	}
	return true
}

// enter makes the watcher be told of the scheduler that is served in a run,
// unless that is abandoned.
func (f *feed) enter(r *run) {
	if r != nil && !r.abandoned {
		r.within(func(inner *ServiceManager) { inner.attach(f.watcher, true) })
	}
}

// covers reports whether the watcher knows of a worker.
func (f *feed) covers(w *worker) bool {
	serial := w.entry.serial
	return f.begun && (serial < f.serial || serial > f.last || serial == f.serial && int(max(w.index, 1)) <= f.count)
}

// gone reports whether a worker was removed, of which late failures can still
// be told to nobody.
func (w *worker) gone() bool {
	e := w.entry
	if e.gone || e.pool == nil {
		return e.gone
	}
	if w.index == 0 { // the spokesman of the pool
		return false
	}
	all, i := e.pool.workers, int(w.index)-1
	return i >= len(all) || all[i] != w
}

// What follows runs under the manager's lock.

// telling makes an event of how a worker is now.
func (m *ServiceManager) telling(w *worker, kind EventKind) told {
	e, now := w.entry, m.now()
	condition, _ := e.condition(now)
	t := told{worker: w, root: m.root, Event: Event{
		At: m.birth.Add(now), Kind: kind, Alias: e.alias, Worker: int(w.index),
		Generation: w.generation, State: w.state, End: w.end, Service: e.state(), Condition: condition,
	}}
	if e.pool != nil && w.index == 0 { // the spokesman has no life of its own
		t.State, t.End = t.Service, e.end()
	}
	return t
}

// publish hands an event to those who know of the worker.
func (m *ServiceManager) publish(t told) {
	if t.worker.gone() {
		return
	}
	for _, f := range m.feeds {
		if f.covers(t.worker) {
			f.watcher.push(t)
		}
	}
}

// tellWatchers tells those who watch of a worker that was added or removed.
func (m *ServiceManager) tellWatchers(w *worker, kind EventKind) {
	if len(m.feeds) > 0 {
		m.publish(m.telling(w, kind))
	}
}

// tellChanged tells them of a change of state.
func (m *ServiceManager) tellChanged(w *worker, from State) {
	if len(m.feeds) == 0 || w.state == from && from != Starting {
		return
	}
	t := m.telling(w, EventChanged)
	t.From = from
	m.publish(t)
}

// tellFailed tells them of a failure.
func (m *ServiceManager) tellFailed(w *worker, x *mishap) {
	t := m.telling(w, EventFailed)
	t.Failure = new(m.exception(w, x))
	t.At, t.Generation = t.Failure.At, x.generation
	m.publish(t)
}

// attach makes a watcher be told, once, from its loop's listing on.
func (m *ServiceManager) attach(w *watcher, inside bool) {
	f := &feed{watcher: w, manager: m, inside: inside}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || w.feeds[m] != nil {
		return
	}
	w.feeds[m] = f
	w.pending = append(w.pending, f)
	m.feeds = append(m.feeds, f)
	w.wake()
}

// within calls f with the scheduler that is served in the run now, if there is
// one, under its lock too: locks are taken from the outer scheduler to the
// inner one only.
func (r *run) within(f func(inner *ServiceManager)) {
	if r == nil || r.inner == nil {
		return
	}
	inner := r.inner
	inner.mu.Lock()
	defer inner.unlock()
	if inner.session != nil && inner.session.parent == r {
		f(inner)
	}
}

// watchInside makes those who watch this scheduler be told of one that begins
// to be served in a run of it.
func (m *ServiceManager) watchInside(r *run) {
	for _, f := range m.feeds {
		if r.worker.run == r && f.covers(r.worker) { // else it was replaced, or the listing comes by
			f.enter(r)
		}
	}
}

// unwatchInside takes this scheduler, and those inside of it, out of the views
// of those who watch one around it.
func (m *ServiceManager) unwatchInside() {
	if !slices.ContainsFunc(m.feeds, func(f *feed) bool { return f.inside }) {
		return
	}
	for _, e := range m.inOrder() {
		for w := range e.workers() {
			w.run.within((*ServiceManager).unwatchInside)
			t := m.telling(w, EventRemoved)
			for _, f := range m.feeds {
				if f.inside && f.covers(w) {
					f.watcher.push(t)
				}
			}
		}
	}
	for _, f := range m.feeds {
		if f.inside {
			f.closed = true
			f.watcher.forget(m)
		}
	}
	m.feeds = slices.DeleteFunc(m.feeds, func(f *feed) bool { return f.inside })
}

// rewatch makes those who watch be told all anew, since the lineage of all
// services has changed.
func (m *ServiceManager) rewatch() {
	for _, f := range m.feeds {
		f.watcher.invalidate()
	}
}
