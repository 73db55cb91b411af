package cassandra

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
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
	timeout    time.Duration

	get, scan, insert, update, remove string // statements

	turns  chan struct{}  // holds one for each request under way
	over   chan struct{}  // closed by the first Close
	ended  chan struct{}  // closed when the session has been
	mu     sync.Mutex     // guards calls.Add against Close, and closed
	calls  sync.WaitGroup // under way
	closed bool
}

var (
	_ db.DB      = (*Store)(nil)
	_ db.Durable = (*Store)(nil)
)

// Open connects to the cluster. The table must be there: see [CreateSchema].
// Close the Store in the end.
//
// Errors: db.ErrInvalid for a Config out of bounds, db.ErrNewer for a table of
// a newer version, db.ErrForeign for one that is not ours, the end of ctx, and
// what the driver says, which knows the name of the user but not the password.
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
	session, err := c.connect(ctx)
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
		session: session, partitions: partitions, serial: c.serial(), timeout: c.Timeout,
		turns: make(chan struct{}, c.MaxInFlight), over: make(chan struct{}), ended: make(chan struct{}),

		get:    "SELECT version, owner, until, value, mark FROM " + table + row,
		scan:   "SELECT id, version, owner, until, value FROM " + table + " WHERE space = ? AND part = ?",
		insert: "INSERT INTO " + table + " (version, owner, until, value, mark, space, part, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS",
		update: "UPDATE " + table + " SET version = ?, owner = ?, until = ?, value = ?, mark = ?" + row + " IF version = ?",
		remove: "DELETE FROM " + table + row + " IF version = ?",
	}, nil
}

// Durable returns true: what is acknowledged is on a majority of the replicas,
// whose commit logs decide what a power cut leaves of it.
func (s *Store) Durable() bool { return true }

// Close ends the connections, after the requests under way have been answered
// or Config.Timeout has passed. Writes of which something has been sent are
// completed; all other calls get db.ErrClosed. It returns nil when that is
// done, and so does each further one.
func (s *Store) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		close(s.over)
		s.calls.Wait()
		s.session.Close()
		close(s.ended)
	}
	<-s.ended
	return nil
}

// begin is the beginning of a call, which must call end.
func (s *Store) begin(ctx context.Context) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return db.ErrClosed
	}
	s.calls.Add(1)
	return nil
}

func (s *Store) end() { s.calls.Done() }

// takeTurn waits until one more request may be under way, or returns
// db.ErrClosed when over is closed; nil never is. The caller calls passTurn.
func (s *Store) takeTurn(ctx context.Context, over <-chan struct{}) error {
	select {
	case <-over: // whatever room there is
		return db.ErrClosed
	default:
	}
	select {
	case s.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	case <-over:
		return db.ErrClosed
	}
}

func (s *Store) passTurn() { <-s.turns }

// part is the partition of an id in its space: its hash by FNV-1a, which is
// part of the format of the table and never changes.
func (s *Store) part(id string) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return int(h.Sum64() % uint64(s.partitions))
}

// each calls f for 0 to n-1, some at a time, and begins no more when one has
// failed. It returns the first error.
func (s *Store) each(n int, f func(i int) error) error {
	if n == 1 {
		return f(0)
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		next  int
		first error
	)
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, first == nil && next <= n
	}
	for range min(n, cap(s.turns)) {
		wg.Go(func() {
			for i, more := take(); more; i, more = take() {
				if err := f(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}

// failure is err as the contract wants it: the end of the caller's context is
// told as such.
func failure(ctx context.Context, err error) error {
	switch {
	case ctx.Err() == nil:
		return err
	case errors.Is(err, ctx.Err()):
		return ended(ctx) // the driver doesn't tell the cause
	default:
		return fmt.Errorf("%w: %w", ended(ctx), err)
	}
}
