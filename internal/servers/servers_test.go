package servers

import (
	"io"
	"net"
	"os"
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

// TestProxy does to connections what the proxy is for.
func TestProxy(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer server.Close()
	go func() { // ends with the listener
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c) }()
		}
	}()
	p, err := StartProxy(server.Addr().String())
	require.NoError(t, err)
	defer p.Close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.Addr())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	echo := func(c net.Conn, patience time.Duration) error {
		_, _ = c.Write([]byte("x")) // that it is gone is seen below
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, err := c.Read(make([]byte, 1))
		return err
	}
	const long, short = time.Minute, 50 * time.Millisecond
	for name, mute := range map[string]func(){"requests": p.MuteRequests, "answers": p.MuteAnswers} {
		c := dial()
		require.NoError(t, echo(c, long))
		mute()
		require.ErrorIs(t, echo(c, short), os.ErrDeadlineExceeded, name)
		p.Cut()
		require.NotErrorIs(t, echo(c, long), os.ErrDeadlineExceeded, name)
		require.NoError(t, echo(dial(), long), "a new connection")
	}
	p.Refuse(true)
	require.Error(t, echo(dial(), long))
	p.Refuse(false)
	c := dial()
	require.NoError(t, echo(c, long))
	p.Close()
	require.Error(t, echo(c, long))
	_, err = net.Dial("tcp", p.Addr())
	require.Error(t, err)
}
