package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// expected is what a store may hold after a crash: what it acknowledged last,
// or what it was sent last and never answered.
type expected struct {
	mu      sync.Mutex
	acked   map[string]Record // the zero Record: deleted, or never there
	unknown map[string][]Record
}

func newExpected() *expected {
	return &expected{acked: make(map[string]Record), unknown: make(map[string][]Record)}
}

// check compares a store with what it must hold, and takes over what it holds.
func (e *expected) check(t testing.TB, store DB) {
	t.Helper()
	found := make(map[string]Record)
	for r, err := range store.Scan(t.Context(), "s") {
		require.NoError(t, err)
		found[r.ID] = r
	}
	for id := range found {
		_, acked := e.acked[id]
		require.True(t, acked || len(e.unknown[id]) > 0, "%s was never written", id)
	}
	for id := range e.ids() {
		got, ok := found[id]
		want := e.acked[id]
		allowed := got.Equal(want)
		for _, u := range e.unknown[id] {
			allowed = allowed || got.Equal(u)
		}
		require.True(t, allowed, "%s: version %d (found: %t), acknowledged is %d, sent without an answer: %d",
			id, got.Version, ok, want.Version, len(e.unknown[id]))
		records, err := store.Get(t.Context(), "s", id)
		require.NoError(t, err)
		require.Equal(t, ok, len(records) == 1, "Get and Scan differ on %s", id)
		if e.acked[id] = got; !ok {
			delete(e.acked, id)
		}
		delete(e.unknown, id)
	}
}

func (e *expected) ids() map[string]bool {
	ids := make(map[string]bool)
	for id := range e.acked {
		ids[id] = true
	}
	for id := range e.unknown {
		ids[id] = true
	}
	return ids
}

// next returns random writes, of which none but sometimes one loses.
func (e *expected) next(random *rand.Rand, writer int) []Write {
	e.mu.Lock()
	defer e.mu.Unlock()
	used := make(map[string]bool)
	var writes []Write
	for range 1 + random.IntN(4) {
		id := fmt.Sprintf("%d-%d", writer, random.IntN(6))
		if used[id] {
			continue
		}
		used[id] = true
		version := e.acked[id].Version
		w := Write{If: version, Record: Record{Space: "s", ID: id, Version: version + 1,
			Owner: Owner{byte(writer)}, Value: make([]byte, random.IntN(700))}}
		for i := range w.Record.Value {
			w.Record.Value[i] = byte(random.Uint32())
		}
		if version != 0 && random.IntN(5) == 0 {
			w.Record = Record{Space: "s", ID: id}
		}
		writes = append(writes, w)
	}
	return writes
}

// note takes the outcome of writes down.
func (e *expected) note(writes []Write, results []Result, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, w := range writes {
		after := w.Record
		if after.Version == 0 {
			after = Record{}
		}
		switch {
		case errors.Is(err, ErrFailed) || errors.Is(err, ErrClosed):
			// nothing was done
		case err != nil:
			e.unknown[w.Record.ID] = append(e.unknown[w.Record.ID], after)
		case !results[i].OK:
			panic("a write lost that could not")
		default:
			e.acked[w.Record.ID] = after
		}
	}
}

// load has writers write until there are enough of them or one fails.
func load(store DB, e *expected, seed uint64, writers, writes int) {
	var wg sync.WaitGroup
	for n := range writers {
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		wg.Go(func() {
			for range writes {
				next := e.next(random, n)
				results, err := store.Write(context.Background(), next...)
				e.note(next, results, err)
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

var tiny = fileOptions{compactMin: 8 << 10, renamesOpen: true}

// TestPowerCut cuts the power at each operation of the disk in turn, and
// again while the store recovers, and looks at what is left. Every other time
// only the process dies, so that what a later one saw is what was not synced.
func TestPowerCut(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rounds, writers, writes := 200, 3, 25
	if testing.Short() {
		rounds = 80
	}
	cuts, compacted := 0, 0
	for round := range rounds {
		disk := newSimDisk(seed + uint64(round))
		e := newExpected()
		for life := range 4 {
			disk.ops, disk.failAt, disk.fail = 0, 1+(round+life*17)%90, errPower
			if life == 2 && round%2 == 0 {
				disk.failAt = 1 + round%4 // at once after what a killed process left
			}
			store, err := openFile("/data/polls.db", disk, tiny)
			if err == nil {
				e.check(t, store)
				load(store, e, seed+uint64(round*10+life), writers, writes)
				_ = store.Close()
			} else {
				require.ErrorIs(t, err, errPower, "round %d, life %d", round, life)
			}
			if disk.dead {
				cuts++
			}
			if disk.names["/data/polls.db.compact"] != nil {
				compacted++
			}
			if life%2 == 0 {
				disk = disk.after()
			} else {
				disk.killed()
			}
		}
		store, err := openFile("/data/polls.db", disk, tiny)
		require.NoError(t, err, "round %d", round)
		e.check(t, store)
		require.NoError(t, store.Close())
	}
	require.Greater(t, cuts, rounds, "power cuts")
	require.Positive(t, compacted, "cuts in the middle of a compaction")
}

// TestDiskErrors fails every operation of the disk in turn, once: what was
// acknowledged stays readable, nothing more is written, and a new Open finds
// everything.
func TestDiskErrors(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	failed := make(map[string]int)
	for round := range 150 {
		disk := newSimDisk(seed + uint64(round))
		e := newExpected()
		disk.failAt, disk.fail = 1+round, errFull
		store, err := openFile("/data/polls.db", disk, tiny)
		if err != nil {
			require.ErrorIs(t, err, errFull, "round %d", round)
			require.Empty(t, disk.locked, "a failed Open keeps no lock")
			failed["open"]++
		} else {
			load(store, e, seed+uint64(round), 2, 60)
			_, err := store.Write(t.Context(), Write{Record: Record{Space: "t", ID: "last", Version: 1}})
			if err != nil {
				require.ErrorIs(t, err, ErrFailed, "round %d", round)
				require.ErrorIs(t, err, errFull, "it says why")
				failed["write"]++
				log := store.log.(*simHandle).f
				require.EqualValues(t, store.end, len(log.data), "the log is cut back to what is acknowledged")
				// Readers go on, and see nothing that was not acknowledged.
				e.unknownGone(t, store)
			}
			if err := store.Close(); err != nil {
				require.ErrorIs(t, err, errFull, "round %d", round)
				failed["compaction"]++
			}
		}
		disk.failAt = 0
		store, err = openFile("/data/polls.db", disk, tiny)
		require.NoError(t, err, "round %d", round)
		e.check(t, store)
		load(store, e, seed, 2, 5)
		require.NoError(t, store.Close())
	}
	t.Logf("failed: %v", failed)
	for _, what := range []string{"open", "write"} { // compactions: see TestCompactionErrors
		require.Positive(t, failed[what], what)
	}
}

// unknownGone requires that a store that failed shows what was acknowledged
// and nothing else.
func (e *expected) unknownGone(t testing.TB, store DB) {
	t.Helper()
	for id := range e.ids() {
		records, err := store.Get(t.Context(), "s", id)
		require.NoError(t, err)
		var got Record
		if len(records) > 0 {
			got = records[0]
		}
		require.True(t, got.Equal(e.acked[id]), "%s after a failed write: version %d, acknowledged is %d", id, got.Version, e.acked[id].Version)
	}
}

// TestNoLiveRenames runs where open files can't be renamed.
func TestNoLiveRenames(t *testing.T) {
	disk := newSimDisk(1)
	disk.strict = true
	opt := fileOptions{compactMin: 8 << 10}
	e := newExpected()
	for life := range 6 {
		store, err := openFile("/data/polls.db", disk, opt)
		require.NoError(t, err)
		before := store.end
		require.False(t, store.dueLocked(), "compacted when opened")
		e.check(t, store)
		load(store, e, uint64(life), 2, 100)
		require.Greater(t, store.end, before)
		require.NoError(t, store.Close())
	}
	// A compaction that fails is put off, and says so in the end.
	for _, what := range []string{"create", "write", "sync", "rename"} {
		disk.ops, disk.failAt, disk.fail, disk.only = 0, 1, errFull, what+" /data/polls.db.compact"
		store, err := openFile("/data/polls.db", disk, opt)
		require.NoError(t, err, what)
		disk.failAt = 0
		e.check(t, store)
		load(store, e, 99, 2, 20)
		require.ErrorIs(t, store.Close(), errFull, what)
	}
}

// TestCompactionErrors fails each step of a compaction beside writers.
func TestCompactionErrors(t *testing.T) {
	for _, c := range []struct {
		what   string
		poison bool
	}{
		{"create /data/polls.db.compact", false},
		{"write /data/polls.db.compact", false},
		{"sync /data/polls.db.compact", false},
		{"rename /data/polls.db.compact", false},
		{"syncdir /data", true}, // which log a power cut leaves is not known
	} {
		t.Run(c.what, func(t *testing.T) {
			disk := newSimDisk(1)
			e := newExpected()
			store, err := openFile("/data/polls.db", disk, tiny)
			require.NoError(t, err)
			disk.ops, disk.failAt, disk.fail, disk.only = 0, 1, errFull, c.what
			load(store, e, 1, 2, 150)
			store.compactions.Wait()
			require.GreaterOrEqual(t, disk.ops, 1, "a compaction was tried")
			_, err = store.Write(t.Context(), Write{Record: Record{Space: "t", ID: "x", Version: 1}})
			if c.poison {
				require.ErrorIs(t, err, ErrFailed)
				require.ErrorIs(t, err, errFull)
			} else {
				require.NoError(t, err)
			}
			disk.failAt = 0
			e.unknownGone(t, store)
			_ = store.Close()
			require.Nil(t, disk.names["/data/polls.db.compact"], "what was begun is removed")
			store, err = openFile("/data/polls.db", disk, tiny)
			require.NoError(t, err)
			e.check(t, store)
			require.NoError(t, store.Close())
		})
	}
}

// TestKilledInRename kills the process after a compaction gave the new log its
// name and before that was durable. The next process writes into the new log;
// then the power is cut.
func TestKilledInRename(t *testing.T) {
	for seed := range uint64(8) { // whether the name survives by chance
		disk := newSimDisk(seed)
		e := newExpected()
		store, err := openFile("/data/polls.db", disk, tiny)
		require.NoError(t, err)
		disk.ops, disk.failAt, disk.fail, disk.only = 0, 1, errPower, "syncdir"
		load(store, e, seed, 2, 150)
		_ = store.Close()
		require.True(t, disk.dead, "a compaction came to its rename")
		disk.killed()
		disk.failAt = 0
		store, err = openFile("/data/polls.db", disk, tiny)
		require.NoError(t, err)
		e.check(t, store)
		load(store, e, seed, 1, 3)
		disk = disk.after()
		store, err = openFile("/data/polls.db", disk, tiny)
		require.NoError(t, err)
		e.check(t, store)
		require.NoError(t, store.Close())
	}
}
