package resource_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// The life of a resource: it is ready at once, and an answer says when it may be
// asked for again.
func Example() {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	r, err := resource.New(resource.Spec{URI: "https://api.github.com/events"}, "GITHUB_TOKEN")
	if err != nil {
		fmt.Println(err)
		return
	}
	var scope resource.Bucket
	snapshot := func() *resource.Snapshot {
		return &resource.Snapshot{Scope: scope, Quota: resource.Bucket{Answered: true}}
	}
	fmt.Println(resource.Explain(&r, snapshot(), now))

	answer := resource.Answer{
		Origin: r.Origin, Status: http.StatusOK, Sent: now, Received: now.Add(200 * time.Millisecond),
		Header: http.Header{"Etag": {`W/"7a3f"`}, "X-Poll-Interval": {"60"}},
	}
	var parser resource.Parser
	scope.Take()
	lesson := parser.Lesson(&answer)
	own, _ := lesson.Split(false)
	scope.Settle(&own, answer.Sent, answer.Received, false)
	result := parser.Apply(&r, &answer, &lesson)
	fmt.Println(result.Outcome, r.Validators.ETag)
	fmt.Println(resource.Explain(&r, snapshot(), now.Add(time.Second)))
	// Output:
	// https://api.github.com/events: idle, may be requested now: never requested [D-15]
	// modified W/"7a3f"
	// https://api.github.com/events: waiting-for-interval, until 2026-01-01T12:01:00.200Z (in 59.2s): the origin's X-Poll-Interval [G-1]
}

// Every state in one line.
func ExampleExplain() {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	later := now.Add(90 * time.Second)
	open := resource.Bucket{Answered: true}
	explain := func(r resource.Resource, scope, quota resource.Bucket) {
		r.URI, r.Origin, r.Bucket = "https://api.example.com/a", "https://api.example.com", "core"
		fmt.Println(resource.Explain(&r, &resource.Snapshot{Scope: scope, Quota: quota}, now))
	}
	in := func(state resource.State, why resource.Reason) resource.Resource {
		return resource.Resource{State: state, Why: why, NotBefore: later, Polls: 1}
	}

	explain(resource.Resource{Polls: 1}, open, open)
	explain(in(resource.WaitingForInterval, resource.ReasonFresh), open, open)
	explain(in(resource.WaitingForServerAlive, resource.ReasonNetwork), open, open)

	parked := in(resource.Parked, resource.ReasonRetryAfter)
	parked.Cause = "the origin asked for a wait beyond the cap"
	explain(parked, open, open)

	owned := resource.Resource{State: resource.HasOwner, ClaimUntil: now.Add(30 * time.Second)}
	owned.Owner = resource.Owner(resource.DeriveID(resource.ID{}, "a run"))
	explain(owned, open, open)

	explain(in(resource.Paused, resource.ReasonPaused), open, open)

	failed := in(resource.Error, resource.ReasonForbidden)
	failed.Cause = "status 403"
	explain(failed, open, open)
	explain(in(resource.Gone, resource.ReasonGone), open, open)

	due := resource.Resource{Polls: 1}
	explain(due, resource.Bucket{Answered: true, Park: later, Why: resource.ReasonSecondary}, open)
	explain(due, open, resource.Bucket{Answered: true, Known: true, Reset: later})
	explain(due, open, resource.Bucket{InFlight: 1})

	// A request after the reset that brought no word.
	edge := resource.Bucket{Answered: true, Known: true, Reset: now.Add(-time.Hour)}
	edge.Take()
	edge.Settle(&resource.Lesson{Failure: true}, now, now, false)
	explain(due, open, edge)
	// Output:
	// https://api.example.com/a: idle, may be requested now: every wait is over [G-3]
	// https://api.example.com/a: waiting-for-interval, until 2026-01-01T12:01:30.000Z (in 1m30s): still fresh by Cache-Control or Expires [C-3]
	// https://api.example.com/a: waiting-for-server-alive, until 2026-01-01T12:01:30.000Z (in 1m30s): no answer [S-net]
	// https://api.example.com/a: parked, until 2026-01-01T12:01:30.000Z (in 1m30s): the origin's Retry-After [H-1] (the origin asked for a wait beyond the cap)
	// https://api.example.com/a: has-owner, until 2026-01-01T12:01:30.000Z (in 1m30s): a request is under way [D-4]; held by 7dd371a4-dff3-843e-b8b5-489276d35491
	// https://api.example.com/a: paused, until it is resumed: paused by the user [D-3]
	// https://api.example.com/a: error, will not be requested again by itself: forbidden, and not by a limit [S-403] (status 403)
	// https://api.example.com/a: gone, will not be requested again by itself: gone [S-410]
	// https://api.example.com/a: waiting-for-reset, until 2026-01-01T12:01:30.000Z (in 1m30s): secondary rate limit [G-13]; bucket https://api.example.com
	// https://api.example.com/a: waiting-for-reset, until 2026-01-01T12:01:31.000Z (in 1m31s): primary rate limit: nothing remains before the reset [G-12]; bucket https://api.example.com#core
	// https://api.example.com/a: waiting-for-reset, until an answer in flight arrives: one request alone finds out how things stand [D-4]; bucket https://api.example.com#core
	// https://api.example.com/a: edge-error, until 2026-01-01T12:01:00.000Z (in 1m0s): limit reached, reset past, asked since, and no word [S-edge]; bucket https://api.example.com#core
}

// A dialect of one's own: how an origin speaks of its limits, in twenty lines.
func ExampleDialect() {
	acme := resource.Dialect{
		Name: "acme", Concurrency: 2,
		Detect: func(origin string, h http.Header) string {
			if h.Get("Acme-Calls-Left") == "" {
				return ""
			}
			return "Acme-Calls-Left"
		},
		Read: func(a *resource.Answer, l *resource.Lesson) {
			limit, ok1 := a.Count("Acme-Calls")
			left, ok2 := a.Count("Acme-Calls-Left")
			wait, ok3 := a.Seconds("Acme-Calls-Renew")
			if ok1 && ok2 && ok3 {
				l.QuotaFor(a, limit, left, wait)
			}
			l.Reject(a) // 429 and the like, with Retry-After or without
		},
	}
	parser := resource.Parser{Dialects: append([]resource.Dialect{acme}, resource.Dialects()...)}

	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	lesson := parser.Lesson(&resource.Answer{
		Origin: "https://api.acme.example", Status: http.StatusTooManyRequests, Received: now,
		Header: http.Header{"Acme-Calls": {"50"}, "Acme-Calls-Left": {"0"}, "Acme-Calls-Renew": {"12.5"}},
	})
	fmt.Printf("%s, known by %s: %d of %d left for %v\n", lesson.Dialect, lesson.Because, lesson.Remaining, lesson.Limit, lesson.Reset.Sub(now))
	fmt.Printf("%s limit (%s), until a second after that: %v\n", lesson.Kind, lesson.Evidence, lesson.Until.Sub(now))
	// Output:
	// acme, known by Acme-Calls-Left: 0 of 50 left for 13s
	// primary limit (status 429, nothing remains), until a second after that: 14s
}

// A feed says when it is worth reading: every two hours, and not at night.
func ExampleFeedHint() {
	hint, ok := resource.FeedHint([]byte(`<rss version="2.0"><channel><title>News</title><ttl>120</ttl>
		<skipHours><hour>0</hour><hour>1</hour><hour>2</hour><hour>3</hour></skipHours>
		<item><title>It happened</title></item></channel></rss>`))
	night := time.Date(2026, 1, 1, 1, 30, 0, 0, time.UTC)
	fmt.Println(ok, hint.Interval, hint.Next(night).Format(time.TimeOnly))
	// Output:
	// true 2h0m0s 04:00:00
}

func ExampleList() {
	for _, spec := range resource.List("https://api.github.com/events", "https://example.com/feed.xml") {
		fmt.Println(spec.URI, spec.Validate())
	}
	// Output:
	// https://api.github.com/events <nil>
	// https://example.com/feed.xml <nil>
}

func ExampleSpec() {
	spec := resource.Spec{URI: "https://example.com/feed.xml", Interval: 90 * time.Second, MediaType: "application/rss+xml"}
	text, _ := json.Marshal(spec)
	fmt.Println(string(text))

	spec.Interval = -time.Second
	fmt.Println(spec.Validate())
	// Output:
	// {"uri":"https://example.com/feed.xml","interval":"1m30s","media_type":"application/rss+xml"}
	// resource: Interval: -1s: want 0 to 8784h0m0s
}

func ExampleRetryAfter() {
	received := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, value := range []string{"120", "1.5", "Thu, 01 Jan 2026 12:05:00 GMT", "-1", "1767272400"} {
		until, odd, ok := resource.RetryAfter(value, received, received)
		if !ok {
			fmt.Println(value, "=> ignored")
			continue
		}
		fmt.Printf("%s => %v %q\n", value, until.Sub(received), odd)
	}
	// Output:
	// 120 => 2m0s ""
	// 1.5 => 2s ""
	// Thu, 01 Jan 2026 12:05:00 GMT => 5m0s ""
	// -1 => ignored
	// 1767272400 => 1h0m0s "Unix seconds in Retry-After"
}

func ExampleEnv() {
	source := resource.Env("GITHUB_TOKEN")
	fmt.Println(source.Credential("https://api.github.com"))
	fmt.Printf("%q\n", source.Credential("https://elsewhere.example"))
	// Output:
	// GITHUB_TOKEN
	// ""
}
