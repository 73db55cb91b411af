package db

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// read returns the record whose frame is at a place. The error is fs.ErrClosed
// when the log has been replaced meanwhile.
func (f *File) read(log handle, at location) (Record, error) {
	frame := make([]byte, at.size())
	if err := readFull(log, frame, at.offset()); err != nil {
		return Record{}, err
	}
	return f.decode(frame, at.offset())
}

// decode checks a frame and returns its record, whose Value aliases it.
func (f *File) decode(frame []byte, at int64) (Record, error) {
	payload, err := framePayload(frame, f.salt)
	if err != nil {
		return Record{}, f.damaged(at)
	}
	raw, err := decodeRecord(payload)
	if err != nil || raw.version == 0 {
		return Record{}, f.damaged(at)
	}
	r := Record{Space: string(raw.space), ID: string(raw.id), Version: raw.version}
	if err := decodeBody(raw.body, &r); err != nil {
		return Record{}, f.damaged(at)
	}
	r.Value = slices.Clip(r.Value)
	if len(r.Value) == 0 {
		r.Value = nil // nor keep the frame alive for it
	}
	return r, nil
}

func (f *File) damaged(at int64) error {
	return &DamagedError{Path: f.path, Offset: at, Reason: "a record that was whole is not any more"}
}

// readFull reads a frame that lies inside the log.
func readFull(log handle, b []byte, at int64) error {
	n, err := log.ReadAt(b, at)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("byte %d: the file has been cut by someone else: %w", at, io.ErrUnexpectedEOF)
	}
	return err
}

// Bounds of a run: frames that lie close to each other are read together.
const (
	runGap  = 4 << 10
	runSize = 1 << 20
)

// placed is a slot and where its frame is.
type placed struct {
	slot uint32
	at   location
}

// readRuns calls each with every frame of places, in the order of the file, as
// few reads as pay. A frame is valid during the call. places gets sorted.
func readRuns(log handle, places []placed, buf []byte, each func(p placed, frame []byte) error) ([]byte, error) {
	slices.SortFunc(places, func(a, b placed) int {
		if a.at < b.at {
			return -1
		}
		return 1
	})
	for len(places) > 0 {
		from := places[0].at.offset()
		end, n := from, 0
		for _, p := range places {
			to := p.at.offset() + int64(p.at.size())
			if n > 0 && (p.at.offset()-end > runGap || to-from > runSize) {
				break
			}
			end = to
			n++
		}
		buf = slices.Grow(buf[:0], int(end-from))[:end-from]
		if err := readFull(log, buf, from); err != nil {
			return buf, err
		}
		for _, p := range places[:n] {
			i := p.at.offset() - from
			if err := each(p, buf[i:i+int64(p.at.size())]); err != nil {
				return buf, err
			}
		}
		places = places[n:]
	}
	return buf, nil
}

// placesLocked appends the places of the records in some slots, from slot on
// and below end, and returns the slot to go on with.
func (t *fileTable) placesLocked(slot, end uint32, places []placed) ([]placed, uint32) {
	for size := 0; slot < end && len(places) < scanRecords && size < scanBytes; slot++ {
		if t.used(slot) {
			at := *t.places.at(slot)
			size += at.size()
			places = append(places, placed{slot, at})
		}
	}
	return places, slot
}

// fileScan is a scan of one space under way.
type fileScan struct {
	f      *File
	t      *fileTable
	places []placed
	buf    []byte
}

func (s *fileScan) step(slot, end uint32, batch []Record) ([]Record, uint32, error) {
	for {
		s.f.mu.RLock()
		if s.f.closing {
			s.f.mu.RUnlock()
			return nil, 0, ErrClosed
		}
		log := s.f.log
		var next uint32
		s.places, next = s.t.placesLocked(slot, end, s.places[:0])
		s.f.mu.RUnlock()

		var err error
		s.buf, err = readRuns(log, s.places, s.buf, func(p placed, frame []byte) error {
			r, err := s.f.decode(frame, p.at.offset())
			if err != nil {
				return err
			}
			r.Value = append([]byte(nil), r.Value...)
			batch = append(batch, r)
			return nil
		})
		if errors.Is(err, fs.ErrClosed) {
			batch = batch[:0] // the log was replaced: the same slots again
			continue
		}
		return batch, next, err
	}
}
