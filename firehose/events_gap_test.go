package firehose_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/feeds"
	"github.com/cannedos/cannedos/resource"
)

// Each reason why a reading does not lead to the one before: told with the batch, as
// an event and in the figures, once.
//
// Peer ghtorrent-2: it pages back to a depth that is a constant.
func TestE7_TheReasonsForAGap(t *testing.T) {
	far := func(b *board) { b.ids = append(span(120, 100), b.ids...) }
	for name, c := range map[string]struct {
		config   firehose.EventsConfig[feeds.Event]
		most     int
		wrong    func(b *board, page int, c call) *reply // from 30 s on
		change   func(b *board)
		readings int // until the gap is told
		want     firehose.GapReason
		cause    string
	}{
		"window": {most: 2, change: far, readings: 1, want: firehose.GapWindow, cause: "the 6 items that the feed shows"},
		"depth":  {config: firehose.EventsConfig[feeds.Event]{MaxPages: 2}, change: far, readings: 1, want: firehose.GapDepth, cause: "2 pages were read"},
		"refused": {change: far, readings: 1, want: firehose.GapRefused, cause: "must not be read", wrong: func(b *board, page int, c call) *reply {
			r := b.page(page, c)
			r.header["Link"] = `<https://b.test/events?page=2>; rel="next"`
			return &r
		}},
		"cut": {change: far, readings: 3, want: firehose.GapCut, cause: "page 2: failed: status 500", wrong: func(b *board, page int, c call) *reply {
			if page == 2 {
				return new(status(500))
			}
			return nil
		}},
		"unreadable": {change: func(b *board) { b.ids = append([]string{""}, b.ids...) }, readings: 1, want: firehose.GapUnreadable, cause: "1 entries could not be read"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBoard(span(9, 1)...)
				b.most = c.most
				r := read(t, b, firehose.Config{}, c.config)
				until(30 * time.Second)
				b.do(func() {
					c.change(b)
					if c.wrong != nil {
						b.wrong = func(page int, k call) *reply { return c.wrong(b, page, k) }
					}
				})
				until(time.Duration(c.readings)*time.Minute + 30*time.Second)
				b.fail(nil)
				until(10 * time.Minute)
				gaps := slices.DeleteFunc(r.items.gaps(), func(g *firehose.Gap) bool { return g.Certainty < 0.01 })
				require.Len(t, gaps, 1)
				g := gaps[0]
				require.Equal(t, c.want, g.Reason)
				require.Equal(t, name, g.Reason.String())
				require.Contains(t, g.Cause, c.cause)
				require.Contains(t, g.String(), g.Cause)
				require.Equal(t, uriFeed, g.URI)
				require.Equal(t, idOf(t, uriFeed), g.Feed)
				require.Equal(t, epoch, g.From.UTC())
				require.Equal(t, epoch.Add(time.Duration(c.readings)*time.Minute), g.To.UTC())
				require.GreaterOrEqual(t, g.Estimate, 1.0)
				require.Greater(t, g.Certainty, 0.6)
				require.Contains(t, r.sink.kinds(), "gap")
				s := r.events.Stats()
				require.EqualValues(t, len(r.items.gaps()), s.Gaps)
				require.InDelta(t, g.Estimate, s.Missing, 0.1)
				require.EqualValues(t, s.Gaps, r.Stats().Events["gap"])
				r.settled()
			})
		})
	}
}

// An entry that can't be read is told of once while it stays, also by the next
// process, and what can be read is not held up by it.
func TestE7_AnUnreadableEntryIsToldOfOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, b := db.NewMemory(), newBoard(span(9, 1)...)
		items := &collector{}
		b.ids = slices.Insert(b.ids, 4, "") // on page two
		for n := range 4 {
			r := read(t, b, firehose.Config{DB: store}, firehose.EventsConfig[feeds.Event]{Sink: items})
			until(time.Duration(n)*5*time.Minute + 3*time.Minute)
			require.NoError(t, r.stop())
			b.add(fmt.Sprint(10 + n))
			until(time.Duration(n+1) * 5 * time.Minute)
		}
		require.Len(t, items.ids(), 12)
		require.Len(t, items.gaps(), 1)
		require.Equal(t, 1.0, items.gaps()[0].Estimate)
	})
}

// The estimate goes by numbers, by instants or by the rate, as the feed has them.
func TestE7_Estimates(t *testing.T) {
	const missed = 400
	for name, c := range map[string]struct {
		id    func(n int) string
		at    func(n int) time.Time
		least float64
		most  float64
	}{
		"by id":                 {func(n int) string { return fmt.Sprint(1000 + 7*n) }, nil, 0.9 * missed, 1.1 * missed},
		"by instant":            {func(n int) string { return fmt.Sprintf("x%d", n) }, func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second / 2) }, 0.9 * missed, 1.1 * missed},
		"by rate":               {func(n int) string { return fmt.Sprintf("x%d", n) }, nil, 0.5 * missed, 1.5 * missed},
		"by rate, ids in chaos": {func(n int) string { return fmt.Sprint(n * 7919 % 1009) }, nil, 0.5 * missed, 1.5 * missed},
	} {
		x := newDirect(t, nil, 0)
		x.item = func(id string) (item firehose.Item[feeds.Event]) {
			var n int
			fmt.Sscan(id, &n)
			item.ID = c.id(n)
			if c.at != nil {
				item.At = c.at(n)
			}
			return item
		}
		top := 100
		for range 5 { // 50 a minute
			require.NoError(t, x.take(x.answer(span(top, top-99)...)))
			top += 50
		}
		require.Empty(t, x.items.gaps(), name)
		top += missed + 50
		x.at = x.at.Add(9 * time.Minute)
		require.NoError(t, x.take(x.answer(span(top, top-99)...)))
		require.Len(t, x.items.gaps(), 1, name)
		g := x.items.gaps()[0]
		require.Greater(t, g.Estimate, c.least, name)
		require.Less(t, g.Estimate, c.most, name)
		require.Equal(t, epoch.Add(5*time.Minute), g.From)
		require.Equal(t, epoch.Add(15*time.Minute), g.To)
		require.Greater(t, g.Certainty, 0.99)
	}
}

// What is no reason for a gap.
func TestE2_E3_E4_NoGap(t *testing.T) {
	old := func(n int) time.Time { return epoch.Add(-5*time.Hour + time.Duration(n%3)*time.Hour) }
	for name, c := range map[string]struct {
		at       func(n int) time.Time
		readings [][]string
		want     []string
	}{
		"the first reading ever":   {readings: [][]string{span(9, 1)}, want: up(1, 9)},
		"items that are hours old": {at: old, readings: [][]string{span(9, 1), span(12, 4), span(15, 7)}, want: up(1, 15)},
		"holes in ids":             {readings: [][]string{{"900", "20", "1"}, {"90000", "900", "20"}, {"9999999", "90000", "900"}}, want: []string{"1", "20", "900", "90000", "9999999"}},
		"7 and 007":                {readings: [][]string{{"7"}, {"007", "7"}, {"7.0", "007", "7"}}, want: []string{"7", "007", "7.0"}},
		"late items":               {readings: [][]string{span(9, 1), {"10", "9", "8.5", "8", "7", "6", "5"}}, want: append(up(1, 9), "8.5", "10")},
		"late items everywhere":    {readings: [][]string{{"3", "2", "1"}, {"4", "3", "2.5", "2", "1.5", "1"}}, want: []string{"1", "2", "3", "1.5", "2.5", "4"}},
		"one item":                 {readings: [][]string{{"1"}, {"1"}, {"2", "1"}}, want: up(1, 2)},
		"repeated":                 {readings: [][]string{{"3", "2", "3", "1", "2"}, {"4", "3", "2", "4"}, {"5", "4", "3"}}, want: []string{"1", "2", "3", "4", "5"}},
		"empty, then few":          {readings: [][]string{nil, nil, {"1"}, {"2", "1"}}, want: up(1, 2)},
		"few, then empty":          {readings: [][]string{{"2", "1"}, nil, nil}, want: up(1, 2)},
		"empty for a while":        {readings: [][]string{span(9, 1), nil, nil, span(12, 4), nil, span(15, 5)}, want: up(1, 15)},
		"empty, then one":          {readings: [][]string{span(9, 1), nil, nil, {"20"}}, want: append(up(1, 9), "20")},
		"an item disappears":       {readings: [][]string{span(9, 1), {"10", "8", "7", "5", "4", "2"}}, want: up(1, 10)},
		"the oldest first":         {readings: [][]string{up(1, 3), up(1, 5)}, want: []string{"3", "2", "1", "5", "4"}},
		"just the newest is left":  {readings: [][]string{span(3, 1), {"6", "5", "4", "3"}}, want: up(1, 6)},
	} {
		x := newDirect(t, nil, 0)
		if c.at != nil {
			x.item = func(id string) firehose.Item[feeds.Event] {
				var n int
				fmt.Sscan(id, &n)
				return firehose.Item[feeds.Event]{ID: id, At: c.at(n)}
			}
		}
		for _, ids := range c.readings {
			require.NoError(t, x.take(x.answer(ids...)), name)
		}
		require.Equal(t, c.want, x.items.ids(), name)
		require.Empty(t, x.items.gaps(), name)
	}
}

// One known item alone is no overlap, and a feed that was empty tells by its
// instants how far back it goes.
func TestE3_NoOverlapIsAGap(t *testing.T) {
	x := newDirect(t, nil, 0)
	require.NoError(t, x.take(x.answer(span(9, 1)...)))
	require.NoError(t, x.take(x.answer("20", "19", "5", "18", "17"))) // that came again
	require.Len(t, x.items.gaps(), 1)
	require.NoError(t, x.take(x.answer("30", "29", "28")))
	require.Len(t, x.items.gaps(), 2)
	require.NoError(t, x.take(x.answer()))
	require.NoError(t, x.take(x.answer()))
	x.item = func(id string) firehose.Item[feeds.Event] {
		return firehose.Item[feeds.Event]{ID: id, At: epoch.Add(time.Duration(len(id)+int(id[1])) * time.Second)}
	}
	require.NoError(t, x.take(x.answer("49", "48", "47")))
	require.Len(t, x.items.gaps(), 3, "nothing leads to what was shown before it was empty")
	require.Equal(t, epoch.Add(3*time.Minute), x.items.gaps()[2].From)

	for name, c := range map[string]struct {
		apart time.Duration
		gaps  int
	}{"it goes back": {10 * time.Second, 0}, "it may go back": {2 * time.Second, 1}} {
		x := newDirect(t, nil, 0)
		x.item = func(id string) firehose.Item[feeds.Event] {
			var n int
			fmt.Sscan(id, &n)
			return firehose.Item[feeds.Event]{ID: id, At: epoch.Add(time.Duration(n) * c.apart)}
		}
		require.NoError(t, x.take(x.answer()))
		require.NoError(t, x.take(x.answer(span(12, 1)...)))
		require.Len(t, x.items.gaps(), c.gaps, name)
	}
}

// A gap begins at the last answer that nothing had changed, if there was one.
func TestE7_AGapBeginsWithTheLastUnchangedAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBoard(span(3, 1)...)
		b.most = 1
		r := read(t, b, firehose.Config{}, firehose.EventsConfig[feeds.Event]{})
		until(200 * time.Second)
		b.add(span(40, 20)...)
		until(5 * time.Minute)
		require.Len(t, r.items.gaps(), 1)
		require.Equal(t, epoch.Add(3*time.Minute), r.items.gaps()[0].From.UTC())
		require.Equal(t, epoch.Add(4*time.Minute), r.items.gaps()[0].To.UTC())
	})
}

// A window that moves between two pages shows items twice, which are taken once, and
// none between them is overlooked.
func TestE5_TheWindowMovesWhileItIsRead(t *testing.T) {
	for _, shift := range []int{1, 2, 3, 5} {
		bubble(t, func(t *testing.T) {
			b := newBoard(span(30, 1)...)
			n := 30
			b.wrong = func(page int, c call) *reply {
				if page > 1 && c.At > 30*time.Second && n < 30+6*shift {
					for range shift {
						n++
						b.ids = append([]string{fmt.Sprint(n)}, b.ids...)
					}
				}
				return nil
			}
			r := read(t, b, firehose.Config{}, firehose.EventsConfig[feeds.Event]{MaxPages: 20})
			until(30 * time.Second)
			n++
			b.add("31")
			until(10 * time.Minute)
			got := r.items.ids()
			require.ElementsMatch(t, up(1, n), got, "shift by %d", shift)
			require.Zero(t, r.events.Stats().Missing)
			r.settled()
		})
	}
}

// Fields that are missing are no error, the bytes are kept, and an element that is no
// event is counted.
func TestE10_MissingFieldsAndRawBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		raw := []string{`{"id":"3"}`, `{"id":"2","type":7,"payload":{"commits":null},  "more":[1]}`, `{"id":1,"created_at":"no date"}`, `"no event"`}
		net := newScript(func(c call) reply { return ok("["+strings.Join(raw, ", ")+"]", "") })
		items := &collector{}
		events, err := firehose.NewEvents(firehose.EventsConfig[feeds.Event]{Reader: feeds.GitHub(), Sink: items})
		require.NoError(t, err)
		r := start(t, net, firehose.Config{Sink: events, Resources: resource.List(uriFeed)})
		until(30 * time.Second)
		require.Equal(t, up(1, 3), items.ids())
		for i, item := range items.batches[0].Items {
			require.Equal(t, raw[2-i], string(item.Value.Raw))
		}
		require.Equal(t, 1, items.batches[0].Skipped)
		require.Zero(t, r.Stats().SinkErrors)
	})
}

// The body of a rejection, or of a login page, never becomes items; the poll fails.
func TestD16_RejectionsNeverReachTheReader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		read := 0
		reader := firehose.ReaderFunc[feeds.Event](func(r *resource.Response) (firehose.Page[feeds.Event], error) {
			read++
			return feeds.GitHub().Read(r)
		})
		replies := []reply{status(500), status(404), status(403), {body: `{"message":"no"}`}, {body: "<html>"}, {body: ""}, ok(`[{"id":"1"}]`, "")}
		for i := range replies[:3] {
			replies[i].body = `[{"id":"666"}]`
		}
		net := newScript(func(c call) reply { return replies[min(c.n, len(replies)-1)] })
		items := &collector{}
		events, err := firehose.NewEvents(firehose.EventsConfig[feeds.Event]{Reader: reader, Sink: items})
		require.NoError(t, err)
		r := start(t, net, firehose.Config{Sink: events, Resources: resource.List(uriFeed)})
		for range 10 { // a 403 ends in requests-error
			until(at() + time.Hour)
			for _, buried := range r.errorsIn(firehose.QueueRequestsError) {
				require.NoError(t, r.Replay(context.Background(), buried.Resource.ID))
			}
		}
		require.Equal(t, []string{"1"}, items.ids())
		require.Empty(t, items.gaps())
		require.GreaterOrEqual(t, read, 4)
	})
}
