package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/resource"
)

// DefaultOrdersTopic is the topic of [Orders].
const DefaultOrdersTopic = "cannedos-orders"

// OrdersConfig says where orders are written to and read from. [Config.Orders]
// gives that which belongs to a journal.
type OrdersConfig struct {
	Cluster

	// Topic is made by [CreateOrdersTopic], with as many partitions as the journal.
	// Empty: [DefaultOrdersTopic].
	Topic string

	// Group is what the number of orders that were carried out is kept under: it has
	// no members, and must be nobody else's. Empty: the Topic.
	Group string

	// Recall lets [Obey] begin with what earlier orders have said of pauses and
	// intervals, as far as the topic still has them: for a controller that forgets
	// that with its process, such as a firehose.OS without a DB. It is then as it was
	// ordered last, whatever was said to the controller by other means. Until that is
	// done, a resource that is to rest may be polled.
	Recall bool

	// Refused gets each order that is left out, and why: a record that is no order,
	// such as one of a newer version, or an order that the controller refuses for
	// good, such as a resource of a profile that it doesn't have. It must not block.
	// Nil: they are logged alone, as errors.
	Refused func(record *kgo.Record, err error)
}

// Orders returns the configuration of the orders that belong to a journal: their
// topic is that of the journal and "-orders", their group that of the journal and
// "/orders".
func (c Config) Orders() OrdersConfig {
	topic := cmp.Or(c.Topic, DefaultTopic)
	return OrdersConfig{Cluster: c.Cluster, Topic: topic + "-orders", Group: cmp.Or(c.Group, topic) + "/orders"}
}

func (c OrdersConfig) withDefaults() (OrdersConfig, error) {
	w := complaints{in: "OrdersConfig"}
	w.cluster(&c.Cluster)
	c.Topic = cmp.Or(c.Topic, DefaultOrdersTopic)
	c.Group = cmp.Or(c.Group, c.Topic)
	w.topic(c.Topic)
	w.name("Group", c.Group)
	return c, w.err()
}

// Orders tells the owners of partitions what shall be polled, from any process.
// What carries the orders out is [Obey].
//
// When a call returns nil, all replicas in sync have the order: it will be carried
// out by the owner of the partition, or by the next one, however long that takes.
// It isn't carried out yet, and nobody says when it is. After an error the outcome
// is unknown, and to give the order again is safe. Orders to one partition from one
// process are carried out in the order of the calls.
//
// partition is the number of the partition that holds the resource, or shall hold
// it. An order to the wrong one has no effect there, but for Add.
//
// Orders may be used by many goroutines.
type Orders struct {
	config   OrdersConfig
	producer *producer
}

// NewOrders connects to the cluster. The error joins a [*FieldError] for each field
// that is out of its bounds, or wraps [ErrUnfit] if the topic is not there or would
// lose what it is given.
func NewOrders(ctx context.Context, config OrdersConfig) (*Orders, error) {
	c, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	p, err := openProducer(ctx, &c.Cluster, c.Topic, 0, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return nil, err
	}
	return &Orders{config: c, producer: p}, nil
}

// Partitions returns how many partitions the topic had when o was made.
func (o *Orders) Partitions() int { return o.producer.info.partitions }

// Add orders resources to be polled. A Spec that isn't allowed gives a
// [*resource.FieldError], and nothing is ordered.
func (o *Orders) Add(ctx context.Context, partition int, specs ...resource.Spec) error {
	all := make([]order, len(specs))
	for i, spec := range specs {
		r, err := resource.New(spec, "")
		if wrong, ok := errors.AsType[*resource.FieldError](err); ok {
			err = wrong.In(fmt.Sprintf("specs[%d]", i))
		}
		if err != nil {
			return fmt.Errorf("kafka: order add: %w", err)
		}
		all[i] = order{verb: orderAdd, id: r.ID, spec: r.Spec}
	}
	return o.give(ctx, partition, all)
}

// Remove orders the polling of resources to end.
func (o *Orders) Remove(ctx context.Context, partition int, ids ...resource.ID) error {
	return o.each(ctx, partition, order{verb: orderRemove}, ids)
}

// Pause orders resources to rest until Resume.
func (o *Orders) Pause(ctx context.Context, partition int, ids ...resource.ID) error {
	return o.each(ctx, partition, order{verb: orderPause}, ids)
}

// Resume orders pauses to end.
func (o *Orders) Resume(ctx context.Context, partition int, ids ...resource.ID) error {
	return o.each(ctx, partition, order{verb: orderResume}, ids)
}

// SetInterval orders resources to be polled no more often than this. An interval
// out of bounds gives a [*resource.FieldError].
func (o *Orders) SetInterval(ctx context.Context, partition int, interval time.Duration, ids ...resource.ID) error {
	if err := checkInterval(interval); err != nil {
		return fmt.Errorf("kafka: order set-interval: %w", err)
	}
	return o.each(ctx, partition, order{verb: orderInterval, interval: interval}, ids)
}

// Close takes no more orders, waits until those that were given have arrived, but
// no longer than ctx, and disconnects.
func (o *Orders) Close(ctx context.Context) error {
	if err := o.producer.close(ctx); err != nil {
		return fmt.Errorf("kafka: close orders: %w", err)
	}
	return nil
}

func (o *Orders) each(ctx context.Context, partition int, what order, ids []resource.ID) error {
	all := make([]order, len(ids))
	for i, id := range ids {
		if id.IsZero() {
			return fmt.Errorf("kafka: order %s: %w", what.verb, &resource.FieldError{Field: fmt.Sprintf("ids[%d]", i), Value: id.String(), Want: "the id of a resource"})
		}
		all[i] = what
		all[i].id = id
	}
	return o.give(ctx, partition, all)
}

func (o *Orders) give(ctx context.Context, partition int, all []order) error {
	if len(all) == 0 {
		return nil
	}
	verb := all[0].verb
	if partition < 0 || partition >= o.Partitions() {
		return fmt.Errorf("kafka: order %s: %w", verb, &FieldError{Field: "partition", Value: fmt.Sprint(partition), Want: fmt.Sprintf("0 to %d", o.Partitions()-1)})
	}
	now := time.Now()
	records := make([]*kgo.Record, len(all))
	for i := range all {
		all[i].at = now
		records[i] = &kgo.Record{Partition: int32(partition), Key: []byte(all[i].id.String()), Value: all[i].encode()}
	}
	if err := o.producer.write(ctx, records); err != nil {
		return fmt.Errorf("kafka: order %s to partition %d of %s: %w", verb, partition, o.config.Topic, err)
	}
	return nil
}
