package histories

import (
	"context"
	"errors"

	"github.com/cannedos/cannedos/db"
)

// recorder enters into a log what a client sends to its store. What it passes
// on may fail; see faulty.
type recorder struct {
	db.DB
	log    *log
	client int
}

// partOf is the key of the operation that a write is part of.
type partOf struct{}

func (r *recorder) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	ops := make([]*operation, len(ids))
	for i, id := range ids {
		ops[i] = r.log.begin(operation{Client: r.client, Kind: get, Key: space + "/" + id})
	}
	records, err := r.DB.Get(ctx, space, ids...)
	found := make(map[string]cell, len(records))
	for _, record := range records {
		found[record.ID] = cellOf(record)
	}
	for i, op := range ops {
		if err != nil {
			r.log.finish(op, nothing)
			continue
		}
		op.Found = found[ids[i]]
		r.log.finish(op, ok)
	}
	return records, err
}

func (r *recorder) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	whole, _ := ctx.Value(partOf{}).(int64) // 0: it is none
	ops := make([]*operation, len(writes))
	for i, w := range writes {
		written := cellOf(w.Record)
		if w.Record.Version == 0 {
			written = cell{}
		}
		ops[i] = r.log.begin(operation{
			Client: r.client, Kind: write, Key: w.Record.Space + "/" + w.Record.ID,
			For: whole, If: w.If, New: written,
		})
	}
	results, err := r.DB.Write(ctx, writes...)
	for i, op := range ops {
		switch {
		case err != nil:
			r.log.finish(op, outcomeOf(err))
		case results[i].OK:
			r.log.finish(op, ok)
		default:
			op.Found = cellOf(results[i].Current)
			if results[i].Current.Version == 0 {
				op.Found = cell{}
			}
			r.log.finish(op, lost)
		}
	}
	return results, err
}

// outcomeOf says what an error of a write tells of its outcome.
func outcomeOf(err error) string {
	if notAFault(err) || errors.Is(err, db.ErrFailed) {
		return nothing
	}
	return unknown
}

// notAFault reports whether err is one that no fault explains.
func notAFault(err error) bool {
	for _, bad := range []error{db.ErrInvalid, db.ErrTooLarge, db.ErrClosed, db.ErrDamaged} {
		if errors.Is(err, bad) {
			return true
		}
	}
	return false
}
