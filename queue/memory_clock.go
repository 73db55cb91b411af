package queue

import (
	"math"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// A clock turns instants into nanoseconds since its base, by the monotonic
// clock, and back. A jump of the wall clock changes none of them.
//
//	time.Time ── nanos ──► int64 ── instant ──► time.Time with a monotonic reading
//
// The encoding of a resource knows only the wall clock. So its instants are
// written as the wall clock of the base would have shown them (freeze) and read
// back from there (thaw): between the two the wall clock doesn't count.
type clock struct {
	base time.Time // with a monotonic reading
	wall time.Time // the same instant on the wall clock alone
}

func newClock(base time.Time) clock {
	return clock{base: base, wall: base.Round(0).UTC()}
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

// freeze maps the instants of r to the wall clock of the base.
func (c clock) freeze(r *resource.Resource, now time.Time) {
	sinceBase := int64(now.Sub(c.base))
	for _, t := range instants(r) {
		if !t.IsZero() {
			*t = c.wall.Add(time.Duration(add(int64(t.Sub(now)), sinceBase)))
		}
	}
}

// thaw undoes freeze.
func (c clock) thaw(r *resource.Resource) {
	wall := c.wall.UnixNano()
	for _, t := range instants(r) {
		if !t.IsZero() {
			*t = c.instant(t.UnixNano() - wall)
		}
	}
}

func instants(r *resource.Resource) [6]*time.Time {
	return [...]*time.Time{&r.Claimed, &r.ClaimUntil, &r.Asked, &r.Answered, &r.Changed, &r.NotBefore}
}
