package pebble

import (
	"context"
	"errors"
	"fmt"
	"iter"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cannedos/cannedos/db"
)

// Bounds of one step of a scan, which copies some records out of the engine,
// lets go of it, and only then yields them: so no table, and no log, is kept
// for a loop that takes its time.
const (
	scanRecords = 1024
	scanBytes   = 1 << 20
)

// Scan implements [db.DB]. Records come in the order of their IDs, byte by
// byte. A damaged record ends it with a [*DamagedError].
func (s *Store) Scan(ctx context.Context, space string) iter.Seq2[db.Record, error] {
	return func(yield func(db.Record, error) bool) {
		if err := s.scanTo(ctx, space, yield); err != nil {
			yield(db.Record{}, err)
		}
	}
}

// scanTo returns nil at the end and when yield wants no more.
func (s *Store) scanTo(ctx context.Context, space string, yield func(db.Record, error) bool) error {
	if err := db.CheckKeys(space); err != nil {
		return fmt.Errorf("pebble: scan: %w", err)
	}
	if ctx.Err() != nil {
		return contextError(ctx, "scan")
	}
	from := appendPrefix(nil, space)
	end := after(from)
	var batch []db.Record
	for more := true; more; {
		var err error
		if batch, more, err = s.scanStep(from, end, batch[:0]); err != nil {
			return fmt.Errorf("pebble: scan: %w", err)
		}
		if more {
			// The least key behind the last one.
			from = append(appendKey(from[:0], space, batch[len(batch)-1].ID), 0)
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

// scanStep appends the next records, and reports whether there may be more.
func (s *Store) scanStep(from, end []byte, batch []db.Record) (_ []db.Record, more bool, err error) {
	v, err := s.acquire()
	if err != nil {
		return nil, false, err
	}
	defer s.letGo(v)
	err = s.reading(func() (err error) {
		it, err := v.snapshot.NewIter(&engine.IterOptions{LowerBound: from, UpperBound: end})
		if err != nil {
			return err
		}
		// Closing it repeats an error that it met.
		defer func() { err = errors.Join(err, it.Close()) }()
		size := 0
		for valid := it.First(); valid; valid = it.Next() {
			if len(batch) == scanRecords || size > scanBytes {
				more = true
				return nil
			}
			value, err := it.ValueAndErr()
			if err != nil {
				return err
			}
			r, err := decodeRecord(it.Key(), value)
			if err != nil {
				return err
			}
			size += len(value)
			batch = append(batch, r)
		}
		return nil
	})
	return batch, more, err
}
