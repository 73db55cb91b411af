package cassandra

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"

	"github.com/cannedos/cannedos/db"
)

// Write sends each write as a lightweight transaction of its own, some at a
// time, those to the same record in their order.
//
// A transaction whose outcome a node did not tell is looked up by a serial
// read, which settles it, and sent again if it was not carried out. Where the
// record has meanwhile been changed by others, so that this can't be seen, the
// error says so; the outcome is unknown, as the contract has it.
func (s *Store) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	results, err := s.writeAll(ctx, writes)
	if err != nil {
		return nil, fmt.Errorf("cassandra: write: %w", err)
	}
	return results, nil
}

func (s *Store) writeAll(ctx context.Context, writes []db.Write) ([]db.Result, error) {
	if err := db.CheckWrites(writes...); err != nil {
		return nil, err
	}
	end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	results := make([]db.Result, len(writes))
	lines := lines(writes)
	err = s.each(ctx, len(lines), func(ctx context.Context, i int) error {
		for _, n := range lines[i] {
			var err error
			if results[n], err = s.settle(ctx, writes[n]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// lines groups the indices of writes by record, in their order.
func lines(writes []db.Write) [][]int {
	type name struct{ space, id string }
	at := make(map[name]int, len(writes))
	var lines [][]int
	for i := range writes {
		key := name{writes[i].Record.Space, writes[i].Record.ID}
		n, known := at[key]
		if !known {
			n = len(lines)
			at[key] = n
			lines = append(lines, nil)
		}
		lines[n] = append(lines[n], i)
	}
	return lines
}

// tries bounds how often a transaction is sent whose outcome is not told, or
// that loses to what is gone when it is looked up.
const tries = 20

// settle carries out one write.
func (s *Store) settle(ctx context.Context, w db.Write) (db.Result, error) {
	unsure := false // an earlier sending may have been carried out
	var last error
	for try := range tries {
		if try > 0 {
			if err := pause(ctx, try); err != nil {
				return db.Result{}, errors.Join(err, last)
			}
		}
		applied, err := s.send(ctx, &w)
		switch {
		case applied:
			return db.Result{OK: true}, nil
		case err != nil && !untold(err):
			return db.Result{}, err
		case err != nil:
			unsure, last = true, err
		}
		now, err := s.read(ctx, w.Record.Space, w.Record.ID)
		if err != nil {
			return db.Result{}, errors.Join(err, last)
		}
		switch {
		case now.Version == w.If:
			// Not carried out, and after this read it won't be. Or another's
			// record was in the way and has gone since.
			unsure = false
		case !unsure:
			return db.Result{Current: now}, nil
		case w.Record.Version != 0 && now.Equal(w.Record):
			return db.Result{OK: true}, nil
		default:
			return db.Result{}, fmt.Errorf("%s/%s: the outcome is unknown: now it has version %d: %w", w.Record.Space, w.Record.ID, now.Version, last)
		}
	}
	return db.Result{}, fmt.Errorf("%s/%s: not settled in %d tries: %w", w.Record.Space, w.Record.ID, tries, last)
}

// pause spreads those that contend for one record.
func pause(ctx context.Context, try int) error {
	most := min(time.Millisecond<<try, 500*time.Millisecond)
	t := time.NewTimer(rand.N(most))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}

// send sends the transaction once.
func (s *Store) send(ctx context.Context, w *db.Write) (applied bool, err error) {
	done, err := s.turn(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	applied, err = s.transaction(w).MapScanCASContext(ctx, map[string]any{})
	if err != nil {
		return false, s.failure(ctx, err)
	}
	return applied, nil
}

func (s *Store) transaction(w *db.Write) *gocql.Query {
	r := &w.Record
	part := s.part(r.ID)
	if r.Version == 0 {
		return s.session.Query(s.remove, r.Space, part, r.ID, w.If)
	}
	var owner *gocql.UUID
	if !r.Owner.IsZero() {
		u := gocql.UUID(r.Owner)
		owner = &u
	}
	var until *int64
	if !r.Until.IsZero() {
		n := r.Until.UnixNano()
		until = &n
	}
	value := r.Value
	if value == nil {
		value = []byte{}
	}
	if w.If == 0 {
		return s.session.Query(s.insert, r.Version, owner, until, value, r.Space, part, r.ID)
	}
	return s.session.Query(s.update, r.Version, owner, until, value, r.Space, part, r.ID, w.If)
}

// untold says whether after err a transaction may have been carried out, or may
// still be: that a serial read must settle it. Other errors are final: the node
// refused it, or the caller's context or the store has ended.
func untold(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, db.ErrClosed) {
		return false
	}
	if errors.Is(err, gocql.ErrTimeoutNoResponse) || errors.Is(err, gocql.ErrConnectionClosed) {
		return true
	}
	if _, yes := errors.AsType[*gocql.RequestErrWriteTimeout](err); yes {
		return true
	}
	if _, yes := errors.AsType[*gocql.RequestErrReadTimeout](err); yes {
		return true // of the reading that is part of it
	}
	if _, yes := errors.AsType[*gocql.RequestErrWriteFailure](err); yes {
		return true
	}
	_, yes := errors.AsType[*gocql.RequestErrCASWriteUnknown](err)
	return yes
}
