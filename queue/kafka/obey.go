package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// Controller carries orders out: [firehose.OS] is one. That what is ordered is so
// already it says by queue.ErrExists and firehose.ErrUnknown, and that repeating
// can't help by a *resource.FieldError or queue.ErrRefused.
type Controller interface {
	// Add lets resources be polled. All that are not in already are in after it,
	// whatever it says of the others.
	Add(ctx context.Context, specs ...resource.Spec) error
	// Remove ends the polling of a resource.
	Remove(ctx context.Context, id resource.ID) error
	// Pause keeps a resource from being polled until Resume.
	Pause(ctx context.Context, id resource.ID) error
	// Resume ends a pause; that there is none is no error.
	Resume(ctx context.Context, id resource.ID) error
	// SetInterval lets a resource be polled no more often than this.
	SetInterval(ctx context.Context, id resource.ID, interval time.Duration) error
}

var _ Controller = (*firehose.OS)(nil)

// Obey carries out the orders to a partition, in order, until ctx ends, and then
// returns nil. It is called by the owner of the partition, in the function that
// [NewMember] was given, beside what runs over its queue, and ended with it.
//
// How far it has come is kept in Config.Group, and written after the orders were
// carried out: so a crash repeats some, which is harmless, since it repeats the
// last ones in their order, and ends with what was ordered last. An order that was
// carried out before is found to be so; a resource that was removed and added again
// is so once more, and rests as long as it has to.
//
// While a partition is handed over, after a silence, two owners may carry out the
// same orders. The former one changes nothing: its queue is fenced. If the
// controller keeps what is wanted in a store that both of them share, the
// former may write the one order that it is at after the new owner has come
// further; so give the former a context that ends with its partition, as the
// function of a Member has it.
//
// What Pause, Resume and SetInterval have said is the controller's to keep: with a
// firehose.OS that means a Config.DB that all owners share. Without one, the next
// owner of the partition doesn't know it, unless OrdersConfig.Recall is set.
//
// If no owner of a partition runs for longer than the brokers'
// offsets.retention.minutes, a week unless it was changed, the orders are carried
// out from the first one that the topic still has.
//
// What is left out is what Refused says. An error of the controller that is neither
// that nor harmless is one of its store: the order is repeated until it succeeds,
// later and later, up to every 30 seconds, and those behind it wait.
//
// The error is that of the configuration, or wraps [ErrUnfit] if the topic is not
// there or has no such partition.
func Obey(ctx context.Context, config OrdersConfig, partition int, c Controller) error {
	conf, err := config.withDefaults()
	if err != nil {
		return err
	}
	if partition < 0 || partition >= MaxPartitions {
		return &FieldError{Field: "partition", Value: fmt.Sprint(partition), Want: fmt.Sprintf("0 to %d", MaxPartitions-1)}
	}
	o := &obeying{config: conf, partition: int32(partition), controller: c}
	err = o.serve(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// obeying is one call of Obey.
type obeying struct {
	config     OrdersConfig
	partition  int32
	controller Controller
	admin      *kadm.Client
}

func (o *obeying) serve(ctx context.Context) error {
	look, err := kgo.NewClient(o.config.options()...)
	if err != nil {
		return fmt.Errorf("kafka: client: %w", err)
	}
	defer look.Close()
	info, err := lookUp(ctx, look, o.config.Topic, "delete")
	if err != nil {
		return err
	}
	if int(o.partition) >= info.partitions {
		return fmt.Errorf("%w: %s has %d partitions, and none that is %d: want as many as the journal has", ErrUnfit, o.config.Topic, info.partitions, o.partition)
	}
	o.admin = kadm.NewClient(look)
	from, err := o.begin(ctx)
	if err != nil {
		return err
	}
	next := from.EpochOffset().Offset
	if o.config.Recall && next > 0 {
		if err := o.recall(ctx, next); err != nil {
			return err
		}
	}
	client, err := o.client(from)
	if err != nil {
		return err
	}
	defer client.Close()
	return o.read(ctx, client, next)
}

// client reads the partition from an offset on.
func (o *obeying) client(from kgo.Offset) (*kgo.Client, error) {
	client, err := kgo.NewClient(o.config.options(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{o.config.Topic: {o.partition: from}}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(time.Second),
		kgo.FetchMaxPartitionBytes(1<<20),
		kgo.FetchMaxBytes(1<<20),
	)...)
	if err != nil {
		return nil, fmt.Errorf("kafka: client: %w", err)
	}
	return client, nil
}

// read carries out what comes from the offset next on; negative: from the beginning.
func (o *obeying) read(ctx context.Context, client *kgo.Client, next int64) error {
	for ctx.Err() == nil {
		some, cancel := context.WithTimeout(ctx, obeyRefresh)
		fetches := client.PollRecords(some, obeyAtOnce)
		quiet := some.Err() != nil
		cancel()
		records := fetches.Records()
		if len(records) > 0 {
			o.missing(next, records[0])
		}
		for done := 0; done < len(records) && ctx.Err() == nil; {
			if n := o.some(ctx, records[done:]); n > 0 {
				done += n
				next = records[done-1].Offset + 1
			}
		}
		if next > 0 && (quiet || len(records) > 0) {
			o.commit(ctx, next)
		}
		for _, f := range fetches.Errors() {
			if quiet {
				break
			}
			if forbidden(f.Err) {
				return fmt.Errorf("kafka: read %s: %w", o.config.Topic, f.Err)
			}
			o.config.Logger.Warn("orders: fetch", "topic", o.config.Topic, "partition", o.partition, "err", f.Err)
			pause(ctx, time.Second)
		}
	}
	return nil
}

// missing says when orders are gone before they were read.
func (o *obeying) missing(next int64, rec *kgo.Record) {
	if next >= 0 && rec.Offset > next {
		o.config.Logger.Error("orders are gone before they were read", "topic", rec.Topic, "partition", rec.Partition, "count", rec.Offset-next, "before", rec.Offset)
	}
}

const (
	obeyAtOnce = 1024 // orders between two commits

	// After so long without an order it is written again how many were carried out:
	// brokers forget it after offsets.retention.minutes, a week unless it was changed,
	// and the next owner would begin with the first order that is left.
	obeyRefresh = time.Hour
)

// begin returns where the orders go on, and waits for a broker that doesn't say.
func (o *obeying) begin(ctx context.Context) (kgo.Offset, error) {
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 30*time.Second) {
		all, err := o.admin.FetchOffsets(ctx, o.config.Group)
		if errors.Is(err, kerr.GroupIDNotFound) { // nothing was ever committed
			return kgo.NewOffset().AtStart(), nil
		}
		if err == nil {
			at, ok := all.Lookup(o.config.Topic, o.partition)
			switch {
			case !ok || at.Err == nil && at.At < 0:
				return kgo.NewOffset().AtStart(), nil
			case at.Err == nil:
				return kgo.NewOffset().At(at.At), nil
			}
			err = at.Err
		}
		if forbidden(err) {
			return kgo.Offset{}, fmt.Errorf("kafka: offsets of group %s: %w", o.config.Group, err)
		}
		o.config.Logger.Warn("orders: offsets", "group", o.config.Group, "again", wait, "err", err)
		if !pause(ctx, wait) {
			return kgo.Offset{}, context.Cause(ctx)
		}
	}
}

// commit writes that all orders before an offset are carried out.
func (o *obeying) commit(ctx context.Context, next int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	var offsets kadm.Offsets
	offsets.AddOffset(o.config.Topic, o.partition, next, -1)
	if err := o.admin.CommitAllOffsets(ctx, o.config.Group, offsets); err != nil {
		o.config.Logger.Warn("orders: commit", "group", o.config.Group, "partition", o.partition, "err", err) // the next one says it, too
	}
}

// addAtOnce is how many resources are added by one call.
const addAtOnce = 256

// some carries out the first order, or, of orders to add that follow each other,
// several at once, and one by one if that fails. It returns how many; none only
// when ctx has ended.
func (o *obeying) some(ctx context.Context, records []*kgo.Record) (done int) {
	var specs []resource.Spec
	for _, rec := range records[:min(len(records), addAtOnce)] {
		what, err := decodeOrder(rec.Key, rec.Value)
		if err != nil || what.verb != orderAdd {
			break
		}
		specs = append(specs, what.spec)
	}
	if len(specs) > 1 && o.controller.Add(ctx, specs...) == nil {
		return len(specs)
	}
	for done < max(1, len(specs)) && o.one(ctx, records[done]) {
		done++
	}
	return done
}

// one carries out an order, or leaves it out. It reports false when ctx has ended.
func (o *obeying) one(ctx context.Context, rec *kgo.Record) bool {
	what, err := decodeOrder(rec.Key, rec.Value)
	if err != nil {
		o.refuse(rec, err)
		return true
	}
	return o.carryOut(ctx, what, func(err error) { o.refuse(rec, err) })
}

// carryOut calls the controller until it has done what was ordered, or refuses it
// for good. It reports false when ctx has ended.
func (o *obeying) carryOut(ctx context.Context, what order, refused func(error)) bool {
	log := o.config.Logger.With("order", what.verb, "id", what.id, "partition", o.partition)
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 30*time.Second) {
		err := o.apply(ctx, &what)
		switch {
		case err == nil:
			return true
		case harmless(err):
			log.Info("order was carried out before", "err", err)
			return true
		case final(err):
			refused(err)
			return true
		case ctx.Err() != nil:
			return false
		}
		log.Warn("order", "again", wait, "err", err)
		if !pause(ctx, wait) {
			return false
		}
	}
}

func (o *obeying) apply(ctx context.Context, what *order) error {
	switch what.verb {
	case orderAdd:
		return o.controller.Add(ctx, what.spec)
	case orderRemove:
		return o.controller.Remove(ctx, what.id)
	case orderPause:
		return o.controller.Pause(ctx, what.id)
	case orderResume:
		return o.controller.Resume(ctx, what.id)
	default:
		return o.controller.SetInterval(ctx, what.id, what.interval)
	}
}

// harmless reports whether an error says that all is as it was ordered.
func harmless(err error) bool {
	return errors.Is(err, queue.ErrExists) || errors.Is(err, firehose.ErrUnknown)
}

// final reports whether an order can't be carried out, however often it is tried.
func final(err error) bool {
	_, wrong := errors.AsType[*resource.FieldError](err)
	return wrong || errors.Is(err, queue.ErrRefused)
}

func (o *obeying) refuse(rec *kgo.Record, err error) {
	o.config.Logger.Error("order left out", "topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset, "err", err)
	if o.config.Refused != nil {
		o.config.Refused(rec, err)
	}
}
