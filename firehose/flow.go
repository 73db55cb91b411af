package firehose

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
	"github.com/cannedos/cannedos/scheduler"
)

// Names of the queues. Between them stand the tiers of the TimingSorter and a
// line for each bucket that has waiters.
const (
	QueueAnalyze       = "analyze"
	QueueRequests      = "requests"
	QueuePublish       = "publish"
	QueueAnalyzeError  = "analyze-error"
	QueueRequestsError = "requests-error"
	QueuePublishError  = "publish-error"

	linePrefix = "line/"
)

// ErrorQueues returns the names of the queues that hold what can't go on.
func ErrorQueues() []string {
	return []string{QueueAnalyzeError, QueueRequestsError, QueuePublishError}
}

// batch is how many messages a service takes at once.
const batch = 64

// flow is what the services of one OS share.
type flow struct {
	cfg     Config
	owner   resource.Owner
	queue   queue.Queue
	sorter  *queue.TimingSorter[string]
	buckets *buckets
	wishes  *wishes
	stats   *stats
	feed    *feed
	credits *credits
	jitter  *jitter
	gate    lines
	walks   walks
	http    *reserving

	profiles map[string]*resource.Profile // those of cfg
	wardrobe wardrobe

	follower Follower // the sink, or what is behind it; nil: none wants further pages

	refusals chan struct{} // holds at most one sign that a credential was refused
	log      *slog.Logger

	stop   context.CancelCauseFunc // ends Serve; nil where a scheduler of the user's runs the services
	failed atomic.Pointer[error]   // why it is impossible to go on
	quiet  atomic.Bool             // the Requestors were asked to stop: whoever decides has stopped before them
	moves  atomic.Int64            // of resources in or out of the queue: 2 for each Commit, at its begin and its end

	isDivided atomic.Bool // see [flow.divided]
}

// fail ends Serve if err can't pass: then it is worse to go on trying than to
// say so. It returns err.
func (f *flow) fail(err error) error {
	if permanent(err) && f.failed.CompareAndSwap(nil, &err) {
		f.log.Error("impossible to go on", "err", err)
		if f.stop != nil {
			f.stop(err)
		}
	}
	return err
}

// failure returns why it is impossible to go on, or nil.
func (f *flow) failure() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// permanent reports whether trying again can't help.
func permanent(err error) bool {
	if _, ok := errors.AsType[*FieldError](err); ok {
		return true
	}
	for _, is := range []error{
		fs.ErrNotExist, fs.ErrPermission, resource.ErrEncoding, resource.ErrNewer, queue.ErrClosed,
		queue.ErrDamaged, queue.ErrNewer, db.ErrDamaged, db.ErrNewer, db.ErrForeign,
	} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// profile returns the profile of a resource, which is never changed. A name that
// is not configured in this process gives an error: to guess could send the wrong
// credential.
func (f *flow) profile(name string) (*resource.Profile, error) {
	p := f.profiles[name]
	if p == nil {
		return nil, fmt.Errorf("firehose: profile %q is not configured", name)
	}
	return p, nil
}

// credential names the credential for requests to an origin.
func (c *Config) credential(p *resource.Profile, origin string) string {
	if p.Credential != "" {
		return p.Credential
	}
	if c.Tokens == nil {
		return ""
	}
	return c.Tokens.Credential(origin)
}

// resourceOf makes the resource that a Spec asks for, with the credential that its
// profile or its origin calls for. p is that profile; nil: there is none of its name.
func (c *Config) resourceOf(spec resource.Spec, p *resource.Profile) (resource.Resource, error) {
	r, err := resource.New(spec, "")
	if err != nil {
		return resource.Resource{}, err
	}
	if p == nil {
		return resource.Resource{}, &FieldError{Field: "Profile", Value: strconv.Quote(spec.Profile), Want: "the name of one of Profiles"}
	}
	if credential := c.credential(p, r.Origin); credential != "" {
		return resource.New(spec, credential)
	}
	return r, nil
}

// newResource makes the resource that a Spec asks for.
func (f *flow) newResource(spec resource.Spec) (resource.Resource, error) {
	r, err := f.cfg.resourceOf(spec, f.profiles[spec.Profile])
	if err != nil {
		return r, err
	}
	r.Rest(f.wishes.of(r.ID).rest) // it was here before
	return r, nil
}

// home sets the scope of r to that of its target: its URI, or for one request
// where a redirect has led. moved says that either may be another one than before.
func (f *flow) home(r *resource.Resource, moved bool) error {
	p, err := f.profile(r.Profile)
	if err != nil {
		return err
	}
	origin, own := r.Origin, r.Origin
	if moved || !atHome(r) {
		if origin, err = resource.Origin(r.Target()); err != nil {
			return err
		}
		if own, err = resource.Origin(r.URI); err != nil {
			return err
		}
	}
	credential := f.cfg.credential(p, origin)
	if p.Credential != "" && origin != own {
		credential = "" // a profile's credential is for its own origin: never carried across a redirect
		if f.cfg.Tokens != nil {
			credential = f.cfg.Tokens.Credential(origin)
		}
	}
	if origin != r.Origin || credential != r.Credential {
		r.Origin, r.Credential, r.Bucket = origin, credential, ""
	}
	return nil
}

// mayMove reports whether a confirmed permanent redirect may be stored. One that
// leads to another origin may not where the profile names a credential, which
// would then go there; it is followed at each poll instead, without. Nor may one
// that leads out of the shard, which has no business in the queue of this one.
func (f *flow) mayMove(from, to *resource.Resource) bool {
	p, err := f.profile(to.Profile)
	if err != nil {
		return false
	}
	a, err1 := resource.Origin(from.URI)
	b, err2 := resource.Origin(to.URI)
	if err1 != nil || err2 != nil || a != b && p.Credential != "" {
		return false
	}
	return f.mine(resource.Scope{Credential: f.cfg.credential(p, b), Origin: b})
}

// place decides where the resource of d goes next, and in what state. It is
// the one decision of the flow: the Analyzer, the Freezers, the Gate, the
// Requestor and the Publisher all end here. No message means that the user has
// removed the resource.
//
// fromLine says that the resource is the head of its line; then it is not made
// to join a line again.
func (f *flow) place(d *queue.Delivery, r resource.Resource, now time.Time, fromLine bool) (placement, bool) {
	if w := f.walks.of(&r); w != nil {
		return f.placeWalk(d, r, w, now, fromLine)
	}
	p := placement{Message: d.To(QueueAnalyzeError, time.Time{})}
	m := &p.Message
	m.Attempts = 0
	wish := f.wishes.of(r.ID)
	switch {
	case wish.removed:
		return p, false
	case wish.paused:
		r.State, r.Why = resource.Paused, resource.ReasonPaused
	case r.State == resource.Paused:
		r.State, r.Why = resource.Idle, resource.ReasonNone
	}
	if wish.interval > 0 {
		r.Interval = wish.interval
	}
	profile, err := f.profile(r.Profile)
	if err != nil {
		r.State, r.Why, r.Cause = resource.Error, resource.ReasonToken, err.Error()
		m.Resource, m.Cause = r, err.Error()
		return p, true
	}
	s := f.buckets.scope(r.Scope(), profile)
	s.guess(&r)
	decision := s.ticket(&r, now, fromLine)
	switch decision.Kind {
	case resource.Ready:
		if f.quiet.Load() { // nobody would send it, and a claim counts as sent at the next start
			s.giveBack(r.ID)
			m.Queue, m.Due = QueueAnalyze, r.NotBefore
			break
		}
		m.Queue, m.Due = QueueRequests, r.NotBefore
		switch {
		case fromLine:
			m.Due = now
		case r.NotBefore.IsZero(): // its turn counts from its admission, however often it is placed
			m.Due = d.Due
		}
		r.Claim(f.owner, now, now.Add(f.cfg.RequestTimeout+claimSlack))
	case resource.At:
		r.State, r.Why = decision.State, decision.Why
		m.Queue, m.Due = f.sorter.Sort(decision.At.Sub(now)), decision.At
	case resource.Line:
		r.State, r.Why = decision.State, decision.Why
		m.Queue = d.Queue
		if !fromLine {
			m.Queue, m.Due = f.gate.join(s, r.Bucket), turn(&r, now)
		}
	default:
		r.State, r.Why = decision.State, decision.Why
		m.Cause = cmpOr(r.Cause, decision.Why.String())
	}
	m.Resource = r
	p.decision = decision
	return p, true
}

// PriorityStep is how much longer a resource must have waited for its bucket than
// one of the next higher priority, to be let out before it. So a higher one comes
// first within any window of an hour, and a lower one is never passed over for
// ever.
const PriorityStep = time.Hour

// turn is where in the line of a bucket a resource belongs: by the instant from
// which it might have been sent, as if it had been earlier for each priority
// above the lowest, so that nobody's turn lies in the future. (Rejected: a line for each priority, of which the lowest may
// never come to the front.)
func turn(r *resource.Resource, now time.Time) time.Time {
	due := now
	if !r.NotBefore.IsZero() && r.NotBefore.Before(now) {
		due = r.NotBefore
	}
	return due.Add((math.MinInt8 - time.Duration(r.Priority)) * PriorityStep)
}

// placement is a message with the decision behind its place.
type placement struct {
	queue.Message
	decision resource.Decision
}

// claimSlack is the time between a claim and its request for which a claim
// allows, beside the request's own timeout.
const claimSlack = time.Second

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// bury moves a resource that can't go on to an error queue.
func (f *flow) bury(d *queue.Delivery, r resource.Resource, name, cause string) queue.Message {
	if len(cause) > resource.MaxCause { // of a sink, which may say as much as it likes
		cause = strings.ToValidUTF8(cause[:resource.MaxCause], "")
	}
	m := d.To(name, time.Time{})
	m.Resource, m.Cause, m.Attempts = r, cause, 0
	f.notify(EventBuried, &r, cause)
	return m
}

// notify tells the observer and the log of a resource.
func (f *flow) notify(kind EventKind, r *resource.Resource, cause string) {
	f.log.Log(context.Background(), kind.level(), kind.String(), "id", r.ID, "uri", r.URI, "cause", cause)
	f.tellAll(Event{Kind: kind, At: time.Now(), Resource: *r, Scope: r.Scope(), Cause: cause})
}

// tellScope tells the observer and the log of a scope as a whole.
func (f *flow) tellScope(kind EventKind, scope resource.Scope, cause string) {
	f.log.Log(context.Background(), kind.level(), kind.String(), "scope", scope.String(), "cause", cause)
	f.tellAll(Event{Kind: kind, At: time.Now(), Scope: scope, Cause: cause})
}

func (f *flow) tellAll(e Event) {
	f.stats.event(e.Kind)
	f.feed.send(e)
	if f.cfg.Observer == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil { // it must not take the poll with it
			f.log.Error("observer: panic", "event", e.Kind.String(), "id", e.Resource.ID, "panic", fmt.Sprint(v))
		}
	}()
	f.cfg.Observer(e)
}

// commit commits, and sees to it that what can be committed is: an unknown
// outcome is repeated until ctx ends, deliveries that were lost are left to
// their next holder.
func (f *flow) commit(ctx context.Context, s queue.Session, done []queue.Delivery, next ...queue.Message) error {
	defer f.landed(next)
	if len(done) != len(next) {
		f.moves.Add(1)
		defer f.moves.Add(1)
	}
	wait := 10 * time.Millisecond
	for {
		err := s.Commit(ctx, done, next...)
		var lost *queue.LostError
		switch {
		case err == nil:
			f.overrule(ctx, next)
			return nil
		case errors.As(err, &lost):
			for i := range next { // what was handed out for them is not theirs any more
				if slices.Contains(lost.IDs, next[i].Resource.ID) {
					f.undo(next[i : i+1])
					f.credits.done(next[i].Response)
				}
			}
			done, next = without(done, next, lost.IDs)
			if len(done) == 0 {
				return nil
			}
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, queue.ErrClosed), errors.Is(err, queue.ErrSession), errors.Is(err, queue.ErrRefused), errors.Is(err, queue.ErrExists):
			return err
		default:
			f.log.Warn("commit repeated", "err", err, "messages", len(next))
			if !sleep(ctx, wait) {
				return context.Cause(ctx)
			}
			wait = min(2*wait, time.Second)
		}
	}
}

// overrule decides anew where a pause was lifted between the decision and its
// commit: Resume has then found the resource in the hands of a service, and
// left it to that.
func (f *flow) overrule(ctx context.Context, committed []queue.Message) {
	for i := range committed {
		m := &committed[i]
		if m.Resource.State != resource.Paused || m.Queue == QueueAnalyze || f.wishes.of(m.Resource.ID).paused {
			continue
		}
		if err := f.decideAgain(ctx, m.Resource.ID); err != nil {
			f.log.Warn("resume is late", "resource", m.Resource.ID, "err", err)
		}
	}
}

// without leaves out deliveries that were lost, and their messages.
func without(done []queue.Delivery, next []queue.Message, lost []resource.ID) ([]queue.Delivery, []queue.Message) {
	done = slices.DeleteFunc(slices.Clone(done), func(d queue.Delivery) bool { return slices.Contains(lost, d.Resource.ID) })
	next = slices.DeleteFunc(slices.Clone(next), func(m queue.Message) bool { return slices.Contains(lost, m.Resource.ID) })
	return done, next
}

// stopGrace is the time between the end of the work in flight and the verdict of
// the scheduler.
const stopGrace = 2 * time.Second

var errStopped = errors.New("firehose: the time to finish what was in flight is over")

// work is the context for what is in flight when ctx ends: it ends
// Config.StopTimeout later. That is ahead of the scheduler's own timeout, so that
// who obeys it is not taken for one that is deaf.
func (f *flow) work(ctx context.Context) (work context.Context, release func()) {
	work, end := context.WithCancelCause(scheduler.Work(ctx))
	timer := time.AfterFunc(math.MaxInt64, func() { end(errStopped) })
	stop := context.AfterFunc(ctx, func() {
		timer.Reset(f.cfg.StopTimeout)
		if work.Err() != nil { // released meanwhile: it would keep all this alive for nothing
			timer.Stop()
		}
	})
	return work, func() {
		stop()
		end(context.Canceled)
		timer.Stop() // after the end, so that one of the two sees the other
	}
}

// sleep waits, and reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// lineName is the name of the queue in which resources wait for a bucket.
func lineName(key resource.BucketKey) string {
	if name := linePrefix + key.String(); len(name) <= queue.MaxName {
		return name
	}
	return linePrefix + bucketID(key)
}

// isLine reports whether a queue is the line of a bucket.
func isLine(name string) bool { return strings.HasPrefix(name, linePrefix) }

// storeOwner is the owner as package db knows it.
func storeOwner(o resource.Owner) db.Owner { return db.Owner(o) }
