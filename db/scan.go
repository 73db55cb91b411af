package db

import (
	"context"
	"fmt"
	"iter"
)

// Bounds of one step of a scan, which copies some records out of the store,
// lets go of it, and only then yields them.
const (
	scanRecords = 512
	scanBytes   = 1 << 20
	scanSlots   = 16 << 10
)

// walk is a scan in terms of slots: those below end, which are all that can
// hold a record that exists throughout.
type walk struct {
	end uint32
	// step appends the records of some slots from slot on, below end, to
	// batch, and returns the slot to go on with.
	step func(slot, end uint32, batch []Record) ([]Record, uint32, error)
}

// scan is [DB.Scan] for stores with an index.
func scan(ctx context.Context, space string, begin func() (walk, error)) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := scanTo(ctx, space, begin, yield); err != nil {
			yield(Record{}, err)
		}
	}
}

// scanTo returns nil at the end and when yield wants no more.
func scanTo(ctx context.Context, space string, begin func() (walk, error), yield func(Record, error) bool) error {
	if err := CheckKeys(space); err != nil {
		return fmt.Errorf("db: scan: %w", err)
	}
	if ctx.Err() != nil {
		return contextError(ctx, "scan")
	}
	w, err := begin()
	if err != nil {
		return fmt.Errorf("db: scan: %w", err)
	}
	var batch []Record
	for slot := uint32(0); slot < w.end; {
		batch, slot, err = w.step(slot, min(w.end, slot+scanSlots), batch[:0])
		if err != nil {
			return fmt.Errorf("db: scan: %w", err)
		}
		for i := range batch {
			if ctx.Err() != nil {
				return contextError(ctx, "scan")
			}
			if !yield(batch[i], nil) {
				return nil
			}
		}
	}
	return nil
}
