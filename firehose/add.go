package firehose

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// admitBatch is how many resources are admitted together. All of a batch share
// each write to a store, and so what it takes to make one durable.
const admitBatch = 4 * batch

// addition is one resource on its way in by Add.
type addition struct {
	r         resource.Resource
	wish      wishChange
	withdrawn bool  // its removal, which is under way
	err       error // as Add returns it, but for the name
}

// Add admits resources while the OS runs, or before. With a durable DB they are
// kept, and admitted again by the next start. Each Spec is checked first; then
// those that are in already are reported as queue.ErrExists, the others are in.
// One that is still being removed, as after [OS.Remove] or by a start that no longer
// lists it, stays in, as the Spec says now, and may be asked no earlier than before.
// One of another shard is reported as [ErrElsewhere], with the shard that it has to
// be added to; the others are in.
//
// Many are admitted faster by one call than by many: each 256 share three writes
// to the DB. They share its errors, too: one that the queue or the DB returns is
// reported for each of them that it concerns. Whether such a one is in is not
// known; the next start admits it if its wish was stored, and to add it again is safe.
func (o *OS) Add(ctx context.Context, specs ...resource.Spec) error {
	for i, spec := range specs { // none is kept: they may be millions
		if _, err := o.f.newResource(spec); err != nil {
			return fmt.Errorf("firehose: add: %w", inField(fmt.Sprintf("specs[%d]", i), err))
		}
	}
	if o.f.cfg.Shard.Count > 0 { // else the start finds out, and nothing is lost meanwhile
		if err := o.f.divided(ctx); err != nil {
			return fmt.Errorf("firehose: add: %w", err)
		}
	}
	session, err := o.f.queue.Open(ctx)
	if err != nil {
		return fmt.Errorf("firehose: add: %w", err)
	}
	defer session.Close()
	var errs []error
	for some := range slices.Chunk(specs, admitBatch) {
		for i, err := range o.f.add(ctx, session, some) {
			if err != nil {
				errs = append(errs, fmt.Errorf("firehose: add %s: %w", some[i].URI, err))
			}
		}
	}
	return errors.Join(errs...)
}

// add admits a batch, and returns what became of each. A resource that it names
// more than once is added as often, one after the other.
func (f *flow) add(ctx context.Context, session queue.Session, specs []resource.Spec) []error {
	all := make([]addition, len(specs))
	open := make([]*addition, 0, len(specs))
	for i, spec := range specs {
		a := &all[i]
		if a.r, a.err = f.newResource(spec); a.err == nil {
			a.err = f.elsewhere(&a.r)
		}
		if a.err == nil {
			a.wish.id = a.r.ID
			open = append(open, a)
		}
	}
	for len(open) > 0 {
		firsts := make(map[resource.ID]*addition, len(open))
		var round, later []*addition
		for _, a := range open {
			if firsts[a.r.ID] == nil {
				firsts[a.r.ID] = a
				round = append(round, a)
			} else {
				later = append(later, a)
			}
		}
		f.addRound(ctx, session, round, firsts)
		open = later
	}
	errs := make([]error, len(all))
	for i := range all {
		errs[i] = all[i].err
	}
	return errs
}

// addRound writes that resources are to be admitted, admits them, and writes that
// they are. A crash in between is mended by the next start. One that is being
// removed stays instead, or is admitted again by whoever has taken it out meanwhile.
func (f *flow) addRound(ctx context.Context, session queue.Session, round []*addition, byID map[resource.ID]*addition) {
	f.wishes.add(ctx, round)
	messages := make([]queue.Message, 0, len(round))
	for _, a := range round {
		if a.err = a.wish.err; a.err == nil {
			messages = append(messages, queue.Message{Queue: QueueAnalyze, Resource: a.r})
		}
	}
	f.admitNew(ctx, session, messages, func(r *resource.Resource, err error) {
		if errors.Is(err, queue.ErrExists) { // of which there may be others
			err = &queue.ExistsError{IDs: []resource.ID{r.ID}}
		}
		byID[r.ID].err = err
	})
	var admitted []*addition
	for _, a := range round {
		switch exists := errors.Is(a.err, queue.ErrExists); {
		case a.withdrawn && exists:
			a.err = f.respec(ctx, session, &a.r)
		case a.err == nil || exists:
			admitted = append(admitted, a)
		}
	}
	if len(admitted) == 0 {
		return
	}
	f.wishes.admitted(ctx, admitted)
	for _, a := range admitted {
		a.err = errors.Join(a.err, a.wish.err)
	}
}

// admitNew admits those of the messages whose resources are not in yet: by one
// Commit, and a further one without those that it names as in. refused is called
// for each that is not admitted, with why. The messages are not the caller's any
// more. A queue without room for all of them together gets them one by one.
func (f *flow) admitNew(ctx context.Context, session queue.Session, messages []queue.Message, refused func(r *resource.Resource, err error)) (commits int64) {
	for len(messages) > 0 {
		for i := range messages { // one may have been here, and gone, since it was made
			r := &messages[i].Resource
			r.Rest(f.wishes.of(r.ID).rest)
		}
		commits++
		err := f.commit(ctx, session, nil, messages...)
		if err == nil {
			return commits
		}
		left := messages
		if exists, ok := errors.AsType[*queue.ExistsError](err); ok {
			left = withoutThose(messages, exists, refused)
		}
		switch apart := errors.Is(err, queue.ErrExists) || errors.Is(err, queue.ErrRefused); {
		case len(left) < len(messages):
		case apart && len(messages) > 1: // one of them, or all together, and nobody says which
			for i := range messages {
				commits += f.admitNew(ctx, session, messages[i:i+1], refused)
			}
			return commits
		default:
			for i := range messages {
				refused(&messages[i].Resource, err)
			}
			return commits
		}
		messages = left
	}
	return commits
}

// withoutThose takes the messages out whose resources exist.
func withoutThose(messages []queue.Message, exists *queue.ExistsError, refused func(r *resource.Resource, err error)) []queue.Message {
	in := make(map[resource.ID]bool, len(exists.IDs))
	for _, id := range exists.IDs {
		in[id] = true
	}
	for i := range messages {
		if r := &messages[i].Resource; in[r.ID] {
			refused(r, exists)
		}
	}
	return slices.DeleteFunc(messages, func(m queue.Message) bool { return in[m.Resource.ID] })
}
