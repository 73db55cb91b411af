package queue_test

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// handle is a store as one process sees it. Cutting it is the kill of that
// process: nothing that it still does reaches the store.
type handle struct {
	db.DB
	cut atomic.Bool

	writes  atomic.Int64 // calls of Write
	records atomic.Int64 // writes of the journal
}

var errKilled = errors.New("this process was killed")

func newHandle(store db.DB) *handle { return &handle{DB: store} }

func (h *handle) Unwrap() db.DB { return h.DB }

func (h *handle) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	if h.cut.Load() {
		return nil, errKilled
	}
	return h.DB.Get(ctx, space, ids...)
}

func (h *handle) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if h.cut.Load() {
		return nil, errKilled
	}
	if writes[0].Record.Space != "lease" {
		h.writes.Add(1)
		h.records.Add(int64(len(writes)))
	}
	return h.DB.Write(ctx, writes...)
}

func (h *handle) Scan(ctx context.Context, space string) iter.Seq2[db.Record, error] {
	if h.cut.Load() {
		return func(yield func(db.Record, error) bool) { yield(db.Record{}, errKilled) }
	}
	return h.DB.Scan(ctx, space)
}

// faulty fails calls by chance, before their effect, after it, or both before and
// long after: the write is on its way and arrives when nobody expects it.
type faulty struct {
	db.DB
	mu     sync.Mutex
	rand   *rand.Rand
	rate   float64 // of the writes to the journal
	late   []db.Write
	lucky  int
	failed int
}

var errStore = errors.New("the store has a bad day")

func (f *faulty) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if writes[0].Record.Space == "lease" {
		return f.DB.Write(ctx, writes...)
	}
	if len(f.late) > 0 && f.rand.Float64() < 0.3 {
		late := f.late
		f.late = nil
		if _, err := f.DB.Write(ctx, late...); err != nil {
			return nil, err
		}
	}
	if f.rand.Float64() >= f.rate {
		f.lucky++
		return f.DB.Write(ctx, writes...)
	}
	f.failed++
	switch f.rand.IntN(4) {
	case 0: // never happened
	case 1: // happened
		if _, err := f.DB.Write(ctx, writes...); err != nil {
			return nil, err
		}
	case 2: // happened in part: a batch is no transaction
		if _, err := f.DB.Write(ctx, writes[:f.rand.IntN(len(writes))+1]...); err != nil {
			return nil, err
		}
	case 3: // will happen, if it can
		f.late = append(f.late, writes...)
	}
	return nil, errStore
}

// slow takes virtual time for each write to the journal.
type slow struct {
	db.DB
	takes atomic.Int64 // nanoseconds
}

func newSlow(takes time.Duration) *slow {
	s := &slow{DB: db.NewMemory()}
	s.takes.Store(int64(takes))
	return s
}

func (s *slow) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if writes[0].Record.Space != "lease" {
		t := time.NewTimer(time.Duration(s.takes.Load()))
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return s.DB.Write(ctx, writes...)
}

// openStore opens a new store by name.
func openStore(b testing.TB, name string) db.DB {
	if name == "memory" {
		return db.NewMemory()
	}
	file, err := db.OpenFile(filepath.Join(b.TempDir(), "q.db"))
	require.NoError(b, err)
	b.Cleanup(func() { file.Close() })
	return file
}
