package firehosetest

import (
	"cmp"
	"slices"
	"time"
)

// itemJudge weighs one report.
type itemJudge struct {
	feed        *feed
	names       *itemNames
	slack       time.Duration
	chain       []*observation
	first, last instant

	shown     []instant // by item: when it was delivered first; zero: never
	perhaps   []instant // the same with what may be unread
	seen      []bool    // by arrival
	published []int32   // by item
	offers    []instant // when the page ones were made that were delivered
	gaps      []outage  // disjoint and in order
	verdict   ItemVerdict
}

// show finds what was shown.
func (j *itemJudge) show() {
	n := len(j.feed.arrivals)
	j.shown, j.perhaps, j.seen, j.published = make([]instant, n), make([]instant, n), make([]bool, n), make([]int32, n)
	for _, d := range j.feed.deliveries {
		if d.same {
			continue
		}
		if d.page == 1 && !d.unread {
			j.offers = append(j.offers, d.made)
		}
		for _, i := range d.items {
			item := j.names.item(i)
			if j.perhaps[item] == 0 {
				j.perhaps[item] = d.done
			}
			if d.unread {
				continue
			}
			j.seen[i] = true
			if j.shown[item] == 0 {
				j.shown[item] = d.done
			}
		}
	}
	slices.Sort(j.offers)
}

// takeGaps joins the gaps, each wider by the slack.
func (j *itemJudge) takeGaps(o *oracle, gaps []ReportedGap) {
	for _, g := range gaps {
		j.gaps = append(j.gaps, outage{from: o.at(g.From) - instant(j.slack), to: o.at(g.To).add(j.slack)})
	}
	slices.SortFunc(j.gaps, func(a, b outage) int { return cmp.Compare(a.from, b.from) })
	joined := j.gaps[:0]
	for _, g := range j.gaps {
		if n := len(joined); n > 0 && g.from <= joined[n-1].to {
			joined[n-1].to = max(joined[n-1].to, g.to)
			continue
		}
		joined = append(joined, g)
	}
	j.gaps = joined
}

func (j *itemJudge) inGap(at instant) bool {
	n, exact := slices.BinarySearchFunc(j.gaps, at, func(g outage, at instant) int { return cmp.Compare(g.from, at) })
	return exact || n > 0 && at <= j.gaps[n-1].to
}

func (j *itemJudge) takePublished(o *oracle, list []Publication) {
	take := func(item int32, at instant) {
		shown := j.perhaps[item]
		if shown == 0 || at != 0 && at.add(j.slack) < shown {
			j.verdict.Unshown++
		}
		if j.shown[item] == 0 {
			j.shown[item] = shown // who publishes it has read it
		}
		j.published[item]++
	}
	if list == nil {
		for _, r := range j.feed.reported {
			take(r.item, r.at)
		}
		return
	}
	for _, p := range list {
		item, known := j.names.first[p.ID]
		switch {
		case !known:
			j.verdict.Unshown++
		case p.At.IsZero():
			take(item, 0)
		default:
			take(item, o.at(p.At))
		}
	}
}

// What the arrivals of an item that was never shown say of it, the worst last.
const (
	outside = iota // of what the client observed
	unknowable
	reported
	silent
)

func (j *itemJudge) judgeItems() {
	worst := make([]uint8, len(j.feed.arrivals))
	covered := make([]bool, len(j.feed.arrivals))
	for i := range j.feed.arrivals {
		item := j.names.item(int32(i))
		worst[item] = max(worst[item], j.judgeArrival(int32(i)))
		covered[item] = covered[item] || j.feed.entered[i] != 0 && j.inGap(j.feed.entered[i])
	}
	v := &j.verdict
	for i, class := range worst {
		if j.names.item(int32(i)) != int32(i) {
			continue
		}
		if j.shown[i] != 0 {
			j.judgeShown(j.published[i], covered[i])
			continue
		}
		switch class {
		case outside:
			continue
		case unknowable:
			v.Unknowable++
		case reported:
			v.InGap++
		case silent:
			v.Silent++
		}
		v.NeverShown++
	}
	v.Items = v.Shown + v.NeverShown
}

func (j *itemJudge) judgeShown(published int32, covered bool) {
	v := &j.verdict
	v.Shown++
	switch {
	case published == 1:
		v.Once++
	case published > 1:
		v.Repeated++
		v.Duplicates += int64(published - 1)
	case covered:
		v.LostInGap++
	default:
		v.Lost++
	}
}

// judgeArrival says what the client could know of an arrival that it was not
// shown. One that entered in front can only be missed between two readings
// that don't overlap.
func (j *itemJudge) judgeArrival(i int32) uint8 {
	entered, left := j.feed.entered[i], j.feed.left[i]
	switch {
	case j.seen[i] || entered == 0 || entered <= j.first || entered > j.last:
		return outside
	case j.inGap(entered):
		return reported
	case left == entered:
		return unknowable
	case !j.feed.behind[i]:
		return silent
	}
	n, _ := slices.BinarySearch(j.offers, entered)
	if n < len(j.offers) && j.offers[n].add(walkTime) < left {
		return silent // page one was read, and led to it
	}
	return unknowable
}

func (j *itemJudge) judgeGaps(o *oracle, gaps []ReportedGap) {
	v := &j.verdict
	v.Gaps, v.Observations = int64(len(gaps)), int64(len(j.chain))
	for _, seen := range j.chain {
		if seen.overlap {
			v.Overlaps++
		}
	}
	missed := j.missed()
	for _, g := range gaps {
		from, to := o.at(g.From)-instant(j.slack), o.at(g.To).add(j.slack)
		v.Estimated += g.Estimate
		for n := 1; n < len(j.chain); n++ {
			if j.chain[n].overlap && j.chain[n-1].until >= from && j.chain[n].made <= to {
				v.Spanning++
				break
			}
		}
		if n, _ := slices.BinarySearch(missed, from); n == len(missed) || missed[n] > to {
			v.Empty++
		}
	}
}

// missed lists when arrivals entered, while the client observed, that were never
// shown, or never published although they had been.
func (j *itemJudge) missed() (all []instant) {
	for i, at := range j.feed.entered {
		item := j.names.item(int32(i))
		if at > j.first && at <= j.last && (j.shown[item] == 0 || j.published[item] == 0) {
			all = append(all, at)
		}
	}
	slices.Sort(all)
	return all
}
