package resource

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Peer octokit-6: all requests share one count of tries, so that a request
// gives up that was never tried again.
func TestG13_GivesUpAfterSeveral(t *testing.T) {
	limited := func(strikes uint8) *Answer {
		a := without(github(403), "X-Ratelimit-Remaining")
		a.Excerpt, a.Strikes = []byte("You have exceeded a secondary rate limit."), strikes
		return a
	}
	r := newborn(t)
	for n := range uint8(SecondaryTries) {
		res, _ := poll(r, limited(n))
		require.Equal(t, Result{Outcome: Limited}, res, "%d in a row", n)
	}
	res, _ := poll(r, limited(SecondaryTries))
	require.Equal(t, Result{Outcome: Limited, Ended: true}, res)
	require.Equal(t, Error, r.State)
	require.Equal(t, ReasonSecondary, r.Why)
	require.Contains(t, r.Cause, "8 secondary limits in a row")

	named := limited(SecondaryTries)
	named.Header.Set("Retry-After", "60")
	r = newborn(t)
	res, _ = poll(r, named)
	require.False(t, res.Ended, "an origin that says for how long is obeyed for as long as it likes")

	primary := github(403, "X-Ratelimit-Remaining", "0")
	primary.Strikes = 255
	res, _ = poll(r, primary)
	require.False(t, res.Ended, "nor is a primary limit a reason to give up")
}

func TestG13_GivesUpAtTheEighthOfItsOwn(t *testing.T) {
	r := newborn(t)
	for n := range SecondaryTries {
		a := body(without(github(403), "X-Ratelimit-Remaining"), "You have exceeded a secondary rate limit.")
		a.Strikes = SecondaryTries
		res, _ := poll(r, a)
		require.Equal(t, n == SecondaryTries-1, res.Ended, "refusal %d of this resource, though the scope has met more", n+1)
	}
}

// quiet lets so many answers come in that change nothing.
func quiet(r *Resource, n int) (hushed int) {
	for range n {
		if res, _ := poll(r, got(304)); res.Hushed {
			hushed++
		}
	}
	return hushed
}

// news lets a new representation come in after each of so many lulls of a length.
func news(t *testing.T, r *Resource, n, lull int) (woken int) {
	t.Helper()
	for range n {
		require.Zero(t, quiet(r, lull))
		a := got(200)
		a.Digest = uint64(r.Modified) + 2
		res, _ := poll(r, a)
		require.Equal(t, Modified, res.Outcome)
		if res.Woken {
			woken++
		}
	}
	return woken
}

func TestE11_UnusualQuietIsToldOnce(t *testing.T) {
	r := newborn(t)
	require.Zero(t, news(t, r, 25, 9), "one in ten polls brings something new")
	// 14 changes would have been expected after about 140 polls, and the share
	// falls while they do not come.
	require.Zero(t, quiet(r, 140))
	require.Equal(t, 1, quiet(r, 10_000), "once, however long it lasts")
	require.True(t, r.Hushed)
	require.Equal(t, 1, news(t, r, 1, 0), "and its end once")
	require.False(t, r.Hushed)
	require.EqualValues(t, 10_140, r.Lull)
	require.Zero(t, quiet(r, 2*10_140), "a lull of about this length is known now")
}

func TestE11_NothingIsUsualAtFirst(t *testing.T) {
	r := newborn(t)
	news(t, r, usualChanges-1, 0)
	require.Zero(t, quiet(r, 100_000), "too few changes tell nothing")
}

func TestE11_FailuresAreNoQuiet(t *testing.T) {
	r := newborn(t)
	news(t, r, 30, 0)
	for range 1000 {
		res, _ := poll(r, got(500))
		require.False(t, res.Hushed)
	}
}

func TestH12_ARateMayMakeSeveralRequestsOfAChain(t *testing.T) {
	// Redirects inside one scope whose rate admits only one request at a time:
	// each is left for the next.
	r := newborn(t)
	for n := range uint8(MaxHops) {
		res, _ := poll(r, away(302, moved, ""))
		require.Equal(t, Moved, res.Outcome, "hop %d", n+1)
		require.Equal(t, n+1, r.Hops)
		require.Equal(t, moved, r.Target())
	}
	res, _ := poll(r, away(302, moved, ""))
	require.Equal(t, Failed, res.Outcome, "but not for ever")
	require.Zero(t, r.Hops)
	require.Equal(t, home, r.Target())

	poll(r, away(302, other, ""))
	res, _ = poll(r, away(302, home, ""))
	require.Equal(t, Failed, res.Outcome, "nor from scope to scope")
}

func TestH12_TheBeginningOfAChainInSeveralRequestsIsWhatIsStored(t *testing.T) {
	r := newborn(t)
	for range MoveConfirmations {
		poll(r, away(301, moved, moved))
		poll(r, away(302, moved+"?page", ""))
		poll(r, got(200))
	}
	require.Equal(t, moved, r.URI)
}

// Peer freshrss-1: a Retry-After that one route was given froze all routes of
// its domain.
func TestS429_ALimitOfTheResourceAlone(t *testing.T) {
	own := func(r *Resource, a *Answer) {
		var p Parser
		l := p.Lesson(a)
		l.Own = true
		require.Equal(t, Result{Outcome: Limited}, p.Apply(r, a, &l))
		require.Equal(t, WaitingForReset, r.State)
		require.Equal(t, ReasonOverload, r.Why)
	}
	r := newborn(t)
	own(r, got(429, "Retry-After", "600"))
	require.False(t, r.NotBefore.Before(at(600*time.Second)))
	own(r, got(429))
	require.Equal(t, at(2*LimitFallback), r.NotBefore, "without an instant it doubles")
	own(r, got(429))
	require.Equal(t, at(4*LimitFallback), r.NotBefore)
	poll(r, got(200))
	own(r, got(429))
	require.Equal(t, at(LimitFallback), r.NotBefore, "and is forgiven")
}

func TestS429_ALimitOfTheResourceAloneThatIsOverNow(t *testing.T) {
	r := newborn(t)
	var p Parser
	for n, want := range []time.Duration{LimitFallback, 2 * LimitFallback, 4 * LimitFallback} {
		a := got(429, "Retry-After", "0")
		l := p.Lesson(a)
		l.Own = true
		p.Apply(r, a, &l)
		require.Equal(t, at(want), r.NotBefore, "refusal %d: who says now and refuses again meets our own backoff", n+1)
	}
}

// As many changes as tell what is usual, and a streak that is just long enough.
func TestE11_JustUnusual(t *testing.T) {
	for _, c := range []struct {
		modified, quiet, polls uint32
		want                   bool
	}{
		{usualChanges, unusualQuiet + 1, usualChanges, true},
		{usualChanges, unusualQuiet, usualChanges, false},
		{usualChanges - 1, 1000, usualChanges, false},
	} {
		x := applying{r: &Resource{Modified: c.modified, Quiet: c.quiet, Polls: c.polls}}
		res := Result{Outcome: NotModified}
		x.hush(&res)
		require.Equal(t, c.want, res.Hushed, "%+v", c)
	}
}
