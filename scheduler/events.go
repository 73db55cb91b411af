package scheduler

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// event is one line of the log to be.
type event struct {
	at      time.Time
	level   slog.Level
	text    string
	worker  *worker
	gen     uint64
	err     error
	delay   time.Duration
	failure *mishap
	dropped *[levels]int // of the line that says so, which has no worker
}

// eventLog is a bounded queue of events between those who change states, who
// must not wait, and the user's slog.Handler, which may take its time. Guarded
// by the manager.
type eventLog struct {
	events  []event
	dropped [levels]int // lines that found no room
	writing bool        // a writer's goroutine exists
	closed  bool        // the writer shall end when nothing is left
	wakeup  chan struct{}
	done    chan struct{} // closed when the latest writer has ended; nil: there was none
	shouted chan struct{} // closed once the line is written that the cop shouted last; nil: none
	began   atomic.Int64  // when the line was begun that is being written; zero: none; guarded by nobody
}

// levels that the manager logs at: debug, info, warn and error.
const levels = 4

// rank numbers a level of the manager's, from 0.
func rank(level slog.Level) int { return int(level-slog.LevelDebug) / 4 }

// levelOf is the inverse of rank.
func levelOf(rank int) slog.Level { return slog.LevelDebug + slog.Level(4*rank) }

// note queues a line.
func (m *ServiceManager) note(level slog.Level, text string, w *worker, err error, delay time.Duration) {
	if m.logger != nil {
		m.noted(level, text, w, err, delay)
	}
}

//go:noinline
func (m *ServiceManager) noted(level slog.Level, text string, w *worker, err error, delay time.Duration) {
	m.queue(event{level: level, text: text, worker: w, gen: w.generation, err: err, delay: delay})
}

// noteException queues the line of a failure.
//
//go:noinline
func (m *ServiceManager) noteException(w *worker, x *mishap) {
	level := slog.LevelWarn
	if x.end != NotEnded {
		level = slog.LevelError
	}
	m.queue(event{
		level: level, text: x.kind.String(), worker: w, gen: x.generation,
		err: x.err, delay: x.delay, failure: new(*x),
	})
}

// queue makes a line wait. Whether the handler wants its level can't be asked
// here, under the lock. Lest thousands of starts, which it may not want, push
// out the one failure among them, debug lines leave half of the room to others.
func (m *ServiceManager) queue(e event) {
	l := &m.log
	room := m.limits.logQueue
	if e.level < slog.LevelInfo {
		room = (room + 1) / 2
	}
	if len(l.events) >= room {
		l.dropped[rank(e.level)]++
		m.losses.lines.count(m.now())
		return
	}
	e.at = time.Now()
	l.events = append(l.events, e)
	select {
	case l.wakeup <- struct{}{}:
	default:
	}
}

// openLog sees to it that there is a writer if there is a log, and returns what
// is closed when it has ended. One that a session before has left behind is
// waited for again, and named again. The caller holds the lock.
func (m *ServiceManager) openLog() <-chan struct{} {
	l := &m.log
	l.closed = false
	if l.writing {
		return l.done
	}
	l.done = make(chan struct{})
	if m.logger == nil {
		close(l.done)
		return l.done
	}
	l.writing = true
	go m.write(l.done, nil)
	return l.done
}

// write is the goroutine that writes the log, in order. It is started by Serve,
// which waits for it; one that hangs in the user's handler is left behind, and
// not doubled. left are lines that were taken from the queue before.
func (m *ServiceManager) write(done chan<- struct{}, left []event) {
	finished := false
	defer func() {
		if !finished { // the user's handler called Goexit
			go m.write(done, left)
			return
		}
		close(done)
	}()
	for {
		m.mu.Lock()
		logger, root := m.logger, m.root
		m.unlock()
		for len(left) > 0 {
			e := left[0]
			left = left[1:]
			m.log.began.Store(int64(m.now()))
			call(func() error { e.write(logger, root); return nil }, func(outcome) {})
		}
		m.log.began.Store(0)
		m.mu.Lock()
		dropped := m.log.dropped
		left, m.log.events, m.log.dropped = m.log.events, nil, [levels]int{}
		if len(left) == 0 && dropped == [levels]int{} && m.log.closed {
			m.log.writing, finished = false, true
			m.unlock()
			return
		}
		m.unlock()
		switch {
		case dropped != [levels]int{}:
			left = append(left, event{at: time.Now(), level: slog.LevelWarn, text: "lines dropped, the log is too slow", dropped: &dropped})
		case len(left) == 0:
			<-m.log.wakeup
		}
	}
}

// write writes a line, if the handler wants it. Under no lock.
func (e *event) write(logger *slog.Logger, root string) {
	ctx := context.Background()
	h := logger.Handler()
	if !h.Enabled(ctx, e.level) {
		return
	}
	r := slog.NewRecord(e.at, e.level, e.text, 0)
	if e.worker == nil {
		lost := 0
		for i, n := range e.dropped {
			if n > 0 && h.Enabled(ctx, levelOf(i)) { // else it was nothing
				lost += n
			}
		}
		if lost == 0 {
			return
		}
		r.AddAttrs(slog.String(lineageKey, root), slog.Int("lines", lost))
		_ = h.Handle(ctx, r)
		return
	}
	r.AddAttrs(slog.String(lineageKey, e.worker.path(root)), slog.Uint64("generation", e.gen))
	if e.err != nil {
		r.AddAttrs(slog.Any("err", e.err))
	}
	if f := e.failure; f != nil {
		if at := where(f.stack); at != "" {
			r.AddAttrs(slog.String("at", at))
		}
		if f.end != NotEnded {
			r.AddAttrs(slog.String("end", f.end.String()))
		}
	}
	if e.delay > 0 {
		r.AddAttrs(slog.Duration("delay", e.delay))
	}
	// The handler's error has nowhere to go: it is the log.
	_ = h.Handle(ctx, r)
}

// lineageKey is the attribute that the lineage is logged under.
const lineageKey = "service"

// lineageHandler puts the lineage of a service before the attributes of each
// record. So it is there exactly once: under a handler whose WithAttrs keeps
// nothing, or keeps all in one place; and when the logger of a service is the
// Config.Logger of a scheduler, whose services have lineages of their own.
// Rejected: Logger.With, which has none of that. Where a group is opened the
// lineage can't be in the record any more, and is given to WithAttrs.
type lineageHandler struct {
	next slog.Handler
	path string
}

// withLineage returns a logger whose lines carry a lineage.
func withLineage(base *slog.Logger, path string) *slog.Logger {
	return slog.New(&lineageHandler{next: base.Handler(), path: path})
}

// withoutLineage undoes withLineage, for a logger that may be nil.
func withoutLineage(logger *slog.Logger) *slog.Logger {
	if logger != nil {
		if h, ok := logger.Handler().(*lineageHandler); ok {
			return slog.New(h.next)
		}
	}
	return logger
}

func (h *lineageHandler) attr() slog.Attr { return slog.String(lineageKey, h.path) }

// Enabled asks the user's handler.
func (h *lineageHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle hands the record on with the lineage.
func (h *lineageHandler) Handle(ctx context.Context, r slog.Record) error {
	with := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	with.AddAttrs(h.attr())
	r.Attrs(func(a slog.Attr) bool {
		with.AddAttrs(a)
		return true
	})
	return h.next.Handle(ctx, with)
}

// WithAttrs gives the attributes to the user's handler.
func (h *lineageHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &lineageHandler{next: h.next.WithAttrs(attrs), path: h.path}
}

// WithGroup opens a group that the lineage is outside of.
func (h *lineageHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.next.WithAttrs([]slog.Attr{h.attr()}).WithGroup(name)
}
