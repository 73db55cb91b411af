package pebble

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"

	"github.com/cannedos/cannedos/db"
)

// A directory of ours holds the engine's files and a marker: one line of text
// with the version of the format of keys and values, and whether the engine
// had been there once. It is written before the engine's first file, so that a
// directory with the engine's files and without a marker is somebody else's.
const (
	markerName    = "CANNEDOS"
	markerTemp    = "CANNEDOS.tmp"
	markerPrefix  = "Canned OS store, format "
	formatVersion = 1
	// engineFormat is what this program makes of the engine's own format, and
	// the newest that it reads.
	engineFormat = engine.FormatTableFormatV6
	lockName     = "LOCK"
)

// stage is how far a directory has come.
type stage int

const (
	absent   stage = iota // there is none
	empty                 // nothing but perhaps a lock
	creating              // the marker is there, the engine maybe; nothing was acknowledged
	ready
)

// marker is the content of the marker's file.
func marker(version int, s stage) string {
	word := "ready"
	if s == creating {
		word = "creating"
	}
	return fmt.Sprintf("%s%d, %s\n", markerPrefix, version, word)
}

// parseMarker reads what marker writes. Of newer versions it reads the number
// and nothing behind it.
func parseMarker(text string) (version int, s stage, ok bool) {
	rest, ok := strings.CutPrefix(text, markerPrefix)
	if !ok {
		return 0, 0, false
	}
	end := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
	if end < 0 {
		return 0, 0, false
	}
	version, err := strconv.Atoi(rest[:end])
	if err != nil || version < 1 {
		return 0, 0, false
	}
	if version > formatVersion {
		return version, 0, true
	}
	for _, s := range []stage{creating, ready} {
		if text == marker(version, s) {
			return version, s, true
		}
	}
	return 0, 0, false
}

// resolve returns the one name under which a directory is locked: absolute and
// with links followed.
func resolve(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	resolved, err := filepath.EvalSymlinks(abs)
	if !errors.Is(err, fs.ErrNotExist) {
		return resolved, err
	}
	if _, err := os.Lstat(abs); err == nil {
		return "", fmt.Errorf("it is a symbolic link to nothing: %w", fs.ErrNotExist)
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(abs)), nil
}

// recognize looks whether a directory is ours, and changes nothing.
func recognize(fsys vfs.FS, dir string) (stage, error) {
	info, err := fsys.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return absent, nil
	case err != nil:
		return absent, err
	case !info.IsDir():
		return absent, fmt.Errorf("%w: it is a file, want a directory (db.OpenFile opens files)", db.ErrForeign)
	}
	names, err := fsys.List(dir)
	if err != nil {
		return absent, err
	}
	if !slices.Contains(names, markerName) {
		return withoutMarker(fsys, dir, names)
	}
	text, err := readFile(fsys, fsys.PathJoin(dir, markerName))
	if err != nil {
		return absent, err
	}
	version, s, ok := parseMarker(text)
	switch {
	case !ok && !strings.HasPrefix(text, markerPrefix):
		return absent, fmt.Errorf("%w: its file %s is not one of ours", db.ErrForeign, markerName)
	case !ok:
		return absent, &DamagedError{Dir: dir, Reason: "its file " + markerName + " does not read as " + strconv.Quote(marker(formatVersion, ready))}
	case version > formatVersion:
		return absent, fmt.Errorf("%w: format %d, this program knows up to %d", db.ErrNewer, version, formatVersion)
	}
	return s, checkEngine(fsys, dir, names)
}

// withoutMarker judges a directory that has no marker.
func withoutMarker(fsys vfs.FS, dir string, names []string) (stage, error) {
	for _, name := range names {
		switch {
		case name == lockName, name == markerTemp, name == "lost+found":
		case strings.HasPrefix(name, "MANIFEST-"), strings.HasPrefix(name, "marker."), strings.HasPrefix(name, "OPTIONS-"):
			return absent, fmt.Errorf("%w: it is a Pebble database of another program's: %s is missing", db.ErrForeign, markerName)
		default:
			return absent, fmt.Errorf("%w: it holds %q, want an empty directory or one of ours", db.ErrForeign, name)
		}
	}
	return empty, nil
}

// checkEngine refuses what a newer engine has written: the one that is linked
// here would say so too, but only after it has begun to change things.
func checkEngine(fsys vfs.FS, dir string, names []string) error {
	m, text, err := atomicfs.LocateMarkerInListing(fsys, dir, "format-version", names)
	if err != nil {
		return damaged(dir, err)
	}
	if err := m.Close(); err != nil || text == "" {
		return err
	}
	version, err := strconv.ParseUint(text, 10, 32)
	switch {
	case err != nil:
		return &DamagedError{Dir: dir, Reason: fmt.Sprintf("the engine's format %q is no number", text), Cause: err}
	case version > uint64(engineFormat):
		return fmt.Errorf("%w: format %d of the engine, this program knows up to %d", db.ErrNewer, version, engineFormat)
	}
	return nil
}

// writeMarker puts the marker in its place, whole or not at all.
func writeMarker(fsys vfs.FS, dir string, s stage) error {
	temp := fsys.PathJoin(dir, markerTemp)
	file, err := fsys.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.WriteString(file, marker(formatVersion, s))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(temp, fsys.PathJoin(dir, markerName)); err != nil {
		return err
	}
	return syncDir(fsys, dir)
}

// makeDir makes the directory, not its parents, for its user alone.
func makeDir(fsys vfs.FS, dir string) error {
	parent := fsys.PathDir(dir)
	if _, err := fsys.Stat(parent); err != nil {
		return err
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(fsys, parent)
}

func syncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readFile reads a small file.
func readFile(fsys vfs.FS, name string) (string, error) {
	const most = 1 << 10
	file, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(file, most))
	return string(text), errors.Join(err, file.Close())
}
