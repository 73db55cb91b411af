package kafka

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Defaults of a [LogTopic].
const (
	DefaultRetention       = 7 * 24 * time.Hour  // of responses
	DefaultOrdersRetention = 90 * 24 * time.Hour // of orders
	DefaultErrorsRetention = 90 * 24 * time.Hour // of what was in error queues
	DefaultMessageBytes    = 10 << 20            // a body of firehose.DefaultMaxBody, with its headers
)

// LogTopic is how a topic is made whose records are kept for a time, each of them,
// whatever comes after it: that of responses, of orders, or of errors.
type LogTopic struct {
	// Partitions bound how many processes can share the reading. Zero:
	// [DefaultPartitions]. At most [MaxPartitions]. The topic of orders needs as many
	// as the journal has.
	Partitions int

	// Replicas are copies of each partition, on different brokers. Zero:
	// [DefaultReplicas]. All but one of them must be in sync for a write, if
	// there are three or more.
	Replicas int

	// Retention is how long a record is kept, read or not. What reads the topic may
	// be away for almost as long. Zero: [DefaultRetention], [DefaultOrdersRetention]
	// or [DefaultErrorsRetention].
	Retention time.Duration

	// MessageBytes bounds a record, and a batch of them: the topic's
	// max.message.bytes. Zero: [DefaultMessageBytes].
	MessageBytes int

	// Settings are further ones of the topic, or others than the usual.
	Settings map[string]string
}

// CreateResponsesTopic makes the topic of a [Sink], and changes nothing if it is
// there. It is a step of its own, so that the processes need no right to create
// topics. The error wraps [ErrUnfit] if the topic that is there would lose what
// it is given.
func CreateResponsesTopic(ctx context.Context, config SinkConfig, t LogTopic) error {
	c, err := config.withDefaults()
	if err != nil {
		return err
	}
	return createLog(ctx, &c.Cluster, c.Topic, t, DefaultRetention)
}

// CreateOrdersTopic makes the topic of [Orders], with as many partitions as the
// journal has; else it is like [CreateResponsesTopic].
func CreateOrdersTopic(ctx context.Context, config OrdersConfig, t LogTopic) error {
	c, err := config.withDefaults()
	if err != nil {
		return err
	}
	return createLog(ctx, &c.Cluster, c.Topic, t, DefaultOrdersRetention)
}

// CreateErrorsTopic makes the topic of an [ErrorDrain]; else it is like
// [CreateResponsesTopic].
func CreateErrorsTopic(ctx context.Context, config ErrorDrainConfig, t LogTopic) error {
	c, err := config.withDefaults()
	if err != nil {
		return err
	}
	return createLog(ctx, &c.Cluster, c.Topic, t, DefaultErrorsRetention)
}

func (t *LogTopic) check() error {
	w := complaints{in: "LogTopic"}
	w.number("Partitions", int64(t.Partitions), 1, MaxPartitions)
	w.number("Replicas", int64(t.Replicas), 1, 99)
	w.wait("Retention", t.Retention, time.Minute, 100*366*24*time.Hour)
	w.number("MessageBytes", int64(t.MessageBytes), leastMessageBytes, mostMessageBytes)
	return w.err()
}

// Bounds of a record. A request to a broker is at most 100 MiB unless it was
// changed, and 64 KiB are taken by a resource with long texts already.
const (
	leastMessageBytes = 64 << 10
	mostMessageBytes  = 64 << 20
)

func (t *LogTopic) settings() map[string]*string {
	all := map[string]string{
		"cleanup.policy":                 "delete",
		"retention.ms":                   strconv.FormatInt(t.Retention.Milliseconds(), 10),
		"retention.bytes":                "-1",
		"max.message.bytes":              strconv.Itoa(t.MessageBytes),
		"min.insync.replicas":            strconv.Itoa(max(1, t.Replicas-1)),
		"unclean.leader.election.enable": "false",
	}
	return withSettings(all, t.Settings)
}

func createLog(ctx context.Context, cluster *Cluster, topic string, t LogTopic, retention time.Duration) error {
	t.Partitions = cmp.Or(t.Partitions, DefaultPartitions)
	t.Replicas = cmp.Or(t.Replicas, DefaultReplicas)
	t.Retention = cmp.Or(t.Retention, retention)
	t.MessageBytes = cmp.Or(t.MessageBytes, DefaultMessageBytes)
	if err := t.check(); err != nil {
		return err
	}
	if err := createTopic(ctx, cluster, topic, t.Partitions, t.Replicas, t.settings()); err != nil {
		return err
	}
	client, err := kgo.NewClient(cluster.options()...)
	if err != nil {
		return fmt.Errorf("kafka: check topic %s: client: %w", topic, err)
	}
	defer client.Close()
	_, err = lookUp(ctx, client, topic, "delete")
	return err
}
