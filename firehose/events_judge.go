package firehose

import (
	"fmt"
	"slices"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// maxCuts is how many readings in a row may be cut before one leads to the last
// whole one, until what lies between counts as missed.
const maxCuts = 3

// Bounds of what is kept of a reading for the next one. What matters is its front.
const (
	maxProof = 2000   // marks of the last whole reading
	maxPaged = 20_000 // marks of pages whose validators are kept, together
)

// judgement is what a reading means beside those before it.
type judgement struct {
	fresh int // new items
	late  int // of them, those behind known ones
	// led says that it leads without a hole to the last whole one, or is the first
	// of all. whole says that the next one has to lead to it. One that was cut is
	// not whole, since what is late may stand where it did not reach, and the next
	// one reads again; but for the last of several.
	led, whole bool
	gap        *Gap // if it is whole, and items may be missing before it
	figures
}

// figures are what estimates go by.
type figures struct {
	axis      axisKind
	density   float64 // items in a unit of the axis, in the last reading that tells
	perSecond float64 // new items, as far as readings led to each other
	late      float64 // of them, those that stood behind known ones
	readings  int     // that led to each other; no more than usualReadings are counted
}

// usualReadings is after how many readings it counts as known whether items of a
// feed come late.
const usualReadings = 20

// judge weighs a reading. It changes nothing.
func (s *feedState) judge(r *resource.Response, now *reading, fresh, late int) (v judgement) {
	v.fresh, v.late, v.figures = fresh, late, s.figures
	if density := now.axis.density(); density > 0 {
		v.axis, v.density = now.axis.kind, density
	}
	v.led = s.whole == nil || s.leads(r, now)
	v.whole = s.whole == nil || now.cut == "" || s.cuts+1 >= maxCuts
	switch {
	case v.whole && !v.led:
		v.gap = s.missing(r, now, &v)
	case v.whole && s.cuts > 0 && (s.figures.late > 0 || s.readings < usualReadings):
		v.gap = s.overlooked(r)
	}
	return v
}

// overlooked says what may have entered late, behind known items, where the
// readings that were cut did not look, and have left since (rule E-3).
func (s *feedState) overlooked(r *resource.Response) *Gap {
	g := &Gap{Feed: r.Resource.ID, URI: r.Resource.URI, From: s.confirmed(r), To: r.Received, Reason: GapCut}
	g.Estimate = s.figures.late * g.To.Sub(g.From).Seconds()
	g.Certainty = chance(g.Estimate)
	g.Cause = fmt.Sprintf("%d readings did not get to the end of the feed, where items may have entered late", s.cuts)
	return g
}

// leads reports whether a reading leads without a hole to the last whole one.
func (s *feedState) leads(r *resource.Response, now *reading) bool {
	end := !now.more && now.cut == ""
	if shows(s.whole) && reaches(now.pages, s.whole, end) {
		return true
	}
	if len(s.whole) == 0 || len(s.whole[0]) > 0 {
		return len(now.all) == 0 && end // it shows nothing, which is no sign that anything was missed
	}
	// The feed showed nothing then. Whether more has come than it shows can only be
	// told by the time that it shows.
	switch at := now.times.at; {
	case !end:
		return false
	case len(now.all) == 0:
		return true
	case len(at) < 2:
		return len(now.pages) == 1
	default:
		back := at[0] - at[len(at)-1]
		return r.Received.Sub(s.confirmed(r)).Seconds() <= back+3*back/float64(len(at)-1)
	}
}

// shows reports whether there is any item on pages.
func shows(pages [][]mark) bool {
	return slices.ContainsFunc(pages, func(page []mark) bool { return len(page) > 0 })
}

// confirmed is the instant up to which nothing was missed: when the last whole
// reading began, or the last request whose answer said that nothing had changed.
func (s *feedState) confirmed(r *resource.Response) time.Time {
	if s.cuts == 0 && r.Confirmed.After(s.since) {
		return r.Confirmed
	}
	return s.since
}

// missing says what may be missing between the last whole reading and this one.
func (s *feedState) missing(r *resource.Response, now *reading, v *judgement) *Gap {
	g := &Gap{Feed: r.Resource.ID, URI: r.Resource.URI, From: s.confirmed(r), To: r.Received}
	if !s.shown.IsZero() {
		g.From = s.shown
	}
	switch {
	case now.cut != "":
		g.Reason, g.Cause = GapCut, "the feed could not be read to where it was read before: "+now.cut
	case now.refused != nil:
		g.Reason, g.Cause = GapRefused, "the next page must not be read: "+now.refused.Error()
	case now.more:
		g.Reason, g.Cause = GapDepth, fmt.Sprintf("%d pages were read, and the feed goes on", len(now.pages))
	default:
		g.Reason, g.Cause = GapWindow, fmt.Sprintf("the %d items that the feed shows do not reach back to those read before", len(now.all))
	}
	g.Estimate = max(1, v.perSecond*g.To.Sub(g.From).Seconds()-float64(v.fresh))
	if now.axis.kind != noAxis && now.axis.kind == s.topOf && v.axis == s.topOf && v.density > 0 {
		density := v.density // behind the hole; and in front of it
		if s.axis == v.axis && s.density > 0 {
			density = (v.density + s.density) / 2
		}
		bottom, below := now.axis.bottom()
		g.Estimate = max(1, (bottom-s.top)*density-1-float64(below+s.above+s.open))
	}
	g.Certainty = chance(g.Estimate)
	return g
}

// advance takes over a reading that the sink took.
func (s *feedState) advance(r *resource.Response, now *reading, v *judgement) {
	for _, page := range slices.Backward(now.pages) { // the oldest first
		page = slices.Clone(page)
		slices.Reverse(page)
		s.filled = append(s.filled, s.seen.add(page...)...)
	}
	gone, filled := s.seen.forget(now.all)
	s.gone, s.filled = append(s.gone, gone...), append(s.filled, filled...)
	s.skipped, s.figures = now.skipped, v.figures
	if !v.whole {
		s.open, s.cuts = s.open+v.fresh, s.cuts+1
		return
	}
	if seconds := r.Sent.Sub(s.since).Seconds(); v.led && s.whole != nil && seconds > 0 {
		s.perSecond = smooth(s.perSecond, float64(s.open+v.fresh)/seconds)
		if s.cuts == 0 { // else they stand where nobody has looked before
			s.figures.late = smooth(s.figures.late, float64(v.late)/seconds)
		}
		s.readings = min(s.readings+1, usualReadings)
	}
	cuts := 0
	if s.whole == nil && now.cut != "" {
		cuts = 1 // nothing was promised of what it has not read, but the next one reads on
	}
	whole := front(now.pages, maxProof)
	switch blank := len(now.all) == 0; {
	case blank && shows(s.whole): // it may be back the next time
		whole = append([][]mark{{}}, s.whole...)
		if s.shown.IsZero() {
			s.shown = s.since
		} else {
			whole = whole[1:]
		}
	case !blank:
		s.shown = time.Time{}
	}
	s.whole, s.since, s.open, s.cuts = whole, r.Sent, 0, cuts
	s.topOf, s.top, s.above = now.axis.kind, 0, 0
	if s.topOf != noAxis {
		s.top, s.above = now.axis.top()
	}
}

// smooth follows a rate.
func smooth(old, now float64) float64 {
	if old == 0 {
		return now
	}
	return old + (now-old)/8
}

// front returns the first marks of pages.
func front(pages [][]mark, most int) [][]mark {
	kept := [][]mark{}
	for _, page := range pages {
		page = page[:min(len(page), most)]
		kept = append(kept, page)
		if most -= len(page); most == 0 {
			break
		}
	}
	return kept
}

// keepPages keeps what the next reading may be told to be unchanged: the pages that
// were read now, and before them those that were not.
func (s *feedState) keepPages(pages []pageState) {
	for i := range s.pages {
		old := &s.pages[i]
		if !slices.ContainsFunc(pages, func(p pageState) bool { return p.child.URI == old.child.URI }) {
			pages = append(pages, *old)
		}
	}
	room := maxPaged
	for i := range pages {
		if room -= len(pages[i].marks); room < 0 || i == MaxPages {
			pages = pages[:i]
			break
		}
	}
	s.pages = pages
}
