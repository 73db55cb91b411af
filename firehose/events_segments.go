package firehose

import (
	"context"
	"fmt"
	"strconv"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// besides is how many segments are looked for on either side of those that count:
// a crash may have left them, before or after they did.
const besides = 16

// loadSegments reads the segments that count, and finds those beside them: what is
// behind is written over in time, and what is before is deleted.
func (s *feedState) loadSegments(ctx context.Context, store db.DB) error {
	first, end := s.seen.first, s.seen.first+uint64(len(s.seen.full))
	found := 0
	for n, to := first-min(first, besides), end+besides; n < to; {
		var ids []string
		numbers := map[string]uint64{}
		for ; n < to && len(ids) < 256; n++ {
			ids = append(ids, s.segmentID(n))
			numbers[ids[len(ids)-1]] = n
		}
		got, err := store.Get(ctx, feedSpace, ids...)
		if err != nil {
			return err
		}
		for _, rec := range got {
			n := numbers[rec.ID]
			s.segments[n] = rec.Version
			switch {
			case n < first:
				s.gone = append(s.gone, n)
				continue
			case n >= end:
				continue
			}
			marks, ok := unpackMarks(rec.Value)
			if !ok {
				return fmt.Errorf("%w: segment %s", resource.ErrEncoding, rec.ID)
			}
			s.seen.full[n-first], found = marks, found+1
			s.seen.know(marks)
		}
	}
	if found != len(s.seen.full) {
		return fmt.Errorf("%w: %d of %d segments of what was seen", resource.ErrEncoding, found, len(s.seen.full))
	}
	s.seen.know(s.seen.recent)
	return nil
}

func (s *feedState) segmentID(n uint64) string {
	return s.id.String() + "/" + strconv.FormatUint(n, 10)
}

// put writes a segment, over one that a crash may have left under its number.
func (s *feedState) put(ctx context.Context, store db.DB, n uint64, value []byte, owner db.Owner) error {
	version := s.segments[n]
	for range 3 {
		w := db.Write{If: version, Record: db.Record{Space: feedSpace, ID: s.segmentID(n), Version: version + 1, Owner: owner, Value: value}}
		results, err := store.Write(ctx, w)
		if err != nil {
			return err
		}
		if w.Won(results[0]) {
			s.segments[n] = version + 1
			return nil
		}
		version = results[0].Current.Version
	}
	return db.ErrConflict
}
