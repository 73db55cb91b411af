package db

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"unsafe"
)

// renamesOpen says that an open file can be replaced by another. Windows
// refuses, so there the file is compacted only while it is being opened.
const renamesOpen = false

const (
	lockfileFailImmediately = 1
	lockfileExclusive       = 2
	errorLockViolation      = syscall.Errno(33)
)

func (osFilesystem) lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	lockFileEx := syscall.NewLazyDLL("kernel32.dll").NewProc("LockFileEx")
	region := new(syscall.Overlapped)
	ok, _, err := lockFileEx.Call(f.Fd(), lockfileExclusive|lockfileFailImmediately, 0, 1, 0,
		uintptr(unsafe.Pointer(region)))
	if ok == 0 {
		f.Close()
		if errors.Is(err, errorLockViolation) {
			return nil, fmt.Errorf("%w by another process", ErrLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}

// syncDir does nothing: Windows has no such call, and journals renames.
func (osFilesystem) syncDir(string) error { return nil }
