package db

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrConflict is a state that another writer has replaced since this one last
// read or wrote it. Nothing was done.
var ErrConflict = errors.New("changed by another writer")

// stateTries bounds how often one SaveState sends a write whose outcome stays
// unknown, and how often one that lost to an earlier write of the same States.
const stateTries = 3

// errUnsettled is a store that shows another write of the same States each
// time, though those follow each other.
var errUnsettled = errors.New("the store does not settle")

// States keeps the states that services check in, one record for each path, in
// one space of a store. It is what a scheduler takes as its StateStore. It is
// safe for concurrent use: calls for one path follow each other, those for
// different paths don't wait for each other.
//
// It overwrites only what it knows. The first call for a path takes what is
// stored for the latest state; from then on a save must find what this States
// read or wrote last. Where two processes, or two States, use the same path at
// the same time, the one that writes second gets ErrConflict, and gets it until
// it has called LoadState: what the other has saved is not overwritten unread.
// To exclude two processes from the outset, hold a lease ([Hold]).
//
// It remembers a version for each path that it was called with.
type States struct {
	store DB
	space string
	owner Owner // tells what this States wrote from what others did

	mu    sync.Mutex
	paths map[string]*statePath
}

// statePath is what is known of one path. Both fields but turn are owned by
// the holder of the turn.
type statePath struct {
	turn    chan struct{} // capacity 1
	known   bool          // version is
	version int64         // as last read or written; 0: there was none
}

// NewStates returns the States of a space, which must be used for nothing
// else. It starts nothing, and does not look at the store. Closing the store is
// the caller's business, after the scheduler has ended. Errors: ErrInvalid for
// a nil store, and ErrInvalid or ErrTooLarge for the space.
func NewStates(store DB, space string) (*States, error) {
	if store == nil {
		return nil, fmt.Errorf("db: new states: %w: store is nil", ErrInvalid)
	}
	if err := CheckKeys(space); err != nil {
		return nil, fmt.Errorf("db: new states: %w", err)
	}
	return &States{store: store, space: space, owner: NewOwner(), paths: make(map[string]*statePath)}, nil
}

// SaveState replaces the state of a path. A nil state is stored as an empty
// one; state is not kept.
//
// Errors: ErrTooLarge for a path of more than MaxID bytes and for a state of
// more than MaxValue; ErrInvalid for an empty path; ErrConflict. For other
// errors the outcome is as the store says, possibly unknown; the next
// SaveState finds out and goes on from there.
func (s *States) SaveState(ctx context.Context, path string, state []byte) error {
	r := Record{Space: s.space, ID: path, Version: 1, Owner: s.owner, Value: state}
	err := CheckWrites(Write{Record: r})
	if err == nil {
		err = s.inTurn(ctx, path, func(p *statePath) error { return s.save(ctx, p, r) })
	}
	if err != nil {
		return fmt.Errorf("db: save state of %s: %w", abridge(path), err)
	}
	return nil
}

// LoadState returns the state of a path, or nil if there is none; an empty
// state is not nil. The slice belongs to the caller.
//
// Errors: ErrTooLarge and ErrInvalid for the path, and those of the store.
func (s *States) LoadState(ctx context.Context, path string) (state []byte, err error) {
	if err = CheckKeys(s.space, path); err == nil {
		err = s.inTurn(ctx, path, func(p *statePath) error {
			r, err := s.read(ctx, p, path)
			if err == nil && r.Version != 0 {
				state = append([]byte{}, r.Value...)
			}
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("db: load state of %s: %w", abridge(path), err)
	}
	return state, nil
}

// inTurn lets one call at a time work on a path.
func (s *States) inTurn(ctx context.Context, path string, f func(*statePath) error) error {
	s.mu.Lock()
	p := s.paths[path]
	if p == nil {
		p = &statePath{turn: make(chan struct{}, 1)}
		s.paths[path] = p
	}
	s.mu.Unlock()
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return contextError(ctx, "wait for another call")
	}
	defer func() { <-p.turn }()
	return f(p)
}

// read learns what is stored. The turn is held.
func (s *States) read(ctx context.Context, p *statePath, path string) (Record, error) {
	found, err := s.store.Get(ctx, s.space, path)
	if err != nil {
		return Record{}, err
	}
	var r Record
	if len(found) > 0 {
		r = found[0]
	}
	p.known, p.version = true, r.Version
	return r, nil
}

// save writes the record over what is known. A write that lost to one of this
// States lost to an earlier one whose outcome was unknown, and is sent again on
// top of that. The turn is held.
func (s *States) save(ctx context.Context, p *statePath, r Record) error {
	if !p.known {
		if _, err := s.read(ctx, p, r.ID); err != nil {
			return err
		}
	}
	failed, lost := 0, 0
	for {
		r.Version = p.version + 1
		w := Write{If: p.version, Record: r}
		results, err := s.store.Write(ctx, w)
		if err != nil {
			if failed++; failed == stateTries || nothingDone(err) || ctx.Err() != nil {
				return err
			}
			continue // the same Write may be sent again
		}
		if w.Won(results[0]) {
			p.version = r.Version
			return nil
		}
		current := results[0].Current
		if current.Owner != s.owner {
			return conflict(p.version, current)
		}
		p.version = current.Version
		if lost++; lost == stateTries {
			return errUnsettled
		}
	}
}

// nothingDone reports whether an error says that sending again is in vain.
func nothingDone(err error) bool {
	return errors.Is(err, ErrInvalid) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrClosed) || errors.Is(err, ErrFailed)
}

func conflict(version int64, current Record) error {
	if current.Version == 0 {
		return fmt.Errorf("%w: version %d is not stored any more", ErrConflict, version)
	}
	return fmt.Errorf("%w: version %d by %s is stored, not %d", ErrConflict, current.Version, current.Owner, version)
}

// abridge keeps an error about a long name short.
func abridge(name string) string {
	const most = 100
	if len(name) > most {
		return fmt.Sprintf("%.*q...", most, name)
	}
	return fmt.Sprintf("%q", name)
}
