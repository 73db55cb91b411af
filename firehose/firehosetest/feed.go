package firehosetest

import (
	"cmp"
	"slices"
	"time"
)

// feed replays arrivals at /events: its window is the pageWindow newest of
// those that have entered. An arrival is named by its index in arrivals, so
// that a larger one stands in front of a smaller one; an id may have several.
type feed struct {
	arrivals []Arrival // never changed
	order    []int32   // in which they enter; nil: as they stand
	start    instant
	seed     uint64

	next    int       // of order
	window  []int32   // the oldest first
	entered []instant // zero: not yet
	left    []instant // the window; when it entered, if it never was in it
	behind  []bool    // entered behind a newer one

	deliveries []*delivery
	reported   []reportedItem
	published  []bool // by first arrival of an id
	counted    []bool // delivered, likewise
	names      *itemNames
}

// reportedItem is what a client published, by the first arrival of its id.
type reportedItem struct {
	item int32
	at   instant
}

// itemNames says which arrivals carry the same id.
type itemNames struct {
	first map[string]int32 // arrival of an id
	of    []int32          // first arrival of the same id; nil: no id comes twice
}

func newFeed(arrivals []Arrival, seed uint64, start instant) *feed {
	f := &feed{
		arrivals: arrivals, start: start, seed: seed,
		entered: make([]instant, len(arrivals)), left: make([]instant, len(arrivals)), behind: make([]bool, len(arrivals)),
	}
	if slices.ContainsFunc(arrivals, func(a Arrival) bool { return a.Late > 0 }) {
		f.order = make([]int32, len(arrivals))
		for i := range f.order {
			f.order[i] = int32(i)
		}
		slices.SortStableFunc(f.order, func(a, b int32) int { return cmp.Compare(f.enters(a), f.enters(b)) })
	}
	return f
}

func (f *feed) enters(i int32) time.Duration { return f.arrivals[i].After + f.arrivals[i].Late }

func (f *feed) coming() int32 {
	if f.order == nil {
		return int32(f.next)
	}
	return f.order[f.next]
}

// advance lets enter what has come by now.
func (f *feed) advance(now instant) {
	for ; f.next < len(f.arrivals); f.next++ {
		i := f.coming()
		at := f.start.add(f.enters(i))
		if at > now {
			return
		}
		f.enter(i, at)
	}
}

// hurry lets the next ones enter ahead of their time.
func (f *feed) hurry(count int, now instant) {
	for ; count > 0 && f.next < len(f.arrivals); count-- {
		f.enter(f.coming(), now)
		f.next++
	}
}

// enter puts an arrival in its place.
func (f *feed) enter(i int32, at instant) {
	at = max(at, 1) // what entered before there was a clock
	f.entered[i], f.left[i] = at, never
	place := len(f.window)
	for place > 0 && f.window[place-1] > i {
		place--
	}
	f.behind[i] = place < len(f.window)
	if len(f.window)-place >= pageWindow {
		f.left[i] = at
		return
	}
	f.window = slices.Insert(f.window, place, i)
	if len(f.window) > pageWindow {
		f.left[f.window[0]] = at
		f.window = f.window[1:]
	}
}

func (f *feed) pages(per int) int { return max(1, (len(f.window)+per-1)/per) }

// page returns one page, the newest first.
func (f *feed) page(number, per int) page {
	n := len(f.window)
	from, to := min((number-1)*per, n), min(number*per, n)
	p := page{feed: f, size: to - from, above: -1, bottom: to == n}
	if from > 0 {
		p.above = f.window[n-from]
	}
	p.items = make([]int32, 0, p.size)
	for i := from; i < to; i++ {
		p.items = append(p.items, f.window[n-1-i])
	}
	return p
}

// digest is one of what the page shows.
func (p page) digest() uint64 {
	h := mix(p.feed.seed + 1)
	for _, i := range p.items {
		h = mix(h ^ uint64(i+1))
	}
	return h
}

// modified is when the newest of the window happened.
func (f *feed) modified() instant {
	if len(f.window) == 0 {
		return f.start
	}
	return f.start.add(f.arrivals[f.window[len(f.window)-1]].After)
}

// body renders a page. It needs no lock.
func (p page) body(o *oracle) []byte {
	b := make([]byte, 0, p.size*420+2)
	b = append(b, '[')
	for n, i := range p.items {
		if n > 0 {
			b = append(b, ',')
		}
		a := &p.feed.arrivals[i]
		h := mix(p.feed.seed + uint64(i))
		b = appendEvent(b, eventText{
			id: a.ID, kind: a.Type, payload: payloadOf(a.Type), repo: a.Repo, repoID: int64(h >> 32 % 1_000_000),
			actor: int64(h >> 8 % 100_000), created: o.wall(p.feed.start.add(a.After)).UTC(),
		})
	}
	return append(b, ']')
}

// payloadOf is that of a made event of the same type, or an empty one (E-10).
func payloadOf(kind string) string {
	for i := range uint64(kindsOfEvents) {
		if name, payload := kindOfEvent(i); name == kind {
			return payload
		}
	}
	return "{}"
}

// itemNamesOf is made when it is first needed.
func (f *feed) itemNames() *itemNames {
	if f.names != nil {
		return f.names
	}
	n := &itemNames{first: make(map[string]int32, len(f.arrivals))}
	for i := range f.arrivals {
		id := f.arrivals[i].ID
		first, again := n.first[id]
		if !again {
			first = int32(i)
			n.first[id] = first
		} else if n.of == nil {
			n.of = make([]int32, len(f.arrivals))
			for j := range i {
				n.of[j] = int32(j)
			}
		}
		if n.of != nil {
			n.of[i] = first
		}
	}
	f.names = n
	return n
}

func (n *itemNames) item(arrival int32) int32 {
	if n.of == nil {
		return arrival
	}
	return n.of[arrival]
}

// publish takes a client's word for it that it published an item of the feed;
// false: it is none.
func (f *feed) publish(id string, at instant, counts *Verdict) bool {
	n := f.itemNames()
	item, known := n.first[id]
	if !known {
		return false
	}
	f.reported = append(f.reported, reportedItem{item, at})
	if f.published == nil {
		f.published = make([]bool, len(f.arrivals))
	}
	if f.published[item] {
		counts.Duplicates++
	}
	f.published[item] = true
	return true
}

// pending counts what was delivered and not published.
func (f *feed) pending() (count int64) {
	n := f.itemNames()
	counted := make([]bool, len(f.arrivals))
	for _, d := range f.deliveries {
		for _, i := range d.items {
			item := n.item(i)
			if !d.unread && !d.same && !counted[item] && (f.published == nil || !f.published[item]) {
				counted[item] = true
				count++
			}
		}
	}
	return count
}
