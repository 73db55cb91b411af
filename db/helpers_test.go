package db

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// openTemp opens a new file that is closed with the test.
func openTemp(t testing.TB) *File {
	t.Helper()
	f, err := OpenFile(filepath.Join(t.TempDir(), "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}
