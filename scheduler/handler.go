package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// DefaultHandlerTimeout bounds a handler that names no timeout of its own.
const DefaultHandlerTimeout = 5 * time.Second

// MaxHandlers is the largest number of handlers in one chain.
const MaxHandlers = 64

// Handler is told of failures. Handlers of one chain are called one after the
// other, never at the same time, in a goroutine that is neither the service's
// nor the manager's; chains of different services run beside each other. What
// a handler does wrong is recorded and logged under its name, and harms
// neither the handlers after it nor any service. A restart does not wait for
// handlers.
type Handler struct {
	// Name names the handler in errors and reports. Unique in its chain; not
	// empty unless Handle is nil.
	Name string
	// Handle does the work. ctx ends at the timeout; it carries the lineage of
	// the service that failed for Logger and Find.
	Handle func(ctx context.Context, failure Exception) error
	// Timeout bounds one call. Zero: Config.HandlerTimeout. A call that
	// has not returned a tenth of a second after it is left behind, and the
	// handler skipped until it returns.
	Timeout time.Duration
}

// chain is a list of handlers with the failures that wait for it. All fields
// but name and steps are guarded by the manager.
type chain struct {
	name    string
	steps   []*step
	pending []notice
	running bool
}

// notice is a failure on its way to a chain, with the worker that it is of.
type notice struct {
	failure Exception
	worker  *worker
}

type step struct {
	Handler
	guarded
}

// newChain copies the handlers into a chain, or returns nil if there are none.
func newChain(name string, timeout time.Duration, pre Handler, handlers []Handler, post Handler) *chain {
	if pre.Handle == nil && len(handlers) == 0 && post.Handle == nil {
		return nil // most services have none, and thousands are made at once
	}
	c := &chain{name: name}
	for _, h := range slices.Concat([]Handler{pre}, handlers, []Handler{post}) {
		if h.Handle == nil {
			continue
		}
		if h.Timeout == 0 {
			h.Timeout = timeout
		}
		c.steps = append(c.steps, &step{Handler: h})
	}
	return c
}

// longest is how long the chain may take for one failure.
func (c *chain) longest() (d time.Duration) {
	for _, s := range c.steps {
		d = plus(d, plus(s.Timeout, settleTime))
	}
	return d
}

func validateChain(alias string, pre Handler, handlers []Handler, post Handler) error {
	refuse := func(field, format string, args ...any) error {
		return &SpecError{Alias: alias, Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	if len(handlers) > MaxHandlers {
		return refuse("Handlers", "%d are more than %d", len(handlers), MaxHandlers)
	}
	names := make(map[string]string, len(handlers))
	check := func(field string, h Handler) error {
		switch {
		case h.Handle == nil:
			return refuse(field, "handler %q has a nil Handle", h.Name)
		case h.Name == "":
			return refuse(field, "a handler has no Name, by which its own failures are told")
		case h.Timeout < 0:
			return refuse(field, "handler %q: Timeout %v is negative; zero means the default", h.Name, h.Timeout)
		case names[h.Name] != "":
			return refuse(field, "handler %q is in %s already", h.Name, names[h.Name])
		}
		names[h.Name] = field
		return nil
	}
	hook := func(field string, h Handler) error {
		if h.Handle == nil && h.Name == "" && h.Timeout == 0 {
			return nil
		}
		return check(field, h)
	}
	if err := hook("PreHook", pre); err != nil {
		return err
	}
	for _, h := range handlers {
		if err := check("Handlers", h); err != nil {
			return err
		}
	}
	return hook("PostHook", post)
}

// tell hands a failure to a chain and starts its goroutine if it sleeps. A
// chain that is too slow loses the oldest failure that waits.
func (m *ServiceManager) tell(c *chain, w *worker, failure Exception) {
	if c == nil || m.session == nil || m.session.deaf {
		return
	}
	if len(c.pending) >= m.limits.handlerQueue {
		lost := c.pending[0].worker
		c.pending = slices.Delete(c.pending, 0, 1)
		lost.entry.own().dropped++
		m.losses.failures.count(m.now())
		m.losses.worker = lost
	}
	c.pending = append(c.pending, notice{failure: failure, worker: w})
	if !c.running {
		c.running = true
		m.session.chains++
		go m.work(m.session, c)
	}
}

// work is the goroutine of a chain; it ends when nothing waits. Serve waits
// for it.
func (m *ServiceManager) work(s *session, c *chain) {
	for {
		m.mu.Lock()
		if len(c.pending) == 0 || s.deaf {
			c.pending = nil
			c.running = false
			s.chains--
			s.wake()
			m.unlock()
			return
		}
		next := c.pending[0]
		c.pending = slices.Delete(c.pending, 0, 1)
		m.unlock()
		for _, step := range c.steps {
			m.guardedHandle(s, step, next)
		}
	}
}

// guardedHandle is handle, of which a mistake of ours ends only this call, as in
// the rounds of the cop: whoever waits for the goroutine isn't left waiting, and
// the process goes on.
func (m *ServiceManager) guardedHandle(s *session, step *step, c notice) {
	call(func() error {
		m.handle(s, step, c)
		return nil
	}, func(out outcome) {
		if out.err == nil {
			return
		}
		m.mu.Lock()
		defer m.unlock()
		err := &wrapped{where(out.stack), out.err}
		m.note(slog.LevelError, "the manager failed to call a handler", c.worker, err, 0)
	})
}

// handle calls one handler.
func (m *ServiceManager) handle(s *session, step *step, c notice) {
	base := &run{Context: s.handling, rare: &c.worker.entry.manager.blank.rare, worker: c.worker, generation: c.failure.Generation, detached: true}
	out := m.bounded(base, &step.guarded, bound{
		path: c.failure.Path + " handler " + step.Name, timeout: step.Timeout, cause: ErrHandlerTimeout,
	}, func(ctx context.Context) error { return step.Handle(ctx, c.failure) })
	if out.err != nil {
		m.handlerFailed(c, step, out)
	}
}

// handlerFailed records what a handler did wrong with the service that it was
// told of.
func (m *ServiceManager) handlerFailed(c notice, step *step, out outcome) {
	err := &wrapped{fmt.Sprintf("scheduler: handler %q", step.Name), out.err}
	m.mu.Lock()
	defer m.unlock()
	m.record(c.worker, &mishap{generation: c.failure.Generation, kind: HandlerFailed, err: err, stack: out.stack})
}
