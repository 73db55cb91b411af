package firehose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
	"github.com/cannedos/cannedos/scheduler"
)

// OS is a ready-made canned OS. Its methods may be called from any goroutine. With
// a durable DB, what is known of resources is known once it serves: before that
// the calls that look at one return queue.ErrStandby, and so does, for as long as
// another process owns the queue, one that stands by.
type OS struct {
	f       *flow
	sched   *scheduler.Scheduler
	serving atomic.Bool
	ownQ    bool
}

// ErrServing says that an OS serves already: one OS serves once.
var ErrServing = errors.New("firehose: the OS serves, or has served, already")

// New makes an OS from a Config. It starts nothing and sends nothing. Errors
// name the field that is wrong (a [*FieldError] is behind them).
func New(config Config) (*OS, error) {
	cfg, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	owner := resource.NewOwner()
	f := &flow{
		cfg: cfg, owner: owner, queue: cfg.Queue,
		buckets: newBuckets(cfg.DB, storeOwner(owner)), wishes: newWishes(cfg.DB, storeOwner(owner)),
		follower: followerOf(cfg.Sink), stats: &stats{}, feed: &feed{}, credits: newCredits(cfg.PublishCount, cfg.PublishBytes), jitter: newJitter(cfg.Seed), log: cfg.Logger,
	}
	f.profiles = make(map[string]*resource.Profile, len(cfg.Profiles))
	for name, p := range cfg.Profiles {
		f.profiles[name] = &p
	}
	f.http = &reserving{
		base: cfg.Transport, buckets: f.buckets, tokens: cfg.Tokens,
		parser: resource.Parser{Dialects: cfg.dialects(), FreshnessCap: cfg.FreshnessCap, ParkCap: cfg.ParkCap},
		log:    func(ctx context.Context, msg string, args ...any) { f.log.WarnContext(ctx, msg, args...) },
	}
	f.refusals = make(chan struct{}, 1)
	f.http.tell, f.http.refusals = f.tellScope, f.refusals
	f.buckets.hostCap, f.buckets.domains, f.buckets.dialects = cfg.HostConcurrency, cfg.Domains, f.http.parser.Dialects
	f.shard()
	if f.sorter, err = queue.NewTimingSorter(cfg.Tiers...); err != nil {
		return nil, fmt.Errorf("firehose: config: %w", &FieldError{Field: "Tiers", Value: fmt.Sprintf("%d tiers", len(cfg.Tiers)), Want: err.Error()})
	}
	for _, b := range sinksAs[binder](cfg.Sink) {
		b.bind(cfg.DB, f.notify)
	}
	os := &OS{f: f, ownQ: cfg.Queue == nil}
	switch {
	case cfg.Queue != nil:
	case cfg.DB != nil:
		f.queue, err = queue.NewDurable(cfg.DB, queue.DurableConfig{Space: cfg.Shard.space(queueSpace)})
	default:
		f.queue, err = queue.NewMemory(queue.MemoryConfig{})
	}
	if err != nil {
		return nil, fmt.Errorf("firehose: queue: %w", err)
	}
	os.sched, err = scheduler.New(scheduler.Config{Name: cfg.Name, Logger: cfg.Logger, Services: os.services()})
	if refused, ok := errors.AsType[*scheduler.SpecError](err); ok { // of a name: all else is ours
		field := "Tiers"
		if refused.Alias == "" {
			field = "Name"
		}
		return nil, fmt.Errorf("firehose: config: %w", &FieldError{Field: field, Value: "a name that no service can have", Want: err.Error()})
	}
	if err != nil {
		return nil, fmt.Errorf("firehose: services: %w", err)
	}
	return os, nil
}

// Services returns the services of the flow, to be run by a scheduler of the
// user's beside services of their own. Whoever runs them calls neither Serve nor
// Services again. The one that is called shutdown stops last and gives up what
// the others have used, as Serve does at its end.
func (o *OS) Services() []scheduler.Spec {
	specs := o.services()
	specs[0].After = []string{"shutdown"} // everything else comes after it
	return append([]scheduler.Spec{{Alias: "shutdown", Service: scheduler.Func(func(ctx context.Context) error {
		<-ctx.Done()
		return o.shutdown()
	})}}, specs...)
}

// shutdown gives up the queue, if it is our own, and idle connections.
func (o *OS) shutdown() (err error) {
	if o.ownQ {
		err = o.f.queue.Close()
	}
	if t, ok := o.f.cfg.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	return err
}

func (o *OS) services() []scheduler.Spec {
	f := o.f
	stop := f.cfg.StopTimeout + stopGrace
	one := func(alias string, s scheduler.Service, after ...string) scheduler.Spec {
		return scheduler.Spec{Alias: alias, Service: s, After: after, StopTimeout: stop}
	}
	pool := func(alias string, n int, factory func() scheduler.Service, after ...string) scheduler.Spec {
		return scheduler.Spec{Alias: alias, Factory: factory, Pool: n, After: after, StopTimeout: stop}
	}
	// With a start timeout they count as started when they say so, and not when
	// they are entered: nobody may send before the parks were read. A standby may
	// wait for its lease for as long as it takes.
	recall := one("recall", scheduler.Func(f.recall))
	recall.Restart, recall.StartTimeout = scheduler.Transient, resource.MaxInterval
	initializer := one("initializer", &Initializer{f}, "analyzer")
	initializer.Restart, initializer.StartTimeout = scheduler.Transient, resource.MaxInterval
	specs := []scheduler.Spec{
		recall,
		pool("publisher", f.cfg.Publishers, func() scheduler.Service { return &Publisher{f} }, "recall"),
		pool("requestor", f.cfg.Workers, func() scheduler.Service { return &Requestor{f: f} }, "publisher"),
		one("gate", &Gate{f}, "requestor"),
		one("keeper", &keeper{f}, "recall"),
		one("analyzer", &Analyzer{stage{f, QueueAnalyze}}, "gate"),
	}
	for _, tier := range f.sorter.Tiers() {
		if tier.Name != QueueAnalyze {
			specs = append(specs, one("freezer-"+strings.TrimPrefix(tier.Name, "frozen-"), &Freezer{stage{f, tier.Name}}, "gate"))
		}
	}
	return append(specs, initializer)
}

// Services returns the services of an OS made from config, for people who run
// them in a scheduler of their own. It is New followed by [OS.Services].
func Services(config Config) ([]scheduler.Spec, error) {
	o, err := New(config)
	if err != nil {
		return nil, err
	}
	return o.Services(), nil
}

// Serve runs the OS until ctx ends, and then stops it: nothing new is taken,
// what is in flight is finished within Config.StopTimeout. It returns nil after
// a clean stop, else what did not stop (*scheduler.UnstoppedError), or what made
// it impossible to go on: state or a resource file that can't be read, a queue
// that was closed or that another process has taken over. An OS serves once;
// then Serve returns ErrServing.
func (o *OS) Serve(ctx context.Context) error {
	if !o.serving.CompareAndSwap(false, true) {
		return ErrServing
	}
	ctx, o.f.stop = context.WithCancelCause(ctx)
	defer o.f.stop(nil)
	err := o.sched.Serve(ctx)
	return errors.Join(o.f.failure(), err, o.shutdown())
}

// Ready waits until every service is up and every resource of the Config is in,
// or until ctx ends.
func (o *OS) Ready(ctx context.Context) error { return o.sched.AwaitStarted(ctx) }

// retire takes out a resource that is wished away: the one of got, as gone has it
// now. If it was added again before, it stays; if it is while this goes on, it is
// admitted again. Either way it keeps its rest.
func (f *flow) retire(ctx context.Context, session queue.Session, got []queue.Delivery, gone *resource.Resource) error {
	turn, err := f.wishes.leave(ctx, gone)
	if err != nil {
		return err
	}
	if turn == 0 {
		m := got[0].To(QueueAnalyze, gone.NotBefore)
		m.Resource, m.Attempts = *gone, 0
		return f.commit(ctx, session, got, m)
	}
	if err := f.commit(ctx, session, got); err != nil {
		return err
	}
	again, err := f.wishes.done(ctx, gone, turn)
	if err != nil || again == nil {
		return err
	}
	r, err := f.newResource(*again)
	if err != nil {
		return err
	}
	r.Rest(restOf(gone).Rest)
	err = f.commit(ctx, session, nil, queue.Message{Queue: QueueAnalyze, Resource: r})
	if errors.Is(err, queue.ErrExists) { // Add has come to it first
		return nil
	}
	return err
}

// ErrUnknown says that no queue holds a resource.
var ErrUnknown = errors.New("firehose: no such resource")

// Remove ends the polling of a resource. A request that is on its way is
// finished and its answer published; nothing follows it. What was known of it is
// forgotten, but for the instant before which it may not be asked, should it be
// added again. A resource that the Config lists is admitted again by the next
// start. ErrUnknown where there is no such resource.
func (o *OS) Remove(ctx context.Context, id resource.ID) error {
	if err := o.f.wish(ctx, id, func(w *wishRecord) { w.Removed = true }); err != nil {
		return fmt.Errorf("firehose: remove %v: %w", id, err)
	}
	return o.f.withSession(ctx, func(s queue.Session) error { return o.f.takeOut(ctx, s, id) })
}

// Pause keeps a resource from being polled until Resume. A request that is on
// its way is finished. Pausing twice is no error.
func (o *OS) Pause(ctx context.Context, id resource.ID) error {
	if err := o.f.wish(ctx, id, func(w *wishRecord) { w.Paused = true }); err != nil {
		return fmt.Errorf("firehose: pause %v: %w", id, err)
	}
	return o.f.decideAgain(ctx, id)
}

// Resume ends a pause. The resource is polled again when its interval allows.
func (o *OS) Resume(ctx context.Context, id resource.ID) error {
	if err := o.f.wish(ctx, id, func(w *wishRecord) { w.Paused = false }); err != nil {
		return fmt.Errorf("firehose: resume %v: %w", id, err)
	}
	return o.f.decideAgain(ctx, id)
}

// SetInterval changes the interval that was asked for. It counts from the next
// poll on.
func (o *OS) SetInterval(ctx context.Context, id resource.ID, interval time.Duration) error {
	if interval <= 0 || interval > resource.MaxInterval {
		return fmt.Errorf("firehose: set interval of %v: %w", id,
			&FieldError{Field: "interval", Value: interval.String(), Want: "above 0, to " + resource.MaxInterval.String()})
	}
	if err := o.f.wish(ctx, id, func(w *wishRecord) { w.Interval = interval }); err != nil {
		return fmt.Errorf("firehose: set interval of %v: %w", id, err)
	}
	return nil
}

// wish changes what is wanted of a resource that exists.
func (f *flow) wish(ctx context.Context, id resource.ID, change func(*wishRecord)) error {
	finder, ok := queue.As[queue.Finder](f.queue)
	if !ok {
		return f.wishes.change(ctx, id, change)
	}
	m, _, err := finder.Find(ctx, id)
	if errors.Is(err, queue.ErrNotFound) {
		return ErrUnknown
	}
	if err != nil {
		return err
	}
	if err := f.wishes.change(ctx, id, change); err != nil {
		return err
	}
	if isLine(m.Queue) {
		f.buckets.scope(m.Resource.Scope(), nil).signal() // the Gate may have it in hand, as the head of its line
	}
	return nil
}

// waits reports whether what the named queue holds merely waits: it is neither
// claimed nor in an error queue.
func (f *flow) waits(name string) bool {
	return name != QueueRequests && name != QueuePublish && !slices.Contains(ErrorQueues(), name)
}

// decideAgain takes a resource that waits out of turn, so that a wish counts at
// once. One that is claimed, held or in an error queue is left where it is.
func (f *flow) decideAgain(ctx context.Context, id resource.ID) error {
	return f.withSession(ctx, func(s queue.Session) error {
		d, ok, err := f.takeIf(ctx, s, id, f.waits)
		if !ok || err != nil {
			return err
		}
		if isLine(d.Queue) {
			f.buckets.scope(d.Resource.Scope(), nil).leave(d.Queue)
		}
		return f.commit(ctx, s, []queue.Delivery{d}, d.To(QueueAnalyze, time.Time{}))
	})
}

// takeIf takes a resource out of turn if the queue that holds it is wanted. It
// looks first, so that it need not put back what others would take for a
// redelivery. ok is false where there is nothing to take.
func (f *flow) takeIf(ctx context.Context, s queue.Session, id resource.ID, wanted func(name string) bool) (d queue.Delivery, ok bool, err error) {
	finder, canFind := queue.As[queue.Finder](f.queue)
	taker, canTake := s.(queue.Taker)
	if !canFind || !canTake {
		return d, false, nil // the wish counts when its turn comes
	}
	m, held, err := finder.Find(ctx, id)
	if err == nil && !held && wanted(m.Queue) {
		d, err = taker.Take(ctx, id)
		ok = err == nil && wanted(d.Queue)
	}
	if err != nil && !errors.Is(err, queue.ErrHeld) && !errors.Is(err, queue.ErrNotFound) {
		return d, false, fmt.Errorf("firehose: take %v: %w", id, err)
	}
	return d, ok, nil
}

// withSession runs f with a session of its own.
func (f *flow) withSession(ctx context.Context, do func(queue.Session) error) error {
	s, err := f.queue.Open(ctx)
	if err != nil {
		return fmt.Errorf("firehose: %w", err)
	}
	defer s.Close()
	return do(s)
}

// Stats returns figures since the OS was made. It reads counters, not resources.
func (o *OS) Stats() Stats {
	now := time.Now()
	v := o.f.stats.read(now)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if d, ok := queue.As[queue.Depther](o.f.queue); ok {
		v.Queues, _ = d.Depths(ctx) // absent figures are better than none at all
	}
	if s, ok := queue.As[queue.Stater](o.f.queue); ok {
		v.States, _ = s.States(ctx)
	}
	v.Publishing, v.Holding = o.f.credits.level()
	for s := range o.f.buckets.all() {
		if v.Buckets = append(v.Buckets, s.levels()...); len(v.Buckets) >= MaxBucketStats {
			v.Buckets = v.Buckets[:MaxBucketStats]
			break
		}
	}
	slices.SortFunc(v.Buckets, func(a, b BucketStats) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	return v
}

func (s *scopeState) levels() (all []BucketStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	level := func(name string, b *resource.Bucket) {
		v := BucketStats{
			Key: resource.BucketKey{Scope: s.key, Name: name}, Known: b.Known, Limit: b.Limit, Remaining: b.Remaining,
			Reset: b.Reset.Round(0).UTC(), Park: b.Park.Round(0).UTC(), InFlight: b.InFlight,
		}
		if !b.Park.IsZero() {
			v.Why = b.Why.String()
		}
		if l := s.lines[name]; l != nil {
			v.Line = l.length
		}
		all = append(all, v)
	}
	level("", &s.own)
	for name, b := range s.quotas {
		level(name, b)
	}
	return all
}

// Health says whether the OS lives and is ready, with the reason in words for
// each service that is not.
type Health struct {
	Live    bool     `json:"live"`              // no service has ended for good with a failure
	Ready   bool     `json:"ready"`             // every service is started or done
	Reasons []string `json:"reasons,omitempty"` // for each service that is neither
}

// Health reads the states of the services. The OS lives while none of them has
// ended for good with a failure.
func (o *OS) Health() Health {
	h := Health{Live: true, Ready: true}
	if n := o.f.stats.deaf.Load(); n > 0 {
		h.Ready = false
		h.Reasons = append(h.Reasons, fmt.Sprintf("publisher: %d calls of Sink.Take go on after the end of their context", n))
	}
	if err := o.f.failure(); err != nil {
		h.Live, h.Ready = false, false
		h.Reasons = append(h.Reasons, err.Error())
	}
	for _, s := range o.sched.Services() {
		if s.State == scheduler.Started || s.End == scheduler.Completed {
			continue
		}
		h.Ready = false
		reason := fmt.Sprintf("%s: %s: %s", s.Alias, s.State, s.Reason)
		if s.Err != nil && s.State == scheduler.BackingOff {
			reason += ": " + s.Err.Error()
		}
		h.Reasons = append(h.Reasons, reason)
		switch s.End {
		case scheduler.Failed, scheduler.GaveUp, scheduler.Abandoned:
			h.Live = false
		}
	}
	return h
}
