package firehose_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

const planOrigin = "https://api.github.com"

// planned makes n specs whose intervals go round.
func planned(n int, profile string, intervals ...time.Duration) []resource.Spec {
	specs := make([]resource.Spec, n)
	for i := range specs {
		specs[i] = resource.Spec{URI: fmt.Sprintf("%s/repos/o/%s%d/events", planOrigin, profile, i), Profile: profile, Interval: intervals[i%len(intervals)]}
	}
	return specs
}

// granted is a configuration with one credential of GitHub's and its usual quota.
func granted(specs []resource.Spec, requests int64, window time.Duration, traits firehose.Traits) firehose.PlanConfig {
	return firehose.PlanConfig{
		Resources: specs, Profiles: map[string]resource.Profile{"": {Credential: "me"}},
		Quotas: []firehose.Quota{{
			Origin: planOrigin, Credential: firehose.EachCredential, Name: "core", Requests: requests, Window: window, NotModifiedFree: true,
		}},
		Traits: func(resource.Spec) firehose.Traits { return traits },
	}
}

// crowded is a plan with more to do than its one worker can.
func crowded() firehose.PlanConfig {
	c := granted(nil, 100_000, time.Hour, firehose.Traits{Latency: 500 * time.Millisecond})
	for _, name := range []string{"a", "b"} {
		c.Profiles[name] = resource.Profile{Credential: name}
		c.Resources = append(c.Resources, planned(100, name, time.Minute)...)
	}
	c.Workers = 1
	return c
}

// declared is a plan that its user's own rate slows down.
func declared() firehose.PlanConfig {
	c := granted(planned(100, "", time.Minute), 5000, time.Hour, firehose.Traits{})
	c.Profiles[""] = resource.Profile{Credential: "me", Limit: resource.Limit{Requests: 30, Per: time.Minute}}
	return c
}

// agree holds a forecast against a simulation of the same plan.
func agree(t *testing.T, c firehose.PlanConfig, hours time.Duration, seed uint64, total, single float64) {
	t.Helper()
	c.MaxShare = 1
	forecast, err := firehose.Plan(c)
	require.NoError(t, err)
	report, err := firehose.Simulate(t.Context(), firehose.SimConfig{Plan: c, For: hours, Seed: seed})
	require.NoError(t, err)
	require.Zero(t, report.Total.Primary, "rejections by an honest origin")
	require.Zero(t, report.Total.Secondary+report.Total.Failed+report.Total.Ended)
	require.Len(t, report.Buckets, len(forecast.Buckets))
	for i, b := range forecast.Buckets {
		got := report.Buckets[i]
		require.Equal(t, b.Key, got.Key)
		perHour := float64(got.Requests) / hours.Hours()
		t.Logf("%s: requests/h %.0f for %.0f (%+.1f %%), 304 %.3f for %.3f, used %.3f for %.3f", b.Key, perHour, b.Expected, 100*(perHour/b.Expected-1), got.Unchanged, b.Unchanged, got.Used, b.Used)
		require.InEpsilon(t, b.Expected, perHour, total, "requests an hour of %s", b.Key)
		require.InDelta(t, b.Unchanged, got.Unchanged, 2*total, "share of 304 of %s", b.Key)
		if b.Known {
			require.InDelta(t, b.Used, got.Used, 2*total)
		}
	}
	worst := 0.0
	for i, r := range forecast.Resources {
		got := report.Resources[i]
		if got.Polls < 20 {
			continue // too few to tell a mean
		}
		off := float64(got.Interval)/float64(r.Expected) - 1
		if math.Abs(off) > math.Abs(worst) {
			worst = off
		}
		if math.Abs(off) > single {
			t.Fatalf("%s every %v: %v for %v (met %v)", r.URI, r.Interval, got.Interval, r.Expected, r.Met)
		}
	}
	t.Logf("worst interval %+.1f %%", 100*worst)
}

func TestPlanAgreesWithSimulate(t *testing.T) {
	minute := time.Minute
	for name, c := range map[string]struct {
		plan  firehose.PlanConfig
		hours time.Duration
	}{
		"just the budget":               {granted(planned(166, "", 2*minute), 5000, time.Hour, firehose.Traits{}), 24 * time.Hour},
		"workers":                       {crowded(), 6 * time.Hour},
		"a declared rate":               {declared(), 24 * time.Hour},
		"within the budget":             {granted(planned(50, "", minute), 5000, time.Hour, firehose.Traits{}), 24 * time.Hour},
		"more than the budget":          {granted(planned(100, "", minute), 5000, time.Hour, firehose.Traits{}), 24 * time.Hour},
		"far more than the budget":      {granted(planned(10_000, "", minute), 5000, time.Hour, firehose.Traits{}), 36 * time.Hour},
		"intervals that differ":         {granted(planned(100, "", minute, 10*minute), 2000, time.Hour, firehose.Traits{}), 36 * time.Hour},
		"serial":                        {granted(planned(2000, "", minute), 100_000, time.Hour, firehose.Traits{Latency: 200 * time.Millisecond}), 4 * time.Hour},
		"serial, intervals that differ": {granted(planned(2000, "", minute, 10*minute), 100_000, time.Hour, firehose.Traits{Latency: 200 * time.Millisecond}), 4 * time.Hour},
		"both":                          {granted(planned(1000, "", minute), 5000, time.Hour, firehose.Traits{}), 36 * time.Hour},
		"both, intervals that differ":   {granted(planned(1000, "", minute, 15*minute), 5000, time.Hour, firehose.Traits{}), 36 * time.Hour},
		"304 are free":                  {granted(planned(200, "", minute), 5000, time.Hour, firehose.Traits{ChangeEvery: 5 * minute}), 8 * time.Hour},
		"304 are free and not enough":   {granted(planned(400, "", minute), 5000, time.Hour, firehose.Traits{ChangeEvery: 5 * minute}), 8 * time.Hour},
		"a share of 304":                {granted(planned(100, "", minute), 5000, time.Hour, firehose.Traits{Unchanged: 0.4}), 24 * time.Hour},
		"a short window":                {granted(planned(200, "", minute), 100, minute, firehose.Traits{}), 24 * time.Hour},
		"longer than a window":          {granted(planned(100, "", 7*minute, 25*minute), 50, 10*minute, firehose.Traits{}), 36 * time.Hour},
		"poll interval":                 {granted(planned(50, "", time.Second), 5000, time.Hour, firehose.Traits{PollInterval: minute}), 24 * time.Hour},
		"feeds":                         {granted(planned(20, "", minute), 5000, time.Hour, firehose.Traits{Feed: firehose.Feed{Rate: 0.01, Window: 300, Pages: 3}}), 24 * time.Hour},
	} {
		if underRace && c.hours > 8*time.Hour { // a pure function in one goroutine: there is no race to be found
			continue
		}
		t.Run(name, func(t *testing.T) { agree(t, c.plan, c.hours, 1, 0.03, 0.10) })
	}
}

// Plans made by chance: several credentials, quotas, intervals and traits. The
// seed is in the name of the test.
func TestPlanAgreesWithSimulateByChance(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			c := firehose.PlanConfig{Profiles: map[string]resource.Profile{}}
			window := []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour}[rng.IntN(3)]
			traits := map[string]firehose.Traits{}
			for i := range 1 + rng.IntN(3) {
				name := fmt.Sprintf("credential-%d", i)
				quota := 200 + rng.Int64N(2000)
				profile := resource.Profile{Credential: name, Reserve: rng.Int64N(50), Concurrency: rng.IntN(3)}
				if rng.IntN(4) == 0 {
					profile.Limit = resource.Limit{Requests: int(quota), Per: window}
				}
				c.Profiles[name] = profile
				c.Quotas = append(c.Quotas, firehose.Quota{
					Origin: planOrigin, Credential: name, Name: "core", Requests: quota, Window: window, NotModifiedFree: rng.IntN(2) == 0,
				})
				trait := firehose.Traits{Latency: time.Duration(20+rng.IntN(200)) * time.Millisecond}
				switch rng.IntN(3) {
				case 0:
					trait.ChangeEvery = time.Duration(1+rng.IntN(20)) * time.Minute
				case 1:
					trait.Unchanged = 0.9 * rng.Float64()
				}
				traits[name] = trait
				// From a third of what the window grants to four times that.
				base := window.Seconds() * (0.01 + rng.Float64()*rng.Float64())
				n := int(base * float64(quota) / window.Seconds() * (0.33 + 4*rng.Float64()))
				c.Resources = append(c.Resources, planned(max(1, n), name,
					time.Duration(base*1e9), time.Duration(base*(1+2*rng.Float64())*1e9))...)
			}
			c.Traits = func(s resource.Spec) firehose.Traits { return traits[s.Profile] }
			agree(t, c, 40*window, seed, 0.03, 0.25)
		})
	}
}

// A feed that outruns its window: at GitHub's public rate, 300 events of some
// 5,000 are seen every minute.
func TestE7_PlannedGapsAreTheSimulatedOnes(t *testing.T) {
	for name, feed := range map[string]firehose.Feed{
		"far too fast": {Rate: 85, Window: firehose.GitHubEventWindow, Pages: 3},
		"at the edge":  {Rate: 4.9, Window: firehose.GitHubEventWindow, Pages: 3},
		"complete":     {Rate: 2, Window: firehose.GitHubEventWindow, Pages: 3},
	} {
		t.Run(name, func(t *testing.T) {
			c := granted(planned(1, "", 0), firehose.GitHubUserHourly, time.Hour, firehose.Traits{PollInterval: time.Minute, Feed: feed})
			forecast, err := firehose.Plan(c)
			require.NoError(t, err)
			report, err := firehose.Simulate(t.Context(), firehose.SimConfig{Plan: c, For: 60 * time.Hour, Seed: 3})
			require.NoError(t, err)
			require.Len(t, forecast.Feeds, 1)
			f, got := forecast.Feeds[0], report.Total
			require.InDelta(t, f.Seen, 1-float64(got.Missed)/float64(got.Items), 0.003)
			require.InDelta(t, f.GapRate, float64(got.Gaps)/float64(got.Polls), 0.02)
			require.Equal(t, name == "complete", f.Complete)
			if !f.Complete {
				require.Equal(t, "E-7", forecast.Flags[0].Rule)
			}
			if name == "far too fast" {
				require.InDelta(t, 0.059, f.Seen, 0.001)
				require.InDelta(t, 1, f.GapRate, 1e-9)
				require.InDelta(t, 2.9, f.Needed.Seconds(), 0.2)
				require.Contains(t, forecast.String(), "5.9%")
			}
		})
	}
}

// The interval that a feed would need is one with which it is complete, and
// slightly more is not.
func TestE7_TheNeededIntervalIsEnough(t *testing.T) {
	const rate = 85
	plan := func(every time.Duration) firehose.FeedForecast {
		c := granted(planned(1, "", every), 100_000, time.Hour, firehose.Traits{
			Latency: time.Millisecond, Feed: firehose.Feed{Rate: rate, Window: firehose.GitHubEventWindow},
		})
		f, err := firehose.Plan(c)
		require.NoError(t, err)
		return f.Feeds[0]
	}
	needed := plan(time.Minute).Needed
	enough, less := plan(needed-2*time.Millisecond), plan(needed+2*time.Millisecond)
	require.True(t, enough.Complete)
	require.LessOrEqual(t, enough.GapRate, firehose.DefaultGapChance)
	require.False(t, less.Complete)
	require.Greater(t, less.GapRate, firehose.DefaultGapChance)
}
