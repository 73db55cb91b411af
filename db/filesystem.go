package db

import (
	"io"
	"io/fs"
	"os"
)

// filesystem is what File needs of an operating system. Tests put one below
// it that fails, and forgets what was not synced.
type filesystem interface {
	open(name string, flag int, perm fs.FileMode) (handle, error)
	rename(from, to string) error
	remove(name string) error
	// syncDir makes renames in a directory durable.
	syncDir(dir string) error
	// lock takes an exclusive lock that ends with the process at the latest,
	// or returns an error that wraps ErrLocked.
	lock(name string) (io.Closer, error)
}

// handle is an open file.
type handle interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
	Chmod(mode fs.FileMode) error
}

// osFilesystem is the real one. lock and syncDir differ by platform.
type osFilesystem struct{}

func (osFilesystem) open(name string, flag int, perm fs.FileMode) (handle, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not a handle that holds a nil pointer
	}
	return f, nil
}

func (osFilesystem) rename(from, to string) error { return os.Rename(from, to) }

func (osFilesystem) remove(name string) error { return os.Remove(name) }
