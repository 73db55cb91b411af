package db

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOpenFileNames(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "real.db")
	f, err := OpenFile(path)
	require.NoError(t, err)
	for _, name := range []string{path, path + ".lock"} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
	}
	_, err = OpenFile(path)
	require.ErrorIs(t, err, ErrLocked, "in the same process")
	require.ErrorContains(t, err, fmt.Sprint("process ", os.Getpid()))
	opening := f.Opening()
	require.False(t, opening.IsZero())
	require.Equal(t, opening, f.Opening())

	link := filepath.Join(dir, "link.db")
	require.NoError(t, os.Symlink("real.db", link))
	_, err = OpenFile(link)
	require.ErrorIs(t, err, ErrLocked, "by another name")
	require.NoError(t, f.Close())
	f, err = OpenFile(link)
	require.NoError(t, err)
	require.NotEqual(t, opening, f.Opening(), "each opening has a name of its own")
	require.NoError(t, f.Close())
	require.NoFileExists(t, link+".lock")

	require.NoError(t, os.Symlink("nothing.db", filepath.Join(dir, "dangling.db")))
	_, err = OpenFile(filepath.Join(dir, "dangling.db"))
	require.ErrorIs(t, err, os.ErrNotExist)

	empty := filepath.Join(dir, "empty.db")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	f, err = OpenFile(empty)
	require.NoError(t, err, "an empty file is a new store")
	require.NoError(t, f.Close())

	left := filepath.Join(dir, "real.db.compact")
	require.NoError(t, os.WriteFile(left, []byte("of a crash"), 0o600))
	f, err = OpenFile(path)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoFileExists(t, left)
}

// TestCompaction writes the same records over and over beside readers: the
// file stays small, nothing is missed, and its mode stays.
func TestCompaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "compact.db")
	f, err := openFile(path, osFilesystem{}, fileOptions{compactMin: 64 << 10, renamesOpen: renamesOpen})
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o640))
	const records, rounds = 200, 60
	value := bytes.Repeat([]byte("x"), 300)
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for n := range 2 {
		readers.Go(func() {
			for i := n; ctx.Err() == nil; i++ {
				found, err := f.Get(t.Context(), "s", fmt.Sprint(i%records))
				if err != nil || len(found) > 0 && len(found[0].Value) != len(value) {
					t.Errorf("Get beside compactions: %v %v", found, err)
				}
				for _, err := range f.Scan(t.Context(), "s") {
					if err != nil {
						t.Errorf("Scan beside compactions: %v", err)
					}
				}
			}
		})
	}
	largest := int64(0)
	for round := range int64(rounds) {
		for from := 0; from < records; from += 50 {
			var writes []Write
			for i := from; i < from+50; i++ {
				writes = append(writes, Write{If: round, Record: Record{Space: "s", ID: fmt.Sprint(i), Version: round + 1, Value: value}})
			}
			// Spaces that come and go.
			gone := Record{Space: fmt.Sprint("brief", round), ID: "x", Version: 1}
			writes = append(writes, Write{Record: gone}, Write{If: 1, Record: Record{Space: gone.Space, ID: "x"}})
			results, err := f.Write(t.Context(), writes...)
			require.NoError(t, err)
			for _, r := range results {
				require.True(t, r.OK)
			}
		}
		f.compactions.Wait() // so that the bound below is sharp
		largest = max(largest, f.end)
	}
	stop()
	readers.Wait()
	require.Less(t, largest, int64(300<<10), "records of 70 KiB, garbage of as much, and a round")
	require.Equal(t, records, count(t, f))
	require.NoError(t, f.Close())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode().Perm())

	f, err = OpenFile(path)
	require.NoError(t, err)
	require.Equal(t, records, count(t, f))
	found, err := f.Get(t.Context(), "s", "7")
	require.NoError(t, err)
	require.EqualValues(t, rounds, found[0].Version)
	require.NoError(t, f.Close())
}

// reading calls a function before a certain read of the log.
type reading struct {
	*simDisk
	before func()
}

type readingHandle struct {
	handle
	d *reading
}

func (d *reading) open(name string, flag int, perm os.FileMode) (handle, error) {
	h, err := d.simDisk.open(name, flag, perm)
	return &readingHandle{h, d}, err
}

func (h *readingHandle) ReadAt(b []byte, at int64) (int, error) {
	if h.d.before != nil {
		h.d.before()
	}
	return h.handle.ReadAt(b, at)
}

// TestLogReplacedUnderScan replaces the log in the middle of one step of a
// scan, and of a Get of several.
func TestLogReplacedUnderScan(t *testing.T) {
	disk := &reading{simDisk: newSimDisk(1)}
	f, err := openFile("/data/polls.db", disk, fileOptions{compactMin: 1 << 30, renamesOpen: true})
	require.NoError(t, err)
	ids := make([]string, 20)
	for i := range ids {
		ids[i] = fmt.Sprint("id", i)
		_, err := f.Write(t.Context(), Write{Record: Record{Space: "s", ID: ids[i], Version: 1}},
			Write{Record: Record{Space: "gap", ID: ids[i], Version: 1, Value: make([]byte, 2*runGap)}})
		require.NoError(t, err)
	}
	replace := func() {
		reads := 0
		disk.before = func() {
			if reads++; reads == 10 {
				disk.before = nil
				require.NoError(t, f.compact())
			}
		}
	}
	replace()
	seen := make(map[string]bool)
	for r, err := range f.Scan(t.Context(), "s") {
		require.NoError(t, err)
		require.False(t, seen[r.ID], "%s again", r.ID)
		seen[r.ID] = true
	}
	require.Len(t, seen, len(ids))
	require.Nil(t, disk.before, "the log was replaced")
	replace()
	records, err := f.Get(t.Context(), "s", ids...)
	require.NoError(t, err)
	require.Len(t, records, len(ids))
	require.Nil(t, disk.before, "the log was replaced")
	require.NoError(t, f.Close())
}

// TestCloseWhileWriting closes a store in use: every write is done or refused.
func TestCloseWhileWriting(t *testing.T) {
	for round := range 20 {
		disk := newSimDisk(uint64(round))
		f, err := openFile("/data/polls.db", disk, tiny)
		require.NoError(t, err)
		e := newExpected()
		var wg sync.WaitGroup
		wg.Go(func() { load(f, e, uint64(round), 4, 1_000_000) })
		for f.size() < 20_000 { // some way on
		}
		var closes sync.WaitGroup
		for range 3 {
			closes.Go(func() {
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		closes.Wait()
		wg.Wait()
		require.Empty(t, e.unknown, "no outcome is unknown")
		f, err = openFile("/data/polls.db", disk, tiny)
		require.NoError(t, err)
		e.check(t, f)
		require.NoError(t, f.Close())
	}
}

func (f *File) size() int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.end
}
