package firehose

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/cannedos/cannedos/resource"
)

// Take hands the new items of a reading to the ItemSink, and marks them as seen
// when it took them. It is called by the OS. An error of the ItemSink, or of the
// store, leaves all as it was; the same response may be offered again.
func (e *Events[T]) Take(ctx context.Context, r *resource.Response) error {
	if r.Outcome == resource.Retired {
		return nil // it has no body; EventGone tells of it
	}
	s, store, leave, err := e.enter(ctx, r.Resource.ID)
	if err != nil {
		return err
	}
	defer leave()
	if !s.taken.IsZero() && s.taken.Equal(r.Received) && s.unsaved == nil {
		return nil // another of several sinks has not taken it
	}
	if s.unsaved != r {
		pages, err := e.pages(s, r)
		if len(pages) == 0 {
			return err
		}
		if err := e.take(ctx, s, r, pages, err); err != nil {
			return err
		}
		s.keepPages(pagesOf(r, pages))
		s.unsaved = r
	}
	if err := s.save(ctx, store, e.owner); err != nil {
		return err
	}
	s.unsaved, s.taken = nil, r.Received
	return nil
}

// take offers what is new, and takes the reading over. broken says why not all of
// its pages could be read; nil: they were.
func (e *Events[T]) take(ctx context.Context, s *feedState, r *resource.Response, pages []*shown[T], broken error) error {
	now, items, marks := join(pages)
	if now.cut = cmp.Or(r.Cut, now.cut); now.cut == "" && broken != nil {
		now.cut = broken.Error()
	}
	b := Batch[T]{Feed: r.Resource, At: r.Received, Skipped: max(0, now.skipped-s.skipped)}
	known, late := false, 0
	for i, m := range marks {
		if s.seen.has(m) {
			known = true
			continue
		}
		b.Items = append(b.Items, items[i])
		if known {
			late++
		}
	}
	slices.Reverse(b.Items)
	v := s.judge(r, now, len(b.Items), late)
	if b.Gap = v.gap; b.Gap == nil && b.Skipped > 0 {
		b.Gap = &Gap{
			Feed: r.Resource.ID, URI: r.Resource.URI, From: s.confirmed(r), To: r.Received, Estimate: float64(b.Skipped), Certainty: 1,
			Reason: GapUnreadable, Cause: fmt.Sprintf("%d entries could not be read", b.Skipped),
		}
	}
	if len(b.Items) > 0 || b.Gap != nil {
		if err := e.offer(ctx, r, b); err != nil {
			return err
		}
	}
	e.counts.reading(r, now.cut != "", len(b.Items), len(items)-len(b.Items), b.Skipped, b.Gap)
	came := float64(len(b.Items))
	if b.Gap != nil {
		came += b.Gap.Estimate
		e.report(EventGap, &b.Feed, b.Gap.String())
	}
	s.advance(r, now, &v)
	if kind, cause := s.volume.add(r.Sent, came); kind != noEvent {
		e.report(kind, &b.Feed, cause)
	}
	return nil
}

// report tells the OS of a feed.
func (e *Events[T]) report(kind EventKind, feed *resource.Resource, cause string) {
	e.mu.Lock()
	tell := e.tell
	e.mu.Unlock()
	if tell != nil {
		tell(kind, feed, cause)
	}
}

// pagesOf returns what the next reading has to know of the pages of this one.
func pagesOf[T any](r *resource.Response, pages []*shown[T]) (all []pageState) {
	for i, p := range pages {
		answer := r
		if i > 0 {
			answer = r.Pages[i-1]
		}
		state := pageState{answer.Resource, p.marks, p.next, p.skipped}
		if p.skipped > 0 || p.refused != nil { // what could not be read is asked for again
			state.child.Validators, state.child.Digest = resource.Validators{}, 0
		}
		all = append(all, state)
	}
	return all
}

// EventsStats are figures of an [Events] since it was made.
type EventsStats struct {
	Readings int64   `json:"readings"` // of feeds, that were taken
	Pages    int64   `json:"pages"`    // that were read with them, page one included
	Items    int64   `json:"items"`    // that were taken
	Repeated int64   `json:"repeated"` // shown again, and taken out
	Skipped  int64   `json:"skipped"`  // entries that could not be read
	Cut      int64   `json:"cut"`      // readings that ended early
	Gaps     int64   `json:"gaps"`
	Missing  float64 `json:"missing"` // the sum of the estimates of the gaps
}

type eventsCounts struct {
	readings, pages, items, repeated, skipped, cut, gaps atomic.Int64
	missing                                              atomic.Int64 // thousandths
}

func (c *eventsCounts) reading(r *resource.Response, cut bool, items, repeated, skipped int, gap *Gap) {
	c.readings.Add(1)
	c.pages.Add(int64(1 + len(r.Pages)))
	c.items.Add(int64(items))
	c.repeated.Add(int64(repeated))
	c.skipped.Add(int64(skipped))
	if cut {
		c.cut.Add(1)
	}
	if gap != nil {
		c.gaps.Add(1)
		c.missing.Add(int64(1000 * min(gap.Estimate, 1e12)))
	}
}

// Stats returns the figures, drawn from counters.
func (e *Events[T]) Stats() EventsStats {
	c := &e.counts
	return EventsStats{
		Readings: c.readings.Load(), Pages: c.pages.Load(), Items: c.items.Load(), Repeated: c.repeated.Load(),
		Skipped: c.skipped.Load(), Cut: c.cut.Load(), Gaps: c.gaps.Load(), Missing: float64(c.missing.Load()) / 1000,
	}
}
