package dbtest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// scanned is how many records the scans of the suite walk: more than a page
// of most engines.
const scanned = 3000

func many(space string, n int) []db.Record {
	records := make([]db.Record, n)
	for i := range records {
		records[i] = rec(space, fmt.Sprintf("id-%04d", i), 1)
	}
	return records
}

func checkScan(t testing.TB, open Open) {
	f := start(t, open)
	f.put(many("s", scanned)...)
	f.put(rec("s2", "a", 1), rec("r", "id-0001", 7))
	found := f.scan("s") // which refuses duplicates
	require.Len(t, found, scanned, "Scan missed records, or yielded those of another space")
	for _, want := range many("s", scanned) {
		f.same(want, found[want.ID], "Scan")
	}

	seq := f.Scan(f.ctx, "s")
	n := 0
	for range seq {
		if n++; n == 10 {
			break
		}
	}
	n = 0
	for _, err := range seq {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, scanned, n, "the second range over one sequence is a scan of its own")
}

// checkScanWhileWriting changes records in the loop and beside it, and requires
// those that exist throughout to be seen once.
func checkScanWhileWriting(t testing.TB, open Open) {
	f := start(t, open)
	f.put(many("s", scanned)...)
	stable := func(i int) bool { return i%3 == 0 } // the others come and go
	ctx, stop := context.WithCancel(f.ctx)
	beside := make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil && ctx.Err() == nil && i < scanned; i++ {
			id := fmt.Sprintf("id-%04d-beside", i*1009%scanned) // all over the range
			_, err = f.Write(f.ctx, db.Write{Record: rec("s", id, 1)})
			if err == nil && i%2 == 0 {
				_, err = f.Write(f.ctx, db.Write{If: 1, Record: db.Record{Space: "s", ID: id}})
			}
		}
		beside <- err
	}()
	defer func() {
		stop()
		require.NoError(t, <-beside, "writing beside a scan")
	}()

	seen := make(map[string]int)
	n := 0
	for r, err := range f.Scan(f.ctx, "s") {
		require.NoError(t, err)
		seen[r.ID]++
		// Behind and ahead of a scan in order; anywhere else in another one.
		// Some get a new version, some are deleted, some created.
		for _, i := range []int{(n + scanned - 1) % scanned, (n + scanned/2) % scanned} {
			id := fmt.Sprintf("id-%04d", i)
			switch {
			case n%5 != 0 || n > scanned: // enough is changed
			case stable(i):
				f.replace("s", id)
			case i%3 == 1:
				f.remove("s", id)
			default:
				f.put(rec("s", fmt.Sprintf("new-%04d-%d", n, i), 1))
			}
		}
		n++
	}
	for i := range scanned {
		if id := fmt.Sprintf("id-%04d", i); stable(i) {
			require.Equal(t, 1, seen[id], "how often %s was seen, which existed throughout", id)
		}
	}
}

// replace raises the version of a record that exists.
func (f *fixture) replace(space, id string) {
	f.Helper()
	version := f.get(space, id).Version
	require.True(f, f.write(db.Write{If: version, Record: rec(space, id, version+1)})[0].OK)
}

// remove deletes a record if it exists.
func (f *fixture) remove(space, id string) {
	f.Helper()
	if version := f.get(space, id).Version; version != 0 {
		require.True(f, f.write(db.Write{If: version, Record: db.Record{Space: space, ID: id}})[0].OK)
	}
}

// checkScanAndClose ends stores and contexts under scans, which must not look
// complete then unless they are.
func checkScanAndClose(t testing.TB, open Open) {
	for _, c := range []struct {
		name string
		want error
		end  func(f *fixture, cancel context.CancelFunc) error
	}{
		{"Close", db.ErrClosed, func(f *fixture, _ context.CancelFunc) error { return f.Close() }},
		{"the context", context.Canceled, func(_ *fixture, cancel context.CancelFunc) error { cancel(); return nil }},
	} {
		f := start(t, open)
		f.put(many("s", scanned)...)
		ctx, cancel := context.WithCancel(f.ctx)
		n := 0
		var last error
		for _, err := range f.Scan(ctx, "s") {
			require.NoError(t, last, "Scan yielded a pair after an error")
			if last = err; err != nil {
				continue
			}
			if n++; n == 5 {
				require.NoError(t, c.end(f, cancel))
			}
		}
		cancel()
		if last == nil {
			require.Equal(t, scanned, n, "%s ended a scan early and without an error", c.name)
		} else if !errors.Is(last, c.want) {
			require.Fail(t, "how the scan ended", "%s ended a scan with %v, want %v", c.name, last, c.want)
		}
	}
}
