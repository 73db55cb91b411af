package queue

import (
	"fmt"
	"time"
)

// Tier is where messages go that have at least From to wait, and less than the
// From of the tier above.
type Tier[N ~string] struct {
	Name N             // such as the name of a queue; not empty
	From time.Duration // the shortest wait that belongs here
}

// DefaultTiers returns the tiers of the ready-made canned OS, by the wait that
// remains: up to 50 ms analyze, then frozen-50, from 250 ms on frozen-250, from
// 500 ms on frozen-500, from 1 s on frozen-1000. The slice is the caller's.
func DefaultTiers() []Tier[string] {
	return []Tier[string]{
		{"analyze", 0},
		{"frozen-50", 50*time.Millisecond + 1}, // 50 ms itself isn't worth freezing
		{"frozen-250", 250 * time.Millisecond},
		{"frozen-500", 500 * time.Millisecond},
		{"frozen-1000", time.Second},
	}
}

// MaxTiers is the most tiers that a TimingSorter takes.
const MaxTiers = 64

// TimingSorter names the tier for a wait. It only names: it knows no queue and
// no service, and the instant at which something is due stays what it is. It
// never changes, so any goroutine may use it.
type TimingSorter[N ~string] struct {
	tiers []Tier[N] // ascending; the first from 0
}

// NewTimingSorter returns a sorter for tiers: 1 to MaxTiers of them, the first
// from 0, each from later than the one before, no name empty or twice. The
// tiers are copied. Use it as NewTimingSorter(DefaultTiers()...).
func NewTimingSorter[N ~string](tiers ...Tier[N]) (*TimingSorter[N], error) {
	if len(tiers) < 1 || len(tiers) > MaxTiers {
		return nil, fmt.Errorf("queue: TimingSorter: %d tiers: want 1 to %d", len(tiers), MaxTiers)
	}
	names := make(map[N]bool, len(tiers))
	for i, t := range tiers {
		switch {
		case t.Name == "" || names[t.Name]:
			return nil, fmt.Errorf("queue: TimingSorter: tier %d: Name %q: want a name that no other tier has", i, t.Name)
		case i == 0 && t.From != 0:
			return nil, fmt.Errorf("queue: TimingSorter: tier %q: From %v: want 0 for the first tier", t.Name, t.From)
		case i > 0 && t.From <= tiers[i-1].From:
			return nil, fmt.Errorf("queue: TimingSorter: tier %q: From %v: want more than %v of the tier before", t.Name, t.From, tiers[i-1].From)
		}
		names[t.Name] = true
	}
	return &TimingSorter[N]{tiers: append([]Tier[N](nil), tiers...)}, nil
}

// Sort returns the name of the tier for a wait. A wait below 0 is none.
func (s *TimingSorter[N]) Sort(wait time.Duration) N {
	for i := len(s.tiers) - 1; i > 0; i-- {
		if wait >= s.tiers[i].From {
			return s.tiers[i].Name
		}
	}
	return s.tiers[0].Name
}

// Tiers returns the tiers in ascending order. The slice is the caller's.
func (s *TimingSorter[N]) Tiers() []Tier[N] { return append([]Tier[N](nil), s.tiers...) }
