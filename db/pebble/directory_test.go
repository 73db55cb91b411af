package pebble

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// lockedBy is what an error says of the process that has the lock.
func lockedBy(pid int) string {
	switch runtime.GOOS {
	case "windows", "plan9", "js", "wasip1":
		return "another process"
	}
	return fmt.Sprint("process ", pid)
}

// tree is every file below a directory with its content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		files[path] = string(content)
		return err
	}))
	return files
}

func TestOpenNames(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "real")
	s, err := Open(dir, Config{})
	require.NoError(t, err)
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	opening := s.Opening()
	require.False(t, opening.IsZero())
	require.Equal(t, opening, s.Opening())
	require.True(t, db.IsDurable(s))

	link := filepath.Join(parent, "link")
	require.NoError(t, os.Symlink("real", link))
	t.Chdir(parent)
	for _, name := range []string{dir, link, "real", "./link/../real/"} {
		_, err = Open(name, Config{})
		require.ErrorIs(t, err, db.ErrLocked, name)
		require.ErrorContains(t, err, "this process")
	}
	require.NoError(t, s.Close())
	s, err = Open(link, Config{})
	require.NoError(t, err)
	require.NotEqual(t, opening, s.Opening(), "each opening has a name of its own")
	require.NoError(t, s.Close())

	require.NoError(t, os.Symlink("nothing", filepath.Join(parent, "dangling")))
	_, err = Open(filepath.Join(parent, "dangling"), Config{})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Open(filepath.Join(parent, "no", "parent"), Config{})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestOpenTakesEmptyDirectories(t *testing.T) {
	for _, names := range [][]string{{}, {lockName}, {markerTemp}, {"lost+found"}, {lockName, markerTemp}} {
		dir := t.TempDir()
		for _, name := range names {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		}
		s, err := Open(dir, Config{})
		require.NoError(t, err, names)
		require.NoError(t, s.Close())
	}
}

// TestOpenRefuses: each directory that is not ours to open is named and stays
// as it is.
func TestOpenRefuses(t *testing.T) {
	ours := func(t *testing.T, dir string) {
		s, err := Open(dir, Config{})
		require.NoError(t, err)
		_, err = s.Write(t.Context(), db.Write{Record: db.Record{Space: "s", ID: "a", Version: 1}})
		require.NoError(t, err)
		require.NoError(t, s.Close())
	}
	put := func(t *testing.T, dir, name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	for _, c := range []struct {
		name string
		make func(t *testing.T, dir string)
		want error
		text string
	}{
		{"somebody's files", func(t *testing.T, dir string) { put(t, dir, "thesis.tex", "x") }, db.ErrForeign, `it holds "thesis.tex"`},
		{"another program's Pebble", func(t *testing.T, dir string) {
			d, err := engine.Open(dir, &engine.Options{Logger: engineLog{Config{}.logger(), nil}})
			require.NoError(t, err)
			require.NoError(t, d.Set([]byte("k"), []byte("v"), engine.Sync))
			require.NoError(t, d.Close())
		}, db.ErrForeign, "another program's: CANNEDOS is missing"},
		{"a marker of something else", func(t *testing.T, dir string) { put(t, dir, markerName, "hello") }, db.ErrForeign, "CANNEDOS is not one of ours"},
		{"a newer format", func(t *testing.T, dir string) {
			ours(t, dir)
			put(t, dir, markerName, markerPrefix+"2; compressed\n")
		}, db.ErrNewer, "format 2, this program knows up to 1"},
		{"a newer engine", func(t *testing.T, dir string) {
			ours(t, dir)
			put(t, dir, fmt.Sprintf("marker.format-version.999999.%03d", engineFormat+1), "")
		}, db.ErrNewer, "of the engine, this program knows up to"},
		{"a damaged marker", func(t *testing.T, dir string) {
			ours(t, dir)
			put(t, dir, markerName, markerPrefix+"1, red")
		}, db.ErrDamaged, "does not read as"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.make(t, dir)
			before := tree(t, dir)
			_, err := Open(dir, Config{})
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.text)
			require.ErrorContains(t, err, dir)
			require.Equal(t, before, tree(t, dir), "it was touched")
		})
	}
	t.Run("a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "polls.db")
		f, err := db.OpenFile(path)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		_, err = Open(path, Config{})
		require.ErrorIs(t, err, db.ErrForeign)
		require.ErrorContains(t, err, "want a directory")
	})
	t.Run("nothing that may be read", func(t *testing.T) {
		if asNobody(t) {
			return
		}
		dir := t.TempDir()
		require.NoError(t, os.Chmod(dir, 0))
		_, err := Open(dir, Config{})
		require.ErrorIs(t, err, fs.ErrPermission)
		require.NoError(t, os.Chmod(dir, 0o700))
	})
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		config Config
		text   string
	}{
		{Config{CacheBytes: -1}, "cache bytes -1, want 0 (33554432) or 65536 to 1099511627776"},
		{Config{CacheBytes: minCacheBytes - 1}, "cache bytes 65535"},
		{Config{CacheBytes: maxCacheBytes + 1}, "cache bytes 1099511627777"},
		{Config{MemTableBytes: 1}, "mem table bytes 1, want 0 (33554432) or 1048576 to 1073741824"},
		{Config{MemTableBytes: math.MinInt64}, "mem table bytes -9223372036854775808"},
	} {
		dir := filepath.Join(t.TempDir(), "never")
		_, err := Open(dir, c.config)
		require.ErrorIs(t, err, db.ErrInvalid)
		require.ErrorContains(t, err, c.text)
		require.NoDirExists(t, dir)
	}
	for _, config := range []Config{{CacheBytes: minCacheBytes}, {MemTableBytes: minMemTableBytes}} {
		s, err := Open(t.TempDir(), config)
		require.NoError(t, err)
		require.NoError(t, s.Close())
	}
}

func FuzzMarker(f *testing.F) {
	for _, text := range []string{"", "x", marker(1, ready), marker(1, creating), marker(2, ready), marker(0, ready), markerPrefix + "99999999999999999999, ready\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		version, s, ok := parseMarker(text)
		switch {
		case !ok:
			require.Zero(t, version)
			require.Zero(t, s)
		case version <= formatVersion:
			require.Equal(t, text, marker(version, s), "what is accepted is what is written")
		}
	})
}
