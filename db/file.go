package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"
)

// compactMin is how much garbage a file may hold before it matters, in bytes.
const compactMin = 4 << 20

// File is a durable [DB] in one file: a log of records with checksums, which
// is rewritten when more than half of it is garbage. [OpenFile] makes one.
//
// Memory holds the id, the version and the place of every record, about 55
// bytes and the id; values stay in the file and, as far as there is room, in
// the cache of the operating system.
//
// Concurrent writers share one write and one fsync: the first of them to
// find the log free does it for all that wait. Its context, and theirs, end
// the waiting, not the I/O.
type File struct {
	path string // as resolved by OpenFile
	fs   filesystem
	opt  fileOptions
	salt salt

	opening Owner // of this opening of the file

	lock io.Closer
	// token is held, by having put a value in, by whoever changes the log or
	// the tables: the leader of a batch, the end of a compaction, Close. It
	// is taken before mu and never while mu is held.
	token chan struct{}

	// mu guards what follows. tables and log are changed only with the token
	// held as well, so that its holder reads them without mu.
	mu      sync.RWMutex
	tables  map[string]*fileTable // none is empty
	log     handle
	end     int64      // of the log: everything before is acknowledged
	live    int64      // bytes of frames that are the newest of a record
	pending []*request // writers in order of arrival
	closing bool
	failed  error // the first I/O error of a write

	compacting  bool
	moved       []move // what changed since the compaction began
	compactFrom int64  // size of the log from which the next one may begin
	compactErr  error  // of the last compaction

	// Owned by the holder of the token.
	batch   []byte
	changes map[recordKey]change

	closed      chan struct{} // closed when Close is done
	compactions sync.WaitGroup
	stop        context.CancelFunc // ends a compaction
	stopped     <-chan struct{}
}

// fileTable is the index of one space, and where the frames are.
type fileTable struct {
	*index
	places pages[location] // by slot
}

type fileOptions struct {
	compactMin  int64
	renamesOpen bool
}

// OpenFile opens the store in the file at path, which is created if it does
// not exist, readable and writable by its user alone. Beside it, path.lock
// keeps other processes away (it stays behind, empty of meaning, since
// removing it would open a race), and path.compact exists while the log is
// rewritten.
//
// A record that was being written when the process died is cut off. Errors
// wrap ErrLocked, ErrForeign, ErrNewer or a [*DamagedError], and then the
// file is as it was; or they are errors of the operating system. A symbolic
// link is followed. On a network file system the lock holds as far as that
// file system implements flock.
//
// OpenFile reads the whole log, some hundred megabytes a second. It starts no
// goroutine; a later Write may start one, which rewrites the log and which
// Close ends and waits for.
func OpenFile(path string) (*File, error) {
	resolved, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("db: open %s: %w", path, err)
	}
	return openFile(resolved, osFilesystem{}, fileOptions{compactMin: compactMin, renamesOpen: renamesOpen})
}

// resolve follows links, so that two names of a file meet at one lock, and
// refuses what is not a regular file.
func resolve(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return "", fmt.Errorf("%w: it is no regular file", ErrForeign)
	case err == nil:
		return filepath.EvalSymlinks(path)
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	if _, err := os.Lstat(path); err == nil {
		return "", fmt.Errorf("it is a symbolic link to nothing: %w", fs.ErrNotExist)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

func openFile(path string, fsys filesystem, opt fileOptions) (_ *File, err error) {
	stopped, stop := context.WithCancel(context.Background())
	f := &File{
		path: path, fs: fsys, opt: opt, opening: NewOwner(),
		token:   make(chan struct{}, 1),
		tables:  make(map[string]*fileTable),
		changes: make(map[recordKey]change),
		closed:  make(chan struct{}),
		stop:    stop,
		stopped: stopped.Done(),
	}
	defer func() {
		if err != nil {
			stop()
			err = errors.Join(fmt.Errorf("db: open %s: %w", path, err), f.release())
		}
	}()
	if err := f.recognize(); err != nil {
		return nil, err
	}
	if f.lock, err = fsys.lock(path + ".lock"); err != nil {
		return nil, err
	}
	if err := fsys.remove(f.compactPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := f.recover(); err != nil {
		return nil, err
	}
	if !opt.renamesOpen && f.dueLocked() {
		if f.compactErr = f.compact(); f.log == nil {
			return nil, f.compactErr
		}
		f.compacting, f.moved = false, nil
	}
	return f, nil
}

// Durable implements [Durable]: it is.
func (f *File) Durable() bool { return true }

// Get implements [DB]. A record that is damaged in the file gives a
// [*DamagedError].
func (f *File) Get(ctx context.Context, space string, ids ...string) ([]Record, error) {
	if err := CheckKeys(space, ids...); err != nil {
		return nil, fmt.Errorf("db: get: %w", err)
	}
	for {
		if ctx.Err() != nil {
			return nil, contextError(ctx, "get")
		}
		records, err := f.get(space, ids)
		if errors.Is(err, fs.ErrClosed) {
			continue // a compaction has replaced the log, or Close has ended it
		}
		if err != nil {
			return nil, fmt.Errorf("db: get: %w", err)
		}
		return records, nil
	}
}

func (f *File) get(space string, ids []string) ([]Record, error) {
	f.mu.RLock()
	if f.closing {
		f.mu.RUnlock()
		return nil, ErrClosed
	}
	log := f.log
	var places []location
	if t := f.tables[space]; t != nil {
		for _, id := range ids {
			if slot, ok := t.find(id); ok {
				places = append(places, *t.places.at(slot))
			}
		}
	}
	f.mu.RUnlock()
	if len(places) == 0 {
		return nil, nil
	}
	records := make([]Record, len(places))
	for i, at := range places {
		r, err := f.read(log, at)
		if err != nil {
			return nil, err
		}
		records[i] = r
	}
	return records, nil
}

// Scan implements [DB]. It reads in the order of the file as far as the
// records of one step allow. A damaged record ends it with a [*DamagedError].
func (f *File) Scan(ctx context.Context, space string) iter.Seq2[Record, error] {
	return scan(ctx, space, func() (walk, error) {
		f.mu.RLock()
		defer f.mu.RUnlock()
		if f.closing {
			return walk{}, ErrClosed
		}
		t := f.tables[space]
		if t == nil {
			return walk{}, nil
		}
		s := &fileScan{f: f, t: t}
		return walk{end: t.slots(), step: s.step}, nil
	})
}

// Close implements [DB]. It waits for writes under way and for the end of a
// compaction, which it interrupts. The error is that of closing the file, or
// why the last compaction failed, which has lost nothing.
func (f *File) Close() error {
	f.mu.Lock()
	if f.closing {
		f.mu.Unlock()
		<-f.closed
		return nil
	}
	f.closing = true
	f.mu.Unlock()
	defer close(f.closed)

	f.stop()
	f.compactions.Wait()
	f.token <- struct{}{}
	defer func() { <-f.token }()
	f.mu.Lock()
	late := f.pending
	f.pending, f.tables = nil, nil
	err := f.compactErr
	f.mu.Unlock()
	for _, r := range late {
		r.finish(ErrClosed)
	}
	if err = errors.Join(err, f.release()); err != nil {
		return fmt.Errorf("db: close %s: %w", f.path, err)
	}
	return nil
}

// release closes what is open: the log first, since the lock guards it.
func (f *File) release() error {
	var err error
	if f.log != nil {
		err = f.log.Close()
	}
	if f.lock != nil {
		err = errors.Join(err, f.lock.Close())
	}
	return err
}
