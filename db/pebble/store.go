package pebble

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cannedos/cannedos/db"
)

// Store is a durable [db.DB] in a directory. [Open] makes one. It is safe for
// concurrent use.
//
// Concurrent writers share one write and one fsync: the first of them to find
// the engine free does it for all that wait. Its context, and theirs, end the
// waiting, not the I/O.
type Store struct {
	dir     string // as resolved by Open
	config  Config // with defaults
	fence   *fence
	lock    *engine.Lock
	engine  *engine.DB
	opening db.Owner // of this opening

	// token is held, by having put a value in, by whoever commits: the leader
	// of a batch, and Close. It is taken before mu and never while mu is held.
	token    chan struct{}
	progress chan struct{} // capacity 1: a flush or a compaction has ended

	// mu guards what follows.
	mu      sync.Mutex
	pending []*request // writers in order of arrival
	current *view      // what readers see
	closing bool

	// reads counts readers; none is added once closing is set.
	reads sync.WaitGroup

	// Owned by the holder of the token.
	changes   map[string]change
	committed int64 // bytes since Open
	checked   int64 // committed when throttle last looked

	broken atomic.Bool // the engine has panicked, and may have left locks held

	closed chan struct{} // closed when Close is done
}

// Open opens the store in a directory, which is created if it does not exist,
// for its user alone; its parent must exist. An existing directory keeps its
// permissions. A lock in it keeps other openings away, of this process and of
// others, as far as the file system implements fcntl locks; no program should
// open the file LOCK in it, since closing that gives the lock back.
//
// Records that were being written when the process died are cut off. Errors
// wrap [db.ErrLocked], [db.ErrForeign] or [db.ErrNewer], and then the
// directory is as it was; [db.ErrInvalid] for the config; a [*DamagedError]; or
// they are errors of the operating system.
//
// Open reads what had not been written to tables yet, at most a few
// [Config.MemTableBytes]. It starts goroutines of the engine's, which write
// tables and merge them, and which Close ends and waits for.
func Open(dir string, config Config) (*Store, error) {
	resolved, err := resolve(dir)
	if err != nil {
		return nil, fmt.Errorf("pebble: open %s: %w", dir, err)
	}
	return open(resolved, config, vfs.Default)
}

func open(dir string, config Config, fsys vfs.FS) (_ *Store, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("pebble: open %s: %w", dir, err)
		}
	}()
	if config, err = config.withDefaults(); err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, config: config, fence: newFence(fsys, config.Logger), opening: db.NewOwner(),
		token: make(chan struct{}, 1), progress: make(chan struct{}, 1),
		changes: make(map[string]change), closed: make(chan struct{}),
	}
	at, err := recognize(fsys, dir)
	if err != nil {
		return nil, err
	}
	if at == absent {
		if err := makeDir(fsys, dir); err != nil {
			return nil, err
		}
	}
	if s.lock, err = lockDir(s.fence, dir); err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

// start opens the engine in a directory that is locked.
func (s *Store) start() error {
	at, err := recognize(s.fence, s.dir) // another may have come first
	if err != nil {
		return err
	}
	if at == empty {
		if err := s.mark(creating); err != nil {
			return err
		}
	}
	err = s.guard(func() (err error) {
		s.engine, err = engine.Open(s.dir, s.options(at == ready))
		return err
	})
	if err = s.opened(at, err); err != nil {
		return err
	}
	if at != ready {
		if err := s.mark(ready); err != nil {
			return err
		}
	}
	if err := s.fence.open(); err != nil {
		return err
	}
	s.current = &view{snapshot: s.engine.NewSnapshot()}
	return nil
}

// mark writes the marker.
func (s *Store) mark(at stage) error {
	return errors.Join(writeMarker(s.fence, s.dir, at), s.fence.failure())
}

// opened says why the engine could not be opened. A directory that was ready
// and that the operating system has nothing against is damaged.
func (s *Store) opened(at stage, err error) error {
	if failure := s.fence.failure(); failure != nil {
		return failure
	}
	if _, system := errors.AsType[syscall.Errno](err); err != nil && at == ready && !system {
		return damaged(s.dir, err)
	}
	return diagnose(s.dir, err)
}

// Thresholds beyond which the engine itself would make a commit wait: far
// above those of throttle, which a context and a failure can end.
const (
	engineMemTables = 64
	engineSublevels = 1000
)

func (s *Store) options(exists bool) *engine.Options {
	log := engineLog{s.config.Logger, s.fence}
	o := &engine.Options{
		FS:                          s.fence,
		Lock:                        s.lock,
		ErrorIfNotExists:            exists,
		FormatMajorVersion:          engineFormat,
		Logger:                      log,
		EventListener:               listener(s.dir, s.fence, s.progress),
		CacheSize:                   s.config.CacheBytes,
		MemTableSize:                uint64(s.config.MemTableBytes),
		MemTableStopWritesThreshold: engineMemTables,
		L0StopWritesThreshold:       engineSublevels,
	}
	// A create has to find that there is no such record.
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// Durable implements [db.Durable]: it is.
func (s *Store) Durable() bool { return true }

// Opening names this opening of the directory: a random Owner, fixed until
// Close. See [db.Exclusive].
func (s *Store) Opening() db.Owner { return s.opening }

// Close implements [db.DB]. It waits for calls under way, writes to tables what
// is in the log alone, so that the next Open has nothing to read, and waits for
// the engine's goroutines, which may be about to end a compaction. An error
// says what went wrong with that; what was acknowledged is safe.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		<-s.closed
		return nil
	}
	s.closing = true
	s.mu.Unlock()
	defer close(s.closed)

	s.reads.Wait()
	s.token <- struct{}{}
	defer func() { <-s.token }()
	s.mu.Lock()
	late := s.pending
	s.pending = nil
	s.mu.Unlock()
	for _, r := range late {
		r.finish(db.ErrClosed)
	}
	before := s.fence.failure() // told by the Writes that met it
	err := errors.Join(s.flush(), s.release())
	if err == nil && before == nil {
		err = s.fence.failure()
	}
	if err != nil {
		return fmt.Errorf("pebble: close %s: %w", s.dir, err)
	}
	return nil
}

// flush writes to tables what is in the log alone: damage to tables is always
// told, and to the end of a log it is not. The token is held.
func (s *Store) flush() error {
	if s.committed == 0 || s.broken.Load() || s.fence.failure() != nil {
		return nil
	}
	return s.guard(func() error {
		flushed, err := s.engine.AsyncFlush()
		if err != nil {
			return err
		}
		select {
		case <-flushed:
			return nil
		case <-s.fence.tripped:
			return s.fence.failure()
		}
	})
}

// release closes what is open: the engine first, since the lock guards it.
func (s *Store) release() error {
	s.fence.release()
	var err error
	if s.engine != nil && !s.broken.Load() {
		err = s.guard(func() error {
			if s.current != nil {
				_ = s.current.snapshot.Close() // its error is that the engine is closed
			}
			return s.engine.Close()
		})
	}
	if s.broken.Load() {
		// It may hold locks of its own that Close would wait for.
		s.fence.trip(errPanic, errPanic.Error())
		return errors.Join(err, s.fence.abandon())
	}
	return errors.Join(err, s.lock.Close())
}
