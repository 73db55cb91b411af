package firehose_test

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// situation is a way in which a resource comes to wait, and what is to be said
// of it.
type situation struct {
	name   string
	answer func(c call) reply
	config firehose.Config // Resources: those of list, where none are given
	list   []string
	when   time.Duration // to look, since epoch; 0: after 10 s
	who    string        // is looked at; empty: uriA
	before func(t *testing.T, r *rig)

	why         resource.Reason
	kind        resource.Kind
	bucket      string
	service     string
	held, owned bool
	least, most time.Duration // of the wait; both 0: no instant is known
	text        string        // with THEN for the instant and the wait, OWNER for the owner
}

var instant = regexp.MustCompile(`until [0-9T:.-]+Z \(in [^)]+\)`)

// TestExplainSituations brings about every situation in which the flow can leave
// a resource, and checks what is said of it: why, until when, by which rule,
// which bucket says wait, where it is and who holds it; as a value, as a line of
// text and as JSON, none of which shows the token that the requests carry.
//
// Peer all-2: nobody can say in one call why a resource is not polled now,
// until when, and who holds it.
func TestExplainSituations(t *testing.T) {
	const secret = "made-up-0451"
	seen := map[resource.Reason]bool{}
	for _, s := range situations() {
		seen[s.why] = true
		t.Run(s.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { s.check(t, secret) })
		})
	}
	seen[resource.ReasonTurn] = true // TestExplainBehindTheHead
	for _, elsewhere := range []resource.Reason{
		resource.ReasonNone,      // of a resource that nobody has decided about
		resource.ReasonDue,       // of a decision to go at once, and no wait
		resource.ReasonNever,     // TestExplainBeforeServe
		resource.ReasonParked,    // of encodings that are older than the reason behind a park
		resource.ReasonSettling,  // TestExplainAfterACrash
		resource.ReasonForfeited, // likewise
	} {
		require.False(t, seen[elsewhere])
		seen[elsewhere] = true
	}
	for why := resource.ReasonNone; why <= resource.ReasonTurn; why++ {
		require.True(t, seen[why], "no situation shows %q", why)
	}
	require.Contains(t, (resource.ReasonTurn + 1).String(), "reason-", "the last one")
}

func (s *situation) check(t *testing.T, secret string) {
	net := newScript(s.answer)
	if s.config.Resources == nil {
		s.config.Resources = resource.List(append([]string{uriA}, s.list...)...)
	}
	if s.config.Tokens == nil {
		s.config.Tokens = resource.Fixed("key", bearer(t, secret), "https://k.test")
	}
	r := start(t, net, s.config)
	if s.before != nil {
		s.before(t, r)
	}
	when := s.when
	if when == 0 {
		when = 10 * time.Second
	}
	until(when)
	who := s.who
	if who == "" {
		who = uriA
	}
	spec := resource.Spec{URI: who}
	for _, listed := range s.config.Resources {
		if listed.URI == who {
			spec = listed
		}
	}
	e := r.explainSpec(spec)
	text := s.said(e)
	require.Equal(t, s.text, text)
	require.Equal(t, s.why, e.Why, text)
	require.Equal(t, s.why.Key(), e.Rule)
	require.NotEmpty(t, e.Rule)
	require.Equal(t, s.kind, e.Kind)
	require.Equal(t, s.bucket, e.Bucket)
	require.Equal(t, s.service, e.Service)
	require.Equal(t, s.held, e.Held)
	require.Equal(t, s.owned, !e.Owner.IsZero())
	require.GreaterOrEqual(t, e.Wait, s.least, text)
	require.LessOrEqual(t, e.Wait, s.most, text)
	require.Equal(t, s.most == 0, e.Until.IsZero())
	if !e.Until.IsZero() {
		require.Equal(t, e.Wait, time.Until(e.Until))
	}
	checkJSON(t, e, secret)
	require.NotContains(t, e.String(), secret)
}

// said is the line of text without what changes from run to run.
func (s *situation) said(e firehose.Explanation) string {
	text := instant.ReplaceAllString(e.String(), "until THEN")
	if !e.Owner.IsZero() {
		text = strings.ReplaceAll(text, e.Owner.String(), "OWNER")
	}
	return text
}

// checkJSON holds that an explanation is read back as it was written, and shows
// no secret.
func checkJSON(t *testing.T, e firehose.Explanation, secret string) {
	t.Helper()
	b, err := json.Marshal(e)
	require.NoError(t, err)
	require.NotContains(t, string(b), secret)
	var back firehose.Explanation
	require.NoError(t, json.Unmarshal(b, &back))
	e.Until = e.Until.Round(0).UTC()
	if e.Until.IsZero() {
		e.Until = time.Time{}
	}
	require.Equal(t, e, back)
}

// situations are those of answers, of buckets, of the flow and of what ended.
func situations() []situation {
	all := situationsOfAnswers()
	all = append(all, situationsOfLimits()...)
	all = append(all, situationsOfBuckets()...)
	all = append(all, situationsOfHosts()...)
	all = append(all, situationsOfTheFlow()...)
	return append(all, situationsOfTheEnd()...)
}

// slowReply is an answer on which others have to wait.
func slowReply(r reply, wait time.Duration) reply {
	r.slow = wait
	return r
}

// Before anybody serves, an added resource is one that may be requested.
func TestExplainBeforeServe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		os, err := firehose.New(firehose.Config{Transport: newScript(func(call) reply { return ok("", "") })})
		require.NoError(t, err)
		require.NoError(t, os.Add(t.Context(), resource.Spec{URI: uriA}))
		e, err := os.Explain(t.Context(), idOf(t, uriA))
		require.NoError(t, err)
		require.Equal(t, "https://a.test/a: idle, may be requested now: never requested [D-15]; in queue analyze", e.String())
		require.Equal(t, resource.Ready, e.Kind)
		require.Equal(t, "https://a.test", e.Bucket)
		require.Equal(t, "analyzer", e.Service)
		require.False(t, e.Held)
		checkJSON(t, e, "nothing")

		_, err = os.Explain(t.Context(), resource.NewID())
		require.ErrorIs(t, err, firehose.ErrUnknown)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		require.NoError(t, os.Serve(ctx))
		_, err = os.Explain(t.Context(), idOf(t, uriA))
		require.Error(t, err, "the queue is closed")
	})
}

// What is to be removed says so, as long as a request of it is on its way.
func TestExplainARemoval(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(call) reply { return reply{body: "x", slow: 10 * time.Second} })
		r := start(t, net, firehose.Config{Resources: resource.List(uriA)})
		pass(time.Second)
		require.NoError(t, r.Remove(t.Context(), idOf(t, uriA)))
		require.Contains(t, r.explain(uriA).String(), "to be removed when its request has ended")
		require.NoError(t, r.Add(t.Context(), resource.Spec{URI: uriA}))
		require.NotContains(t, r.explain(uriA).String(), "to be removed")
		pass(time.Minute)
		require.NoError(t, r.stop())
	})
}
