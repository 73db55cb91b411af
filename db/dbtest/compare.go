package dbtest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

func checkCreate(t testing.TB, open Open) {
	f := start(t, open)
	f.same(db.Record{}, f.get("s", "a"), "a record that was never written")
	first := rec("s", "a", 1)
	f.put(first)
	f.same(first, f.get("s", "a"), "what was created")
	second := rec("s", "a", 2)
	require.False(t, f.write(db.Write{Record: second})[0].OK, "If 0 won although the record exists")
	f.same(first, f.get("s", "a"), "after a lost create")
	f.put(rec("s", "b", 1_000_000_007))
	require.EqualValues(t, 1_000_000_007, f.get("s", "b").Version, "a first version of the writer's choice")
}

func checkReplace(t testing.TB, open Open) {
	f := start(t, open)
	f.put(rec("s", "a", 1))
	for _, step := range []struct{ from, to int64 }{{1, 2}, {2, 3}, {3, 100}, {100, 1 << 62}} {
		next := rec("s", "a", step.to)
		require.True(t, f.write(db.Write{If: step.from, Record: next})[0].OK, "replace %d by %d", step.from, step.to)
		f.same(next, f.get("s", "a"), "after replacing %d by %d", step.from, step.to)
	}
	// A replacement leaves nothing of what it replaces.
	bare := db.Record{Space: "s", ID: "a", Version: 1<<62 + 1}
	require.True(t, f.write(db.Write{If: 1 << 62, Record: bare})[0].OK)
	f.same(bare, f.get("s", "a"), "replaced by a record without a value")
}

func checkCompare(t testing.TB, open Open) {
	f := start(t, open)
	f.put(rec("s", "a", 5))
	for _, w := range []db.Write{
		{If: 4, Record: rec("s", "a", 6)},
		{If: 6, Record: rec("s", "a", 7)},
		{If: 4, Record: rec("s", "a", 5)},
		{If: 4, Record: db.Record{Space: "s", ID: "a"}},
		{If: 6, Record: db.Record{Space: "s", ID: "a"}},
		{If: 5, Record: rec("s", "b", 6)},
		{If: 5, Record: db.Record{Space: "s", ID: "b"}},
		{If: 5, Record: rec("other", "a", 6)},
	} {
		require.False(t, f.write(w)[0].OK, "stored a@5: if %d, version %d of %s won", w.If, w.Record.Version, w.Record.ID)
		f.same(rec("s", "a", 5), f.get("s", "a"), "after a lost write")
		f.same(db.Record{}, f.get("s", "b"), "a lost write created a record")
		f.same(db.Record{}, f.get("other", "a"), "a lost write created a record")
	}
}

func checkWinner(t testing.TB, open Open) {
	f := start(t, open)
	winner := full("s", "a", 5)
	f.put(winner)
	for _, w := range []db.Write{
		{If: 0, Record: rec("s", "a", 1)},
		{If: 4, Record: rec("s", "a", 6)},
		{If: 9, Record: rec("s", "a", 10)},
		{If: 4, Record: db.Record{Space: "s", ID: "a"}},
	} {
		f.same(winner, f.write(w)[0].Current, "the winner over if %d, version %d", w.If, w.Record.Version)
	}
	for _, w := range []db.Write{
		{If: 4, Record: rec("s", "none", 6)},
		{If: 4, Record: db.Record{Space: "s", ID: "none"}},
	} {
		f.same(db.Record{}, f.write(w)[0].Current, "Current where nothing is stored")
	}
}

// checkRepeat sends writes again, as one does after an unknown outcome.
func checkRepeat(t testing.TB, open Open) {
	f := start(t, open)
	for _, w := range []db.Write{
		{If: 0, Record: full("s", "a", 1)},
		{If: 1, Record: full("s", "a", 2)},
		{If: 2, Record: db.Record{Space: "s", ID: "a"}},
	} {
		require.True(t, f.write(w)[0].OK)
		again := f.write(w)[0]
		require.False(t, again.OK, "if %d, version %d won twice", w.If, w.Record.Version)
		require.True(t, w.Won(again), "if %d, version %d was repeated, and can't be told from lost: %+v", w.If, w.Record.Version, again)
	}
	f.put(rec("s", "b", 1))
	other := db.Write{If: 0, Record: full("s", "b", 1)}
	require.False(t, other.Won(f.write(other)[0]), "a write that lost to another of the same version looks won")
}

func checkDelete(t testing.TB, open Open) {
	f := start(t, open)
	f.put(rec("s", "a", 3), rec("s", "b", 3), rec("s", "c", 3))
	require.True(t, f.write(db.Write{If: 3, Record: db.Record{Space: "s", ID: "b"}})[0].OK, "delete")
	f.same(db.Record{}, f.get("s", "b"), "Get of a deleted record")
	found := f.scan("s")
	require.Len(t, found, 2, "Scan after a delete")
	require.NotContains(t, found, "b", "Scan after a delete")
	f.same(rec("s", "a", 3), f.get("s", "a"), "its neighbour")

	// It leaves nothing behind: the next may begin anywhere.
	f.put(rec("s", "b", 1))
	f.same(rec("s", "b", 1), f.get("s", "b"), "created again with a lower version")

	// The fields beyond the names don't matter to a delete.
	odd := full("s", "c", 0)
	require.True(t, f.write(db.Write{If: 3, Record: odd})[0].OK, "delete with a value")
	f.same(db.Record{}, f.get("s", "c"), "Get of a deleted record")
}

func checkBatch(t testing.TB, open Open) {
	f := start(t, open)
	f.put(rec("s", "a", 1), rec("s", "b", 1), rec("s", "c", 1))
	results := f.write(
		db.Write{If: 1, Record: rec("s", "a", 2)},                   // wins
		db.Write{If: 7, Record: rec("s", "b", 8)},                   // loses
		db.Write{If: 0, Record: rec("s", "d", 1)},                   // wins
		db.Write{If: 1, Record: db.Record{Space: "s", ID: "c"}},     // wins
		db.Write{If: 0, Record: rec("s", "b", 1)},                   // loses
		db.Write{If: 2, Record: db.Record{Space: "s", ID: "ghost"}}, // loses
		db.Write{If: 0, Record: rec("other", "a", 1)},               // wins
	)
	for i, want := range []bool{true, false, true, true, false, false, true} {
		require.Equal(t, want, results[i].OK, "write %d: each is compared on its own, whatever the others do", i)
	}
	f.same(rec("s", "b", 1), results[1].Current, "the winner over write 1")
	f.same(rec("s", "b", 1), results[4].Current, "the winner over write 4")
	f.same(rec("s", "a", 2), f.get("s", "a"), "write 0")
	f.same(rec("s", "b", 1), f.get("s", "b"), "writes 1 and 4")
	f.same(rec("s", "d", 1), f.get("s", "d"), "write 2, after one that lost")
	f.same(db.Record{}, f.get("s", "c"), "write 3")
	f.same(rec("other", "a", 1), f.get("other", "a"), "write 6, the last")

	// Writes to one record take effect in their order.
	results = f.write(
		db.Write{If: 0, Record: rec("s", "e", 1)},
		db.Write{If: 1, Record: rec("s", "e", 2)},
		db.Write{If: 1, Record: rec("s", "e", 3)}, // loses to the second
		db.Write{If: 2, Record: db.Record{Space: "s", ID: "e"}},
		db.Write{If: 2, Record: rec("s", "e", 4)}, // loses to the delete
		db.Write{If: 0, Record: rec("s", "e", 9)},
	)
	for i, want := range []bool{true, true, false, true, false, true} {
		require.Equal(t, want, results[i].OK, "write %d of six to one record", i)
	}
	f.same(rec("s", "e", 2), results[2].Current, "the winner over write 2 of the same call")
	f.same(db.Record{}, results[4].Current, "Current after the delete in the same call")
	f.same(rec("s", "e", 9), f.get("s", "e"), "the last of six")

	results, err := f.Write(f.ctx)
	require.NoError(t, err, "no writes")
	require.Empty(t, results, "no writes")
}
