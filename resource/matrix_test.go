package resource

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// row is one line of the status matrix: an answer to a resource whose interval
// is 10 s, and what has to come of it.
type row struct {
	name   string
	a      *Answer
	failed uint16 // failures before it

	outcome  Outcome
	publish  bool
	ended    bool
	state    State
	why      Reason
	wait     time.Duration
	failures uint16
	kind     LimitKind
}

func (c *row) check(t *testing.T) {
	t.Helper()
	r := newborn(t)
	r.Interval = 10 * time.Second
	r.Failures = c.failed
	r.Validators = Validators{ETag: `"old"`}
	r.Claim(NewOwner(), at(-time.Second), at(time.Minute))
	res, l := poll(r, c.a)
	require.Equal(t, Result{Outcome: c.outcome, Publish: c.publish, Ended: c.ended}, res, c.name)
	require.Equal(t, c.state, r.State, c.name)
	require.Equal(t, c.why, r.Why, c.name)
	require.Equal(t, at(c.wait), r.NotBefore, c.name)
	require.Equal(t, c.failures, r.Failures, c.name)
	require.Equal(t, c.kind, l.Kind, c.name)
	require.True(t, r.Owner.IsZero(), "%s: the claim has ended", c.name)
	require.EqualValues(t, 1, r.Polls, c.name)
	if c.state == Error || c.state == Gone || c.outcome == Failed {
		require.NotEmpty(t, r.Cause, c.name)
	}
}

func check(t *testing.T, rows []row) {
	t.Helper()
	for i := range rows {
		rows[i].check(t)
	}
}

func TestS200_NewRepresentation(t *testing.T) {
	check(t, []row{{
		name: "200", a: got(200, "Etag", `"new"`), failed: 3,
		outcome: Modified, publish: true, state: WaitingForInterval, why: ReasonInterval, wait: 10 * time.Second,
	}})
	r := newborn(t)
	a := got(200, "Etag", `"a"`, "Last-Modified", "Tue, 06 Jan 2026 00:00:00 GMT")
	a.Digest = 7
	r.Quiet = 4
	poll(r, a)
	require.Equal(t, Validators{`"a"`, "Tue, 06 Jan 2026 00:00:00 GMT"}, r.Validators)
	require.EqualValues(t, 7, r.Digest)
	require.Equal(t, at(0), r.Changed)
	require.Equal(t, at(0), r.Answered)
	require.Equal(t, at(-100*time.Millisecond), r.Asked)
	require.EqualValues(t, 1, r.Modified)
	require.Zero(t, r.Quiet)
}

// Peer httpcache-1: a 304 becomes the stored 200: nobody can tell that nothing
// has changed, and it is published again.
func TestS304_NotModified(t *testing.T) {
	check(t, []row{{
		name: "304", a: got(304), failed: 3,
		outcome: NotModified, state: WaitingForInterval, why: ReasonInterval, wait: 10 * time.Second,
	}})
	r := newborn(t)
	for n := range 50 { // the interval does not adapt by itself
		poll(r, got(304))
		require.Equal(t, at(DefaultInterval), r.NotBefore)
		require.EqualValues(t, n+1, r.Quiet)
		require.Zero(t, r.Modified)
	}
}

func TestS202_NotReadyOrEmpty(t *testing.T) {
	check(t, []row{
		{name: "202", a: got(202), failed: 2, outcome: Empty, state: WaitingForInterval, why: ReasonNotReady, wait: 10 * time.Second},
		{name: "202 with retry-after", a: got(202, "Retry-After", "30"), outcome: Empty, state: WaitingForInterval, why: ReasonRetryAfter, wait: 30 * time.Second},
		{name: "204", a: got(204), failed: 2, outcome: Empty, state: WaitingForInterval, why: ReasonInterval, wait: 10 * time.Second},
	})
	r := newborn(t)
	poll(r, got(204))
	poll(r, got(202))
	require.EqualValues(t, 2, r.Quiet)
	require.Zero(t, r.Modified)
}

func TestS400_OurFaultStops(t *testing.T) {
	for _, status := range []int{400, 422} {
		check(t, []row{{
			name: "ours", a: got(status), outcome: Rejected, ended: true,
			state: Error, why: ReasonRequest, wait: 10 * time.Second, failures: 1,
		}})
	}
}

func TestS401_CredentialParksTheScope(t *testing.T) {
	check(t, []row{{
		name: "401", a: got(401), outcome: Unauthorized, state: WaitingForServerAlive, why: ReasonCredential,
		wait: 20 * time.Second, failures: 1, kind: CredentialLimit,
	}})
	var p Parser
	l := p.Lesson(got(401))
	scope, inside := l.Split(true)
	require.Equal(t, NoLimit, inside.Kind)
	b := Bucket{Answered: true, Cap: 8}
	b.Take()
	b.Settle(&scope, at(-time.Second), at(0), false)
	d := b.Admit(at(CredentialWait - time.Second))
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, At: at(CredentialWait), Why: ReasonCredential}, d)

	// After the wait one request alone finds out whether the credential is good again.
	require.Equal(t, Decision{Kind: Ready, Why: ReasonProbe}, b.Admit(at(CredentialWait)))
	b.Take()
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, Why: ReasonProbe}, b.Admit(at(CredentialWait)))
	b.Settle(&scope, at(CredentialWait), at(CredentialWait+time.Second), false)
	require.Equal(t, at(CredentialWait+time.Second+2*CredentialWait), b.Park)
	b.Take()
	b.Settle(&Lesson{}, b.Park, b.Park, false)
	require.Equal(t, ReasonDue, b.Admit(at(24*time.Hour)).Why)
}

// Peer retryablehttp-1: Retry-After counts with 429 and 503 only.
func TestS403_ByDialect(t *testing.T) {
	check(t, []row{
		{name: "forbidden", a: got(403), outcome: Forbidden, ended: true, state: Error, why: ReasonForbidden, wait: 10 * time.Second, failures: 1},
		{name: "plain, with retry-after", a: got(403, "Retry-After", "120"), outcome: Limited, state: WaitingForReset, why: ReasonOverload, wait: 2 * time.Minute, kind: OverloadLimit},
		{name: "github, primary", a: github(403, "X-Ratelimit-Remaining", "0"), outcome: Limited, state: WaitingForReset, why: ReasonPrimary, wait: 1001 * time.Second, kind: PrimaryLimit},
		{name: "a short limit under a long interval", a: github(403, "Retry-After", "1"), outcome: Limited, state: WaitingForInterval, why: ReasonInterval, wait: 10 * time.Second, kind: SecondaryLimit},
		{name: "github, secondary", a: github(403, "Retry-After", "120"), outcome: Limited, state: WaitingForReset, why: ReasonSecondary, wait: 2 * time.Minute, kind: SecondaryLimit},
	})
}

func TestS404_SlowsDown(t *testing.T) {
	check(t, []row{
		{name: "first", a: got(404), outcome: Failed, state: WaitingForServerAlive, why: ReasonNotFound, wait: 20 * time.Second, failures: 1},
		{name: "third", a: got(404), failed: 2, outcome: Failed, state: WaitingForServerAlive, why: ReasonNotFound, wait: 80 * time.Second, failures: 3},
		{name: "hundredth", a: got(404), failed: 99, outcome: Failed, state: WaitingForServerAlive, why: ReasonNotFound, wait: MaxSlowBackoff, failures: 100},
	})
}

func TestS408_Transient(t *testing.T) {
	for _, status := range []int{408, 425} {
		check(t, []row{
			{name: "first", a: got(status), outcome: Failed, state: WaitingForServerAlive, why: ReasonTimeout, wait: 10 * time.Second, failures: 1},
			{name: "fifth", a: got(status), failed: 4, outcome: Failed, state: WaitingForServerAlive, why: ReasonTimeout, wait: 32 * time.Second, failures: 5},
		})
	}
}

// Peer miniflux-12: a 410 is an error like any other.
// Peer nutch-4: no page counts as gone for good: a 410 makes the interval
// longer.
func TestS410_GoneAfterConfirmation(t *testing.T) {
	r := newborn(t)
	res, _ := poll(r, got(410))
	require.Equal(t, Result{Outcome: Failed}, res)
	require.Equal(t, WaitingForInterval, r.State)
	require.Equal(t, at(DefaultInterval), r.NotBefore)
	require.Equal(t, "status 410, to be confirmed", r.Cause)
	res, _ = poll(r, got(410))
	require.Equal(t, Result{Outcome: Retired, Publish: true, Ended: true}, res)
	require.Equal(t, Gone, r.State)
	require.Equal(t, Decision{Kind: Fault, State: Gone, Why: ReasonGone}, Decide(r, &Snapshot{}, at(time.Hour)))
}

// Peer scrapy-1: the delay follows the latency: a 429 does not make it longer.
// Peer benthos-4: Retry-After is copied into the metadata of a message, and not
// obeyed.
// Peer changedetection-4: Retry-After is not read.
func TestS429_Ladder(t *testing.T) {
	check(t, []row{
		{name: "retry-after", a: got(429, "Retry-After", "120"), outcome: Limited, state: WaitingForReset, why: ReasonOverload, wait: 2 * time.Minute, kind: OverloadLimit},
		{name: "github's reset", a: github(429, "X-Ratelimit-Remaining", "0"), outcome: Limited, state: WaitingForReset, why: ReasonPrimary, wait: 1001 * time.Second, kind: PrimaryLimit},
		{name: "nothing", a: got(429), outcome: Limited, state: WaitingForInterval, why: ReasonInterval, wait: 10 * time.Second, kind: OverloadLimit},
		{name: "nonsense", a: got(429, "Retry-After", "later"), outcome: Limited, state: WaitingForInterval, why: ReasonInterval, wait: 10 * time.Second, kind: OverloadLimit},
	})
	var p Parser
	for _, a := range []*Answer{got(429), got(429, "Retry-After", "")} {
		l := p.Lesson(a)
		require.True(t, l.Fallback && l.Wide)
		b := Bucket{Answered: true}
		b.Take()
		b.Settle(&l, at(-time.Second), at(0), false)
		require.Equal(t, at(LimitFallback), b.Park)
	}
	// A dialect of the user's that forgets the status does not turn it into news.
	deaf := Parser{Dialect: Dialect{Name: "deaf", Read: func(*Answer, *Lesson) {}}}
	l := deaf.Lesson(got(429))
	require.Equal(t, OverloadLimit, l.Kind)
	require.True(t, l.Fallback)
}

func TestS451_Legal(t *testing.T) {
	check(t, []row{{
		name: "451", a: got(451), outcome: Forbidden, ended: true,
		state: Error, why: ReasonLegal, wait: 10 * time.Second, failures: 1,
	}})
}

func TestS500_ServerFailure(t *testing.T) {
	for _, status := range []int{500, 502, 504} {
		check(t, []row{
			{name: "first", a: got(status), outcome: Failed, state: WaitingForServerAlive, why: ReasonServer, wait: 10 * time.Second, failures: 1},
			{name: "fourth", a: got(status), failed: 3, outcome: Failed, state: WaitingForServerAlive, why: ReasonServer, wait: 16 * time.Second, failures: 4},
			{name: "for ever", a: got(status), failed: math.MaxUint16, outcome: Failed, state: WaitingForServerAlive, why: ReasonServer, wait: MaxFailureBackoff, failures: math.MaxUint16},
		})
	}
	var p Parser
	l := p.Lesson(got(500))
	require.True(t, l.Failure)
}

// Peer miniflux-1: Retry-After counts with 429 only, and is cut at the longest
// interval that is configured.
func TestS503_Overload(t *testing.T) {
	check(t, []row{
		{name: "bare", a: got(503), outcome: Failed, state: WaitingForServerAlive, why: ReasonServer, wait: 10 * time.Second, failures: 1},
		{name: "retry-after", a: got(503, "Retry-After", "90"), outcome: Limited, state: WaitingForReset, why: ReasonOverload, wait: 90 * time.Second, kind: OverloadLimit},
		{name: "github", a: github(503, "Retry-After", "90"), outcome: Limited, state: WaitingForReset, why: ReasonOverload, wait: 90 * time.Second, kind: OverloadLimit},
	})
}

func TestSNet_NoAnswer(t *testing.T) {
	none := func(trouble Reason) *Answer {
		return &Answer{Sent: at(-time.Second), Received: at(0), Trouble: trouble}
	}
	check(t, []row{
		{name: "network", a: none(ReasonNetwork), failed: 5, outcome: Failed, state: WaitingForServerAlive, why: ReasonNetwork, wait: 64 * time.Second, failures: 6},
		{name: "nobody says why", a: none(ReasonNone), outcome: Failed, state: WaitingForServerAlive, why: ReasonNetwork, wait: 10 * time.Second, failures: 1},
		{name: "broken before a header", a: none(ReasonBroken), outcome: Failed, state: WaitingForServerAlive, why: ReasonBroken, wait: 10 * time.Second, failures: 1},
		// A certificate does not get better in two seconds.
		{name: "certificate", a: none(ReasonTLS), outcome: Failed, state: WaitingForServerAlive, why: ReasonTLS, wait: 20 * time.Second, failures: 1},
		{name: "token", a: none(ReasonToken), outcome: Failed, state: WaitingForServerAlive, why: ReasonToken, wait: 20 * time.Second, failures: 1},
	})
	r := newborn(t)
	r.Answered, r.Validators = at(-time.Hour), Validators{ETag: `"kept"`}
	poll(r, none(ReasonNetwork))
	require.Equal(t, at(-time.Hour), r.Answered, "nothing was answered")
	require.Equal(t, Validators{ETag: `"kept"`}, r.Validators)
	require.Equal(t, "no answer", r.Cause)
	poll(r, got(502))
	require.Equal(t, "status 502: failure of the origin", r.Cause)
	a := none(ReasonNetwork)
	a.Cause = strings.Repeat("é", MaxCause)
	poll(r, a)
	require.LessOrEqual(t, len(r.Cause), MaxCause)
	require.True(t, strings.HasPrefix(a.Cause, r.Cause), "cut at a rune")
}

func TestSType_AnotherMediaTypeIsAFailure(t *testing.T) {
	r := newborn(t)
	r.Validators, r.Digest = Validators{ETag: `"json"`}, 5
	a := got(200, "Etag", `"login page"`, "Content-Type", "text/html")
	a.Trouble, a.Cause, a.Digest = ReasonMediaType, "text/html instead of application/json", 6
	res, _ := poll(r, a)
	require.Equal(t, Result{Outcome: Failed}, res)
	require.Equal(t, Validators{ETag: `"json"`}, r.Validators)
	require.EqualValues(t, 5, r.Digest)
	require.Equal(t, ReasonMediaType, r.Why)
	require.Equal(t, at(2*DefaultInterval), r.NotBefore)
	require.Equal(t, a.Cause, r.Cause)
}

func TestD17_BrokenBodyStoresNothing(t *testing.T) {
	r := newborn(t)
	r.Validators = Validators{ETag: `"whole"`}
	a := got(200, "Etag", `"half"`)
	a.Trouble, a.Cause = ReasonBroken, "unexpected EOF"
	res, _ := poll(r, a)
	require.Equal(t, Result{Outcome: Failed}, res)
	require.Equal(t, Validators{ETag: `"whole"`}, r.Validators)
	require.Equal(t, ReasonBroken, r.Why)

	a = got(429, "Retry-After", "300")
	a.Trouble = ReasonBroken
	res, _ = poll(r, a)
	require.Equal(t, Limited, res.Outcome, "a limit is one whatever became of its body")
}

func TestH14_NotRetryableFaster(t *testing.T) {
	for _, status := range []int{402, 405, 406, 409, 411, 413, 414, 418, 421, 426, 431, 499} {
		check(t, []row{{
			name: "4xx", a: got(status), failed: 1, outcome: Failed,
			state: WaitingForServerAlive, why: ReasonRequest, wait: 40 * time.Second, failures: 2,
		}})
	}
	for _, status := range []int{501, 505, 507, 511, 599} {
		check(t, []row{{
			name: "5xx", a: got(status), failed: 1, outcome: Failed,
			state: WaitingForServerAlive, why: ReasonServer, wait: 40 * time.Second, failures: 2,
		}})
	}
	for _, status := range []int{101, 203, 206, 226, 300, 305, 999} {
		why := ReasonProtocol
		if status == 999 {
			why = ReasonServer
		}
		check(t, []row{{
			name: "unexpected", a: got(status), failed: 1, outcome: Failed,
			state: WaitingForServerAlive, why: why, wait: 40 * time.Second, failures: 2,
		}})
	}
}

// Peer retryablehttp-7: the backoff has no jitter unless one asks for it.
func TestSBackoff_JitterOnlyAdds(t *testing.T) {
	for n := range uint16(40) {
		d := min(MaxFailureBackoff, FailureBackoff<<min(n, 20))
		require.Equal(t, d, backoff(FailureBackoff, n, MaxFailureBackoff, 0))
		require.Equal(t, d+d/4, backoff(FailureBackoff, n, MaxFailureBackoff, 0.5))
		require.Less(t, backoff(FailureBackoff, n, MaxFailureBackoff, 0.999), d+d/2)
	}
	require.Equal(t, MaxSlowBackoff, backoff(MaxInterval, 0, MaxSlowBackoff, 0))
	require.Equal(t, MaxFailureBackoff, backoff(FailureBackoff, math.MaxUint16, MaxFailureBackoff, 0))

	r := newborn(t)
	r.Failures = 4
	a := got(500)
	a.Jitter = 0.5
	poll(r, a)
	require.Equal(t, at(DefaultInterval), r.NotBefore, "and never before the interval")
	a = got(500)
	a.Jitter = 0.5
	r.Failures = 6
	poll(r, a)
	require.Equal(t, at(160*time.Second), r.NotBefore)
}

// Peer oras-1: jitter made clients come before the Retry-After that they were
// given.
func TestD19_JitterNeverShortensAWait(t *testing.T) {
	for _, share := range []float64{math.Inf(-1), -1, math.NaN(), 0, math.SmallestNonzeroFloat64, 0.5, 0.999, 1, 2, math.Inf(1)} {
		for _, wait := range []time.Duration{math.MinInt64, -time.Hour, 0, 1, time.Second, time.Minute, time.Hour, farFuture, math.MaxInt64} {
			extra := spread(wait, share)
			require.GreaterOrEqual(t, extra, time.Duration(0))
			require.LessOrEqual(t, extra, max(0, min(wait/10, MaxLimitJitter)))
		}
	}
	require.Equal(t, 3*time.Second, spread(time.Minute, 0.5), "half of 10 %")
	require.Equal(t, 15*time.Second, spread(time.Hour, 0.5), "half of 30 s")

	b := Bucket{Answered: true}
	b.Take()
	b.Settle(&Lesson{Kind: SecondaryLimit, Until: at(time.Minute), Jitter: 0.5}, at(-time.Second), at(0), false)
	require.Equal(t, at(63*time.Second), b.Park)
	b = Bucket{}
	b.Take()
	l := quota(0, at(time.Minute))
	l.Jitter = 0.5
	b.Settle(l, at(-time.Second), at(0), false)
	require.Equal(t, at(64*time.Second), b.Admit(at(0)).At)
}

// A capped Retry-After is an early request in disguise. Beyond the cap the
// resource is parked and named, and the wait stays what it is.
//
// Peer retryablehttp-1: Retry-After counts with 429 and 503 only.
// Peer miniflux-1: Retry-After counts with 429 only, and is cut at the longest
// interval that is configured.
// Peer stormcrawler-3: a Retry-After of more than a day is cut to a day.
func TestD21_BeyondTheCapIsParkedNotShortened(t *testing.T) {
	for _, c := range []struct {
		name  string
		a     *Answer
		state State
		wait  time.Duration
	}{
		{"429 at the cap", got(429, "Retry-After", "3600"), WaitingForReset, time.Hour},
		{"429 beyond", got(429, "Retry-After", "3601"), Parked, time.Hour + time.Second},
		{"503 for days", got(503, "Retry-After", "864000"), Parked, 240 * time.Hour},
		{"200 beyond", got(200, "Retry-After", "7200"), Parked, 2 * time.Hour},
		{"500 beyond", got(500, "Retry-After", "7200"), Parked, 2 * time.Hour},
		{"no clock holds it", got(429, "Retry-After", "99999999999999999999"), Parked, farFuture},
		{"github's reset", github(403, "X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", unix(2*time.Hour)), Parked, 2*time.Hour + time.Second},
		{"a long interval is the user's", got(200, "X-Poll-Interval", "7200"), WaitingForInterval, 2 * time.Hour},
		{"nor is it one with a short retry-after", got(200, "X-Poll-Interval", "7200", "Retry-After", "10"), WaitingForInterval, 2 * time.Hour},
		{"freshness is no order to stay away", got(200, "Cache-Control", "max-age=7200"), WaitingForInterval, 2 * time.Hour},
	} {
		r := newborn(t)
		poll(r, c.a)
		require.Equal(t, c.state, r.State, c.name)
		require.Equal(t, at(c.wait), r.NotBefore, c.name)
		if c.state == Parked {
			require.NotEmpty(t, r.Cause, c.name)
			d := Decide(r, &Snapshot{}, at(0))
			require.Equal(t, Decision{Kind: At, State: Parked, At: at(c.wait), Why: r.Why}, d, c.name)
		}
	}
	r := newborn(t)
	p := Parser{ParkCap: 10 * time.Minute}
	a := got(429, "Retry-After", "601")
	l := p.Lesson(a)
	p.Apply(r, a, &l)
	require.Equal(t, Parked, r.State)
	require.Equal(t, at(601*time.Second), r.NotBefore)
}

func TestD22_CountersSaturate(t *testing.T) {
	r := newborn(t)
	r.Polls, r.Modified, r.Quiet, r.Failures = math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint16
	poll(r, got(404))
	require.EqualValues(t, math.MaxUint16, r.Failures)
	poll(r, got(304))
	require.EqualValues(t, math.MaxUint32, r.Quiet)
	poll(r, got(200))
	require.EqualValues(t, math.MaxUint32, r.Modified)
	require.EqualValues(t, math.MaxUint32, r.Polls)
	require.EqualValues(t, 255, satAdd8(255))
	require.EqualValues(t, 255, satInc(255))
	var b Bucket
	b.Strikes, b.edges = 255, 255
	b.Take()
	b.Settle(&Lesson{Kind: OverloadLimit, Fallback: true}, at(0), at(0), false)
	require.Equal(t, at(MaxLimitWait), b.Park)
}

// Whatever the scope of a header's name looks like on the wire, net/http hands
// it over in one form, and of several lines each counts.
func TestD23_NamesAndLinesOfHeaders(t *testing.T) {
	r := newborn(t)
	a := got(200, "x-poll-interval", "75", "eTaG", `"x"`, "cache-CONTROL", "private", "Cache-Control", "max-age=90")
	poll(r, a)
	require.Equal(t, at(90*time.Second), r.NotBefore)
	require.Equal(t, `"x"`, r.Validators.ETag)
	require.Equal(t, 75*time.Second, r.PollInterval)
	a = got(429, "Retry-After", "10", "Retry-After", "nonsense", "Retry-After", "100", "Retry-After", "60")
	poll(r, a)
	require.Equal(t, at(100*time.Second), r.NotBefore, "the latest of several")
}

// Feeds that obey a server's hints on a 200 only fall back to their shortest
// interval with every 304.
//
// Peer miniflux-2: freshness and ttl count after a 200 only; a 304 falls back
// to the shortest interval.
func TestD13_HintsCountOn304AsOn200(t *testing.T) {
	for _, hint := range [][]string{
		{"X-Poll-Interval", "300"},
		{"Retry-After", "300"},
		{"Cache-Control", "max-age=300"},
		{"Expires", httpDate(300 * time.Second), "Date", httpDate(0)},
	} {
		for _, status := range []int{200, 304} {
			r := newborn(t)
			poll(r, got(status, hint...))
			require.Equal(t, at(300*time.Second), r.NotBefore, "%d %v", status, hint)
		}
	}
}

// Peer gharchive-3: the body of a 403 is taken for a list of events, which
// fails, and the next request follows in less than a second.
func TestD16_RejectionsArePublishedToNobody(t *testing.T) {
	for status := 400; status < 600; status++ {
		if status == 410 {
			continue
		}
		r := newborn(t)
		res, _ := poll(r, body(got(status, "Etag", `"error page"`), `{"message":"no"}`))
		require.False(t, res.Publish, status)
		require.True(t, r.Validators.IsZero(), status)
		require.Zero(t, r.Modified, status)
	}
}
