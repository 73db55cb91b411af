package pebble

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/redact"
	"github.com/stretchr/testify/require"
)

// testLog logs to the test's output.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func TestLogKeepsSecrets(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f := newFence(vfs.NewMem(), log)
	require.NoError(t, f.open())
	l := engineLog{log, f}
	l.Infof("compacted %s in %d tables", []byte("id-of-a-record"), redact.Safe(3))
	l.Errorf("bad key %q", "id-of-a-record")
	l.Fatalf("lost %s: %v", "id-of-a-record", io.ErrUnexpectedEOF)
	l.Fatalf("again")
	require.NotContains(t, out.String(), "id-of-a-record")
	require.Contains(t, out.String(), "in 3 tables")
	require.Equal(t, 1, bytes.Count(out.Bytes(), []byte("takes no more writes")))
	require.ErrorIs(t, f.failure(), io.ErrUnexpectedEOF)

	out.Reset()
	quiet := engineLog{slog.New(slog.NewTextHandler(&out, nil)), f}
	quiet.Infof("compacted %s", countsFormats{t})
	require.Empty(t, out.String())
}

// countsFormats fails when it is formatted.
type countsFormats struct{ t *testing.T }

func (c countsFormats) Format(fmt.State, rune) {
	c.t.Error("a message was put together that nobody sees")
}

// TestLogNamesTheCause: whoever reads the log learns why the store has failed.
func TestLogNamesTheCause(t *testing.T) {
	var out bytes.Buffer
	f := newFence(vfs.NewMem(), slog.New(slog.NewTextHandler(&out, nil)))
	require.NoError(t, f.open())
	f.check("write", "/d/000002.log", syscall.ENOSPC)
	require.Contains(t, out.String(), "no space left on device")
	require.Contains(t, out.String(), "000002.log")
	require.True(t, errors.Is(f.failure(), syscall.ENOSPC))
}
