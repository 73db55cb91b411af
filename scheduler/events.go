package scheduler

import (
	"context"
	"log/slog"
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
	failure *Exception
}

// eventLog is a bounded queue of events between those who change states, who
// must not wait, and the user's slog.Handler, which may take its time. Guarded
// by the manager.
type eventLog struct {
	events  []event
	dropped int
	writing bool // a writer's goroutine exists
	closed  bool // the writer shall end when nothing is left
	wakeup  chan struct{}
}

// note queues a line.
func (m *ServiceManager) note(level slog.Level, text string, w *worker, err error, delay time.Duration) {
	if m.logger != nil {
		m.queue(event{level: level, text: text, worker: w, gen: w.generation, err: err, delay: delay})
	}
}

// noteException queues the line of a failure.
func (m *ServiceManager) noteException(w *worker, x Exception) {
	if m.logger == nil {
		return
	}
	level := slog.LevelWarn
	if x.End != NotEnded {
		level = slog.LevelError
	}
	m.queue(event{level: level, text: x.Kind.String(), worker: w, gen: x.Generation, err: x.Err, delay: x.Delay, failure: &x})
}

func (m *ServiceManager) queue(e event) {
	l := &m.log
	if len(l.events) >= m.limits.logQueue {
		l.dropped++
		return
	}
	e.at = time.Now()
	l.events = append(l.events, e)
	select {
	case l.wakeup <- struct{}{}:
	default:
	}
}

// write is the goroutine that writes the log, in order. It is started by Serve,
// which waits for it; one that hangs in the user's handler is left behind, and
// not doubled.
func (m *ServiceManager) write(done chan<- struct{}) {
	finished := false
	defer func() {
		if !finished { // the user's handler called Goexit
			go m.write(done)
			return
		}
		close(done)
	}()
	for {
		m.mu.Lock()
		events, dropped := m.log.events, m.log.dropped
		m.log.events, m.log.dropped = nil, 0
		if len(events) == 0 && dropped == 0 && m.log.closed {
			m.log.writing, finished = false, true
			m.unlock()
			return
		}
		logger, root := m.logger, m.root
		m.unlock()
		for i := range events {
			call(func() error { events[i].write(logger, root); return nil }, func(outcome) {})
		}
		if dropped > 0 {
			call(func() error {
				logger.Warn("lines dropped, the log is too slow", "service", root, "lines", dropped)
				return nil
			}, func(outcome) {})
		}
		if len(events) == 0 && dropped == 0 {
			<-m.log.wakeup
		}
	}
}

func (e *event) write(logger *slog.Logger, root string) {
	ctx := context.Background()
	h := logger.Handler()
	if !h.Enabled(ctx, e.level) {
		return
	}
	r := slog.NewRecord(e.at, e.level, e.text, 0)
	r.AddAttrs(slog.String("service", e.worker.path(root)), slog.Uint64("generation", e.gen))
	if e.err != nil {
		r.AddAttrs(slog.Any("err", e.err))
	}
	if f := e.failure; f != nil {
		if at := f.where(); at != "" {
			r.AddAttrs(slog.String("at", at))
		}
		if f.End != NotEnded {
			r.AddAttrs(slog.String("end", f.End.String()))
		}
	}
	if e.delay > 0 {
		r.AddAttrs(slog.Duration("delay", e.delay))
	}
	// The handler's error has nowhere to go: it is the log.
	_ = h.Handle(ctx, r)
}
