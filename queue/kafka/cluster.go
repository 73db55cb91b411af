package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/cannedos/cannedos/db"
)

// Cluster says how to reach a cluster. It is a part of each configuration of
// this package: [Config], [SinkConfig], [RelayConfig], [OrdersConfig] and
// [ErrorDrainConfig].
type Cluster struct {
	// Brokers are some brokers of the cluster, as host:port; the rest is found
	// through them. At least one.
	Brokers []string

	// TLS, if given, is how connections are encrypted and brokers verified; it
	// must not be changed afterwards. Nil: everything is sent in the clear.
	TLS *tls.Config

	// SASL, if given, is how to log in: see the packages below
	// github.com/twmb/franz-go/pkg/sasl.
	SASL sasl.Mechanism

	// Logger gets what goes wrong and is tried again, and what the client has to
	// say, one level lower than the client says it. Nil: nobody.
	Logger *slog.Logger

	// Client are further options of each client that is made, for what has no
	// field here. They must leave groups and their instance ids, transactions,
	// isolation, partitioner, acknowledgements and the size of batches alone.
	Client []kgo.Opt
}

// options are those that all clients have.
func (c *Cluster) options(more ...kgo.Opt) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID("cannedos"),
		kgo.WithLogger(clientLog{c.Logger}),
		// Nobody asked for them, and a client that pushes some is slow to close.
		kgo.DisableClientMetrics(),
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

// complaints collects what is wrong with the configuration named in.
type complaints struct {
	in  string
	all []error
}

func (c *complaints) add(field, value, want string) {
	c.all = append(c.all, &FieldError{Field: c.in + "." + field, Value: value, Want: want})
}

func (c *complaints) err() error { return errors.Join(c.all...) }

// cluster checks a Cluster, and gives it its defaults.
func (c *complaints) cluster(cluster *Cluster) {
	if cluster.Logger == nil {
		cluster.Logger = slog.New(slog.DiscardHandler)
	}
	if len(cluster.Brokers) == 0 {
		c.add("Brokers", "none", "at least one host:port")
	}
	for i, b := range cluster.Brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			if at := strings.LastIndex(b, "@"); at >= 0 { // what is before may be a password
				b = "[redacted]" + b[at:]
			}
			c.add(fmt.Sprintf("Brokers[%d]", i), fmt.Sprintf("%q", b), "host:port")
		}
	}
}

func (c *complaints) topic(name string) {
	if !names.MatchString(name) || name == "." || name == ".." {
		c.add("Topic", fmt.Sprintf("%q", name), "1 to 249 letters, digits, dots, underscores and hyphens")
	}
}

func (c *complaints) name(field, name string) {
	if err := db.CheckKeys(name); err != nil || len(name) > maxName {
		c.add(field, fmt.Sprintf("%q", name), "valid UTF-8 of 1 to 249 bytes")
	}
}

func (c *complaints) wait(field string, d, least, most time.Duration) {
	if d < least || d > most {
		c.add(field, d.String(), fmt.Sprintf("%v to %v, or 0 for the default", least, most))
	}
}

func (c *complaints) number(field string, n, least, most int64) {
	if n < least || n > most {
		c.add(field, fmt.Sprint(n), fmt.Sprintf("%d to %d, or 0 for the default", least, most))
	}
}
