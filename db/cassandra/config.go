package cassandra

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"

	"github.com/cannedos/cannedos/db"
)

// Defaults of a Config and of a Schema.
const (
	DefaultTable       = "records"
	DefaultPort        = 9042
	DefaultTimeout     = 10 * time.Second
	DefaultMaxInFlight = 64
	DefaultReplicas    = 3
	DefaultPartitions  = 64
)

// Config says how to reach a cluster and which table is the store.
type Config struct {
	// Hosts are some nodes of the cluster, as "host" or "host:port"; the rest
	// is found through them. At least one. Without a port: [DefaultPort]. A port
	// of the first one counts for those that are found.
	Hosts []string

	// Keyspace and Table name the store: lower-case letters, digits and
	// underscores, beginning with a letter, at most 48 and 38 bytes. An empty
	// Table is [DefaultTable]. Processes that share a store name the same.
	Keyspace, Table string

	// Datacenter, if given, is the one whose replicas decide (LOCAL_QUORUM,
	// LOCAL_SERIAL); no other's nodes are asked, so Hosts must name some of its
	// nodes. All processes that share the store must name the same one: two
	// datacenters don't see each other's transactions. Empty: a majority of all
	// replicas decides (QUORUM, SERIAL).
	Datacenter string

	// Username and Password log in, if Username is given.
	Username string
	Password Secret

	// TLS, if given, is how connections are encrypted and the nodes verified; it
	// must not be changed afterwards. Nil: everything is sent in the clear.
	TLS *tls.Config

	// Timeout bounds one request to a node; zero means [DefaultTimeout]. It
	// should exceed the timeouts that the nodes are configured with. A Write
	// whose outcome is not told may take as long again, to find out.
	Timeout time.Duration

	// MaxInFlight bounds the requests of this store that are under way at a
	// time; the rest waits its turn. Zero means [DefaultMaxInFlight]. One that
	// was given up because its context ended, or its Timeout passed, no longer
	// counts, although the node may still work on it.
	MaxInFlight int

	// Logger gets what the driver has to say of connections and nodes; nil:
	// nobody.
	Logger *slog.Logger

	// Driver, if given, may change what the driver is configured with, before
	// it connects. It must leave consistency, retries and timestamps alone.
	Driver func(*gocql.ClusterConfig)
}

// Secret is a password. It prints as "[redacted]", whatever the verb.
type Secret string

const redacted = "[redacted]"

// Format prints [redacted].
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// String returns "[redacted]".
func (s Secret) String() string { return redacted }

// LogValue returns "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Names as Cassandra takes them without quotes.
var names = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

const (
	maxKeyspace = 48
	maxTable    = 38 // with settingsSuffix: 48
)

// withDefaults returns c with zero values replaced, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	if c.Table == "" {
		c.Table = DefaultTable
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = DefaultMaxInFlight
	}
	var wrong []error
	complain := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("%w: "+format, append([]any{db.ErrInvalid}, args...)...))
	}
	if len(c.Hosts) == 0 {
		complain("Config.Hosts is empty: want at least one host or host:port")
	}
	for i, h := range c.Hosts {
		if _, _, err := hostPort(h); err != nil {
			complain("Config.Hosts[%d] %q: %v", i, h, err)
		}
	}
	for _, n := range []struct {
		field, name string
		most        int
	}{{"Keyspace", c.Keyspace, maxKeyspace}, {"Table", c.Table, maxTable}} {
		if !names.MatchString(n.name) || len(n.name) > n.most {
			complain("Config.%s %q: want 1 to %d lower-case letters, digits and underscores, beginning with a letter", n.field, n.name, n.most)
		}
	}
	if c.Password != "" && c.Username == "" {
		complain("Config.Username is empty: want one, since there is a Password")
	}
	if c.Timeout < time.Millisecond {
		complain("Config.Timeout %v: want 0 (%v) or at least 1ms", c.Timeout, DefaultTimeout)
	}
	if c.MaxInFlight < 1 {
		complain("Config.MaxInFlight %d: want 0 (%d) or at least 1", c.MaxInFlight, DefaultMaxInFlight)
	}
	return c, errors.Join(wrong...)
}

// hostPort takes "host", "host:port", "[address]:port" and a bare IPv6 address.
func hostPort(s string) (host string, port int, err error) {
	const want = `want "host" or "host:port"`
	if s == "" {
		return "", 0, errors.New(want)
	}
	if ip := net.ParseIP(s); ip != nil {
		return s, DefaultPort, nil
	}
	host, digits, err := net.SplitHostPort(s)
	if err != nil {
		if host, _, err = net.SplitHostPort(s + ":1"); err != nil {
			return "", 0, errors.New(want)
		}
		return host, DefaultPort, nil
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, fmt.Errorf("%s, with a port from 1 to 65535", want)
	}
	return host, int(n), nil
}
