package firehose

import (
	"math"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// FeedForecast is what a plan means for one event feed: a poll shows the newest
// items, at most Window of them, and those that came and went between two polls
// are never seen (rule E-7). It is reckoned for items that come independently
// of each other; where they come in bursts more is missed.
type FeedForecast struct {
	ID     resource.ID `json:"id"`
	URI    string      `json:"uri"`    // as in the Spec
	Rate   float64     `json:"rate"`   // items a second
	Window int         `json:"window"` // items that a poll can show

	Interval time.Duration `json:"interval_ns"` // expected from one poll to the next
	Seen     float64       `json:"seen"`        // share of the items that can be seen, from 0 to 1
	GapRate  float64       `json:"gap_rate"`    // share of the polls that find no overlap with the one before
	Gaps     float64       `json:"gaps"`        // an hour
	Missed   float64       `json:"missed"`      // items an hour that are never shown

	// Needed is the longest time from one poll to the next with which the chance
	// of a Gap is no more than PlanConfig.GapChance.
	Needed   time.Duration `json:"needed_ns"`
	Complete bool          `json:"complete"` // Interval is no longer than Needed
}

func newFeedForecast(u *unit, c *class, chance float64) FeedForecast {
	feed := u.t.Feed
	mean := feed.Rate * c.period // items that are new at a poll
	gap := poissonAtLeast(feed.Window, mean)
	seen := seenOf(feed.Window, mean)
	f := FeedForecast{
		ID: u.r.ID, URI: u.r.URI, Rate: feed.Rate, Window: feed.Window, Interval: seconds(c.period),
		Seen: seen, GapRate: gap, Gaps: gap * 3600 / c.period, Missed: (1 - seen) * feed.Rate * 3600,
		Needed: seconds(mostItems(feed.Window, chance) / feed.Rate),
	}
	f.Complete = f.Interval <= f.Needed
	return f
}

// seenOf is the share of the items that a window shows, when mean of them come
// between two polls: E[min(X, w)] / E[X] for a Poisson variable X. Since
// k*P(X=k) is mean*P(X=k-1), E[min(X, w)] is mean*P(X<w-1) + w*P(X>=w).
func seenOf(window int, mean float64) float64 {
	if mean <= 0 {
		return 1
	}
	shown := mean*(1-poissonAtLeast(window-1, mean)) + float64(window)*poissonAtLeast(window, mean)
	return min(1, shown/mean)
}

// mostItems is the greatest mean of items between two polls, with which a
// window of them fills up with at most that chance.
func mostItems(window int, chance float64) float64 {
	low, high := 0.0, float64(window)
	for range 50 {
		if mid := (low + high) / 2; poissonAtLeast(window, mid) <= chance {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// poissonAtLeast is P(X >= n) of a Poisson variable: a sum of the shorter tail,
// begun where its terms are greatest, so that none of them is lost in rounding.
func poissonAtLeast(n int, mean float64) float64 {
	switch {
	case n <= 0:
		return 1
	case mean <= 0:
		return 0
	case float64(n) > mean: // the upper tail, from n upwards
		return tail(float64(n), mean, +1)
	}
	return 1 - tail(float64(n-1), mean, -1)
}

// tail sums the chances of a Poisson variable from k on, towards the thinner end.
func tail(k, mean, step float64) (sum float64) {
	gamma, _ := math.Lgamma(k + 1)
	term := math.Exp(k*math.Log(mean) - mean - gamma)
	for k >= 0 && term > sum*1e-12 && term > 0 {
		sum += term
		if step > 0 {
			term *= mean / (k + 1)
		} else {
			term *= k / mean
		}
		k += step
	}
	return min(1, sum)
}
