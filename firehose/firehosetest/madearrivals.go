package firehosetest

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// The figures below describe one recorded hour of GitHub's public events: the
// hour that begins 2015-01-01 00:00 UTC, 7,702 items in 3,599 seconds. They
// were got by counting its lines by second, the differences of the ids of
// neighbouring lines, and its types.

// itemsPerSecond says in how many of the 3,599 seconds there were 0, 1, 2 and
// so on items: 2.14 a second on average, of variance 4.72, so bursts are
// more than twice as strong as those of independent items.
func itemsPerSecond() [17]int {
	return [...]int{967, 731, 631, 513, 281, 196, 124, 62, 38, 21, 17, 7, 4, 3, 1, 1, 2}
}

// idSteps says how many of the 7,701 steps to the next id were 1, 2 and so on;
// the last is all above 12, 16.5 on average. The mean is 3.6. Besides, 22 ids
// were smaller than the one before (E-4).
func idSteps() [13]int {
	return [...]int{2458, 1502, 1003, 663, 487, 410, 280, 213, 153, 109, 104, 76, 221}
}

// idsBackward is the share of ids that are smaller than the one before.
const idsBackward = 22.0 / 7701

// typesOfItems says how many of the 7,702 items were of which type; the one
// type that is left out was there twice.
func typesOfItems() (names [13]string, counts [13]int) {
	return [...]string{
			"PushEvent", "CreateEvent", "IssueCommentEvent", "WatchEvent", "IssuesEvent", "PullRequestEvent", "ForkEvent",
			"DeleteEvent", "GollumEvent", "PullRequestReviewCommentEvent", "CommitCommentEvent", "ReleaseEvent", "MemberEvent",
		},
		[...]int{4280, 815, 650, 642, 373, 315, 213, 141, 90, 85, 56, 24, 16}
}

// draw picks an index by weight.
func draw(rng *rand.Rand, weights []int) int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	n := rng.IntN(sum)
	for i, w := range weights {
		if n -= w; n < 0 {
			return i
		}
	}
	return len(weights) - 1
}

// MadeArrivals makes a stream of a length, by seed, with the statistics of a
// recorded hour of GitHub's public events: items per second, steps of ids,
// types. Seconds are independent of each other; the recorded ones weakly
// repeat after five. The repositories are made up.
func MadeArrivals(seed uint64, length time.Duration) []Arrival {
	rng := rand.New(rand.NewPCG(seed, 1))
	perSecond, steps := itemsPerSecond(), idSteps()
	names, types := typesOfItems()
	var list []Arrival
	id := int64(firstID / 4)
	for second := time.Duration(0); second < length; second += time.Second {
		n := draw(rng, perSecond[:])
		for i := range n {
			step := draw(rng, steps[:]) + 1
			if step == len(steps) {
				step += rng.IntN(8)
			}
			id += int64(step)
			owner := rng.IntN(4000)
			list = append(list, Arrival{
				After: second + time.Duration((float64(i)+rng.Float64())/float64(n)*float64(time.Second)),
				ID:    strconv.FormatInt(id, 10),
				Type:  names[draw(rng, types[:])],
				Repo:  "user-" + strconv.Itoa(owner) + "/repo-" + strconv.Itoa(rng.IntN(3)),
			})
			if last := len(list) - 1; last > 0 && rng.Float64() < idsBackward {
				list[last].ID, list[last-1].ID = list[last-1].ID, list[last].ID
			}
		}
	}
	return list
}

// Overlay returns so many copies of a stream laid over each other: it lasts as
// long, at so many times the rate. Copies are turned against each other, by
// multiples of the golden section of the length, so that the bursts of one
// don't meet those of the next. Equal parts would turn an hour by whole
// minutes, and who polls by the minute would see the same few items of all
// copies again and again. Every item gets a fresh id; ids rise with the places, by the steps of
// the original. What Delay and Repeat do is lost: call them afterwards. Times
// below 2 return a plain copy.
func Overlay(arrivals []Arrival, times int) []Arrival {
	if times < 2 || len(arrivals) == 0 {
		return append([]Arrival(nil), arrivals...)
	}
	length := arrivals[len(arrivals)-1].After + 1
	list := make([]Arrival, 0, len(arrivals)*times)
	steps := make([]int64, 0, cap(list)) // in Late, until they are needed
	var last int64
	for i, a := range arrivals {
		id, err := strconv.ParseInt(a.ID, 10, 64)
		if i == 0 && err == nil {
			last = id - 1
		}
		steps = append(steps, min(max(id-last, 1), 1000))
		last = max(last, id)
	}
	first := last - int64(len(arrivals))
	for k := range times {
		_, part := math.Modf(float64(k) * (math.Phi - 1))
		turn := time.Duration(part * float64(length))
		for i, a := range arrivals {
			a.After, a.Late = (a.After+turn)%length, time.Duration(steps[i])
			list = append(list, a)
		}
	}
	sortArrivals(list)
	for i := range list {
		first += int64(list[i].Late)
		list[i].ID, list[i].Late = strconv.FormatInt(first, 10), 0
	}
	return list
}
