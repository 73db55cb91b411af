package firehose_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// stuckSink takes nothing before the end of its context.
var stuckSink = firehose.SinkFunc(func(ctx context.Context, _ *resource.Response) error {
	<-ctx.Done()
	return context.Cause(ctx)
})

// situationsOfTheFlow are those of requests under way, of the sink, and of what
// users want.
func situationsOfTheFlow() []situation {
	const s = time.Second
	slow := always(slowReply(status(200), 25*s))
	claimed := func(name, who string, held bool, text string) situation {
		where := "; held by OWNER; in queue requests"
		if held {
			where += ", in the hands of the requestor"
		}
		return situation{
			name: name, who: who, answer: slow, why: resource.ReasonClaimed, kind: resource.At, bucket: "https://a.test", service: "requestor",
			held: held, owned: true, least: 81 * s, most: 81 * s, text: who + ": has-owner, until THEN: a request is under way [D-4]" + text + where,
		}
	}
	busy := claimed("no worker is free", "https://c.test/c", false, " (not sent yet: every worker is busy)")
	busy.bucket, busy.list, busy.config.Workers = "https://c.test", []string{uriC}, 1

	behind := claimed("the sink is behind", uriC, false, " (not sent yet: as much waits for the sink as may)")
	behind.answer, behind.bucket, behind.list = always(ok("x", "")), "https://c.test", []string{uriC}
	behind.config = firehose.Config{PublishCount: 1, Workers: 1, Sink: stuckSink}

	publish := func(name string, held bool, why string) situation {
		where := "; held by OWNER; in queue publish"
		if held {
			where += ", in the hands of the publisher"
		}
		return situation{
			name: name, answer: always(ok("x", "")), config: firehose.Config{Sink: stuckSink}, why: resource.ReasonSink, kind: resource.At,
			bucket: "https://a.test", service: "publisher", held: held, owned: true,
			text: "https://a.test/a: has-owner, until " + why + ": not taken by the sink [D-11]" + where,
		}
	}
	waits := publish("waiting for the sink", false, "the sink has taken its response")
	waits.list, waits.who, waits.bucket = []string{uriC}, uriC, "https://c.test"
	waits.text = "https://c.test/c" + waits.text[len(uriA):]
	waits.answer = func(c call) reply { // the other one is first
		if c.URL == uriC {
			return slowReply(ok("x", ""), s)
		}
		return ok("x", "")
	}
	again := publish("to be offered again", false, "THEN")
	again.config = firehose.Config{SinkTries: 20, Sink: firehose.SinkFunc(func(context.Context, *resource.Response) error { return errors.New("full") })}
	again.least, again.most = 1, 13*s

	pause := func(t *testing.T, r *rig) {
		until(s)
		require.NoError(t, r.Pause(t.Context(), idOf(t, uriA)))
		synctest.Wait()
	}
	paused := situation{
		name: "paused", answer: always(status(404)), before: pause, why: resource.ReasonPaused, kind: resource.At, bucket: "https://a.test",
		service: "freezer-1000",
		text:    "https://a.test/a: paused, until it is resumed: paused by the user [D-3] (status 404: not found); in queue frozen-1000",
	}
	underWay := claimed("paused while its request is under way", uriA, true, "")
	underWay.before = pause

	hop := situation{
		name: "a redirect into a parked scope", list: []string{uriC}, who: uriA, answer: func(c call) reply {
			switch {
			case c.URL == uriC:
				return status(429, "Retry-After", "1000")
			case c.n == 0:
				return slowReply(status(307, "Location", uriC), s)
			}
			return status(200)
		},
		why: resource.ReasonOverload, kind: resource.Line, bucket: "https://c.test", service: "gate", held: true, least: 990 * s, most: 1020 * s,
		text: "https://a.test/a: waiting-for-reset, until THEN: too many requests, or overloaded [S-429]; bucket https://c.test; in queue line/https://c.test, in the hands of the gate",
	}
	return []situation{
		claimed("in flight", uriA, true, ""), busy, behind, publish("in the hands of the sink", true, "the sink has taken its response"),
		waits, again, paused, underWay, hop,
	}
}

// situationsOfTheEnd are those of resources that are not requested again by
// themselves.
func situationsOfTheEnd() []situation {
	buried := func(name string, r reply, why resource.Reason, text string) situation {
		return situation{
			name: name, answer: always(r), why: why, kind: resource.Fault, bucket: "https://a.test",
			text: "https://a.test/a: " + text + "; in queue requests-error",
		}
	}
	const end = "error, will not be requested again by itself: "
	gone := buried("gone", status(410), resource.ReasonGone, "gone, will not be requested again by itself: gone [S-410] (status 410, confirmed)")
	gone.when = 2 * time.Minute
	secondary := buried("given up", status(429), resource.ReasonSecondary, end+"secondary rate limit [G-13] (8 secondary limits in a row: status 429)")
	secondary.config.Profiles, secondary.when = map[string]resource.Profile{"": {Dialect: "github"}}, 6*time.Hour
	dropped := buried("dropped by the sink", ok("x", ""), resource.ReasonSink, "")
	dropped.config = firehose.Config{SinkTries: 1, Sink: firehose.SinkFunc(func(context.Context, *resource.Response) error { return errors.New("never") })}
	dropped.text = "https://a.test/a: parked, will not be requested again by itself: not taken by the sink [D-11] (sink: never); in queue publish-error"
	return []situation{
		buried("request", status(400), resource.ReasonRequest, end+"the origin does not accept the request [S-400] (status 400: the origin does not accept the request)"),
		buried("forbidden", status(403), resource.ReasonForbidden, end+"forbidden, and not by a limit [S-403] (status 403: forbidden, and not by a limit)"),
		buried("legal", status(451), resource.ReasonLegal, end+"unavailable for legal reasons [S-451] (status 451: unavailable for legal reasons)"),
		gone, secondary, dropped,
	}
}
