package firehose

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// Pages that are windows of one feed, which moves on between them, put together give
// each item once, in the order of the feed.
func TestE5_JoinKeepsTheOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		newest, per := mark(1000), mark(1+rng.IntN(6))
		var pages []*shown[int]
		want := map[mark]struct{}{}
		for page := range mark(1 + rng.IntN(6)) {
			newest += mark(rng.IntN(int(per) + 1)) // by no more than a page
			p := &shown[int]{}
			for i := range per {
				m := newest - page*per - i
				p.marks, p.items = append(p.marks, m), append(p.items, Item[int]{ID: "x", Value: int(m)})
				want[m] = struct{}{}
			}
			pages = append(pages, p)
		}
		_, items, marks := join(pages)
		require.Len(t, marks, len(want))
		require.True(t, slices.IsSortedFunc(marks, func(a, b mark) int { return int(b) - int(a) }), "%v", marks)
		for i, m := range marks {
			require.EqualValues(t, m, items[i].Value)
		}
	}
}

// Whatever pages hold, each mark comes once.
func TestE5_JoinOfAnything(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		var pages []*shown[int]
		want := map[mark]bool{}
		for range 1 + rng.IntN(5) {
			p := &shown[int]{}
			for range rng.IntN(8) {
				if m := mark(1 + rng.IntN(20)); !slices.Contains(p.marks, m) {
					p.marks, p.items = append(p.marks, m), append(p.items, Item[int]{})
					want[m] = true
				}
			}
			pages = append(pages, p)
		}
		pages[len(pages)-1].moved = len(pages) > 1 && rng.IntN(3) == 0
		_, _, marks := join(pages)
		require.Len(t, marks, len(want))
		for _, m := range marks {
			require.True(t, want[m])
			delete(want, m)
		}
	}
}

// A reading reaches an earlier one whose items it shares, whatever came in front, was
// taken out or came late; it never reaches one of which it shows nothing.
func TestE3_Reaches(t *testing.T) {
	window := func(high, low mark) (page []mark) {
		for m := high; m >= low; m-- {
			page = append(page, m)
		}
		return page
	}
	split := func(rng *rand.Rand, marks []mark) (pages [][]mark) {
		for len(marks) > 0 {
			n := min(len(marks), 3+rng.IntN(len(marks))) // smaller pages have no neighbours that tell
			pages, marks = append(pages, marks[:n]), marks[n:]
		}
		return pages
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		before := window(100, 100-mark(rng.IntN(30)))
		after := window(100+mark(rng.IntN(40)), 101)
		require.False(t, reaches(split(rng, after), split(rng, before), true))
		shared := 3 + rng.IntN(20)
		after = append(after, before[:min(shared, len(before))]...)
		if len(before) >= 3 {
			after = slices.Insert(after, rng.IntN(len(after)+1), 999) // late
		}
		require.True(t, reaches([][]mark{after}, split(rng, before), false), "%v %v", before, after)
	}
	require.False(t, reaches([][]mark{{5, 4}}, nil, true))
	require.False(t, reaches([][]mark{{5, 4, 9, 3}}, [][]mark{{9, 8, 7}}, true), "one item may have come again")
	require.True(t, reaches([][]mark{{5, 4, 9}}, [][]mark{{9, 8, 7}}, true))
	require.False(t, reaches([][]mark{{5, 4, 9}}, [][]mark{{9, 8, 7}}, false))
	require.True(t, reaches([][]mark{{5, 9}, {}}, [][]mark{{}, {9, 8}}, true))
}

// A state read from any bytes is an error or a state that can be written and read
// again.
func FuzzFeedRecord(f *testing.F) {
	feed, err := resource.New(resource.Spec{URI: "https://a.test/events"}, "")
	require.NoError(f, err)
	s := feedState{id: feed.ID, seen: newSeenSet([16]byte{1}, 10), segments: map[uint64]int64{}}
	s.seen.add(1, 2, 3)
	s.whole, s.pages = [][]mark{{3, 2}, {}}, []pageState{{child: feed, marks: []mark{3, 2}, next: "https://a.test/events?page=2"}}
	good, err := s.encode()
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(`{"format":1,"salt":"AAAAAAAAAAAAAAAAAAAAAA==","whole":null}`))
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`{"format":1,"salt":"AAAAAAAAAAAAAAAAAAAAAA==","first":18446744073709551615,"segments":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		store := db.NewMemory()
		rec := db.Record{Space: feedSpace, ID: feed.ID.String(), Version: 1, Value: text}
		if _, err := store.Write(context.Background(), db.Write{Record: rec}); err != nil {
			return
		}
		s := &feedState{id: feed.ID}
		if err := s.load(context.Background(), store, 10); err != nil {
			return
		}
		first, err := s.encode()
		require.NoError(t, err)
		require.True(t, json.Valid(first))
		again := &feedState{id: feed.ID}
		require.NoError(t, again.decode(&db.Record{Value: first}, 10))
		second, err := again.encode()
		require.NoError(t, err)
		require.Equal(t, string(first), string(second))
		pages := []*shown[int]{{marks: []mark{7, 8}}}
		for _, page := range s.whole {
			pages = append(pages, &shown[int]{marks: page})
		}
		join(pages)
		reaches(s.whole, s.whole, true)
	})
}
