package pebble

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// errFenced is what tables get that the engine wants to write behind a fence
// that has been tripped.
var errFenced = errors.New("nothing more is written")

// fence is the file system that the engine works on: a real one, until the
// first of its writes, syncs or renames fails. From then on nothing changes in
// the directory any more, so that it stays as if the process had been killed
// then, and the engine is kept from what it would do with the error:
//
//   - An error of a log or a manifest would make it panic, with its locks held,
//     or end the process. So for these, the error itself and all that follows
//     looks like success. The store asks failure before it answers a Write, and
//     so never takes such a success for one.
//   - An error of a table is one that the engine can bear: it keeps the table's
//     content in memory, tries again at once, and would do so for ever. So its
//     next attempt to create a table waits until release.
//   - Only while the store is being opened must it not wait, since the engine's
//     Open waits for the tables that it makes of what it found in logs: they go
//     to memory then.
type fence struct {
	vfs.FS
	log      *slog.Logger
	sink     *vfs.MemFS    // takes what nobody shall see
	tripped  chan struct{} // closed by the first error
	released chan struct{} // closed by release

	mu     sync.Mutex
	opened bool
	err    error // the first error
	lock   io.Closer
}

func newFence(below vfs.FS, log *slog.Logger) *fence {
	return &fence{
		FS: below, log: log, sink: vfs.NewMem(),
		tripped: make(chan struct{}), released: make(chan struct{}),
	}
}

// open says that the store is open now, unless there was an error, which it
// returns: also if the engine has seen nothing of it.
func (f *fence) open() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened = f.err == nil
	return f.err
}

// isOpen reports whether open was called, and returned nil.
func (f *fence) isOpen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened
}

// trip notes an error that nothing goes on after. The text is for the log, if
// nobody waits for an error to be returned.
func (f *fence) trip(err error, text string) {
	f.mu.Lock()
	first := f.err == nil
	if first {
		f.err = err
		close(f.tripped)
	}
	opened := f.opened
	f.mu.Unlock()
	if first && opened {
		f.log.Error("pebble: the store takes no more writes until it is opened again", "err", text)
	}
}

// failure returns the first error, or nil.
func (f *fence) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// isTripped reports whether nothing goes through any more.
func (f *fence) isTripped() bool {
	select {
	case <-f.tripped:
		return true
	default:
		return false
	}
}

// release lets writers of tables go on, which get errors then.
func (f *fence) release() { close(f.released) }

// abandon gives back the lock of an engine that can't be closed. What it still
// does has no effect.
func (f *fence) abandon() error {
	f.mu.Lock()
	lock := f.lock
	f.lock = nil
	f.mu.Unlock()
	if lock == nil {
		return nil
	}
	return lock.Close()
}

// check trips the fence if an operation that changes something has failed.
func (f *fence) check(op, name string, err error) {
	if err == nil {
		return
	}
	if _, ok := errors.AsType[*fs.PathError](err); !ok {
		err = &fs.PathError{Op: op, Path: name, Err: err}
	}
	f.trip(err, err.Error())
}

// isTable reports whether a file is one whose errors the engine can bear.
func isTable(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

// file makes or opens a file for writing.
func (f *fence) file(op, name string, category vfs.DiskWriteCategory, do func() (vfs.File, error)) (vfs.File, error) {
	table := isTable(name)
	if !f.isTripped() {
		file, err := do()
		if err == nil {
			return &fencedFile{File: file, fence: f, name: name, table: table}, nil
		}
		f.check(op, name, err)
		if table {
			return nil, err
		}
	}
	if table && f.isOpen() {
		<-f.released
		return nil, &fs.PathError{Op: op, Path: name, Err: errFenced}
	}
	return f.sink.Create(f.PathBase(name), category)
}

// change does what returns nothing but an error.
func (f *fence) change(op, name string, do func() error) {
	if !f.isTripped() {
		f.check(op, name, do())
	}
}

func (f *fence) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file("create", name, category, func() (vfs.File, error) { return f.FS.Create(name, category) })
}

func (f *fence) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.file("open", name, category, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, category, opts...) })
}

func (f *fence) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file("reuse", to, category, func() (vfs.File, error) { return f.FS.ReuseForWrite(from, to, category) })
}

// OpenDir opens a directory, whose Sync is what counts.
func (f *fence) OpenDir(name string) (vfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &fencedFile{File: dir, fence: f, name: name}, nil
}

// Open finds tables that went to memory.
func (f *fence) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if f.isTripped() && isTable(name) {
		if file, err := f.sink.Open(f.PathBase(name)); err == nil {
			return file, nil
		}
	}
	return f.FS.Open(name, opts...)
}

func (f *fence) Link(from, to string) error {
	f.change("link", to, func() error { return f.FS.Link(from, to) })
	return nil
}

func (f *fence) Rename(from, to string) error {
	f.change("rename", to, func() error { return f.FS.Rename(from, to) })
	return nil
}

func (f *fence) MkdirAll(name string, perm os.FileMode) error {
	f.change("mkdir", name, func() error { return f.FS.MkdirAll(name, perm) })
	return nil
}

// Remove passes errors: a file that stays is no harm, and the engine logs it.
func (f *fence) Remove(name string) error {
	if f.isTripped() {
		return nil
	}
	return f.FS.Remove(name)
}

func (f *fence) RemoveAll(name string) error {
	if f.isTripped() {
		return nil
	}
	return f.FS.RemoveAll(name)
}

// Lock keeps the lock, so that abandon can give it back.
func (f *fence) Lock(name string) (io.Closer, error) {
	lock, err := f.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.lock = lock
	f.mu.Unlock()
	return fencedLock{f}, nil
}

// Unwrap implements [vfs.FS].
func (f *fence) Unwrap() vfs.FS { return f.FS }

type fencedLock struct{ fence *fence }

func (l fencedLock) Close() error { return l.fence.abandon() }

// fencedFile is a file that is written to, or a directory.
type fencedFile struct {
	vfs.File
	fence *fence
	name  string
	table bool
}

// change does what changes the file. Once the fence is tripped, tables get an
// error and all others success.
func (f *fencedFile) change(op string, do func() error) error {
	var err error
	if f.fence.isTripped() {
		err = &fs.PathError{Op: op, Path: f.name, Err: errFenced}
	} else {
		err = do()
		f.fence.check(op, f.name, err)
	}
	if f.table {
		return err
	}
	return nil
}

func (f *fencedFile) Write(b []byte) (n int, err error) {
	return len(b), f.change("write", func() error { _, err := f.File.Write(b); return err })
}

func (f *fencedFile) WriteAt(b []byte, at int64) (n int, err error) {
	return len(b), f.change("write", func() error { _, err := f.File.WriteAt(b, at); return err })
}

func (f *fencedFile) Sync() error { return f.change("sync", f.File.Sync) }

func (f *fencedFile) SyncData() error { return f.change("sync", f.File.SyncData) }

func (f *fencedFile) SyncTo(length int64) (full bool, err error) {
	err = f.change("sync", func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full, err
}

// Preallocate is advice: where there is no room, a Write says so.
func (f *fencedFile) Preallocate(offset, length int64) error {
	if !f.fence.isTripped() {
		_ = f.File.Preallocate(offset, length)
	}
	return nil
}

// Close always closes the file below.
func (f *fencedFile) Close() error {
	err := f.File.Close()
	if !f.fence.isTripped() {
		f.fence.check("close", f.name, err)
	}
	if f.table {
		return err
	}
	return nil
}
