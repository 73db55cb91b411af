package customdb

import (
	"bufio"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/cannedos/cannedos/db"
)

// The name of a space may hold slashes, dots and letters that a file system takes
// for each other; the name of its file holds letters of one case and digits.
const suffix = ".jsonl"

func encoding() *base32.Encoding { return base32.HexEncoding.WithPadding(base32.NoPadding) }

func fileName(space string) string { return encoding().EncodeToString([]byte(space)) + suffix }

// save writes the new edition of each space that changed. A file is replaced as
// a whole, by a rename, so that a crash leaves the old edition or the new one.
func (s *Store) save(changed map[string]space) error {
	if len(changed) == 0 {
		return nil // every write lost
	}
	for name, lines := range changed {
		file := fileName(name)
		if err := s.writeFile(file+".new", lines); err != nil {
			return err
		}
		if err := s.root.Rename(file+".new", file); err != nil {
			return err
		}
	}
	return s.syncFolder()
}

func (s *Store) writeFile(name string, lines space) error {
	file, err := s.root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(file)
	for _, l := range lines {
		w.Write(l.text) // an error stays with w until Flush
	}
	return errors.Join(w.Flush(), file.Sync(), file.Close())
}

// syncFolder makes the renames last.
func (s *Store) syncFolder() error {
	if runtime.GOOS == "windows" {
		return nil // which can't
	}
	folder, err := s.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// load reads all files. One that a crash left half written has another suffix.
func load(root *os.Root) (map[string]space, error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	spaces := map[string]space{}
	for _, entry := range entries {
		encoded, ok := strings.CutSuffix(entry.Name(), suffix)
		if !ok {
			continue
		}
		name, err := encoding().DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("%w: file %s: its name is none of a store's", db.ErrDamaged, entry.Name())
		}
		if spaces[string(name)], err = loadFile(root, entry.Name(), string(name)); err != nil {
			return nil, err
		}
	}
	return spaces, nil
}

func loadFile(root *os.Root, file, name string) (space, error) {
	f, err := root.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := space{}
	decoder := json.NewDecoder(bufio.NewReader(f))
	decoder.DisallowUnknownFields()
	for n := 1; ; n++ {
		var js stored
		err := decoder.Decode(&js)
		if err == io.EOF {
			return lines, nil
		}
		var r db.Record
		if err == nil {
			r, err = js.record(name)
		}
		if _, twice := lines[r.ID]; err == nil && twice {
			err = fmt.Errorf("%q is there already", r.ID)
		}
		var l *line
		if err == nil {
			l, err = newLine(r)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: file %s, record %d: %w", db.ErrDamaged, file, n, err)
		}
		lines[r.ID] = l
	}
}
