package firehosetest

import (
	"math/rand/v2"
	"time"
)

// Delay returns a copy of a stream in which a share of the items, 0 to 1, drawn
// by seed, enters late, behind newer ones (E-3): by up to most.
func Delay(seed uint64, arrivals []Arrival, share float64, most time.Duration) []Arrival {
	rng := rand.New(rand.NewPCG(seed, 2))
	list := append([]Arrival(nil), arrivals...)
	for i := range list {
		if drawn, by := rng.Float64(), rng.Float64(); drawn < share {
			list[i].Late = time.Duration(by * float64(most))
		}
	}
	return list
}

// Repeat returns a copy of a stream in which a share of the items, 0 to 1,
// drawn by seed, arrives a second time, up to most later but not after the
// last one: twice in one window if that is soon, again in a later one if it is
// not.
func Repeat(seed uint64, arrivals []Arrival, share float64, most time.Duration) []Arrival {
	rng := rand.New(rand.NewPCG(seed, 3))
	list := append([]Arrival(nil), arrivals...)
	if len(arrivals) == 0 {
		return list
	}
	end := arrivals[len(arrivals)-1].After
	for _, a := range arrivals {
		drawn, by := rng.Float64(), rng.Float64()
		a.After += time.Duration(by * float64(most))
		a.Late = 0
		if drawn < share && a.After <= end {
			list = append(list, a)
		}
	}
	sortArrivals(list)
	return list
}

// Quieten returns a copy of a stream that almost stops between two instants
// (E-11): of the items of that span only each keep-th is left, or none if keep
// is zero.
func Quieten(arrivals []Arrival, from, to time.Duration, keep int) []Arrival {
	list := make([]Arrival, 0, len(arrivals))
	n := 0
	for _, a := range arrivals {
		if a.After >= from && a.After < to {
			if n++; keep <= 0 || n%keep != 0 {
				continue
			}
		}
		list = append(list, a)
	}
	return list
}
