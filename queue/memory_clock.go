package queue

import (
	"math"
	"time"
)

// A clock turns instants into nanoseconds since its base, by the monotonic
// clock, and back. A jump of the wall clock changes none of them.
//
//	time.Time ── nanos ──► int64 ── instant ──► time.Time with a monotonic reading
type clock struct {
	base time.Time // with a monotonic reading
}

// nanos returns the instant t as nanoseconds since the base, bounded by about
// 292 years either way. now is time.Now(): a t without a monotonic reading is as
// far from it as the wall clock says.
func (c clock) nanos(t, now time.Time) int64 {
	return add(int64(t.Sub(now)), int64(now.Sub(c.base)))
}

// add returns a+b, or the bound that it lies beyond.
func add(a, b int64) int64 {
	sum := a + b
	switch {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	}
	return sum
}

// instant returns the instant that lies so many nanoseconds after the base.
func (c clock) instant(nanos int64) time.Time { return c.base.Add(time.Duration(nanos)) }
