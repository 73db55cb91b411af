package firehosetest

import (
	"slices"
	"time"
)

// On a socket the origin learns a little late that a client gave a request up.
// What the client sends next may seem to overlap it. Such a suspicion counts at
// once, and is taken back if the requests that it leans on turn out to have
// been given up at about that time.

// suspicion is one count that may be taken back.
type suspicion struct {
	counter *int64
	needs   int // requests that must turn out to be given up
}

// doubt is a suspicion that leans on a flight.
type doubt struct {
	at   instant
	that *suspicion
}

// mostDoubts bounds the suspicions that lean on one flight; more of them stay
// counted.
const mostDoubts = 1024

// suspect lets a count lean on the others in flight that it is about.
func (o *oracle) suspect(f *flight, counter *int64, needs int, now instant, about func(*flight) bool) {
	if !f.remote || o.blind {
		return
	}
	s := &suspicion{counter: counter, needs: needs}
	for other := range o.flights {
		if other.died != 0 || !about(other) {
			continue
		}
		other.doubts = slices.DeleteFunc(other.doubts, func(d doubt) bool { return now > d.at.add(o.settle) })
		if len(other.doubts) < mostDoubts {
			other.doubts = append(other.doubts, doubt{now, s})
		}
	}
}

// dispel takes back what leaned on a flight that was given up.
func (f *flight) dispel(settle time.Duration, now instant) {
	for _, d := range f.doubts {
		if now > d.at.add(settle) {
			continue
		}
		if d.that.needs--; d.that.needs == 0 {
			*d.that.counter--
		}
	}
	f.doubts = nil
}
