package customdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"sync"

	"github.com/cannedos/cannedos/db"
)

// lockName is the file that keeps a second process out.
const lockName = "lock"

// Store is a db.DB in a folder. Make it with [Open]. Its methods may be called
// from any goroutine. It starts no goroutine.
type Store struct {
	root *os.Root // nothing outside the folder can be touched

	// writing has room for one: who puts something in may write files. It is no
	// mutex, since files take time, and waiting for it ends with a context.
	writing chan struct{}

	mu     sync.RWMutex     // held for map operations only, never while files are touched
	spaces map[string]space // by name
	closed bool
	failed error // of the write after which no more are taken
}

// space is one edition of what a file holds, by id. It never changes; a write
// makes another one. So whoever reads one needs no lock.
type space map[string]*line

// line is a record, and how it stands in the file. It never changes either.
type line struct {
	record db.Record
	text   []byte // JSON, with the line break
}

// copied returns the record as a value of the caller's.
func (l *line) copied() db.Record {
	r := l.record
	r.Value = bytes.Clone(r.Value)
	return r
}

// Open opens the store in a folder, which is made if it does not exist. Errors:
// db.ErrLocked where the store is open already, db.ErrDamaged where a file does
// not hold what a store wrote.
func Open(folder string) (*Store, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("customdb: open: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("customdb: open: %w", err)
	}
	lock, err := root.OpenFile(lockName, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		root.Close()
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w: if no process uses it any more, remove the file %q in it", db.ErrLocked, lockName)
		}
		return nil, fmt.Errorf("customdb: open %s: %w", folder, err)
	}
	lock.Close()
	spaces, err := load(root)
	if err != nil {
		root.Remove(lockName)
		root.Close()
		return nil, fmt.Errorf("customdb: open %s: %w", folder, err)
	}
	return &Store{root: root, writing: make(chan struct{}, 1), spaces: spaces}, nil
}

// Durable says that what was acknowledged outlives the process.
func (s *Store) Durable() bool { return true }

// Get returns the records that exist, in the order of ids.
func (s *Store) Get(ctx context.Context, name string, ids ...string) ([]db.Record, error) {
	if err := db.CheckKeys(name, ids...); err != nil {
		return nil, fmt.Errorf("customdb: get: %w", err)
	}
	lines, err := s.edition(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("customdb: get: %w", err)
	}
	var records []db.Record
	for _, id := range ids {
		if l, ok := lines[id]; ok {
			records = append(records, l.copied())
		}
	}
	return records, nil
}

// edition returns the present edition of a space.
func (s *Store) edition(ctx context.Context, name string) (space, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, db.ErrClosed
	}
	return s.spaces[name], nil
}

// Scan yields the records of the edition that is there when the loop begins.
func (s *Store) Scan(ctx context.Context, name string) iter.Seq2[db.Record, error] {
	return func(yield func(db.Record, error) bool) {
		if err := s.scan(ctx, name, yield); err != nil {
			yield(db.Record{}, fmt.Errorf("customdb: scan: %w", err))
		}
	}
}

// scan returns nil at the end, and when yield wants no more.
func (s *Store) scan(ctx context.Context, name string, yield func(db.Record, error) bool) error {
	if err := db.CheckKeys(name); err != nil {
		return err
	}
	lines, err := s.edition(ctx, name)
	if err != nil {
		return err
	}
	for _, l := range lines {
		if !yield(l.copied(), nil) {
			return nil
		}
		if _, err := s.edition(ctx, name); err != nil { // the loop took its time
			return err
		}
	}
	return nil
}

// Write compares, writes the files that change, and only then shows what is new.
func (s *Store) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if err := db.CheckWrites(writes...); err != nil {
		return nil, fmt.Errorf("customdb: write: %w", err)
	}
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-ctx.Done():
	}
	present, err := s.present(ctx)
	if err != nil {
		return nil, fmt.Errorf("customdb: write: %w", err)
	}
	n := next{present: present, changed: map[string]space{}}
	results := make([]db.Result, len(writes))
	for i := range writes {
		if results[i], err = n.apply(&writes[i]); err != nil {
			return nil, fmt.Errorf("customdb: write: %w", err)
		}
	}
	err = s.save(n.changed)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = err
		return nil, fmt.Errorf("customdb: write: %w", err)
	}
	maps.Copy(s.spaces, n.changed)
	return results, nil
}

// present returns the editions that a write starts from. Nobody changes the map
// while the caller has its turn to write.
func (s *Store) present(ctx context.Context) (map[string]space, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.closed:
		return nil, db.ErrClosed
	case s.failed != nil:
		return nil, fmt.Errorf("%w: %w", db.ErrFailed, s.failed)
	}
	return s.spaces, nil
}

// Close waits for a write under way, and gives the folder back.
func (s *Store) Close() error {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	s.mu.Lock()
	closed := s.closed
	s.closed, s.spaces = true, nil
	s.mu.Unlock()
	if closed {
		return nil
	}
	if err := errors.Join(s.root.Remove(lockName), s.root.Close()); err != nil {
		return fmt.Errorf("customdb: close: %w", err)
	}
	return nil
}
