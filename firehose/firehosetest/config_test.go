package firehosetest

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConfigErrors(t *testing.T) {
	for want, cfg := range map[string]Config{
		"Timelines -1":            {Timelines: -1},
		"Timelines 1000001":       {Timelines: 1_000_001},
		"Rate -1":                 {Rate: -1},
		"Rate NaN":                {Rate: math.NaN()},
		"Late 2":                  {Late: 2},
		"PollInterval 1.5s":       {PollInterval: 1500 * time.Millisecond},
		"Window -1s":              {Window: -time.Second},
		"Limit -1":                {Limit: -1},
		"Secondary 1.1":           {Secondary: 1.1},
		"SecondaryForm 9":         {SecondaryForm: 9},
		"Settle -1ns":             {Settle: -1},
		"Faults[0].Probability 2": {Faults: []Fault{{Probability: 2}}},
		"Faults[0].Step: kind 99": {Faults: []Fault{{Step: Step{Kind: 99}}}},
		"Faults: the probabilities add up to 1.2": {Faults: []Fault{{Probability: 0.6}, {Probability: 0.6}}},
		"Faults[0].Step: form -1":                 {Faults: []Fault{{Step: Step{Form: -1}}}},
		"retry after 1ms":                         {Faults: []Fault{{Step: Step{RetryAfter: time.Millisecond}}}},
		"delay -1ns":                              {Faults: []Fault{{Step: Step{Delay: -1}}}},
		"times -1":                                {Faults: []Fault{{Step: Step{Times: -1}}}},
		"status 200: a redirect is":               {Faults: []Fault{{Step: Step{Kind: Redirect, Status: 200}}}},
		"location":                                {Faults: []Fault{{Step: Step{Kind: Redirect, Location: "\n"}}}},
		"Outages[0] from 2s to 1s":                {Outages: []Outage{{From: 2 * time.Second, To: time.Second}}},
	} {
		_, err := New(cfg)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "firehosetest: config: ")
	}
}
