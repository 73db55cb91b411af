package pebble

import (
	"fmt"
	"strings"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cannedos/cannedos/db"
)

// lockDir takes the lock of a directory.
func lockDir(fsys vfs.FS, dir string) (*engine.Lock, error) {
	lock, err := engine.LockDirectory(dir, fsys)
	switch {
	case err == nil:
		return lock, nil
	case strings.Contains(err.Error(), "held by current process"), strings.Contains(err.Error(), "already locked"):
		return nil, fmt.Errorf("%w by this process", db.ErrLocked)
	case heldByOther(err):
		return nil, fmt.Errorf("%w by %s", db.ErrLocked, lockHolder(fsys.PathJoin(dir, lockName)))
	}
	return nil, fmt.Errorf("lock: %w", err)
}
