package db

import (
	"bytes"
	"context"
	"iter"
	"time"
)

// Record is one entry of a store, named by Space and ID together.
//
// A Record is a plain value. What a store hands out belongs to the caller,
// Value included.
type Record struct {
	// Space groups records that are scanned together, such as "registry" or
	// "lease". Not empty, valid UTF-8, at most MaxSpace bytes.
	Space string
	// ID names the record inside its Space. Not empty, valid UTF-8, at most
	// MaxID bytes.
	ID string
	// Version is chosen by the writer and is greater than the version that it
	// replaces; an increment of one is usual. A stored record's Version is
	// never 0.
	Version int64
	// Owner is who wrote the record, or the zero Owner. A store keeps it and
	// never looks at it.
	Owner Owner
	// Until is an instant that a store keeps to the nanosecond and never looks
	// at; zero means none. It comes back in UTC without a monotonic reading,
	// and lies within the years 1678 to 2262.
	Until time.Time
	// Value is at most MaxValue bytes. An empty and a nil Value are the same.
	Value []byte
}

// Equal reports whether r and o are the same record with the same content.
// Instants are compared as instants, whatever their location.
func (r Record) Equal(o Record) bool {
	return r.Space == o.Space && r.ID == o.ID && r.Version == o.Version &&
		r.Owner == o.Owner && r.Until.Equal(o.Until) && bytes.Equal(r.Value, o.Value)
}

// Write replaces, creates or deletes one record if its stored version is If.
//
//	If 0, Version v   create: there must be no such record
//	If v, Version w   replace: v must be stored; w > v
//	If v, Version 0   delete: v must be stored; the other fields of Record
//	                  beyond Space and ID are ignored
//
// Anything else is ErrInvalid.
type Write struct {
	If     int64
	Record Record
}

// Won reports whether w is in force, given a Result that w got: it won, or it
// lost to its own equal, which means that an earlier sending of w whose
// outcome was unknown had won. A delete is in force when nothing is stored.
//
// To tell its own write from another's, a writer must not write what another
// may write too: its Owner, or something in the Value, makes the difference.
func (w Write) Won(r Result) bool {
	if w.Record.Version == 0 {
		return r.OK || r.Current.Version == 0
	}
	return r.OK || r.Current.Equal(w.Record)
}

// Result is the outcome of one Write.
type Result struct {
	// OK says that the stored version was If and that the Write is in force.
	OK bool
	// Current is, when OK is false, the record that is stored instead, or the
	// zero Record (Version 0) if there is none. When OK is true it is zero.
	Current Record
}

// DB is a versioned key-value store with compare-and-set. Implementations are
// safe for concurrent use.
//
// Errors that every method may return, and that mean that nothing was done:
// ErrInvalid and ErrTooLarge for arguments out of bounds, ErrClosed, and the
// error of a context that had ended before the call. A context that ends
// during the call gives an error that wraps ctx.Err(). For every error not
// documented as "nothing was done", the outcome of a Write is unknown, and the
// same Write may be sent again: see [Write.Won].
type DB interface {
	// Get returns the records of space that are named by ids and exist, in the
	// order of ids; an id named twice is returned twice. At most MaxBatch ids.
	Get(ctx context.Context, space string, ids ...string) ([]Record, error)

	// Write compares and applies each of writes on its own and returns one
	// Result for each, in their order. Writes to the same record take effect
	// in their order. It is not a transaction. At most MaxBatch writes of
	// together at most MaxBatchBytes. No Result is returned with an error.
	Write(ctx context.Context, writes ...Write) ([]Result, error)

	// Scan yields the records of space in no particular order. A record that
	// exists from the beginning to the end of the scan is yielded exactly
	// once, in some state that it had meanwhile; one that is created or
	// deleted meanwhile may be yielded or not. The store may be used inside
	// the loop, for writing too. An error is the last pair; so a loop that
	// ended without an error saw everything. Each range over the returned
	// sequence is a scan of its own.
	Scan(ctx context.Context, space string) iter.Seq2[Record, error]

	// Close ends the store. Calls under way complete or return ErrClosed, and
	// so do scans: none ends early without an error. Closing again does
	// nothing and returns nil.
	Close() error
}

// Durable is the optional power of a store to say whether what it has
// acknowledged outlives the process. A store without it does not.
type Durable interface {
	Durable() bool
}

// maxWrappers bounds the search through wrappers, so that one that wraps
// itself can't hang it.
const maxWrappers = 32

// IsDurable reports whether store keeps what it acknowledged when the process
// ends. Wrappers are looked through if they have a method Unwrap() DB; the
// outermost answer counts. A nil store is not durable.
func IsDurable(store DB) bool {
	for range maxWrappers {
		if d, ok := store.(Durable); ok {
			return d.Durable()
		}
		w, ok := store.(interface{ Unwrap() DB })
		if !ok {
			return false
		}
		store = w.Unwrap()
	}
	return false
}
