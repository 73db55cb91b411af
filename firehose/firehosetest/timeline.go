package firehosetest

import (
	"math"
	"strconv"
	"time"
)

const (
	pageWindow  = 300 // events that a timeline shows
	lateSlots   = 150 // newer events that may precede a late one
	firstSlot   = 1000
	remembered  = 2048 // events of a timeline of which is known what happened to them
	maxSegments = 1024
	firstID     = 10_000_000_000
)

// Events are numbered. Number k of a timeline happens in slot k, at k plus a
// seeded fraction; the rate says how fast slots pass. A late event becomes
// visible up to lateSlots later, at its own place.

// segment is a span of one rate.
type segment struct {
	at   instant
	slot float64 // at its beginning
	rate float64 // slots per second
}

// segments are all spans that the window may reach into, the oldest first.
// They are replaced, never changed, so that a snapshot can be rendered
// without a lock.
type segments []segment

func (s segments) slot(now instant) float64 {
	last := s[len(s)-1]
	return last.slot + last.rate*now.since(last.at).Seconds()
}

// instant is when a slot passed. The first span reaches back for ever.
func (s segments) instant(slot float64) instant {
	i := len(s) - 1
	for i > 0 && s[i].slot > slot {
		i--
	}
	if s[i].rate == 0 {
		return s[i].at
	}
	return s[i].at + instant((slot-s[i].slot)/s[i].rate*1e9)
}

// change returns the spans with a new rate from now on.
func (s segments) change(rate float64, now instant) segments {
	slot := s.slot(now)
	keep := 0
	for keep < len(s)-1 && (s[keep+1].slot < slot-2*pageWindow || len(s)-keep >= maxSegments) {
		keep++
	}
	next := append(segments(nil), s[keep:]...)
	if last := &next[len(next)-1]; last.slot == slot && len(next) > 1 {
		*last = segment{now, slot, rate}
		return next
	}
	return append(next, segment{now, slot, rate})
}

// timeline is the window of one timeline, and what was served of it.
type timeline struct {
	number int
	seed   uint64

	top    int64   // newest visible
	late   []int64 // all visible, newest first, if events may be late
	digest uint64
	until  float64 // slot up to which the above holds
	served *served
}

// look brings the window up to date.
func (t *timeline) look(slot, lateShare float64) {
	if slot < t.until {
		return
	}
	t.top = int64(slot)
	t.until = math.Inf(1)
	if lateShare == 0 {
		if appears := t.appears(t.top, 0); slot < appears {
			t.top--
			t.until = appears
		} else {
			t.until = t.appears(t.top+1, 0)
		}
		t.digest = uint64(t.top)
		return
	}
	t.late = make([]int64, 0, pageWindow)
	t.digest = 0
	for k := t.top + 1; len(t.late) < pageWindow; k-- {
		if appears := t.appears(k, lateShare); slot < appears {
			t.until = min(t.until, appears)
			continue
		}
		t.late = append(t.late, k)
		t.digest = mix(t.digest ^ uint64(k))
	}
	t.top = t.late[0]
}

// appears is the slot at which event k becomes visible.
func (t *timeline) appears(k int64, lateShare float64) float64 {
	h := mix(t.seed ^ uint64(k)*0x9e3779b97f4a7c15)
	at := float64(k) + fraction(h)
	if lateShare > 0 {
		if h = mix(h); fraction(h) < lateShare {
			at += fraction(mix(h)) * lateSlots
		}
	}
	return at
}

// page is a part of a window, newest first.
type page struct {
	top  int64
	size int
	late []int64

	feed   *feed   // of a replay; nil: of a timeline
	items  []int32 // arrivals
	above  int32   // in front of the first; below 0: none
	bottom bool    // it ends with the oldest
}

func (p page) event(i int) int64 {
	if p.late != nil {
		return p.late[i]
	}
	return p.top - int64(i)
}

// page returns one page; none beyond the window.
func (t *timeline) page(number, per int) page {
	from, to := min((number-1)*per, pageWindow), min(number*per, pageWindow)
	if t.late != nil {
		return page{size: to - from, late: t.late[from:to]}
	}
	return page{top: t.top - int64(from), size: to - from}
}

func pages(per int) int { return (pageWindow + per - 1) / per }

// id and its inverse; ids of different timelines differ, and rise with time.
func (t *timeline) id(k int64, timelines int) int64 {
	return firstID + k*int64(timelines) + int64(t.number)
}

func parseID(id string, timelines int) (number int, k int64, ok bool) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n < firstID {
		return 0, 0, false
	}
	n -= firstID
	return int(n % int64(timelines)), n / int64(timelines), true
}

// mix is a finalizer with good avalanche: a cheap seeded hash of small things.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// fraction maps a hash to [0, 1).
func fraction(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// serving returns the memory of what was served, made when it is first used.
func (t *timeline) serving() *served {
	if t.served == nil {
		t.served = &served{}
	}
	return t.served
}

// served remembers which of the newest events were on page one, and which of
// them the client published.
type served struct {
	high            int64 // newest remembered
	shown, reported [remembered / 64]uint64
	lost            int64 // forgotten, shown and not published
}

func (s *served) bit(k int64) (word int, mask uint64) {
	return int(k % remembered / 64), 1 << (k % 64)
}

// reach makes room up to event k and reports whether k is still remembered.
func (s *served) reach(k int64) bool {
	if s.high == 0 {
		s.high = k
	}
	for ; s.high < k; s.high++ {
		w, m := s.bit(s.high + 1)
		if s.shown[w]&m != 0 && s.reported[w]&m == 0 {
			s.lost++
		}
		s.shown[w] &^= m
		s.reported[w] &^= m
	}
	return k > s.high-remembered && k >= 0
}

// show reports whether event k is shown for the first time.
func (s *served) show(k int64) bool {
	if !s.reach(k) {
		return false
	}
	w, m := s.bit(k)
	first := s.shown[w]&m == 0
	s.shown[w] |= m
	return first
}

// report reports whether event k had been published before.
func (s *served) report(k int64) (again bool) {
	if !s.reach(k) {
		return false
	}
	w, m := s.bit(k)
	again = s.reported[w]&m != 0
	s.reported[w] |= m
	return again
}

// pending counts what was shown and not published.
func (s *served) pending() int64 {
	n := s.lost
	for w := range s.shown {
		for missing := s.shown[w] &^ s.reported[w]; missing != 0; missing &= missing - 1 {
			n++
		}
	}
	return n
}

// wallOf is when an event happened.
func (s segments) wallOf(o *oracle, k int64, t *timeline) time.Time {
	return o.wall(s.instant(t.appears(k, 0))).UTC()
}
