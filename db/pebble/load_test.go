package pebble

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// ledger is what writers were told.
type ledger struct {
	mu      sync.Mutex
	acked   map[string]int64 // version by id; 0: deleted
	unknown map[string]int64 // version that a write of unknown outcome would have left
	acks    int
	errs    []error
}

func newLedger() *ledger {
	return &ledger{acked: make(map[string]int64), unknown: make(map[string]int64)}
}

// copyAcked is what was acknowledged by now.
func (l *ledger) copyAcked() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	acked := make(map[string]int64, len(l.acked))
	maps.Copy(acked, l.acked)
	return acked
}

// count is how many writes were acknowledged.
func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acks
}

const loadRecords = 40

// valueOf is what every writer writes as a version: so that a record can be
// checked by itself. Each is of another size.
func valueOf(id string, version int64) string {
	return strings.Repeat(fmt.Sprint(id, "@", version, " "), 1+int(version*37%400))
}

// load has writers that each replace records of their own, and now and then
// delete one, until each has made most writes or one has failed.
func load(s *Store, l *ledger, writers, most int) {
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range most {
				if err := l.step(s, fmt.Sprintf("%d-%d", w, i%loadRecords), i%11 == 10); err != nil {
					l.mu.Lock()
					l.errs = append(l.errs, err)
					l.mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
}

// step makes one write and notes what it was answered.
func (l *ledger) step(s *Store, id string, remove bool) error {
	l.mu.Lock()
	version := l.acked[id]
	l.mu.Unlock()
	next := version + 1
	w := db.Write{If: version, Record: db.Record{Space: "s", ID: id, Version: next, Value: []byte(valueOf(id, next))}}
	if remove && version > 0 {
		next = 0
		w.Record = db.Record{Space: "s", ID: id}
	}
	results, err := s.Write(context.Background(), w)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil && results[0].OK:
		l.acked[id] = next
		l.acks++
	case err == nil:
		return fmt.Errorf("write of %s@%d lost to %d", id, next, results[0].Current.Version)
	case !errors.Is(err, db.ErrFailed) && !errors.Is(err, db.ErrClosed):
		l.unknown[id] = next
	}
	return err
}

// check requires a store to hold what was acknowledged. Of writes with an
// unknown outcome either is right, if they may have happened.
func (l *ledger) check(t testing.TB, s *Store, mayHaveHappened bool) {
	t.Helper()
	found := make(map[string]db.Record)
	for r, err := range s.Scan(t.Context(), "s") {
		require.NoError(t, err)
		require.Equal(t, valueOf(r.ID, r.Version), string(r.Value), r.ID)
		found[r.ID] = r
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, version := range l.acked {
		right := []int64{version}
		if other, ok := l.unknown[id]; ok && mayHaveHappened {
			right = append(right, other)
		}
		require.Contains(t, right, found[id].Version, "%s in Scan", id)
		records, err := s.Get(t.Context(), "s", id)
		require.NoError(t, err)
		if found[id].Version == 0 {
			require.Empty(t, records, id)
		} else {
			require.True(t, found[id].Equal(records[0]), id)
		}
	}
	for id := range found {
		_, acked := l.acked[id]
		_, unknown := l.unknown[id]
		require.True(t, acked || unknown && mayHaveHappened, "%s was never written", id)
	}
}
