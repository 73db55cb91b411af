// Package dbtest checks and measures implementations of [db.DB].
//
// A store that passes [Run] behaves as the contract of package db says, as far
// as a black box can tell: each promise has a subtest of its own, so that the
// name of a failed one says what is wrong. Concurrent histories are checked
// for linearizability. The suite itself is proven by stores that break one
// promise each.
//
// What it can't see: whether acknowledged writes survive a power cut or the
// death of the process. Reopen only closes and opens. A test that can kill what
// the store runs on, or cut the way to it, does so under [Disturb].
package dbtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// Open opens the store with a name: an empty one the first time that it is
// called with the name, and, if the store is durable, the one with the same
// content after the first has been closed. Names are new for every run of the
// suite and consist of letters, digits and hyphens, so that they can name a
// file or a table; a store that lives elsewhere may drop it after the test.
// Open ends the test if it can't open. The suite closes what it opens.
type Open func(t testing.TB, name string) db.DB

// check is a subtest: one promise.
type check struct {
	name string
	run  func(t testing.TB, open Open)
}

// checks returns every subtest, the simple promises first.
func checks() []check {
	return []check{
		{"Create", checkCreate},
		{"Replace", checkReplace},
		{"Compare", checkCompare},
		{"Winner", checkWinner},
		{"Repeat", checkRepeat},
		{"Delete", checkDelete},
		{"Batch", checkBatch},
		{"Fields", checkFields},
		{"CopiesIn", checkCopiesIn},
		{"CopiesOut", checkCopiesOut},
		{"Get", checkGet},
		{"Spaces", checkSpaces},
		{"Invalid", checkInvalid},
		{"Limits", checkLimits},
		{"Scan", checkScan},
		{"ScanWhileWriting", checkScanWhileWriting},
		{"ScanAndClose", checkScanAndClose},
		{"Context", checkContext},
		{"Closed", checkClosed},
		{"Reopen", checkReopen},
		{"Counter", checkCounter},
		{"Linearizable", checkLinearizable},
		{"Lease", checkLease},
		{"LeaseLinearizable", checkLeaseLinearizable},
	}
}

// Run runs every subtest against stores from open. The seed of random
// histories is logged by the subtests that use one.
func Run(t *testing.T, open Open) {
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) { c.run(t, open) })
	}
}

// limit ends a subtest whose store blocks. It is far beyond what any call of a
// healthy store takes.
const limit = 2 * time.Minute

// fixture is an open store and the shorthands that the subtests use.
type fixture struct {
	testing.TB
	db.DB
	ctx  context.Context
	name string
}

// newName returns a name that no earlier run has used.
func newName(what string) string { return what + "-" + db.NewOwner().String() }

func start(t testing.TB, open Open) *fixture {
	t.Helper()
	return startNamed(t, open, newName("dbtest"))
}

func startNamed(t testing.TB, open Open, name string) *fixture {
	t.Helper()
	store := open(t, name)
	require.NotNil(t, store, "Open returned no store")
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, fmt.Errorf("a subtest took longer than %s", limit))
	t.Cleanup(func() {
		cancel()
		_ = store.Close() // subtests that are about Close have checked it
	})
	return &fixture{TB: t, DB: store, ctx: ctx, name: name}
}

// write sends writes and checks what holds for every outcome.
func (f *fixture) write(writes ...db.Write) []db.Result {
	f.Helper()
	results, err := f.Write(f.ctx, writes...)
	require.NoError(f, err, "Write")
	require.Len(f, results, len(writes), "one Result for each Write")
	for i, r := range results {
		if r.OK {
			f.same(db.Record{}, r.Current, "Current of write %d, which won", i)
		}
	}
	return results
}

// put writes records that must win.
func (f *fixture) put(records ...db.Record) {
	f.Helper()
	for batch := range slices.Chunk(records, 256) {
		writes := make([]db.Write, len(batch))
		for i, r := range batch {
			writes[i] = db.Write{Record: r}
		}
		for i, r := range f.write(writes...) {
			require.True(f, r.OK, "creating %s/%s lost to %+v", batch[i].Space, batch[i].ID, r.Current)
		}
	}
}

// get returns the record, or the zero one if there is none.
func (f *fixture) get(space, id string) db.Record {
	f.Helper()
	records, err := f.Get(f.ctx, space, id)
	require.NoError(f, err, "Get")
	if len(records) == 0 {
		return db.Record{}
	}
	require.Len(f, records, 1, "Get of one id")
	return records[0]
}

// scan returns the records of a space by id.
func (f *fixture) scan(space string) map[string]db.Record {
	f.Helper()
	found := make(map[string]db.Record)
	for r, err := range f.Scan(f.ctx, space) {
		require.NoError(f, err, "Scan")
		_, twice := found[r.ID]
		require.False(f, twice, "Scan yielded %s/%s twice", space, r.ID)
		found[r.ID] = r
	}
	return found
}

// same requires equal records, and says which field differs.
func (f *fixture) same(want, got db.Record, format string, args ...any) {
	f.Helper()
	if want.Equal(got) {
		return
	}
	var diff []string
	differ := func(field string, want, got any) {
		diff = append(diff, fmt.Sprintf("%s: want %v, got %v", field, want, got))
	}
	if want.Space != got.Space || want.ID != got.ID {
		differ("name", want.Space+"/"+want.ID, got.Space+"/"+got.ID)
	}
	if want.Version != got.Version {
		differ("Version", want.Version, got.Version)
	}
	if want.Owner != got.Owner {
		differ("Owner", want.Owner, got.Owner)
	}
	if !want.Until.Equal(got.Until) {
		differ("Until", want.Until, got.Until)
	}
	if string(want.Value) != string(got.Value) {
		differ("Value", abridged(want.Value), abridged(got.Value))
	}
	require.Fail(f, fmt.Sprintf(format, args...), strings.Join(diff, "\n"))
}

func abridged(v []byte) string {
	if len(v) > 64 {
		return fmt.Sprintf("%q... (%d bytes)", v[:64], len(v))
	}
	return fmt.Sprintf("%q", v)
}

// rec is a record with a value that nothing else has.
func rec(space, id string, version int64) db.Record {
	return db.Record{Space: space, ID: id, Version: version, Value: fmt.Appendf(nil, "%s/%s@%d", space, id, version)}
}
