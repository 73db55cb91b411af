package db

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Outcomes of every store. Each means that nothing was done.
var (
	// ErrInvalid is an argument that no store accepts; the text names it.
	ErrInvalid = errors.New("invalid argument")
	// ErrTooLarge is a name, value or batch above its limit.
	ErrTooLarge = errors.New("too large")
	// ErrClosed is a call after Close.
	ErrClosed = errors.New("store is closed")
)

// Outcomes of [OpenFile] and of the store that it opens, and of adapters that
// keep files or directories.
var (
	// ErrLocked is a store that another process, or this one, has open.
	ErrLocked = errors.New("store is locked")
	// ErrForeign is a file or a directory that is not a store of ours. It was
	// not touched.
	ErrForeign = errors.New("not a store of ours")
	// ErrNewer is a store that a newer version of this program has written.
	// It was not touched.
	ErrNewer = errors.New("written by a newer version")
	// ErrDamaged is a store that lost or changed bytes that had been safely
	// stored; of a [File], a [*DamagedError] carries the place.
	ErrDamaged = errors.New("damaged")
	// ErrFailed is a Write after an earlier one met an I/O error, such as a
	// full disk. Nothing was done, and nothing more is written until the store
	// is opened again; reads go on. What had been acknowledged is safe.
	ErrFailed = errors.New("store failed earlier and takes no more writes")
)

// Outcomes of leases.
var (
	// ErrHeld is a lease that another Owner holds; a [*HeldError] carries who
	// and until when.
	ErrHeld = errors.New("lease is held")
	// ErrLost is a lease that ended under its holder: it was not renewed in
	// time, or another has claimed it. It is also the cause of the contexts
	// that [Lease.Context] gave out.
	ErrLost = errors.New("lease is lost")
	// ErrReleased is a lease that its holder has given back. It is also the
	// cause of the contexts that [Lease.Context] gave out.
	ErrReleased = errors.New("lease is released")
)

// DamagedError says where a file is damaged. It matches [ErrDamaged]. The file
// is left as it is. Everything before Offset is intact: restore a copy of the
// file, or cut it at Offset and accept that what was written later is
// forgotten. (A record that merely was being written during a crash is no
// damage; it is cut off silently, since it was never acknowledged.)
type DamagedError struct {
	Path   string // of the file, with links resolved
	Offset int64  // bytes from the beginning of the file
	Reason string // what does not hold there
}

// Error names the file, the place and the ways out.
func (e *DamagedError) Error() string {
	if e.Offset < headerSize {
		return fmt.Sprintf("%s: damaged header: %s: restore a copy of the file", e.Path, e.Reason)
	}
	return fmt.Sprintf("%s: damaged at byte %d: %s: restore a copy, or cut the file there (truncate -s %d) and lose what was written later",
		e.Path, e.Offset, e.Reason, e.Offset)
}

// Is makes the error match [ErrDamaged].
func (e *DamagedError) Is(target error) bool { return target == ErrDamaged }

// HeldError says who holds a lease. It matches [ErrHeld].
type HeldError struct {
	Space, ID string    // of the lease's record
	Holder    Owner     // who has it
	Until     time.Time // when the lease ends unless it is renewed; UTC
}

// Error names the lease, the holder and the end.
func (e *HeldError) Error() string {
	return fmt.Sprintf("lease %s/%s is held by %s until %s", e.Space, e.ID, e.Holder, e.Until.Format(time.RFC3339Nano))
}

// Is makes the error match [ErrHeld].
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// contextError is the error for a context that has ended: it wraps ctx.Err(),
// and the cause if there is one of its own.
func contextError(ctx context.Context, op string) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(cause, err) {
		return fmt.Errorf("db: %s: %w", op, err)
	}
	return fmt.Errorf("db: %s: %w: %w", op, err, cause)
}
