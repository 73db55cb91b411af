package db

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// Limits of every store.
const (
	MaxSpace      = 128      // bytes of Record.Space
	MaxID         = 1024     // bytes of Record.ID
	MaxValue      = 1 << 20  // bytes of Record.Value
	MaxBatch      = 4096     // writes or ids of one call
	MaxBatchBytes = 16 << 20 // names and values of one DB.Write together
)

// CheckWrites returns the error that every store gives for writes out of
// bounds, or nil: it wraps ErrInvalid or ErrTooLarge and names the field and
// what is allowed. Adapters call it first.
func CheckWrites(writes ...Write) error {
	if len(writes) > MaxBatch {
		return fmt.Errorf("%w: %d writes in one call, at most %d", ErrTooLarge, len(writes), MaxBatch)
	}
	total := 0
	for i := range writes {
		w := &writes[i]
		if err := w.check(); err != nil {
			return fmt.Errorf("write %d of %d: %w", i+1, len(writes), err)
		}
		total += len(w.Record.Space) + len(w.Record.ID) + len(w.Record.Value)
	}
	if total > MaxBatchBytes {
		return fmt.Errorf("%w: %d bytes in one call, at most %d", ErrTooLarge, total, MaxBatchBytes)
	}
	return nil
}

// CheckKeys returns the error that every store gives for a space or ids out of
// bounds, or nil, as [CheckWrites] does.
func CheckKeys(space string, ids ...string) error {
	if err := checkName("space", space, MaxSpace); err != nil {
		return err
	}
	if len(ids) > MaxBatch {
		return fmt.Errorf("%w: %d ids in one call, at most %d", ErrTooLarge, len(ids), MaxBatch)
	}
	for _, id := range ids {
		if err := checkName("id", id, MaxID); err != nil {
			return err
		}
	}
	return nil
}

func (w *Write) check() error {
	r := &w.Record
	if err := CheckKeys(r.Space, r.ID); err != nil {
		return err
	}
	if w.If < 0 {
		return fmt.Errorf("%w: if %d, want 0 (must not exist) or the stored version", ErrInvalid, w.If)
	}
	if r.Version == 0 {
		if w.If == 0 {
			return fmt.Errorf("%w: version 0 (delete) with if 0 (must not exist) has nothing to delete", ErrInvalid)
		}
		return nil
	}
	if r.Version <= w.If {
		return fmt.Errorf("%w: version %d, want 0 (delete) or more than if %d", ErrInvalid, r.Version, w.If)
	}
	if len(r.Value) > MaxValue {
		return fmt.Errorf("%w: value of %d bytes, at most %d", ErrTooLarge, len(r.Value), MaxValue)
	}
	if !r.Until.IsZero() && !time.Unix(0, r.Until.UnixNano()).Equal(r.Until) {
		return fmt.Errorf("%w: until %s, want a year from 1678 to 2262", ErrInvalid, r.Until)
	}
	return nil
}

func checkName(field, name string, limit int) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: %s is empty", ErrInvalid, field)
	case len(name) > limit:
		return fmt.Errorf("%w: %s of %d bytes, at most %d", ErrTooLarge, field, len(name), limit)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %s %q is not valid UTF-8", ErrInvalid, field, name)
	}
	return nil
}
