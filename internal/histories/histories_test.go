package histories

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/db/pebble"
)

var (
	seedFlag  = flag.Uint64("histories.seed", 0, "seed of the first history, the others have those that follow (default: random)")
	timesFlag = flag.Int("histories.times", 1, "how many times as many histories as in the short form")
	storeFlag = flag.String("histories.store", "", "only worlds whose name begins so: memory, file, pebble, cassandra")
)

// world makes histories of one kind of store under one kind of faults.
type world struct {
	name string
	// short is how many histories the short form makes, and least what one has
	// to contain on the average.
	short int
	least figures
	// run makes one history.
	run func(t *testing.T, seed uint64) *history
}

// history is what one round has left.
type history struct {
	ops    []*operation
	faults int
}

func worlds() []world {
	virtual := figures{Operations: 400, Writes: 150, Unknown: 15, Claims: 10, TakenOver: 1, Renewals: 5, Acts: 5, Faults: 20}
	killed := figures{Operations: 150, Writes: 40, Claims: 2, Faults: lives} // by disks that others keep busy
	return append([]world{
		{"memory", 40, virtual, func(t *testing.T, seed uint64) *history { return inBubble(t, seed, openMemory) }},
		{"file", 15, virtual, func(t *testing.T, seed uint64) *history { return inBubble(t, seed, openFile) }},
		{"pebble", 15, virtual, func(t *testing.T, seed uint64) *history { return inBubble(t, seed, openPebble) }},
		{"file, killed", 3, killed, func(t *testing.T, seed uint64) *history { return killing(t, seed, "file") }},
		{"pebble, killed", 3, killed, func(t *testing.T, seed uint64) *history { return killing(t, seed, "pebble") }},
	}, serverWorlds()...)
}

func openMemory(string) (db.DB, error)   { return db.NewMemory(), nil }
func openFile(dir string) (db.DB, error) { return db.OpenFile(filepath.Join(dir, "histories.db")) }
func openPebble(dir string) (db.DB, error) {
	return pebble.Open(filepath.Join(dir, "histories"), pebble.Config{MemTableBytes: 1 << 20})
}

// TestHistories makes histories of every store under faults, and checks them.
func TestHistories(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64N(1<<53-1) + 1
	}
	t.Logf("seed %d", seed)
	all := make(map[string]figures)
	for _, w := range worlds() {
		if strings.HasPrefix(w.name, *storeFlag) {
			t.Run(w.name, func(t *testing.T) { all[w.name] = w.check(t, seed) })
		}
	}
	require.NotEmpty(t, all, "no world of that name was there; those at servers need -tags integration, and one to be there")
	line, err := json.Marshal(all)
	require.NoError(t, err)
	t.Logf("histories: %s", line)
}

// check makes and judges the histories of a world.
func (w world) check(t *testing.T, seed uint64) figures {
	n := w.short * *timesFlag
	var sum figures
	for i := range n {
		seed := seed + uint64(i)
		h := w.run(t, seed)
		if h == nil {
			t.Fatalf("the history of seed %d could not be made", seed)
		}
		if err := judge(h.ops); err != nil {
			t.Fatalf("%v\nhistory of seed %d; again with: go test ./internal/histories -run TestHistories -histories.store=%q -histories.seed=%d",
				err, seed, w.name, seed)
		}
		sum = sum.plus(count(h))
	}
	require.NoError(t, sum.require(w.least, n), "a history that says little")
	return sum
}

// inBubble makes a history in virtual time, of a store behind faulty wrappers,
// one for each client.
func inBubble(t *testing.T, seed uint64, open func(dir string) (db.DB, error)) *history {
	return inBubbleOver(t, seed, open, func(store db.DB) db.DB { return store })
}

// inBubbleOver does so with a wrapper around the store itself.
func inBubbleOver(t *testing.T, seed uint64, open func(dir string) (db.DB, error), around func(db.DB) db.DB) *history {
	var h *history
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store, err := open(dir)
		require.NoError(t, err)
		var errs []error
		h, errs = disturbed(t.Context(), seed, store, around(store))
		require.NoError(t, errors.Join(append(errs, store.Close())...))
	})
	return h
}

// disturbed makes one history at a store, of four seconds.
func disturbed(ctx context.Context, seed uint64, store, wrapped db.DB) (*history, []error) {
	r := &round{log: &log{}, seed: seed, space: fmt.Sprint("h", seed), ttl: 400 * time.Millisecond, pause: 60 * time.Millisecond}
	var between []*faulty
	r.start(ctx, func(n int) db.DB {
		f := newFaulty(wrapped, 3*time.Millisecond, rand.New(rand.NewPCG(seed, 1000+uint64(n))))
		between = append(between, f)
		return f
	})
	errs := []error{wait(ctx, 4*time.Second), r.stop()}
	h := &history{}
	for _, f := range between {
		f.late.Wait()
		h.faults += int(f.faults.Load())
	}
	errs = append(errs, r.readAll(ctx, store))
	h.ops = r.log.ops
	return h, errs
}

// TestMain makes the test binary the process that killing kills.
func TestMain(m *testing.M) {
	if store := os.Getenv(childEnv); store != "" {
		fmt.Fprintln(os.Stderr, runChild(store))
		os.Exit(1)
	}
	os.Exit(m.Run())
}
