package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ServiceManager starts, watches, restarts and stops the services of one
// [Scheduler]. Its methods may be called from any goroutine, also by the
// services and handlers themselves ([Scheduler.Manager], or [ManagerOf] in a
// run).
//
// One mutex owns all of its state, and every change is made by whoever causes
// it: a run that ends, a timer, a caller. A change takes constant time (in the
// number of services; those that a change lets start or stop are started or
// stopped by it), waits for nothing and calls no foreign code. Rejected: a
// goroutine with a mailbox, which costs two switches a restart, and whose
// mailbox is unread once Serve has returned, when abandoned runs still end.
type ServiceManager struct {
	limits   limits
	defaults *options
	name     string
	birth    time.Time    // a little before New, so that no offset is zero
	own      *slog.Logger // as configured, possibly nil

	mu        sync.Mutex
	directory *Directory
	session   *session // nil: Serve does not run
	closing   bool     // the session was asked to end
	root      string   // lineage of this scheduler
	logger    *slog.Logger
	log       eventLog
	osChain   *chain
	serial    uint64
	busy      int          // workers with a live run
	counts    [classes]int // entries in each class
	allUp     chan struct{}
	grace     time.Duration // of the longest chain
	effects   []effect      // to be done when the lock is given up
	launches  launches      // likewise
	effecting atomic.Int64  // those who do so now
	deadlines deadlines
	wall      wallWatch
	groups    map[string]*group
	restarts  instants          // of all services, against Config.RetryLimit
	gentle    bool              // the session ends by Shutdown
	abandoned map[*run]struct{} // runs that have still not ended
	// leftBehind are calls that outlived their timeout.
	leftBehind map[*guarded]Unstopped
	states     StateStore
	desks      desks
	feeds      []*feed // to those who watch

	unlocks   atomic.Uint64 // counts holds of the lock, so that a long one is told from many
	cop       cop
	lockWatch lockWatch
	losses    losses
	blank     blank
	askers    [4]guarded // of errors for their texts; see Health
}

// effect is the end of contexts, brought about outside the lock.
type effect struct {
	cancel context.CancelCauseFunc
	cause  error
	work   *run // whose work context ends too, by the stop timeout; nil: none
}

// launches are runs to be started outside the lock, which the first thing that
// they do is to take. Most often there is one, which needs no slice.
type launches struct {
	first *run
	more  []*run
}

func (l *launches) add(r *run) {
	if l.first == nil {
		l.first = r
		return
	}
	l.more = append(l.more, r)
}

func (l *launches) start() {
	if l.first == nil {
		return
	}
	go l.first.execute()
	for _, r := range l.more {
		go r.execute()
	}
}

// unlock gives up the lock and does what was decided under it. Serve does not
// end before that is done, so that each context ends by the cause it was given.
func (m *ServiceManager) unlock() {
	effects, launches, session := m.effects, m.launches, m.session
	m.effects, m.launches.first, m.launches.more = nil, nil, nil
	m.unlocks.Add(1)
	if len(effects) > 0 {
		m.effecting.Add(1)
	}
	m.mu.Unlock()
	launches.start()
	for _, e := range effects {
		e.cancel(e.cause)
		if e.work != nil {
			e.work.endWork(overByTimeout)
		}
	}
	if len(effects) > 0 {
		m.effecting.Add(-1)
		session.wake()
	}
}

// now is the time since the manager's birth. Offsets keep entries small and,
// being monotonic, don't move with the wall clock.
func (m *ServiceManager) now() time.Duration { return time.Since(m.birth) }

func (m *ServiceManager) serving() bool { return m.session != nil && !m.closing }

// ManagerOf returns the manager of the run that ctx belongs to, so that a
// service can add and steer its siblings. It is false outside a run.
func ManagerOf(ctx context.Context) (*ServiceManager, bool) {
	r := runOf(ctx)
	if r == nil {
		return nil, false
	}
	return r.worker.entry.manager, true
}

// Add registers a service. While Serve runs it is started at once, as its
// After and StartDelay allow; Add does not wait for that. It answers with a
// *SpecError for a Spec that contradicts itself, for an alias that is taken
// (ErrExists) and for an unknown dependency (ErrUnknown), and with
// ErrNotServing while Serve is ending. Nothing is registered then.
func (m *ServiceManager) Add(spec Spec) error {
	if err := spec.validate(); err != nil {
		return err
	}
	o, err := m.resolve(&spec)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.unlock()
	if m.closing {
		return fmt.Errorf("scheduler: add %q while stopping: %w", spec.Alias, ErrNotServing)
	}
	if m.directory.entries[spec.Alias] != nil {
		return &SpecError{Alias: spec.Alias, Field: "Alias", Reason: "is registered already", Err: ErrExists}
	}
	for _, need := range spec.After {
		if e := m.directory.entries[need]; e == nil || e.removed {
			return &SpecError{
				Alias: spec.Alias, Field: "After",
				Reason: fmt.Sprintf("%q is not registered", need), Err: ErrUnknown,
			}
		}
	}
	m.add(&spec, o)
	return nil
}

// resolve makes the options of a valid spec, or finds that its group or
// schedule can't be.
func (m *ServiceManager) resolve(spec *Spec) (*options, error) {
	if spec.plain() {
		return m.defaults, nil
	}
	o, err := spec.resolve(m)
	if err != nil || spec.Group == "" {
		return o, err
	}
	if o.group = m.groups[spec.Group]; o.group == nil {
		return nil, &SpecError{
			Alias: spec.Alias, Field: "Group",
			Reason: fmt.Sprintf("%q is not in Config.Groups", spec.Group), Err: ErrUnknown,
		}
	}
	if spec.Schedule != nil && o.group.Strategy != OneForOne {
		return nil, &SpecError{
			Alias: spec.Alias, Field: "Group",
			Reason: fmt.Sprintf("%q has strategy %v, and a service with a Schedule is not restarted with others", spec.Group, o.group.Strategy),
		}
	}
	return o, nil
}

// add registers a valid spec.
func (m *ServiceManager) add(spec *Spec, o *options) {
	e := newEntry(m, spec, o)
	if g := o.group; g != nil {
		g.members = append(g.members, e)
	}
	m.serial++
	e.serial = m.serial
	for _, alias := range spec.After {
		need := m.directory.entries[alias]
		e.link().needs = append(e.links.needs, need)
		need.link().dependants = append(need.links.dependants, e)
		if need.down {
			e.links.blockers++
		}
		if need.off {
			e.links.off++
			e.off = true
		}
		if !need.links.stands {
			e.links.lacking++
		}
		if need.links.bars {
			e.links.barred++
		}
	}
	if e.chain != nil {
		m.grace = max(m.grace, e.chain.longest())
	}
	m.directory.entries[e.alias] = e
	if o.timetable != nil && o.timetable.wallClock() {
		m.wall.schedules++
		m.watchWall()
	}
	for w := range e.workers() {
		m.tellWatchers(w, EventAdded)
	}
	m.counts[e.class]++
	m.classify(e)
	m.refresh(e)
}

// find looks an alias up. The caller holds the lock.
func (m *ServiceManager) find(verb, alias string) (*entry, error) {
	if e := m.directory.entries[alias]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("%w: %s %q", ErrUnknown, verb, alias)
}

// Start starts a service that was stopped or has ended, and waits until it is
// started, or, if it needs no more than one run, completed. What it failed at
// before is forgotten by its backoff and retry limit. One that waits for its
// backoff is started at once; one that is starting is only waited for.
//
// Errors: ErrUnknown; ErrNotServing; ErrRunning if it is started already;
// ErrStopped if it, or what it comes After, is stopped on purpose; ErrAbandoned
// if an abandoned run of it still runs (see Replace), and *UnstoppedError if
// its run is abandoned meanwhile; ErrEnded with the failure if it ended for
// good; *NotStartedError, which names what blocked, when ctx ends first, and
// with ErrEnded at once if what it comes After ended for good by failure (the
// start goes on: once that is started, so is the service).
func (m *ServiceManager) Start(ctx context.Context, alias string) error {
	return m.start(ctx, "start", alias, false)
}

// start is Start, or Replace.
func (m *ServiceManager) start(ctx context.Context, verb, alias string, replaces bool) error {
	m.mu.Lock()
	e, err := m.find(verb, alias)
	switch {
	case err != nil:
	case replaces && e.factory == nil:
		err = &SpecError{Alias: alias, Field: "Factory", Reason: "replacing a run that has not ended needs one"}
	case !m.serving():
		err = fmt.Errorf("scheduler: %s %q: %w", verb, alias, ErrNotServing)
	case e.removed:
		err = fmt.Errorf("%w: %q is being removed", ErrUnknown, alias)
	case replaces && e.deaf() > 0: // also of a pool whose other workers are started
		err = m.blockedOnPurpose(verb, e)
	case (e.state() == Started || e.state() == Waiting) && !e.down:
		err = fmt.Errorf("scheduler: %s %q: %w", verb, alias, ErrRunning)
	case e.deaf() > 0:
		err = fmt.Errorf("scheduler: %s %q: %w", verb, alias, ErrAbandoned)
	default:
		err = m.blockedOnPurpose(verb, e)
	}
	if err != nil {
		m.unlock()
		return err
	}
	for w := range e.workers() {
		if w.deaf() {
			w.run = nil
		}
	}
	m.startLocked(e)
	m.unlock()
	return m.awaitUp(ctx, verb, e, 0)
}

// startLocked makes a service wanted, and gives its ended workers a fresh go.
func (m *ServiceManager) startLocked(e *entry) {
	e.halted = false
	m.desire(e, true)
	m.unhaltGroup(e)
	m.revive(e)
	m.refresh(e)
	if !e.down {
		m.settle(e)
	}
	m.classify(e)
}

// blockedOnPurpose refuses to wait for a dependency that was stopped by hand: it
// would be for ever. One that a failure has halted is told of by awaitUp, with
// the failure; those that the service itself has halted start with it.
func (m *ServiceManager) blockedOnPurpose(verb string, e *entry) error {
	for _, need := range e.withNeeds()[1:] {
		if !need.want {
			return fmt.Errorf("scheduler: %s %q: it comes after %q: %w", verb, e.alias, need.alias, ErrStopped)
		}
	}
	return nil
}

// Stop stops a service and, before it, those that come After it, and waits
// until they have stopped. The service stays stopped, with its record, until
// Start or Restart; its dependants start again with it. Stopping a service
// that is stopped, waits for its backoff or has not run takes no time. Before
// Serve it keeps the service from being started.
//
// Errors: ErrUnknown; *UnstoppedError if a run was abandoned at its stop
// timeout and has not ended; ErrRunning if it was started again meanwhile; the
// cause of ctx if it ends first (the stop goes on). A service that stops
// itself, or what it comes After, is not waited for.
func (m *ServiceManager) Stop(ctx context.Context, alias string) error {
	m.mu.Lock()
	e, err := m.find("stop", alias)
	if err != nil {
		m.unlock()
		return err
	}
	m.desire(e, false)
	m.harden(e)
	m.refresh(e)
	m.retire(e)
	m.unlock()
	return m.awaitRest(ctx, "stop", e)
}

// retire makes the workers of a service that merely waited Stopped, since it is
// not wanted, its group was halted, or Serve ends.
func (m *ServiceManager) retire(e *entry) {
	for w := range e.workers() {
		switch w.state {
		case Idle:
			m.set(w, Stopped)
		case Stopped:
			m.disarm(w) // it is not brought back
		}
	}
	m.classify(e)
	if !e.want {
		m.lastOneStopped(e)
	}
}

// Restart stops a service as Stop does and starts it as Start does, then its
// dependants too. One that is stopped is started.
//
// Errors are those of Stop and of Start, without ErrRunning. After an
// *UnstoppedError the service is started by itself as soon as the abandoned
// run has ended. A service that restarts itself is not waited for.
func (m *ServiceManager) Restart(ctx context.Context, alias string) error {
	m.mu.Lock()
	e, err := m.find("restart", alias)
	switch {
	case err != nil:
	case !m.serving():
		err = fmt.Errorf("scheduler: restart %q: %w", alias, ErrNotServing)
	case e.removed:
		err = fmt.Errorf("%w: %q is being removed", ErrUnknown, alias)
	default:
		err = m.blockedOnPurpose("restart", e)
	}
	if err != nil {
		m.unlock()
		return err
	}
	starts := e.starts() + 1
	if e.options.timetable != nil {
		starts = 0 // its runs begin at ticks
	}
	e.bounce = !e.down || e.busy > 0 // else it rests already
	if e.down {
		m.startLocked(e) // stopped, or on its way there: it starts afterwards
	} else {
		m.unhaltGroup(e)
		m.refresh(e)
	}
	m.unlock()
	if m.waitsForItself(ctx, e) {
		return nil
	}
	return m.awaitUp(ctx, "restart", e, starts)
}

// Replace starts a service whose abandoned run still runs, without waiting for
// the end of that run. It is the one call that lets two generations exist at
// once; the old one's contexts are over. It needs a Factory, so that they
// don't share an instance. The old run stays in reports until it ends.
//
// Errors are those of Start, and a *SpecError without Factory.
func (m *ServiceManager) Replace(ctx context.Context, alias string) error {
	return m.start(ctx, "replace", alias, true)
}

// Remove stops a service as Stop does and forgets it with its record. What a
// StateStore keeps of it stays, and is given to a service that is added under
// the same alias later.
//
// Errors: those of Stop, and ErrDependants, which changes nothing. After an
// *UnstoppedError the alias stays taken, so that the abandoned run can't go
// unnoticed; it is forgotten once that has ended. A service that removes itself
// is not waited for.
func (m *ServiceManager) Remove(ctx context.Context, alias string) error {
	m.mu.Lock()
	e, err := m.find("remove", alias)
	if err == nil && len(e.dependants()) > 0 {
		err = fmt.Errorf("scheduler: remove %q: %w: %q comes after it", alias, ErrDependants, e.dependants()[0].alias)
	}
	if err != nil {
		m.unlock()
		return err
	}
	e.removed = true
	m.desire(e, false)
	m.harden(e)
	m.refresh(e)
	m.retire(e)
	m.forget(e)
	m.notifyAll()
	m.unlock()
	return m.awaitRest(ctx, "remove", e)
}

// forget takes an entry that Remove is done with out of the directory, once
// nothing of it runs any more.
func (m *ServiceManager) forget(e *entry) {
	if !e.removed || e.gone || e.busy > 0 || e.abandoned > 0 {
		return
	}
	for w := range e.workers() {
		m.tellWatchers(w, EventRemoved)
	}
	e.gone = true
	if b := e.beat(); b != nil {
		m.cop.dismiss(b)
	}
	for _, need := range e.needs() {
		i := slices.Index(need.links.dependants, e)
		need.links.dependants = slices.Delete(need.links.dependants, i, i+1)
	}
	delete(m.directory.entries, e.alias)
	m.desks.forget(e.alias)
	if g := e.group(); g != nil {
		m.unhaltGroup(e) // nobody is left who could bring them back
		g.leave(e)
	}
	if table := e.options.timetable; table != nil && table.wallClock() {
		m.wall.schedules--
	}
	m.counts[e.class]--
	m.notify(e)
}

// Status returns a snapshot of one service, or ErrUnknown.
func (m *ServiceManager) Status(alias string) (Status, error) {
	m.mu.Lock()
	defer m.unlock()
	e, err := m.find("status of", alias)
	if err != nil {
		return Status{}, err
	}
	return e.status(m.now()), nil
}

// Services returns a snapshot of all services in the order of their addition.
// It takes time in proportion to their number.
func (m *ServiceManager) Services() []Status {
	m.mu.Lock()
	defer m.unlock()
	now := m.now()
	all := make([]Status, 0, len(m.directory.entries))
	for _, e := range m.inOrder() {
		all = append(all, e.status(now))
	}
	return all
}

// inOrder lists the entries in the order of their addition, which puts every
// dependency before its dependants.
func (m *ServiceManager) inOrder() []*entry {
	all := make([]*entry, 0, len(m.directory.entries))
	for _, e := range m.directory.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.serial, b.serial) })
	return all
}
