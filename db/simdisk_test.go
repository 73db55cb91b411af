package db

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

var (
	errPower = errors.New("power is cut")
	errFull  = errors.New("no space left on device")
)

// simDisk is a filesystem below File that fails as told and that forgets, when
// the power is cut, what was not synced: every sector for itself, and renames
// before their directory was synced.
type simDisk struct {
	mu     sync.Mutex
	random *rand.Rand
	names  map[string]*simFile // as programs see them
	synced map[string]*simFile // as they are after a power cut, at least
	locked map[string]bool

	ops    int // writing operations so far
	failAt int // the operation that fails; 0 is none
	fail   error
	only   string // what an operation must begin with to be counted
	dead   bool   // after a power cut, everything fails
	// strict refuses to rename what is open, as Windows does.
	strict bool
	opened map[*simFile]int
}

type simFile struct {
	data    []byte
	durable []byte     // at the last sync
	since   []simWrite // what happened since
	mode    fs.FileMode
}

// simWrite is a write, or, with no data, a truncation to at.
type simWrite struct {
	at   int64
	data []byte
}

const sector = 512

func newSimDisk(seed uint64) *simDisk {
	return &simDisk{
		random: rand.New(rand.NewPCG(seed, 7)),
		names:  make(map[string]*simFile), synced: make(map[string]*simFile),
		locked: make(map[string]bool), opened: make(map[*simFile]int),
	}
}

// put makes a file that is safely on the disk.
func (d *simDisk) put(name string, content []byte) {
	d.names[name] = &simFile{data: bytes.Clone(content), durable: bytes.Clone(content), mode: 0o600}
	d.synced = maps.Clone(d.names)
}

// opLocked counts a writing operation and returns its fate.
func (d *simDisk) opLocked(what string) error {
	if d.dead {
		return fmt.Errorf("%s: %w", what, errPower)
	}
	if len(what) < len(d.only) || what[:len(d.only)] != d.only {
		return nil
	}
	d.ops++
	if d.failAt == 0 || d.ops != d.failAt {
		return nil
	}
	if errors.Is(d.fail, errPower) {
		d.dead = true
	}
	return fmt.Errorf("%s: %w", what, d.fail)
}

// after returns the disk as it is found after a power cut now.
func (d *simDisk) after() *simDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := newSimDisk(d.random.Uint64())
	next.strict = d.strict
	names := d.synced
	if d.random.IntN(2) == 0 {
		names = d.names // renames happened to reach the disk
	}
	for name, f := range names {
		content := append([]byte(nil), f.durable...)
		for _, w := range f.since {
			content = d.survive(content, w)
		}
		next.names[name] = &simFile{data: content, durable: append([]byte(nil), content...), mode: f.mode}
	}
	next.synced = maps.Clone(next.names)
	return next
}

// killed makes the disk usable again after the process died on it: nothing is
// lost but its locks.
func (d *simDisk) killed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead, d.locked, d.opened = false, make(map[string]bool), make(map[*simFile]int)
}

// survive applies what of an unsynced write happens to have reached the disk.
func (d *simDisk) survive(content []byte, w simWrite) []byte {
	if w.data == nil {
		if d.random.IntN(2) == 0 && int64(len(content)) > w.at {
			content = content[:w.at]
		}
		return content
	}
	luck := d.random.IntN(4) // all, nothing, or by the sector
	end := w.at + int64(len(w.data))
	if luck != 1 && d.random.IntN(2) == 0 && int64(len(content)) < end {
		content = append(content, make([]byte, end-int64(len(content)))...) // the size came first
	}
	for at := w.at; at < end; {
		next := min(end, (at/sector+1)*sector)
		if luck == 0 || luck > 1 && d.random.IntN(2) == 0 {
			if int64(len(content)) < next {
				content = append(content, make([]byte, next-int64(len(content)))...)
			}
			copy(content[at:next], w.data[at-w.at:next-w.at])
		}
		at = next
	}
	return content
}

func (d *simDisk) open(name string, flag int, perm fs.FileMode) (handle, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.names[name]
	if f == nil {
		if flag&os.O_CREATE == 0 {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		if err := d.opLocked("create " + name); err != nil {
			return nil, err
		}
		f = &simFile{mode: perm}
		d.names[name] = f
	}
	if d.dead {
		return nil, errPower
	}
	if flag&os.O_TRUNC != 0 {
		f.data = nil
		f.since = append(f.since, simWrite{})
	}
	d.opened[f]++
	return &simHandle{disk: d, f: f, name: name}, nil
}

func (d *simDisk) rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.opLocked("rename " + from); err != nil {
		return err
	}
	f := d.names[from]
	if f == nil {
		return fs.ErrNotExist
	}
	if d.strict && (d.opened[f] > 0 || d.opened[d.names[to]] > 0) {
		return errors.New("rename: it is in use")
	}
	delete(d.names, from)
	d.names[to] = f
	return nil
}

func (d *simDisk) remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] == nil {
		return fs.ErrNotExist
	}
	if err := d.opLocked("remove " + name); err != nil {
		return err
	}
	delete(d.names, name)
	return nil
}

func (d *simDisk) syncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.opLocked("syncdir " + dir); err != nil {
		return err
	}
	d.synced = maps.Clone(d.names)
	return nil
}

func (d *simDisk) lock(name string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked[name] {
		return nil, ErrLocked
	}
	d.locked[name] = true
	return simLock{d, name}, nil
}

type simLock struct {
	d    *simDisk
	name string
}

func (l simLock) Close() error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	delete(l.d.locked, l.name)
	return nil
}

type simHandle struct {
	disk   *simDisk
	f      *simFile
	name   string
	closed bool
}

// nameLocked is the name that the file has now.
func (h *simHandle) nameLocked() string {
	for name, f := range h.disk.names {
		if f == h.f {
			return name
		}
	}
	return h.name
}

func (h *simHandle) ReadAt(b []byte, at int64) (int, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.closed {
		return 0, fs.ErrClosed
	}
	if at >= int64(len(h.f.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.f.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *simHandle) WriteAt(b []byte, at int64) (int, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.closed {
		return 0, fs.ErrClosed
	}
	err := h.disk.opLocked("write " + h.nameLocked())
	n := len(b)
	if err != nil {
		n = h.disk.random.IntN(n + 1) // a part of it got there
	}
	if n > 0 {
		if end := at + int64(n); int64(len(h.f.data)) < end {
			h.f.data = append(h.f.data, make([]byte, end-int64(len(h.f.data)))...)
		}
		copy(h.f.data[at:], b[:n])
		h.f.since = append(h.f.since, simWrite{at, append([]byte{}, b[:n]...)})
	}
	return n, err
}

func (h *simHandle) Truncate(size int64) error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.disk.opLocked("truncate " + h.nameLocked()); err != nil {
		return err
	}
	h.f.data = h.f.data[:size]
	h.f.since = append(h.f.since, simWrite{at: size})
	return nil
}

func (h *simHandle) Sync() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.disk.opLocked("sync " + h.nameLocked()); err != nil {
		return err
	}
	h.f.durable, h.f.since = append([]byte(nil), h.f.data...), nil
	return nil
}

func (h *simHandle) Close() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.closed {
		return fs.ErrClosed
	}
	h.closed = true
	h.disk.opened[h.f]--
	return nil
}

func (h *simHandle) Chmod(mode fs.FileMode) error {
	h.f.mode = mode
	return nil
}

func (h *simHandle) Stat() (fs.FileInfo, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return simInfo{h.name, int64(len(h.f.data)), h.f.mode}, nil
}

type simInfo struct {
	name string
	size int64
	mode fs.FileMode
}

func (i simInfo) Name() string       { return i.name }
func (i simInfo) Size() int64        { return i.size }
func (i simInfo) Mode() fs.FileMode  { return i.mode }
func (i simInfo) ModTime() time.Time { return time.Time{} }
func (i simInfo) IsDir() bool        { return false }
func (i simInfo) Sys() any           { return nil }
