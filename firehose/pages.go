package firehose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// walk asks for the pages that are left, and publishes all of them as one.
func (q *Requestor) walk(work context.Context, session queue.Session, got []queue.Delivery, w *walk) error {
	f, d := q.f, &got[0]
	mine := true
	defer func() {
		if mine {
			f.credits.done(w.first)
		}
	}()
	for w.next != nil && w.cut == "" {
		if wish := f.wishes.of(d.Resource.ID); wish.paused || wish.removed {
			w.cut = unwanted
			break
		}
		if time.Until(d.Resource.ClaimUntil) < f.cfg.RequestTimeout/2 { // the claim is too old for one more
			mine = false
			return q.suspend(work, session, got, w)
		}
		if err := q.page(work, d, w); err != nil {
			mine = false
			return q.suspend(work, session, got, w)
		}
	}
	mine = false
	return q.publish(work, session, got, w)
}

// publish hands a poll with its pages to the sink.
func (q *Requestor) publish(work context.Context, session queue.Session, got []queue.Delivery, w *walk) error {
	d, r, response := &got[0], w.rested, w.first
	published := false
	defer func() {
		if !published {
			q.f.credits.done(response)
		}
	}()
	q.f.buckets.scope(d.Resource.Scope(), nil).giveBack(r.ID)
	response.Cut, response.Resource = w.cut, r
	// The claim stays until the sink has taken the response: what is written
	// until then says that the answer is not safe.
	r.Owner, r.Claimed, r.ClaimUntil = d.Resource.Owner, d.Resource.Claimed, d.Resource.ClaimUntil
	r.Version = d.Resource.Version // it was moved while the walk waited
	m := d.To(QueuePublish, time.Time{})
	m.Resource, m.Response, m.Attempts = r, response, 0
	err := q.f.commit(work, session, got, m)
	published = err == nil
	return err
}

// suspend puts the resource of a walk back into the flow, until the next page may
// be asked for.
func (q *Requestor) suspend(work context.Context, session queue.Session, got []queue.Delivery, w *walk) error {
	f, d := q.f, &got[0]
	r := d.Resource
	if w.rested.Scope() == r.Scope() {
		r.Bucket = w.rested.Bucket // as the first answer has named it
	}
	if !f.credits.wait(w.first) {
		w.cut = "too many readings wait for their next page already"
		return q.publish(work, session, got, w)
	}
	w.claimed, w.renewed = r.Claimed, time.Time{}
	f.walks.put(r.ID, w)
	f.buckets.scope(r.Scope(), nil).giveBack(r.ID)
	return q.move(work, session, got, r)
}

// hurry publishes what the walks have brought that still wait when the OS stops:
// nobody would let them go on, and after a restart their feeds wait their interval.
func (q *Requestor) hurry(work context.Context, session queue.Session) error {
	f := q.f
	for _, id := range f.walks.all() {
		d, ok, err := f.takeIf(work, session, id, f.waits)
		if err != nil {
			return err
		}
		if !ok {
			continue // another worker has it
		}
		if isLine(d.Queue) {
			f.buckets.scope(d.Resource.Scope(), nil).leave(d.Queue)
		}
		got := []queue.Delivery{d}
		if w, _ := f.resume(&d.Resource); w != nil {
			w.cut = stopping
			err = q.publish(work, session, got, w)
		} else {
			err = f.commit(work, session, got, d.To(d.Queue, d.Due))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// page asks for the next page of a walk and takes its answer over. An error says
// that nothing was sent.
func (q *Requestor) page(work context.Context, d *queue.Delivery, w *walk) error {
	f, child := q.f, *w.next
	ctx, cancel := context.WithDeadlineCause(work, minTime(d.Resource.ClaimUntil, time.Now().Add(f.cfg.RequestTimeout)), errTimeout)
	defer cancel()
	child.Bucket = w.rested.Bucket
	before := child
	got, x, err := q.ask(ctx, &child, d.Resource.ID, f.buckets.scope(child.Scope(), nil))
	if err != nil {
		return err
	}
	result := f.http.parser.Apply(&child, &x.answer, &x.lesson)
	x.keepVariant(&child, result.Outcome)
	f.stats.page(x.hops, int64(len(got.body)))
	f.log.Debug("page", "id", d.Resource.ID, "uri", child.URI, "outcome", result.Outcome.String(), "status", x.answer.Status, "cause", child.Cause)
	w.rested.Bucket = child.Bucket
	w.rest(&child, &x.answer)
	switch {
	case result.Outcome == resource.Modified || result.Outcome == resource.NotModified:
	case pastTheEnd(x.answer.Status):
		w.next = nil
		return nil
	case result.Outcome == resource.Limited:
		f.notify(EventLimited, &child, x.lesson.Kind.String()+" limit: "+x.lesson.Evidence)
		fallthrough
	default:
		w.cut = fmt.Sprintf("page %d: %s: %s", len(w.first.Pages)+2, result.Outcome, cmp.Or(child.Cause, "no content"))
		return nil
	}
	child.URI = before.URI // a page is where the one before it says, however often it is moved
	w.first.Pages = append(w.first.Pages, f.response(&child, &before, got, x, result))
	f.credits.resize(w.first)
	if w.next, err = f.follow(ctx, w.first); err != nil {
		if !errors.Is(err, errTooManyPages) {
			w.first.Pages = w.first.Pages[:len(w.first.Pages)-1]
			f.credits.resize(w.first)
		}
		w.cut = x.clean(err.Error())
	}
	return nil
}

// rest makes the feed wait for what the answer to a page asks for: no page is asked
// for again before its own answer allows it, or before its failure may have passed.
// That there is none behind the last one is no failure.
func (w *walk) rest(child *resource.Resource, a *resource.Answer) {
	if !child.NotBefore.After(w.rested.NotBefore) || a.Status == http.StatusNotFound && a.Header.Get("Retry-After") == "" {
		return
	}
	w.rested.NotBefore, w.rested.State, w.rested.Why = child.NotBefore, child.State, child.Why
	if child.State == resource.Error || child.State == resource.Gone { // the page has ended, and not the feed
		w.rested.State, w.rested.Why = resource.WaitingForInterval, resource.ReasonInterval
	}
}

// pastTheEnd reports whether a status says that there is no such page: the feed
// ends before it, which is no error (rule E-1).
func pastTheEnd(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusGone, http.StatusUnprocessableEntity, http.StatusNoContent:
		return true
	}
	return false
}
