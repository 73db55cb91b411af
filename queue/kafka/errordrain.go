package kafka

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// Defaults of an [ErrorDrainConfig].
const (
	DefaultErrorsTopic   = "cannedos-errors"
	DefaultDrainInterval = time.Minute
)

// ErrorDrainConfig says which error queues are emptied, and where to.
type ErrorDrainConfig struct {
	Cluster

	// Topic is made by [CreateErrorsTopic]. Empty: [DefaultErrorsTopic].
	Topic string

	// Queues are the error queues. Nil: all of firehose.ErrorQueues.
	Queues []string

	// Interval is the wait between two looks. Zero: [DefaultDrainInterval].
	Interval time.Duration
}

func (c ErrorDrainConfig) withDefaults() (ErrorDrainConfig, error) {
	w := complaints{in: "ErrorDrainConfig"}
	w.cluster(&c.Cluster)
	c.Topic = cmp.Or(c.Topic, DefaultErrorsTopic)
	c.Interval = cmp.Or(c.Interval, DefaultDrainInterval)
	if c.Queues == nil {
		c.Queues = firehose.ErrorQueues()
	}
	w.topic(c.Topic)
	w.wait("Interval", c.Interval, time.Second, 30*24*time.Hour)
	return c, w.err()
}

// ErrorQueues are what an [ErrorDrain] empties: [firehose.OS] has them.
type ErrorQueues interface {
	// Errors returns up to limit entries of a queue whose ids are greater than after,
	// in order of id.
	Errors(ctx context.Context, name string, after resource.ID, limit int) ([]firehose.Buried, error)
	// Drain takes resources out of the error queues, and forgets them. Of what is in
	// none of them it says firehose.ErrUnknown.
	Drain(ctx context.Context, ids ...resource.ID) error
}

var _ ErrorQueues = (*firehose.OS)(nil)

// An ErrorDrain moves what is in the error queues of an OS to a topic: the key is
// the id of the resource, the value is its firehose.Buried as JSON, and the header
// "queue" names the queue. It is a service.
//
// Each is in the topic, acknowledged by all replicas in sync, before it is taken
// out of its queue: so a crash leaves some in both, and they are written again.
// What was drained is forgotten by the OS: to poll it again, read the topic, and
// order it to be added.
//
// Between the two somebody else may let it go on (see firehose.OS.Replay): then it
// stays in, unless it is back in an error queue by then.
type ErrorDrain struct {
	config ErrorDrainConfig
	from   ErrorQueues
}

// NewErrorDrain makes an ErrorDrain. It starts nothing. The error joins a
// [*FieldError] for each field that is out of its bounds.
func NewErrorDrain(config ErrorDrainConfig, from ErrorQueues) (*ErrorDrain, error) {
	c, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	if from == nil {
		return nil, errors.New("kafka: NewErrorDrain: from: nil: want a value")
	}
	return &ErrorDrain{config: c, from: from}, nil
}

// String names the service.
func (d *ErrorDrain) String() string { return "kafka error drain to " + d.config.Topic }

// Serve drains at once, and then at each Interval, until ctx ends. It fails if the
// topic is not there or unfit. What goes wrong later is logged, and tried again at
// the next Interval.
func (d *ErrorDrain) Serve(ctx context.Context) error {
	p, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer d.close(p)
	for {
		if n, err := d.drain(ctx, p); err != nil && ctx.Err() == nil {
			d.config.Logger.Warn("error drain", "drained", n, "again", d.config.Interval, "err", err)
		}
		if !pause(ctx, d.config.Interval) {
			return nil
		}
	}
}

// Once drains everything that is in the queues now, and returns how much that was:
// for a program that does so on a schedule of its own. It may be called beside
// Serve; then some are written twice.
func (d *ErrorDrain) Once(ctx context.Context) (drained int, err error) {
	p, err := d.open(ctx)
	if err != nil {
		return 0, err
	}
	defer d.close(p)
	return d.drain(ctx, p)
}

func (d *ErrorDrain) open(ctx context.Context) (*producer, error) {
	return openProducer(ctx, &d.config.Cluster, d.config.Topic, 0, kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
}

func (d *ErrorDrain) close(p *producer) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	_ = p.close(ctx) // what didn't arrive is still in its queue
}

const (
	drainBatch   = 256
	drainTimeout = time.Minute // of the writing of a batch
)

// drain goes once through all queues.
func (d *ErrorDrain) drain(ctx context.Context, p *producer) (drained int, err error) {
	for _, name := range d.config.Queues {
		for after := (resource.ID{}); ; {
			page, err := d.from.Errors(ctx, name, after, drainBatch)
			if err != nil {
				return drained, err
			}
			if len(page) == 0 {
				break
			}
			n, err := d.move(ctx, p, page)
			drained += n
			if err != nil {
				return drained, err
			}
			after = page[len(page)-1].Resource.ID
		}
	}
	return drained, nil
}

// move writes a page, and takes out what is written.
func (d *ErrorDrain) move(ctx context.Context, p *producer, page []firehose.Buried) (moved int, err error) {
	records := make([]*kgo.Record, len(page))
	ids := make([]resource.ID, len(page))
	for i := range page {
		b := &page[i]
		value, err := json.Marshal(b)
		if err != nil {
			return 0, fmt.Errorf("kafka: encode %v: %w", b.Resource.ID, err)
		}
		ids[i] = b.Resource.ID
		records[i] = &kgo.Record{
			Key: []byte(b.Resource.ID.String()), Value: value,
			Headers: []kgo.RecordHeader{header(headFormat, "1"), header("queue", b.Queue)},
		}
	}
	writing, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if err := p.write(writing, records); err != nil {
		return 0, fmt.Errorf("kafka: write to %s: %w", d.config.Topic, err)
	}
	var errs []error
	for _, id := range ids {
		switch err := d.from.Drain(ctx, id); {
		case err == nil:
			moved++
		case !errors.Is(err, firehose.ErrUnknown): // which somebody else has let go on
			errs = append(errs, err)
		}
	}
	return moved, errors.Join(errs...)
}
