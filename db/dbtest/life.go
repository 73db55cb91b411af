package dbtest

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

func checkContext(t testing.TB, open Open) {
	f := start(t, open)
	f.put(rec("s", "a", 1))
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err := f.Get(ctx, "s", "a")
	require.ErrorIs(t, err, context.Canceled, "Get")
	results, err := f.Write(ctx, db.Write{If: 1, Record: rec("s", "a", 2)})
	require.ErrorIs(t, err, context.Canceled, "Write")
	require.Empty(t, results, "Write")
	n := 0
	for _, scanErr := range f.Scan(ctx, "s") {
		err = scanErr
		n++
	}
	require.ErrorIs(t, err, context.Canceled, "Scan")
	require.Equal(t, 1, n, "pairs of a scan with an ended context")
	f.same(rec("s", "a", 1), f.get("s", "a"), "a Write whose context had ended before")

	late, cancel := context.WithTimeout(f.ctx, 0)
	defer cancel()
	_, err = f.Write(late, db.Write{If: 1, Record: rec("s", "a", 2)})
	require.ErrorIs(t, err, context.DeadlineExceeded, "Write")
}

func checkClosed(t testing.TB, open Open) {
	f := start(t, open)
	f.put(rec("s", "a", 1))
	seq := f.Scan(f.ctx, "s")
	require.NoError(t, f.Close(), "Close")
	require.NoError(t, f.Close(), "Close again")
	_, err := f.Get(f.ctx, "s", "a")
	require.ErrorIs(t, err, db.ErrClosed, "Get")
	_, err = f.Write(f.ctx, db.Write{Record: rec("s", "b", 1)})
	require.ErrorIs(t, err, db.ErrClosed, "Write")
	require.ErrorIs(t, scanError(f, "s"), db.ErrClosed, "Scan")
	for _, err := range seq {
		require.ErrorIs(t, err, db.ErrClosed, "a range over what an earlier Scan returned")
	}
}

// checkReopen closes and opens a store that calls itself durable. One that
// does not must not keep what it can't promise to keep.
func checkReopen(t testing.TB, open Open) {
	f := start(t, open)
	durable := db.IsDurable(f.DB)
	want := make(map[string]db.Record)
	for round := range 4 {
		for i := range 50 {
			id := fmt.Sprintf("id-%d", i%(20+round))
			var r db.Record
			switch old := want[id]; {
			case i%7 == 6 && old.Version != 0:
				require.True(t, f.write(db.Write{If: old.Version, Record: db.Record{Space: "s", ID: id}})[0].OK)
				delete(want, id)
				continue
			default:
				r = full("s", id, old.Version+1)
				require.True(t, f.write(db.Write{If: old.Version, Record: r})[0].OK)
			}
			want[id] = r
		}
		require.NoError(t, f.Close(), "Close")
		f = startNamed(t, open, f.name)
		require.Equal(t, durable, db.IsDurable(f.DB), "durable before and after")
		if !durable {
			require.Empty(t, f.scan("s"), "what a store holds after Close that does not call itself durable")
			want = make(map[string]db.Record)
			continue
		}
		found := f.scan("s")
		for id, r := range want {
			f.same(r, f.get("s", id), "%s after Close and Open %d", id, round+1)
			f.same(r, found[id], "%s after Close and Open %d, in Scan", id, round+1)
		}
		require.Len(t, found, len(want), "records after Close and Open %d", round+1)
	}
}
