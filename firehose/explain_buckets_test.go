package firehose_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// inLine is a situation of a resource at an origin of several, which waits in the
// line of the named bucket.
func inLine(name, who, bucket string, answer func(call) reply, why resource.Reason, text string) situation {
	queue := "line/" + bucket
	held := "; in queue " + queue + ", in the hands of the gate"
	return situation{
		name: name, answer: answer, who: who, why: why, kind: resource.Line, bucket: bucket, service: "gate", held: true,
		text: who + ": " + text + "; bucket " + bucket + held,
	}
}

// situationsOfBuckets are waits in the line of a bucket.
func situationsOfBuckets() []situation {
	const hub, hubB = "https://api.github.com/a", "https://api.github.com/b"
	const core = "https://api.github.com#core"
	one := map[string]resource.Profile{"": {Concurrency: 1}}
	slow := always(slowReply(status(200), 25*time.Second))
	// The first call of a is answered at once; those after it are slow.
	later := func(c call) reply {
		if c.URL == uriA && c.n == 0 {
			return status(200)
		}
		return slowReply(status(200), 25*time.Second)
	}

	primary := inLine("line of a spent quota", hubB, core, always(quota(ok("", ""), "core", 60, 0, 10*time.Minute)), resource.ReasonPrimary,
		"waiting-for-reset, until THEN: primary rate limit: nothing remains before the reset [G-12]")
	primary.config.Resources, primary.least, primary.most = resource.List(hub, hubB), 591*time.Second, 621*time.Second

	reserve := inLine("reserve", hubB, core, always(quota(ok("", ""), "core", 60, 30, 10*time.Minute)), resource.ReasonReserve,
		"waiting-for-reset, until THEN: what remains is reserved [G-9]")
	reserve.config = firehose.Config{Resources: resource.List(hub, hubB), Profiles: map[string]resource.Profile{"": {Reserve: 30}}}
	reserve.least, reserve.most = 591*time.Second, 621*time.Second

	secondary := inLine("line of a parked scope", hubB, "https://api.github.com", func(c call) reply {
		if c.URL == hub {
			return reply{status: 403, body: "You have exceeded a secondary rate limit."}
		}
		return ok("", "")
	}, resource.ReasonSecondary, "waiting-for-reset, until THEN: secondary rate limit [G-13]")
	secondary.config.Resources, secondary.least, secondary.most = resource.List(hub, hubB), 50*time.Second, 56*time.Second

	concurrency := inLine("concurrency", uriB, "https://a.test", later, resource.ReasonConcurrency,
		"waiting-for-reset, until an answer in flight arrives: as many requests in flight as allowed [G-11]")
	concurrency.config = firehose.Config{Profiles: one, Resources: []resource.Spec{
		{URI: uriA, Interval: time.Second}, {URI: "https://a.test/c", Interval: 2 * time.Hour}, {URI: uriB, Interval: 2 * time.Hour},
	}}
	concurrency.when = 5 * time.Second

	probe := inLine("the first answer is on its way", uriB, "https://a.test", slow, resource.ReasonProbe,
		"waiting-for-reset, until an answer in flight arrives: one request alone finds out how things stand [D-4]")
	probe.list = []string{uriB}

	pace := inLine("declared rate", uriB, "https://a.test", always(status(200)), resource.ReasonPace,
		"waiting-for-reset, until THEN: the rate declared or documented for this bucket, or its quota spread over the window [G-10]")
	pace.list, pace.least, pace.most = []string{uriB}, 50*time.Second, 50*time.Second
	pace.config.Profiles = map[string]resource.Profile{"": {Limit: resource.Limit{Requests: 60, Per: time.Hour}}}

	spread := inLine("a quota that is spread", hubB, core, always(quota(ok("", ""), "core", 60, 10, 10*time.Minute)), resource.ReasonPace,
		"waiting-for-reset, until THEN: the rate declared or documented for this bucket, or its quota spread over the window [G-10]")
	spread.config = firehose.Config{Resources: resource.List(hub, hubB, hub+"/2"), Profiles: map[string]resource.Profile{"": {Spread: true}}}
	spread.who, spread.least, spread.most = hub+"/2", 1, time.Minute
	spread.text = strings.Replace(spread.text, hubB, hub+"/2", 1)

	edge := inLine("no word after the reset", hub, core, func(c call) reply {
		if c.n == 0 && c.URL == hub {
			return quota(ok("", ""), "core", 60, 0, 5*time.Second)
		}
		return status(502)
	}, resource.ReasonEdge, "edge-error, until THEN: limit reached, reset past, asked since, and no word [S-edge] (status 502: failure of the origin)")
	edge.config.Resources = []resource.Spec{{URI: hub, Interval: time.Second}}
	edge.when, edge.least, edge.most = 15*time.Second, 40*time.Second, 66*time.Second

	credential := inLine("line of a refused credential", "https://k.test/b", "key@https://k.test", always(status(401)), resource.ReasonCredential,
		"waiting-for-reset, until THEN: the origin does not accept the credential [S-401]")
	credential.config = firehose.Config{
		Resources: []resource.Spec{{URI: "https://k.test/a", Profile: "p"}, {URI: "https://k.test/b", Profile: "p"}},
		Profiles:  map[string]resource.Profile{"p": {Credential: "key"}},
	}
	credential.least, credential.most = 59*time.Minute, 61*time.Minute

	return []situation{primary, reserve, secondary, concurrency, probe, pace, spread, edge, credential, ofSeveralPolicies()}
}

// ofSeveralPolicies is a wait for the second of two quotas that a request draws
// from: that one is named.
func ofSeveralPolicies() situation {
	const daily = "https://a.test#daily"
	s := inLine("the worse of two policies", uriB, daily, always(reply{header: map[string]string{
		"RateLimit-Policy": `"burst";q=10;w=60, "daily";q=100;w=86400`, "RateLimit": `"burst";r=9;t=60, "daily";r=0;t=3600`,
	}}), resource.ReasonPrimary, "waiting-for-reset, until THEN: primary rate limit: nothing remains before the reset [G-12]")
	s.list, s.least, s.most = []string{uriB}, 3591*time.Second, 3621*time.Second
	s.text = strings.Replace(s.text, "line/"+daily, "line/https://a.test#burst", 1)
	return s
}

// situationsOfHosts are waits for a host, whichever scope is the resource's.
func situationsOfHosts() []situation {
	const key = "key@https://k.test"
	var specs []resource.Spec
	for i := range 30 {
		specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://k.test/%d", i), Profile: "p", Interval: time.Minute})
	}
	of := func(name string, answer func(call) reply, why resource.Reason, text string) situation {
		s := inLine(name, "https://k.test/29", key, answer, why, text)
		s.bucket = "https://k.test"
		s.text = strings.Replace(strings.TrimSuffix(s.text, ", in the hands of the gate"), "; bucket "+key, "; bucket https://k.test", 1)
		s.held = false // others are before it
		s.config = firehose.Config{Resources: specs, Profiles: map[string]resource.Profile{"p": {Credential: "key"}}}
		return s
	}
	open := of("the breaker of a host", always(status(500)), resource.ReasonBreaker,
		"waiting-for-server-alive, until THEN: the host does not answer, and is left alone [S-net]")
	open.when, open.least, open.most = 2*time.Second, 3*time.Second, 6*time.Second

	probe := of("the probe of a host", func(c call) reply {
		if c.At > time.Second {
			return slowReply(status(500), 20*time.Second)
		}
		return status(500)
	}, resource.ReasonBreaker, "waiting-for-server-alive, until an answer in flight arrives: the host does not answer, and is left alone [S-net]")

	capped := of("concurrency of a host", func(c call) reply {
		if c.URL == "https://k.test/0" && c.n == 0 {
			return status(200)
		}
		return slowReply(status(200), 5*time.Second)
	}, resource.ReasonConcurrency, "waiting-for-reset, until an answer in flight arrives: as many requests in flight as allowed [G-11]")
	capped.config.HostConcurrency, capped.when = 1, 3*time.Second
	return []situation{open, probe, capped}
}

// A resource that is due, and that its bucket would admit, waits for those of the
// line that came first. That lasts as long as a store takes for their claims.
func TestExplainBehindTheHead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := slowJournal{db.NewMemory(), new(atomic.Int64)}
		net := newScript(func(c call) reply { return slowReply(status(200), 20*time.Second) })
		r := start(t, net, firehose.Config{DB: store, Resources: fleet(9), Workers: 9})
		until(19 * time.Second) // the first answer is still to come, and the others wait for it in the line
		store.delay.Store(int64(10 * time.Second))
		until(25 * time.Second)
		texts := map[resource.Reason]string{}
		for _, spec := range fleet(9) {
			e := r.explainSpec(spec)
			checkJSON(t, e, "nothing")
			texts[e.Why] = strings.Replace((&situation{}).said(e), spec.URI, "URI", 1)
		}
		require.Equal(t, "URI: waiting-for-reset, until they have gone: others that wait for the bucket came first [D-14]; bucket https://a.test; in queue line/https://a.test", texts[resource.ReasonTurn])
		store.delay.Store(0)
		require.NoError(t, r.stop())
	})
}

// After a crash a resource whose request may have left waits its interval, and
// its scope until no request of the former run can be on its way.
func TestExplainAfterACrash(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() db.DB) {
		net := newScript(func(c call) reply {
			if c.URL == uriA && c.n == 1 {
				return slowReply(status(200), 10*time.Minute)
			}
			return ok(fmt.Sprint(c.n), "")
		})
		config := firehose.Config{RequestTimeout: 5 * time.Minute, Resources: []resource.Spec{{URI: uriA}, {URI: uriB, Interval: 62 * time.Second}}}
		_, kill := startMortal(t, net, open(), config)
		until(61 * time.Second)
		kill()
		store := open()
		config.DB = store
		r := start(t, net, config)
		until(70 * time.Second)

		require.NoError(t, r.Ready(t.Context()))
		pass(time.Second)
		e := r.explain(uriA)
		s := situation{}
		require.Equal(t, "https://a.test/a: waiting-for-interval, until THEN: a lost answer counts as sent [D-4]; in queue frozen-1000", s.said(e))
		require.Equal(t, resource.ReasonForfeited, e.Why)
		require.Greater(t, e.Wait, 50*time.Second)
		require.Zero(t, e.Owner)
		checkJSON(t, e, "nothing")

		e = r.explain(uriB)
		require.Equal(t, "https://a.test/b: waiting-for-reset, until THEN: a request of a former run may still be on its way [D-4]; bucket https://a.test; in queue line/https://a.test, in the hands of the gate", s.said(e))
		require.Equal(t, resource.ReasonSettling, e.Why)
		require.Greater(t, e.Wait, 4*time.Minute)
		require.Equal(t, "https://a.test", e.Bucket)
		checkJSON(t, e, "nothing")
		require.NoError(t, r.stop())
		require.NoError(t, store.Close())
	})
}
