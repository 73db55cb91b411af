package firehose

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
	"github.com/cannedos/cannedos/scheduler"
)

// Initializer admits the resources of the Config, of its file and of the
// registry, and takes out what the Config no longer lists. Then it is done.
type Initializer struct{ f *flow }

// admission is one run of the Initializer.
type admission struct {
	*Initializer
	session queue.Session
	listed  map[resource.ID]bool
	moves   int64 // of the flow, since before it began, of which it knows
	missing bool  // something that is listed is not in
	foreign int   // of the Config's, how many are of other shards

	// The batch at hand. There is one for all, since it is not small.
	messages  []queue.Message
	admitting []resource.ID // whose Add has begun in an earlier run, and not ended
}

// String names the service.
func (n *Initializer) String() string { return "initializer" }

// Serve admits, and returns nil when everything is in. It is called by a
// scheduler.
func (n *Initializer) Serve(ctx context.Context) error {
	work, release := n.f.work(ctx)
	defer release()
	session, err := n.f.queue.Open(work)
	if err != nil {
		return n.f.ending(ctx, err)
	}
	defer session.Close()
	a := admission{Initializer: n, session: session, listed: map[resource.ID]bool{}, moves: n.f.moves.Load()}
	a.messages = make([]queue.Message, 0, admitBatch)
	if err := a.run(ctx); err != nil {
		return n.f.ending(ctx, err)
	}
	scheduler.Ready(ctx)
	return nil
}

func (n *admission) run(ctx context.Context) error {
	if err := n.admit(ctx, specsOf(n.f.cfg.Resources)); err != nil {
		return err
	}
	if name := n.f.cfg.ResourceFile; name != "" {
		if err := n.admit(ctx, specsInFile(name)); err != nil {
			return err
		}
	}
	if n.foreign > 0 {
		n.f.log.DebugContext(ctx, "resources of other shards skipped", "shard", n.f.cfg.Shard.String(), "skipped", n.foreign)
	}
	if err := n.registry(ctx); err != nil {
		return err
	}
	return n.sweep(ctx)
}

// admit puts resources into the analyze queue, in batches, and lists them, but for
// those of other shards.
func (n *admission) admit(ctx context.Context, specs iter.Seq2[resource.Spec, error]) error {
	for spec, err := range specs {
		if err != nil {
			return err
		}
		r, err := n.f.newResource(spec)
		if err != nil {
			return err
		}
		if !n.f.mine(r.Scope()) {
			n.foreign++
			continue
		}
		if err := n.put(ctx, r); err != nil {
			return err
		}
	}
	return n.flush(ctx)
}

// put lists a resource, and admits it with the others of its batch. One that was
// listed before counts once.
func (n *admission) put(ctx context.Context, r resource.Resource) error {
	if !n.listed[r.ID] {
		n.listed[r.ID] = true
		n.messages = append(n.messages, queue.Message{Queue: QueueAnalyze, Resource: r})
	}
	if len(n.messages) < admitBatch && len(n.admitting) < admitBatch {
		return nil
	}
	return n.flush(ctx)
}

// flush admits a batch. Those of it that are in already are what an earlier run has
// left, and stay as they are but for what their user asks for now. What was added in
// an earlier run counts as admitted after that, not before.
func (n *admission) flush(ctx context.Context) error {
	messages := slices.DeleteFunc(n.messages, func(m queue.Message) bool { return n.f.wishes.isGone(m.Resource.ID) })
	var failed error
	commits := n.f.admitNew(ctx, n.session, messages, func(r *resource.Resource, err error) {
		switch {
		case failed != nil:
		case errors.Is(err, queue.ErrExists):
			failed = n.f.respec(ctx, n.session, r)
		default:
			failed = err
		}
	})
	n.moves += 2 * commits
	if failed == nil {
		failed = n.f.wishes.settle(ctx, n.admitting)
	}
	clear(n.messages)
	n.messages, n.admitting = n.messages[:0], n.admitting[:0]
	return failed
}

// respec gives a resource of an earlier run what its user asks for now, from its
// next poll on, as SetInterval does. One that
// is held, claimed or in an error queue keeps what it has until the next start.
func (f *flow) respec(ctx context.Context, session queue.Session, now *resource.Resource) error {
	finder, ok := queue.As[queue.Finder](f.queue)
	if !ok {
		return nil
	}
	m, _, err := finder.Find(ctx, now.ID)
	if errors.Is(err, queue.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	every := now.Interval
	if f.wishes.of(now.ID).interval > 0 { // what SetInterval said counts for more, from the next poll on
		every = m.Resource.Interval
	}
	if old := m.Resource; old.Interval == every && old.MediaType == now.MediaType && old.Priority == now.Priority {
		return nil
	}
	d, ok, err := f.takeIf(ctx, session, now.ID, f.waits)
	if !ok || err != nil {
		return err
	}
	if isLine(d.Queue) {
		f.buckets.scope(d.Resource.Scope(), nil).leave(d.Queue)
	}
	next := d.To(QueueAnalyze, time.Time{})
	r := &next.Resource
	r.Interval, r.MediaType, r.Priority = every, now.MediaType, now.Priority
	return f.commit(ctx, session, []queue.Delivery{d}, next)
}

// registry admits what came by Add in an earlier run, and removes what was
// wished away. What has come to belong to another shard since, by another Config, is
// not admitted, but nor is it taken out where the queue still holds it: the other
// shard does not know of it.
func (n *admission) registry(ctx context.Context) error {
	over := n.f.wishes.noteGone()
	defer over()
	moved := 0
	for rec, err := range n.f.wishes.records(ctx) {
		if err != nil {
			return err
		}
		switch {
		case rec.Admitting && rec.owner == n.f.wishes.owner: // an Add of this run is at it
		case rec.Removed:
			if !n.f.wishes.of(rec.id).removed { // added again since it was read
				continue
			}
			if err := n.f.takeOut(ctx, n.session, rec.id); err != nil {
				return err
			}
		case rec.Spec != nil:
			r, err := n.f.newResource(*rec.Spec)
			if err != nil { // its profile may be gone: no reason to stop the others
				n.f.log.Warn("added resource not admitted", "id", rec.id, "uri", rec.Spec.URI, "err", err)
				n.listed[rec.id], n.missing = true, true
				continue
			}
			if !n.f.mine(r.Scope()) {
				n.listed[rec.id], n.missing = true, true
				moved++
				continue
			}
			if rec.Admitting {
				n.admitting = append(n.admitting, rec.id)
			}
			if err := n.put(ctx, r); err != nil {
				return err
			}
		}
	}
	if moved > 0 {
		n.f.log.WarnContext(ctx, "added resources belong to another shard now: remove them here and add them there", "shard", n.f.cfg.Shard.String(), "resources", moved)
	}
	return n.flush(ctx)
}

// sweep takes out what an earlier run left in the queue and nobody lists any
// more. Without a store there was no earlier run. The queue is this shard's alone, so
// what is listed for another shard goes, too: that one polls it. Where the queue holds as many as
// are listed, and all of those are in, there is nothing to look for: that is the
// usual start, and spares it a look at each of millions.
func (n *admission) sweep(ctx context.Context) error {
	lister, ok := queue.As[queue.Lister](n.f.queue)
	depther, ok2 := queue.As[queue.Depther](n.f.queue)
	if n.f.cfg.DB == nil || !ok || !ok2 {
		return nil
	}
	depths, err := depther.Depths(ctx)
	if err != nil {
		return fmt.Errorf("firehose: list queues: %w", err)
	}
	in := 0
	for _, depth := range depths {
		in += depth.Waiting + depth.Ready + depth.Held
	}
	if in == len(n.listed) && !n.missing && n.f.moves.Load() == n.moves { // and nobody has come or gone meanwhile
		return nil
	}
	for _, depth := range depths {
		var after resource.ID
		for limit := pageOf(depth); ; {
			page, err := lister.List(ctx, depth.Name, after, limit)
			if err != nil {
				return fmt.Errorf("firehose: list %s: %w", depth.Name, err)
			}
			for _, m := range page {
				after = m.Resource.ID
				if n.listed[after] {
					continue
				}
				if wanted, err := n.f.wishes.remove(ctx, after); err != nil {
					return err
				} else if wanted {
					continue // it was added since the registry was read
				}
				if err := n.f.takeOut(ctx, n.session, after); err != nil {
					return err
				}
				n.f.log.Info("no longer listed", "id", after, "uri", m.Resource.URI)
			}
			if len(page) < limit {
				break
			}
		}
	}
	return nil
}

// takeOut retires a resource that is wished away, or sees to it that whoever holds
// it does. What waits to be published is published first. The wish was written
// before, so that a holder can't miss it, and is not left behind by one that has
// just retired the resource.
func (f *flow) takeOut(ctx context.Context, session queue.Session, id resource.ID) error {
	if f.walks.waits(id) { // what it has brought is published, too
		return f.decideAgain(ctx, id)
	}
	d, ok, err := f.takeIf(ctx, session, id, func(name string) bool { return name != QueuePublish })
	if err != nil {
		return err
	}
	if ok {
		gone := f.taken(&d)
		return f.retire(ctx, session, []queue.Delivery{d}, &gone)
	}
	if finder, canFind := queue.As[queue.Finder](f.queue); canFind {
		if _, _, err := finder.Find(ctx, id); errors.Is(err, queue.ErrNotFound) {
			return f.wishes.change(ctx, id, func(r *wishRecord) {
				if r.Removed {
					*r = wishRecord{Rest: r.Rest}
				}
			})
		}
	}
	return nil
}

// taken gives back what a delivery that was taken out of turn had been given, and
// returns its resource. A claim that waited for a Requestor is taken back as well:
// nothing was sent under it, and so there is nothing to rest for.
func (f *flow) taken(d *queue.Delivery) resource.Resource {
	r, now := d.Resource, time.Now()
	if f.abandon(r.ID) { // page one was sent under its claim
		r.Forfeit(now)
	}
	if d.Queue == QueueRequests && !f.forfeit(d, &r, now) {
		r.Unclaim()
	}
	s := f.buckets.scope(d.Resource.Scope(), nil)
	s.giveBack(r.ID)
	if isLine(d.Queue) {
		s.leave(d.Queue)
	}
	return r
}

func specsOf(specs []resource.Spec) iter.Seq2[resource.Spec, error] {
	return func(yield func(resource.Spec, error) bool) {
		for _, s := range specs {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// specsInFile streams a file of URIs.
func specsInFile(name string) iter.Seq2[resource.Spec, error] {
	return func(yield func(resource.Spec, error) bool) {
		file, err := os.Open(name)
		if err != nil {
			yield(resource.Spec{}, fmt.Errorf("firehose: resource file: %w", err))
			return
		}
		defer file.Close()
		for spec, err := range ReadSpecs(file) {
			if err != nil {
				err = fmt.Errorf("firehose: resource file %s: %w", name, err)
			}
			if !yield(spec, err) || err != nil {
				return
			}
		}
	}
}

// ReadSpecs streams the URIs of a text, one a line. Empty lines, lines that
// begin with #, and a byte order mark count for nothing. The first error, which names the line, is the
// last pair.
func ReadSpecs(from io.Reader) iter.Seq2[resource.Spec, error] {
	return func(yield func(resource.Spec, error) bool) {
		lines := bufio.NewScanner(from)
		lines.Buffer(make([]byte, 0, 4096), 2*resource.MaxURI)
		n := 0
		for lines.Scan() {
			n++
			uri := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
			if uri == "" || strings.HasPrefix(uri, "#") {
				continue
			}
			spec := resource.Spec{URI: uri}
			if err := spec.Validate(); err != nil {
				yield(spec, inField(fmt.Sprintf("line %d", n), err))
				return
			}
			if !yield(spec, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(resource.Spec{}, fmt.Errorf("line %d: %w", n+1, err))
		}
	}
}
