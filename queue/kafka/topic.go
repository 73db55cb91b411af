package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
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
	// there are three or more; with two, one may be all there is.
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
	return withSettings(all, t.Settings)
}

// withSettings lets those of the user replace or join the usual ones.
func withSettings(usual, users map[string]string) map[string]*string {
	maps.Copy(usual, users)
	all := make(map[string]*string, len(usual))
	for k, v := range usual {
		all[k] = &v
	}
	return all
}

// CreateTopic makes the topic, with a compacted log, and changes nothing if it is
// there, whatever the number of its partitions. It is a step of its own, so that the processes need no right to create
// topics. It ends with [CheckTopic].
func CreateTopic(ctx context.Context, config Config, t Topic) error {
	c, err := config.withDefaults()
	if err != nil {
		return err
	}
	t.Partitions = cmp.Or(t.Partitions, DefaultPartitions)
	t.Replicas = cmp.Or(t.Replicas, DefaultReplicas)
	w := complaints{in: "Topic"}
	w.number("Partitions", int64(t.Partitions), 1, MaxPartitions)
	w.number("Replicas", int64(t.Replicas), 1, 99)
	if err := w.err(); err != nil {
		return err
	}
	if err := createTopic(ctx, &c.Cluster, c.Topic, t.Partitions, t.Replicas, t.settings()); err != nil {
		return err
	}
	_, err = checkTopic(ctx, &c)
	return err
}

// createTopic makes a topic, unless it is there.
func createTopic(ctx context.Context, c *Cluster, topic string, partitions, replicas int, settings map[string]*string) error {
	client, err := kgo.NewClient(c.options()...)
	if err != nil {
		return fmt.Errorf("kafka: create topic %s: client: %w", topic, err)
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, int32(partitions), int16(replicas), settings, topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("kafka: create topic %s: %w", topic, err)
	}
	return nil
}

// CheckTopic returns the number of partitions of the topic, or an error that wraps
// [ErrUnfit] if it is not there, or would lose what it is given: its log must be
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
	info, err := lookUp(ctx, client, c.Topic, "compact")
	if err == nil && info.partitions > MaxPartitions {
		err = fmt.Errorf("%w: %s has %d partitions: want at most %d", ErrUnfit, c.Topic, info.partitions, MaxPartitions)
	}
	return info.partitions, err
}

// ErrUnfit says that a topic can't be used for what it is named for. The text
// says why.
var ErrUnfit = errors.New("kafka: the topic is unfit")

// topicInfo is what a topic is like.
type topicInfo struct {
	partitions   int
	messageBytes int // of a batch
}

// lookUp returns what a topic is like, or an error that wraps ErrUnfit if it is not
// there, is cleaned in another way than is wanted, or would lose what it is given.
func lookUp(ctx context.Context, client *kgo.Client, topic, policy string) (info topicInfo, err error) {
	admin := kadm.NewClient(client)
	// One that was just made is not known to every broker at once.
	for wait := 50 * time.Millisecond; ; wait *= 2 {
		info.partitions, err = countPartitions(ctx, admin, topic)
		if !errors.Is(err, kerr.UnknownTopicOrPartition) || wait > 800*time.Millisecond {
			break
		}
		if !pause(ctx, wait) {
			return info, fmt.Errorf("kafka: check topic %s: %w", topic, context.Cause(ctx))
		}
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return info, fmt.Errorf("%w: %s is not there: it has to be created before", ErrUnfit, topic)
	}
	if err != nil {
		return info, fmt.Errorf("kafka: check topic %s: %w", topic, err)
	}
	described, err := admin.DescribeTopicConfigs(ctx, topic)
	if err == nil && len(described) != 1 {
		err = errors.New("the answer does not name it")
	}
	if err == nil {
		err = described[0].Err
	}
	if err != nil {
		return info, fmt.Errorf("kafka: check the settings of topic %s: %w", topic, err)
	}
	for _, s := range described[0].Configs {
		value := s.MaybeValue()
		switch s.Key {
		case "cleanup.policy":
			if strings.TrimSpace(value) != policy {
				return info, fmt.Errorf("%w: %s has cleanup.policy %q: want %s, or records go while they are needed", ErrUnfit, topic, value, policy)
			}
		case "unclean.leader.election.enable":
			if value == "true" {
				return info, fmt.Errorf("%w: %s has unclean.leader.election.enable true: want false, or what was acknowledged is lost", ErrUnfit, topic)
			}
		case "max.message.bytes":
			if info.messageBytes, err = strconv.Atoi(value); err != nil {
				return info, fmt.Errorf("kafka: check topic %s: max.message.bytes: %w", topic, err)
			}
		}
	}
	return info, nil
}

func countPartitions(ctx context.Context, admin *kadm.Client, topic string) (int, error) {
	details, err := admin.ListTopics(ctx, topic)
	if err != nil {
		return 0, err
	}
	d := details[topic]
	return len(d.Partitions), d.Err
}

// pause waits for d, and reports whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
