package firehose

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
	"github.com/cannedos/cannedos/scheduler"
)

// Requestor sends the requests, one at a time. Config.Workers of them make a
// pool.
type Requestor struct{ f *flow }

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
		if err := q.next(ctx, work, session); err != nil && ctx.Err() == nil {
			return q.f.fail(err)
		}
	}
	q.f.quiet.Store(true)
	return q.unclaim(work, session)
}

// next waits for a credit and then for a resource, and serves it.
func (q *Requestor) next(ctx, work context.Context, session queue.Session) error {
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
	scope := q.f.buckets.scope(r.Scope(), nil)
	now := time.Now()
	w := q.f.wishes.of(r.ID)
	late := r.ClaimUntil.Sub(now) < q.f.cfg.RequestTimeout/2
	switch forfeited := q.f.forfeit(d, &r, now); {
	case forfeited, w.paused, w.removed, late:
		r.Unclaim()
		scope.giveBack(r.ID)
		return q.move(work, session, got, r)
	}
	response, err := q.poll(work, d, &r)
	if err != nil { // not sent
		r.Unclaim()
	}
	if response == nil {
		scope.giveBack(r.ID)
		return q.move(work, session, got, r)
	}
	credit.keep(response)
	published := false
	defer func() {
		if !published {
			q.f.credits.done(response)
		}
	}()
	scope.giveBack(r.ID)
	// The claim stays until the sink has taken the response: what is written
	// until then says that the answer is not safe.
	r.Owner, r.Claimed, r.ClaimUntil = d.Resource.Owner, d.Resource.Claimed, d.Resource.ClaimUntil
	m := d.To(QueuePublish, time.Time{})
	m.Resource, m.Response, m.Attempts = r, response, 0
	err = q.f.commit(work, session, got, m)
	published = err == nil
	return err
}

// move places what a poll, or the lack of one, has made of a resource.
func (q *Requestor) move(work context.Context, session queue.Session, got []queue.Delivery, r resource.Resource) error {
	next, ok := q.f.next(&got[0], r)
	if !ok {
		if err := q.f.commit(work, session, got); err != nil {
			return err
		}
		return q.f.wishes.done(work, &r)
	}
	if err := q.f.commit(work, session, got, next); err != nil {
		q.f.undo([]queue.Message{next})
		return err
	}
	return nil
}

// next is where a resource goes with its result: on, or to an error queue when
// it has ended.
func (f *flow) next(d *queue.Delivery, r resource.Resource) (queue.Message, bool) {
	if f.wishes.of(r.ID).removed {
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
	for i := range got {
		r := got[i].Resource
		q.f.buckets.scope(r.Scope(), nil).giveBack(r.ID)
		q.f.forfeit(&got[i], &r, time.Now())
		r.Unclaim()
		m := got[i].To(QueueAnalyze, r.NotBefore)
		m.Resource = r
		next = append(next, m)
	}
	return q.f.commit(work, session, got, next...)
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
// the response if there is something to publish. An error says that nothing was
// sent.
func (q *Requestor) poll(work context.Context, d *queue.Delivery, r *resource.Resource) (*resource.Response, error) {
	f := q.f
	ctx, cancel := context.WithDeadlineCause(work, minTime(r.ClaimUntil, time.Now().Add(f.cfg.RequestTimeout)), errTimeout)
	defer cancel()
	x := &exchange{scope: r.Scope(), bucket: r.Bucket, jitter: f.jitter.next()}
	before := *r
	got, err := q.fetch(context.WithValue(ctx, exchangeKey{}, x), r, x)
	if err != nil {
		return nil, err
	}
	f.stats.late(got.sent, d.Due)
	bucket := r.Key() // before the answer moves it
	parser := f.http.parserFor(f.buckets.scope(x.scope, nil))
	result := parser.Apply(r, &x.answer, &x.lesson)
	if result.Relocated && !f.mayMove(&before, r) {
		r.URI, result.Relocated = before.URI, false
	}
	if err := f.home(r); err != nil {
		r.State, r.Why, r.Cause = resource.Error, resource.ReasonRequest, err.Error()
	}
	f.stats.polled(result.Outcome, x.hops, int64(len(got.body)))
	f.tell(&before, r, result, &x.lesson)
	f.log.Debug("poll", "id", r.ID, "uri", r.URI, "bucket", bucket.String(), "outcome", result.Outcome.String(),
		"status", x.answer.Status, "wait", time.Until(r.NotBefore).Round(time.Millisecond), "rule", r.Why.Key(), "cause", r.Cause)
	if !result.Publish {
		return nil, nil
	}
	header := x.answer.Header.Clone()
	header.Del("Set-Cookie")
	return &resource.Response{
		Resource: *r, URL: got.url, Status: x.answer.Status, Header: header, Body: got.body, Outcome: result.Outcome,
		Sent: x.answer.Sent, Received: x.answer.Received, Previous: before.Validators,
	}, nil
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
	seen := map[string]bool{}
	for {
		seen[got.url] = true
		resp, err := q.hop(ctx, r, got.url)
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
		allPermanent = allPermanent && (a.Status == http.StatusMovedPermanently || a.Status == http.StatusPermanentRedirect)
		if allPermanent {
			permanent = target
		}
		origin, err := resource.Origin(target)
		switch {
		case err != nil || seen[target] || len(seen) > maxHops:
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
func (q *Requestor) hop(ctx context.Context, r *resource.Resource, target string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, &tokenError{fmt.Errorf("build request: %w", err)}
	}
	profile, err := q.f.profile(r.Profile)
	if err != nil {
		return nil, &tokenError{err}
	}
	maps.Copy(req.Header, profile.Header)
	def := func(name, value string) {
		if req.Header.Get(name) == "" {
			req.Header.Set(name, value)
		}
	}
	def("User-Agent", q.f.cfg.UserAgent)
	switch {
	case r.Origin == resource.GitHubOrigin:
		def("Accept", "application/vnd.github+json")
		def("X-Github-Api-Version", "2022-11-28")
	case r.MediaType != "":
		def("Accept", r.MediaType)
	default:
		def("Accept", "*/*")
	}
	if r.Validators.ETag != "" {
		req.Header["If-None-Match"] = []string{r.Validators.ETag}
	}
	if r.Validators.LastModified != "" {
		req.Header["If-Modified-Since"] = []string{r.Validators.LastModified}
	}
	return q.f.http.RoundTrip(req)
}

// read reads the body and says in a what is wrong with it.
func (q *Requestor) read(resp *http.Response, r *resource.Resource, x *exchange) []byte {
	defer resp.Body.Close()
	a := &x.answer
	var from io.Reader = resp.Body
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") { // of a transport that left it to us
		unzipped, err := gzip.NewReader(resp.Body)
		if err != nil {
			a.Trouble, a.Cause = resource.ReasonBroken, "the body is not gzip as its header says"
			return nil
		}
		from = unzipped
	}
	most := q.f.cfg.MaxBody
	if a.Status != http.StatusOK {
		most = min(most, maxExcerpt) // of interest to nobody
	}
	body, err := io.ReadAll(io.LimitReader(from, most+1))
	a.Finished = time.Now()
	if a.Status != http.StatusOK {
		return nil
	}
	switch {
	case int64(len(body)) > most:
		a.Trouble, a.Cause = resource.ReasonBroken, fmt.Sprintf("the body is longer than %d bytes", most)
		return nil
	case err != nil:
		reason, cause := trouble(err)
		a.Trouble, a.Cause = resource.ReasonBroken, "the body broke off: "+x.clean(cause)
		if reason == resource.ReasonNetwork && errors.Is(err, context.DeadlineExceeded) {
			a.Cause = "the body did not end in time"
		}
		return nil
	case r.MediaType != "" && !sameType(resp.Header.Get("Content-Type"), r.MediaType):
		a.Trouble, a.Cause = resource.ReasonMediaType, fmt.Sprintf("%.100q instead of %s", resp.Header.Get("Content-Type"), r.MediaType)
		return nil
	}
	sum := sha256.Sum256(body)
	a.Digest = max(1, binary.BigEndian.Uint64(sum[:8]))
	return body
}

// sameType compares media types without their parameters (rule S-type).
func sameType(header, want string) bool {
	got, _, err := mime.ParseMediaType(header)
	return err == nil && strings.EqualFold(got, want)
}

// drain reads the little that a redirect may carry, so that its connection can
// be used again.
func drain(body io.ReadCloser) {
	io.Copy(io.Discard, io.LimitReader(body, maxExcerpt))
	body.Close()
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
