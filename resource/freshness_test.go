package resource

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// freshFor is how long after its receipt an answer is fresh.
func freshFor(t *testing.T, a *Answer) time.Duration {
	t.Helper()
	until, _, ok := freshUntil(a)
	require.True(t, ok)
	return until.Sub(a.Received)
}

// Peer miniflux-3: the longest of ttl, max-age and Expires counts where max-age
// comes first, and Age is ignored.
func TestC1_WhatSaysHowLongAnAnswerIsFresh(t *testing.T) {
	for _, c := range []struct {
		name string
		a    *Answer
		want time.Duration
	}{
		{"max-age", got(200, "Cache-Control", "private, max-age=60"), time.Minute},
		{"s-maxage is for others", got(200, "Cache-Control", "s-maxage=600, max-age=60"), time.Minute},
		{"expires", got(200, "Expires", httpDate(90*time.Second), "Date", httpDate(0)), 90 * time.Second},
		{"expires counts from Date", got(200, "Expires", httpDate(time.Hour+90*time.Second), "Date", httpDate(time.Hour)), 90 * time.Second},
		{"expires without a Date", got(200, "Expires", httpDate(90*time.Second)), 90 * time.Second},
		// A peer takes the longer of the two; the first that is there counts.
		{"max-age before a later expires", got(200, "Cache-Control", "max-age=60", "Expires", httpDate(time.Hour), "Date", httpDate(0)), time.Minute},
		{"max-age before an earlier expires", got(200, "Cache-Control", "max-age=60", "Expires", httpDate(time.Second), "Date", httpDate(0)), time.Minute},
		{"a century at most", got(200, "Expires", "Thu, 01 Jan 2199 00:00:00 GMT"), farFuture},
	} {
		require.Equal(t, c.want, freshFor(t, c.a), c.name)
	}
	for name, a := range map[string]*Answer{
		"nothing":       got(200),
		"s-maxage":      got(200, "Cache-Control", "s-maxage=600"),
		"last-modified": got(200, "Last-Modified", httpDate(-1000*time.Hour), "Date", httpDate(0)), // no guess
	} {
		_, _, ok := freshUntil(a)
		require.False(t, ok, name)
	}
}

func TestC2_DuplicatesAndNonsense(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"max-age=60, max-age=30":        30 * time.Second,
		"max-age=30, max-age=60":        30 * time.Second,
		"max-age=60, max-age=soon":      0,
		"max-age":                       0,
		"max-age=":                      0,
		"max-age=-5":                    0,
		"max-age=1.5":                   0,
		"MAX-AGE=60":                    time.Minute,
		`max-age="60"`:                  time.Minute,
		" ,, max-age = 60 ":             time.Minute,
		`private="a, max-age=1", b="\"`: -1,
		`x="max-age=5", max-age=60`:     time.Minute,
		"max-age=2147483649":            (1 << 31) * time.Second,
		"max-age=99999999999999999999":  (1 << 31) * time.Second,
	} {
		a := got(200, "Cache-Control", value)
		if want < 0 {
			_, _, ok := freshUntil(a)
			require.False(t, ok, value)
			continue
		}
		require.Equal(t, want, freshFor(t, a), value)
	}
	require.Equal(t, 30*time.Second, freshFor(t, got(200, "Cache-Control", "max-age=60", "Cache-Control", "max-age=30")), "two lines")
	for _, expires := range []string{"0", "", "-1", "soon", httpDate(-time.Hour)} {
		require.Zero(t, freshFor(t, got(200, "Expires", expires)), "%q is in the past", expires)
	}
}

// Peer httpcache-3: Age is not looked at, so that what a cache has held for
// long counts as fresh for as long again.
// Peer miniflux-3: the longest of ttl, max-age and Expires counts where max-age
// comes first, and Age is ignored.
func TestC3_AgeIsTakenOff(t *testing.T) {
	require.Equal(t, 4900*time.Millisecond, freshFor(t, got(200, "Cache-Control", "max-age=60", "Age", "55")), "less the time on the way")
	a := got(200, "Cache-Control", "max-age=60", "Age", "55", "Date", httpDate(0))
	a.Sent = a.Received
	require.Equal(t, 5*time.Second, freshFor(t, a))
	a.Header.Set("Date", httpDate(-58*time.Second))
	require.Equal(t, 2*time.Second, freshFor(t, a), "the apparent age, where it is more")
	a.Header.Set("Age", "99999999999999999999")
	require.Zero(t, freshFor(t, a))
	a.Header.Set("Age", "young")
	require.Equal(t, 2*time.Second, freshFor(t, a))
	a = got(200, "Cache-Control", "max-age=60", "Age", "99999999999999999999")
	a.Sent = time.Time{}
	require.Zero(t, freshFor(t, a), "a missing instant is no age and no overflow")
	a.Sent = time.Time{}.Add(time.Second)
	require.Zero(t, freshFor(t, a))

	// Without Age the origin answered itself. That its clock is slow makes the
	// answer no older.
	require.Equal(t, time.Minute, freshFor(t, got(200, "Cache-Control", "max-age=60", "Date", httpDate(-10*time.Minute))))
}

func TestC4_NoStoreKeepsNoValidators(t *testing.T) {
	for _, status := range []int{200, 304} {
		r := newborn(t)
		r.Validators = Validators{ETag: `"old"`}
		poll(r, got(status, "Cache-Control", "no-store", "Etag", `"old"`, "Last-Modified", httpDate(0)))
		require.True(t, r.Validators.IsZero(), status)
	}
	for _, value := range []string{"no-cache", "no-cache, must-revalidate", "must-revalidate", "private"} {
		r := newborn(t)
		poll(r, got(200, "Cache-Control", value, "Etag", `"new"`))
		require.Equal(t, Validators{ETag: `"new"`}, r.Validators, value)
		require.Equal(t, at(DefaultInterval), r.NotBefore, "%s says nothing of when to poll", value)
	}
}

func TestC5_FreshnessIsAFloorWithACap(t *testing.T) {
	r := newborn(t)
	poll(r, got(200, "Cache-Control", "max-age=31536000"))
	require.Equal(t, at(DefaultFreshnessCap), r.NotBefore)
	require.Equal(t, ReasonFresh, r.Why)
	p := Parser{FreshnessCap: 5 * time.Minute}
	a := got(304, "Cache-Control", "max-age=31536000")
	l := p.Lesson(a)
	p.Apply(r, a, &l)
	require.Equal(t, at(5*time.Minute), r.NotBefore)
	r.Interval = time.Hour
	p.Apply(r, a, &l)
	require.Equal(t, at(time.Hour), r.NotBefore, "the cap is one of freshness, not of the interval")
}

func TestC6_AFailureIsNoNewsAndNoForgiveness(t *testing.T) {
	r := newborn(t)
	r.Failures = 2
	res, _ := poll(r, got(500, "Cache-Control", "stale-if-error=86400", "Etag", `"x"`))
	require.Equal(t, Result{Outcome: Failed}, res)
	require.EqualValues(t, 3, r.Failures)
	require.True(t, r.Validators.IsZero())
}

// Peer go-github-4: the fresh rate headers of a 304 are ignored, since a
// revalidated answer is taken for one that a cache has made up.
// Peer httpcache-5: what the cache answers shows the rate headers of long ago.
func TestC7_NumbersFromACacheAreOld(t *testing.T) {
	for name, pair := range map[string][2]string{
		"age": {"Age", "1"}, "client cache": {"X-From-Cache", "1"}, "cdn": {"CF-Cache-Status", "HIT"},
		"cdn, lower case": {"Cf-Cache-Status", "hit"}, "cdn, stale": {"Cf-Cache-Status", "STALE"},
	} {
		var p Parser
		l := p.Lesson(github(200, pair[0], pair[1]))
		require.Equal(t, Lesson{Dialect: "github", Because: "its origin", Cached: true}, l, name)
		b := known(5, at(time.Hour))
		before := b
		b.Take()
		b.Settle(&l, at(time.Second), at(2*time.Second), false)
		require.Equal(t, before, b, "%s: neither told nor spent", name)
	}
	for name, pair := range map[string][2]string{
		"age zero": {"Age", "0"}, "nonsense": {"Age", "old"}, "miss": {"Cf-Cache-Status", "MISS"}, "revalidated": {"Cf-Cache-Status", "REVALIDATED"},
	} {
		var p Parser
		require.True(t, p.Lesson(github(304, pair[0], pair[1])).HasQuota, name)
	}
	// A rejection is one, whoever served it.
	var p Parser
	l := p.Lesson(github(429, "Age", "3", "Retry-After", "60"))
	require.Equal(t, SecondaryLimit, l.Kind)
	require.False(t, l.HasQuota)
	r := newborn(t)
	res, _ := poll(r, github(403, "Age", "3", "X-Ratelimit-Remaining", "0"))
	require.Equal(t, Limited, res.Outcome, "and no reason to give the resource up")
}
