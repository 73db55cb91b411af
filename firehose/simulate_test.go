package firehose_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

func simulated(t *testing.T, c firehose.SimConfig) firehose.SimReport {
	t.Helper()
	r, err := firehose.Simulate(t.Context(), c)
	require.NoError(t, err)
	return r
}

func TestSimulateIsDeterministic(t *testing.T) {
	c := firehose.SimConfig{
		Plan:      granted(planned(300, "", time.Minute, 3*time.Minute), 5000, time.Hour, firehose.Traits{ChangeEvery: 5 * time.Minute}),
		For:       5 * time.Hour,
		Seed:      42,
		Secondary: firehose.Secondary{Chance: 0.001},
	}
	first, second := simulated(t, c), simulated(t, c)
	require.Equal(t, first, second)
	c.Seed = 43
	require.NotEqual(t, first.Total, simulated(t, c).Total)
	text, err := json.Marshal(first)
	require.NoError(t, err)
	require.Contains(t, string(text), `"p99_ms"`)
	require.Contains(t, first.String(), "me@https://api.github.com#core")
}

// Whatever the demand, an honest origin has nothing to reject, and what it
// grants is used.
func TestG16_SimulatedDemandBeyondTheBudgetIsNeverRejected(t *testing.T) {
	c := firehose.SimConfig{Plan: granted(planned(10_000, "", time.Minute), 5000, time.Hour, firehose.Traits{ChangeEvery: time.Hour}), For: 6 * time.Hour}
	c.Plan.Profiles[""] = resource.Profile{Credential: "me", Reserve: 500}
	began := time.Now()
	r := simulated(t, c)
	t.Logf("%d requests in %v", r.Total.Requests, time.Since(began))
	require.Zero(t, r.Total.Primary)
	require.Zero(t, r.Total.Ended)
	require.InDelta(t, 1, r.Buckets[0].Used, 0.03)
	require.Positive(t, r.Total.NotModified)
	require.LessOrEqual(t, r.Buckets[0].Charged, int64(7*4500))
	require.LessOrEqual(t, r.Total.Wait.P50, r.Total.Wait.P99)
	require.LessOrEqual(t, r.Total.Wait.P99, r.Total.Wait.Max)
	for _, one := range r.Resources {
		require.Positive(t, one.Polls, "nobody starves")
		require.LessOrEqual(t, one.Longest, r.Total.Wait.Max)
	}
}

// Several quotas of one scope, one of which is found to be another than was
// presumed: each holds.
func TestG7_SimulatedQuotasOfAScopeAreKeptApart(t *testing.T) {
	c := granted(planned(50, "", time.Minute), 1000, time.Hour, firehose.Traits{})
	for i := range 20 {
		c.Resources = append(c.Resources, resource.Spec{URI: planOrigin + "/search/" + string(rune('a'+i)), Interval: 10 * time.Second})
	}
	c.Quotas = append(c.Quotas, firehose.Quota{Origin: planOrigin, Credential: "me", Path: "/search", Name: "search", Requests: 30, Window: time.Minute})
	c.Quotas[0].Credential = "me"
	r := simulated(t, firehose.SimConfig{Plan: c, For: 6 * time.Hour})
	require.Len(t, r.Buckets, 2)
	require.Zero(t, r.Total.Primary)
	require.InDelta(t, 1, r.Buckets[0].Used, 0.01)
	require.Greater(t, r.Buckets[1].Used, 0.85, "the search does not wait for the core")
}

// What was never answered is taken for what its kin are: hundreds of searches don't
// find out one by one that their quota is used up.
func TestG16_SimulatedKinAreNotSentToFindOut(t *testing.T) {
	c := granted(planned(50, "", time.Minute), 5000, time.Hour, firehose.Traits{})
	for i := range 300 {
		c.Resources = append(c.Resources, resource.Spec{URI: fmt.Sprintf("%s/search/%d", planOrigin, i), Interval: time.Hour})
	}
	c.Quotas = append(c.Quotas, firehose.Quota{Origin: planOrigin, Credential: "me", Path: "/search", Name: "search", Requests: 30, Window: time.Minute})
	c.Quotas[0].Credential = "me"
	r := simulated(t, firehose.SimConfig{Plan: c, For: time.Hour})
	require.Zero(t, r.Total.Primary)
	for _, one := range r.Resources {
		require.Positive(t, one.Polls)
	}
}

// Without a credential a 304 costs quota.
func TestG5_SimulatedAnonymous304IsNotFree(t *testing.T) {
	c := firehose.PlanConfig{
		Resources: planned(1, "", 2*time.Minute),
		Quotas: []firehose.Quota{{
			Origin: planOrigin, Requests: firehose.GitHubAnonymousHourly, Window: time.Hour, NotModifiedFree: true,
		}},
		Traits: func(resource.Spec) firehose.Traits { return firehose.Traits{Unchanged: 1} },
	}
	r := simulated(t, firehose.SimConfig{Plan: c, For: 10 * time.Hour})
	require.Equal(t, r.Total.Requests, r.Buckets[0].Charged)
	require.Equal(t, r.Total.Requests-1, r.Total.NotModified)

	c.Profiles = map[string]resource.Profile{"": {Credential: "me"}}
	c.Quotas[0].Credential = "me"
	r = simulated(t, firehose.SimConfig{Plan: c, For: 10 * time.Hour})
	require.EqualValues(t, 1, r.Buckets[0].Charged)
}

func TestG13_SimulatedSecondaryLimitsParkTheScope(t *testing.T) {
	plan := granted(planned(200, "", time.Minute), 50_000, time.Hour, firehose.Traits{Latency: 20 * time.Millisecond})
	r := simulated(t, firehose.SimConfig{Plan: plan, For: time.Hour, Secondary: firehose.Secondary{PerMinute: 100}})
	require.Positive(t, r.Total.Secondary)
	require.LessOrEqual(t, r.Total.Secondary, int64(60), "one a minute at most: the scope is parked")
	require.Zero(t, r.Total.Primary)

	r = simulated(t, firehose.SimConfig{Plan: plan, For: time.Hour, Secondary: firehose.Secondary{Concurrent: 1}})
	require.Zero(t, r.Total.Secondary, "they go one at a time")
	plan.Profiles[""] = resource.Profile{Credential: "me", Concurrency: 4}
	plan.Traits = func(resource.Spec) firehose.Traits { return firehose.Traits{Latency: 200 * time.Millisecond} }
	r = simulated(t, firehose.SimConfig{Plan: plan, For: time.Hour, Secondary: firehose.Secondary{Concurrent: 1, RetryAfter: 10 * time.Second}})
	require.Positive(t, r.Total.Secondary)
}

func TestSimulateOutages(t *testing.T) {
	for name, status := range map[string]int{"no answer": 0, "503": 503} {
		t.Run(name, func(t *testing.T) {
			plan := granted(planned(50, "", time.Minute), 5000, time.Hour, firehose.Traits{Latency: 20 * time.Millisecond})
			calm := simulated(t, firehose.SimConfig{Plan: plan, For: 4 * time.Hour})
			c := firehose.SimConfig{Plan: plan, For: 4 * time.Hour, Outages: []firehose.Outage{
				{Origin: planOrigin, From: time.Hour, For: time.Hour, Status: status},
				{Origin: "https://example.org", For: 4 * time.Hour},
			}}
			r := simulated(t, c)
			require.Positive(t, r.Total.Failed)
			require.Less(t, r.Total.Failed, int64(50*60/2), "failures back off")
			require.Zero(t, r.Total.Ended, "and end nobody")
			require.Less(t, r.Total.Polls, calm.Total.Polls)
			require.Zero(t, r.Total.Primary)
			for _, one := range r.Resources {
				require.Equal(t, resource.WaitingForInterval, one.State, "all recover")
			}
		})
	}
}

// The user's own function of change.
func TestSimulateChanged(t *testing.T) {
	var last time.Duration
	r := simulated(t, firehose.SimConfig{
		Plan: granted(planned(1, "", time.Minute), 5000, time.Hour, firehose.Traits{}),
		For:  2 * time.Hour,
		Changed: func(spec resource.Spec, since, at time.Duration) bool {
			require.Less(t, since, at)
			require.GreaterOrEqual(t, at, last)
			last = at
			return at > time.Hour
		},
	})
	require.InDelta(t, 60, r.Total.NotModified, 2)
	require.InDelta(t, 0.5, r.Total.Unchanged, 0.02)
}

// Where nothing is known of a quota, there is nothing but intervals,
// concurrency and workers to hold a request up.
func TestSimulateWithoutAQuota(t *testing.T) {
	plan := firehose.PlanConfig{
		Resources: resource.List("https://a.example/1", "https://a.example/2", "https://a.example/3", "https://b.example/", "https://c.example/"),
		Workers:   2,
	}
	r := simulated(t, firehose.SimConfig{Plan: plan, For: time.Hour})
	require.Len(t, r.Buckets, 3)
	require.InDelta(t, 5*60, r.Total.Polls, 6)
	require.Zero(t, r.Buckets[0].Used)
	require.Positive(t, r.Total.Wait.Max, "five are due at once, for two workers")
}

// Pages are requests, each of them counted.
func TestG19_SimulatedPagesDrawFromTheQuota(t *testing.T) {
	plan := granted(planned(10, "", time.Minute), 600, time.Hour, firehose.Traits{Feed: firehose.Feed{Rate: 10, Window: 300, Pages: 3}})
	r := simulated(t, firehose.SimConfig{Plan: plan, For: 10 * time.Hour})
	require.InDelta(t, 3*r.Total.Polls, r.Total.Requests, 3)
	require.Zero(t, r.Total.Primary)
	require.Positive(t, r.Total.Gaps)
	require.Positive(t, r.Resources[0].Missed)
}

func TestSimulateEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	cancel(stop)
	_, err := firehose.Simulate(ctx, firehose.SimConfig{Plan: granted(planned(1, "", 0), 60, time.Hour, firehose.Traits{})})
	require.ErrorIs(t, err, stop)
}

func TestSimulateRefusesBadInput(t *testing.T) {
	for field, c := range map[string]firehose.SimConfig{
		"For":                  {For: -1},
		"Secondary.PerMinute":  {Secondary: firehose.Secondary{PerMinute: -1}},
		"Secondary.Concurrent": {Secondary: firehose.Secondary{Concurrent: -1}},
		"Secondary.Chance":     {Secondary: firehose.Secondary{Chance: math.NaN()}},
		"Secondary.RetryAfter": {Secondary: firehose.Secondary{RetryAfter: -1}},
		"Outages[0].Origin":    {Outages: []firehose.Outage{{Origin: "x", For: 1}}},
		"Outages[0].From":      {Outages: []firehose.Outage{{From: -1, For: 1}}},
		"Outages[0].For":       {Outages: []firehose.Outage{{}}},
		"Outages[0].Status":    {Outages: []firehose.Outage{{For: 1, Status: 404}}},
	} {
		t.Run(field, func(t *testing.T) {
			_, err := firehose.Simulate(t.Context(), c)
			var bad *firehose.FieldError
			require.ErrorAs(t, err, &bad)
			require.Equal(t, field, bad.Field)
			require.NotEmpty(t, bad.Want)
		})
	}
}

func BenchmarkSimulate(b *testing.B) {
	c := firehose.SimConfig{Plan: granted(planned(10_000, "", time.Minute), 5000, time.Hour, firehose.Traits{ChangeEvery: 5 * time.Minute}), For: 24 * time.Hour}
	b.ReportAllocs()
	var requests int64
	for b.Loop() {
		r, err := firehose.Simulate(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		requests += r.Total.Requests
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(requests), "ns/request")
}
