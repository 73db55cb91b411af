package firehose

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// recall reads what an earlier run left: parks and resets, wishes, and which
// scopes may have a request on its way. It is a service that every other one
// comes after.
func (f *flow) recall(ctx context.Context) error {
	return f.ending(ctx, f.readBack(ctx))
}

func (f *flow) readBack(ctx context.Context) error {
	if err := f.divided(ctx); err != nil {
		return err
	}
	session, err := f.queue.Open(ctx) // a durable queue is ours from here on
	if err != nil {
		return err
	}
	defer session.Close()
	if f.http.key, err = fingerprintKey(ctx, f.cfg.DB, storeOwner(f.owner)); err != nil {
		return err
	}
	if err := f.buckets.load(ctx, time.Now(), f.log); err != nil {
		return err
	}
	if err := f.wishes.load(ctx); err != nil {
		return err
	}
	// What the former run was asked to take out goes first: what is listed then comes
	// in again, with its rest.
	for _, id := range f.wishes.removed() {
		if err := f.takeOut(ctx, session, id); err != nil {
			return err
		}
	}
	if err := f.strays(ctx, session); err != nil {
		return err
	}
	lister, ok := queue.As[queue.Lister](f.queue)
	if !ok {
		return nil
	}
	var after resource.ID
	for {
		page, err := lister.List(ctx, QueueRequests, after, 1000)
		if err != nil {
			return fmt.Errorf("firehose: list claims: %w", err)
		}
		for _, m := range page {
			after = m.Resource.ID
			if !m.Resource.Owner.IsZero() && m.Resource.Owner != f.owner {
				f.buckets.settling(m.Resource.Key(), m.Resource.ClaimUntil)
			}
		}
		if len(page) < 1000 {
			return nil
		}
	}
}

// strays lets the Analyzer decide about what an earlier run left where nobody of
// this one looks: in the lines of buckets, which are announced in memory only,
// and in tiers that are no longer configured.
func (f *flow) strays(ctx context.Context, session queue.Session) error {
	depther, ok := queue.As[queue.Depther](f.queue)
	lister, ok2 := queue.As[queue.Lister](f.queue)
	if !ok || !ok2 {
		return nil
	}
	depths, err := depther.Depths(ctx)
	if err != nil {
		return fmt.Errorf("firehose: list queues: %w", err)
	}
	for _, depth := range depths {
		if f.attended(depth.Name) {
			continue
		}
		page := make([]queue.Message, 1)
		for after := (resource.ID{}); len(page) > 0; {
			if page, err = lister.List(ctx, depth.Name, after, pageOf(depth)); err != nil {
				return fmt.Errorf("firehose: list %s: %w", depth.Name, err)
			}
			for i := range page {
				after = page[i].Resource.ID
				d, ok, err := f.takeIf(ctx, session, after, func(name string) bool { return name == depth.Name })
				if err == nil && ok {
					err = f.commit(ctx, session, []queue.Delivery{d}, d.To(QueueAnalyze, d.Due))
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// pageOf is how many of a queue are listed at once by who lists all of it. A queue
// may look at everything for each page, so that pages of one size would take the
// square of its length.
func pageOf(d queue.Depth) int { return max(1000, (d.Waiting+d.Ready+d.Held)/32) }

// attended reports whether a service takes from a queue without being told to,
// or people do.
func (f *flow) attended(name string) bool {
	return name == QueueRequests || name == QueuePublish || slices.Contains(ErrorQueues(), name) ||
		slices.ContainsFunc(f.sorter.Tiers(), func(t queue.Tier[string]) bool { return t.Name == name })
}
