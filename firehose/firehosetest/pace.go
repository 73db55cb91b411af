package firehosetest

import (
	"container/heap"
	"time"
)

// hold is a span in which a prompt client is excused: the trouble itself, and
// patience beyond it until the client comes back.
type hold struct {
	since instant // the trouble began; zero: none since the last success
	end   instant // of the trouble itself
	until instant // with patience
	free  instant // the last trouble ended, for lateness
}

// The bounds of patience.
const (
	leastPatience = time.Minute
	mostPatience  = time.Hour
)

// strike begins or prolongs the trouble. Exponential backoff makes the next
// wait of a client as long as all before it, and jitter half as long again.
func (h *hold) strike(now, end instant) {
	if h.since == 0 {
		h.since = now
	}
	h.end = max(h.end, end)
	h.free = max(h.free, h.end)
	h.until = h.end.add(min(max(2*h.end.since(h.since), leastPatience), mostPatience))
}

// pause is a strike of known length, after which a client has no reason to be
// slower than usual.
func (h *hold) pause(end instant) {
	h.end = max(h.end, end)
	h.free = max(h.free, h.end)
	h.until = max(h.until, h.end.add(leastPatience))
}

// back ends the patience: the client asked, and the trouble was over.
func (h *hold) back(now instant) {
	if h.until > now && now >= h.end {
		h.until = now
	}
}

// forgive makes the next trouble a first one.
func (h *hold) forgive() { h.since = 0 }

// clear ends trouble and patience.
func (h *hold) clear(now instant) {
	if h.end != 0 {
		*h = hold{free: max(h.free, now)}
	}
}

// dueness is when page one of a resource is due, in the eyes of a prompt
// client.
type dueness struct {
	interval time.Duration // last one told
	permit   instant       // from which lateness counts; zero: it does not
	failing  hold

	longest, waited time.Duration // beyond the own due instant: the longest, and all
	waits           int           // how many

	at     instant // due
	weight float64 // polls per second that are missed while due
	pace   *pace   // in which slot counts
	slot   int     // in the queue of the pace; below 0: not in it
}

// Values of dueness.slot outside the queue.
const (
	away    = -1 // in flight, or never due
	waiting = -2 // due, and missed
)

// pace integrates the polls that a bucket's resources miss.
type pace struct {
	queue  dueQueue // resources not due yet
	at     instant  // up to which missed is known
	due    int      // resources that are due
	weight float64  // of those, polls per second

	missed float64 // in the present window
	total  float64 // in all before
	begun  instant // of the present window
	used   int     // of its limit

	backlog int // resources that were due when the window ended
}

// enter makes a resource due at an instant. One without an interval is never
// due: when to poll it is nobody's business.
func (p *pace) enter(r *resource, at instant, interval time.Duration) {
	r.leave()
	if interval <= 0 || at == never {
		return
	}
	r.due.pace, r.due.at, r.due.weight = p, at, 1/interval.Seconds()
	heap.Push(&p.queue, r)
}

// leave takes the resource out of the pace that it is in.
func (r *resource) leave() {
	p := r.due.pace
	switch {
	case r.due.slot == waiting:
		p.due--
		p.weight -= r.due.weight
		if p.due == 0 {
			p.weight = 0 // no dust of rounding
		}
	case r.due.slot >= 0:
		heap.Remove(&p.queue, r.due.slot)
	}
	r.due.slot = away
}

// advance integrates up to now. The bucket was open since the last call, or
// from a known instant on.
func (b *bucket) advance(o *oracle, now instant) {
	p := &b.pace
	for p.at < now {
		next := now
		if len(p.queue) > 0 && p.queue[0].due.at <= p.at {
			r := heap.Pop(&p.queue).(*resource)
			r.due.slot = waiting
			p.due++
			p.weight += r.due.weight
			continue
		} else if len(p.queue) > 0 {
			next = min(next, p.queue[0].due.at)
		}
		if b.truth.reset > p.at {
			next = min(next, b.truth.reset)
		}
		until := max(b.held.until, b.scope.held.until, b.scope.origin.down.until, o.kill.until)
		switch {
		case b.scope.inFlight > 0:
		case p.at < until:
			next = min(next, until)
		default:
			p.missed += p.weight * next.since(p.at).Seconds()
		}
		p.at = next
		if next == b.truth.reset {
			p.backlog = p.due
		}
	}
}

// turn ends the present window: what was missed in it is bounded by what an
// even pace would have left over.
func (p *pace) turn(limit int, window time.Duration, now instant) {
	p.total += p.bounded(limit, window, now)
	p.missed, p.used, p.begun, p.backlog = 0, 0, now, 0
}

func (p *pace) bounded(limit int, window time.Duration, now instant) float64 {
	if limit == 0 || window == 0 {
		return p.missed
	}
	share := float64(limit) * now.since(p.begun).Seconds() / window.Seconds()
	return min(p.missed, max(0, share-float64(p.used)))
}

func (s *scope) advance(o *oracle, now instant) {
	for _, b := range s.buckets {
		b.advance(o, now)
	}
}

func (g *origin) advance(o *oracle, now instant) {
	for _, s := range g.scopes {
		s.advance(o, now)
	}
}

func (o *oracle) advanceAll(now instant) {
	for _, g := range o.origins {
		g.advance(o, now)
	}
}

// reopen says that the client came back: it sends a request.
func (o *oracle) reopen(b *bucket, now instant) {
	if o.kill.until > now {
		o.advanceAll(now)
		o.kill.back(now)
		o.kill.free = now
	}
	b.scope.advance(o, now)
	b.held.back(now)
	b.scope.held.back(now)
}

// dueQueue is a heap of resources, the earliest due first.
type dueQueue []*resource

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].due.at < q[j].due.at }
func (q dueQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].due.slot, q[j].due.slot = i, j
}

// Push implements [heap.Interface].
func (q *dueQueue) Push(x any) {
	r := x.(*resource)
	r.due.slot = len(*q)
	*q = append(*q, r)
}

// Pop implements [heap.Interface].
func (q *dueQueue) Pop() any {
	old := *q
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	r.due.slot = away
	return r
}
