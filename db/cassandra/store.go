package cassandra

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"sync"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"

	"github.com/cannedos/cannedos/db"
)

// Store is a [db.DB] in a table of Cassandra. It is safe for concurrent use,
// by any number of processes.
type Store struct {
	session    *gocql.Session
	partitions int
	serial     gocql.Consistency
	turns      chan struct{} // one for each request under way

	get, scan, insert, update, remove string

	over  chan struct{} // closed by the first Close
	close sync.Once
	mu    sync.RWMutex // held for reading by calls under way
}

var (
	_ db.DB      = (*Store)(nil)
	_ db.Durable = (*Store)(nil)
)

// Open connects to the cluster. The table must be there: see [CreateSchema].
// Errors: db.ErrInvalid for a Config out of bounds, db.ErrNewer for a table of a
// newer version, the end of ctx, and what the driver says.
func Open(ctx context.Context, c Config) (*Store, error) {
	s, err := open(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("cassandra: open: %w", err)
	}
	return s, nil
}

func open(ctx context.Context, c Config) (*Store, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	session, err := c.connect(ctx, "")
	if err != nil {
		return nil, err
	}
	partitions, err := readSettings(ctx, session, &c)
	if err != nil {
		session.Close()
		return nil, err
	}
	table := c.Keyspace + "." + c.Table
	const row = " WHERE space = ? AND part = ? AND id = ?"
	return &Store{
		session: session, partitions: partitions, serial: serial(&c),
		turns: make(chan struct{}, c.MaxInFlight), over: make(chan struct{}),

		get:    "SELECT version, owner, until, value FROM " + table + row,
		scan:   "SELECT id, version, owner, until, value FROM " + table + " WHERE space = ? AND part = ?",
		insert: "INSERT INTO " + table + " (version, owner, until, value, space, part, id) VALUES (?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS",
		update: "UPDATE " + table + " SET version = ?, owner = ?, until = ?, value = ?" + row + " IF version = ?",
		remove: "DELETE FROM " + table + row + " IF version = ?",
	}, nil
}

// Durable returns true: what is acknowledged is on a majority of the replicas.
func (s *Store) Durable() bool { return true }

// Close ends the connections when the requests under way have been answered.
func (s *Store) Close() error {
	s.close.Do(func() {
		close(s.over)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.session.Close()
	})
	return nil
}

// begin is the beginning of a call; the caller must call end after it.
func (s *Store) begin(ctx context.Context) (end func(), err error) {
	if ctx.Err() != nil {
		return nil, ended(ctx)
	}
	s.mu.RLock()
	select {
	case <-s.over:
		s.mu.RUnlock()
		return nil, db.ErrClosed
	default:
		return s.mu.RUnlock, nil
	}
}

// turn waits until one more request may be under way.
func (s *Store) turn(ctx context.Context) (done func(), err error) {
	select {
	case s.turns <- struct{}{}:
		return func() { <-s.turns }, nil
	case <-ctx.Done():
		return nil, ended(ctx)
	case <-s.over:
		return nil, db.ErrClosed
	}
}

// part is the partition of an id in its space. It is part of the format.
func (s *Store) part(id string) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return int(h.Sum64() % uint64(s.partitions))
}

// Get reads serially: it sees every Write that was acknowledged before, and
// settles those that were left half done.
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
	end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	found := make([]db.Record, len(ids))
	err = s.each(ctx, len(ids), func(ctx context.Context, i int) (err error) {
		found[i], err = s.read(ctx, space, ids[i])
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

// each calls f for 0 to n-1, some at a time, until one fails.
func (s *Store) each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	if n == 1 {
		return f(ctx, 0)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		next int
		bad  error
	)
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, bad == nil && next <= n
	}
	for range min(n, cap(s.turns)) {
		wg.Go(func() {
			for i, more := take(); more; i, more = take() {
				if err := f(ctx, i); err != nil {
					mu.Lock()
					if bad == nil {
						bad = err
					}
					mu.Unlock()
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return bad
}

// read returns one record as it is, or the zero one if there is none.
func (s *Store) read(ctx context.Context, space, id string) (db.Record, error) {
	done, err := s.turn(ctx)
	if err != nil {
		return db.Record{}, err
	}
	defer done()
	row := rowOf(space, id)
	err = s.session.Query(s.get, space, s.part(id), id).Consistency(s.serial).
		ScanContext(ctx, &row.version, &row.owner, &row.until, &row.value)
	if errors.Is(err, gocql.ErrNotFound) {
		return db.Record{}, nil
	}
	if err != nil {
		return db.Record{}, s.failure(ctx, err)
	}
	return row.record()
}

// failure is err as the contract wants it: the end of the caller's context is
// told as such.
func (s *Store) failure(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", ended(ctx), err)
	}
	return err
}

// Scan reads the partitions of the space one by one, a page at a time.
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

// page reads a page of a partition, and where to go on. Nothing is locked when
// it returns: the loop may use the store, and may close it.
func (s *Store) page(ctx context.Context, space string, part int, state []byte) (page []db.Record, next []byte, err error) {
	end, err := s.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer end()
	done, err := s.turn(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	rows := s.session.Query(s.scan, space, part).PageSize(pageSize).PageState(state).IterContext(ctx)
	for range rows.NumRows() {
		row := rowOf(space, "")
		if !rows.Scan(&row.id, &row.version, &row.owner, &row.until, &row.value) {
			break
		}
		r, err := row.record()
		if err != nil {
			_ = rows.Close()
			return nil, nil, err
		}
		page = append(page, r)
	}
	next = rows.PageState()
	if err := rows.Close(); err != nil {
		return nil, nil, s.failure(ctx, err)
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
}

func rowOf(space, id string) *row { return &row{space: space, id: id} }

func (r *row) record() (db.Record, error) {
	if r.version < 1 {
		return db.Record{}, fmt.Errorf("record %s/%s has version %d: %w", r.space, r.id, r.version, db.ErrDamaged)
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
