package resource

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	home  = "https://api.example.com/events"
	moved = "https://api.example.com/v2/events"
	other = "https://other.example.net/events"
)

// redirected is a 200 at the end of a chain that began with permanent redirects
// as far as permanent.
func redirected(permanent string) *Answer {
	a := got(200)
	a.Permanent = permanent
	return a
}

// away is a redirect into another scope.
func away(status int, target, permanent string, pairs ...string) *Answer {
	a := got(status, pairs...)
	a.Target, a.Permanent = target, permanent
	return a
}

// Peer miniflux-11: a 301 is not stored when a feed is refreshed, and a 302 is
// when it is added.
func TestS301_StoredAfterConfirmation(t *testing.T) {
	r := newborn(t)
	for n := 1; n < MoveConfirmations; n++ {
		res, _ := poll(r, redirected(moved))
		require.False(t, res.Relocated)
		require.Equal(t, home, r.URI)
		require.Equal(t, moved, r.Moved)
		require.EqualValues(t, n, r.Seen)
	}
	res, _ := poll(r, redirected(moved))
	require.Equal(t, Result{Outcome: Modified, Publish: true, Relocated: true}, res)
	require.Equal(t, moved, r.URI)
	require.Empty(t, r.Moved)
	require.Zero(t, r.Seen)
}

func TestH12_OnlyConfirmedPermanentSecureMovesAreStored(t *testing.T) {
	for _, c := range []struct {
		name   string
		from   string
		chain  []string // Permanent of each answer; "304 ..." for a 304, "404" for a failure
		stored string
	}{
		{"three in a row", home, []string{moved, moved, moved}, moved},
		{"304 confirms too", home, []string{moved, "304 " + moved, moved}, moved},
		{"twice is not enough", home, []string{moved, moved}, home},
		{"an answer without it starts again", home, []string{moved, moved, "", moved, moved}, home},
		{"another target starts again", home, []string{moved, moved, other, moved, moved}, home},
		{"a failure neither confirms nor clears", home, []string{moved, moved, "404", moved}, moved},
		{"another origin", home, []string{other, other, other}, other},
		{"the fragment is left out", home, []string{moved + "#top", moved + "#top", moved}, moved},
		{"never away from https", home, []string{"http://api.example.com/events", "http://api.example.com/events", "http://api.example.com/events"}, home},
		{"http may be lifted", "http://a.example/feed?x=1", []string{"https://A.example/feed?x=1", "https://A.example/feed?x=1", "https://A.example/feed?x=1"}, "https://A.example/feed?x=1"},
		{"with its root written out", "http://a.example", []string{"https://a.example/", "https://a.example/", "https://a.example/"}, "https://a.example/"},
		// Anybody on the way can forge what came over http.
		{"http leads nowhere else", "http://a.example/feed", []string{"https://b.example/feed", "https://b.example/feed", "https://b.example/feed"}, "http://a.example/feed"},
		{"nor to another path", "http://a.example/feed", []string{"https://a.example/x", "https://a.example/x", "https://a.example/x"}, "http://a.example/feed"},
		{"nor to another port", "http://a.example:8080/feed", []string{"https://a.example/feed", "https://a.example/feed", "https://a.example/feed"}, "http://a.example:8080/feed"},
		{"not what a spec may not hold", home, []string{"https://u:p@a.example/", "https://u:p@a.example/", "https://u:p@a.example/"}, home},
		{"not beyond the bound", home, []string{home + strings.Repeat("x", MaxURI), home + strings.Repeat("x", MaxURI), home + strings.Repeat("x", MaxURI)}, home},
	} {
		r, err := New(Spec{URI: c.from}, "")
		require.NoError(t, err)
		for _, step := range c.chain {
			a := redirected(step)
			if target, ok := strings.CutPrefix(step, "304 "); ok {
				a = got(304)
				a.Permanent = target
			} else if step == "404" {
				a = got(404)
			}
			poll(&r, a)
		}
		require.Equal(t, c.stored, r.URI, c.name)
		origin, err := Origin(r.URI)
		require.NoError(t, err)
		require.Equal(t, origin, r.Origin, c.name)
		_, err = r.MarshalBinary()
		require.NoError(t, err, c.name)
	}
}

// Peer miniflux-11: a 301 is not stored when a feed is refreshed, and a 302 is
// when it is added.
func TestS302_FollowedNotStored(t *testing.T) {
	for _, status := range []int{302, 303, 307} {
		r := newborn(t)
		for range 5 {
			res, _ := poll(r, away(status, other, ""))
			require.Equal(t, Result{Outcome: Moved, Rescoped: true}, res)
			require.Equal(t, other, r.Target())
			require.Equal(t, "https://other.example.net", r.Origin)
			require.Equal(t, at(0), r.NotBefore, "the hop is part of the same poll")
			require.Equal(t, ReasonMoved, r.Why)
			res, _ = poll(r, redirected(other)) // what lies behind a temporary hop does not count
			require.Equal(t, Result{Outcome: Modified, Publish: true, Rescoped: true}, res)
			require.Equal(t, home, r.Target())
			require.Equal(t, "https://api.example.com", r.Origin)
			require.Equal(t, at(DefaultInterval), r.NotBefore)
		}
		require.Equal(t, home, r.URI)
		require.Empty(t, r.Moved)
	}
}

func TestG18_HopsIntoAnotherScope(t *testing.T) {
	r := newborn(t)
	r.Bucket = "core"
	for range MoveConfirmations - 1 {
		poll(r, away(301, other, other))
		require.Equal(t, other, r.Hop)
		require.Equal(t, home, r.URI)
		require.Empty(t, r.Bucket, "a bucket's name means nothing elsewhere")
		poll(r, got(200))
		require.Empty(t, r.Hop)
	}
	poll(r, away(308, other, other))
	res, _ := poll(r, got(200))
	require.True(t, res.Relocated)
	require.Equal(t, other, r.URI)
	require.Equal(t, "https://other.example.net", r.Origin)
	require.False(t, res.Rescoped, "it was asked there already")

	// Only the permanent beginning of a chain may be stored.
	r = newborn(t)
	for range MoveConfirmations {
		poll(r, away(302, other, moved)) // 301 to moved, then 302 into the other scope
		poll(r, got(200))
	}
	require.Equal(t, moved, r.URI)
}

func TestH1_RetryAfterWithARedirectIsTheWaitBeforeTheHop(t *testing.T) {
	r := newborn(t)
	poll(r, away(302, other, "", "Retry-After", "30"))
	require.Equal(t, at(30*time.Second), r.NotBefore)
	require.Equal(t, ReasonRetryAfter, r.Why)
	require.Equal(t, other, r.Hop)
}

func TestH12_LoopsAndUselessTargetsFail(t *testing.T) {
	for name, a := range map[string]*Answer{
		"no target":          got(301),
		"password in target": away(302, "https://u:p@other.example.net/", ""),
		"other scheme":       away(302, "ftp://other.example.net/", ""),
		"too long":           away(302, other+strings.Repeat("x", MaxURI), ""),
	} {
		r := newborn(t)
		res, _ := poll(r, a)
		require.Equal(t, Result{Outcome: Failed}, res, name)
		require.Empty(t, r.Hop, name)
		require.Equal(t, at(2*DefaultInterval), r.NotBefore, name)
		require.Equal(t, ReasonMoved, r.Why, name)
	}
	r := newborn(t)
	poll(r, away(302, other, ""))
	res, _ := poll(r, away(302, home, ""))
	require.Equal(t, Result{Outcome: Failed, Rescoped: true}, res, "two scopes that point at each other")
	require.Equal(t, home, r.Target())
	require.Equal(t, at(2*DefaultInterval), r.NotBefore)

	r = newborn(t)
	a := got(301)
	a.Trouble, a.Cause = ReasonMoved, "too many redirects"
	res, _ = poll(r, a)
	require.Equal(t, Failed, res.Outcome)
	require.Equal(t, at(2*DefaultInterval), r.NotBefore)
}

// A limit or a failure at the hop: a limit leaves the hop to be made, everything
// else starts from the URI again.
func TestS302_WhatBecomesOfAHop(t *testing.T) {
	for _, c := range []struct {
		status int
		hop    string
	}{
		{429, other}, {200, ""}, {304, ""}, {202, ""}, {204, ""}, {404, ""}, {410, ""}, {403, ""}, {500, ""}, {0, ""}, {401, ""},
	} {
		r := newborn(t)
		poll(r, away(302, other, ""))
		a := got(c.status)
		poll(r, a)
		require.Equal(t, c.hop, r.Hop, c.status)
	}
}

func TestH13_GoneIsConfirmedByGone(t *testing.T) {
	for _, c := range []struct {
		name   string
		chain  []int
		gone   bool
		counts uint8
	}{
		{"twice", []int{410, 410}, true, 2},
		{"once", []int{410}, false, 1},
		// A failure counter of its own sort must not confirm: the first 410 after a
		// bad hour would retire a living resource.
		{"after failures", []int{500, 500, 404, 410}, false, 1},
		{"failures between", []int{410, 500, 410}, true, 2},
		{"it came back", []int{410, 200, 410}, false, 1},
		{"unchanged is back too", []int{410, 304, 410}, false, 1},
		{"404 is not gone", []int{404, 404, 404, 404}, false, 0},
	} {
		r := newborn(t)
		for _, status := range c.chain {
			a := got(status)
			a.Conditional = true
			poll(r, a)
		}
		require.Equal(t, c.gone, r.State == Gone, c.name)
		require.Equal(t, c.counts, r.Gones, c.name)
	}
}
