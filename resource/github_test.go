package resource

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Peer all-1: nobody reads X-Poll-Interval, the one header by which the host of
// the firehose says how often it may be asked.
func TestG1_PollIntervalOn200And304(t *testing.T) {
	for _, status := range []int{200, 304} {
		r := newborn(t)
		r.Interval = time.Second
		poll(r, got(status, "X-Poll-Interval", "75"))
		require.Equal(t, at(75*time.Second), r.NotBefore, status)
		require.Equal(t, ReasonPollInterval, r.Why, status)
		require.Equal(t, WaitingForInterval, r.State, status)
	}
}

// The interval counts from the moment the client had all of the answer.
func TestG1_CountsFromTheEndOfTheBody(t *testing.T) {
	r := newborn(t)
	a := got(200, "X-Poll-Interval", "60")
	a.Finished = at(7 * time.Second)
	poll(r, a)
	require.Equal(t, at(67*time.Second), r.NotBefore)
}

func TestG2_PollIntervalRisesFallsAndIsKept(t *testing.T) {
	r := newborn(t)
	for _, step := range []struct {
		header string
		want   time.Duration
	}{
		{"60", 60 * time.Second},
		{"300", 300 * time.Second},
		{"", 300 * time.Second},     // absent: the last known stays
		{"soon", 300 * time.Second}, // nonsense: likewise
		{"-1", 300 * time.Second},
		{"10", 10 * time.Second},
		{"0.2", time.Second}, // a fraction is rounded up
		{"0", DefaultInterval},
		{"99999999999999999999", MaxInterval},
	} {
		a := got(304)
		if step.header != "" {
			a.Header.Set("X-Poll-Interval", step.header)
		}
		poll(r, a)
		require.Equal(t, at(step.want), r.NotBefore, "header %q", step.header)
	}
	a := got(304, "X-Poll-Interval", "20", "X-Poll-Interval", "30")
	poll(r, a)
	require.Equal(t, at(30*time.Second), r.NotBefore, "of two lines the longer")
}

// Peer scrapy-4: no request can have a delay of its own.
// Peer gharchive-1: it asks every 750 ms, without a tag and whatever interval
// it is told.
func TestG3_TheLongestWaitCounts(t *testing.T) {
	for _, c := range []struct {
		name string
		user time.Duration
		a    *Answer
		want time.Duration
		why  Reason
	}{
		{"nothing said", 0, got(200), DefaultInterval, ReasonInterval},
		{"the user's wish", 5 * time.Second, got(200), 5 * time.Second, ReasonInterval},
		{"wish above poll interval", 2 * time.Minute, got(200, "X-Poll-Interval", "60"), 2 * time.Minute, ReasonInterval},
		{"wish below poll interval", time.Second, got(200, "X-Poll-Interval", "60"), time.Minute, ReasonPollInterval},
		{"max-age above all", time.Second, got(200, "X-Poll-Interval", "60", "Cache-Control", "max-age=90"), 90 * time.Second, ReasonFresh},
		{"max-age below", time.Second, got(200, "X-Poll-Interval", "60", "Cache-Control", "max-age=30"), time.Minute, ReasonPollInterval},
		{"retry-after above all", time.Second, got(200, "X-Poll-Interval", "60", "Cache-Control", "max-age=90", "Retry-After", "100"), 100 * time.Second, ReasonRetryAfter},
		{"retry-after below", time.Second, got(304, "X-Poll-Interval", "60", "Retry-After", "10"), time.Minute, ReasonPollInterval},
		{"reset above all", time.Second, github(403, "X-Ratelimit-Remaining", "0", "X-Poll-Interval", "60"), 1001 * time.Second, ReasonPrimary},
	} {
		r := newborn(t)
		r.Interval = c.user
		poll(r, c.a)
		require.Equal(t, at(c.want), r.NotBefore, c.name)
		require.Equal(t, c.why, r.Why, c.name)
	}
}

// A 304 costs nothing of the primary limit, but only the origin's headers say
// so for certain: a bucket follows them, and takes a 304 for free only where the
// caller knows that the request was authorised.
func TestG5_NotModifiedIsFreeOnlyWhenToldSo(t *testing.T) {
	silent := &Lesson{}
	b := known(5, at(time.Hour))
	b.Take()
	b.Settle(silent, at(time.Second), at(2*time.Second), true)
	require.EqualValues(t, 0, b.Unsaid)
	b.Take()
	b.Settle(silent, at(time.Second), at(2*time.Second), false)
	require.EqualValues(t, 1, b.Unsaid)

	b = known(5, at(time.Hour))
	b.Take()
	b.Settle(quota(4, at(time.Hour)), at(time.Second), at(2*time.Second), true)
	require.EqualValues(t, 4, b.Remaining, "what the origin says counts before what the caller thinks")
}

// Peer go-github-4: the fresh rate headers of a 304 are ignored, since a
// revalidated answer is taken for one that a cache has made up.
func TestG6_RateHeadersOf304Count(t *testing.T) {
	var p Parser
	l := p.Lesson(github(304, "X-Ratelimit-Remaining", "7"))
	require.True(t, l.HasQuota)
	b := known(10, at(1000*time.Second))
	b.Take()
	b.Settle(&l, at(time.Second), at(2*time.Second), true)
	require.EqualValues(t, 7, b.Remaining)
}

func TestG7_QuotaAndBucketFromHeaders(t *testing.T) {
	var p Parser
	l := p.Lesson(github(200))
	require.Equal(t, Lesson{
		Dialect: "github", Because: "its origin", Named: true, Bucket: "core", HasQuota: true, Limit: 5000, Remaining: 10,
		Reset: at(1000 * time.Second), Window: at(1000 * time.Second),
	}, l)
	r := newborn(t)
	p.Apply(r, github(200), &l)
	require.Equal(t, BucketKey{Scope{"", "https://api.example.com"}, "core"}, r.Key())
}

// A client that stores whatever the headers parse to forgets the limit when a
// proxy's 502, or a server with limits off, sends none: zeros are no news.
//
// Peer go-github-1: an answer without rate headers, of a proxy or of a server
// whose limits are off, overwrites what is known with zeros.
func TestG7_MissingOrBrokenHeadersTeachNothing(t *testing.T) {
	var p Parser
	for name, a := range map[string]*Answer{
		"none":               without(github(502), "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "X-Ratelimit-Resource"),
		"no limit":           without(github(200), "X-Ratelimit-Limit"),
		"no remaining":       without(github(200), "X-Ratelimit-Remaining"),
		"no reset":           without(github(200), "X-Ratelimit-Reset"),
		"empty remaining":    github(200, "X-Ratelimit-Remaining", " "),
		"negative remaining": github(200, "X-Ratelimit-Remaining", "-1"),
		"words":              github(200, "X-Ratelimit-Limit", "many"),
		"reset in ms":        github(200, "X-Ratelimit-Reset", "1767225600000"),
		"reset as seconds":   github(200, "X-Ratelimit-Reset", "60"),
		"reset in 3 years":   github(200, "X-Ratelimit-Reset", unix(3*366*24*time.Hour)),
	} {
		l := p.Lesson(a)
		require.False(t, l.HasQuota, name)
		b := known(3, at(time.Hour))
		b.Take()
		b.Settle(&l, at(time.Second), at(2*time.Second), true)
		require.True(t, b.Known, name)
		require.EqualValues(t, 3, b.Remaining, name)
		require.Equal(t, at(time.Hour), b.Reset, name)
	}
	a := github(200)
	a.Header.Set("X-Ratelimit-Resource", string(make([]byte, MaxBucket+1)))
	require.False(t, p.Lesson(a).Named, "a name beyond the bound is none")
	a.Header.Set("X-Ratelimit-Resource", string(make([]byte, MaxBucket)))
	require.True(t, p.Lesson(a).Named)
	require.True(t, p.Lesson(github(200, "X-Ratelimit-Limit", "0")).HasQuota, "a limit of nothing is one")
}

func TestG8_LimitsAreReadNotAssumed(t *testing.T) {
	var p Parser
	for _, limit := range []string{"60", "5000", "12500", "15000"} {
		l := p.Lesson(github(200, "X-Ratelimit-Limit", limit))
		b := Bucket{}
		b.Take()
		b.Settle(&l, at(-time.Second), at(0), false)
		want, _ := count(header("N", limit), "N")
		require.Equal(t, want, b.Limit)
	}
	off := got(200, "X-Github-Request-Id", "A:B") // limits switched off: no headers at all
	l := p.Lesson(off)
	b := Bucket{}
	b.Take()
	b.Settle(&l, at(-time.Second), at(0), false)
	require.False(t, b.Known)
	require.Equal(t, Ready, b.Admit(at(0)).Kind)
}

// Peer octokit-1: requests are put into fixed groups, and ten go at once to a
// host that asks for one at a time.
func TestG11_GitHubIsAskedSerially(t *testing.T) {
	d, err := DialectNamed(nil, "github")
	require.NoError(t, err)
	require.Equal(t, 1, d.Concurrency)
	b := known(50, at(time.Hour))
	b.Cap = d.Concurrency
	b.Take()
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, Why: ReasonConcurrency}, b.Admit(at(0)))
	b.Release()
	require.Equal(t, Ready, b.Admit(at(0)).Kind)
}

// An origin may still refuse at the very second of the reset.
//
// Peer octokit-5: with a clock that differs, or at the very second of the
// reset, clients come too early and are refused again.
func TestG12_PrimaryWaitsForTheResetAndASecond(t *testing.T) {
	for _, status := range []int{403, 429} {
		a := body(github(status, "X-Ratelimit-Remaining", "0"), `{"message":"API rate limit exceeded for 1.2.3.4."}`)
		r := newborn(t)
		res, l := poll(r, a)
		require.Equal(t, Limited, res.Outcome)
		require.Equal(t, PrimaryLimit, l.Kind)
		require.False(t, l.Wide, "another bucket of the credential may go on")
		require.Equal(t, at(1001*time.Second), l.Until)
		require.Equal(t, "x-ratelimit-remaining 0", l.Evidence)
		require.Equal(t, WaitingForReset, r.State)

		var b Bucket
		b.Take()
		b.Settle(&l, at(-time.Second), at(0), false)
		require.Equal(t, Decision{Kind: Line, State: WaitingForReset, At: at(1001 * time.Second), Why: ReasonPrimary}, b.Admit(at(1000*time.Second)))
		require.Equal(t, ReasonProbe, b.Admit(at(1001*time.Second)).Why)
	}
}

// Peer go-github-6: a rejection with neither Retry-After nor reset parks
// nothing at all.
func TestG12_PrimaryWithoutAResetThatMakesSense(t *testing.T) {
	for name, a := range map[string]*Answer{
		"no reset":      without(github(403, "X-Ratelimit-Remaining", "0"), "X-Ratelimit-Reset"),
		"reset is zero": github(403, "X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", "0"),
		"reset too far": github(429, "X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", "3999999999"),
		"no limit":      without(github(429, "X-Ratelimit-Remaining", "0"), "X-Ratelimit-Limit", "X-Ratelimit-Reset"),
	} {
		var p Parser
		l := p.Lesson(a)
		require.Equal(t, PrimaryLimit, l.Kind, name)
		require.True(t, l.Fallback, name)
		var b Bucket
		b.Take()
		b.Settle(&l, at(-time.Second), at(0), false)
		require.Equal(t, at(time.Minute), b.Park, name)
	}
	a := without(github(403, "X-Ratelimit-Remaining", "0", "Retry-After", "90"), "X-Ratelimit-Reset")
	var p Parser
	l := p.Lesson(a)
	require.False(t, l.Fallback)
	require.Equal(t, at(90*time.Second), l.Until, "then Retry-After is all there is")
	l = p.Lesson(github(403, "X-Ratelimit-Remaining", "0", "Retry-After", "5000"))
	require.Equal(t, at(5000*time.Second), l.Until, "and the later of two counts")
}

// Peer gofri-11: a secondary limit without Retry-After waits for the reset of
// the quota, though requests remain.
// Peer go-github-7: a secondary limit without Retry-After waits for the reset
// although requests remain: up to an hour for nothing.
// Peer octokit-7: secondary limits come mostly without Retry-After, for which
// nothing is prepared.
func TestG13_LadderOfTheSecondaryLimit(t *testing.T) {
	const message = `{"message":"You have exceeded a secondary rate limit."}`
	for _, c := range []struct {
		name     string
		a        *Answer
		until    time.Duration // 0: fallback
		evidence string
	}{
		{"retry-after first", body(github(403, "Retry-After", "120"), message), 120 * time.Second, "message names a secondary rate limit, retry-after"},
		{"retry-after even with nothing left", body(github(403, "Retry-After", "120", "X-Ratelimit-Remaining", "0"), message), 120 * time.Second, "message names a secondary rate limit, retry-after"},
		{"then the reset, with nothing left", body(github(403, "X-Ratelimit-Remaining", "0"), message), 1001 * time.Second, "message names a secondary rate limit, x-ratelimit-remaining 0"},
		// Waiting for the reset while requests remain keeps a client away for up to
		// an hour that nobody asked for.
		{"never the reset while requests remain", body(github(403), message), 0, "message names a secondary rate limit"},
		{"nothing left and no reset", body(without(github(403, "X-Ratelimit-Remaining", "0"), "X-Ratelimit-Reset"), message), 0, "message names a secondary rate limit"},
		{"retry-after alone", github(403, "Retry-After", "30"), 30 * time.Second, "status 403, retry-after"},
		{"retry-after as a date", github(429, "Retry-After", httpDate(45*time.Second)), 45 * time.Second, "status 429, retry-after"},
		{"a bare 429", github(429), 0, "status 429"},
		{"retry-after is nonsense", body(github(403, "Retry-After", "-1"), message), 0, "message names a secondary rate limit"},
		{"an epoch in retry-after", body(github(403, "Retry-After", unix(90*time.Second)), message), 90 * time.Second, "message names a secondary rate limit, retry-after Unix seconds in Retry-After"},
	} {
		var p Parser
		l := p.Lesson(c.a)
		require.Equal(t, SecondaryLimit, l.Kind, c.name)
		require.True(t, l.Wide, c.name)
		require.Equal(t, c.evidence, l.Evidence, c.name)
		require.Equal(t, c.until == 0, l.Fallback, c.name)
		if c.until != 0 {
			require.Equal(t, at(c.until), l.Until, c.name)
		}
	}
}

// Peer gofri-6: a secondary limit without any header is handed through to the
// caller, and nothing is parked.
// Peer go-github-6: a rejection with neither Retry-After nor reset parks
// nothing at all.
// Peer octokit-4: the wait after a limit without headers is always a minute,
// and never grows.
func TestG13_FallbackIsAMinuteAndGrows(t *testing.T) {
	var b Bucket
	now := at(0)
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute} {
		b.Take()
		b.Settle(&Lesson{Kind: SecondaryLimit, Fallback: true}, now, now, false)
		require.Equal(t, now.Add(want), b.Park)
		require.Equal(t, ReasonSecondary, b.Admit(now).Why)
		now = b.Park
	}
	for range 300 {
		b.Take()
		b.Settle(&Lesson{Kind: SecondaryLimit, Fallback: true}, now, now, false)
		require.LessOrEqual(t, b.Park.Sub(now), MaxLimitWait)
		now = b.Park
	}
	b.Take()
	b.Settle(&Lesson{}, now, now, false)
	require.Zero(t, b.Strikes, "a request that was served after the park is forgiveness")
}

// Sixteen requests in flight that are all refused are one incident. Counted as
// sixteen, the first limit would already keep everybody away for a day.
func TestG13_RejectionsInFlightTogetherAreOneStrike(t *testing.T) {
	b := known(90, at(time.Hour))
	for range 16 {
		b.Take()
	}
	for i := range 16 {
		b.Settle(&Lesson{Kind: SecondaryLimit, Fallback: true}, at(time.Second), at(time.Duration(2000+i)*time.Millisecond), false)
	}
	require.EqualValues(t, 1, b.Strikes)
	require.Equal(t, at(2015*time.Millisecond+time.Minute), b.Park)
	b.Take()
	b.Settle(quota(80, at(time.Hour)), at(1500*time.Millisecond), at(3*time.Second), false)
	require.EqualValues(t, 1, b.Strikes, "an answer from before the park forgives nothing")
}

// Peer hub4j-1: the secondary limit comes as 403 or 429, with or without a
// marker, and was missed in one form after another.
func TestG14_MarkersOfTheSecondaryLimit(t *testing.T) {
	for name, a := range map[string]*Answer{
		"message":           body(github(403), `{"message":"You have exceeded a SECONDARY rate limit. Wait."}`),
		"documentation":     body(github(403), `{"documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`),
		"old documentation": body(github(403), `{"documentation_url":"https://docs.github.com/v3/#abuse-rate-limits"}`),
		"header":            github(429, "Gh-Limited-By", "reservation"),
		"user id":           body(github(403), `{"message":"API rate limit exceeded for user ID 1."}`),
		"no quota told":     body(without(github(403), "X-Ratelimit-Remaining"), `{"message":"API rate limit exceeded."}`),
	} {
		var p Parser
		require.Equal(t, SecondaryLimit, p.Lesson(a).Kind, name)
	}
}

// Peer gofri-10: a secondary limit that shows nothing remaining is taken for
// the primary one, and blocks the bucket for up to an hour.
func TestG14_SecondaryWithNothingLeftLeavesTheQuotaAlone(t *testing.T) {
	var p Parser
	l := p.Lesson(body(github(403, "X-Ratelimit-Remaining", "0", "Retry-After", "60"), "secondary rate limit"))
	scope, inside := l.Split(true)
	b := known(10, at(1000*time.Second))
	b.Take()
	b.Settle(&inside, at(time.Second), at(2*time.Second), false)
	require.EqualValues(t, 10, b.Remaining)
	require.True(t, b.Park.IsZero())
	own := Bucket{}
	own.Take()
	own.Settle(&scope, at(time.Second), at(2*time.Second), false)
	require.Equal(t, at(60*time.Second), own.Park)
}

func TestG15_OtherForbiddenIsNoLimit(t *testing.T) {
	for name, a := range map[string]*Answer{
		"github": body(github(403), `{"message":"Resource protected by organization SAML enforcement."}`),
		"plain":  got(403),
	} {
		r := newborn(t)
		res, l := poll(r, a)
		require.Equal(t, NoLimit, l.Kind, name)
		require.Equal(t, Result{Outcome: Forbidden, Ended: true}, res, name)
		require.Equal(t, Error, r.State, name)
		require.Equal(t, ReasonForbidden, r.Why, name)
		require.Equal(t, Fault, Decide(r, &Snapshot{}, at(time.Hour)).Kind, "it is not asked for in a loop")
	}
}

func TestG16_NothingLeavesWhileParked(t *testing.T) {
	b := Bucket{Answered: true}
	b.Take()
	b.Settle(&Lesson{Kind: SecondaryLimit, Until: at(100 * time.Second)}, at(-time.Second), at(0), false)
	for s := range 100 {
		d := b.Admit(at(time.Duration(s) * time.Second))
		require.Equal(t, Decision{Kind: Line, State: WaitingForReset, At: at(100 * time.Second), Why: ReasonSecondary}, d)
	}
	require.Equal(t, Ready, b.Admit(at(100*time.Second)).Kind)
}

// GET /rate_limit reports a healthy quota during a secondary limit. A park is
// not shortened by any number in an answer.
//
// Peer hub4j-2: while a secondary limit lasts, a healthy quota was taken for
// its end.
func TestG17_HealthyQuotaDoesNotUnpark(t *testing.T) {
	b := Bucket{Answered: true}
	b.Take()
	b.Take()
	b.Settle(&Lesson{Kind: SecondaryLimit, Until: at(100 * time.Second)}, at(-time.Second), at(0), false)
	b.Settle(quota(4999, at(time.Hour)), at(-time.Second), at(time.Second), false)
	require.Equal(t, at(100*time.Second), b.Admit(at(2*time.Second)).At)
}

func TestLGitHub_Detection(t *testing.T) {
	for name, a := range map[string]*Answer{
		"origin":     {Origin: GitHubOrigin, Status: 200},
		"request id": got(200, "X-GitHub-Request-Id", "1:2"),
		"resource":   got(200, "x-ratelimit-resource", "core"),
	} {
		var p Parser
		require.Equal(t, "github", p.Lesson(a).Dialect, name)
		i := slices.IndexFunc(Dialects(), func(d Dialect) bool { return d.Detect(a.Origin, a.Header) != "" })
		require.Equal(t, "github", Dialects()[i].Name, name)
	}
	var p Parser
	require.Equal(t, "plain", p.Lesson(got(200, "X-Ratelimit-Limit", "5")).Dialect)
	require.Equal(t, "plain", Dialects()[len(Dialects())-1].Name, "the last one fits every origin")
}

// Peer go-github-3: the bucket is guessed from the path, although the answer
// has been parsed and names it.
func TestLGitHub_BucketIsWhatTheAnswerNames(t *testing.T) {
	r := newborn(t)
	poll(r, github(200, "X-Ratelimit-Resource", "search"))
	require.Equal(t, "search", r.Bucket)
	poll(r, without(github(304), "X-Ratelimit-Resource"))
	require.Equal(t, "search", r.Bucket, "an answer that names none changes nothing")
	poll(r, github(200))
	require.Equal(t, "core", r.Bucket)
}

// The quota that comes with a 401 is that of the address: the credential was not
// accepted, so nothing of it was counted.
func TestD5_QuotaOfARefusedCredentialIsNotIts(t *testing.T) {
	var p Parser
	l := p.Lesson(github(401, "X-Ratelimit-Limit", "60", "X-Ratelimit-Remaining", "0", "Retry-After", "5"))
	require.Equal(t, Lesson{
		Dialect: "github", Because: "its origin", Kind: CredentialLimit, Wide: true, Fallback: true, Evidence: "status 401",
	}, l)
}

// A reset on the origin's clock is met by the same distance on ours, whichever
// of the two is wrong, and never before it: Date has whole seconds only.
//
// Peer octokit-5: with a clock that differs, or at the very second of the
// reset, clients come too early and are refused again.
func TestG12_ResetIsOnTheOriginsClock(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour, 900 * time.Millisecond} {
		trueReset := at(1000*time.Second + skew).Truncate(time.Second) // on the origin's clock
		a := github(200, "Date", httpDate(skew), "X-Ratelimit-Reset", unix(trueReset.Sub(at(0))))
		var p Parser
		l := p.Lesson(a)
		ours := trueReset.Add(-skew)
		require.False(t, l.Reset.Before(ours), "skew %v: %v is early", skew, l.Reset)
		require.Less(t, l.Reset.Sub(ours), time.Second, skew)
	}
	var p Parser
	a := github(200, "Date", "Sun, 01 Jan 1990 00:00:00 GMT")
	require.Equal(t, at(1000*time.Second), p.Lesson(a).Reset, "a Date that makes no sense is not believed")
}
