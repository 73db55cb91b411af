package pebble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cannedos/cannedos/db"
)

// DamagedError says that a directory lost or changed bytes that had been
// safely stored. It matches [db.ErrDamaged]. The directory is left as it is:
// restore a copy of the whole of it.
type DamagedError struct {
	Dir    string // with links resolved
	Reason string // what does not hold
	Cause  error  // of the engine; nil if there is none
}

// Error names the directory, what is wrong and the way out.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s: damaged: %s: restore a copy of the directory", e.Dir, e.Reason)
}

// Is makes the error match [db.ErrDamaged].
func (e *DamagedError) Is(target error) bool { return target == db.ErrDamaged }

// Unwrap returns the engine's error.
func (e *DamagedError) Unwrap() error { return e.Cause }

// errPanic is a panic of the engine in a call of ours.
var errPanic = errors.New("the engine panicked")

// guard turns a panic of the engine into an error, and remembers it.
func (s *Store) guard(f func() error) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		s.broken.Store(true)
		if cause, ok := p.(error); ok {
			err = fmt.Errorf("%w: %w", errPanic, cause)
		} else {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	return f()
}

// diagnose makes an error of the engine say that a directory, which we know to
// be ours, is damaged, if it is that.
func diagnose(dir string, err error) error {
	if err == nil {
		return nil
	}
	if engine.IsCorruptionError(err) || errors.Is(err, errPanic) ||
		errors.Is(err, engine.ErrDBDoesNotExist) || errors.Is(err, engine.ErrDBNotPristine) ||
		errors.Is(err, fs.ErrNotExist) {
		return damaged(dir, err)
	}
	return err
}

// damaged takes the first line of an error of the engine for the reason: the
// rest is for the engine's developers.
func damaged(dir string, err error) *DamagedError {
	reason, _, _ := strings.Cut(err.Error(), "\n")
	return &DamagedError{Dir: dir, Reason: reason, Cause: err}
}

// contextError is the error for a context that has ended: it wraps ctx.Err(),
// and the cause if there is one of its own.
func contextError(ctx context.Context, op string) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(cause, err) {
		return fmt.Errorf("pebble: %s: %w", op, err)
	}
	return fmt.Errorf("pebble: %s: %w: %w", op, err, cause)
}
