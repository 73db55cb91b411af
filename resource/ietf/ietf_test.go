package ietf

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/resource"
)

const sec = time.Second

// at is the instant so long after the one at which every answer is received.
func at(after time.Duration) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(after)
}

// got is an answer with headers of names and values in turn.
func got(status int, pairs ...string) *resource.Answer {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return &resource.Answer{Origin: "https://api.example.com", Status: status, Header: h, Sent: at(-100 * time.Millisecond), Received: at(0)}
}

// problemOf gives an answer a body of RFC 9457.
func problemOf(a *resource.Answer, kind string, violated string) *resource.Answer {
	a.Header.Set("Content-Type", "application/problem+json; charset=utf-8")
	a.Excerpt = []byte(`{"type":"https://iana.org/assignments/http-problem-types#` + kind + `","title":"T","violated-policies":` + violated + `}`)
	return a
}

// learn is what a parser that knows this dialect before all others reads.
func learn(a *resource.Answer) resource.Lesson {
	p := resource.Parser{Dialects: append([]resource.Dialect{Dialect()}, resource.Dialects()...)}
	return p.Lesson(a)
}

// both are the fields of the draft's example with two policies.
func both(burst, daily string) []string {
	return []string{"RateLimit-Policy", `"burst";q=100;w=60,"daily";q=1000;w=86400`, "RateLimit", `"burst";` + burst + `,"daily";` + daily}
}

func TestDetection(t *testing.T) {
	for _, c := range []struct {
		a            *resource.Answer
		dialect, why string
	}{
		{got(200, "RateLimit", `"a";r=1;t=2`), "ietf", "RateLimit"},
		{got(200, "RateLimit-Policy", `"a";q=1`), "ietf", "RateLimit-Policy"},
		{got(200, "RateLimit-Policy", `10;w=1`, "RateLimit-Limit", "10", "RateLimit-Remaining", "1"), "ietf-legacy", "RateLimit-Remaining"},
		{got(200, "RateLimit", `"a";r=1;t=2`, "RateLimit-Limit", "10", "RateLimit-Remaining", "1"), "ietf", "RateLimit"},
		{got(200, "RateLimit", "10", "RateLimit-Limit", "10", "RateLimit-Remaining", "1"), "ietf-legacy", "RateLimit-Remaining"},
		{got(200, "RateLimit", "limit=1, remaining=0, reset=5", "RateLimit-Remaining", "1"), "ietf", "RateLimit"},
		{got(200), "plain", "nothing else fits"},
	} {
		l := learn(c.a)
		require.Equal(t, [2]string{c.dialect, c.why}, [2]string{l.Dialect, l.Because}, "%v", c.a.Header)
	}
	d, err := resource.DialectNamed([]resource.Dialect{Dialect()}, Name)
	require.NoError(t, err)
	require.NoError(t, (&resource.Profile{Dialect: d.Name}).Validate())
}

func TestI1_BothFieldsAreStructuredLists(t *testing.T) {
	want := resource.Lesson{
		Dialect: "ietf", Because: "RateLimit", Named: true, Bucket: "burst", HasQuota: true, Limit: 100, Remaining: 50,
		Reset: at(30 * sec), Window: at(30 * sec), Spacing: 600 * time.Millisecond,
		Also: []resource.Quota{{
			Bucket: "daily", Limit: 1000, Remaining: 900, Reset: at(3600 * sec), Window: at(3600 * sec), Spacing: 86400 * time.Millisecond,
		}},
	}
	require.Equal(t, want, learn(got(200, both("r=50;t=30", "r=900;t=3600")...)))
	require.Equal(t, want, learn(got(200,
		"RateLimit-Policy", `"burst"; q=100;  w=60`, "RateLimit-Policy", `"daily";w=86400;q=1000`,
		"RateLimit", `"daily"; t=3600; r=900`, "RateLimit", `"burst";r=50;t=30`,
	)), "several lines are one list, and the order is that of the policies")
}

func TestI2_ParametersOfAPolicy(t *testing.T) {
	for line, want := range map[string][]policy{
		`"a";q=10`:                          {{name: "a", quota: 10, unit: unitRequests}},
		`"a";q=0;w=1`:                       {{name: "a", unit: unitRequests, per: sec}},
		`"a";q=10;qu="request";w=60`:        {{name: "a", quota: 10, unit: unitRequests, per: time.Minute}},
		`"a";q=10;qu="content-bytes"`:       {{name: "a", quota: 10, unit: unitBytes}},
		`"a";q=10;qu="concurrent-requests"`: {{name: "a", quota: 10, unit: unitConcurrent}},
		`"a";q=10;qu=1`:                     {{name: "a", quota: 10}}, // a unit that is none
		`"a";q=10;pk=:c2VjcmV0:`:            {{name: "a", quota: 10, unit: unitRequests, key: "secret"}},
		`"a";q=10;pk="x"`:                   {{name: "a", quota: 10, unit: unitRequests}},
		`"a";q=10;w=0, "b";q=10;w=-1, "c";q=10;w=1.5, "d";q=10;w=99999999999`: {
			{name: "a", quota: 10, unit: unitRequests}, {name: "b", quota: 10, unit: unitRequests}, {name: "c", quota: 10, unit: unitRequests}, {name: "d", quota: 10, unit: unitRequests}},
		`"a";q=10;comment="x";z`:       {{name: "a", quota: 10, unit: unitRequests}},
		`"a", "b";q=-1, "c";q="1"`:     nil,
		`a;q=1, 10;w=1, ("a" "b");q=1`: nil,
	} {
		require.Equal(t, want, parsePolicies([]string{line}), line)
	}
}

func TestI3_ParametersOfALimit(t *testing.T) {
	for line, want := range map[string][]limit{
		`"a";r=0`:                     {{name: "a"}},
		`"a";r=5;t=0`:                 {{name: "a", remaining: 5, hasReset: true}},
		`"a";r=5;t=30;pk=:eA==:`:      {{name: "a", remaining: 5, reset: 30, hasReset: true, key: "x"}},
		`"a";r=5;t=-1, "b";r=5;t=1.5`: {{name: "a", remaining: 5}, {name: "b", remaining: 5}},
	} {
		all, _, isOld := parseLimits([]string{line})
		require.Equal(t, want, all, line)
		require.False(t, isOld)
	}
	l := learn(got(200, "RateLimit", `"a";r=5;t=30`, "Date", at(time.Hour).Format(http.TimeFormat)))
	require.Equal(t, at(30*sec), l.Reset, "seconds from now, on no clock")
	l = learn(got(200, "RateLimit", `"a";r=5;t=`+strconv.FormatInt(at(30*sec).Unix(), 10)))
	require.False(t, l.HasQuota, "an epoch is no wait of 56 years")
	require.Equal(t, doubtHuge, l.Doubt)
}

func TestI4_WhatIsMalformedIsIgnored(t *testing.T) {
	for _, field := range []string{
		``, `"a";r=5;t=30,`, `"a";r=5;t=30;`, `"a;r=5`, `"a";r=05x`, `"a" r=5`, `"a";R=5`, `"ä";r=1`, `a;b=c;;`,
		`"a";t=30`, `"a";r=-5;t=30`, `"a";r=5.0;t=30`, `"a";r="5";t=30`, `"a";r;t=30`, `a;r=5;t=30`, `5;r=5;t=30`, `("a");r=5;t=30`, `"a";r=9999999999999999;t=1`,
		`"a";r=5;t=30, "b`, strings.Repeat(`"a";r=5;t=30,`, 2000) + `"a";r=5;t=30`,
	} {
		l := learn(got(200, "RateLimit", field))
		require.False(t, l.HasQuota || l.Named || len(l.Also) > 0, "%.60q", field)
		require.Equal(t, "ietf", l.Dialect)
	}
	l := learn(got(200, "RateLimit", `"bad";t=30, "good";r=5;t=30;news="x";y=?1`))
	require.Equal(t, "good", l.Bucket, "an item without r is none, an unknown parameter is as if it were not there")
	require.True(t, l.HasQuota)
	l = learn(got(200, "RateLimit", `"good";r=5;t=30`, "RateLimit-Policy", `"good";q=`))
	require.True(t, l.HasQuota, "each field for itself")
	require.Zero(t, l.Spacing)
	l = learn(got(200))
	require.False(t, l.HasQuota || l.Named, "absence means nothing")
}

func TestI5_RetryAfterTakesPrecedence(t *testing.T) {
	for retry, wait := range map[string]time.Duration{"20": 20 * sec, "90": 90 * sec, at(50 * sec).Format(http.TimeFormat): 50 * sec} {
		l := learn(got(429, append(both("r=0;t=30", "r=900;t=3600"), "Retry-After", retry)...))
		require.Equal(t, resource.PrimaryLimit, l.Kind)
		require.False(t, l.Wide)
		require.Equal(t, at(wait), l.Until, retry)
		require.Equal(t, at(wait), l.Reset, "and over t, sooner or later")
		require.Equal(t, at(3600*sec), l.Also[0].Reset, "but not over that of another policy")
	}
	l := learn(got(429, both("r=0;t=30", "r=900;t=3600")...))
	require.Equal(t, at(31*sec), l.Until, "without one it is the reset and a second")
	l = learn(got(200, append(both("r=0;t=30", "r=900;t=3600"), "Retry-After", "20")...))
	require.Equal(t, at(30*sec), l.Reset, "of an answer that was served it is about the resource alone")
}

// A number of what remains is no promise: it can be refused, and it can come back
// or not.
func TestI6_WhatRemainsIsNoPromise(t *testing.T) {
	l := learn(got(429, append(both("r=50;t=30", "r=900;t=3600"), "Retry-After", "10")...))
	require.True(t, l.Kind == resource.OverloadLimit && l.Wide, "nobody says which")
	require.Equal(t, at(10*sec), l.Until)
	require.True(t, l.HasQuota, "the numbers are as told")
	l = learn(got(429, both("r=50;t=30", "r=900;t=3600")...))
	require.True(t, l.Wide && l.Fallback)

	var b resource.Bucket
	tell := func(field string, now time.Duration) {
		a := got(200, "RateLimit", field)
		a.Sent, a.Received = at(now), at(now)
		l := learn(a)
		b.Take()
		b.Settle(&l, a.Sent, a.Received, false)
	}
	tell(`"a";r=50;t=30`, 0)
	require.EqualValues(t, 50, b.Remaining)
	tell(`"a";r=80;t=29`, sec)
	require.EqualValues(t, 50, b.Remaining, "more in the same window is not believed")
	tell(`"a";r=3;t=28`, 2*sec)
	require.EqualValues(t, 3, b.Remaining, "less is")
	tell(`"a";r=0;t=27`, 3*sec)
	require.Equal(t, resource.Line, b.Admit(at(4*sec)).Kind)
	require.Equal(t, resource.Decision{Kind: resource.Ready, Why: resource.ReasonProbe}, b.Admit(at(31*sec)), "t restores nothing by itself: one request asks")
	b.Take()
	require.Equal(t, resource.Line, b.Admit(at(31*sec)).Kind)
}

func TestI7_SeveralPolicies(t *testing.T) {
	t.Run("the first stays the resource's own", func(t *testing.T) {
		for _, remaining := range [][2]string{{"r=50;t=30", "r=0;t=3600"}, {"r=0;t=30", "r=900;t=3600"}} {
			l := learn(got(200, both(remaining[0], remaining[1])...))
			require.Equal(t, "burst", l.Bucket)
			require.Len(t, l.Also, 1)
		}
		l := learn(got(200, "RateLimit-Policy", `"burst";q=100;w=60,"daily";q=1000;w=86400`, "RateLimit", `"daily";r=0;t=3600`))
		require.Equal(t, "burst", l.Bucket, "also where only the one that is nearly used up has numbers")
		require.False(t, l.HasQuota)
		require.Equal(t, "daily", l.Also[0].Bucket)
		require.Zero(t, l.Also[0].Remaining)
	})
	t.Run("units", func(t *testing.T) {
		l := learn(got(200,
			"RateLimit-Policy", `"bytes";q=1000000;qu="content-bytes";w=60, "slots";q=5;qu="concurrent-requests", "more";q=3;qu="concurrent-requests", "r";q=10;w=1`,
			"RateLimit", `"bytes";r=0;t=30, "slots";r=0, "r";r=7;t=1`))
		require.Equal(t, "r", l.Bucket, "bytes are no requests")
		require.EqualValues(t, 7, l.Remaining)
		require.Empty(t, l.Also)
		require.Equal(t, 3, l.Concurrency, "and what may be in flight is no rate")
		require.Empty(t, l.Doubt)
		l = learn(got(200, "RateLimit-Policy", `"x";q=5;qu="carrots"`, "RateLimit", `"x";r=0;t=30`))
		require.False(t, l.Named)
		require.Equal(t, doubtUnit, l.Doubt)
		require.Equal(t, 1, learn(got(200, "RateLimit-Policy", `"x";q=0;qu="concurrent-requests"`)).Concurrency)
	})
	t.Run("partitions", func(t *testing.T) {
		l := learn(got(200, "RateLimit-Policy", `"p";q=10;w=60`, "RateLimit", `"p";r=1;t=2;pk=:YWxpY2U=:, "p";r=3;t=4;pk=:Ym9i:`))
		require.Equal(t, "p#2bd806c97f0e00af", l.Bucket)
		require.Equal(t, "p#81b637d8fcd2c6da", l.Also[0].Bucket)
		require.EqualValues(t, 10, l.Also[0].Limit, "the policy is that of its name")
		other := learn(got(200, "RateLimit-Policy", `"p";q=10;w=60;pk=:YWxpY2U=:`, "RateLimit", `"p";r=1;t=2`))
		require.Equal(t, l.Bucket, other.Bucket, "whichever of the fields has the key")
		require.NotContains(t, l.Bucket, "alice", "who may be a person")
	})
	t.Run("names", func(t *testing.T) {
		long := strings.Repeat("n", 300)
		l := learn(got(200, "RateLimit", `"";r=1;t=2, "`+long+`";r=1;t=2`))
		require.Regexp(t, `^policy-[0-9a-f]{16}$`, l.Bucket)
		require.Regexp(t, `^policy-[0-9a-f]{16}$`, l.Also[0].Bucket)
		require.NotEqual(t, l.Bucket, l.Also[0].Bucket)
	})
	t.Run("twice", func(t *testing.T) {
		l := learn(got(200, "RateLimit-Policy", `"a";q=9;w=60, "a";q=8;w=60`, "RateLimit", `"a";r=5;t=10, "a";r=4;t=5`))
		require.EqualValues(t, 4, l.Remaining)
		require.Equal(t, at(10*sec), l.Reset, "the worse of both")
		require.Empty(t, l.Also)
	})
	t.Run("many", func(t *testing.T) {
		var items []string
		for i := range 100 {
			items = append(items, `"p`+strconv.Itoa(i)+`";r=1;t=2`)
		}
		l := learn(got(200, "RateLimit", strings.Join(items, ",")))
		require.Equal(t, "p0", l.Bucket)
		require.Len(t, l.Also, resource.MaxAlso)
	})
}

// The quota that is used up belongs to the scope that redirects. The hop goes to
// another one, and is not held up.
func TestI8_ARedirectIsNotHeldUp(t *testing.T) {
	r, err := resource.New(resource.Spec{URI: "https://api.example.com/events"}, "")
	require.NoError(t, err)
	a := got(302, both("r=0;t=50", "r=0;t=3600")...)
	a.Target = "https://other.example.net/events"
	p := resource.Parser{Dialect: Dialect()}
	l := p.Lesson(a)
	require.Equal(t, resource.NoLimit, l.Kind)
	require.Zero(t, l.Remaining)
	res := p.Apply(&r, a, &l)
	require.True(t, res.Rescoped)
	require.Equal(t, at(0), r.NotBefore)
	require.Empty(t, r.Bucket, "the name means nothing there")
	require.Equal(t, resource.Ready, resource.Decide(&r, &resource.Snapshot{}, at(0)).Kind)
}

func TestI9_AHugeRemainderIsNoBurst(t *testing.T) {
	l := learn(got(200, "RateLimit-Policy", `"a";q=10000;w=1000`, "RateLimit", `"a";r=10000;t=10`))
	require.Equal(t, 100*time.Millisecond, l.Spacing, "10 a second is what the policy means, not 1,000")
	require.Equal(t, at(10*sec), l.Reset)
	for policy, want := range map[string]time.Duration{`"a";q=10000`: 0, `"a";q=0;w=10`: 0, `"a";q=999999999999999;w=1`: 1, `"a";q=3;w=1`: 333333334} {
		require.Equal(t, want, learn(got(200, "RateLimit-Policy", policy)).Spacing, policy)
	}
	// A reset is obeyed up to a year, and no further: then the window counts.
	l = learn(got(200, "RateLimit-Policy", `"a";q=10;w=60`, "RateLimit", `"a";r=0;t=86400`))
	require.Equal(t, at(24*time.Hour), l.Reset, "longer than its window, and told")
	require.Empty(t, l.Doubt)
	for field, c := range map[string]struct {
		wait  time.Duration
		doubt string
	}{
		`"a";r=0;t=999999999999999`: {60 * sec, doubtWindow}, `"a";r=5;t=999999999999999`: {60 * sec, doubtWindow}, `"a";r=5`: {60 * sec, doubtWindow},
		`"b";r=0;t=999999999999999`: {60 * sec, doubtMinute}, `"b";r=0`: {60 * sec, doubtMinute}, `"b";r=5`: {0, ""}, `"b";r=5;t=999999999999999`: {0, doubtHuge},
	} {
		l := learn(got(200, "RateLimit-Policy", `"a";q=10;w=60`, "RateLimit", field))
		quota := resource.Quota{Reset: l.Reset}
		if len(l.Also) > 0 {
			quota = l.Also[0]
		}
		require.Equal(t, c.wait != 0, !quota.Reset.IsZero(), field)
		if c.wait != 0 {
			require.Equal(t, at(c.wait), quota.Reset, field)
		}
		require.Equal(t, c.doubt, l.Doubt, field)
	}
}

func TestI10_ProblemTypesNameWhatWasViolated(t *testing.T) {
	t.Run("not the first", func(t *testing.T) {
		l := learn(problemOf(got(429, both("r=50;t=30", "r=0;t=3600")...), "quota-exceeded", `["daily"]`))
		require.True(t, l.Kind == resource.PrimaryLimit && !l.Wide && l.Spared && !l.Fallback)
		require.Equal(t, at(3601*sec), l.Until, "the resource draws from both")
		require.Equal(t, "status 429, violated-policies", l.Evidence)
		_, burst := l.Split(true)
		require.Equal(t, resource.NoLimit, burst.Kind)
		daily := l.For(&l.Also[0])
		require.Equal(t, resource.PrimaryLimit, daily.Kind)
		require.Equal(t, at(3601*sec), daily.Until)
	})
	t.Run("both, though one has some left", func(t *testing.T) {
		l := learn(problemOf(got(429, both("r=50;t=30", "r=0;t=3600")...), "quota-exceeded", `["burst","daily"]`))
		require.False(t, l.Spared)
		require.Equal(t, at(31*sec), l.Until)
		require.Equal(t, at(3601*sec), l.Also[0].Until)
	})
	t.Run("one that counts bytes", func(t *testing.T) {
		a := problemOf(got(429, append(both("r=50;t=30", "r=60;t=3600"), "Retry-After", "40")...), "quota-exceeded", `["bandwidth"]`)
		l := learn(a)
		require.True(t, l.Spared)
		require.Equal(t, "burst", l.Bucket)
		require.Equal(t, resource.Quota{Bucket: "bandwidth", Rejected: true, Until: at(40 * sec)}, l.Also[1])
		l = learn(problemOf(got(429), "quota-exceeded", `["bandwidth"]`))
		require.False(t, l.Named, "and is nobody's own quota")
		require.Equal(t, "plain", l.Dialect, "without a field of the draft it is another dialect")
		p := resource.Parser{Dialect: Dialect()}
		l = p.Lesson(problemOf(got(429), "quota-exceeded", `["bandwidth"]`))
		require.True(t, l.Spared && l.Fallback && l.Also[0].Rejected)
		scope, _ := l.Split(false)
		require.Equal(t, resource.PrimaryLimit, scope.Kind, "where the resource has no quota of its own, the scope waits")
		other := l.For(&l.Also[0])
		require.True(t, other.Fallback)
	})
	t.Run("many", func(t *testing.T) {
		l := learn(problemOf(got(429, both("r=50;t=30", "r=60;t=3600")...), "quota-exceeded", `["a","b","c","d","e","f","g","h","i","j"]`))
		require.Len(t, l.Also, resource.MaxAlso)
		l = learn(problemOf(got(429, both("r=50;t=30", "r=60;t=3600")...), "quota-exceeded", `["a","a"]`))
		require.Len(t, l.Also, 2, "daily, and a once")
	})
	t.Run("abnormal usage", func(t *testing.T) {
		l := learn(problemOf(got(429, both("r=50;t=30", "r=0;t=3600")...), "abnormal-usage-detected", `["daily"]`))
		require.True(t, l.Kind == resource.SecondaryLimit && l.Wide && l.Fallback && !l.Spared)
		l = learn(problemOf(got(429, append(both("r=5;t=3", "r=5;t=3"), "Retry-After", "60")...), "abnormal-usage-detected", `null`))
		require.Equal(t, at(60*sec), l.Until)
		require.Equal(t, "problem type abnormal-usage-detected, retry-after", l.Evidence)
	})
	t.Run("reduced capacity", func(t *testing.T) {
		l := learn(problemOf(got(503, both("r=0;t=30", "r=5;t=3600")...), "temporary-reduced-capacity", `["burst"]`))
		require.True(t, l.Kind == resource.OverloadLimit && l.Wide && l.Fallback)
		l = learn(got(503, both("r=0;t=30", "r=5;t=3600")...))
		require.Equal(t, resource.NoLimit, l.Kind, "a failure like others")
		l = learn(got(503, append(both("r=0;t=30", "r=5;t=3600"), "Retry-After", "7")...))
		require.True(t, l.Kind == resource.OverloadLimit && l.Wide)
	})
	t.Run("no problem", func(t *testing.T) {
		for name, a := range map[string]*resource.Answer{
			"another type":    problemOf(got(429, both("r=0;t=30", "r=50;t=3600")...), "other", `["daily"]`),
			"cut off":         problemOf(got(429, both("r=0;t=30", "r=50;t=3600")...), "quota-exceeded", `["daily"`),
			"not the type":    problemOf(got(429, both("r=0;t=30", "r=50;t=3600")...), "quota-exceeded", `"daily"`),
			"none":            got(429, both("r=0;t=30", "r=50;t=3600")...),
			"nobody violated": problemOf(got(429, both("r=0;t=30", "r=50;t=3600")...), "quota-exceeded", `[]`),
		} {
			l := learn(a)
			require.True(t, l.Kind == resource.PrimaryLimit && !l.Spared, name)
			require.Equal(t, at(31*sec), l.Until, name)
			require.False(t, l.Also[0].Rejected, name)
			require.Equal(t, "status 429, nothing remains of a policy", l.Evidence, name)
		}
		a := problemOf(got(429, both("r=0;t=30", "r=50;t=3600")...), "quota-exceeded", `["daily"]`)
		a.Header.Set("Content-Type", "text/html")
		require.False(t, learn(a).Also[0].Rejected, "a body of another type is not read")
	})
}

// The seventh draft had a dictionary, without a name.
func TestSeventhDraft(t *testing.T) {
	l := learn(got(200, "RateLimit", "limit=10, remaining=4, reset=5", "RateLimit-Policy", "10;w=10"))
	require.True(t, l.HasQuota && !l.Named)
	require.Equal(t, [2]int64{10, 4}, [2]int64{l.Limit, l.Remaining})
	require.Equal(t, at(5*sec), l.Reset)
	l = learn(got(429, "RateLimit", "limit=10, remaining=0, reset=5"))
	require.Equal(t, at(6*sec), l.Until)
	for _, odd := range []string{"limit=10, remaining=4", "limit=10, remaining=-4, reset=5", "limit=10, remaining=4.5, reset=5", "limit=10, remaining=(4), reset=5", "limit=10, remaining=4, reset=9999999999"} {
		require.False(t, learn(got(200, "RateLimit", odd)).HasQuota, odd)
	}
}

// What a cache served, and what a 401 says, are not this credential's numbers.
func TestNumbersThatAreNotOurs(t *testing.T) {
	for _, a := range []*resource.Answer{
		got(200, append(both("r=5;t=3", "r=5;t=3"), "Age", "9", "RateLimit-Policy", `"s";q=5;qu="concurrent-requests"`)...),
		got(401, both("r=5;t=3", "r=5;t=3")...),
	} {
		l := learn(a)
		require.False(t, l.Named || l.HasQuota)
		require.Nil(t, l.Also)
		require.Zero(t, l.Concurrency)
		require.Zero(t, l.Spacing)
	}
}
