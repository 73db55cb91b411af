package histories

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cannedos/cannedos/db"
)

// mutation is what a broken store does instead.
type mutation struct {
	get   func(m *mutant, ctx context.Context, space string, ids []string) ([]db.Record, error)
	write func(m *mutant, ctx context.Context, w db.Write) (db.Result, error)
}

// mutant is a store that breaks its promise now and then.
type mutant struct {
	db.DB
	mutation

	mu     sync.Mutex
	random *rand.Rand
	seen   map[string][]db.Record // by ID: what an earlier Get found
}

// strikes says whether to break the promise this time.
func (m *mutant) strikes() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.random.IntN(100) == 0
}

func (m *mutant) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	if m.get != nil && m.strikes() {
		return m.get(m, ctx, space, ids)
	}
	found, err := m.DB.Get(ctx, space, ids...)
	if err == nil && len(ids) == 1 {
		m.mu.Lock()
		m.seen[ids[0]] = found
		m.mu.Unlock()
	}
	return found, err
}

func (m *mutant) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if m.write != nil && len(writes) == 1 && m.strikes() {
		result, err := m.write(m, ctx, writes[0])
		return []db.Result{result}, err
	}
	return m.DB.Write(ctx, writes...)
}

// force writes whatever is there.
func (m *mutant) force(ctx context.Context, w db.Write) (db.Result, error) {
	for {
		results, err := m.DB.Write(ctx, w)
		if err != nil || results[0].OK {
			return db.Result{OK: true}, err
		}
		w.If = results[0].Current.Version
		if w.Record.Version <= w.If {
			if err := m.remove(ctx, w.Record, w.If); err != nil {
				return db.Result{}, err
			}
			if w.Record.Version == 0 {
				return db.Result{OK: true}, nil
			}
			w.If = 0
		}
	}
}

// remove deletes what has the name of r, whatever its version is.
func (m *mutant) remove(ctx context.Context, r db.Record, version int64) error {
	for version != 0 {
		results, err := m.DB.Write(ctx, db.Write{If: version, Record: db.Record{Space: r.Space, ID: r.ID}})
		if err != nil || results[0].OK {
			return err
		}
		version = results[0].Current.Version
	}
	return nil
}

// TestMutants proves the checks: each of these stores is caught within a few
// histories.
func TestMutants(t *testing.T) {
	for name, c := range map[string]struct {
		want error
		mutation
	}{
		"ignores If": {errNotLinearizable, mutation{write: (*mutant).force}},
		"acknowledges what it drops": {errNotLinearizable, mutation{write: func(*mutant, context.Context, db.Write) (db.Result, error) {
			return db.Result{OK: true}, nil
		}}},
		"says that it lost": {errNotLinearizable, mutation{write: func(m *mutant, ctx context.Context, w db.Write) (db.Result, error) {
			_, err := m.DB.Write(ctx, w)
			return db.Result{Current: db.Record{Space: w.Record.Space, ID: w.Record.ID, Version: w.If + 7}}, err
		}}},
		"reads what was there before": {errNotLinearizable, mutation{get: func(m *mutant, _ context.Context, _ string, ids []string) ([]db.Record, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.seen[ids[0]], nil
		}}},
		"forgets when a lease ends": {errTwoHolders, mutation{get: func(m *mutant, ctx context.Context, space string, ids []string) ([]db.Record, error) {
			found, err := m.DB.Get(ctx, space, ids...)
			for i := range found {
				found[i].Until = time.Time{}
			}
			return found, err
		}}},
		"forgets a record": {errToken, mutation{write: func(m *mutant, ctx context.Context, w db.Write) (db.Result, error) {
			if err := m.remove(ctx, w.Record, max(1, w.If)); err != nil {
				return db.Result{}, err
			}
			results, err := m.DB.Write(ctx, w)
			if err != nil {
				return db.Result{}, err
			}
			return results[0], nil
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			const most = 20
			for seed := uint64(1); seed <= most; seed++ {
				h := inBubbleOver(t, seed, openMemory, func(store db.DB) db.DB {
					return &mutant{
						DB: store, mutation: c.mutation,
						random: rand.New(rand.NewPCG(seed, 3)), seen: make(map[string][]db.Record),
					}
				})
				if err := judgeWithin(h.ops, patience/10); errors.Is(err, c.want) {
					t.Logf("history %d: %v", seed, c.want)
					return
				}
			}
			t.Fatalf("not caught in %d histories", most)
		})
	}
}
