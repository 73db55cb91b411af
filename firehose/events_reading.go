package firehose

import (
	"iter"
	"math"
	"slices"
	"strconv"

	"github.com/cannedos/cannedos/resource"
)

// shown is what one answer showed of a feed.
type shown[T any] struct {
	by      *seenSet  // that made the marks; those of another mean nothing to it
	items   []Item[T] // in the order of the feed; none where the page is unchanged
	marks   []mark    // in the order of the feed, each once
	next    string    // the page that follows; empty: none does, or it was refused
	refused error     // why the page that follows must not be read
	skipped int
	moved   bool // it shows what came in while the pages before it were read
}

// reading is what the answers of one poll showed, put together.
type reading struct {
	pages   [][]mark          // in the order of the feed
	all     map[mark]struct{} // of all pages
	more    bool              // the feed goes on behind the last page
	refused error             // why that was not read, if it must not be
	skipped int               // entries that could not be read
	cut     string            // why not all was read; empty: it was
	axis    axis              // along which the items lie
	times   axis              // the same by their instants
}

// join puts the pages of a poll together, and returns the items on them with their
// marks, each once, in the order of the feed.
func join[T any](pages []*shown[T]) (r *reading, items []Item[T], marks []mark) {
	r = &reading{all: map[mark]struct{}{}}
	var order chain
	content := map[mark]Item[T]{}
	for _, p := range pages {
		r.skipped += p.skipped
		if p.moved {
			r.cut = "the feed moved on by more than a page while its pages were read"
			order.last = 0 // it stands in front
		} else {
			r.pages = append(r.pages, p.marks)
		}
		order.merge(p.marks, r.all)
		for i := range p.items { // none, where it is unchanged
			if _, again := content[p.marks[i]]; !again {
				content[p.marks[i]] = p.items[i]
			}
		}
	}
	for m := range order.marks() {
		if item, ok := content[m]; ok {
			items, marks = append(items, item), append(marks, m)
		}
	}
	last := pages[len(pages)-1]
	r.more, r.refused = last.next != "" || last.refused != nil, last.refused
	r.axis, r.times = axisOf(items), timesOf(items)
	return r, items, marks
}

// chain is the items of several pages in the order of the feed. A window shifts
// between two answers, so that the end of one page comes again at the beginning of
// the next, or the next one even begins with what came in meanwhile (rule E-5):
// what two pages share says how they lie to each other.
type chain struct {
	first mark
	next  map[mark]mark // zero: it is the last
	last  mark
}

// merge puts a page in its place. known are all marks of the chain, and get those
// of the page.
func (c *chain) merge(page []mark, known map[mark]struct{}) {
	if len(page) == 0 {
		return
	}
	if c.next == nil {
		c.next = map[mark]mark{}
	}
	// What stands on the page before the first that is known belongs in front of
	// that; without any, the page follows.
	lead := slices.IndexFunc(page, func(m mark) bool { _, ok := known[m]; return ok })
	at := c.last
	if lead >= 0 {
		at = c.before(page[lead])
	}
	for _, m := range page {
		if _, ok := known[m]; ok {
			at = m
			continue
		}
		known[m] = struct{}{}
		c.insert(m, at)
		at = m
	}
}

// before is what precedes a mark; zero: nothing does.
func (c *chain) before(m mark) (prev mark) {
	for at := c.first; at != m; at = c.next[at] {
		prev = at
	}
	return prev
}

// insert puts a mark behind another; zero: in front.
func (c *chain) insert(m, behind mark) {
	if behind == 0 {
		c.next[m], c.first = c.first, m
	} else {
		c.next[m], c.next[behind] = c.next[behind], m
	}
	if c.next[m] == 0 {
		c.last = m
	}
}

func (c *chain) marks() iter.Seq[mark] {
	return func(yield func(mark) bool) {
		for at := c.first; at != 0 && yield(at); at = c.next[at] {
		}
	}
}

// reaches reports whether a reading leads without a hole to an earlier whole one:
// two neighbours of that are neighbours still, or all of it is shown still. One
// known item alone proves nothing, since an item may come again, and one that is
// late stands behind newer ones that nobody has seen (rule E-3). Only at its very
// end may the reading show no more of the earlier one than the newest item.
func reaches(pages, whole [][]mark, end bool) bool {
	next := map[mark]mark{} // of the earlier one; zero: it is the last of its page
	var newest mark
	for _, page := range whole {
		for i, m := range page {
			if newest == 0 {
				newest = m
			}
			if i > 0 {
				next[page[i-1]] = m
			}
			if _, twice := next[m]; !twice {
				next[m] = 0
			}
		}
	}
	if newest == 0 {
		return false
	}
	var last mark
	still := map[mark]struct{}{}
	for _, page := range pages {
		for i, m := range page {
			if i > 0 && next[page[i-1]] == m {
				return true
			}
			if _, ok := next[m]; ok {
				still[m] = struct{}{}
			}
			last = m
		}
	}
	return len(still) == len(next) || end && last == newest
}

// An axis is a number for each item that falls from the front of a feed to its
// end, if the feed has one: the number that its ID is, or the instant of the item.
// It serves estimates, and never tells items apart (rule E-4).
type axis struct {
	kind axisKind
	at   []float64 // by item
}

type axisKind uint8

const (
	noAxis axisKind = iota
	byID            // IDs are decimal numbers
	byTime          // items have instants, here in seconds
)

// inOrder is the share of neighbours that must be in order along an axis.
const inOrder = 0.9

// axisOf returns the axis of items: by their IDs if those are numbers that fall,
// else by their instants.
func axisOf[T any](items []Item[T]) axis {
	a := along(byID, items, func(item *Item[T]) (float64, bool) {
		n, err := strconv.ParseUint(item.ID, 10, 64)
		return float64(n), err == nil
	})
	if a.kind == noAxis {
		return timesOf(items)
	}
	return a
}

func timesOf[T any](items []Item[T]) axis {
	return along(byTime, items, func(item *Item[T]) (float64, bool) {
		return float64(item.At.UnixMilli()) / 1000, !item.At.IsZero()
	})
}

func along[T any](kind axisKind, items []Item[T], value func(*Item[T]) (at float64, ok bool)) axis {
	if len(items) < 2 {
		return axis{}
	}
	a, falling := axis{kind, make([]float64, len(items))}, 0
	for i := range items {
		var ok bool
		if a.at[i], ok = value(&items[i]); !ok {
			return axis{}
		}
		if i > 0 && a.at[i] <= a.at[i-1] {
			falling++
		}
	}
	if float64(falling) < inOrder*float64(len(items)-1) || a.at[0] <= a.at[len(items)-1] {
		return axis{}
	}
	return a
}

// robust is how many items stand for an end of a reading: their median, since one
// alone may be late or a repetition.
const robust = 5

// top is where the front of a reading lies, and bottom where its end does; inner
// is how many items stand between that place and the end itself.
func (a axis) top() (at float64, inner int) {
	return middle(a.at[:min(robust, len(a.at))], false)
}

func (a axis) bottom() (at float64, inner int) {
	return middle(a.at[max(0, len(a.at)-robust):], true)
}

// middle is the median of some values, and how many lie beyond it: below, or
// above.
func middle(values []float64, below bool) (at float64, beyond int) {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted) / 2
	if below {
		return sorted[n], n
	}
	return sorted[n], len(sorted) - 1 - n
}

// density is how many items there are in a unit of the axis; 0: too few to tell.
func (a axis) density() float64 {
	if a.kind == noAxis || len(a.at) < 2*robust {
		return 0
	}
	top, above := a.top()
	bottom, below := a.bottom()
	if top <= bottom {
		return 0
	}
	return float64(len(a.at)-1-above-below) / (top - bottom)
}

// movedAway reports whether a page was read so long after those before it that
// the feed has moved by more than a page: it shows nothing of them, and stands in
// front of them instead of behind. Without an axis only time can tell.
func movedAway[T any](before []*shown[T], page *shown[T], waited bool) bool {
	known := map[mark]struct{}{}
	var items []Item[T]
	for _, p := range before {
		for _, m := range p.marks {
			known[m] = struct{}{}
		}
		items = append(items, p.items...)
	}
	if len(page.items) == 0 || len(items) == 0 || slices.ContainsFunc(page.marks, func(m mark) bool { _, ok := known[m]; return ok }) {
		return false
	}
	there, here := axisOf(items), axisOf(page.items)
	if there.kind == noAxis || there.kind != here.kind {
		return waited
	}
	first, _ := there.top()
	now, _ := here.top()
	return now > first
}

// chance is the probability that something is missing of which so much is
// expected.
func chance(estimate float64) float64 { return 1 - math.Exp(-max(0, estimate)) }

// shownIn is what the sink has made of a response.
func shownIn[T any](r *resource.Response) *shown[T] {
	s, _ := r.Value.(*shown[T])
	return s
}
