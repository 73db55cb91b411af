package firehose_test

import (
	"crypto/x509"
	"time"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// always answers every call alike.
func always(r reply) func(call) reply { return func(call) reply { return r } }

// situationsOfAnswers are waits that an answer, or the lack of one, has left to
// its resource.
func situationsOfAnswers() []situation {
	frozen := func(name string, r reply, why resource.Reason, least, most time.Duration, text string) situation {
		return situation{
			name: name, answer: always(r), why: why, kind: resource.At, bucket: "https://a.test", service: "freezer-1000",
			least: least, most: most, text: "https://a.test/a: " + text + "; in queue frozen-1000",
		}
	}
	feed := reply{
		header: map[string]string{"Content-Type": "application/rss+xml"},
		body:   `<?xml version="1.0"?><rss version="2.0"><channel><title>x</title><ttl>30</ttl></channel></rss>`,
	}
	const s, m = time.Second, time.Minute
	all := []situation{
		frozen("interval", status(200), resource.ReasonInterval, 50*s, 50*s,
			"waiting-for-interval, until THEN: the interval asked for [G-3]"),
		frozen("poll interval", status(200, "X-Poll-Interval", "90"), resource.ReasonPollInterval, 80*s, 80*s,
			"waiting-for-interval, until THEN: the origin's X-Poll-Interval [G-1]"),
		frozen("fresh", status(200, "Cache-Control", "max-age=300"), resource.ReasonFresh, 290*s, 290*s,
			"waiting-for-interval, until THEN: still fresh by Cache-Control or Expires [C-3]"),
		frozen("retry-after of a 200", status(200, "Retry-After", "100"), resource.ReasonRetryAfter, 90*s, 90*s,
			"waiting-for-interval, until THEN: the origin's Retry-After [H-1]"),
		frozen("not ready", status(202), resource.ReasonNotReady, 50*s, 50*s,
			"waiting-for-interval, until THEN: accepted, not ready [S-202]"),
		frozen("feed", feed, resource.ReasonFeed, 29*m, 30*m,
			"waiting-for-interval, until THEN: what the feed says of its own interval [L-Feeds]"),
		frozen("server", status(502), resource.ReasonServer, 50*s, 50*s,
			"waiting-for-server-alive, until THEN: failure of the origin [S-500] (status 502: failure of the origin)"),
		frozen("network", reply{err: errReset}, resource.ReasonNetwork, 50*s, 50*s,
			"waiting-for-server-alive, until THEN: no answer [S-net] (connection reset by peer)"),
		frozen("certificate", reply{err: x509.UnknownAuthorityError{}}, resource.ReasonTLS, 100*s, 3*m,
			"waiting-for-server-alive, until THEN: certificate not accepted [S-net] (x509: certificate signed by unknown authority)"),
		frozen("timeout", status(408), resource.ReasonTimeout, 50*s, 50*s,
			"waiting-for-server-alive, until THEN: the origin gave up waiting [S-408] (status 408: the origin gave up waiting)"),
		frozen("not found", status(404), resource.ReasonNotFound, 100*s, 3*m,
			"waiting-for-server-alive, until THEN: not found [S-404] (status 404: not found)"),
		frozen("gone, unconfirmed", status(410), resource.ReasonGone, 50*s, 50*s,
			"waiting-for-interval, until THEN: gone [S-410] (status 410, to be confirmed)"),
		frozen("redirect to itself", status(301, "Location", "/a"), resource.ReasonMoved, 100*s, 3*m,
			"waiting-for-server-alive, until THEN: moved into another scope [S-301] (redirect 301 leads nowhere, in a circle or too far)"),
		frozen("broken", reply{body: "half", tail: errReset}, resource.ReasonBroken, 50*s, 50*s,
			"waiting-for-server-alive, until THEN: incomplete, too large or undecodable body [D-17] (the body broke off: connection reset by peer)"),
		frozen("304 without a condition", status(304), resource.ReasonProtocol, 50*s, 50*s,
			"waiting-for-server-alive, until THEN: an answer that the request did not allow [H-9] (status 304: an answer that the request did not allow)"),
	}
	media := frozen("media type", ok("<html>", ""), resource.ReasonMediaType, 100*s, 3*m,
		`waiting-for-server-alive, until THEN: another media type than declared [S-type] ("" instead of application/json)`)
	media.config.Resources = []resource.Spec{{URI: uriA, MediaType: "application/json"}}
	token := frozen("no token", ok("", ""), resource.ReasonToken, 100*s, 3*m,
		`waiting-for-server-alive, until THEN: no token to be had for the credential [S-401] (firehose: not sent: resource: credential "key" for "https://a.test": not meant for it)`)
	token.bucket = "key@https://a.test"
	token.config = firehose.Config{
		Resources: []resource.Spec{{URI: uriA, Profile: "p"}}, Profiles: map[string]resource.Profile{"p": {Credential: "key"}},
	}
	return append(all, media, token)
}

// situationsOfLimits are rejections, as the resource that has met them waits.
func situationsOfLimits() []situation {
	const hub = "https://api.github.com/x"
	limited := func(name, who string, r reply, why resource.Reason, bucket string, wait time.Duration, text string) situation {
		return situation{
			name: name, answer: always(r), config: firehose.Config{Resources: resource.List(who)}, who: who, why: why, kind: resource.At, bucket: bucket,
			service: "freezer-1000", least: wait - 10*time.Second, most: wait - 10*time.Second, text: who + ": " + text + "; in queue frozen-1000",
		}
	}
	all := []situation{
		limited("primary", hub, quota(status(403), "core", 60, 0, 10*time.Minute), resource.ReasonPrimary, "https://api.github.com#core", 601*time.Second,
			"waiting-for-reset, until THEN: primary rate limit: nothing remains before the reset [G-12] (x-ratelimit-remaining 0); bucket https://api.github.com#core"),
		limited("secondary", hub, quota(status(403, "Retry-After", "120"), "core", 60, 9, 10*time.Minute), resource.ReasonSecondary, "https://api.github.com", 120*time.Second,
			"waiting-for-reset, until THEN: secondary rate limit [G-13] (status 403, retry-after); bucket https://api.github.com"),
		limited("overload", uriA, status(429, "Retry-After", "90"), resource.ReasonOverload, "https://a.test", 90*time.Second,
			"waiting-for-reset, until THEN: too many requests, or overloaded [S-429] (status 429, retry-after); bucket https://a.test"),
		limited("parked beyond the cap", uriA, status(503, "Retry-After", "7200"), resource.ReasonOverload, "https://a.test", 2*time.Hour,
			"parked, until THEN: too many requests, or overloaded [S-429] (status 503, retry-after); bucket https://a.test"),
		limited("a limit of its own", uriA, status(429, "Retry-After", "90"), resource.ReasonOverload, "", 90*time.Second,
			"waiting-for-reset, until THEN: too many requests, or overloaded [S-429] (status 429, retry-after)"),
		limited("refused without a credential", uriA, status(401), resource.ReasonCredential, "", 2*time.Minute,
			"waiting-for-server-alive, until THEN: the origin does not accept the credential [S-401] (status 401: the origin does not accept the credential)"),
		limited("refused credential", "https://k.test/x", status(401), resource.ReasonCredential, "key@https://k.test", 2*time.Minute,
			"waiting-for-server-alive, until THEN: the origin does not accept the credential [S-401] (status 401: the origin does not accept the credential); bucket key@https://k.test"),
	}
	for i := range all {
		switch all[i].name {
		case "a limit of its own":
			all[i].config.Profiles = map[string]resource.Profile{"": {Alone: true}}
			all[i].most += 9 * time.Second // of jitter
		case "refused credential", "refused without a credential":
			all[i].most += time.Minute
		}
		if all[i].name == "refused credential" {
			all[i].config.Profiles = map[string]resource.Profile{"p": {Credential: "key"}}
			all[i].config.Resources[0].Profile = "p"
		}
	}
	return all
}
