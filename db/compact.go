package db

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// A compaction rewrites the log without its garbage, beside readers and
// writers. It copies the newest frame of every record that the log holds when
// it begins, then what has been appended meanwhile, as it is, and takes the
// token only for the last little of that. Since the copy of the later part is
// the same bytes at a fixed distance, places follow by arithmetic.
//
// Its goroutine is owned by the File; Close ends it and waits for it.
type compaction struct {
	f      *File
	out    handle
	outEnd int64
	buf    []byte // not yet written, begins at outEnd
	from   int64  // where the log ended when it began
	copied int64  // of the log, from `from` on
	base   int64  // where from is in out
	places map[*fileTable]*pages[location]
}

// move is a place that changed while a compaction was under way.
type move struct {
	table *fileTable
	slot  uint32
	at    location
}

const (
	// tailRounds bounds the rounds in which a compaction catches up with
	// writers before it makes them wait.
	tailRounds = 16
	// tailSmall is how much of the log may be left to copy while they wait.
	tailSmall = 256 << 10
	copyBytes = 1 << 20
)

var errStopped = errors.New("compaction stopped")

// dueLocked says that there is more garbage than live data, and enough of it
// to matter.
func (f *File) dueLocked() bool {
	garbage := f.end - headerSize - f.live
	return garbage > max(f.live, f.opt.compactMin) && f.end >= f.compactFrom
}

// compactBeside compacts while the store is in use. A failure loses nothing:
// the old log stays. It is tried again when the log has grown to twice its
// size.
func (f *File) compactBeside() {
	err := f.compact()
	if errors.Is(err, errStopped) {
		err = nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.compacting, f.moved, f.compactErr = false, nil, err
	if err != nil {
		f.compactFrom = 2 * f.end
	}
}

func (f *File) compact() error {
	c := compaction{f: f, places: make(map[*fileTable]*pages[location])}
	err := c.run()
	if err == nil {
		return nil
	}
	if c.out != nil {
		err = errors.Join(err, c.out.Close())
	}
	if cleanup := f.fs.remove(f.compactPath()); !errors.Is(cleanup, fs.ErrNotExist) {
		err = errors.Join(err, cleanup)
	}
	return fmt.Errorf("compact: %w", err)
}

func (c *compaction) run() error {
	tables, err := c.begin()
	if err != nil {
		return err
	}
	for _, t := range tables {
		if err := c.copyLive(t); err != nil {
			return err
		}
	}
	c.base = c.outEnd + int64(len(c.buf))
	// The long sync happens while writers go on, so that the last is short.
	if err := c.catchUp(); err != nil {
		return err
	}
	if err := c.sync(); err != nil {
		return err
	}
	if err := c.catchUp(); err != nil {
		return err
	}
	select {
	case c.f.token <- struct{}{}:
		defer func() { <-c.f.token }()
	case <-c.f.stopped:
		return errStopped
	}
	return c.finish()
}

// begin creates the new log and returns the tables that the old one has
// something of.
func (c *compaction) begin() ([]*fileTable, error) {
	f := c.f
	info, err := f.log.Stat()
	if err != nil {
		return nil, err
	}
	header, _, err := readHeader(f.path, f.log) // the salt stays the same
	if err != nil {
		return nil, err
	}
	c.out, err = f.fs.open(f.compactPath(), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if perm := info.Mode().Perm(); perm != 0o600 {
		if err := c.out.Chmod(perm); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	f.compacting, f.moved, c.from = true, nil, f.end
	tables := slices.Collect(maps.Values(f.tables))
	f.mu.Unlock()
	return tables, c.write(header)
}

// copyLive copies what the old log holds of a table. What is found in the
// later part is left out: it comes with the tail.
func (c *compaction) copyLive(t *fileTable) error {
	var places []placed
	var buf []byte
	copied := new(pages[location])
	c.places[t] = copied
	for slot := uint32(0); ; {
		c.f.mu.RLock()
		end := min(slot+scanSlots, t.slots())
		places, slot = t.placesLocked(slot, end, places[:0])
		more := slot < t.slots()
		c.f.mu.RUnlock()
		places = slices.DeleteFunc(places, func(p placed) bool { return p.at.offset() >= c.from })
		copied.grow(slot)
		var err error
		buf, err = readRuns(c.f.log, places, buf, func(p placed, frame []byte) error {
			if _, err := framePayload(frame, c.f.salt); err != nil {
				return c.f.damaged(p.at.offset())
			}
			setSynced(frame, c.f.salt)
			*copied.at(p.slot) = newLocation(c.outEnd+int64(len(c.buf)), len(frame))
			return c.write(frame)
		})
		if err != nil || !more {
			return err
		}
	}
}

// catchUp copies the tail until little of it is left.
func (c *compaction) catchUp() error {
	for range tailRounds {
		left, err := c.copyTail()
		if err != nil || left < tailSmall {
			return err
		}
	}
	return nil
}

// copyTail copies what has been appended so far and not been copied yet, and
// returns how much that was.
func (c *compaction) copyTail() (int64, error) {
	f := c.f
	f.mu.Lock()
	end, moved := f.end, f.moved
	f.moved = nil
	f.mu.Unlock()
	size := end - c.from - c.copied
	piece := make([]byte, min(size, copyBytes))
	for at := c.from + c.copied; at < end; at += int64(len(piece)) {
		piece = piece[:min(int64(len(piece)), end-at)]
		if err := readFull(f.log, piece, at); err != nil {
			return 0, err
		}
		if err := c.write(piece); err != nil {
			return 0, err
		}
	}
	c.copied += size
	for _, m := range moved {
		p := c.places[m.table]
		if p == nil {
			p = new(pages[location])
			c.places[m.table] = p
		}
		p.grow(m.slot + 1)
		*p.at(m.slot) = newLocation(m.at.offset()-c.from+c.base, m.at.size())
	}
	return size, nil
}

// finish copies the last of the tail and puts the new log in the place of the
// old one. The token is held.
func (c *compaction) finish() error {
	f := c.f
	if f.failed != nil {
		return errStopped // the file stays as the failure left it
	}
	if _, err := c.copyTail(); err != nil {
		return err
	}
	if err := c.sync(); err != nil {
		return err
	}
	old := f.log
	if err := c.replace(); err != nil {
		return err
	}
	f.mu.Lock()
	f.log, f.end = c.out, c.outEnd
	for _, t := range f.tables {
		t.places = *c.places[t]
	}
	f.mu.Unlock()
	if f.opt.renamesOpen {
		// Readers that have it still finish, or come again. There is nothing
		// to lose in a file without a name.
		_ = old.Close()
	}
	return nil
}

// replace durably gives the new log the name of the old one.
func (c *compaction) replace() error {
	f := c.f
	if !f.opt.renamesOpen {
		return c.replaceClosed()
	}
	if err := f.fs.rename(f.compactPath(), f.path); err != nil {
		return err
	}
	err := f.fs.syncDir(filepath.Dir(f.path))
	if err != nil {
		// After a power cut the old log may be back, so nothing may be
		// acknowledged any more.
		f.mu.Lock()
		f.failed = err
		f.mu.Unlock()
	}
	return err
}

// replaceClosed is replace where open files can't be renamed. It is called
// while the store is being opened, so nobody misses the old log meanwhile.
func (c *compaction) replaceClosed() error {
	f := c.f
	err := errors.Join(c.out.Close(), f.log.Close())
	c.out = nil
	if err == nil {
		err = f.replaceWith(f.compactPath())
	}
	log, openErr := f.fs.open(f.path, os.O_RDWR, 0)
	if openErr != nil {
		f.log = nil
		return errors.Join(err, openErr)
	}
	if err != nil {
		f.log = log
		return err
	}
	c.out = log
	return nil
}

func (c *compaction) write(b []byte) error {
	c.buf = append(c.buf, b...)
	if len(c.buf) < copyBytes {
		return nil
	}
	return c.flush()
}

func (c *compaction) flush() error {
	select {
	case <-c.f.stopped:
		return errStopped
	default:
	}
	if _, err := c.out.WriteAt(c.buf, c.outEnd); err != nil {
		return err
	}
	c.outEnd += int64(len(c.buf))
	c.buf = c.buf[:0]
	return nil
}

func (c *compaction) sync() error {
	if err := c.flush(); err != nil {
		return err
	}
	return c.out.Sync()
}
