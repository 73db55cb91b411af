package queue_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
)

func TestD18_TiersAreForShortWaits(t *testing.T) {
	t.Parallel()
	s, err := queue.NewTimingSorter(queue.DefaultTiers()...)
	require.NoError(t, err)
	const ms = time.Millisecond
	for _, c := range []struct {
		wait time.Duration
		want string
	}{
		{math.MinInt64, "analyze"}, {-1, "analyze"}, {0, "analyze"}, {50 * ms, "analyze"},
		{50*ms + 1, "frozen-50"}, {250*ms - 1, "frozen-50"},
		{250 * ms, "frozen-250"}, {500*ms - 1, "frozen-250"},
		{500 * ms, "frozen-500"}, {1000*ms - 1, "frozen-500"},
		{1000 * ms, "frozen-1000"}, {math.MaxInt64, "frozen-1000"},
	} {
		require.Equal(t, c.want, s.Sort(c.wait), "%v", c.wait)
	}
}

func TestTimingSorterAllocatesNothing(t *testing.T) {
	s, err := queue.NewTimingSorter(queue.DefaultTiers()...)
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() { s.Sort(time.Second) }))
}

func TestTimingSorterOwnTiers(t *testing.T) {
	t.Parallel()
	type lane string
	given := []queue.Tier[lane]{{"now", 0}, {"later", time.Hour}}
	s, err := queue.NewTimingSorter(given...)
	require.NoError(t, err)
	given[1].From = 0
	s.Tiers()[1].From = 0
	require.Equal(t, lane("now"), s.Sort(time.Hour-1))
	require.Equal(t, lane("later"), s.Sort(time.Hour))
	require.Equal(t, []queue.Tier[lane]{{"now", 0}, {"later", time.Hour}}, s.Tiers())
}

func TestTimingSorterRefuses(t *testing.T) {
	t.Parallel()
	many := []queue.Tier[string]{{"0", 0}}
	for len(many) <= queue.MaxTiers {
		many = append(many, queue.Tier[string]{fmt.Sprint(len(many)), time.Duration(len(many))})
	}
	for want, tiers := range map[string][]queue.Tier[string]{
		"0 tiers":                                {},
		"65 tiers":                               many,
		`tier 1: Name ""`:                        {{"a", 0}, {"", 1}},
		`tier 1: Name "a"`:                       {{"a", 0}, {"a", 1}},
		`tier "a": From 1ns: want 0`:             {{"a", 1}},
		`tier "b": From 0s`:                      {{"a", 0}, {"b", 0}},
		`tier "c": From 1ns: want more than 2ns`: {{"a", 0}, {"b", 2}, {"c", 1}},
	} {
		_, err := queue.NewTimingSorter(tiers...)
		require.ErrorContains(t, err, want)
	}
	_, err := queue.NewTimingSorter(many[:queue.MaxTiers]...)
	require.NoError(t, err)
}

func ExampleTimingSorter() {
	sorter, err := queue.NewTimingSorter(queue.DefaultTiers()...)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, wait := range []time.Duration{0, 300 * time.Millisecond, time.Minute} {
		fmt.Println(wait, sorter.Sort(wait))
	}
	// Output:
	// 0s analyze
	// 300ms frozen-250
	// 1m0s frozen-1000
}
