package pebble

import (
	"context"
	"errors"
	"fmt"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cannedos/cannedos/db"
)

// view is the state that a commit has left behind, and that is on disk. The
// engine shows a batch to everybody before it is synced; so nobody reads from
// the engine itself, but from the snapshot that was taken after the last sync.
type view struct {
	snapshot *engine.Snapshot
	// users and replaced are guarded by Store.mu. The last user of a view that
	// was replaced closes the snapshot.
	users    int
	replaced bool
}

// acquire returns the present view, for a reader.
func (s *Store) acquire() (*view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, db.ErrClosed
	}
	s.reads.Add(1)
	s.current.users++
	return s.current, nil
}

// letGo ends what acquire began.
func (s *Store) letGo(v *view) {
	s.mu.Lock()
	v.users--
	last := v.replaced && v.users == 0
	s.mu.Unlock()
	if last {
		_ = v.snapshot.Close() // never fails
	}
	s.reads.Done()
}

// publish makes what was committed visible. The token is held.
func (s *Store) publish(snapshot *engine.Snapshot) {
	s.mu.Lock()
	old := s.current
	s.current = &view{snapshot: snapshot}
	old.replaced = true
	last := old.users == 0
	s.mu.Unlock()
	if last {
		_ = old.snapshot.Close() // never fails
	}
}

// Get implements [db.DB]. A record that is damaged gives a [*DamagedError].
func (s *Store) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	if err := db.CheckKeys(space, ids...); err != nil {
		return nil, fmt.Errorf("pebble: get: %w", err)
	}
	if ctx.Err() != nil {
		return nil, contextError(ctx, "get")
	}
	v, err := s.acquire()
	if err != nil {
		return nil, fmt.Errorf("pebble: get: %w", err)
	}
	defer s.letGo(v)
	var records []db.Record
	var key []byte
	for _, id := range ids {
		if ctx.Err() != nil {
			return nil, contextError(ctx, "get")
		}
		key = appendKey(key[:0], space, id)
		r, err := s.read(v, key)
		if err != nil {
			return nil, fmt.Errorf("pebble: get: %w", err)
		}
		if r.Version != 0 {
			records = append(records, r)
		}
	}
	return records, nil
}

// read returns the record with a key, or the zero Record.
func (s *Store) read(v *view, key []byte) (r db.Record, err error) {
	err = s.lookUp(v, key, func(value []byte) (err error) {
		r, err = decodeRecord(key, value)
		return err
	})
	return r, err
}

// lookUp calls found with the value of a key, if there is one. It is valid
// during the call.
func (s *Store) lookUp(v *view, key []byte, found func(value []byte) error) error {
	return s.reading(func() error {
		value, closer, err := v.snapshot.Get(key)
		if errors.Is(err, engine.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(found(value), closer.Close())
	})
}

// reading does what reads from the engine, and says what its errors mean.
func (s *Store) reading(f func() error) error {
	err := s.guard(f)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errEncoding):
		return &DamagedError{Dir: s.dir, Reason: "a record that this program never writes", Cause: err}
	}
	return diagnose(s.dir, err)
}
