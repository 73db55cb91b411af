//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package db

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// renamesOpen says that an open file can be replaced by another.
const renamesOpen = true

func (osFilesystem) lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		holder := lockHolder(f)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w by %s", ErrLocked, holder)
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	nameHolder(f)
	return f, nil
}

func (osFilesystem) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// nameHolder notes who holds the lock, for people only.
func nameHolder(f *os.File) {
	if f.Truncate(0) == nil {
		fmt.Fprintf(io.NewOffsetWriter(f, 0), "%d\n", os.Getpid())
	}
}

func lockHolder(f *os.File) string {
	var b [24]byte
	n, _ := f.ReadAt(b[:], 0)
	if pid := strings.TrimSpace(string(b[:n])); pid != "" {
		return "process " + pid
	}
	return "another process"
}
