package db

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// The file is a header and then frames, one for each write, in the order in
// which they took effect. All numbers are little-endian.
//
//	header, 32 bytes, same shape in every version of the format:
//	  0  magic
//	  8  version of the format, uint32
//	 12  salt, 8 random bytes, which keeps frames of other files apart
//	 20  zero
//	 28  CRC-32C of what is before
//
//	frame:
//	  0  length of the payload, uint32; the top bit is the synced flag
//	  4  CRC-32C of salt and length
//	  8  CRC-32C of salt and payload
//	 12  payload: a record as appendRecord writes it
//
// The synced flag says that everything before this frame was safely on disk
// when the frame was written: it marks the first frame of each batch, which
// is written only after the batch before it was synced, and every frame that
// compaction copied. It tells damage from a torn tail: whatever is wrong in
// front of a synced frame was acknowledged once.
const (
	magic         = "\x89Canned\n"
	formatVersion = 1
	headerSize    = 32
	frameHead     = 12
	syncedFlag    = 1 << 31
	minPayload    = 5 // two names of one byte, and a version
	maxPayload    = MaxSpace + MaxID + MaxValue + 64
	// maxFile is what an offset in the index can name.
	maxFile = 1 << 40
)

// errBadFrame is a place where no whole frame is.
var errBadFrame = errors.New("no frame")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// salt is the CRC-32C of a file's salt, from which its other sums start.
type salt uint32

func (s salt) sum(b []byte) uint32 { return crc32.Update(uint32(s), castagnoli, b) }

func newHeader(random [8]byte) []byte {
	h := make([]byte, headerSize)
	copy(h, magic)
	binary.LittleEndian.PutUint32(h[8:], formatVersion)
	copy(h[12:], random[:])
	binary.LittleEndian.PutUint32(h[28:], crc32.Checksum(h[:28], castagnoli))
	return h
}

// readHeader checks that f is a file of ours that we can read.
func readHeader(path string, f io.ReaderAt) (h []byte, _ salt, _ error) {
	h = make([]byte, headerSize)
	n, err := f.ReadAt(h, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	if !bytes.HasPrefix(h[:n], []byte(magic)) {
		return nil, 0, fmt.Errorf("%w: it does not begin as one", ErrForeign)
	}
	if n < headerSize {
		return nil, 0, &DamagedError{Path: path, Reason: "it ends early"}
	}
	if binary.LittleEndian.Uint32(h[28:]) != crc32.Checksum(h[:28], castagnoli) {
		return nil, 0, &DamagedError{Path: path, Reason: "its checksum does not hold"}
	}
	if v := binary.LittleEndian.Uint32(h[8:]); v > formatVersion {
		return nil, 0, fmt.Errorf("%w: format %d, this program knows up to %d", ErrNewer, v, formatVersion)
	} else if v == 0 {
		return nil, 0, &DamagedError{Path: path, Reason: "format 0 does not exist"}
	}
	return h, salt(crc32.Checksum(h[12:20], castagnoli)), nil
}

// appendFrame appends the frame of r, without the synced flag.
func appendFrame(b []byte, s salt, r *Record) []byte {
	start := len(b)
	b = append(b, make([]byte, frameHead)...)
	b = appendRecord(b, r)
	frame := b[start:]
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-frameHead))
	binary.LittleEndian.PutUint32(frame[4:], s.sum(frame[:4]))
	binary.LittleEndian.PutUint32(frame[8:], s.sum(frame[frameHead:]))
	return b
}

// setSynced sets the synced flag of a frame.
func setSynced(frame []byte, s salt) {
	binary.LittleEndian.PutUint32(frame, binary.LittleEndian.Uint32(frame)|syncedFlag)
	binary.LittleEndian.PutUint32(frame[4:], s.sum(frame[:4]))
}

// frameSize reads the head of a frame and returns the size of the whole.
func frameSize(head []byte, s salt) (size int, synced bool, err error) {
	word := binary.LittleEndian.Uint32(head)
	n := word &^ syncedFlag
	if n < minPayload || n > maxPayload || binary.LittleEndian.Uint32(head[4:]) != s.sum(head[:4]) {
		return 0, false, errBadFrame
	}
	return frameHead + int(n), word&syncedFlag != 0, nil
}

// framePayload checks a whole frame and returns its payload.
func framePayload(frame []byte, s salt) ([]byte, error) {
	if len(frame) < frameHead {
		return nil, errBadFrame
	}
	size, _, err := frameSize(frame, s)
	if err != nil || size != len(frame) || binary.LittleEndian.Uint32(frame[8:]) != s.sum(frame[frameHead:]) {
		return nil, errBadFrame
	}
	return frame[frameHead:], nil
}

// replay calls apply for every record of the log in order, with the place of
// its frame, and returns where the log ends: at size, or before a torn tail.
// An error is one of reading, or a *DamagedError.
func replay(path string, f io.ReaderAt, size int64, s salt, apply func(r rawRecord, at location)) (end int64, err error) {
	in := newWindow(f, size)
	for at := int64(headerSize); at < size; {
		frame, err := in.frame(at, s)
		if errors.Is(err, errBadFrame) {
			later, err := findSynced(in, at+1, s)
			if err != nil {
				return 0, err
			}
			if later != 0 {
				return 0, &DamagedError{Path: path, Offset: at,
					Reason: fmt.Sprintf("no whole record, though one at byte %d was written after it was safe", later)}
			}
			return at, nil
		}
		if err != nil {
			return 0, err
		}
		r, err := decodeRecord(frame[frameHead:])
		if err != nil {
			return 0, &DamagedError{Path: path, Offset: at, Reason: "a record that this program never writes"}
		}
		apply(r, newLocation(at, len(frame)))
		at += int64(len(frame))
	}
	return max(size, headerSize), nil
}

// findSynced looks from at on for a whole frame with the synced flag and
// returns its offset, or 0 if there is none.
func findSynced(in *window, at int64, s salt) (int64, error) {
	for ; at+frameHead+minPayload <= in.size; at++ {
		head, err := in.bytes(at, frameHead)
		if err != nil {
			return 0, err
		}
		if head[3]&(syncedFlag>>24) == 0 {
			continue // by far the most places, in a fraction of the time
		}
		if _, _, err := frameSize(head, s); err != nil {
			continue
		}
		if _, err := in.frame(at, s); err == nil {
			return at, nil
		} else if !errors.Is(err, errBadFrame) {
			return 0, err
		}
	}
	return 0, nil
}

// window reads a file forward in large pieces.
type window struct {
	f    io.ReaderAt
	size int64
	buf  []byte
	from int64 // offset of buf
}

const windowSize = 1 << 20

func newWindow(f io.ReaderAt, size int64) *window {
	return &window{f: f, size: size, buf: make([]byte, 0, windowSize+frameHead+maxPayload)}
}

// frame returns the whole frame at an offset, checked, or errBadFrame. It is
// valid until the next call.
func (w *window) frame(at int64, s salt) ([]byte, error) {
	if w.size-at < frameHead {
		return nil, errBadFrame
	}
	head, err := w.bytes(at, frameHead)
	if err != nil {
		return nil, err
	}
	size, _, err := frameSize(head, s)
	if err != nil || int64(size) > w.size-at {
		return nil, errBadFrame
	}
	frame, err := w.bytes(at, size)
	if err != nil {
		return nil, err
	}
	if _, err := framePayload(frame, s); err != nil {
		return nil, err
	}
	return frame, nil
}

// bytes returns n bytes at an offset inside the file.
func (w *window) bytes(at int64, n int) ([]byte, error) {
	if at < w.from || at+int64(n) > w.from+int64(len(w.buf)) {
		want := min(w.size-at, int64(max(n, windowSize)))
		w.from = at
		got, err := w.f.ReadAt(w.buf[:want], at)
		w.buf = w.buf[:got]
		if got < n {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	i := at - w.from
	return w.buf[i : i+int64(n)], nil
}

// location is the offset and the size of a frame in eight bytes.
type location uint64

func newLocation(at int64, size int) location { return location(at)<<24 | location(size) }

func (l location) offset() int64 { return int64(l >> 24) }
func (l location) size() int     { return int(l & (1<<24 - 1)) }
