//go:build unix

package pebble

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// asNobody lets a test that root would pass for the wrong reason run once more in
// a process of a user without rights, and reports whether that was done.
func asNobody(t *testing.T) bool {
	if os.Geteuid() != 0 {
		return false
	}
	// Folders on the way to the program of the test may be root's alone.
	dir, err := os.MkdirTemp("", "nobody-")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, os.Chmod(dir, 0o777))
	program, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	path := filepath.Join(dir, "pebble.test")
	require.NoError(t, os.WriteFile(path, program, 0o755))
	cmd := exec.CommandContext(t.Context(), path, "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	const nobody = 65534
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return true
}
