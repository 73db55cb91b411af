package db

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

func (f *File) compactPath() string { return f.path + ".compact" }

// recognize looks at the header before anything is created beside a file that
// may not be ours.
func (f *File) recognize() error {
	log, err := f.fs.open(f.path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	_, _, err = readHeader(f.path, log)
	return err
}

// recover opens the log, or makes an empty one, reads it, and cuts off a torn
// tail.
func (f *File) recover() error {
	log, err := f.fs.open(f.path, os.O_RDWR, 0)
	var size int64
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		info, err := log.Stat()
		if err != nil {
			return errors.Join(err, log.Close())
		}
		if size = info.Size(); size == 0 {
			if err := log.Close(); err != nil {
				return err
			}
		}
	}
	if size == 0 {
		if log, err = f.create(); err != nil {
			return err
		}
		size = headerSize
	}
	f.log = log
	if _, f.salt, err = readHeader(f.path, log); err != nil {
		return err
	}
	f.end, err = replay(f.path, log, size, f.salt, func(r rawRecord, at location) {
		f.applyLocked(string(r.space), string(r.id), r.version, at)
	})
	if err != nil {
		return err
	}
	if f.end < size {
		if err := log.Truncate(f.end); err != nil {
			return err
		}
	}
	// What a killed process wrote, and never synced, is about to be seen; and
	// it may have died between a rename and making that durable.
	if err := log.Sync(); err != nil {
		return err
	}
	return f.fs.syncDir(filepath.Dir(f.path))
}

// create makes a log without records. It appears under its name only when it
// is whole, so that a crash can't leave half a header.
func (f *File) create() (handle, error) {
	var random [8]byte
	rand.Read(random[:])
	log, err := f.fs.open(f.compactPath(), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = log.WriteAt(newHeader(random), 0)
	if err == nil {
		err = log.Sync()
	}
	if err == nil && f.opt.renamesOpen {
		err = f.replaceWith(f.compactPath())
	}
	if err != nil {
		return nil, errors.Join(err, log.Close(), f.fs.remove(f.compactPath()))
	}
	if f.opt.renamesOpen {
		return log, nil
	}
	if err := log.Close(); err != nil {
		return nil, err
	}
	if err := f.replaceWith(f.compactPath()); err != nil {
		return nil, err
	}
	return f.fs.open(f.path, os.O_RDWR, 0)
}

// replaceWith durably gives the file at from the name of the store.
func (f *File) replaceWith(from string) error {
	if err := f.fs.rename(from, f.path); err != nil {
		return err
	}
	return f.fs.syncDir(filepath.Dir(f.path))
}
