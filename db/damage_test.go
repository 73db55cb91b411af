package db

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
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
