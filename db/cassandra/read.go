package cassandra

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"

	"github.com/cannedos/cannedos/db"
)

// Get reads each record serially, some at a time: it sees every Write that was
// acknowledged before, and settles those that were left half done.
func (s *Store) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	records, err := s.getAll(ctx, space, ids)
	if err != nil {
		return nil, fmt.Errorf("cassandra: get: %w", err)
	}
	return records, nil
}

func (s *Store) getAll(ctx context.Context, space string, ids []string) ([]db.Record, error) {
	if err := db.CheckKeys(space, ids...); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.end()
	found := make([]db.Record, len(ids))
	err := s.each(len(ids), func(i int) (err error) {
		found[i], _, err = s.read(ctx, s.over, space, ids[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	there := found[:0]
	for _, r := range found {
		if r.Version != 0 {
			there = append(there, r)
		}
	}
	return there, nil
}

// read returns a record as it is now, with the mark of the Write that wrote
// it, or the zero one if there is none. See takeTurn for over.
func (s *Store) read(ctx context.Context, over <-chan struct{}, space, id string) (db.Record, gocql.UUID, error) {
	if err := s.takeTurn(ctx, over); err != nil {
		return db.Record{}, gocql.UUID{}, err
	}
	defer s.passTurn()
	r := row{space: space, id: id}
	err := s.session.Query(s.get, space, s.part(id), id).Consistency(s.serial).
		ScanContext(ctx, &r.version, &r.owner, &r.until, &r.value, &r.mark)
	if errors.Is(err, gocql.ErrNotFound) {
		return db.Record{}, gocql.UUID{}, nil
	}
	if err != nil {
		return db.Record{}, gocql.UUID{}, failure(ctx, err)
	}
	found, err := r.record()
	return found, r.mark, err
}

// Scan reads the partitions of the space one by one, a page at a time, from a
// majority of the replicas: it sees every Write that was acknowledged before
// the page was read.
func (s *Store) Scan(ctx context.Context, space string) iter.Seq2[db.Record, error] {
	return func(yield func(db.Record, error) bool) {
		if err := s.scanTo(ctx, space, yield); err != nil {
			yield(db.Record{}, fmt.Errorf("cassandra: scan: %w", err))
		}
	}
}

// pageSize is how many records are asked for at a time. With the largest ones
// that there can be, a page has 128 MB: hence not more.
const pageSize = 128

// scanTo returns nil at the end and when yield wants no more.
func (s *Store) scanTo(ctx context.Context, space string, yield func(db.Record, error) bool) error {
	if err := db.CheckKeys(space); err != nil {
		return err
	}
	for part := range s.partitions {
		var state []byte
		for first := true; first || len(state) > 0; first = false {
			var page []db.Record
			var err error
			if page, state, err = s.page(ctx, space, part, state); err != nil {
				return err
			}
			for _, r := range page {
				if ctx.Err() != nil {
					return ended(ctx)
				}
				if !yield(r, nil) {
					return nil
				}
			}
		}
	}
	return nil
}

// page reads a page of a partition, and where to go on. Nothing is held when
// it returns: the loop may use the store, and may close it.
func (s *Store) page(ctx context.Context, space string, part int, state []byte) (page []db.Record, next []byte, err error) {
	if err := s.begin(ctx); err != nil {
		return nil, nil, err
	}
	defer s.end()
	if err := s.takeTurn(ctx, s.over); err != nil {
		return nil, nil, err
	}
	defer s.passTurn()
	rows := s.session.Query(s.scan, space, part).PageSize(pageSize).PageState(state).IterContext(ctx)
	page = make([]db.Record, 0, rows.NumRows())
	for range rows.NumRows() {
		r := row{space: space}
		if !rows.Scan(&r.id, &r.version, &r.owner, &r.until, &r.value) {
			break
		}
		found, err := r.record()
		if err != nil {
			_ = rows.Close()
			return nil, nil, err
		}
		page = append(page, found)
	}
	next = rows.PageState()
	if err := rows.Close(); err != nil {
		return nil, nil, failure(ctx, err)
	}
	return page, next, nil
}

// row is a record as the driver reads it.
type row struct {
	space, id string
	version   int64
	owner     *gocql.UUID
	until     *int64
	value     []byte
	mark      gocql.UUID
}

// record returns db.ErrDamaged for a row that no Write can have written.
func (r *row) record() (db.Record, error) {
	if r.version < 1 {
		return db.Record{}, fmt.Errorf("record %q in space %q has version %d: %w", r.id, r.space, r.version, db.ErrDamaged)
	}
	found := db.Record{Space: r.space, ID: r.id, Version: r.version, Value: r.value}
	if r.owner != nil {
		found.Owner = db.Owner(*r.owner)
	}
	if r.until != nil {
		found.Until = time.Unix(0, *r.until).UTC()
	}
	return found, nil
}
