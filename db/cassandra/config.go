package cassandra

import (
	"context"
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

	// Datacenter, if given, is where this process lives: its nodes are asked
	// first, and replicas elsewhere are not waited for (LOCAL_QUORUM,
	// LOCAL_SERIAL). Then all processes that share the store must name the
	// same one: two datacenters don't see each other's transactions in time.
	// Empty: a majority of all replicas decides (QUORUM, SERIAL).
	Datacenter string

	// Username and Password log in, if Username is given.
	Username string
	Password Secret

	// TLS, if given, is how connections are encrypted and the nodes verified.
	TLS *tls.Config

	// Timeout bounds one request to a node; zero means [DefaultTimeout]. It
	// should exceed the timeouts that the nodes are configured with.
	Timeout time.Duration

	// MaxInFlight bounds the requests of this store that are under way at a
	// time; the rest waits its turn. Zero means [DefaultMaxInFlight].
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
	for field, name := range map[string]string{"Keyspace": c.Keyspace, "Table": c.Table} {
		most := maxKeyspace
		if field == "Table" {
			most = maxTable
		}
		if !names.MatchString(name) || len(name) > most {
			complain("Config.%s %q: want 1 to %d lower-case letters, digits and underscores, beginning with a letter", field, name, most)
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
		if _, _, again := net.SplitHostPort(s + ":1"); again != nil {
			return "", 0, errors.New(want)
		}
		return s, DefaultPort, nil
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, fmt.Errorf("%s, with a port from 1 to 65535", want)
	}
	return host, int(n), nil
}

// connect opens the driver's session in a keyspace, which may be empty.
func (c *Config) connect(ctx context.Context, keyspace string) (*gocql.Session, error) {
	cluster := gocql.NewCluster()
	for i, h := range c.Hosts {
		host, port, err := hostPort(h)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			cluster.Port = port
		}
		cluster.Hosts = append(cluster.Hosts, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	cluster.Keyspace = keyspace
	cluster.Timeout, cluster.WriteTimeout, cluster.ConnectTimeout = c.Timeout, c.Timeout, c.Timeout
	cluster.Consistency, cluster.SerialConsistency = gocql.Quorum, gocql.Serial
	policy := gocql.RoundRobinHostPolicy()
	if c.Datacenter != "" {
		cluster.Consistency, cluster.SerialConsistency = gocql.LocalQuorum, gocql.LocalSerial
		policy = gocql.DCAwareRoundRobinPolicy(c.Datacenter)
	}
	// A transaction that is sent twice may lose to itself, and one whose
	// timestamp is ours instead of its ballot may be hidden by another: what to
	// do about an unknown outcome is decided in write.go, not by the driver.
	cluster.RetryPolicy, cluster.DefaultIdempotence, cluster.DefaultTimestamp = &gocql.SimpleRetryPolicy{NumRetries: 0}, false, false
	cluster.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(policy)
	if c.Username != "" {
		cluster.Authenticator = gocql.PasswordAuthenticator{Username: c.Username, Password: string(c.Password)}
	}
	if c.TLS != nil {
		cluster.SslOpts = &gocql.SslOptions{Config: c.TLS}
	}
	cluster.Logger = driverLog{c.Logger}
	if c.Driver != nil {
		c.Driver(cluster)
	}
	return createSession(ctx, cluster)
}

// createSession is the driver's, which knows no context. A session that comes
// too late is closed.
func createSession(ctx context.Context, cluster *gocql.ClusterConfig) (*gocql.Session, error) {
	type outcome struct {
		session *gocql.Session
		err     error
	}
	done := make(chan outcome, 1)
	go func() {
		s, err := cluster.CreateSession()
		done <- outcome{s, err}
	}()
	select {
	case o := <-done:
		return o.session, o.err
	case <-ctx.Done():
		go func() {
			if o := <-done; o.session != nil {
				o.session.Close()
			}
		}()
		return nil, ended(ctx)
	}
}

// ended is the error for a context that has ended: it wraps ctx.Err(), and the
// cause if there is one of its own.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(cause, err) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// driverLog is where the driver logs.
type driverLog struct{ to *slog.Logger }

func (l driverLog) log(level slog.Level, msg string, fields []gocql.LogField) {
	if l.to == nil || !l.to.Enabled(context.Background(), level) {
		return
	}
	attrs := make([]slog.Attr, len(fields))
	for i, f := range fields {
		attrs[i] = slog.String(f.Name, f.Value.String())
	}
	l.to.LogAttrs(context.Background(), level, msg, attrs...)
}

func (l driverLog) Error(msg string, f ...gocql.LogField)   { l.log(slog.LevelError, msg, f) }
func (l driverLog) Warning(msg string, f ...gocql.LogField) { l.log(slog.LevelWarn, msg, f) }
func (l driverLog) Info(msg string, f ...gocql.LogField)    { l.log(slog.LevelInfo, msg, f) }
func (l driverLog) Debug(msg string, f ...gocql.LogField)   { l.log(slog.LevelDebug, msg, f) }
