package firehose_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// What does one token allow? The public events of GitHub in their window of 300,
// polled as often as the origin asks for.
func ExamplePlan() {
	plan := firehose.PlanConfig{
		Resources: resource.List("https://api.github.com/events"),
		Profiles:  map[string]resource.Profile{"": {Credential: "me"}},
		Quotas: []firehose.Quota{{
			Origin: "https://api.github.com", Credential: firehose.EachCredential, Name: "core",
			Requests: firehose.GitHubUserHourly, Window: time.Hour, NotModifiedFree: true,
		}},
		Traits: func(resource.Spec) firehose.Traits {
			return firehose.Traits{
				PollInterval: time.Minute,
				Feed:         firehose.Feed{Rate: 85, Window: firehose.GitHubEventWindow, Pages: 3},
			}
		},
	}
	forecast, err := firehose.Plan(plan)
	if refused, ok := errors.AsType[*firehose.RefusedError](err); ok {
		fmt.Println("not like this:", refused.Flags[0])
	}
	fmt.Printf("%.0f of %.0f requests an hour\n", forecast.Expected, forecast.Buckets[0].Allowed)
	fmt.Println(forecast.Flags[0])

	report, err := firehose.Simulate(context.Background(), firehose.SimConfig{Plan: plan, For: 24 * time.Hour})
	if err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%d rejections\n", report.Total.Primary)
	// Output:
	// 180 of 5000 requests an hour
	// [E-7] https://api.github.com/events: it can't be read completely: a poll every 1m0.1s shows 5.9% of its items, with a Gap at 100% of the polls; every 2.933s would be needed
	// 0 rejections
}
