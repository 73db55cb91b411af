package firehosetest

import (
	"net/http"
	"time"
)

// delivery is one page of the feed that reached its client whole, or an
// answer that it is unchanged.
type delivery struct {
	made, done instant
	page       int
	items      []int32
	above      int32 // in front of its first, on the page before; below 0: none
	bottom     bool  // it ends with the oldest of the window
	same       bool  // it was a 304, and showed nothing again
	unread     bool  // its client may have been killed before it read it
}

// deliver remembers an answer that reached its client.
func (x *exchange) deliver(now instant) {
	f := x.page.feed
	if f == nil || x.method != http.MethodGet {
		return
	}
	p := x.page
	d := &delivery{made: x.lesson.begun, done: now, page: x.key.page, items: p.items, above: p.above, bottom: p.bottom}
	switch x.status {
	case http.StatusOK:
		x.origin.counts.Items += f.count(d.items)
	case http.StatusNotModified:
		d.same = true
	default:
		return
	}
	f.deliveries = append(f.deliveries, d)
	x.delivery = d
}

// count counts the items that are delivered for the first time.
func (f *feed) count(items []int32) (fresh int64) {
	n := f.itemNames()
	if f.counted == nil {
		f.counted = make([]bool, len(f.arrivals))
	}
	for _, i := range items {
		if item := n.item(i); !f.counted[item] {
			f.counted[item] = true
			fresh++
		}
	}
	return fresh
}

// killed marks what may be unread.
func (f *feed) killed(since instant) {
	for i := len(f.deliveries) - 1; i >= 0 && f.deliveries[i].done >= since; i-- {
		f.deliveries[i].unread = true
	}
}

// walkTime is what a prompt client may need from page one to the last.
const walkTime = 2 * time.Second

// rereadTime is how soon after a reading another page one belongs to it: the
// client saw it move.
const rereadTime = time.Second / 2

// observation is one reading of the feed: page one, and what follows it. It is
// whole when it leads without a hole from the newest item to one that the
// whole one before it showed, or to the end of the window.
type observation struct {
	made    instant // its last page one
	until   instant // the last answer that page one was as it is
	shown   map[int32]struct{}
	read    instant // the last page of it
	broken  bool    // a page was left out
	whole   bool
	overlap bool // it shares an arrival with the one before
}

// observe strings the whole observations together. What crashes left unread is
// no part of them, nor is what ended before it was whole: who reads on finds
// the overlap with the last whole one, or reports a gap since it. The first one
// is whole as it is, since there is nothing that it could miss.
func (f *feed) observe() (chain []*observation, first, last instant) {
	var now, before *observation
	for _, d := range f.deliveries {
		if d.unread {
			continue
		}
		if d.page == 1 {
			if first == 0 {
				first = d.made
			}
			last = d.made
		}
		switch {
		case d.same && d.page == 1:
			if now != nil {
				now.until = d.made
			}
			continue
		case d.page == 1 && !now.goesOn(d, before == nil):
			if now != nil && before == nil && !now.whole && !now.broken {
				now.whole = true
				chain = append(chain, now)
			}
			if now != nil && now.whole {
				before = now
			}
			now = &observation{shown: map[int32]struct{}{}}
		}
		if now == nil || now.broken {
			continue
		}
		now.take(d)
		if now.reaches(d, before) && !now.whole {
			now.whole = true
			chain = append(chain, now)
		}
	}
	return chain, first, last
}

// goesOn reports whether a page one belongs to this reading: a walk that is
// under way, or that is just over and read once more. The first walk is over
// when the next page one comes, however far it went.
func (o *observation) goesOn(d *delivery, first bool) bool {
	if o == nil || o.broken || !o.shares(d) {
		return false
	}
	return d.made.since(o.read) < rereadTime || !o.whole && !first
}

// shares reports whether a delivery shows what was shown.
func (o *observation) shares(d *delivery) bool {
	for _, i := range d.items {
		if _, ok := o.shown[i]; ok {
			return true
		}
	}
	return false
}

// take takes a page over.
func (o *observation) take(d *delivery) {
	o.read = d.made
	if d.page == 1 {
		o.made, o.until = d.made, d.made
	} else if _, next := o.shown[d.above]; !next && !o.shares(d) {
		o.broken = true
		return
	}
	for _, i := range d.items {
		o.shown[i] = struct{}{}
	}
}

// reaches reports whether the observation is whole, and notes the overlap.
func (o *observation) reaches(d *delivery, before *observation) bool {
	if o.broken {
		return o.whole
	}
	if before != nil && !o.overlap {
		o.overlap = before.shares(d)
	}
	return o.overlap || d.bottom
}
