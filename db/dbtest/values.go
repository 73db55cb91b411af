package dbtest

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// full is a record with every field set.
func full(space, id string, version int64) db.Record {
	r := rec(space, id, version)
	r.Owner = db.Owner{1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, 255}
	r.Until = time.Date(2031, 5, 7, 11, 13, 17, 123456789, time.UTC)
	return r
}

func checkFields(t testing.TB, open Open) {
	f := start(t, open)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	until := full("", "", 1).Until
	for i, r := range []db.Record{
		full("s", "all", 1),
		{Space: "s", ID: "bare", Version: 1},
		{Space: "s", ID: "highest version", Version: math.MaxInt64},
		{Space: "s", ID: "every byte", Version: 1, Value: all},
		{Space: "s", ID: "nul", Version: 1, Value: []byte{0}},
		{Space: "s", ID: "nanosecond", Version: 1, Until: until.Add(1)},
		{Space: "s", ID: "elsewhere", Version: 1, Until: until.In(time.FixedZone("", 5*3600))},
		{Space: "s", ID: "monotonic", Version: 1, Until: time.Now()},
		{Space: "s", ID: "epoch", Version: 1, Until: time.Unix(0, 0)},
		{Space: "s", ID: "before the epoch", Version: 1, Until: time.Unix(-1, 1)},
		{Space: "s", ID: "early", Version: 1, Until: time.Unix(0, math.MinInt64)},
		{Space: "s", ID: "late", Version: 1, Until: time.Unix(0, math.MaxInt64)},
		{Space: "sp/ace", ID: "https://例え.example/a b?c=%2F&d='\"\\;--#\x00\n", Version: 1, Value: []byte("v")},
		{Space: "空間", ID: "\U0001F4E6", Version: 1, Value: []byte("v")},
	} {
		f.put(r)
		got := f.get(r.Space, r.ID)
		f.same(r, got, "Get of record %d, %q", i, r.ID)
		if !r.Until.IsZero() {
			require.Equal(t, time.UTC, got.Until.Location(), "Until of %q", r.ID)
			require.Equal(t, got.Until.Round(0), got.Until, "Until of %q has a monotonic reading", r.ID)
		} else {
			require.True(t, got.Until.IsZero(), "Until of %q", r.ID)
		}
		f.same(r, f.scan(r.Space)[r.ID], "Scan of record %d, %q", i, r.ID)
		f.same(r, f.write(db.Write{Record: rec(r.Space, r.ID, 1)})[0].Current, "Current of record %d, %q", i, r.ID)
	}
}

func checkCopiesIn(t testing.TB, open Open) {
	f := start(t, open)
	value := []byte("as it was written")
	f.put(db.Record{Space: "s", ID: "a", Version: 1, Value: value})
	scribble(value)
	require.Equal(t, "as it was written", string(f.get("s", "a").Value), "the caller changed its slice after Write")
	for r, err := range f.Scan(f.ctx, "s") {
		require.NoError(t, err)
		require.Equal(t, "as it was written", string(r.Value), "the caller changed its slice after Write")
	}
}

func checkCopiesOut(t testing.TB, open Open) {
	f := start(t, open)
	const was = "as it was written"
	f.put(db.Record{Space: "s", ID: "a", Version: 1, Value: []byte(was)})
	scribble(f.get("s", "a").Value)
	require.Equal(t, was, string(f.get("s", "a").Value), "the caller changed what Get gave it")
	for r, err := range f.Scan(f.ctx, "s") {
		require.NoError(t, err)
		scribble(r.Value)
	}
	require.Equal(t, was, string(f.get("s", "a").Value), "the caller changed what Scan gave it")
	scribble(f.write(db.Write{Record: rec("s", "a", 1)})[0].Current.Value)
	require.Equal(t, was, string(f.get("s", "a").Value), "the caller changed the Current that Write gave it")

	first, second := f.get("s", "a"), f.get("s", "a")
	scribble(first.Value)
	require.Equal(t, was, string(second.Value), "two answers share a slice")
}

// scribble changes a slice in place, and what append would find behind it.
func scribble(b []byte) {
	b = b[:cap(b)]
	for i := range b {
		b[i] = '!'
	}
}

func checkGet(t testing.TB, open Open) {
	f := start(t, open)
	for i := range 20 {
		f.put(rec("s", fmt.Sprint("id", i), 1))
	}
	ids := func(names ...string) []string {
		records, err := f.Get(f.ctx, "s", names...)
		require.NoError(t, err)
		got := []string{}
		for _, r := range records {
			f.same(rec("s", r.ID, 1), r, "Get of several")
			got = append(got, r.ID)
		}
		return got
	}
	require.Equal(t, []string{"id7", "id3", "id12", "id0"}, ids("id7", "id3", "id12", "id0"), "in the order of the ids")
	require.Equal(t, []string{"id7", "id3"}, ids("no", "id7", "nor", "id3", "either"), "only those that exist")
	require.Equal(t, []string{"id5", "id4", "id5"}, ids("id5", "id4", "id5"), "an id named twice")
	require.Empty(t, ids("no"), "none that exists")
	require.Empty(t, ids(), "no ids")
}

func checkSpaces(t testing.TB, open Open) {
	f := start(t, open)
	// Pairs that look the same when names are glued together, whatever lies
	// between, and those at the very end of what an ordered store gives a space.
	names := [][2]string{
		{"a", "bc"}, {"ab", "c"}, {"a", "b"}, {"a/b", "c"}, {"a", "b/c"}, {"A", "b"}, {"a ", "b"}, {"a", " b"},
		{"n\x00", "m"}, {"n", "\x00m"}, {"n", "m"}, {"n\x00m", "m"}, {"n", "m\x00m"},
		{"z", "\U0010FFFF\U0010FFFF"}, {"z\U0010FFFF", "a"}, {"z\U0010FFFF", "\U0010FFFF"}, {"{", "a"},
	}
	for i, n := range names {
		f.put(rec(n[0], n[1], int64(i+1)))
	}
	want := make(map[string]int)
	for i, n := range names {
		f.same(rec(n[0], n[1], int64(i+1)), f.get(n[0], n[1]), "Get of %q %q", n[0], n[1])
		want[n[0]]++
	}
	for space, n := range want {
		require.Len(t, f.scan(space), n, "Scan of %q", space)
	}
	require.Empty(t, f.scan("never used"), "Scan of an empty space")
	require.True(t, f.write(db.Write{If: 3, Record: db.Record{Space: "a", ID: "b"}})[0].OK)
	f.same(rec("A", "b", 6), f.get("A", "b"), "after deleting its namesake in another space")
}

func checkInvalid(t testing.TB, open Open) {
	f := start(t, open)
	f.put(rec("s", "a", 1))
	ok := db.Write{If: 1, Record: rec("s", "a", 2)}
	for name, w := range map[string]db.Write{
		"no space":                   {Record: rec("", "a", 1)},
		"no id":                      {Record: rec("s", "", 1)},
		"space is no UTF-8":          {Record: rec("\xff", "a", 1)},
		"id is no UTF-8":             {Record: rec("s", "a\xc3", 1)},
		"negative if":                {If: -1, Record: rec("s", "a", 2)},
		"negative version":           {Record: rec("s", "a", -1)},
		"version not above if":       {If: 2, Record: rec("s", "a", 2)},
		"version below if":           {If: 2, Record: rec("s", "a", 1)},
		"delete what must not be":    {If: 0, Record: db.Record{Space: "s", ID: "a"}},
		"until before representable": {If: 1, Record: db.Record{Space: "s", ID: "a", Version: 2, Until: time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"until after representable":  {If: 1, Record: db.Record{Space: "s", ID: "a", Version: 2, Until: time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)}},
	} {
		results, err := f.Write(f.ctx, ok, w)
		require.ErrorIs(t, err, db.ErrInvalid, name)
		require.Empty(t, results, name)
	}
	f.same(rec("s", "a", 1), f.get("s", "a"), "a refused call did a part of its writes")
	_, err := f.Get(f.ctx, "", "a")
	require.ErrorIs(t, err, db.ErrInvalid, "Get without a space")
	_, err = f.Get(f.ctx, "s", "a", "")
	require.ErrorIs(t, err, db.ErrInvalid, "Get of an empty id")
	require.ErrorIs(t, scanError(f, ""), db.ErrInvalid, "Scan without a space")
}

func checkLimits(t testing.TB, open Open) {
	f := start(t, open)
	largest := db.Record{
		Space: strings.Repeat("s", db.MaxSpace), ID: strings.Repeat("i", db.MaxID), Version: 1,
		Value: bytes.Repeat([]byte{0xa5}, db.MaxValue),
	}
	f.put(largest)
	f.same(largest, f.get(largest.Space, largest.ID), "the largest record")
	f.same(largest, f.scan(largest.Space)[largest.ID], "the largest record")

	tooLarge := func(what string, err error) {
		t.Helper()
		require.ErrorIs(t, err, db.ErrTooLarge, what)
	}
	write := func(writes ...db.Write) error {
		_, err := f.Write(f.ctx, writes...)
		return err
	}
	tooLarge("space", write(db.Write{Record: rec(largest.Space+"s", "a", 1)}))
	tooLarge("id", write(db.Write{Record: rec("s", largest.ID+"i", 1)}))
	tooLarge("value", write(db.Write{Record: db.Record{Space: "s", ID: "a", Version: 1, Value: make([]byte, db.MaxValue+1)}}))

	writes, ids := make([]db.Write, db.MaxBatch+1), make([]string, db.MaxBatch+1)
	for i := range writes {
		ids[i] = fmt.Sprint("id", i)
		writes[i] = db.Write{Record: rec("s", ids[i], 1)}
	}
	tooLarge("writes", write(writes...))
	_, err := f.Get(f.ctx, "s", ids...)
	tooLarge("ids of Get", err)
	_, err = f.Get(f.ctx, strings.Repeat("s", db.MaxSpace+1), "a")
	tooLarge("space of Get", err)
	tooLarge("space of Scan", scanError(f, strings.Repeat("s", db.MaxSpace+1)))
	heavy := make([]db.Write, db.MaxBatchBytes/db.MaxValue+1)
	for i := range heavy {
		heavy[i] = db.Write{Record: db.Record{Space: "s", ID: fmt.Sprint("heavy", i), Version: 1, Value: largest.Value}}
	}
	tooLarge("bytes of a batch", write(heavy...))
	require.Empty(t, f.scan("s"), "a refused call did a part of its writes")

	// Engines take another way with a batch that is large to them.
	heavy = fitting(heavy)
	require.NoError(t, write(heavy...), "as many bytes as allowed")
	found := f.scan("s")
	require.Len(t, found, len(heavy), "as many bytes as allowed")
	for _, w := range heavy {
		f.same(w.Record, f.get("s", w.Record.ID), "of as many bytes as allowed")
		f.same(w.Record, found[w.Record.ID], "of as many bytes as allowed, in Scan")
	}
	require.NoError(t, write(writes[:db.MaxBatch]...), "as many writes as allowed")
	records, err := f.Get(f.ctx, "s", ids[:db.MaxBatch]...)
	require.NoError(t, err, "as many ids as allowed")
	require.Len(t, records, db.MaxBatch)
}

// fitting cuts the last value, so that a batch is as large as allowed.
func fitting(batch []db.Write) []db.Write {
	over := -db.MaxBatchBytes
	for _, w := range batch {
		over += len(w.Record.Space) + len(w.Record.ID) + len(w.Record.Value)
	}
	last := &batch[len(batch)-1].Record
	for over > len(last.Value) {
		over -= len(last.Space) + len(last.ID) + len(last.Value)
		batch = batch[:len(batch)-1]
		last = &batch[len(batch)-1].Record
	}
	last.Value = last.Value[:len(last.Value)-over]
	return batch
}

// scanError returns the error with which a scan ends.
func scanError(f *fixture, space string) (last error) {
	f.Helper()
	for _, err := range f.Scan(f.ctx, space) {
		require.NoError(f, last, "Scan yielded a pair after an error")
		last = err
	}
	return last
}
