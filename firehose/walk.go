package firehose

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// walk is a poll that goes on: its first page has been read, and further ones
// are read under the same claim, each request reserved like any other. If one is
// not admitted now, the resource goes back into the flow, with its claim, and
// waits for its bucket like all others; the walk waits in [walks] meanwhile, in
// memory only. After a crash the claim counts as sent, and the feed is read again
// from its first page.
//
// Rejected: pages as resources of the queue. Their places would have to be
// journaled, and page one could not be settled before all of them were.
type walk struct {
	first  *resource.Response // with the pages that were read so far
	rested resource.Resource  // what the answers have made of it
	next   *resource.Resource // the page to ask for; nil: none is left
	cut    string             // why no more is asked for, although next is left

	claimed time.Time // of the claim under which it waits
	renewed time.Time // of the one that it gets with its turn, which may not be written yet
}

// walks are those that wait. Its zero value is empty.
type walks struct {
	count atomic.Int64 // none is the usual case, and free
	mu    sync.Mutex
	byID  map[resource.ID]*walk
}

// of returns the walk of a resource that is claimed by it.
func (s *walks) of(r *resource.Resource) *walk {
	if s.count.Load() == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.byID[r.ID]; w != nil && !r.Owner.IsZero() && (w.claimed.Equal(r.Claimed) || w.renewed.Equal(r.Claimed)) {
		return w
	}
	return nil
}

// waits reports whether a resource has a walk.
func (s *walks) waits(id resource.ID) bool {
	if s.count.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id] != nil
}

// all lists the resources whose walks wait.
func (s *walks) all() []resource.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.byID))
}

func (s *walks) put(id resource.ID, w *walk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = map[resource.ID]*walk{}
	}
	s.byID[id] = w
	s.count.Store(int64(len(s.byID)))
}

// renew notes a claim that is about to take the place of the one before. Until it
// is written either may be found: the service that writes it can end before.
func (s *walks) renew(w *walk, r *resource.Resource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.renewed = r.Claimed
}

// take removes a walk, whose holder goes on with it or gives up what it holds.
func (s *walks) take(id resource.ID) *walk {
	if s.count.Load() == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.byID[id]
	delete(s.byID, id)
	s.count.Store(int64(len(s.byID)))
	return w
}

// abandon ends the walk of a resource, if it has one, and reports whether it had:
// then a request was sent under its claim.
func (f *flow) abandon(id resource.ID) bool {
	w := f.walks.take(id)
	if w != nil {
		f.credits.done(w.first)
	}
	return w != nil
}

// resume takes over the walk that a resource waits for; nil: it waits for none.
// One that belongs to a claim that is over is abandoned, and lost says so.
func (f *flow) resume(r *resource.Resource) (w *walk, lost bool) {
	if f.walks.of(r) == nil {
		return nil, f.abandon(r.ID)
	}
	return f.walks.take(r.ID), false
}

// Why a walk is cut that could go on.
const (
	unwanted = "the user wants no more requests"
	stopping = "the OS stops"
)

// walking is a resource whose walk goes on, as a decision sees it: neither its claim
// nor the wait of page one hold up the next page.
func walking(r resource.Resource) resource.Resource {
	r.Owner, r.NotBefore, r.State, r.Polls = resource.Owner{}, time.Time{}, resource.Idle, max(1, r.Polls)
	return r
}

// placeWalk decides where a resource waits whose walk goes on. Its claim stays,
// and is renewed when the next page may be asked for. A walk that can't go on
// before page one may be asked for again goes to the Requestor at once, which
// publishes what there is.
func (f *flow) placeWalk(d *queue.Delivery, r resource.Resource, w *walk, now time.Time, fromLine bool) (placement, bool) {
	p := placement{Message: d.To(QueueRequests, now)}
	m := &p.Message
	m.Attempts = 0
	wish := f.wishes.of(r.ID)
	profile, err := f.profile(r.Profile)
	switch {
	case err != nil:
		w.cut = err.Error()
	case wish.paused, wish.removed:
		w.cut = unwanted
	case !now.Before(w.rested.NotBefore):
		w.cut = "its turn came too late: page one may be read again"
	}
	s := f.buckets.scope(r.Scope(), profile)
	if w.cut == "" {
		view := walking(r)
		p.decision = s.ticket(&view, now, fromLine)
		if p.decision.Kind != resource.Ready && p.decision.At.After(w.rested.NotBefore) {
			w.cut = fmt.Sprintf("the next page has to wait until %s: %s", p.decision.At.UTC().Format(time.RFC3339), p.decision.Why)
		}
	}
	switch {
	case w.cut != "":
		p.decision = resource.Decision{}
	case p.decision.Kind == resource.Ready:
		r.Claim(f.owner, now, now.Add(f.cfg.RequestTimeout+claimSlack))
		f.walks.renew(w, &r)
	case p.decision.Kind == resource.Line:
		r.State, r.Why = p.decision.State, p.decision.Why
		m.Queue = d.Queue
		if !fromLine {
			m.Queue, m.Due = f.gate.join(s, r.Bucket), turn(&r, now)
		}
	default:
		r.State, r.Why = p.decision.State, p.decision.Why
		m.Queue, m.Due = f.sorter.Sort(p.decision.At.Sub(now)), p.decision.At
	}
	m.Resource = r
	return p, true
}
