package firehose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
	"github.com/cannedos/cannedos/scheduler"
)

// Requestor sends the requests, one at a time. Config.Workers of them make a
// pool.
type Requestor struct {
	f *flow

	// For use again by the one goroutine of a run.
	x     exchange
	next  [1]queue.Message
	kind  dressKind // of the latest request
	dress *dress
}

// String names the service.
func (q *Requestor) String() string { return "requestor" }

// Serve polls what the requests queue holds until ctx ends, finishes what is in
// flight, and takes back the claims of what it did not come to. It is called by
// a scheduler.
func (q *Requestor) Serve(ctx context.Context) error {
	work, release := q.f.work(ctx)
	defer release()
	session, err := q.f.queue.Open(work)
	if err != nil {
		return q.f.ending(ctx, err)
	}
	defer session.Close()
	q.f.quiet.Store(false)
	scheduler.Ready(ctx)
	for ctx.Err() == nil {
		if err := q.one(ctx, work, session); err != nil && ctx.Err() == nil {
			return q.f.fail(err)
		}
	}
	q.f.quiet.Store(true)
	if err := q.unclaim(work, session); err != nil {
		return err
	}
	if err := q.hurry(work, session); err != nil && work.Err() == nil {
		q.f.log.Warn("readings that wait are not published before the stop", "err", err)
	}
	return nil
}

// one waits for a credit and then for a resource, and serves it.
func (q *Requestor) one(ctx, work context.Context, session queue.Session) error {
	credit, err := q.f.credits.take(ctx)
	if err != nil { // asked to stop
		return nil
	}
	defer credit.give() // whatever ends this, unless a response has it
	got, err := session.Receive(ctx, QueueRequests, 1)
	if err != nil {
		return err
	}
	credit.use()
	return q.serve(work, session, got, credit)
}

// serve polls one resource and moves it on. Its ticket is given back before it
// is placed again, so that it does not stand in its own way; after a panic, by
// the next holder of the delivery.
func (q *Requestor) serve(work context.Context, session queue.Session, got []queue.Delivery, credit *credit) error {
	d := &got[0]
	r := d.Resource
	w, lost := q.f.resume(&r)
	if w != nil {
		credit.keep(w.first)
		return q.walk(work, session, got, w)
	}
	scope := q.f.buckets.scope(r.Scope(), nil)
	now := time.Now()
	wish := q.f.wishes.of(r.ID)
	late := r.ClaimUntil.Sub(now) < q.f.cfg.RequestTimeout/2
	if lost { // page one was sent under its claim
		r.Forfeit(now)
	}
	switch forfeited := q.f.forfeit(d, &r, now); {
	case forfeited, lost, wish.paused, wish.removed, late:
		r.Unclaim()
		scope.giveBack(r.ID)
		return q.move(work, session, got, r)
	}
	w, err := q.poll(work, d, &r, scope, now)
	if err != nil { // not sent
		r.Unclaim()
	}
	if w == nil {
		scope.giveBack(r.ID)
		return q.move(work, session, got, r)
	}
	credit.keep(w.first)
	return q.walk(work, session, got, w)
}

// move places what a poll, or the lack of one, has made of a resource.
func (q *Requestor) move(work context.Context, session queue.Session, got []queue.Delivery, r resource.Resource) error {
	next, ok := q.f.next(&got[0], r)
	if !ok {
		return q.f.retire(work, session, got, &r)
	}
	q.next[0] = next
	defer clear(q.next[:])
	if err := q.f.commit(work, session, got, q.next[:]...); err != nil {
		q.f.undo(q.next[:])
		return err
	}
	return nil
}

// next is where a resource goes with its result: on, or to an error queue when
// it has ended.
func (f *flow) next(d *queue.Delivery, r resource.Resource) (queue.Message, bool) {
	if f.wishes.of(r.ID).removed && f.walks.of(&r) == nil { // what a walk has brought is published before
		return queue.Message{}, false
	}
	if r.State == resource.Error || r.State == resource.Gone {
		return f.bury(d, r, QueueRequestsError, cmpOr(r.Cause, r.Why.String())), true
	}
	p, ok := f.place(d, r, time.Now(), false)
	return p.Message, ok
}

// unclaim withdraws what waits in the requests queue, since nobody will send
// it: the next run need not count it as sent.
func (q *Requestor) unclaim(work context.Context, session queue.Session) error {
	depther, ok := queue.As[queue.Depther](q.f.queue)
	for ok && work.Err() == nil {
		depths, err := depther.Depths(work)
		if err != nil || !anyReady(depths, QueueRequests) {
			return nil
		}
		some, cancel := context.WithTimeout(work, 100*time.Millisecond)
		got, err := session.Receive(some, QueueRequests, batch)
		cancel()
		if err != nil {
			return nil // another worker was faster, or the time is up
		}
		if err := q.withdraw(work, session, got); err != nil {
			return nil
		}
	}
	return nil
}

// withdraw ends claims whose requests were not sent, and lets the Analyzer
// decide again.
func (q *Requestor) withdraw(work context.Context, session queue.Session, got []queue.Delivery) error {
	next := make([]queue.Message, 0, len(got))
	var done []queue.Delivery
	for i := range got {
		r := got[i].Resource
		w, lost := q.f.resume(&r)
		if w != nil {
			w.cut = stopping
			if err := q.publish(work, session, got[i:i+1], w); err != nil {
				return err
			}
			continue
		}
		if lost { // page one was sent under its claim
			r.Forfeit(time.Now())
		}
		done = append(done, got[i])
		q.f.buckets.scope(r.Scope(), nil).giveBack(r.ID)
		q.f.forfeit(&got[i], &r, time.Now())
		r.Unclaim()
		m := got[i].To(QueueAnalyze, r.NotBefore)
		m.Resource = r
		next = append(next, m)
	}
	if len(done) == 0 {
		return nil
	}
	return q.f.commit(work, session, done, next...)
}

func anyReady(depths []queue.Depth, name string) bool {
	for _, d := range depths {
		if d.Name == name {
			return d.Ready > 0
		}
	}
	return false
}

// poll asks for a resource and writes into r what the answer meant. It returns
// what there is to publish, with the page that the sink wants to see next. An
// error says that nothing was sent.
func (q *Requestor) poll(work context.Context, d *queue.Delivery, r *resource.Resource, scope *scopeState, now time.Time) (*walk, error) {
	f := q.f
	ctx, cancel := context.WithDeadlineCause(work, minTime(r.ClaimUntil, now.Add(f.cfg.RequestTimeout)), errTimeout)
	defer cancel()
	scope.guess(r) // its kin may have been answered since it was let out
	before := *r
	got, x, err := q.ask(ctx, r, r.ID, scope)
	if err != nil {
		return nil, err
	}
	f.stats.late(got.sent, d.Due)
	bucket := r.Key() // before the answer moves it
	result := f.apply(&before, r, x)
	var w *walk
	if result.Publish || f.follower != nil && result.Outcome == resource.NotModified {
		w = &walk{first: f.response(r, &before, got, x, result)}
		switch w.next, err = f.follow(ctx, w.first); {
		case err != nil: // it is no page of the feed
			*r, w = before, nil
			x.answer.Trouble, x.answer.Cause = resource.ReasonBroken, x.clean(err.Error())
			if result.Outcome == resource.NotModified {
				r.Validators, r.Digest = resource.Validators{}, 0
			}
			result = f.apply(&before, r, x)
		case w.next == nil && !result.Publish:
			w = nil
		default:
			w.rested = *r
		}
	}
	f.stats.polled(result.Outcome, x.hops, int64(len(got.body)))
	f.tell(&before, r, result, &x.lesson)
	if f.log.Enabled(ctx, slog.LevelDebug) { // else not even its words are looked for
		f.log.DebugContext(ctx, "poll", "id", r.ID, "uri", r.URI, "bucket", bucket.String(), "outcome", result.Outcome.String(),
			"status", x.answer.Status, "wait", time.Until(r.NotBefore).Round(time.Millisecond), "rule", r.Why.Key(), "cause", r.Cause)
	}
	return w, nil
}

// ask sends the requests of one poll, in the name of the resource that is polled.
// The exchange is good until the next one.
func (q *Requestor) ask(ctx context.Context, r *resource.Resource, who resource.ID, scope *scopeState) (fetched, *exchange, error) {
	x := &q.x
	*x = exchange{id: who, variant: r.Variant, alone: q.f.alone(r), scope: r.Scope(), state: scope, bucket: r.Bucket, jitter: q.f.jitter.next()}
	got, err := q.fetch(ctx, r, x)
	return got, x, err
}

// apply writes into r what the answer meant.
func (f *flow) apply(before, r *resource.Resource, x *exchange) resource.Result {
	result := f.http.parser.Apply(r, &x.answer, &x.lesson)
	f.spread(r, x, result.Outcome)
	x.keepVariant(r, result.Outcome)
	if result.Relocated && !f.mayMove(before, r) {
		r.URI, result.Relocated = before.URI, false
	}
	moved := r.Hop != "" || before.Hop != "" || r.URI != before.URI
	if err := f.home(r, moved); err != nil {
		r.State, r.Why, r.Cause = resource.Error, resource.ReasonRequest, err.Error()
	}
	return result
}

// spread adds the jitter of the Config to the wait for an interval. What a limit,
// a failure or a feed's own clock says of the wait has a spread of its own. Hours
// and days that a feed wants to be left out stay left out, and whoever would meet
// others behind them is spread there.
func (f *flow) spread(r *resource.Resource, x *exchange, outcome resource.Outcome) {
	interval := outcome == resource.Modified || outcome == resource.NotModified || outcome == resource.Empty
	wait := r.NotBefore.Sub(x.answer.Received)
	if f.cfg.Jitter <= 0 || !interval || wait <= 0 || !r.Hint.Base.IsZero() {
		return
	}
	more := time.Duration(float64(min(f.cfg.Jitter, wait/10)) * x.jitter)
	due := r.NotBefore.Add(more)
	if next := r.Hint.Next(due); next.After(due) {
		due = r.Hint.Next(next.Add(more))
	}
	r.NotBefore = due
}

// response is what an answer brings to the sink.
func (f *flow) response(r, before *resource.Resource, got fetched, x *exchange, result resource.Result) *resource.Response {
	header := x.answer.Header.Clone()
	header.Del("Set-Cookie")
	v := &resource.Response{
		Resource: *r, URL: got.url, Status: x.answer.Status, Header: header, Body: got.body, Outcome: result.Outcome,
		Sent: x.answer.Sent, Received: x.answer.Received, Previous: before.Validators,
	}
	if before.Quiet > 0 && before.Failures == 0 && before.Why != resource.ReasonNotReady {
		v.Confirmed = before.Asked
	}
	return v
}

var errTimeout = errors.New("firehose: request timeout")

// tell reports what somebody may want to know at once.
func (f *flow) tell(before, r *resource.Resource, result resource.Result, l *resource.Lesson) {
	switch {
	case before.Failures == 0 && r.Failures > 0 && !result.Ended:
		f.notify(EventFailing, r, r.Cause)
	case before.Failures > 0 && r.Failures == 0:
		f.notify(EventRecovered, r, "answered again")
	}
	switch {
	case result.Hushed:
		f.notify(EventQuiet, r, fmt.Sprintf("%d answers in a row brought nothing new; %d of %d before did", r.Quiet, r.Modified, r.Polls-r.Quiet))
	case result.Woken:
		f.notify(EventLively, r, "something new")
	}
	switch {
	case result.Outcome == resource.Retired:
		f.notify(EventGone, r, r.Cause)
	case r.State == resource.Parked:
		f.notify(EventParked, r, r.Cause)
	case result.Outcome == resource.Limited:
		f.notify(EventLimited, r, l.Kind.String()+" limit: "+l.Evidence)
	}
	if result.Relocated {
		f.notify(EventRelocated, r, "moved permanently")
	}
}

// fetched is what the hops of one poll brought.
type fetched struct {
	url  string
	body []byte
	sent time.Time // of the first hop
}

// maxHops is how many redirects are followed in one poll (rule H-12).
const maxHops = 10

// fetch sends the request and follows redirects inside the scope. What came of
// it is in x; an error says that nothing was sent.
func (q *Requestor) fetch(ctx context.Context, r *resource.Resource, x *exchange) (got fetched, err error) {
	got.url = r.Target()
	permanent, allPermanent := "", true
	var seen []string
	for {
		resp, err := q.hop(ctx, r, x, got.url)
		if got.sent.IsZero() {
			got.sent = x.sent
		}
		if err != nil {
			if _, refused := errors.AsType[*refusedError](err); refused {
				if x.hops == 0 {
					return got, err
				}
				// A later hop that is not admitted waits for its bucket like a poll.
				x.answer.Target, x.answer.Permanent = got.url, permanent
			} else if _, missing := errors.AsType[*tokenError](err); missing {
				x.answer = resource.Answer{Origin: x.scope.Origin, Sent: time.Now(), Received: time.Now(), Jitter: x.jitter}
				x.answer.Trouble, x.answer.Cause = trouble(err)
			}
			return got, nil
		}
		a := &x.answer
		target, redirect := location(resp, got.url)
		if !redirect {
			got.body = q.read(resp, r, x)
			a.Permanent = permanent
			return got, nil
		}
		drain(resp.Body)
		seen = append(seen, got.url)
		allPermanent = allPermanent && (a.Status == http.StatusMovedPermanently || a.Status == http.StatusPermanentRedirect)
		if allPermanent {
			permanent = target
		}
		origin, err := resource.Origin(target)
		switch {
		case err != nil || slices.Contains(seen, target) || len(seen) > maxHops:
			a.Trouble, a.Cause = resource.ReasonMoved, fmt.Sprintf("redirect %d leads nowhere, in a circle or too far", a.Status)
			return got, nil
		case origin != x.scope.Origin || a.Header.Get("Retry-After") != "":
			a.Target, a.Permanent = target, permanent
			return got, nil
		}
		got.url = target
	}
}

// location returns where a redirect leads.
func location(resp *http.Response, from string) (target string, redirect bool) {
	switch resp.StatusCode {
	case 301, 302, 303, 307, 308:
	default:
		return "", false
	}
	base, err := url.Parse(from)
	if err != nil {
		return "", false
	}
	u, err := base.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" {
		return "", false
	}
	u.Fragment, u.RawFragment, u.User = "", "", nil
	return u.String(), true
}

// hop sends one request.
func (q *Requestor) hop(ctx context.Context, r *resource.Resource, x *exchange, target string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, &tokenError{fmt.Errorf("build request: %w", err)}
	}
	profile, err := q.f.profile(r.Profile)
	if err != nil {
		return nil, &tokenError{err}
	}
	kind := dressKind{profile: profile, mediaType: r.MediaType, github: r.Origin == resource.GitHubOrigin, foreign: !atHome(r)}
	if q.dress == nil || q.kind != kind {
		q.kind, q.dress = kind, q.f.wardrobe.dress(kind, q.f.cfg.UserAgent)
	}
	x.dress = q.dress
	req.Header = x.dress.on(r.Validators)
	return q.f.http.send(req, x)
}

// alone reports whether the limits of a resource count for it alone.
func (f *flow) alone(r *resource.Resource) bool {
	p, err := f.profile(r.Profile)
	return err == nil && p.Alone
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
