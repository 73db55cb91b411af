package dbtest

import (
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// brokenStores are stores that break one promise each, with the subtest that
// is there for it.
func brokenStores() []struct {
	name, caughtBy string
	open           func() db.DB
} {
	wrap := func(breakIt func(f *faulty, healthy db.DB)) func() db.DB {
		return func() db.DB {
			f := &faulty{DB: db.NewMemory()}
			breakIt(f, f.DB)
			return f
		}
	}
	return []struct {
		name, caughtBy string
		open           func() db.DB
	}{
		{"creates over what exists", "Create", wrap(overwriting)},
		{"merges a replacement with what was there", "Replace", wrap(merging)},
		{"ignores If", "Compare", wrap(ignoringIf)},
		{"names no winner", "Winner", wrap(withoutWinner)},
		{"wins twice", "Repeat", wrap(winningTwice)},
		{"loses a delete", "Delete", wrap(losingDeletes)},
		{"stops a batch at the first loser", "Batch", wrap(stoppingAtLoser)},
		{"does half of a batch", "Batch", wrap(halving)},
		{"keeps milliseconds", "Fields", wrap(roundingUntil)},
		{"forgets owners", "Fields", wrap(forgettingOwners)},
		{"keeps the caller's slice", "CopiesIn", func() db.DB { return newAliasing(true, false) }},
		{"hands out its own slice", "CopiesOut", func() db.DB { return newAliasing(false, true) }},
		{"answers in an order of its own", "Get", wrap(reordering)},
		{"answers for ids that do not exist", "Get", wrap(inventing)},
		{"mixes spaces", "Spaces", wrap(mixingSpaces)},
		{"mixes spaces with zero bytes in them", "Spaces", wrap(mixingNUL)},
		{"takes invalid writes", "Invalid", wrap(takingInvalid)},
		{"cuts long values", "Limits", wrap(cutting)},
		{"loses half of a large batch", "Limits", wrap(splitting)},
		{"misses a record in a scan", "Scan", wrap(missingOne)},
		{"repeats a record in a scan", "Scan", wrap(repeatingOne)},
		{"loses its place when written to", "ScanWhileWriting", wrap(pagingByNumber)},
		{"ends scans quietly", "ScanAndClose", wrap(endingQuietly)},
		{"is deaf to contexts", "Context", wrap(deaf)},
		{"goes on after Close", "Closed", wrap(immortal)},
		{"forgets after Close", "Reopen", func() db.DB { return &durable{faulty{DB: db.NewMemory()}} }},
		{"compares, then acts", "Counter", wrap(racing)},
		{"answers from an old copy", "Linearizable", wrap(answeringOld)},
		{"keeps a renewed lease's old end", "Lease", wrap(keepingUntil)},
		{"says yes to a claim that lost", "LeaseLinearizable", wrap(flattering)},
	}
}

// TestBrokenStores proves the suite: each broken store fails the subtest that
// is meant for it.
func TestBrokenStores(t *testing.T) {
	meant := make(map[string]bool)
	for _, broken := range brokenStores() {
		meant[broken.caughtBy] = true
		t.Run(broken.name, func(t *testing.T) {
			var failed []string
			for _, c := range checks() {
				if fails(t, c, func(testing.TB, string) db.DB { return broken.open() }) {
					failed = append(failed, c.name)
				}
			}
			t.Logf("failed: %v", failed)
			require.Contains(t, failed, broken.caughtBy)
		})
	}
	for _, c := range checks() {
		require.True(t, meant[c.name], "no broken store is there for %s", c.name)
	}
}

// fails runs a check and reports whether it fails.
func fails(t *testing.T, c check, open Open) bool {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(r, open)
	}()
	<-done
	return r.failed
}

// recorder is a testing.TB that notes a failure instead of passing it on.
type recorder struct {
	testing.TB
	mu     sync.Mutex
	failed bool
}

func (r *recorder) Fail() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *recorder) Errorf(string, ...any) { r.Fail() }
func (r *recorder) Error(...any)          { r.Fail() }
func (r *recorder) Logf(string, ...any)   {}
func (r *recorder) Log(...any)            {}
func (r *recorder) Fatalf(string, ...any) { r.FailNow() }
func (r *recorder) Fatal(...any)          { r.FailNow() }

func (r *recorder) FailNow() {
	r.Fail()
	runtime.Goexit()
}
