package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// preview asks what would happen to a resource. The queue is a real one; the
// answers are made up; deciding and learning are pure functions, which take the
// instant as an argument, so nothing is sent and nothing waits.
func preview(ctx context.Context, stdout io.Writer) error {
	q, err := queue.NewMemory(queue.MemoryConfig{})
	if err != nil {
		return err
	}
	defer q.Close()
	session, err := q.Open(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	r, err := resource.New(resource.Spec{URI: "https://api.github.com/events"}, "")
	if err != nil {
		return err
	}
	if err := session.Commit(ctx, nil, queue.Message{Queue: "analyze", Resource: r}); err != nil {
		return err
	}
	got, err := session.Receive(ctx, "analyze", 1)
	if err != nil {
		return err
	}
	r = got[0].Resource

	now := time.Now()
	var known resource.Snapshot // of the buckets that r draws from: nothing so far
	fmt.Fprintln(stdout, resource.Explain(&r, &known, now))

	// A 200 says when to come back, and that it was the last request allowed.
	answer := resource.Answer{Origin: r.Origin, Status: http.StatusOK, Sent: now, Received: now, Header: http.Header{
		"Etag":                  {`"1"`},
		"X-Poll-Interval":       {"60"},
		"X-Ratelimit-Limit":     {"60"},
		"X-Ratelimit-Remaining": {"0"},
		"X-Ratelimit-Reset":     {fmt.Sprint(now.Add(10 * time.Minute).Unix())},
	}}
	var parser resource.Parser
	lesson := parser.Lesson(&answer)
	parser.Apply(&r, &answer, &lesson)
	known.Scope.Take()
	known.Scope.Settle(&lesson, now, now, false)
	known.Quota.Answered = true // there is no quota beside that of the scope
	fmt.Fprintln(stdout, resource.Explain(&r, &known, now))

	// A minute later the interval is over, and the limit is not.
	later := now.Add(time.Minute)
	fmt.Fprintln(stdout, resource.Explain(&r, &known, later))

	// Decide is the same for programs. The session moves the resource on.
	sorter, err := queue.NewTimingSorter(queue.DefaultTiers()...)
	if err != nil {
		return err
	}
	decision := resource.Decide(&r, &known, now)
	next := got[0].To(sorter.Sort(decision.At.Sub(now)), decision.At)
	next.Resource = r
	if err := session.Commit(ctx, got, next); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "parked in %s until then, with %s for the next request\n", next.Queue, next.Resource.Validators.ETag)
	return nil
}
