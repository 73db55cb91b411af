package resource

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// spoken returns what a dialect of this package, asked for by name, reads.
func spoken(t testing.TB, name string, a *Answer) Lesson {
	t.Helper()
	d, err := DialectNamed(nil, name)
	require.NoError(t, err)
	p := Parser{Dialect: d}
	l := p.Lesson(a)
	require.Equal(t, name, l.Dialect)
	require.Equal(t, "named", l.Because)
	return l
}

// told requires a quota until so long after the epoch.
func told(t testing.TB, l Lesson, limit, remaining int64, reset time.Duration, name string) {
	t.Helper()
	require.True(t, l.HasQuota, name)
	require.Equal(t, [2]int64{limit, remaining}, [2]int64{l.Limit, l.Remaining}, name)
	require.Equal(t, at(reset), l.Reset, name)
	require.Equal(t, at(reset), l.Window, name)
}

// on is an answer of an origin to a path.
func on(a *Answer, origin, path string) *Answer {
	a.Origin, a.Path = origin, path
	return a
}

func TestDialects_DetectionSaysWhatItChoseAndWhy(t *testing.T) {
	for _, c := range []struct {
		a            *Answer
		dialect, why string
	}{
		{on(got(200), GitHubOrigin, ""), "github", "its origin"},
		{got(200, "X-GitHub-Request-Id", "1:2"), "github", "X-GitHub-Request-Id"},
		{got(200, "X-RateLimit-Resource", "core"), "github", "X-RateLimit-Resource"},
		{on(got(200), "https://gitlab.com", ""), "gitlab", "its origin"},
		{got(200, "RateLimit-Observed", "1", "RateLimit-Remaining", "5"), "gitlab", "RateLimit-Observed"},
		{got(200, "RateLimit-ResetTime", httpDate(0)), "gitlab", "RateLimit-ResetTime"},
		{got(200, "X-Gitlab-Meta", "{}"), "gitlab", "X-Gitlab-Meta"},
		{on(got(200), "https://discord.com", ""), "discord", "its origin"},
		{got(200, "X-RateLimit-Bucket", "b", "X-RateLimit-Reset-After", "1"), "discord", "X-RateLimit-Bucket with -Reset-After"},
		{on(got(200), "https://a-shop.myshopify.com", ""), "shopify", "its origin"},
		{got(200, "X-Shopify-Shop-Api-Call-Limit", "1/40"), "shopify", "X-Shopify-Shop-Api-Call-Limit"},
		{on(got(200), "https://api.stripe.com", ""), "stripe", "its origin"},
		{got(200, "Stripe-Version", "2025-01-01"), "stripe", "Stripe-Version"},
		{got(429, "Stripe-Rate-Limited-Reason", "global-rate"), "stripe", "Stripe-Rate-Limited-Reason"},
		{on(got(200), "https://slack.com", ""), "slack", "its origin"},
		{got(200, "X-Slack-Req-Id", "1"), "slack", "X-Slack-Req-Id"},
		{on(got(200), "https://oauth.reddit.com", ""), "reddit", "its origin"},
		{got(200, "X-Ratelimit-Used", "1", "X-Ratelimit-Remaining", "599.0"), "reddit", "X-RateLimit-Used without a limit"},
		{on(got(200), "https://api.x.com", ""), "x", "its origin"},
		{on(got(200), "https://api.twitter.com", ""), "x", "its origin"},
		{on(got(200), "https://3.basecampapi.com", ""), "basecamp", "its origin"},
		{got(200, "X-RateLimit", `{"name":"API"}`), "basecamp", "X-RateLimit with JSON"},
		{got(200, "RateLimit-Remaining", "5"), "ietf-legacy", "RateLimit-Remaining"},
		{got(200, "X-RateLimit-Remaining", "5"), "x-ratelimit", "X-RateLimit-Remaining"},
		{got(200, "X-Rate-Limit-Remaining", "5"), "x-ratelimit", "X-Rate-Limit-Remaining"},
		{got(200, "X-RateLimit-Remaining-Requests", "5"), "x-ratelimit", "X-RateLimit-Remaining-Requests"},
		{got(200), "plain", "nothing else fits"},
		{on(got(200), "https://notreddit.com", ""), "plain", "nothing else fits"},
		{on(got(200), "http://reddit.com", ""), "plain", "nothing else fits"},
		{on(got(200), "https://reddit.com.example.net", ""), "plain", "nothing else fits"},
	} {
		var p Parser
		l := p.Lesson(c.a)
		require.Equal(t, [2]string{c.dialect, c.why}, [2]string{l.Dialect, l.Because}, "%s %v", c.a.Origin, c.a.Header)
	}
}

// The names of one list are those that the parser's own switch reads.
func TestDialects_ListAndSwitchAgree(t *testing.T) {
	for _, d := range Dialects() {
		require.NoError(t, (&Profile{Dialect: d.Name}).Validate())
		require.Positive(t, d.Concurrency, d.Name)
		for _, a := range []*Answer{
			on(got(429, "Retry-After", "30", "X-RateLimit-Limit", "10", "X-RateLimit-Remaining", "3", "X-RateLimit-Reset", unix(90*sec), "X-RateLimit-Reset-After", "90"), "", "/api/users.list"),
			on(got(200, "RateLimit-Limit", "10", "RateLimit-Remaining", "3", "RateLimit-Reset", unix(90*sec), "X-Shopify-Shop-Api-Call-Limit", "1/40"), "", "/v1/users"),
		} {
			byNumber := spoken(t, d.Name, a)
			own := d
			own.known = foreign
			p := Parser{Dialect: own}
			require.Equal(t, p.Lesson(a), byNumber, d.Name)
		}
	}
	all := Dialects()
	all[0].Name = "changed"
	require.Equal(t, "github", Dialects()[0].Name, "the slice is the caller's")
}

func TestDialects_Named(t *testing.T) {
	mine := []Dialect{{Name: "acme", Concurrency: 9}, {Name: "acme"}, {}}
	d, err := DialectNamed(mine, "acme")
	require.NoError(t, err)
	require.Equal(t, 9, d.Concurrency, "the first of that name")
	for _, name := range []string{"github", ""} {
		_, err = DialectNamed(mine[:2], name)
		require.EqualError(t, err, `resource: Dialect: "`+name+`": want one of "acme", "acme", or empty to detect it`)
	}
	_, err = DialectNamed(nil, "gitlub")
	require.ErrorContains(t, err, `"gitlub": want one of "github", "gitlab", "discord"`)
}

// A list of the user's own replaces the built-in one, in its order; where nothing
// of it fits, status codes and Retry-After still count.
func TestDialects_ListOfTheUsers(t *testing.T) {
	acme := Dialect{
		Name:   "acme",
		Detect: func(_ string, h http.Header) string { return h.Get("Acme-Left") },
		Read:   func(a *Answer, l *Lesson) { l.QuotaFor(a, 9, 3, time.Minute); l.Reject(a) },
	}
	p := Parser{Dialects: append([]Dialect{{Name: "by name only"}, acme}, Dialects()...)}
	l := p.Lesson(got(200, "Acme-Left", "it says so", "X-GitHub-Request-Id", "1"))
	require.Equal(t, [2]string{"acme", "it says so"}, [2]string{l.Dialect, l.Because})
	told(t, l, 9, 3, time.Minute, "acme")
	require.Equal(t, "github", p.Lesson(github(200)).Dialect)

	p = Parser{Dialects: []Dialect{acme, {Name: "silent", Detect: func(string, http.Header) string { return "always" }}}}
	l = p.Lesson(got(429))
	require.Equal(t, "silent", l.Dialect)
	require.Equal(t, OverloadLimit, l.Kind, "a 429 is a limit, whoever reads it")
	p = Parser{Dialects: []Dialect{acme}}
	l = p.Lesson(github(429, "Retry-After", "30"))
	require.Equal(t, "plain", l.Dialect)
	require.Equal(t, at(30*sec), l.Until)
}

// A proxy before an API answers in its place now and then, in its own words or in
// none. A client that detects anew from each answer takes the API's limits for
// gone.
func TestDialects_ErrorPagesOfProxiesChangeNothing(t *testing.T) {
	page := func(status int, pairs ...string) *Answer { return got(status, append(pairs, "Server", "proxy")...) }
	for _, c := range []struct {
		before, want string
		a            *Answer
	}{
		{"github", "github", page(502)},
		{"github", "github", page(403)},
		{"gitlab", "gitlab", page(429, "RateLimit-Remaining", "0", "RateLimit-Reset", "60")}, // its names, and those of the draft
		{"gitlab", "gitlab", page(200, "X-RateLimit-Remaining", "0")},
		{"discord", "discord", page(503, "X-GitHub-Request-Id", "1")}, // a failure is no word of the API
		{"x-ratelimit", "x-ratelimit", page(404)},
		{"x-ratelimit", "ietf-legacy", page(200, "RateLimit-Remaining", "0")}, // many speak both, and each answer as it comes
		{"ietf-legacy", "gitlab", page(200, "RateLimit-Observed", "4")},       // more is known
		{"plain", "x-ratelimit", page(200, "X-RateLimit-Remaining", "0")},
		{"plain", "plain", page(502, "X-RateLimit-Remaining", "0")},
		{"", "x-ratelimit", page(502, "X-RateLimit-Remaining", "0")},
		{"forgotten", "plain", page(200)},
	} {
		p := Parser{Spoken: c.before}
		l := p.Lesson(c.a)
		require.Equal(t, c.want, l.Dialect, "%q: %d %v", c.before, c.a.Status, c.a.Header)
		require.Equal(t, c.want == c.before && c.before != "plain" || c.before == "plain" && c.a.Status >= 500, l.Because == "spoken before", "%q: %v", c.before, l.Because)
	}
}

func TestI11_TheOlderFieldsDifferInTheirUnit(t *testing.T) {
	numbers := func(reset string) *Answer {
		return got(200, "RateLimit-Limit", "100, 100;w=60", "RateLimit-Remaining", "7", "RateLimit-Reset", reset)
	}
	for reset, c := range map[string]struct {
		wait  time.Duration
		doubt string
	}{
		"50": {50 * sec, ""}, "0": {0, ""}, "1.5": {2 * sec, ""},
		unix(50 * sec): {50 * sec, doubtEpoch}, unix(50*sec) + "000": {50 * sec, doubtMillis},
		httpDate(50 * sec): {50 * sec, doubtDate}, "50s": {50 * sec, doubtDate},
	} {
		l := spoken(t, "ietf-legacy", numbers(reset))
		told(t, l, 100, 7, c.wait, reset)
		require.Equal(t, c.doubt, l.Doubt, reset)
	}
	l := spoken(t, "gitlab", numbers(unix(50*sec)))
	told(t, l, 100, 7, 50*sec, "the same header of GitLab's")
	require.Empty(t, l.Doubt, "is as it should be")
	for reset, doubt := range map[string]string{"": "", "soon": doubtForm, "-1": doubtForm, "400000000": doubtHuge, "99999999999999999999": doubtHuge} {
		l := spoken(t, "ietf-legacy", numbers(reset))
		require.False(t, l.HasQuota, reset)
		require.Equal(t, doubt, l.Doubt, reset)
	}
	l = spoken(t, "ietf-legacy", got(429, "RateLimit-Limit", "100", "RateLimit-Remaining", "0", "RateLimit-Reset", "50"))
	require.Equal(t, at(51*sec), l.Until)
}

func TestLOthers_NoUnitIsGuessedInSilence(t *testing.T) {
	for reset, c := range map[string]struct {
		wait  time.Duration
		doubt string
	}{
		"60":           {60 * sec, doubtSeconds}, // it may be milliseconds: the longer wait is taken, and said
		"4500":         {4500 * sec, doubtSeconds},
		unix(60 * sec): {60 * sec, ""}, unix(60*sec) + ".5": {61 * sec, ""},
		unix(60*sec) + "500":   {60500 * time.Millisecond, doubtMillis},
		httpDate(60 * sec):     {60 * sec, ""},
		"2026-01-01T00:01:00Z": {60 * sec, ""}, "2026-01-01T02:01:00.5+02:00": {60500 * time.Millisecond, ""}, "2026-01-01T01:01:00+0100": {60 * sec, ""},
		"6m0s": {6 * time.Minute, ""}, "20ms": {20 * time.Millisecond, ""}, "8.64s": {8640 * time.Millisecond, ""},
	} {
		for _, names := range [][3]string{
			{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"},
			{"X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset"},
			{"X-RateLimit-Limit-Requests", "X-RateLimit-Remaining-Requests", "X-RateLimit-Reset-Requests"},
		} {
			var p Parser
			l := p.Lesson(got(200, names[0], "10", names[1], "7", names[2], reset))
			require.Equal(t, "x-ratelimit", l.Dialect)
			told(t, l, 10, 7, c.wait, reset)
			require.Equal(t, c.doubt, l.Doubt, reset)
		}
	}
	for reset, doubt := range map[string]string{
		"tomorrow": doubtForm, "2026-01-01T00:01:00": doubtForm, "-5s": doubtForm, "2026-01-01": doubtForm,
		"500000000": doubtHuge, "3999999999": doubtHuge, "9999h": doubtHuge, "1960-01-01T00:00:00Z": doubtForm,
	} {
		var p Parser
		l := p.Lesson(got(200, "X-RateLimit-Limit", "10", "X-RateLimit-Remaining", "7", "X-RateLimit-Reset", reset))
		require.False(t, l.HasQuota, reset)
		require.Equal(t, doubt, l.Doubt, reset)
	}
}

// Nothing left is believed without a reset that makes sense: a minute is waited,
// and then one request finds out.
func TestLOthers_NothingLeftWithoutAReset(t *testing.T) {
	for reset, doubt := range map[string]string{"": doubtNone, "tomorrow": doubtForm + "; " + doubtNone} {
		a := got(200, "X-RateLimit-Remaining", "0")
		if reset != "" {
			a.Header.Set("X-RateLimit-Reset", reset)
		}
		l := spoken(t, "x-ratelimit", a)
		told(t, l, 0, 0, LimitFallback, reset)
		require.Equal(t, doubt, l.Doubt)
	}
	require.False(t, spoken(t, "x-ratelimit", got(200, "X-RateLimit-Remaining", "3")).HasQuota)
	require.False(t, spoken(t, "x-ratelimit", got(200, "X-RateLimit-Limit", "3", "X-RateLimit-Reset", "9")).HasQuota)
	l := spoken(t, "x-ratelimit", got(200, "X-RateLimit-Remaining", "3", "X-RateLimit-Reset", unix(60*sec)))
	told(t, l, 3, 3, 60*sec, "no limit told")
}

// Some services reject with a 403 what others reject with a 429.
func TestLOthers_Rejections(t *testing.T) {
	numbers := func(status int, remaining string, pairs ...string) *Answer {
		return got(status, append([]string{"X-RateLimit-Limit", "10", "X-RateLimit-Remaining", remaining, "X-RateLimit-Reset", unix(60 * sec)}, pairs...)...)
	}
	for _, c := range []struct {
		name     string
		a        *Answer
		kind     LimitKind
		wide     bool
		until    time.Duration
		evidence string
	}{
		{"429, nothing left", numbers(429, "0"), PrimaryLimit, false, 61 * sec, "status 429, nothing remains"},
		{"403, nothing left", numbers(403, "0"), PrimaryLimit, false, 61 * sec, "status 403, nothing remains"},
		{"the later counts", numbers(429, "0", "Retry-After", "90"), PrimaryLimit, false, 90 * sec, "status 429, nothing remains, retry-after"},
		{"some left", numbers(429, "5", "Retry-After", "30"), OverloadLimit, true, 30 * sec, "status 429, retry-after"},
		{"503, nothing left", numbers(503, "0", "Retry-After", "30"), OverloadLimit, true, 30 * sec, "status 503, retry-after"},
		{"403 with an instant", numbers(403, "5", "Retry-After", "30"), OverloadLimit, true, 30 * sec, "status 403, retry-after"},
		{"in doubt", got(429, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "60"), PrimaryLimit, false, 61 * sec, "status 429, nothing remains; " + doubtSeconds},
		{"403", numbers(403, "5"), NoLimit, false, 0, ""},
		{"503", numbers(503, "0"), NoLimit, false, 0, ""},
	} {
		l := spoken(t, "x-ratelimit", c.a)
		require.Equal(t, c.kind, l.Kind, c.name)
		require.Equal(t, c.wide, l.Wide, c.name)
		require.Equal(t, c.evidence, l.Evidence, c.name)
		if c.kind != NoLimit {
			require.Equal(t, at(c.until), l.Until, c.name)
		}
	}
}
