package scheduler

import (
	"context"
	"fmt"
	"time"
)

// Scheduler schedules services, not polls: it starts them in the order of
// their dependencies, watches them, starts them again when they fail, and stops
// them. It is a Service itself, so that schedulers can be nested.
//
// Its methods may be called from any goroutine, at any time. It has the calls
// that most programs need; [Scheduler.Manager] has all of them.
type Scheduler struct{ manager *ServiceManager }

// New makes a Scheduler with the services of the Config, and starts nothing.
// Everything that is wrong with the Config or a Spec is a *SpecError: fields
// out of range, aliases used twice (ErrExists), unknown dependencies
// (ErrUnknown) and cycles among them.
func New(c Config) (*Scheduler, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	order, err := sorted(c.Services)
	if err != nil {
		return nil, err
	}
	m := &ServiceManager{
		name: c.Name, root: c.Name, own: withoutLineage(c.Logger), logger: withoutLineage(c.Logger), birth: time.Now().Add(-1),
		limits: limits{
			exceptions: c.Exceptions, handlerQueue: c.HandlerQueue, logQueue: c.LogQueue,
			handlerTimeout: c.HandlerTimeout, retryLimit: c.RetryLimit, retryWindow: c.RetryWindow,
			allSignificant: c.AllSignificant,
		},
		abandoned: make(map[*run]struct{}), leftBehind: make(map[*guarded]Unstopped), states: c.States,
		log: eventLog{wakeup: make(chan struct{}, 1)},
	}
	if m.name == "" {
		m.name, m.root = DefaultName, DefaultName
	}
	m.limits.defaults()
	m.defaults, _ = (&Spec{}).resolve(m) // which only a Schedule can keep from succeeding
	m.directory = &Directory{manager: m, entries: make(map[string]*entry, len(c.Services))}
	if m.osChain = newChain("", m.limits.handlerTimeout, c.PreHook, c.Handlers, c.PostHook); m.osChain != nil {
		m.grace = m.osChain.longest()
	}
	m.groups = make(map[string]*group, len(c.Groups))
	for _, g := range c.Groups {
		m.groups[g.Name] = newGroup(g)
	}
	for _, i := range order {
		o, err := m.resolve(&c.Services[i])
		if err != nil {
			return nil, err
		}
		m.add(&c.Services[i], o)
	}
	if err := m.refuseEmptyGroups(c.Groups); err != nil {
		return nil, err
	}
	return &Scheduler{manager: m}, nil
}

// Serve starts the services and runs until ctx ends or a service with
// ExitOnError fails. Then it stops everything, dependants first, each service
// within its own stop timeout, waits for handlers and log within theirs, and
// returns: nil after ctx has ended, or the error of the service that ended it;
// joined with an *UnstoppedError if anything did not stop. No goroutine is left
// beside those that the *UnstoppedError names.
//
// The contexts of the services carry ctx's values but end only as Serve stops
// them; inside another scheduler they also end with the work of the run around
// them. There, Serve says Ready when all of its services are started; one with
// Restart temporary that has failed is not waited for.
//
// Serve may be called again after it has returned: services start anew, save
// those stopped by Stop. ErrServing if it runs already, or if another scheduler
// is served in the run around it: a run can have one.
func (s *Scheduler) Serve(ctx context.Context) error {
	m := s.manager
	r := runOf(ctx)
	if r != nil && r.detached {
		r = nil
	}
	if ctx.Err() != nil {
		if r != nil { // what an earlier Serve has left behind is still inside
			r.worker.entry.manager.holds(r, m)
		}
		return nil
	}
	if r != nil && r.encloses(m) {
		return fmt.Errorf("%w: another scheduler in this run, of which there is one", ErrServing)
	}
	session, logged, err := m.open(ctx)
	if err != nil {
		return err
	}
	if session.parent != nil {
		session.parent.worker.entry.manager.encloses(session.parent, m)
	}
	started := make(chan struct{})
	waiting, stopWaiting := context.WithCancel(ctx)
	go func() {
		defer close(started)
		if m.awaitAll(waiting, forTheRest) != nil {
			return
		}
		m.mu.Lock()
		session.up = true
		m.unlock()
		if m.awaitAll(waiting, forRepair) == nil {
			Ready(ctx)
		}
	}()
	select {
	case <-ctx.Done():
	case <-session.exit:
	}
	stopWaiting()
	<-started
	session.result = m.close(ctx, session, logged)
	close(session.over)
	return session.result
}

// Shutdown drains the services and ends Serve; see [ServiceManager.Shutdown].
func (s *Scheduler) Shutdown(ctx context.Context) error { return s.manager.Shutdown(ctx) }

// Drain makes a Scheduler inside a Scheduler a [Drainer]: it is Shutdown, but
// returns ctx's error when ctx ends first, since Serve is waited for by who
// called it; and nothing if Serve does not run.
func (s *Scheduler) Drain(ctx context.Context) error { return s.manager.shutdownWithin(ctx) }

// Add registers a service; see [ServiceManager.Add].
func (s *Scheduler) Add(spec Spec) error { return s.manager.Add(spec) }

// Start starts a service; see [ServiceManager.Start].
func (s *Scheduler) Start(ctx context.Context, alias string) error {
	return s.manager.Start(ctx, alias)
}

// Stop stops a service; see [ServiceManager.Stop].
func (s *Scheduler) Stop(ctx context.Context, alias string) error { return s.manager.Stop(ctx, alias) }

// Restart stops and starts a service; see [ServiceManager.Restart].
func (s *Scheduler) Restart(ctx context.Context, alias string) error {
	return s.manager.Restart(ctx, alias)
}

// Remove stops and forgets a service; see [ServiceManager.Remove].
func (s *Scheduler) Remove(ctx context.Context, alias string) error {
	return s.manager.Remove(ctx, alias)
}

// Status returns a snapshot of one service, or ErrUnknown.
func (s *Scheduler) Status(alias string) (Status, error) { return s.manager.Status(alias) }

// Services returns snapshots of all services; see [ServiceManager.Services].
func (s *Scheduler) Services() []Status { return s.manager.Services() }

// AwaitStarted waits for services to be started; see
// [ServiceManager.AwaitStarted].
func (s *Scheduler) AwaitStarted(ctx context.Context, aliases ...string) error {
	return s.manager.AwaitStarted(ctx, aliases...)
}

// Unstopped lists what was abandoned and still runs, at any time.
func (s *Scheduler) Unstopped() []Unstopped { return withStacks(s.manager.unstoppedInside()) }

// Manager returns the scheduler's manager, which has all the life-cycle calls.
func (s *Scheduler) Manager() *ServiceManager { return s.manager }

// Directory returns the scheduler's directory.
func (s *Scheduler) Directory() *Directory { return s.manager.directory }

// String returns the lineage.
func (s *Scheduler) String() string {
	_, root := s.manager.logging()
	return root
}
