package firehose_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// ruleOf finds the first flag with that key.
func ruleOf(t *testing.T, f firehose.Forecast, rule string) firehose.Flag {
	t.Helper()
	for _, flag := range f.Flags {
		if flag.Rule == rule {
			return flag
		}
	}
	t.Fatalf("no flag %s: %v", rule, f.Flags)
	return firehose.Flag{}
}

// One URL every 0.75 s is 4,800 of 5,000 requests an hour: it leaves too little
// for anybody else.
func TestG9_APlanThatEatsTheQuotaIsRefused(t *testing.T) {
	c := granted(planned(1, "", 750*time.Millisecond), firehose.GitHubUserHourly, time.Hour, firehose.Traits{})
	f, err := firehose.Plan(c)
	var refused *firehose.RefusedError
	require.ErrorAs(t, err, &refused)
	require.Len(t, refused.Flags, 1)
	require.Equal(t, "G-9", refused.Flags[0].Rule)
	require.True(t, refused.Flags[0].Refuses)
	require.ErrorContains(t, err, "4800")
	require.ErrorContains(t, err, "96 %")
	require.InDelta(t, 4800, f.Wanted, 0.1, "the forecast is there all the same")
	require.True(t, strings.Contains(f.String(), "refused [G-9]"))

	c.MaxShare = 1
	f, err = firehose.Plan(c)
	require.NoError(t, err)
	require.Contains(t, ruleOf(t, f, "G-9").Text, "alone")
	require.False(t, f.Flags[0].Refuses)

	c.MaxShare = 0
	c.Profiles[""] = resource.Profile{Credential: "me", Reserve: 1000}
	f, err = firehose.Plan(c)
	require.NoError(t, err, "what is reserved is left to others")
	require.InDelta(t, 4000, f.Buckets[0].Allowed, 0.1)
	require.LessOrEqual(t, f.Buckets[0].Charged, 4000.0)

	c = granted(planned(1, "", 750*time.Millisecond), firehose.GitHubUserHourly, time.Hour, firehose.Traits{PollInterval: time.Minute})
	f, err = firehose.Plan(c)
	require.NoError(t, err, "the poll interval counts")
	require.InDelta(t, 60, f.Wanted, 0.1)
	require.Contains(t, ruleOf(t, f, "G-3").Text, "1 of 1 wishes")
}

func TestG9_SeveralRefusalsAreOneError(t *testing.T) {
	c := granted(nil, 5000, time.Hour, firehose.Traits{})
	for _, name := range []string{"a", "b"} {
		c.Profiles[name] = resource.Profile{Credential: name}
		c.Resources = append(c.Resources, planned(200, name, time.Minute)...)
	}
	f, err := firehose.Plan(c)
	require.ErrorContains(t, err, "(and 1 more)")
	require.Len(t, f.Buckets, 2)
	require.Equal(t, 400, f.Buckets[0].Late+f.Buckets[1].Late)
	late := ruleOf(t, f, "G-12")
	require.Contains(t, late.Text, "200 of 200 intervals can't be met, for the quota")
	require.Contains(t, f.String(), "and 390 more")

	c.Profiles["a"] = resource.Profile{Credential: "a", Reserve: 6000}
	f, err = firehose.Plan(c)
	require.Error(t, err)
	require.Zero(t, f.Buckets[0].Allowed)
	require.Less(t, f.Buckets[0].Expected, 1.1, "the one request that asks after a reset")
	require.Contains(t, ruleOf(t, firehose.Forecast{Flags: f.Flags[1:]}, "G-9").Text, "leaves nothing")
}

func TestG8_WithoutAQuotaNothingIsAssumed(t *testing.T) {
	c := granted(planned(10, "", time.Minute), 5000, time.Hour, firehose.Traits{})
	c.Quotas = nil
	f, err := firehose.Plan(c)
	require.NoError(t, err)
	require.False(t, f.Buckets[0].Known)
	require.Zero(t, f.Buckets[0].Allowed)
	require.Contains(t, f.String(), "unknown")
	ruleOf(t, f, "G-8")
}

func TestG10_SecondaryLimitsAreFlagged(t *testing.T) {
	c := granted(planned(3000, "", time.Hour), 5000, time.Hour, firehose.Traits{Latency: 50 * time.Millisecond})
	f, err := firehose.Plan(c)
	require.NoError(t, err)
	require.InDelta(t, 900, f.Buckets[0].Peak, 1, "as the OS keeps to by itself")
	require.Empty(t, f.Flags)

	c.Profiles[""] = resource.Profile{Credential: "me", Limit: resource.Limit{Requests: 6000, Per: time.Minute}}
	f, err = firehose.Plan(c)
	require.NoError(t, err)
	require.InDelta(t, 1200, f.Buckets[0].Peak, 1, "as fast as answers come, by the user's word")
	require.Contains(t, ruleOf(t, f, "G-10").Text, "900 points")

	c.Profiles[""] = resource.Profile{Credential: "me", Concurrency: 150}
	f, err = firehose.Plan(c)
	require.NoError(t, err)
	ruleOf(t, f, "G-11")
	text := f.String()
	require.Contains(t, text, "150 requests may be in flight together, and a secondary limit allows 100")
	require.Contains(t, text, "answers may take")
}

func TestG11_SerialRequestsAreASlowRound(t *testing.T) {
	c := granted(planned(2000, "", time.Minute), 200_000, time.Hour, firehose.Traits{Latency: 200 * time.Millisecond})
	f, err := firehose.Plan(c)
	require.NoError(t, err)
	b := f.Buckets[0]
	require.Equal(t, 1, b.Concurrency, "by the dialect")
	require.Equal(t, "the concurrency", b.LimitedBy)
	require.Contains(t, ruleOf(t, f, "G-11").Text, "becomes 6m40s")
	require.InDelta(t, 400, b.Round.Seconds(), 1)
	require.InDelta(t, 18_000, b.Expected, 1)
}

func TestPlanNamesWhatLimits(t *testing.T) {
	f, err := firehose.Plan(crowded())
	require.NoError(t, err)
	require.Equal(t, "the workers", f.Buckets[0].LimitedBy)
	ruleOf(t, f, "D-14")
	f, err = firehose.Plan(declared())
	require.NoError(t, err)
	require.Equal(t, "the declared rate", f.Buckets[0].LimitedBy)
	ruleOf(t, f, "G-10")
	f, err = firehose.Plan(granted(planned(2000, "", time.Minute), 1e6, time.Hour, firehose.Traits{Latency: 10 * time.Millisecond}))
	require.NoError(t, err)
	require.Equal(t, "the rate that its dialect documents", f.Buckets[0].LimitedBy)
}

func TestD15_TheFirstRoundIsFlaggedWhenItTakesWindows(t *testing.T) {
	c := granted(planned(10_000, "", 24*time.Hour), 5000, time.Hour, firehose.Traits{})
	f, err := firehose.Plan(c)
	require.NoError(t, err)
	require.Zero(t, f.Buckets[0].Late)
	ruleOf(t, f, "D-15")
	require.InDelta(t, 3600+500, f.Buckets[0].Round.Seconds(), 60)
}

// The longest path and the credential's own quota count, and requests without a
// credential are not those of each.
func TestPlanFindsTheQuota(t *testing.T) {
	c := firehose.PlanConfig{
		Resources: resource.List("https://api.github.com/search/code?q=a", "https://api.github.com/events", "https://example.org"),
		Profiles:  map[string]resource.Profile{"own": {Credential: "own"}},
		Tokens:    resource.Fixed("me", resource.Token{}, "https://api.github.com"),
		Quotas: []firehose.Quota{
			{Origin: "https://API.github.com:443", Credential: firehose.EachCredential, Name: "core", Requests: 5000, Window: time.Hour, NotModifiedFree: true},
			{Origin: planOrigin, Credential: firehose.EachCredential, Path: "/search", Name: "search", Requests: 30, Window: time.Minute},
			{Origin: planOrigin, Credential: "own", Name: "core", Requests: 15000, Window: time.Hour},
			{Origin: "https://example.org", Credential: firehose.EachCredential, Requests: 1, Window: time.Hour},
		},
	}
	c.Resources = append(c.Resources, resource.Spec{URI: planOrigin + "/search/x", Profile: "own"})
	f, err := firehose.Plan(c)
	require.NoError(t, err)
	var got []string
	for _, r := range f.Resources {
		got = append(got, r.Bucket.String())
	}
	require.Equal(t, []string{"me@https://api.github.com#search", "me@https://api.github.com#core", "https://example.org", "own@https://api.github.com#core"}, got)
	require.EqualValues(t, 30, f.Buckets[0].Quota)
	require.False(t, f.Buckets[2].Known)
	require.EqualValues(t, 15000, f.Buckets[3].Quota)
}

// Where profiles of one scope differ, the strictest counts, as in the registry
// of buckets; a dialect that is declared says how many may be in flight.
func TestPlanAppliesProfilesAsTheRegistryDoes(t *testing.T) {
	c := firehose.PlanConfig{
		Resources: []resource.Spec{{URI: "https://a.example/1"}, {URI: "https://a.example/2", Profile: "b"}, {URI: "https://c.example/", Profile: "c"}, {URI: "https://d.example/"}},
		Profiles: map[string]resource.Profile{
			"": {Concurrency: 3}, "b": {Concurrency: 2, Dialect: "github"}, "c": {Dialect: "github"},
		},
	}
	f, err := firehose.Plan(c)
	require.NoError(t, err)
	require.Equal(t, []int{2, 1, 3}, []int{f.Buckets[0].Concurrency, f.Buckets[1].Concurrency, f.Buckets[2].Concurrency})
}

func TestPlanOfNothing(t *testing.T) {
	f, err := firehose.Plan(firehose.PlanConfig{})
	require.NoError(t, err)
	require.Zero(t, f.Wanted)
	require.Contains(t, f.String(), "0 resources")
}

func TestForecastAsJSON(t *testing.T) {
	f, err := firehose.Plan(granted(planned(2, "", 0), 5000, time.Hour, firehose.Traits{Feed: firehose.Feed{Rate: 85, Window: 300, Pages: 3}}))
	require.NoError(t, err)
	text, err := json.Marshal(f)
	require.NoError(t, err)
	var back firehose.Forecast
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, f.Feeds, back.Feeds)
	require.Equal(t, f.Flags, back.Flags)
	require.Equal(t, f.Resources, back.Resources)
}

func TestPlanRefusesBadInput(t *testing.T) {
	quota := firehose.Quota{Origin: planOrigin, Requests: 1, Window: time.Hour}
	for field, change := range map[string]func(c *firehose.PlanConfig){
		"MaxShare":              func(c *firehose.PlanConfig) { c.MaxShare = math.NaN() },
		"Slack":                 func(c *firehose.PlanConfig) { c.Slack = -0.1 },
		"GapChance":             func(c *firehose.PlanConfig) { c.GapChance = 2 },
		"Workers":               func(c *firehose.PlanConfig) { c.Workers = firehose.MaxWorkers + 1 },
		"PointsPerMinute":       func(c *firehose.PlanConfig) { c.PointsPerMinute = -1 },
		"CPUPerMinute":          func(c *firehose.PlanConfig) { c.CPUPerMinute = -1 },
		"Tokens":                func(c *firehose.PlanConfig) { c.Tokens = (*nilTokens)(nil) },
		`Profiles[""].Reserve`:  func(c *firehose.PlanConfig) { c.Profiles = map[string]resource.Profile{"": {Reserve: -1}} },
		"Resources[0].URI":      func(c *firehose.PlanConfig) { c.Resources[0].URI = "ftp://x" },
		"Resources[0].Interval": func(c *firehose.PlanConfig) { c.Resources[0].Interval = -1 },
		"Resources[0].Profile":  func(c *firehose.PlanConfig) { c.Resources[0].Profile = "nobody" },
		"Resources[1]":          func(c *firehose.PlanConfig) { c.Resources = append(c.Resources, c.Resources[0]) },
		"Quotas[0].Origin":      func(c *firehose.PlanConfig) { quota := quota; quota.Origin = "x"; c.Quotas = []firehose.Quota{quota} },
		"Quotas[1].Origin":      func(c *firehose.PlanConfig) { q := quota; q.Origin += "/path"; c.Quotas = []firehose.Quota{quota, q} },
		"Quotas[0].Credential":  func(c *firehose.PlanConfig) { q := quota; q.Credential = "a b"; c.Quotas = []firehose.Quota{q} },
		"Quotas[0].Path":        func(c *firehose.PlanConfig) { q := quota; q.Path = "x"; c.Quotas = []firehose.Quota{q} },
		"Quotas[1].Path":        func(c *firehose.PlanConfig) { c.Quotas = []firehose.Quota{quota, quota} },
		"Quotas[1].Name": func(c *firehose.PlanConfig) {
			q := quota
			q.Path, q.Requests = "/x", 2
			c.Quotas = []firehose.Quota{quota, q}
		},
		"Quotas[0].Name": func(c *firehose.PlanConfig) {
			q := quota
			q.Name = strings.Repeat("x", 300)
			c.Quotas = []firehose.Quota{q}
		},
		"Quotas[0].Requests":          func(c *firehose.PlanConfig) { q := quota; q.Requests = 0; c.Quotas = []firehose.Quota{q} },
		"Quotas[0].Window":            func(c *firehose.PlanConfig) { q := quota; q.Window = time.Millisecond; c.Quotas = []firehose.Quota{q} },
		"PollInterval":                traits(firehose.Traits{PollInterval: -1}),
		"Latency":                     traits(firehose.Traits{Latency: 2 * time.Hour}),
		"ChangeEvery":                 traits(firehose.Traits{ChangeEvery: -1}),
		"Unchanged":                   traits(firehose.Traits{Unchanged: math.NaN()}),
		"Unchanged, with ChangeEvery": traits(firehose.Traits{Unchanged: 0.5, ChangeEvery: 1}),
		"Feed.Rate":                   traits(firehose.Traits{Feed: firehose.Feed{Rate: math.Inf(1), Window: 1}}),
		"Feed.Rate, none":             traits(firehose.Traits{Feed: firehose.Feed{Window: 1}}),
		"Feed.Rate, with ChangeEvery": traits(firehose.Traits{ChangeEvery: 1, Feed: firehose.Feed{Rate: 1, Window: 1}}),
		"Feed.Window":                 traits(firehose.Traits{Feed: firehose.Feed{Rate: 1}}),
		"Feed.Pages":                  traits(firehose.Traits{Feed: firehose.Feed{Rate: 1, Window: 1, Pages: -1}}),
	} {
		t.Run(field, func(t *testing.T) {
			c := firehose.PlanConfig{Resources: planned(1, "", time.Minute)}
			change(&c)
			_, err := firehose.Plan(c)
			var bad *firehose.FieldError
			require.ErrorAs(t, err, &bad)
			want, _, _ := strings.Cut(field, ",")
			if c.Traits != nil {
				want = "Traits(Resources[0])." + want
			}
			require.Equal(t, want, bad.Field)
			require.NotEmpty(t, bad.Value)
			require.NotEmpty(t, bad.Want)
			_, err = firehose.Simulate(t.Context(), firehose.SimConfig{Plan: c})
			require.ErrorAs(t, err, &bad, "Simulate is as strict")
		})
	}
}

func traits(t firehose.Traits) func(*firehose.PlanConfig) {
	return func(c *firehose.PlanConfig) { c.Traits = func(resource.Spec) firehose.Traits { return t } }
}

// nilTokens is a token source that is used as a nil pointer.
type nilTokens struct{ resource.TokenSource }
