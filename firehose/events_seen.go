package firehose

import (
	"crypto/sha256"
	"encoding/binary"
)

// mark stands for an item: 64 bits of a hash of its ID, salted for each feed, so
// that nobody can make an item that is taken for another. Zero is no item.
type mark uint64

// segmentMarks is how many marks are written together.
const segmentMarks = 1024

// seenSet is the marks of a feed in the order in which they came, the oldest
// first, in segments of segmentMarks. It forgets whole segments.
//
//	segments   first ... first+n-1      full, each in a record of its own
//	recent     segment first+n          being filled, in the record of the feed
type seenSet struct {
	salt   [16]byte
	most   int // marks that are kept at least, if there were so many
	first  uint64
	full   [][]mark
	recent []mark
	known  map[mark]struct{}
}

func newSeenSet(salt [16]byte, most int) *seenSet {
	return &seenSet{salt: salt, most: most, known: map[mark]struct{}{}}
}

// of returns the mark of an ID.
func (s *seenSet) of(id string) mark {
	h := sha256.New()
	h.Write(s.salt[:])
	h.Write([]byte(id))
	return max(1, mark(binary.BigEndian.Uint64(h.Sum(nil))))
}

func (s *seenSet) has(m mark) bool {
	_, ok := s.known[m]
	return ok
}

// know takes over marks that are in a segment already.
func (s *seenSet) know(marks []mark) {
	for _, m := range marks {
		s.known[m] = struct{}{}
	}
}

// add marks items as seen. filled are the segments that are full now, by number.
func (s *seenSet) add(marks ...mark) (filled []uint64) {
	for _, m := range marks {
		if s.has(m) {
			continue
		}
		s.known[m] = struct{}{}
		s.recent = append(s.recent, m)
		if len(s.recent) == segmentMarks {
			filled = append(filled, s.first+uint64(len(s.full)))
			s.full = append(s.full, s.recent)
			s.recent = nil
		}
	}
	return filled
}

// forget drops the oldest segments, as long as enough marks are left. Those of
// visible, which the feed still shows, are kept: they become new ones. gone are
// the segments that were dropped, and filled those that became full.
func (s *seenSet) forget(visible map[mark]struct{}) (gone, filled []uint64) {
	most := max(s.most, 2*len(visible))
	for len(s.full) > 1 && len(s.known)-segmentMarks >= most {
		oldest := s.full[0]
		gone = append(gone, s.first)
		s.full, s.first = s.full[1:], s.first+1
		var kept []mark
		for _, m := range oldest {
			delete(s.known, m)
			if _, ok := visible[m]; ok {
				kept = append(kept, m)
			}
		}
		filled = append(filled, s.add(kept...)...)
	}
	return gone, filled
}

// segment returns a full segment by its number.
func (s *seenSet) segment(n uint64) []mark { return s.full[n-s.first] }

func packMarks(marks []mark) []byte {
	b := make([]byte, 0, 8*len(marks))
	for _, m := range marks {
		b = binary.BigEndian.AppendUint64(b, uint64(m))
	}
	return b
}

// unpackMarks reads what packMarks wrote; ok is false where it is nothing of the
// kind.
func unpackMarks(b []byte) (marks []mark, ok bool) {
	for ; len(b) >= 8; b = b[8:] {
		m := mark(binary.BigEndian.Uint64(b))
		if m == 0 {
			return nil, false
		}
		marks = append(marks, m)
	}
	return marks, len(b) == 0
}
