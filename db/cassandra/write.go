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

// Write sends each write as a lightweight transaction of its own: those to the
// same record in their order, several records at a time.
//
// A transaction is sent once. If the answer to it does not come, or says that
// the outcome is unknown, the record is looked up by a serial read. If it has
// the mark of this very Write, the Write has won; otherwise the error says
// that its outcome is unknown, as the contract has it.
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
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.end()
	// Once something may have been sent, the error can't be db.ErrClosed any
	// more, by which nothing was done. So this is the one time that Close is
	// heeded: what waits here is refused, what has passed is completed.
	if err := s.takeTurn(ctx, s.over); err != nil {
		return nil, err
	}
	s.passTurn()
	results := make([]db.Result, len(writes))
	lines := lines(writes)
	err := s.each(len(lines), func(i int) (err error) {
		for _, n := range lines[i] {
			if results[n], err = s.settle(ctx, &writes[n]); err != nil {
				return fmt.Errorf("%q in space %q: %w", writes[n].Record.ID, writes[n].Record.Space, err)
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

// tries bounds how often a write is sent that loses to what is gone when it is
// looked up.
const tries = 20

var errContended = fmt.Errorf("lost %d times to what was gone when it was looked up", tries)

// settle carries out one write.
func (s *Store) settle(ctx context.Context, w *db.Write) (db.Result, error) {
	for try := range tries {
		if err := pause(ctx, try); err != nil {
			return db.Result{}, err
		}
		mark, err := gocql.RandomUUID()
		if err != nil {
			return db.Result{}, err
		}
		applied, err := s.send(ctx, w, mark)
		switch {
		case applied:
			return db.Result{OK: true}, nil
		case err != nil && !unknown(ctx, err):
			return db.Result{}, err
		}
		if err != nil {
			return s.lookUp(ctx, w, mark, err)
		}
		now, _, err := s.read(ctx, nil, w.Record.Space, w.Record.ID)
		if err != nil {
			return db.Result{}, fmt.Errorf("look up what it lost to: %w", err)
		}
		if now.Version != w.If {
			return db.Result{Current: now}, nil
		}
	}
	return db.Result{}, errContended
}

// errNotSeen ends a lookup.
var errNotSeen = errors.New("the record could not be looked up for Config.Timeout")

// lookUp finds out whether the write with a mark was carried out although err
// says that this is unknown. Where the connection was lost, it waits for
// another one.
func (s *Store) lookUp(ctx context.Context, w *db.Write, mark gocql.UUID, err error) (db.Result, error) {
	limited, cancel := context.WithTimeoutCause(ctx, s.timeout, errNotSeen)
	defer cancel()
	for try := 1; ; try++ {
		_, current, failed := s.read(limited, nil, w.Record.Space, w.Record.ID)
		if failed == nil && current == mark {
			return db.Result{OK: true}, nil
		}
		if failed != nil && !errors.Is(failed, db.ErrDamaged) && pause(limited, try) == nil {
			continue
		}
		if limited.Err() != nil && ctx.Err() == nil {
			failed = errNotSeen // and no deadline of the caller's
		}
		// Not sent again, although it may be that it was not carried out: the
		// first sending may still be on its way, and if others undo the second
		// it would be carried out once more.
		return db.Result{}, fmt.Errorf("the outcome is unknown: %w", errors.Join(err, failed))
	}
}

// pause spreads those that contend for one record: not before the first try,
// and from then on for longer and longer.
func pause(ctx context.Context, try int) error {
	if try == 0 {
		return nil
	}
	t := time.NewTimer(rand.N(time.Millisecond << min(try, 9)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}

// send sends the transaction.
func (s *Store) send(ctx context.Context, w *db.Write, mark gocql.UUID) (applied bool, err error) {
	if err := s.takeTurn(ctx, nil); err != nil {
		return false, err
	}
	defer s.passTurn()
	if applied, err = s.transaction(w, mark).MapScanCASContext(ctx, map[string]any{}); err != nil {
		return false, failure(ctx, err)
	}
	return applied, nil
}

func (s *Store) transaction(w *db.Write, mark gocql.UUID) *gocql.Query {
	r := &w.Record
	part := s.part(r.ID)
	if r.Version == 0 {
		return s.session.Query(s.remove, r.Space, part, r.ID, w.If)
	}
	// What is not there is left unset in a new row: a null would be kept as a
	// tombstone. In a row that is replaced it has to be one.
	var none any = gocql.UnsetValue
	if w.If != 0 {
		none = nil
	}
	owner, until, value := none, none, r.Value
	if !r.Owner.IsZero() {
		owner = gocql.UUID(r.Owner)
	}
	if !r.Until.IsZero() {
		until = r.Until.UnixNano()
	}
	if value == nil {
		value = []byte{}
	}
	if w.If == 0 {
		return s.session.Query(s.insert, r.Version, owner, until, value, mark, r.Space, part, r.ID)
	}
	return s.session.Query(s.update, r.Version, owner, until, value, mark, r.Space, part, r.ID, w.If)
}

// unknown says whether, after err, a transaction may have been carried out or
// may still be, and there is time to look. Other errors are final: it was not
// sent, or the node refused it.
func unknown(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false // unknown it is, but the caller does not wait for more
	}
	for _, unsent := range []error{gocql.ErrNoConnections, gocql.ErrSessionClosed, gocql.ErrNoStreams} {
		if errors.Is(err, unsent) {
			return false
		}
	}
	refusal, answered := errors.AsType[gocql.RequestError](err)
	if !answered {
		return true // lost with its connection, or late
	}
	switch refusal.Code() {
	case gocql.ErrCodeUnavailable, gocql.ErrCodeOverloaded, gocql.ErrCodeBootstrapping, gocql.ErrCodeCredentials,
		gocql.ErrCodeSyntax, gocql.ErrCodeUnauthorized, gocql.ErrCodeInvalid, gocql.ErrCodeConfig, gocql.ErrCodeUnprepared:
		return false
	}
	return true // timeouts and failures, of the reading that is part of it too
}
