package cassandra

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

func TestConfigDefaults(t *testing.T) {
	c, err := Config{Hosts: []string{"h"}, Keyspace: "k"}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, DefaultTable, c.Table)
	require.Equal(t, DefaultTimeout, c.Timeout)
	require.Equal(t, DefaultMaxInFlight, c.MaxInFlight)
	require.Equal(t, gocql.Serial, c.serial())
	c.Datacenter = "here"
	require.Equal(t, gocql.LocalSerial, c.serial())
}

// TestConfigInvalid requires each complaint to name the field, the value and
// what is allowed.
func TestConfigInvalid(t *testing.T) {
	for name, c := range map[string]struct {
		change func(c *Config)
		want   []string
	}{
		"no hosts":            {func(c *Config) { c.Hosts = nil }, []string{"Config.Hosts", "empty", "host:port"}},
		"an empty host":       {func(c *Config) { c.Hosts = []string{"a", ""} }, []string{"Config.Hosts[1]", `""`, "host:port"}},
		"port 0":              {func(c *Config) { c.Hosts = []string{"a:0"} }, []string{"Config.Hosts[0]", `"a:0"`, "1 to 65535"}},
		"port 65536":          {func(c *Config) { c.Hosts = []string{"a:65536"} }, []string{"Config.Hosts[0]", "1 to 65535"}},
		"no keyspace":         {func(c *Config) { c.Keyspace = "" }, []string{"Config.Keyspace", `""`, "1 to 48"}},
		"capital letters":     {func(c *Config) { c.Keyspace = "Polls" }, []string{"Config.Keyspace", `"Polls"`, "lower-case"}},
		"CQL in a name":       {func(c *Config) { c.Table = `t; DROP TABLE t` }, []string{"Config.Table", "lower-case"}},
		"a line after a name": {func(c *Config) { c.Table = "t\n" }, []string{"Config.Table"}},
		"a digit first":       {func(c *Config) { c.Table = "1t" }, []string{"Config.Table", "beginning with a letter"}},
		"a long keyspace":     {func(c *Config) { c.Keyspace = strings.Repeat("k", 49) }, []string{"Config.Keyspace", "48"}},
		"a long table":        {func(c *Config) { c.Table = strings.Repeat("t", 39) }, []string{"Config.Table", "38"}},
		"a password alone":    {func(c *Config) { c.Password = "hunter2" }, []string{"Config.Username", "Password"}},
		"a short timeout":     {func(c *Config) { c.Timeout = time.Microsecond }, []string{"Config.Timeout", "1µs", "10s", "1ms"}},
		"a negative timeout":  {func(c *Config) { c.Timeout = -1 }, []string{"Config.Timeout", "-1ns"}},
		"nothing in flight":   {func(c *Config) { c.MaxInFlight = -1 }, []string{"Config.MaxInFlight", "-1", "64"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := Config{Hosts: []string{"h"}, Keyspace: "k"}
			c.change(&config)
			_, err := Open(t.Context(), config)
			require.ErrorIs(t, err, db.ErrInvalid)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
			require.NotContains(t, err.Error(), "hunter2")
			require.ErrorIs(t, CreateSchema(t.Context(), config, Schema{}), db.ErrInvalid)
		})
	}
	_, err := Open(t.Context(), Config{Timeout: -1})
	for _, field := range []string{"Hosts", "Keyspace", "Timeout"} {
		require.ErrorContains(t, err, field, "all that is wrong is said at once")
	}
}

func TestHostPort(t *testing.T) {
	for in, want := range map[string]string{
		"node":           "node 9042",
		"node:1":         "node 1",
		"10.0.0.1":       "10.0.0.1 9042",
		"10.0.0.1:65535": "10.0.0.1 65535",
		"::1":            "::1 9042",
		"[::1]:7":        "::1 7",
		"":               "",
		":9042":          "",
		"node:":          "",
		"node:http":      "",
		"node:+1":        "",
		"a:b:c":          "",
		"[::1]":          "::1 9042",
	} {
		host, port, err := hostPort(in)
		if want == "" {
			require.ErrorContains(t, err, "host:port", "%q", in)
			continue
		}
		require.NoError(t, err, "%q", in)
		require.Equal(t, want, fmt.Sprint(host, " ", port), "%q", in)
	}
}

// TestSecret prints a Config in every way that there is.
func TestSecret(t *testing.T) {
	const password = "hunter2"
	c := Config{Username: "me", Password: password}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", &c)
		fmt.Fprintf(&out, verb+"\n", c.Password)
		fmt.Fprintf(&out, verb+"\n", []Secret{c.Password})
	}
	fmt.Fprintln(&out, c, c.Password, c.Password.String())
	b, err := json.Marshal(struct{ P Secret }{c.Password})
	require.NoError(t, err)
	out.Write(b)
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("c", "password", c.Password, "group", slog.GroupValue(slog.Any("p", c.Password)))
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("c", "config", c)
	require.NotContains(t, out.String(), password)
	require.NotContains(t, out.String(), fmt.Sprintf("%x", password))
	require.Contains(t, out.String(), redacted)
}

func TestReplication(t *testing.T) {
	for _, c := range []struct {
		schema     Schema
		want, fail string
	}{
		{Schema{}, "{'class': 'NetworkTopologyStrategy', 'replication_factor': 3}", ""},
		{Schema{Replicas: 1}, "{'class': 'NetworkTopologyStrategy', 'replication_factor': 1}", ""},
		{Schema{Replicas: 9, Datacenters: map[string]int{"b": 3, "a": 2}}, "{'class': 'NetworkTopologyStrategy', 'a': 2, 'b': 3}", ""},
		{Schema{Datacenters: map[string]int{"it's": 3}}, "{'class': 'NetworkTopologyStrategy', 'it''s': 3}", ""},
		{Schema{Replicas: -1}, "", "Schema.Replicas -1: want 0 (3) or at least 1"},
		{Schema{Datacenters: map[string]int{"a": 0}}, "", `Schema.Datacenters["a"] 0: want at least 1`},
	} {
		got, err := c.schema.replication()
		if c.fail != "" {
			require.ErrorIs(t, err, db.ErrInvalid)
			require.ErrorContains(t, err, c.fail)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
}

func TestSchemaInvalid(t *testing.T) {
	c := Config{Hosts: []string{"h"}, Keyspace: "k"}
	for _, n := range []int{-1, 1<<16 + 1} {
		err := CreateSchema(t.Context(), c, Schema{Partitions: n})
		require.ErrorIs(t, err, db.ErrInvalid)
		require.ErrorContains(t, err, fmt.Sprintf("Schema.Partitions %d: want 0 (64) or 1 to 65536", n))
	}
	require.ErrorIs(t, CreateSchema(t.Context(), c, Schema{Replicas: -1}), db.ErrInvalid)
}

func TestDriverLog(t *testing.T) {
	var out bytes.Buffer
	l := driverLog{slog.New(slog.NewTextHandler(&out, nil))}
	l.Error("broke", gocql.NewLogFieldString("why", "because"))
	l.Warning("odd")
	l.Info("news", gocql.NewLogFieldInt("n", 7))
	l.Debug("chatter")
	for _, want := range []string{"level=ERROR msg=broke why=because", "level=WARN msg=odd", "level=INFO msg=news n=7"} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), "chatter")
	driverLog{}.Error("to nobody")
}
