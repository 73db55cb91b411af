package firehose

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// feedSpace is where the states of feeds are kept.
const feedSpace = "feed"

// feedFormat is the version of the form of a record. A newer one is refused.
const feedFormat = 1

// feedState is what is known of one feed. Whoever has its turn owns it.
type feedState struct {
	id   resource.ID
	turn chan struct{} // capacity 1

	loaded   bool
	version  int64            // of its record
	segments map[uint64]int64 // versions of the records of full segments
	seen     *seenSet

	whole   [][]mark  // pages of the last reading from which nothing is missing; nil: there was none
	since   time.Time // when that began
	shown   time.Time // when the last one began that showed anything, if that showed nothing; whole has the items of both then
	open    int       // items of readings since, which were cut
	cuts    int       // how many those are
	skipped int       // entries of the last reading that could not be read

	topOf axisKind // of the last whole reading
	top   float64  // where its front lies
	above int      // items of it in front of that
	figures
	volume volume

	pages []pageState // as they were read last, page one included

	taken   time.Time          // when the response was received that was taken last, by this process
	unsaved *resource.Response // was taken by the sink, and is not written yet
	filled  []uint64           // segments to write
	gone    []uint64           // segments to delete
}

// pageState is what is known of a page.
type pageState struct {
	child   resource.Resource // with its validators; of page one the feed itself
	marks   []mark
	next    string
	skipped int // entries that could not be read
}

// feedRecord is a feedState in the store.
type feedRecord struct {
	Format    int          `json:"format"`
	Salt      []byte       `json:"salt"`
	First     uint64       `json:"first"`    // segment
	Segments  int          `json:"segments"` // that are full
	Recent    []byte       `json:"recent,omitempty"`
	Whole     [][]byte     `json:"whole"` // null: there was none
	Since     time.Time    `json:"since,omitzero"`
	Shown     time.Time    `json:"shown,omitzero"`
	Open      int          `json:"open,omitempty"`
	Cuts      int          `json:"cuts,omitempty"`
	Skipped   int          `json:"skipped,omitempty"`
	TopOf     axisKind     `json:"top_of,omitempty"`
	Top       float64      `json:"top,omitempty"`
	Above     int          `json:"above,omitempty"`
	Axis      axisKind     `json:"axis,omitempty"`
	Density   float64      `json:"density,omitempty"`
	PerSecond float64      `json:"per_second,omitempty"`
	Late      float64      `json:"late,omitempty"`
	Readings  int          `json:"readings,omitempty"`
	Volume    volume       `json:"volume"`
	Pages     []pageRecord `json:"pages,omitempty"`
}

type pageRecord struct {
	Child []byte `json:"child"` // encoded by package resource
	Marks []byte `json:"marks,omitempty"`
	Next  string `json:"next,omitempty"`

	Skipped int `json:"skipped,omitempty"`
}

// load reads what an earlier run has left. Errors wrap resource.ErrEncoding or
// resource.ErrNewer, or are those of the store.
func (s *feedState) load(ctx context.Context, store db.DB, most int) error {
	if s.loaded {
		return nil
	}
	var salt [16]byte
	rand.Read(salt[:])
	*s = feedState{id: s.id, turn: s.turn, seen: newSeenSet(salt, most), segments: map[uint64]int64{}}
	if store == nil {
		s.loaded = true
		return nil
	}
	got, err := store.Get(ctx, feedSpace, s.id.String())
	if err == nil && len(got) > 0 {
		err = s.decode(&got[0], most)
	}
	if err == nil {
		err = s.loadSegments(ctx, store)
	}
	if err != nil {
		return fmt.Errorf("firehose: read state of feed %v: %w", s.id, err)
	}
	s.loaded = true
	return nil
}

func (s *feedState) decode(rec *db.Record, most int) error {
	var v feedRecord
	if err := json.Unmarshal(rec.Value, &v); err != nil {
		return fmt.Errorf("%w: %w", resource.ErrEncoding, err)
	}
	switch {
	case v.Format > feedFormat:
		return fmt.Errorf("%w: format %d, this program knows %d", resource.ErrNewer, v.Format, feedFormat)
	case v.Format != feedFormat, len(v.Salt) != 16, v.Segments < 0, v.Segments > MaxSeen/segmentMarks:
		return fmt.Errorf("%w: format %d, salt of %d bytes, %d segments", resource.ErrEncoding, v.Format, len(v.Salt), v.Segments)
	}
	s.version, s.seen = rec.Version, newSeenSet([16]byte(v.Salt), most)
	s.seen.first, s.seen.full = v.First, make([][]mark, v.Segments)
	recent, ok := unpackMarks(v.Recent)
	s.seen.recent = recent
	if v.Whole != nil {
		s.whole = make([][]mark, len(v.Whole))
	}
	for i := range v.Whole {
		var fine bool
		s.whole[i], fine = unpackMarks(v.Whole[i])
		ok = ok && fine
	}
	for i := range v.Pages {
		p := pageState{next: v.Pages[i].Next, skipped: v.Pages[i].Skipped}
		var fine bool
		p.marks, fine = unpackMarks(v.Pages[i].Marks)
		if err := p.child.UnmarshalBinary(v.Pages[i].Child); err != nil {
			return err
		}
		s.pages, ok = append(s.pages, p), ok && fine
	}
	if !ok {
		return fmt.Errorf("%w: marks that are none", resource.ErrEncoding)
	}
	s.since, s.shown, s.open, s.cuts, s.skipped = v.Since, v.Shown, v.Open, v.Cuts, v.Skipped
	s.topOf, s.top, s.above = v.TopOf, v.Top, v.Above
	s.figures = figures{v.Axis, v.Density, v.PerSecond, v.Late, v.Readings}
	s.volume = v.Volume
	return nil
}

func (s *feedState) encode() ([]byte, error) {
	v := feedRecord{
		Format: feedFormat, Salt: s.seen.salt[:], First: s.seen.first, Segments: len(s.seen.full), Recent: packMarks(s.seen.recent),
		Since: s.since.Round(0).UTC(), Shown: s.shown.Round(0).UTC(), Open: s.open, Cuts: s.cuts, Skipped: s.skipped,
		TopOf: s.topOf, Top: s.top, Above: s.above, Axis: s.axis, Density: s.density, PerSecond: s.perSecond, Late: s.late, Readings: s.readings, Volume: s.volume,
	}
	if s.whole != nil {
		v.Whole = [][]byte{}
	}
	for _, page := range s.whole {
		v.Whole = append(v.Whole, packMarks(page))
	}
	for i := range s.pages {
		child, err := s.pages[i].child.MarshalBinary()
		if err != nil {
			return nil, err
		}
		v.Pages = append(v.Pages, pageRecord{Child: child, Marks: packMarks(s.pages[i].marks), Next: s.pages[i].next, Skipped: s.pages[i].skipped})
	}
	return json.Marshal(v)
}

// save writes the state: first the segments that became full, then the record,
// which makes them count, and then it deletes those that were dropped. A crash in
// between leaves what was true before, or segments that nobody counts.
func (s *feedState) save(ctx context.Context, store db.DB, owner db.Owner) error {
	if store == nil {
		s.filled, s.gone = nil, nil
		return nil
	}
	fail := func(err error) error { return fmt.Errorf("firehose: write state of feed %v: %w", s.id, err) }
	for len(s.filled) > 0 {
		n := s.filled[0]
		if n >= s.seen.first {
			if err := s.put(ctx, store, n, packMarks(s.seen.segment(n)), owner); err != nil {
				if errors.Is(err, db.ErrConflict) {
					s.yield()
				}
				return fail(err)
			}
		}
		s.filled = s.filled[1:]
	}
	value, err := s.encode()
	if err != nil {
		return fail(err)
	}
	w := db.Write{If: s.version, Record: db.Record{Space: feedSpace, ID: s.id.String(), Version: s.version + 1, Owner: owner, Value: value}}
	results, err := store.Write(ctx, w)
	if err != nil {
		return fail(err)
	}
	if !w.Won(results[0]) {
		s.yield()
		return fail(db.ErrConflict)
	}
	s.version++
	for len(s.gone) > 0 {
		n := s.gone[0]
		if version := s.segments[n]; version != 0 {
			if _, err := store.Write(ctx, db.Write{If: version, Record: db.Record{Space: feedSpace, ID: s.segmentID(n)}}); err != nil {
				return fail(err)
			}
		}
		delete(s.segments, n)
		s.gone = s.gone[1:]
	}
	return nil
}

// yield gives up what is known, since another process has written meanwhile: what
// that knows counts. What the sink took is weighed anew, and may be offered again.
func (s *feedState) yield() {
	s.loaded, s.unsaved, s.filled, s.gone = false, nil, nil, nil
}

// page returns what is known of a page.
func (s *feedState) page(uri string) *pageState {
	i := slices.IndexFunc(s.pages, func(p pageState) bool { return p.child.URI == uri })
	if i < 0 {
		return nil
	}
	return &s.pages[i]
}

// remove deletes all records of the feed.
func (s *feedState) remove(ctx context.Context, store db.DB) error {
	if store == nil {
		return nil
	}
	var all []error
	del := func(id string, version int64) {
		if version != 0 {
			_, err := store.Write(ctx, db.Write{If: version, Record: db.Record{Space: feedSpace, ID: id}})
			all = append(all, err)
		}
	}
	del(s.id.String(), s.version)
	for n, version := range s.segments {
		del(s.segmentID(n), version)
	}
	return errors.Join(all...)
}
