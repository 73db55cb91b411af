package firehosetest

import (
	"cmp"
	"slices"
	"time"
)

// WindowFigures are those of one window of a bucket that has ended.
type WindowFigures struct {
	// From is its beginning, and To that of the next one, or else its end:
	// what a client idles away between two windows belongs to the first.
	From, To time.Time
	// Length is that of the window itself, without what came after it.
	Length time.Duration
	// Limit is its quota, and Used what was charged.
	Limit, Used int
	// Reachable is the part of From to To in which the client could ask: no
	// outage, no secondary limit, and no client that lies killed.
	Reachable time.Duration
	// Missed is the number of polls that were due and not made while nothing
	// held the client back, as for [Verdict.Permitted].
	Missed float64
	// Backlog is the number of resources that were due and waited when the
	// window itself ended.
	Backlog int
}

// Budget is what an even pace, less a reserve, allowed while the origin could
// be reached.
func (w WindowFigures) Budget(reserve int) float64 {
	return float64(w.Limit-reserve) * w.Reachable.Seconds() / w.Length.Seconds()
}

// ResourceFigures are those of page one of a resource.
type ResourceFigures struct {
	Target string // path and query
	Polls  int64
	// Longest is the longest wait beyond the resource's own due instant: the
	// end of its interval or its wish, whatever its bucket said. One that
	// still waits is included; time in which nobody could ask is not, nor are
	// first polls and polls after a failure. Mean is over all such polls.
	Longest, Mean time.Duration
}

// BucketFigures are those of one quota of one credential at one origin.
type BucketFigures struct {
	Origin string // scheme, host and port
	Bucket string // its name
	// Windows are the last 1,024 that ended, the oldest first; none for a
	// quota without a limit.
	Windows []WindowFigures
	// Resources are those that draw on it, in order of their targets.
	Resources []ResourceFigures
}

// mostWindows bounds BucketFigures.Windows.
const mostWindows = 1024

// Share is what was used of the budgets, less the reserve, of all windows in
// which more was wanted than the budget allowed, and how many those are: what
// was used and what was missed together make up the budget, or all was used and
// there was a backlog. It is 1 for a client that uses all that it may; what one
// uses beyond the budget of a window, because the whole quota fits into what an
// outage left of it, makes up for no other window.
func (b BucketFigures) Share(reserve int) (share float64, windows int) {
	used, budget := 0.0, 0.0
	for _, w := range b.Windows {
		allowed := w.Budget(reserve)
		if float64(w.Used)+w.Missed < allowed && (w.Used < w.Limit-reserve || w.Backlog == 0) {
			continue
		}
		windows++
		used += min(float64(w.Used), allowed)
		budget += allowed
	}
	if budget == 0 {
		return 1, windows
	}
	return used / budget, windows
}

// Waits are the longest of the longest waits of the resources, and their
// median: no resource starves if the first is at most twice the second. Only
// resources of equal wish and priority compare: keep says which to look at;
// nil keeps all.
func (b BucketFigures) Waits(keep func(target string) bool) (longest, median time.Duration) {
	var all []time.Duration
	for _, r := range b.Resources {
		if keep == nil || keep(r.Target) {
			all = append(all, r.Longest)
		}
	}
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return all[len(all)-1], all[len(all)/2]
}

// Buckets tells the figures of all buckets in the order of their origins and
// names, or of those that the given values of Authorization draw on.
func (o *Origin) Buckets(authorizations ...string) []BucketFigures {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	o.advanceAll(now)
	wanted := map[credential]bool{}
	for _, a := range authorizations {
		wanted[o.user(o.credential(a))] = true
	}
	var all []BucketFigures
	for key, s := range o.scopes {
		if len(wanted) > 0 && !wanted[key.cred] {
			continue
		}
		byBucket := map[*bucket]*BucketFigures{}
		for _, b := range s.buckets {
			f := &BucketFigures{Origin: key.origin, Bucket: b.name, Windows: slices.Clone(b.windows)}
			if w := b.truth; w.reset != 0 && w.reset <= now && w.limit < unlimited {
				f.Windows = append(f.Windows, b.figures(o.oracle, w.reset))
			}
			byBucket[b] = f
		}
		for k, r := range s.resources {
			if f := byBucket[r.bucket]; k.page == 1 {
				f.Resources = append(f.Resources, o.resourceFigures(r, now))
			}
		}
		for _, b := range s.buckets {
			f := byBucket[b]
			slices.SortFunc(f.Resources, func(a, b ResourceFigures) int { return cmp.Compare(a.Target, b.Target) })
			all = append(all, *f)
		}
	}
	slices.SortStableFunc(all, func(a, b BucketFigures) int {
		if a.Origin != b.Origin {
			return cmp.Compare(a.Origin, b.Origin)
		}
		return cmp.Compare(a.Bucket, b.Bucket)
	})
	return all
}

// unlimited is a quota that is none.
const unlimited = 1 << 41

// close notes the figures of a window that has ended, when the next one begins.
func (b *bucket) close(o *oracle, now instant) {
	if b.truth.limit >= unlimited {
		return
	}
	if len(b.windows) >= mostWindows {
		b.windows = slices.Delete(b.windows, 0, 1)
	}
	b.windows = append(b.windows, b.figures(o, now))
}

func (b *bucket) figures(o *oracle, to instant) WindowFigures {
	w := &b.truth
	return WindowFigures{
		From: o.wall(w.from), To: o.wall(to), Length: w.length, Limit: w.limit, Used: w.limit - w.remaining,
		Reachable: to.since(w.from) - o.darkness(b.scope, w.from, to), Missed: b.pace.missed, Backlog: b.pace.backlog,
	}
}

func (o *oracle) resourceFigures(r *resource, now instant) ResourceFigures {
	d := &r.due
	f := ResourceFigures{Target: r.key.target, Polls: int64(r.requests), Longest: d.longest}
	if d.waits > 0 {
		f.Mean = d.waited / time.Duration(d.waits)
	}
	if d.slot == waiting && d.permit != 0 && now > d.permit {
		f.Longest = max(f.Longest, o.waited(r, now))
	}
	return f
}

// waited is how long a resource waits beyond its own due instant.
func (o *oracle) waited(r *resource, now instant) time.Duration {
	return now.since(r.due.permit) - o.darkness(r.scope, r.due.permit, now)
}

// recordWait notes it when it ends.
func (o *oracle) recordWait(r *resource, now instant) {
	d := &r.due
	if d.permit == 0 || now < d.permit {
		return
	}
	wait := o.waited(r, now)
	d.longest = max(d.longest, wait)
	d.waited += wait
	d.waits++
}
