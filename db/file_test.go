package db

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sample writes a small file and returns its path, its bytes, and where each
// of its batches ends.
func sample(t testing.TB) (path string, content []byte, ends []int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "sample.db")
	f, err := OpenFile(path)
	require.NoError(t, err)
	for i := range 6 {
		_, err := f.Write(t.Context(),
			Write{Record: Record{Space: "s", ID: fmt.Sprint("a", i), Version: 1, Owner: Owner{1}, Until: time.Unix(1, 2), Value: []byte("value")}},
			Write{Record: Record{Space: "s", ID: fmt.Sprint("b", i), Version: 7}})
		require.NoError(t, err)
		ends = append(ends, f.end)
	}
	_, err = f.Write(t.Context(), Write{If: 1, Record: Record{Space: "s", ID: "a0"}})
	require.NoError(t, err)
	ends = append(ends, f.end)
	require.NoError(t, f.Close())
	content, err = os.ReadFile(path)
	require.NoError(t, err)
	require.EqualValues(t, f.end, len(content))
	return path, content, ends
}

// reopen writes content to a new file and opens it.
func reopen(t testing.TB, content []byte) (*File, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "again.db")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	f, err := OpenFile(path)
	return f, path, err
}

func count(t testing.TB, f *File) int {
	t.Helper()
	n := 0
	for _, err := range f.Scan(t.Context(), "s") {
		require.NoError(t, err)
		n++
	}
	return n
}

// TestTornTail cuts the file at every byte: every batch that is whole is
// there, the rest is gone, and the file works on.
func TestTornTail(t *testing.T) {
	_, content, ends := sample(t)
	for cut := headerSize; cut <= len(content); cut++ {
		disk := newSimDisk(1)
		disk.put("/torn.db", content[:cut])
		f, err := openFile("/torn.db", disk, tiny)
		require.NoError(t, err, "cut at %d", cut)
		whole := 0
		for _, end := range ends[:6] {
			if int64(cut) >= end {
				whole += 2
			}
		}
		if cut == len(content) {
			whole-- // the last batch deletes one
		}
		got := count(t, f)
		require.GreaterOrEqual(t, got, whole, "cut at %d", cut)
		require.LessOrEqual(t, got, whole+1, "cut at %d: at most the first record of the torn batch", cut)
		_, err = f.Write(t.Context(), Write{Record: Record{Space: "s", ID: "new", Version: 1}})
		require.NoError(t, err)
		require.NoError(t, f.Close())
		f, err = openFile("/torn.db", disk, tiny)
		require.NoError(t, err)
		require.Equal(t, got+1, count(t, f), "cut at %d, written and opened again", cut)
		require.NoError(t, f.Close())
	}
}

// TestGarbageTail puts what a crash may leave behind the last batch.
func TestGarbageTail(t *testing.T) {
	_, content, _ := sample(t)
	torn := append(bytes.Clone(content[headerSize:headerSize+40]), make([]byte, 3000)...)
	for name, tail := range map[string][]byte{
		"zeros":                   make([]byte, 5000),
		"ones":                    bytes.Repeat([]byte{0xff}, 5000),
		"text":                    bytes.Repeat([]byte("no frame at all "), 300),
		"half a frame":            content[headerSize : headerSize+20],
		"half a frame, and zeros": torn,
	} {
		f, _, err := reopen(t, append(bytes.Clone(content), tail...))
		require.NoError(t, err, name)
		require.Equal(t, 11, count(t, f), name)
		require.EqualValues(t, len(content), f.end, name)
		require.NoError(t, f.Close())
	}
}

// TestTornTailIsCut has a torn batch whose later records are whole, and puts a
// new record exactly over what is broken: the later ones must not come back.
func TestTornTailIsCut(t *testing.T) {
	disk := newSimDisk(1)
	f, err := openFile("/torn.db", disk, tiny)
	require.NoError(t, err)
	for _, id := range []string{"ok", "xx"} {
		_, err = f.Write(t.Context(), Write{Record: Record{Space: "s", ID: id, Version: 1}}, Write{Record: Record{Space: "s", ID: id + "-later", Version: 1}})
		require.NoError(t, err)
	}
	slot, ok := f.tables["s"].find("xx")
	require.True(t, ok)
	broken := f.tables["s"].places.at(slot).offset()
	if later, _ := f.tables["s"].find("xx-later"); f.tables["s"].places.at(later).offset() < broken {
		t.Fatal("the writes of one call are in the log in their order")
	}
	require.NoError(t, f.Close())
	content := disk.names["/torn.db"].data
	content[broken+frameHead+1] ^= 1
	disk.put("/torn.db", content)

	f, err = openFile("/torn.db", disk, tiny)
	require.NoError(t, err)
	require.Equal(t, 2, count(t, f))
	_, err = f.Write(t.Context(), Write{Record: Record{Space: "s", ID: "yy", Version: 1}})
	require.NoError(t, err)
	require.NoError(t, f.Close())
	f, err = openFile("/torn.db", disk, tiny)
	require.NoError(t, err)
	require.Equal(t, 3, count(t, f))
	require.NoError(t, f.Close())
}

// TestDamage changes every byte of the file: either Open says where, and leaves
// the file alone, or what is missing is the last batch.
func TestDamage(t *testing.T) {
	_, content, ends := sample(t)
	last := ends[len(ends)-2]
	for at := range content {
		changed := bytes.Clone(content)
		changed[at] ^= 0x10
		disk := newSimDisk(1)
		disk.put("/damaged.db", changed)
		f, err := openFile("/damaged.db", disk, tiny)
		switch {
		case at < len(magic):
			require.ErrorIs(t, err, ErrForeign, "byte %d", at)
		case at < headerSize:
			require.ErrorIs(t, err, ErrDamaged, "byte %d", at)
		case int64(at) < last:
			require.ErrorIs(t, err, ErrDamaged, "byte %d", at)
			damaged, _ := errors.AsType[*DamagedError](err)
			require.LessOrEqual(t, damaged.Offset, int64(at), "byte %d", at)
			// The way out that the error names.
			require.Equal(t, changed, disk.names["/damaged.db"].data, "byte %d: the file was changed", at)
			disk.put("/damaged.db", changed[:damaged.Offset])
			f, err := openFile("/damaged.db", disk, tiny)
			require.NoError(t, err, "byte %d, cut at %d", at, damaged.Offset)
			require.NoError(t, f.Close())
			continue
		default:
			require.NoError(t, err, "byte %d: the last batch can't be told from a torn one", at)
			require.Equal(t, 12, count(t, f), "byte %d", at)
			require.NoError(t, f.Close())
			continue
		}
		require.Equal(t, changed, disk.names["/damaged.db"].data, "byte %d: the file was changed", at)
	}
}

// TestDamagedValue changes a record under an open store.
func TestDamagedValue(t *testing.T) {
	path, content, _ := sample(t)
	f, err := OpenFile(path)
	require.NoError(t, err)
	defer f.Close()
	at := bytes.LastIndex(content, []byte("value"))
	raw, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer raw.Close()
	_, err = raw.WriteAt([]byte("VALUE"), int64(at))
	require.NoError(t, err)

	_, err = f.Get(t.Context(), "s", "a5")
	require.ErrorIs(t, err, ErrDamaged, "Get")
	_, err = f.Write(t.Context(), Write{Record: Record{Space: "s", ID: "a5", Version: 1}})
	require.ErrorIs(t, err, ErrDamaged, "the Current of a Write that lost")
	var last error
	for _, err := range f.Scan(t.Context(), "s") {
		last = err
	}
	require.ErrorIs(t, last, ErrDamaged, "Scan")
	_, err = f.Get(t.Context(), "s", "a4")
	require.NoError(t, err, "the others")
	require.ErrorIs(t, f.compact(), ErrDamaged, "a compaction does not copy it")

	require.NoError(t, raw.Truncate(headerSize))
	_, err = f.Get(t.Context(), "s", "a4")
	require.ErrorContains(t, err, "cut by someone else")
}

func TestNotAStore(t *testing.T) {
	header := func(change func(h []byte)) []byte {
		h := newHeader([8]byte{1})
		change(h)
		binary.LittleEndian.PutUint32(h[28:], crc32.Checksum(h[:28], castagnoli))
		return h
	}
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"text":            {[]byte("https://api.github.com/events\n"), ErrForeign},
		"one byte":        {[]byte{0x89}, ErrForeign},
		"SQLite":          {append([]byte("SQLite format 3\x00"), make([]byte, 4096)...), ErrForeign},
		"half a header":   {newHeader([8]byte{1})[:20], ErrDamaged},
		"only its magic":  {[]byte(magic), ErrDamaged},
		"format 2":        {header(func(h []byte) { h[8] = 2 }), ErrNewer},
		"format 70000":    {header(func(h []byte) { binary.LittleEndian.PutUint32(h[8:], 70000) }), ErrNewer},
		"format 0":        {header(func(h []byte) { h[8] = 0 }), ErrDamaged},
		"a strange frame": {append(newHeader([8]byte{1}), strangeFrame()...), ErrDamaged},
	} {
		path := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(path, c.content, 0o644))
		_, err := OpenFile(path)
		require.ErrorIs(t, err, c.want, name)
		require.ErrorContains(t, err, path, name)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, c.content, after, "%s: untouched", name)
		if name != "a strange frame" {
			require.NoFileExists(t, path+".lock", "%s: nothing is created beside it", name)
		}
	}
	_, err := OpenFile(t.TempDir())
	require.ErrorIs(t, err, ErrForeign, "a directory")
	_, err = OpenFile(filepath.Join(t.TempDir(), "no", "such", "directory"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// strangeFrame is whole and holds no record.
func strangeFrame() []byte {
	s := salt(crc32.Checksum([]byte{1, 0, 0, 0, 0, 0, 0, 0}, castagnoli))
	frame := appendFrame(nil, s, &Record{Space: "s", ID: "i", Version: 1})
	frame[len(frame)-1] = 0xff // flags that no version knows
	binary.LittleEndian.PutUint32(frame[8:], s.sum(frame[frameHead:]))
	return frame
}

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

// stuck is a disk whose syncs of the log wait for permission.
type stuck struct {
	*simDisk
	entered, leave chan struct{}
}

type stuckHandle struct {
	handle
	d *stuck
}

func (d *stuck) open(name string, flag int, perm os.FileMode) (handle, error) {
	h, err := d.simDisk.open(name, flag, perm)
	return &stuckHandle{h, d}, err
}

func (h *stuckHandle) Sync() error {
	h.d.entered <- struct{}{}
	<-h.d.leave
	return h.handle.Sync()
}

// TestGroupCommit has one writer in its sync, others waiting, and one of those
// giving up: the others share the next sync, and nothing is visible early.
func TestGroupCommit(t *testing.T) {
	disk := &stuck{simDisk: newSimDisk(1), entered: make(chan struct{}), leave: make(chan struct{})}
	sync1 := func() { <-disk.entered; disk.leave <- struct{}{} }
	opened := make(chan *File)
	go func() {
		f, err := openFile("/data/polls.db", disk, tiny)
		if err != nil {
			panic(err)
		}
		opened <- f
	}()
	sync1() // of the new header
	sync1() // of the recovered log
	f := <-opened

	write := func(ctx context.Context, id string) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := f.Write(ctx, Write{Record: Record{Space: "s", ID: id, Version: 1}})
			done <- err
		}()
		return done
	}
	first := write(t.Context(), "first")
	<-disk.entered
	require.Zero(t, count(t, f), "not visible before it is on disk")
	ctx, cancel := context.WithCancel(t.Context())
	var others []chan error
	for i := range 10 {
		others = append(others, write(t.Context(), fmt.Sprint("other", i)))
	}
	gone := write(ctx, "gone")
	waiting := func(n int) {
		for {
			f.mu.RLock()
			got := len(f.pending)
			f.mu.RUnlock()
			if got == n {
				return
			}
		}
	}
	waiting(11)
	cancel()
	err := <-gone
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "nothing was done")
	waiting(10)
	disk.leave <- struct{}{}
	require.NoError(t, <-first)
	sync1() // one for all ten
	for _, done := range others {
		require.NoError(t, <-done)
	}
	require.Equal(t, 11, count(t, f))
	require.EqualValues(t, 0, len(f.pending))

	// A writer whose batch is under way can only be left behind.
	leader := write(t.Context(), "leader")
	<-disk.entered
	ctx, cancel = context.WithCancel(t.Context())
	follower := write(ctx, "follower")
	another := write(t.Context(), "another")
	waiting(2)
	disk.leave <- struct{}{}
	require.NoError(t, <-leader)
	<-disk.entered // the batch of both
	cancel()
	select { // whichever of the two leads can't be interrupted
	case err := <-follower:
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "unknown")
		disk.leave <- struct{}{}
	case disk.leave <- struct{}{}:
		<-follower
	}
	require.NoError(t, <-another)
	require.NoError(t, f.Close())
}

// TestGroupFails has the sync fail of one writer's batch, while others wait:
// its outcome is unknown, and theirs is that nothing was done.
func TestGroupFails(t *testing.T) {
	disk := &stuck{simDisk: newSimDisk(1), entered: make(chan struct{}, 10), leave: make(chan struct{}, 10)}
	disk.leave <- struct{}{} // for the header and the recovered log
	disk.leave <- struct{}{}
	f, err := openFile("/data/polls.db", disk, tiny)
	require.NoError(t, err)
	<-disk.entered
	<-disk.entered
	outcomes := make(chan error)
	write := func(id string) {
		_, err := f.Write(t.Context(), Write{Record: Record{Space: "s", ID: id, Version: 1}})
		outcomes <- err
	}
	go write("first")
	<-disk.entered
	for i := range 5 {
		go write(fmt.Sprint("other", i))
	}
	for n := 0; n < 5; {
		f.mu.RLock()
		n = len(f.pending)
		f.mu.RUnlock()
	}
	disk.mu.Lock()
	disk.failAt, disk.fail = disk.ops+1, errFull
	disk.mu.Unlock()
	disk.leave <- struct{}{}
	unknown := 0
	for range 6 {
		err := <-outcomes
		require.ErrorIs(t, err, errFull)
		if !errors.Is(err, ErrFailed) {
			require.ErrorContains(t, err, "unknown")
			unknown++
		}
	}
	require.Equal(t, 1, unknown)
	require.Zero(t, count(t, f))
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

func FuzzReplay(f *testing.F) {
	_, content, ends := sample(f)
	f.Add(content)
	f.Add(content[:ends[3]+5])
	f.Add(append(bytes.Clone(content), make([]byte, 100)...))
	f.Add(append(newHeader([8]byte{1}), strangeFrame()...))
	f.Add([]byte(magic))
	damaged := bytes.Clone(content)
	damaged[headerSize+20] ^= 1
	f.Add(damaged)
	f.Fuzz(func(t *testing.T, content []byte) {
		in := bytes.NewReader(content)
		_, s, err := readHeader("fuzz", in)
		if err != nil {
			if !errors.Is(err, ErrForeign) && !errors.Is(err, ErrNewer) && !errors.Is(err, ErrDamaged) {
				t.Fatalf("header: %v", err)
			}
			// Past the checksum of the header, which stops nearly all.
			s = 1
		}
		last := int64(headerSize)
		end, err := replay("fuzz", in, int64(len(content)), s, func(r rawRecord, at location) {
			if at.offset() != last || r.version < 0 || len(r.space) == 0 || len(r.id) == 0 {
				t.Fatalf("record %+v at %d, want %d", r, at.offset(), last)
			}
			last += int64(at.size())
		})
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("replay: %v", err)
		}
		if err == nil && end != last && len(content) >= headerSize {
			t.Fatalf("end %d, want %d", end, last)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(appendRecord(nil, &Record{Space: "s", ID: "i", Version: 1, Owner: Owner{1}, Until: time.Unix(1, 2), Value: []byte("v")}))
	f.Add(appendRecord(nil, &Record{Space: "s", ID: "i"}))
	f.Add([]byte{})
	f.Add([]byte{1, 's', 1, 'i', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		raw, err := decodeRecord(b)
		if err != nil {
			return
		}
		r := Record{Space: string(raw.space), ID: string(raw.id), Version: raw.version}
		if r.Version != 0 {
			if err := decodeBody(raw.body, &r); err != nil {
				t.Fatal(err)
			}
		}
		// What was read can be written, and is read as the same.
		again, err := decodeRecord(appendRecord(nil, &r))
		if err != nil || string(again.space) != r.Space || string(again.id) != r.ID || again.version != r.Version {
			t.Fatalf("%+v, %v, want %+v", again, err, r)
		}
		var back Record
		if r.Version != 0 {
			if err := decodeBody(again.body, &back); err != nil {
				t.Fatal(err)
			}
			back.Space, back.ID, back.Version = r.Space, r.ID, r.Version
			if !back.Equal(r) {
				t.Fatalf("%+v, want %+v", back, r)
			}
		}
	})
}
