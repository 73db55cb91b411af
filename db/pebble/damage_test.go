package pebble

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// filled is a store with tables and a log, and what it holds: as Close leaves
// it, or a crash in a quiet moment.
func filled(t *testing.T, crashed bool) (files map[string]string, l *ledger) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "filled")
	s, err := Open(dir, tiny)
	require.NoError(t, err)
	l = newLedger()
	load(s, l, 4, 400)
	require.Empty(t, l.errs)
	if !crashed {
		require.NoError(t, s.Close())
	}
	files = make(map[string]string)
	for path, content := range tree(t, dir) {
		files[filepath.Base(path)] = content
	}
	require.NoError(t, s.Close())
	return files, l
}

// lay puts files into a new directory.
func lay(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

// verdict opens a damaged directory and reads all of it. It requires that no
// record is there that was never written, and that every error says what it
// is; it returns the error, and how many records are missing or old.
func verdict(t *testing.T, dir string, l *ledger) (missing int, damaged error) {
	t.Helper()
	s, err := Open(dir, tiny)
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	found := make(map[string]int64)
	for r, err := range s.Scan(t.Context(), "s") {
		if err != nil {
			damaged = err
			break
		}
		require.Equal(t, valueOf(r.ID, r.Version), string(r.Value), "%s holds what was never written", r.ID)
		found[r.ID] = r.Version
	}
	for id, version := range l.acked {
		records, err := s.Get(t.Context(), "s", id)
		if err != nil {
			damaged = errors.Join(damaged, err)
			continue
		}
		var got int64
		if len(records) > 0 {
			got = records[0].Version
			require.Equal(t, valueOf(id, got), string(records[0].Value))
		}
		if got != version {
			missing++
		}
	}
	if damaged == nil {
		missing = max(missing, len(l.acked)-len(found)-countDeleted(l))
	}
	return missing, damaged
}

func countDeleted(l *ledger) (n int) {
	for _, version := range l.acked {
		if version == 0 {
			n++
		}
	}
	return n
}

// ambiguous is how much of the end of a log may be damaged and look torn.
const ambiguous = 96 << 10

// TestDamage changes bytes of each file of a store. Whatever was acknowledged
// is there, or an error says that the store is damaged: but for the end of a
// log that Close has not seen to, which looks like a torn tail.
func TestDamage(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for _, crashed := range []bool{false, true} {
		files, l := filled(t, crashed)
		caught := make(map[string]int)
		for _, name := range slices.Sorted(maps.Keys(files)) {
			content := files[name]
			for range min(12, len(content)) {
				at := random.IntN(len(content))
				damaged := maps.Clone(files)
				damaged[name] = scratch(content, at, 1+random.IntN(8))
				missing, err := verdict(t, lay(t, damaged), l)
				what := fmt.Sprintf("crashed %t: %s changed at byte %d of %d: %d missing, %v", crashed, name, at, len(content), missing, err)
				if err != nil {
					caught[filepath.Ext(name)]++
					requireDamaged(t, err, what)
				} else if !crashed || !strings.HasSuffix(name, ".log") || at < written(content)-ambiguous {
					require.Zero(t, missing, what)
				}
			}
		}
		t.Logf("crashed %t: caught by kind of file: %v", crashed, caught)
		require.Positive(t, caught[".sst"])
		require.True(t, !crashed || caught[".log"] > 0)
	}
}

// scratch changes some bytes from a place on.
func scratch(content string, at, n int) string {
	b := []byte(content)
	for i := at; i < min(at+n, len(b)); i++ {
		b[i] ^= 0x5a
	}
	return string(b)
}

// written is where the zeros begin that were allocated ahead.
func written(log string) int { return len(strings.TrimRight(log, "\x00")) }

func requireDamaged(t *testing.T, err error, what string) {
	t.Helper()
	if errors.Is(err, db.ErrForeign) || errors.Is(err, db.ErrNewer) {
		return // of what the marker says
	}
	require.ErrorIs(t, err, db.ErrDamaged, what)
	d, ok := errors.AsType[*DamagedError](err)
	require.True(t, ok)
	require.NotEmpty(t, d.Reason)
	require.ErrorContains(t, err, "restore a copy of the directory")
}

// TestMissingFiles takes each file of a closed store away.
func TestMissingFiles(t *testing.T) {
	files, l := filled(t, false)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		less := maps.Clone(files)
		delete(less, name)
		missing, err := verdict(t, lay(t, less), l)
		what := fmt.Sprintf("without %s: %d missing, %v", name, missing, err)
		switch {
		case err != nil:
			requireDamaged(t, err, what)
		default:
			require.Zero(t, missing, what)
		}
	}
}

// TestTornLog cuts the log at each of many places: what was before the cut is
// there, in the order of its writing.
func TestTornLog(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Config{})
	require.NoError(t, err)
	const records = 50
	for i := range records {
		id := fmt.Sprintf("%02d", i)
		_, err := s.Write(t.Context(), db.Write{Record: db.Record{Space: "s", ID: id, Version: 1, Value: []byte(valueOf(id, 1))}})
		require.NoError(t, err)
	}
	files := make(map[string]string)
	var log string
	for path, content := range tree(t, dir) {
		name := filepath.Base(path)
		files[name] = content
		if strings.HasSuffix(name, ".log") && written(content) > written(files[log]) {
			log = name
		}
	}
	require.NoError(t, s.Close())
	whole := files[log][:written(files[log])]
	last := 0
	for cut := 0; cut <= len(whole); cut += max(1, len(whole)/97) {
		files[log] = whole[:cut]
		s, err := Open(lay(t, files), Config{})
		require.NoError(t, err, "cut at byte %d of %d", cut, len(whole))
		n := 0
		for r, err := range s.Scan(t.Context(), "s") {
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("%02d", n), r.ID)
			require.Equal(t, valueOf(r.ID, 1), string(r.Value))
			n++
		}
		require.GreaterOrEqual(t, n, last)
		last = n
		require.NoError(t, s.Close())
	}
	require.GreaterOrEqual(t, last, records-1)
}
