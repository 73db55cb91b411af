package servers

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConfigIsChecked(t *testing.T) {
	_, err := NewKafka(t.Context(), Config{})
	require.ErrorContains(t, err, "Config.Dir is empty")
	_, err = NewCassandra(t.Context(), Config{})
	require.ErrorContains(t, err, "Config.Dir is empty")
}

// A process that ends before it answers is told at once, with what it printed.
func TestStartOfWhatEndsByItself(t *testing.T) {
	s := &Server{Name: "Nothing", Addr: "127.0.0.1:1", dir: t.TempDir(), args: []string{"-no-such-option"}, ready: func(net.Conn) error { return nil }}
	if Missing() != "" {
		t.Skip("java is missing (Debian: apt-get install openjdk-17-jre-headless)")
	}
	err := s.Start(t.Context())
	require.ErrorContains(t, err, "ended by itself")
	require.ErrorContains(t, err, "no-such-option")
	require.Error(t, s.Freeze(), "it does not run")
}

func TestPortsDiffer(t *testing.T) {
	p, err := ports(3)
	require.NoError(t, err)
	require.Len(t, p, 3)
	require.NotEqual(t, p[0], p[1])
	require.NotEqual(t, p[1], p[2])
}

// Answers of the wrong kind are not taken for readiness.
func TestReadiness(t *testing.T) {
	for name, c := range map[string]struct {
		ready  func(net.Conn) error
		answer []byte
		want   string // empty: ready
	}{
		"broker":      {kafkaReady, []byte{0, 0, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1}, ""},
		"no broker":   {kafkaReady, []byte{0, 0, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0}, "0 brokers"},
		"cut":         {kafkaReady, []byte{0, 0}, "EOF"},
		"node":        {cassandraReady, []byte{0x84, 0, 0, 0, 6, 0, 0, 0, 0}, ""},
		"error frame": {cassandraReady, []byte{0x84, 0, 0, 0, 0, 0, 0, 0, 0}, "operation 0"},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				_ = theirs.SetDeadline(time.Now().Add(time.Minute))
				if _, err := theirs.Read(make([]byte, 64)); err != nil {
					return
				}
				_, _ = theirs.Write(c.answer)
			}()
			err := c.ready(ours)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
}
