package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestWaitsJudges shows that early items are counted, and that those show which a
// system forgets.
func TestWaitsJudges(t *testing.T) {
	x := sample{Size: 100, Span: time.Second, Window: time.Second}
	// ahead fires each item before it is due, by so much.
	ahead := func(by time.Duration, items int) holding {
		return func(a *alarm) (func() error, error) {
			ctx, cancel := context.WithCancel(context.Background())
			var group sync.WaitGroup
			for i := range items {
				wait := a.first(i)
				group.Go(func() {
					for ctx.Err() == nil {
						time.Sleep(wait - by)
						wait = a.fired(i)
					}
				})
			}
			return stopAll(cancel, &group), nil
		}
	}
	take := func(t *testing.T, hold holding) (figures map[string]float64, err error) {
		synctest.Test(t, func(*testing.T) { figures, err = waits(hold)(x) })
		return figures, err
	}
	for by, want := range map[time.Duration]float64{0: 0, 5 * time.Millisecond: 5} {
		figures, err := take(t, ahead(by, 100))
		if err != nil {
			t.Fatal(err)
		}
		if got := figures[earliest]; got != want || (figures[early] > 0) != (want > 0) {
			t.Errorf("early by %v: %.0f %% were, by %v ms at most, want %v", by, figures[early], got, want)
		}
	}
	if figures, err := take(t, ahead(0, 30)); err != nil || figures[done] < 25 || figures[done] > 35 {
		t.Errorf("of a system that forgets 70 %%, got %v, %v", figures, err)
	}
	if _, err := take(t, ahead(0, 0)); err == nil || !strings.Contains(err.Error(), "nothing fired in 1s") {
		t.Errorf("got error %v", err)
	}
	if _, err := take(t, func(*alarm) (func() error, error) { return nil, errRefused }); err == nil {
		t.Error("figures of a system that refuses")
	}
}

// TestSlots shows that the floor's wheel is never early, and forgets nothing.
func TestSlots(t *testing.T) {
	const n = 1000
	s := newSlots(n, time.Second)
	due := make([]time.Duration, n)
	for i := range due {
		due[i] = time.Duration(i*i) * time.Microsecond
		s.put(int32(i), s.birth.Add(due[i]))
	}
	var seen []int32
	for now := time.Duration(0); now < 1100*time.Millisecond; now += 700 * time.Microsecond {
		for _, i := range s.take(s.birth.Add(now), nil) {
			if late := now - due[i]; late < 0 || late > 3*slotWidth {
				t.Errorf("item %d is late by %v", i, late)
			}
			seen = append(seen, i)
		}
	}
	slices.Sort(seen)
	if len(slices.Compact(seen)) != n {
		t.Errorf("%d of %d were seen", len(seen), n)
	}
}
