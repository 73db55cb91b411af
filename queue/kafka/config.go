package kafka

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"

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
	// Brokers are some brokers of the cluster, as host:port; the rest is found
	// through them. At least one.
	Brokers []string

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
	// takes TransactionTimeout, and up to ten seconds more. Empty: a random one.
	Instance string

	// TLS, if given, is how connections are encrypted and brokers verified; it
	// must not be changed afterwards. Nil: everything is sent in the clear.
	TLS *tls.Config

	// SASL, if given, is how to log in: see the packages below
	// github.com/twmb/franz-go/pkg/sasl.
	SASL sasl.Mechanism

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

	// Logger gets what happens to partitions, and what the client has to say, one
	// level lower than the client says it. Nil: nobody.
	Logger *slog.Logger

	// Client are further options of each client that is made, for what has no
	// field here. They must leave group, transactions, isolation, partitioner and
	// acknowledgements alone.
	Client []kgo.Opt
}

// FieldError says which field of a [Config] or a [Topic] is out of its bounds.
type FieldError struct {
	Field string // such as "Config.Brokers[0]"
	Value string
	Want  string
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
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	var wrong []error
	complain := func(field, value, want string) {
		wrong = append(wrong, &FieldError{Field: "Config." + field, Value: value, Want: want})
	}
	if len(c.Brokers) == 0 {
		complain("Brokers", "none", "at least one host:port")
	}
	for i, b := range c.Brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			complain(fmt.Sprintf("Brokers[%d]", i), fmt.Sprintf("%q", b), "host:port")
		}
	}
	if !names.MatchString(c.Topic) || c.Topic == "." || c.Topic == ".." {
		complain("Topic", fmt.Sprintf("%q", c.Topic), "1 to 249 letters, digits, dots, underscores and hyphens")
	}
	for _, n := range []struct{ field, name string }{{"Group", c.Group}, {"Instance", c.Instance}} {
		if err := db.CheckKeys(n.name); err != nil || len(n.name) > maxName {
			complain(n.field, fmt.Sprintf("%q", n.name), "valid UTF-8 of 1 to 249 bytes")
		}
	}
	const most = 15 * time.Minute // transaction.max.timeout.ms, unless it was changed
	for _, t := range []struct {
		field string
		value time.Duration
	}{{"SessionTimeout", c.SessionTimeout}, {"StopTimeout", c.StopTimeout}, {"TransactionTimeout", c.TransactionTimeout}} {
		if t.value < time.Second || t.value > most {
			complain(t.field, t.value.String(), "1s to 15m, or 0 for the default")
		}
	}
	if _, err := queue.NewMemory(c.Memory); err != nil {
		wrong = append(wrong, fmt.Errorf("kafka: Config.Memory: %w", err))
	}
	return c, errors.Join(wrong...)
}

// transactionalID is what the brokers know the writer of this process by.
func (c *Config) transactionalID() string { return c.Group + "/" + c.Instance }

// options are those that all clients have.
func (c *Config) options(more ...kgo.Opt) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID("cannedos"),
		kgo.WithLogger(clientLog{c.Logger}),
		// A broker that comes back should be noticed soon.
		kgo.MetadataMinAge(250 * time.Millisecond),
	}
	if c.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(c.TLS))
	}
	if c.SASL != nil {
		opts = append(opts, kgo.SASL(c.SASL))
	}
	opts = append(opts, more...)
	return append(opts, c.Client...)
}
