package firehose

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
	"github.com/cannedos/cannedos/scheduler"
)

// Publisher hands responses to the Sink, and writes the result of a poll when
// its response was taken. Config.Publishers of them make a pool.
type Publisher struct{ f *flow }

// String names the service.
func (p *Publisher) String() string { return "publisher" }

// Serve publishes until ctx ends, and then what is left, as long as it may. It
// is called by a scheduler.
func (p *Publisher) Serve(ctx context.Context) error {
	work, release := p.f.work(ctx)
	defer release()
	session, err := p.f.queue.Open(work)
	if err != nil {
		return p.f.ending(ctx, err)
	}
	defer session.Close()
	scheduler.Ready(ctx)
	for {
		got, err := session.Receive(ctx, QueuePublish, 1)
		if err != nil {
			if ctx.Err() != nil {
				return p.finish(work, session)
			}
			return p.f.fail(err)
		}
		if err := p.publish(work, session, got); err != nil {
			return p.f.ending(ctx, err)
		}
	}
}

// finish publishes what is ready when the OS stops.
func (p *Publisher) finish(work context.Context, session queue.Session) error {
	depther, ok := queue.As[queue.Depther](p.f.queue)
	for ok && work.Err() == nil {
		depths, err := depther.Depths(work)
		if err != nil || !anyReady(depths, QueuePublish) {
			return nil
		}
		some, cancel := context.WithTimeout(work, 100*time.Millisecond)
		got, err := session.Receive(some, QueuePublish, 1)
		cancel()
		if err != nil {
			return nil
		}
		if err := p.publish(work, session, got); err != nil {
			return nil
		}
	}
	return nil
}

// publish offers one response, and moves its resource on.
func (p *Publisher) publish(work context.Context, session queue.Session, got []queue.Delivery) error {
	f, d := p.f, &got[0]
	r, response := d.Resource, d.Response
	if response == nil { // its body ended with the process that had it
		r.Forfeit(time.Now())
		return p.move(work, session, got, r)
	}
	err := p.offer(work, response)
	if err == nil {
		f.stats.published.Add(1)
		f.credits.done(response)
		r.Owner, r.Claimed, r.ClaimUntil = resource.Owner{}, time.Time{}, time.Time{}
		return p.move(work, session, got, r)
	}
	if work.Err() != nil {
		return context.Cause(work)
	}
	if errors.Is(err, ErrLater) {
		m := d.To(QueuePublish, time.Now().Add(sinkBackoff(0)))
		m.Response = response
		return f.commit(work, session, got, m)
	}
	f.stats.sinkErrors.Add(1)
	attempts := d.Attempts + 1
	f.log.Warn("sink", "id", r.ID, "uri", r.URI, "attempt", attempts, "of", f.cfg.SinkTries, "err", err)
	if attempts >= f.cfg.SinkTries {
		return p.drop(work, session, got, err)
	}
	m := d.To(QueuePublish, time.Now().Add(sinkBackoff(attempts)))
	m.Response, m.Attempts = response, attempts
	return f.commit(work, session, got, m)
}

// sinkBackoff is the wait before a response is offered again.
func sinkBackoff(attempts int) time.Duration {
	return min(100*time.Millisecond<<min(attempts, 16), 30*time.Second)
}

// offer calls the sink and waits for it, in a goroutine of its own, since a sink
// may end the one that it is called in. A panic or a Goexit of the sink is its
// error. One that is deaf to the end of its context keeps its publisher, and
// Health says so.
func (p *Publisher) offer(work context.Context, response *resource.Response) error {
	if p.f.cfg.Sink == nil {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(work, p.f.cfg.SinkTimeout, errSinkTimeout)
	defer cancel()
	deaf := time.AfterFunc(p.f.cfg.SinkTimeout+deafAfter, func() { p.f.stats.deaf.Add(1) })
	taken := make(chan error, 1)
	go func() {
		err := errors.New("firehose: sink: ended its goroutine")
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("firehose: sink: panic: %v", v)
			}
			taken <- err
		}()
		err = p.f.cfg.Sink.Take(ctx, response)
	}()
	err := <-taken
	if !deaf.Stop() {
		p.f.stats.deaf.Add(-1)
	}
	return err
}

// deafAfter is how long after the end of its context a sink counts as deaf.
const deafAfter = time.Second

var errSinkTimeout = errors.New("firehose: sink timeout")

// drop gives a response up. Its resource is parked in publish-error with the
// validators that it had before, so that a replay asks for the same again.
func (p *Publisher) drop(work context.Context, session queue.Session, got []queue.Delivery, cause error) error {
	f, d := p.f, &got[0]
	r := d.Resource
	r.Owner, r.Claimed, r.ClaimUntil = resource.Owner{}, time.Time{}, time.Time{}
	r.Validators, r.Digest = d.Response.Previous, 0
	r.State, r.Why, r.Cause = resource.Parked, resource.ReasonSink, "the sink did not take the response"
	f.credits.done(d.Response)
	f.notify(EventDropped, &r, cause.Error())
	if f.wishes.of(r.ID).removed {
		return f.retire(work, session, got, &r)
	}
	return f.commit(work, session, got, f.bury(d, r, QueuePublishError, "sink: "+cause.Error()))
}

func (p *Publisher) move(work context.Context, session queue.Session, got []queue.Delivery, r resource.Resource) error {
	next, ok := p.f.next(&got[0], r)
	if !ok {
		return p.f.retire(work, session, got, &r)
	}
	if err := p.f.commit(work, session, got, next); err != nil {
		p.f.undo([]queue.Message{next})
		return err
	}
	return nil
}
