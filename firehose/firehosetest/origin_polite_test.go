package firehosetest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A polite client raises nothing, is prompt, and gets what there is, under
// every trouble that the origin can make.
func TestPoliteClientRaisesNothing(t *testing.T) {
	tests := []struct {
		name  string
		cfg   Config
		pages bool
		token string
		hours int
		least float64 // of polls to permitted
	}{
		{name: "defaults", hours: 6, least: 0.99},
		{name: "second", cfg: Config{Timelines: 3, PollInterval: time.Second, Limit: 1e6}, token: "a", hours: 1, least: 0.97},
		{name: "pages", cfg: Config{Timelines: 2, Late: 0.2}, pages: true, token: "a", hours: 6, least: 0.98},
		{name: "G-12 exhausted windows", cfg: Config{Timelines: 20, Limit: 100, Rate: 10}, hours: 6, least: 0.98},
		{name: "G-12 tiny windows", cfg: Config{Timelines: 5, Limit: 2, Window: 7 * time.Second, PollInterval: time.Second}, hours: 1, least: 0.95},
		{name: "G-12 skewed", cfg: Config{Timelines: 9, Limit: 50, Skew: -90*time.Second - 300*time.Millisecond}, hours: 6, least: 0.98},
		{name: "G-13 secondary", cfg: Config{Timelines: 9, Secondary: 0.01}, token: "b", hours: 5, least: 0.98},
		{name: "G-13 secondary without Retry-After", cfg: Config{Timelines: 9, Secondary: 0.02, SecondaryForm: RetryNone, TooManyRequests: true}, hours: 5, least: 0.95},
		{name: "H-4 secondary by date", cfg: Config{Timelines: 9, Secondary: 0.02, SecondaryForm: RetryDate, Skew: 47*time.Second + 700*time.Millisecond}, hours: 5, least: 0.95},
		{name: "H-2 by other dates", cfg: Config{Timelines: 9, Secondary: 0.02, SecondaryForm: RetryRFC850, Skew: -time.Hour}, hours: 5, least: 0.95},
		{name: "faults", cfg: Config{Timelines: 20, Faults: []Fault{
			{0.02, Step{Kind: Status, Status: 500}}, {0.01, Step{Kind: Status, Status: 503, RetryAfter: 90 * time.Second}},
			{0.01, Step{Kind: Status, Status: 429}}, {0.01, Step{Kind: Reset}}, {0.01, Step{Kind: Truncate}},
			{0.01, Step{Kind: Endless}}, {0.01, Step{Kind: Huge}}, {0.01, Step{Kind: LoginPage}}, {0.01, Step{Kind: Redirect}},
			{0.01, Step{Kind: Slow, Delay: 3 * time.Second}}, {0.01, Step{Kind: Status, Status: 404}},
		}}, token: "c", hours: 3, least: 0.95},
		{name: "outages", cfg: Config{Timelines: 5, Outages: []Outage{{From: time.Hour, To: 90 * time.Minute}, {From: 3 * time.Hour, To: 3*time.Hour + time.Second}}}, hours: 6, least: 0.95},
		{name: "no latency", cfg: Config{Timelines: 3, PollInterval: 2 * time.Second, Limit: 1e6, Latency: Instant}, hours: 1, least: 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				test.cfg.Seed = 7
				o := mustOrigin(t, test.cfg)
				w := Watch(o.RoundTripper())
				c := newPolite(w, o.Paths()...)
				c.pages, c.token = test.pages, test.token
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(test.hours)*time.Hour)
				defer cancel()
				c.run(ctx)
				for name, v := range map[string]Verdict{"origin": o.Verdict(), "watcher": w.Verdict()} {
					t.Logf("%s: %+v", name, v)
					requireWrongs(t, v, map[string]int64{})
					require.GreaterOrEqual(t, float64(v.Polls), test.least*float64(v.Permitted), name)
					require.LessOrEqual(t, v.Polls, v.Permitted+1, name)
				}
				v := o.Verdict()
				require.Greater(t, v.Modified, int64(0))
				if !test.pages && test.name != "faults" {
					require.Equal(t, v.Items, int64(len(c.items)))
				}
			})
		})
	}
}
