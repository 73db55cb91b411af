package resource

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLGitLab_ResetIsAnEpochUnderTheNamesOfTheDraft(t *testing.T) {
	at90 := []string{"RateLimit-Limit", "600", "RateLimit-Observed", "3", "RateLimit-Remaining", "597", "RateLimit-Reset", unix(90 * sec)}
	for _, c := range []struct {
		name, doubt string
		reset       time.Duration
		pairs       []string
	}{
		{"as documented", "", 90 * sec, append(at90, "RateLimit-ResetTime", httpDate(90*sec), "RateLimit-Name", "throttle_api")},
		{"no date", "", 90 * sec, at90},
		{"the date is later", "ratelimit-reset and ratelimit-resettime differ: the later counts", 200 * sec, append(at90, "RateLimit-ResetTime", httpDate(200*sec))},
		{"the date is earlier", "ratelimit-reset and ratelimit-resettime differ: the later counts", 90 * sec, append(at90, "RateLimit-ResetTime", httpDate(20*sec))},
		{"the date alone", "ratelimit-reset is no Unix time that makes sense: ratelimit-resettime counts", 30 * sec,
			[]string{"RateLimit-Limit", "600", "RateLimit-Remaining", "597", "RateLimit-ResetTime", httpDate(30 * sec)}},
		{"seconds left", "ratelimit-reset is no Unix time that makes sense: ratelimit-resettime counts", 30 * sec,
			[]string{"RateLimit-Limit", "600", "RateLimit-Remaining", "597", "RateLimit-Reset", "20", "RateLimit-ResetTime", httpDate(30 * sec)}},
		{"seconds left, no date", doubtSeconds, 20 * sec, []string{"RateLimit-Limit", "600", "RateLimit-Remaining", "597", "RateLimit-Reset", "20"}},
	} {
		l := spoken(t, "gitlab", got(200, c.pairs...))
		told(t, l, 600, 597, c.reset, c.name)
		require.Equal(t, c.doubt, l.Doubt, c.name)
	}
	l := spoken(t, "gitlab", got(200, append(at90, "RateLimit-Name", "throttle_api")...))
	require.True(t, l.Named)
	require.Equal(t, "throttle_api", l.Bucket)
}

// On a 429 the headers are missing, or those of a window that is not the one that
// refused; the body is text. A peer waits until the date, another for a minute.
func TestLGitLab_A429MayComeWithoutAnything(t *testing.T) {
	l := spoken(t, "gitlab", body(got(429, "Content-Type", "text/plain"), "Retry later\n"))
	require.True(t, l.Kind == OverloadLimit && l.Wide && l.Fallback)
	l = spoken(t, "gitlab", got(429, "Retry-After", "45"))
	require.Equal(t, at(45*sec), l.Until)
	l = spoken(t, "gitlab", got(429, "Retry-After", "45", "RateLimit-Limit", "600", "RateLimit-Remaining", "0", "RateLimit-Reset", unix(90*sec)))
	require.Equal(t, PrimaryLimit, l.Kind)
	require.Equal(t, at(91*sec), l.Until, "the later of the two")
	l = spoken(t, "gitlab", got(429, "Retry-After", "45", "RateLimit-Limit", "600", "RateLimit-Remaining", "40", "RateLimit-Reset", unix(90*sec)))
	require.True(t, l.Kind == OverloadLimit && l.Wide)
	require.Equal(t, at(45*sec), l.Until)
}

// Peer freshrss-3: a host that limits its feeds by 403 was taken for one that
// forbids them.
func TestLReddit_FractionsAndSecondsLeft(t *testing.T) {
	l := spoken(t, "reddit", got(200, "X-Ratelimit-Used", "12.5", "X-Ratelimit-Remaining", "587.9", "X-Ratelimit-Reset", "299.1"))
	told(t, l, 600, 587, 300*sec, "what remains is cut off, what was used and the wait are rounded up")
	require.Empty(t, l.Doubt)
	l = spoken(t, "reddit", got(200, "X-Ratelimit-Used", "1", "X-Ratelimit-Remaining", "9", "X-Ratelimit-Reset", unix(90*sec)))
	told(t, l, 10, 9, 90*sec, "no wait lasts 50 years")
	require.Equal(t, doubtEpoch, l.Doubt)
	l = spoken(t, "reddit", got(429, "X-Ratelimit-Used", "100", "X-Ratelimit-Remaining", "0.0", "X-Ratelimit-Reset", "77"))
	require.Equal(t, PrimaryLimit, l.Kind)
	require.Equal(t, at(78*sec), l.Until)
	require.False(t, spoken(t, "reddit", got(200)).HasQuota, "a CDN's answer carries none")
	l = spoken(t, "reddit", got(403, "Retry-After", "60"))
	require.Equal(t, OverloadLimit, l.Kind, "its feeds refuse addresses with a 403")
}

func TestLX_EpochAndEndpoints(t *testing.T) {
	l := spoken(t, "x", on(got(200, "x-rate-limit-limit", "900", "x-rate-limit-remaining", "899", "x-rate-limit-reset", unix(900*sec)), "https://api.x.com", "/2/users/1234567/tweets"))
	told(t, l, 900, 899, 900*sec, "as documented")
	require.Empty(t, l.Doubt)
	require.Equal(t, "/2/users/*/tweets", l.Bucket)
	l = spoken(t, "x", body(got(429, "x-rate-limit-limit", "900", "x-rate-limit-remaining", "0", "x-rate-limit-reset", unix(900*sec)), `{"errors":[{"code":88}]}`))
	require.True(t, l.Kind == PrimaryLimit && !l.Wide)
	require.Equal(t, at(901*sec), l.Until)
	l = spoken(t, "x", got(429, "x-rate-limit-limit", "900", "x-rate-limit-remaining", "500", "x-rate-limit-reset", unix(900*sec)))
	require.True(t, l.Kind == OverloadLimit && l.Wide && l.Fallback, "another limit than this one")
}

func TestDialects_Endpoints(t *testing.T) {
	for path, want := range map[string]string{
		"": "", "/": "/*", "/2/tweets": "/2/tweets", "/1.1/statuses/user_timeline.json": "/1.1/statuses/user_timeline.json",
		"/v1/payment_intents/pi_3MtwBwLkdIwHu7ix": "/v1/payment_intents/*", "/api/v1/x": "/api/v1/x",
		"/2/users/by/username/jack": "/2/users/by/username/*", "/2/users/42": "/2/users/*", "/a/caf%C3%A9": "/a/*", "/a/ü": "/a/*",
		"/hooks/" + strings.Repeat("s", 33): "/hooks/*", strings.Repeat("/a", 200): "", strings.Repeat("x", MaxURI+1): "",
	} {
		require.Equal(t, want, endpoint(path), "%.40q", path)
	}
}

func TestLShopify_ALeakyBucketDrains(t *testing.T) {
	l := spoken(t, "shopify", got(200, "X-Shopify-Shop-Api-Call-Limit", "32/40"))
	told(t, l, 40, 8, 16*sec, "two drain in a second")
	require.Empty(t, l.Doubt)
	l = spoken(t, "shopify", got(200, "X-Shopify-Shop-Api-Call-Limit", " 41 / 80 "))
	told(t, l, 80, 39, 20500*time.Millisecond, "a larger plan drains faster, which nobody says")
	require.NotEmpty(t, l.Doubt)
	l = spoken(t, "shopify", got(429, "X-Shopify-Shop-Api-Call-Limit", "41/40", "Retry-After", "2.0"))
	told(t, l, 40, 0, 20500*time.Millisecond, "over its edge")
	require.Equal(t, PrimaryLimit, l.Kind)
	l = spoken(t, "shopify", got(429, "X-Shopify-Shop-Api-Call-Limit", "39/40", "Retry-After", "2.0"))
	require.Equal(t, at(2*sec), l.Until)
	for _, odd := range []string{"", "32", "32/", "/40", "0/0", "-1/40", "a/b"} {
		require.False(t, spoken(t, "shopify", got(200, "X-Shopify-Shop-Api-Call-Limit", odd)).HasQuota, odd)
	}
	r := newborn(t)
	a := on(got(430), "https://a.myshopify.com", "")
	res, l := poll(r, a)
	require.True(t, l.Kind == OverloadLimit && l.Wide && l.Fallback, "430 is a refusal that passes")
	require.Equal(t, Limited, res.Outcome)
	l = spoken(t, "shopify", got(430, "Retry-After", "60"))
	require.Equal(t, at(60*sec), l.Until)
}

// A steady client of a leaky bucket is told another end of the window by every
// answer: the buckets must not take that for windows that end.
func TestLShopify_SteadyUse(t *testing.T) {
	var b Bucket
	used, sent := 0.0, 0
	for now := time.Duration(0); now < 10*time.Minute; now += 100 * time.Millisecond {
		used = max(0, used-0.2)
		if d := b.Admit(at(now)); d.Kind != Ready {
			continue
		}
		b.Take()
		sent++
		used++
		require.LessOrEqual(t, used, 40.0, "it never overflows")
		a := got(200, "X-Shopify-Shop-Api-Call-Limit", strings.TrimSuffix(strings.TrimSuffix(formatFloat(used), ".0"), ".")+"/40")
		a.Sent, a.Received = at(now), at(now)
		l := spoken(t, "shopify", a)
		b.Settle(&l, at(now), at(now), false)
	}
	require.Greater(t, sent, 1000, "of the 1,240 that fit")
}

func TestLSlack_MethodsWaitAlone(t *testing.T) {
	a := on(got(429, "Retry-After", "30"), "https://slack.com", "/api/conversations.history")
	l := spoken(t, "slack", a)
	require.Equal(t, "conversations.history", l.Bucket)
	require.True(t, l.Kind == OverloadLimit && !l.Wide)
	require.Equal(t, at(30*sec), l.Until)
	l = spoken(t, "slack", on(got(200), "https://slack.com", "/api/users.lookupByEmail"))
	require.True(t, l.Named, "named before it is limited, so that its resources are together")
	require.Equal(t, "users.lookupByEmail", l.Bucket)
	l = spoken(t, "slack", got(429))
	require.True(t, l.Wide && l.Fallback && !l.Named, "nobody knows the method")
	l = spoken(t, "slack", on(got(503, "Retry-After", "9"), "https://slack.com", "/api/users.list"))
	require.True(t, l.Kind == OverloadLimit && l.Wide)
	require.False(t, spoken(t, "slack", on(got(200), "https://hooks.slack.com", "/services/T0/B0/secret")).Named, "no secret becomes a name")
}

func TestLStripe_WithoutNumbers(t *testing.T) {
	d, err := DialectNamed(nil, "stripe")
	require.NoError(t, err)
	require.Equal(t, Limit{25, time.Second}, d.Limit, "the least of what is documented")
	const path = "/v1/payment_intents/pi_3MtwBwLkdIwHu7ix"
	for reason, wide := range map[string]bool{
		"global-rate": true, "global-concurrency": true, "endpoint-rate": false, "endpoint-concurrency": false, "resource-specific": false,
		"": false, "solar-flare": true,
	} {
		a := on(got(429), "https://api.stripe.com", path)
		if reason != "" {
			a.Header.Set("Stripe-Rate-Limited-Reason", reason)
		}
		l := spoken(t, "stripe", a)
		require.Equal(t, OverloadLimit, l.Kind, reason)
		require.Equal(t, wide, l.Wide, reason)
		require.True(t, l.Fallback, reason)
		require.Equal(t, "/v1/payment_intents/*", l.Bucket, "identifiers share the bucket of their endpoint")
		require.NotContains(t, l.Evidence, "solar", "no text of the origin")
	}
	l := spoken(t, "stripe", on(got(429, "Stripe-Should-Retry", "false", "Retry-After", "5"), "", path))
	require.Equal(t, "status 429, stripe-should-retry false, retry-after", l.Evidence)
	require.Equal(t, at(5*sec), l.Until)
	require.True(t, spoken(t, "stripe", got(429)).Wide, "the endpoint is not known")
	require.Equal(t, NoLimit, spoken(t, "stripe", got(200)).Kind)
}

func TestLDiscord_BucketsAndFractions(t *testing.T) {
	const path = "/api/v10/channels/123456789012345678/messages"
	numbers := func(status int, pairs ...string) *Answer {
		return on(got(status, append([]string{
			"X-RateLimit-Limit", "5", "X-RateLimit-Remaining", "4", "X-RateLimit-Reset", "1767225700.123",
			"X-RateLimit-Reset-After", "1.337", "X-RateLimit-Bucket", "abcd1234",
		}, pairs...)...), "https://discord.com", path)
	}
	l := spoken(t, "discord", numbers(200))
	told(t, l, 5, 4, 2*sec, "the seconds left count, rounded up, and not the instant, which has been wrong")
	require.Equal(t, "abcd1234:channels/123456789012345678", l.Bucket)
	require.Empty(t, l.Doubt)
	l = spoken(t, "discord", without(numbers(200), "X-Ratelimit-Reset-After"))
	told(t, l, 5, 4, 101*sec, "the instant alone")
	require.False(t, spoken(t, "discord", without(numbers(200), "X-Ratelimit-Reset-After", "X-Ratelimit-Reset")).HasQuota)

	for path, want := range map[string]string{
		"/api/v10/guilds/42/members": "abcd1234:guilds/42", "/api/webhooks/7/s3cr3t-t0ken": "abcd1234:webhooks/7",
		"/api/v10/users/@me": "abcd1234", "/api/channels": "abcd1234", "": "abcd1234",
	} {
		require.Equal(t, want, spoken(t, "discord", on(numbers(200), "", path)).Bucket)
	}
}

func TestLDiscord_RejectionsByScope(t *testing.T) {
	numbers := []string{"X-RateLimit-Limit", "10", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset-After", "64.57", "X-RateLimit-Bucket", "b", "Retry-After", "65"}
	for _, c := range []struct {
		name, excerpt string
		pairs         []string
		kind          LimitKind
		wide, quota   bool
		until         time.Duration
	}{
		{"user", `{"retry_after": 64.57, "global": false}`, append(numbers, "X-RateLimit-Scope", "user"), PrimaryLimit, false, true, 66 * sec},
		{"the body waits longer", `{"retry_after": 70.1}`, append(numbers, "X-RateLimit-Scope", "user"), PrimaryLimit, false, true, 71 * sec},
		{"shared", `{"retry_after": 20}`, []string{"X-RateLimit-Limit", "10", "X-RateLimit-Remaining", "9", "X-RateLimit-Reset-After", "60", "X-RateLimit-Scope", "shared", "X-RateLimit-Bucket", "b"},
			OverloadLimit, false, false, 20 * sec},
		{"global by header", "", []string{"Retry-After", "30", "X-RateLimit-Global", "true"}, OverloadLimit, true, false, 30 * sec},
		{"global by scope", "", []string{"Retry-After", "30", "X-RateLimit-Scope", "global"}, OverloadLimit, true, false, 30 * sec},
		{"global by body", `{"retry_after": 30, "global": true}`, nil, OverloadLimit, true, false, 30 * sec},
		{"its CDN", "<html>", []string{"Retry-After", "600"}, OverloadLimit, true, false, 600 * sec},
		{"nothing at all", `{"retry_after": -1}`, nil, OverloadLimit, true, false, 0},
		{"a body cut off", `{"retry_after": 30, "glo`, append(numbers, "X-RateLimit-Scope", "user"), PrimaryLimit, false, true, 66 * sec},
	} {
		l := spoken(t, "discord", body(got(429, c.pairs...), c.excerpt))
		require.Equal(t, c.kind, l.Kind, c.name)
		require.Equal(t, c.wide, l.Wide, c.name)
		require.Equal(t, c.quota, l.HasQuota, c.name)
		require.Equal(t, c.until == 0, l.Fallback, c.name)
		if c.until != 0 {
			require.Equal(t, at(c.until), l.Until, c.name)
		}
		require.NotEmpty(t, l.Evidence, c.name)
	}
	require.Equal(t, at(9*sec), spoken(t, "discord", got(503, "Retry-After", "9")).Until)
}

// The header names an instant on the origin's clock; to count from one's own was
// the fault that its users complained of.
//
// Peer bcx-1: a limit is told as JSON with an instant in text, which nobody
// reads.
func TestLBasecamp_AnInstantInJSON(t *testing.T) {
	const format = `{"name":"API","period":10,"limit":50,"remaining":7,"until":"2026-01-01T00:00:20Z"}`
	l := spoken(t, "basecamp", got(200, "X-RateLimit", format, "Date", httpDate(15*sec)))
	require.True(t, l.HasQuota && l.Named)
	require.Equal(t, "API", l.Bucket)
	require.Equal(t, at(5*sec), l.Reset, "their clock is 15 s ahead")
	require.Equal(t, at(20*sec), l.Window)
	require.Equal(t, 200*time.Millisecond, l.Spacing)
	l = spoken(t, "basecamp", got(429, "X-RateLimit", strings.Replace(format, ":7", ":0", 1), "Retry-After", "3"))
	require.Equal(t, PrimaryLimit, l.Kind)
	require.Equal(t, at(21*sec), l.Until)
	for _, odd := range []string{
		"", "{", "[]", `{"limit":50,"until":"2026-01-01T00:00:20Z"}`, strings.Replace(format, ":7", ":-7", 1), strings.Replace(format, "2026", "3026", 1),
		strings.Replace(format, "Z", "", 1), strings.Replace(format, "API", strings.Repeat("A", 1<<10), 1),
	} {
		l := spoken(t, "basecamp", got(200, "X-RateLimit", odd))
		require.False(t, l.HasQuota || l.Named, "%.60q", odd)
	}
}
