package kafka

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/cannedos/cannedos/queue"
)

func nothing(context.Context, *Partition) error { return nil }

// TestConfigSaysWhatIsWrong: the field, its value and what it may be.
func TestConfigSaysWhatIsWrong(t *testing.T) {
	good := Cluster{Brokers: []string{"localhost:9092"}}
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{}, "Config.Brokers: none: want at least one host:port"},
		{Config{Cluster: Cluster{Brokers: []string{"a"}}}, `Config.Brokers[0]: "a": want host:port`},
		{Config{Cluster: good, Topic: "a b"}, `Config.Topic: "a b": want 1 to 249 letters`},
		{Config{Cluster: good, Topic: ".."}, `Config.Topic: "..": want`},
		{Config{Cluster: good, Group: strings.Repeat("g", 250)}, "Config.Group: "},
		{Config{Cluster: good, Instance: "\xff"}, `Config.Instance: "\xff": want valid UTF-8`},
		{Config{Cluster: good, Instance: "a/b"}, `Config.Instance: "a/b": want no slash`},
		{Config{Cluster: Cluster{Brokers: []string{"u:secret@a:9092"}}}, `Config.Brokers[0]: "[redacted]@a:9092": want`},
		{Config{Cluster: good, SessionTimeout: time.Millisecond}, "Config.SessionTimeout: 1ms: want 1s to 15m0s, or 0 for the default"},
		{Config{Cluster: good, StopTimeout: -time.Second}, "Config.StopTimeout: -1s: want"},
		{Config{Cluster: good, TransactionTimeout: time.Hour}, "Config.TransactionTimeout: 1h0m0s: want"},
		{Config{Cluster: good, Memory: queue.MemoryConfig{Capacity: -1}}, "Config.Memory: "},
	} {
		_, err := NewMember(c.config, nothing)
		require.ErrorContains(t, err, c.want)
	}
	_, err := NewMember(Config{Topic: "a b"}, nothing)
	require.ErrorContains(t, err, "Brokers")
	require.ErrorContains(t, err, "Topic", "all of them")
	field, ok := errors.AsType[*FieldError](err)
	require.True(t, ok)
	require.Equal(t, "Config.Brokers", field.Field)
	_, err = NewMember(Config{Cluster: good}, nil)
	require.ErrorContains(t, err, "serve: nil")
	require.ErrorContains(t, CreateTopic(t.Context(), Config{Cluster: good}, Topic{Partitions: 5000}), "Topic.Partitions: 5000: want 1 to 4096")
	require.ErrorContains(t, CreateTopic(t.Context(), Config{Cluster: good}, Topic{Replicas: -1}), "Topic.Replicas: -1: want")
}

// TestUnfitTopics: one that is not there, or would lose what it is given.
func TestUnfitTopics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1)
		c := r.config
		c.Client = []kgo.Opt{kgo.Dialer(r.dial)}
		n, err := CheckTopic(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.NoError(t, CreateTopic(t.Context(), c, Topic{Partitions: 7, Replicas: 1}), "it is there already")

		c.Topic = "missing"
		_, err = CheckTopic(t.Context(), c)
		require.ErrorIs(t, err, ErrUnfit)
		require.ErrorContains(t, err, "missing is not there")
		for setting, value := range map[string]string{"cleanup.policy": "compact,delete", "unclean.leader.election.enable": "true"} {
			c.Topic = "with-" + setting
			err = CreateTopic(t.Context(), c, Topic{Partitions: 1, Replicas: 1, Settings: map[string]string{setting: value}})
			require.ErrorIs(t, err, ErrUnfit)
			require.ErrorContains(t, err, setting)
			require.ErrorContains(t, err, value)
		}
		p := r.start(func(config *Config) { config.Topic = "missing" })
		<-p.ended
		require.ErrorIs(t, p.err, ErrUnfit)
	})
}

// TestPasswordIsKept: neither an error nor the log has it, be it right or wrong.
func TestPasswordIsKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const password, wrong = "a-password-that-nobody-may-see", "another-one-that-is-wrong"
		var log strings.Builder
		r := newRigAs(t, 1, func(c *Config) {
			c.SASL = plain.Auth{User: "user", Pass: password}.AsMechanism()
			c.Logger = textLog(&log)
		}, kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", password))
		p := r.start(nil)
		s := open(t, p.part(t, 0))
		admit(t, s, 1)
		p.stop()
		<-p.ended
		require.NoError(t, p.err)

		p = r.start(func(c *Config) { c.SASL = plain.Auth{User: "user", Pass: wrong}.AsMechanism() })
		<-p.ended
		require.Error(t, p.err)
		require.NotContains(t, p.err.Error(), wrong)
		require.Contains(t, log.String(), "partition assigned")
		require.NotContains(t, log.String(), password)
		require.NotContains(t, log.String(), wrong)
	})
}
