package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Defaults of a [Topic].
const (
	DefaultPartitions = 24
	DefaultReplicas   = 3
)

// MaxPartitions bounds the partitions of a topic.
const MaxPartitions = 4096

// Topic is how [CreateTopic] makes a journal.
type Topic struct {
	// Partitions are the shares in which the work can be divided: at most so many
	// processes have something to do. It can't be changed later, since each scope
	// has its partition. A share is some 100,000 to a million resources. Zero:
	// [DefaultPartitions]. At most [MaxPartitions].
	Partitions int

	// Replicas are copies of each partition, on different brokers. Zero:
	// [DefaultReplicas]. All but one of them must be in sync for a write, if
	// there are three or more.
	Replicas int

	// Settings are further ones of the topic, or others than the usual.
	Settings map[string]string
}

// settings are those of a journal. What is older than the newest record of a key
// goes soon, so that a new owner has little to read.
func (t *Topic) settings() map[string]*string {
	insync := max(1, t.Replicas-1)
	all := map[string]string{
		"cleanup.policy":            "compact",
		"min.insync.replicas":       strconv.Itoa(insync),
		"segment.bytes":             strconv.Itoa(64 << 20),
		"min.cleanable.dirty.ratio": "0.3",
		"max.compaction.lag.ms":     strconv.FormatInt(time.Hour.Milliseconds(), 10),
		// One who reads may take so long between a record and the one that says
		// that it is gone.
		"delete.retention.ms":            strconv.FormatInt((24 * time.Hour).Milliseconds(), 10),
		"unclean.leader.election.enable": "false",
	}
	maps.Copy(all, t.Settings)
	values := make(map[string]*string, len(all))
	for k, v := range all {
		values[k] = &v
	}
	return values
}

// CreateTopic makes the topic, with a compacted log, and changes nothing if it is
// there. It is a step of its own, so that the processes need no right to create
// topics. It ends with [CheckTopic].
func CreateTopic(ctx context.Context, config Config, t Topic) error {
	c, err := config.withDefaults()
	if err != nil {
		return err
	}
	if t.Partitions == 0 {
		t.Partitions = DefaultPartitions
	}
	if t.Replicas == 0 {
		t.Replicas = DefaultReplicas
	}
	var wrong []error
	if t.Partitions < 1 || t.Partitions > MaxPartitions {
		wrong = append(wrong, &FieldError{Field: "Topic.Partitions", Value: strconv.Itoa(t.Partitions), Want: fmt.Sprintf("1 to %d, or 0 for %d", MaxPartitions, DefaultPartitions)})
	}
	if t.Replicas < 1 || t.Replicas > 99 {
		wrong = append(wrong, &FieldError{Field: "Topic.Replicas", Value: strconv.Itoa(t.Replicas), Want: fmt.Sprintf("1 to 99, or 0 for %d", DefaultReplicas)})
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	client, err := kgo.NewClient(c.options()...)
	if err != nil {
		return fmt.Errorf("kafka: create topic %s: client: %w", c.Topic, err)
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, int32(t.Partitions), int16(t.Replicas), t.settings(), c.Topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("kafka: create topic %s: %w", c.Topic, err)
	}
	_, err = checkTopic(ctx, &c)
	return err
}

// ErrTopic says that a topic can't be the journal. The text says why.
var ErrTopic = errors.New("kafka: the topic can't be a journal")

// CheckTopic returns the number of partitions of the topic, or an error that wraps
// ErrTopic if it is not there, or would lose what it is given: its log must be
// compacted, and nothing else, and must not go on from a replica that was not in
// sync.
func CheckTopic(ctx context.Context, config Config) (partitions int, err error) {
	c, err := config.withDefaults()
	if err != nil {
		return 0, err
	}
	return checkTopic(ctx, &c)
}

func checkTopic(ctx context.Context, c *Config) (partitions int, err error) {
	client, err := kgo.NewClient(c.options()...)
	if err != nil {
		return 0, fmt.Errorf("kafka: check topic %s: client: %w", c.Topic, err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	// One that was just made is not known to every broker at once.
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		partitions, err = countPartitions(ctx, admin, c.Topic)
		if !errors.Is(err, kerr.UnknownTopicOrPartition) || wait > 800*time.Millisecond {
			break
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return 0, fmt.Errorf("kafka: check topic %s: %w", c.Topic, context.Cause(ctx))
		}
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return 0, fmt.Errorf("%w: %s is not there: make it by CreateTopic", ErrTopic, c.Topic)
	}
	if err != nil {
		return 0, fmt.Errorf("kafka: check topic %s: %w", c.Topic, err)
	}
	if partitions > MaxPartitions {
		return 0, fmt.Errorf("%w: %s has %d partitions: want at most %d", ErrTopic, c.Topic, partitions, MaxPartitions)
	}
	described, err := admin.DescribeTopicConfigs(ctx, c.Topic)
	if err == nil && len(described) == 1 {
		err = described[0].Err
	}
	if err != nil || len(described) != 1 {
		return 0, fmt.Errorf("kafka: check the settings of topic %s: %w", c.Topic, err)
	}
	for _, s := range described[0].Configs {
		value := s.MaybeValue()
		switch s.Key {
		case "cleanup.policy":
			if strings.TrimSpace(value) != "compact" {
				return 0, fmt.Errorf("%w: %s has cleanup.policy %q: want compact, or it is deleted while it is needed", ErrTopic, c.Topic, value)
			}
		case "unclean.leader.election.enable":
			if value == "true" {
				return 0, fmt.Errorf("%w: %s has unclean.leader.election.enable true: want false, or what was acknowledged is lost", ErrTopic, c.Topic)
			}
		}
	}
	return partitions, nil
}

func countPartitions(ctx context.Context, admin *kadm.Client, topic string) (int, error) {
	details, err := admin.ListTopics(ctx, topic)
	if err != nil {
		return 0, err
	}
	d := details[topic]
	return len(d.Partitions), d.Err
}

func stack() []byte { return debug.Stack() }
