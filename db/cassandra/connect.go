package cassandra

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
)

// connect opens the driver's session, in no keyspace: there may be none yet.
func (c *Config) connect(ctx context.Context) (*gocql.Session, error) {
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
	cluster.Timeout, cluster.WriteTimeout, cluster.ConnectTimeout = c.Timeout, c.Timeout, c.Timeout
	cluster.Consistency, cluster.SerialConsistency = gocql.Quorum, gocql.Serial
	if c.Datacenter != "" {
		cluster.Consistency, cluster.SerialConsistency = gocql.LocalQuorum, gocql.LocalSerial
		// The node that is asked says what is local. A preference would fall
		// back to others when none answers here, and a transaction would then
		// be decided elsewhere, in ignorance of those here.
		cluster.HostFilter = gocql.DataCenterHostFilter(c.Datacenter)
	}
	// A transaction that is sent twice may lose to itself: what to do about an
	// unknown outcome is decided in write.go, not by the driver. Its timestamp
	// is its ballot; one of ours could be hidden by another.
	cluster.RetryPolicy, cluster.DefaultIdempotence, cluster.DefaultTimestamp = nil, false, false
	cluster.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.RoundRobinHostPolicy())
	cluster.ReconnectInterval = reconnectInterval
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
	session, err := createSession(ctx, cluster)
	if err != nil && c.Datacenter != "" {
		return nil, fmt.Errorf("nodes of datacenter %q: %w", c.Datacenter, err)
	}
	return session, err
}

// reconnectInterval is how often nodes that are down are looked for. The
// driver's own minute is long where there is only one.
const reconnectInterval = 5 * time.Second

// createSession is the driver's, which knows no context. A session that comes
// too late is closed, by a goroutine that ends when the driver has given up.
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

// serial is the consistency of reads that see every transaction that has been
// acknowledged, and finish those that were left half done.
func (c *Config) serial() gocql.Consistency {
	if c.Datacenter != "" {
		return gocql.LocalSerial
	}
	return gocql.Serial
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
