package resource

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Services are known by headers of theirs that come together.
func TestLDiscord_OneHeaderAloneIsNotDiscords(t *testing.T) {
	var p Parser
	require.Equal(t, "discord", p.Lesson(got(200, "X-RateLimit-Bucket", "b", "X-RateLimit-Reset-After", "1")).Dialect)
	for _, name := range []string{"X-RateLimit-Bucket", "X-RateLimit-Reset-After"} {
		require.NotEqual(t, "discord", p.Lesson(got(200, name, "1")).Dialect, name)
	}
}

func TestLReddit_UsedAloneIsNotReddits(t *testing.T) {
	var p Parser
	require.Equal(t, "reddit", p.Lesson(got(200, "X-Ratelimit-Used", "1", "X-Ratelimit-Remaining", "9")).Dialect)
	require.NotEqual(t, "reddit", p.Lesson(got(200, "X-Ratelimit-Used", "1")).Dialect)
	l := spoken(t, "reddit", got(200, "X-Ratelimit-Used", "1", "X-Ratelimit-Remaining", "9"))
	require.Zero(t, l.Limit, "without a reset there is no quota")
}

// A date that says the same as the number but for the slack is no contradiction.
func TestLGitLab_TheSlackBetweenNumberAndDate(t *testing.T) {
	for apart, doubt := range map[time.Duration]bool{-3 * sec: true, -2 * sec: false, 2 * sec: false, 3 * sec: true} {
		l := spoken(t, "gitlab", got(200, "RateLimit-Limit", "600", "RateLimit-Remaining", "597", "RateLimit-Reset", unix(90*sec), "RateLimit-ResetTime", httpDate(90*sec+apart)))
		require.Equal(t, doubt, l.Doubt != "", apart)
	}
}

func TestLStripe_TheReasonIsEvidence(t *testing.T) {
	l := spoken(t, "stripe", on(got(429, "Stripe-Rate-Limited-Reason", "endpoint-rate", "Stripe-Should-Retry", "false"), "https://api.stripe.com", "/v1/events"))
	require.Equal(t, "status 429, endpoint-rate, stripe-should-retry false", l.Evidence)
}

func TestLBasecamp_WhatIsMissingOrTooLong(t *testing.T) {
	const until = `"until":"2026-01-01T00:00:20Z"`
	for _, text := range []string{`{"limit":50,` + until + `}`, `{"remaining":7,` + until + `}`, `{"limit":50,"remaining":7}`} {
		require.False(t, spoken(t, "basecamp", got(200, "X-RateLimit", text)).HasQuota, text)
	}
	text := `{"limit":50,"remaining":7,` + until + `}`
	text += strings.Repeat(" ", 1<<10-len(text))
	require.True(t, spoken(t, "basecamp", got(200, "X-RateLimit", text)).HasQuota)
	require.False(t, spoken(t, "basecamp", got(200, "X-RateLimit", text+" ")).HasQuota)
	for period, want := range map[time.Duration]bool{-10: false, 0: false, MaxInterval / sec: true, MaxInterval/sec + 1: false} {
		l := spoken(t, "basecamp", got(200, "X-RateLimit", `{"period":`+strconv.Itoa(int(period))+`,"limit":50,"remaining":7,`+until+`}`))
		require.True(t, l.HasQuota)
		require.Equal(t, want, l.Spacing != 0, "%d", period)
	}
	require.Zero(t, spoken(t, "basecamp", got(200, "X-RateLimit", `{"period":10,"limit":0,"remaining":0,`+until+`}`)).Spacing)
}

// Two numbers make a quota, and one does not.
func TestLDiscord_HalfAQuotaIsNone(t *testing.T) {
	for _, name := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining"} {
		require.False(t, spoken(t, "discord", got(200, name, "5", "X-RateLimit-Reset-After", "1")).HasQuota, name)
	}
}

// Each sign of a global limit is enough, though the numbers are those of a bucket.
func TestLDiscord_EachSignOfAGlobalLimitIsEnough(t *testing.T) {
	numbers := []string{"X-RateLimit-Limit", "10", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset-After", "60", "Retry-After", "30"}
	for _, a := range []*Answer{
		body(got(429, numbers...), `{"global": true}`),
		got(429, append(numbers, "X-RateLimit-Scope", "global")...),
		got(429, append(numbers, "X-RateLimit-Global", "true")...),
	} {
		l := spoken(t, "discord", a)
		require.True(t, l.Kind == OverloadLimit && l.Wide)
		require.Equal(t, at(30*sec), l.Until, "and the reset of the bucket does not count")
	}
	l := spoken(t, "discord", got(429, numbers...))
	require.True(t, l.Kind == PrimaryLimit && !l.Wide, "numbers without a scope are of the bucket")
	require.Equal(t, "status 429, of this bucket, retry-after, reset", l.Evidence)
	l = spoken(t, "discord", got(429, "X-RateLimit-Scope", "user", "Retry-After", "30"))
	require.True(t, l.Kind == PrimaryLimit && !l.Wide, "and so is a scope without numbers")
}

func TestLDiscord_WhatAPathIsAbout(t *testing.T) {
	for path, want := range map[string]string{"/api/10/users/42": "", "/api/v10/channels/x/42": "", "/guilds/42": ":guilds/42"} {
		require.Equal(t, want, topLevel(path), path)
	}
}

// An error page with the headers of another service does not change the dialect
// of a scope, whichever of them it is.
func TestDialects_AFailureNeverChangesTheDialect(t *testing.T) {
	for _, d := range Dialects() {
		p := Parser{Spoken: d.Name}
		l := p.Lesson(got(502, "X-Shopify-Shop-Api-Call-Limit", "1/40"))
		require.Equal(t, [2]string{d.Name, "spoken before"}, [2]string{l.Dialect, l.Because})
	}
}

// A feed's hint comes with its body: with any 200 that was read, and with no
// other answer.
func TestLFeeds_WhichAnswersBringAHint(t *testing.T) {
	hint := Hint{Interval: 2 * 3600 * sec}
	for name, c := range map[string]struct {
		a    *Answer
		want Hint
	}{
		"new":                {got(200, "Etag", `"b"`), hint},
		"the same tag again": {got(200, "Etag", `"a"`), hint},
		"not found":          {got(404), Hint{}},
		"a broken body":      {&Answer{Origin: "https://api.example.com", Status: 200, Trouble: ReasonBroken, Sent: at(0), Received: at(0)}, Hint{}},
	} {
		r := newborn(t)
		poll(r, got(200, "Etag", `"a"`))
		c.a.Hint = hint
		poll(r, c.a)
		require.Equal(t, c.want, r.Hint, name)
	}
}

func TestG12_TheLaterOfResetAndRetryAfter(t *testing.T) {
	for retry, until := range map[string]time.Duration{"10": 1001 * sec, "2000": 2000 * sec} {
		l := spoken(t, "github", github(403, "X-Ratelimit-Remaining", "0", "Retry-After", retry))
		require.True(t, l.Kind == PrimaryLimit && !l.Fallback)
		require.Equal(t, at(until), l.Until, retry)
	}
}

func TestG7_ResetsFromTheEpochToAYearAhead(t *testing.T) {
	year := int64(epoch + MaxInterval/sec)
	for reset, want := range map[int64]bool{firstEpoch - 1: false, firstEpoch: true, year: true, year + 1: false, lastEpoch + 1: false, 1 << 62: false} {
		l := spoken(t, "github", github(200, "X-Ratelimit-Reset", strconv.FormatInt(reset, 10)))
		require.Equal(t, want, l.HasQuota, reset)
		require.Equal(t, !want, l.Doubt != "", reset)
	}
}

// Of two sets of headers the one that is tried first counts.
func TestLOthers_TheFirstWindowCounts(t *testing.T) {
	l := spoken(t, "x-ratelimit", got(200, "X-Ratelimit-Limit", "10", "X-Ratelimit-Remaining", "1", "X-Ratelimit-Reset", "60",
		"X-Rate-Limit-Limit", "99", "X-Rate-Limit-Remaining", "98", "X-Rate-Limit-Reset", "5"))
	told(t, l, 10, 1, 60*sec, "the second says more, and is another's")
}

// A number is an instant from the first to the last of a century, in seconds or
// milliseconds, and else a wait.
func TestI11_NumbersThatAreInstants(t *testing.T) {
	a := got(200)
	a.Received = time.Unix(lastEpoch, 0) // no reset from before is too far ahead
	for n, want := range map[int64]string{
		firstEpoch - 1: doubtHuge, firstEpoch: "", lastEpoch: "", lastEpoch + 1: doubtHuge,
		firstEpoch*1000 - 1: doubtHuge, firstEpoch * 1000: doubtMillis, lastEpoch * 1000: doubtMillis, lastEpoch*1000 + 1: doubtHuge,
		int64(MaxInterval / sec): doubtSeconds, int64(MaxInterval/sec) + 1: doubtHuge,
	} {
		_, doubt, ok := readReset(a, strconv.FormatInt(n, 10), anyUnit)
		require.Equal(t, want, doubt, n)
		require.Equal(t, want != doubtHuge, ok, n)
	}
}

func TestI11_Durations(t *testing.T) {
	longest := strings.Repeat("0", 38) + "9s"
	for s, want := range map[string]time.Duration{"0s": 0, "0.5s": sec / 2, "9s": 9 * sec, longest: 9 * sec} {
		d, ok := duration(s)
		require.True(t, ok, s)
		require.Equal(t, want, d)
	}
	for _, s := range []string{"", "0" + longest, "-1s", "+1s", ".5s", "s"} {
		_, ok := duration(s)
		require.False(t, ok, s)
	}
}
