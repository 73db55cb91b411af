package pebble

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// TestRealFullDisk fills a small file system.
func TestRealFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root: run as root")
	}
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("mounting a small file system: %v: run where that is allowed", err)
	}
	defer func() { require.NoError(t, syscall.Unmount(mount, 0)) }()
	dir := filepath.Join(mount, "d")
	s, err := Open(dir, Config{MemTableBytes: 4 << 20, Logger: testLog(t)})
	require.NoError(t, err)
	ballast := filepath.Join(mount, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 8<<20), 0o600))
	l := newLedger()
	load(s, l, 4, 1_000_000)
	require.NotEmpty(t, l.errs)
	for _, err := range l.errs {
		require.ErrorIs(t, err, syscall.ENOSPC)
	}
	_, err = s.Write(t.Context(), db.Write{Record: db.Record{Space: "s", ID: "late", Version: 1}})
	require.ErrorIs(t, err, db.ErrFailed)
	l.check(t, s, false)
	require.NoError(t, s.Close())

	s, err = Open(dir, Config{})
	if err == nil {
		t.Log("there was enough room to open it")
		require.NoError(t, s.Close())
	} else {
		require.ErrorIs(t, err, syscall.ENOSPC)
	}
	require.NoError(t, os.Remove(ballast))
	s, err = Open(dir, Config{})
	require.NoError(t, err)
	l.check(t, s, true)
	load(s, l, 4, 10)
	l.check(t, s, true)
	require.NoError(t, s.Close())
}
