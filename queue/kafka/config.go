package kafka

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/queue"
)

// Defaults of a [Config].
const (
	DefaultTopic              = "cannedos"
	DefaultSessionTimeout     = 10 * time.Second
	DefaultStopTimeout        = 30 * time.Second
	DefaultTransactionTimeout = 10 * time.Second
)

// Config says how to reach a cluster, and which topic is the journal.
type Config struct {
	// Cluster says how to reach the brokers.
	Cluster

	// Topic is the journal, made by [CreateTopic]. It must be used for nothing
	// else. Empty: [DefaultTopic].
	Topic string

	// Group is the consumer group that shares the partitions among its members.
	// Processes that work together name the same one. Empty: the Topic.
	Group string

	// Instance is a name of this process that is the same after a restart, and
	// that no other process has at the same time, such as the name of its machine.
	// Group, a slash and Instance are the transactional id. A process that comes
	// back under its name ends what it has left half written at once; else that
	// takes TransactionTimeout, and up to ten seconds more. Without a slash. Two that
	// have the same one end each other's writes, until Serve of one or of both ends
	// with [ErrInstance]. Empty: a random one.
	Instance string

	// SessionTimeout is how long a member may be silent before its partitions are
	// given to others: what a crash costs. Zero: [DefaultSessionTimeout]. The
	// brokers bound it: group.min.session.timeout.ms is 6 s unless it was changed.
	SessionTimeout time.Duration

	// StopTimeout is how long a partition that has to be handed over may take to
	// finish what is in flight. It should exceed that of what runs over it, such
	// as firehose.Config.StopTimeout. Zero: [DefaultStopTimeout].
	StopTimeout time.Duration

	// TransactionTimeout is when the brokers give up a transaction that is not
	// ended, as that of a process that was killed within one. Until then the next
	// owner of its partitions waits. Zero: [DefaultTransactionTimeout].
	TransactionTimeout time.Duration

	// Memory bounds what the queue of each partition holds.
	Memory queue.MemoryConfig
}

// FieldError says which field of a configuration is out of its bounds.
type FieldError struct {
	Field string // such as "Config.Brokers[0]"
	Value string // that it has, as Go would write it
	Want  string // what it may be
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("kafka: %s: %s: want %s", e.Field, e.Value, e.Want)
}

// Names of topics as Kafka takes them.
var names = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

const maxName = 249

// withDefaults returns c with zero values replaced, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	c.Topic = cmp.Or(c.Topic, DefaultTopic)
	c.Group = cmp.Or(c.Group, c.Topic)
	c.Instance = cmp.Or(c.Instance, db.NewOwner().String())
	c.SessionTimeout = cmp.Or(c.SessionTimeout, DefaultSessionTimeout)
	c.StopTimeout = cmp.Or(c.StopTimeout, DefaultStopTimeout)
	c.TransactionTimeout = cmp.Or(c.TransactionTimeout, DefaultTransactionTimeout)
	w := complaints{in: "Config"}
	w.cluster(&c.Cluster)
	w.topic(c.Topic)
	w.name("Group", c.Group)
	w.name("Instance", c.Instance)
	if strings.Contains(c.Instance, "/") {
		w.add("Instance", fmt.Sprintf("%q", c.Instance), "no slash")
	}
	const most = 15 * time.Minute // transaction.max.timeout.ms, unless it was changed
	w.wait("SessionTimeout", c.SessionTimeout, time.Second, most)
	w.wait("StopTimeout", c.StopTimeout, time.Second, most)
	w.wait("TransactionTimeout", c.TransactionTimeout, time.Second, most)
	if _, err := queue.NewMemory(c.Memory); err != nil {
		w.all = append(w.all, fmt.Errorf("kafka: Config.Memory: %w", err))
	}
	return c, w.err()
}

// transactionalID is what the brokers know the writer of this process by.
func (c *Config) transactionalID() string { return c.Group + "/" + c.Instance }
