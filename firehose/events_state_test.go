package firehose_test

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/feeds"
	"github.com/cannedos/cannedos/resource"
)

// feedDB fails one write, or one read, of the states of feeds.
type feedDB struct {
	db.DB
	mu     sync.Mutex
	writes int
	fails  int // that write, from 1; 0: none
	after  bool
	reads  int // so many reads fail
}

func (f *feedDB) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if len(writes) == 0 || writes[0].Record.Space != "feed" {
		return f.DB.Write(ctx, writes...)
	}
	f.mu.Lock()
	f.writes++
	fail := f.writes == f.fails
	f.mu.Unlock()
	if fail && !f.after {
		return nil, errInjected
	}
	results, err := f.DB.Write(ctx, writes...)
	if fail {
		return nil, errInjected
	}
	return results, err
}

func (f *feedDB) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	f.mu.Lock()
	fail := space == "feed" && f.reads > 0
	if fail {
		f.reads--
	}
	f.mu.Unlock()
	if fail {
		return nil, errInjected
	}
	return f.DB.Get(ctx, space, ids...)
}

// feedRecords lists the ids of the records of feeds.
func feedRecords(t *testing.T, store db.DB) (ids []string) {
	t.Helper()
	for rec, err := range store.Scan(context.Background(), "feed") {
		require.NoError(t, err)
		ids = append(ids, rec.ID)
	}
	slices.Sort(ids)
	return ids
}

// direct offers answers of a feed to Events as the OS does.
type direct struct {
	t      *testing.T
	events *firehose.Events[feeds.Event]
	items  *collector
	feed   resource.Resource
	at     time.Time

	item func(word string) firehose.Item[feeds.Event]
}

func newDirect(t *testing.T, store db.DB, seen int) *direct {
	t.Helper()
	x := &direct{t: t, items: &collector{}, at: epoch, item: func(word string) (item firehose.Item[feeds.Event]) {
		item.ID = word
		return item
	}}
	var err error
	x.events, err = firehose.NewEvents(firehose.EventsConfig[feeds.Event]{Reader: firehose.ReaderFunc[feeds.Event](x.read), Sink: x.items, DB: store, Seen: seen})
	require.NoError(t, err)
	x.feed, err = resource.New(resource.Spec{URI: uriFeed}, "")
	require.NoError(t, err)
	return x
}

// answer is a page one that shows ids, the newest first.
func (x *direct) answer(ids ...string) *resource.Response {
	x.at = x.at.Add(time.Minute)
	return &resource.Response{
		Resource: x.feed, URL: uriFeed, Status: 200, Outcome: resource.Modified, Sent: x.at, Received: x.at,
		Body: []byte(strings.Join(ids, " ")),
	}
}

// read reads a body of words with spaces between them: many of them cost little.
func (x *direct) read(r *resource.Response) (p firehose.Page[feeds.Event], err error) {
	for word := range strings.FieldsSeq(string(r.Body)) {
		p.Items = append(p.Items, x.item(word))
	}
	return p, nil
}

// take offers an answer once.
func (x *direct) take(r *resource.Response) error {
	next, err := x.events.Follow(context.Background(), r)
	require.Nil(x.t, next)
	if err != nil {
		return err
	}
	return x.events.Take(context.Background(), r)
}

// Whichever write of the state fails, before or after its effect: the same response
// offered again brings nothing twice, and the next process knows all of it.
func TestD11_AnyWriteOfTheStateMayFail(t *testing.T) {
	for _, after := range []bool{false, true} {
		failed := 0
		for fails := 1; ; fails++ {
			store := &feedDB{DB: db.NewMemory(), fails: fails, after: after}
			x := newDirect(t, store, 2048)
			all, tries := 0, 0
			for n := range 4 { // segments of 1024 become full, and the first is dropped
				r := x.answer(span(1000*n+1600, 1000*n+1)...)
				for x.take(r) != nil {
					require.Less(t, tries, 3)
					tries++
				}
				all = 1000*n + 1600
			}
			require.Len(t, x.items.ids(), all, "write %d, after %v", fails, after)
			next := newDirect(t, store.DB, 2048)
			require.NoError(t, next.take(next.answer(span(all+1, all-1999)...)))
			require.Equal(t, []string{strconv.Itoa(all + 1)}, next.items.ids())
			require.NoError(t, next.events.Forget(context.Background(), next.feed.ID))
			require.Empty(t, feedRecords(t, store.DB))
			if tries == 0 {
				break // it has come to the end
			}
			failed++
		}
		require.GreaterOrEqual(t, failed, 8)
	}
}

// What many more items than a segment has leave is found by the next process: those
// that are still shown, however old, and as many of the last as Seen says.
//
// Peer huginn-2: the last five hundred ids are remembered, however many items a
// poll may bring.
func TestE3_WhatWasSeenIsKeptBySegments(t *testing.T) {
	for _, total := range []int{1000, 1024, 1025, 5000, 9000} {
		store := db.NewMemory()
		x := newDirect(t, store, 3000)
		pinned := []string{"pinned-1", "pinned-2"} // shown from the beginning to the end
		for n := 500; n <= total; n += 500 {
			require.NoError(t, x.take(x.answer(append(span(n, max(1, n-599)), pinned...)...)))
		}
		last := total / 500 * 500
		require.Len(t, x.items.ids(), last+2)
		require.Empty(t, x.items.gaps())
		next := newDirect(t, store, 3000)
		shows := append(span(last+1, max(1, last-2999)), pinned...)
		require.NoError(t, next.take(next.answer(shows...)))
		require.Equal(t, []string{strconv.Itoa(last + 1)}, next.items.ids())
		require.LessOrEqual(t, len(feedRecords(t, store)), 2*3002/1024+3, "of %d items", total)
		require.NoError(t, next.events.Forget(context.Background(), next.feed.ID))
		require.Empty(t, feedRecords(t, store))
	}
}

// A crash leaves segments that count for nothing, or count no more: they are written
// over, or deleted, and hide nothing.
func TestD11_LeftoversOfACrash(t *testing.T) {
	for kill := 1; kill < 12; kill++ {
		store := db.NewMemory()
		ctx, die := context.WithCancel(context.Background())
		dying := &dyingDB{feedDB{DB: store}, ctx, die, kill}
		x := newDirect(t, dying, 2048)
		total := 0
		for n := range 5 {
			if x.take(x.answer(span(1000*n+1600, 1000*n+1)...)) != nil {
				break
			}
			total = 1000*n + 1600
		}
		next := newDirect(t, store, 2048)
		for n := range 3 { // other items than the dead one had, under the same numbers
			to := total + 900*(n+1)
			require.NoError(t, next.take(next.answer(span(to, max(1, to-1500))...)))
		}
		again := newDirect(t, store, 2048)
		require.NoError(t, again.take(again.answer(span(total+2700, total+700)...)))
		require.Empty(t, again.items.ids(), "killed at write %d", kill)
		require.NoError(t, again.events.Forget(context.Background(), again.feed.ID))
		require.Empty(t, feedRecords(t, store), "killed at write %d", kill)
	}
}

// dyingDB is a store of a process that dies at its n-th write of a feed's state.
type dyingDB struct {
	feedDB
	dead context.Context
	die  context.CancelFunc
	n    int
}

func (d *dyingDB) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if d.n--; d.n == 0 {
		d.die()
	}
	if d.dead.Err() != nil {
		return nil, db.ErrClosed
	}
	return d.feedDB.Write(ctx, writes...)
}

// Who writes over what another process has written meanwhile reads that first: what
// the other one has taken is not taken again.
func TestD11_AnotherProcessHasWritten(t *testing.T) {
	store := db.NewMemory()
	one, two := newDirect(t, store, 0), newDirect(t, store, 0)
	require.NoError(t, one.take(one.answer(span(3, 1)...)))
	stale := two.answer(span(3, 1)...)
	require.NoError(t, two.take(stale), "it has read what one has written")
	require.Empty(t, two.items.ids())
	r := one.answer(span(3000, 1)...)
	require.ErrorIs(t, one.take(r), db.ErrConflict)
	require.NoError(t, one.events.Take(context.Background(), r), "it has read what two has written")
	r = two.answer(span(3001, 2990)...)
	require.ErrorIs(t, two.take(r), db.ErrConflict)
	require.NoError(t, two.events.Take(context.Background(), r))
	require.NoError(t, two.take(two.answer(span(3002, 2000)...)))
	third := newDirect(t, store, 0)
	require.NoError(t, third.take(third.answer(span(3003, 1)...)))
	require.Equal(t, []string{"3003"}, third.items.ids())
}

// Two processes may begin together: the marks of the one mean nothing to the other.
func TestD11_TwoBeginTogether(t *testing.T) {
	store := db.NewMemory()
	one, two := newDirect(t, store, 0), newDirect(t, store, 0)
	r1, r2 := one.answer(span(9, 1)...), two.answer(span(9, 1)...)
	for _, r := range []*resource.Response{r1, r2} { // both have read that there is nothing
		next, err := map[*resource.Response]*direct{r1: one, r2: two}[r].events.Follow(context.Background(), r)
		require.NoError(t, err)
		require.Nil(t, next)
	}
	require.NoError(t, one.events.Take(context.Background(), r1))
	require.ErrorIs(t, two.events.Take(context.Background(), r2), db.ErrConflict)
	require.NoError(t, two.events.Take(context.Background(), r2))
	require.Len(t, two.items.ids(), 9, "offered before the conflict was known, and not again")
	require.NoError(t, two.take(two.answer(span(10, 2)...)))
	require.Equal(t, append(up(1, 9), "10"), two.items.ids())
	require.Empty(t, two.items.gaps())
}

// A state that this program can't read is said to be so, and stays as it is.
func TestD11_AStateThatCantBeReadIsNotOverwritten(t *testing.T) {
	store := db.NewMemory()
	x := newDirect(t, store, 0)
	require.NoError(t, x.take(x.answer(span(3000, 1)...)))
	ctx := context.Background()
	good, err := store.Get(ctx, "feed", x.feed.ID.String())
	require.NoError(t, err)
	segment, err := store.Get(ctx, "feed", x.feed.ID.String()+"/1")
	require.NoError(t, err)
	require.Len(t, segment, 1)
	change := func(rec db.Record, value []byte) db.Record {
		now, err := store.Get(ctx, "feed", rec.ID)
		require.NoError(t, err)
		next := db.Record{Space: "feed", ID: rec.ID, Version: now[0].Version + 1, Value: value}
		results, err := store.Write(ctx, db.Write{If: now[0].Version, Record: next})
		require.NoError(t, err)
		require.True(t, results[0].OK)
		return next
	}
	edit := func(field string, value any) []byte {
		var m map[string]any
		require.NoError(t, json.Unmarshal(good[0].Value, &m))
		m[field] = value
		text, err := json.Marshal(m)
		require.NoError(t, err)
		return text
	}
	for name, c := range map[string]struct {
		rec   db.Record
		value []byte
		is    error
	}{
		"newer":        {good[0], edit("format", 2), resource.ErrNewer},
		"older":        {good[0], edit("format", 0), resource.ErrEncoding},
		"no JSON":      {good[0], []byte("?"), resource.ErrEncoding},
		"empty":        {good[0], nil, resource.ErrEncoding},
		"salt":         {good[0], edit("salt", "AAAA"), resource.ErrEncoding},
		"segments":     {good[0], edit("segments", 7), resource.ErrEncoding},
		"no segments":  {good[0], edit("segments", -1), resource.ErrEncoding},
		"marks":        {good[0], edit("recent", "AAAA"), resource.ErrEncoding},
		"zero mark":    {good[0], edit("whole", []string{"AAAAAAAAAAA="}), resource.ErrEncoding},
		"page":         {good[0], edit("pages", []map[string]string{{"child": "AAAA"}}), resource.ErrEncoding},
		"a segment":    {segment[0], []byte("odd"), resource.ErrEncoding},
		"first beyond": {good[0], edit("first", uint64(1)<<63), resource.ErrEncoding},
	} {
		written := change(c.rec, c.value)
		bad := newDirect(t, store, 0)
		r := bad.answer(span(3001, 1)...)
		_, err := bad.events.Follow(ctx, r)
		require.ErrorIs(t, err, c.is, name)
		require.ErrorContains(t, err, x.feed.ID.String(), name)
		require.ErrorIs(t, bad.events.Take(ctx, r), c.is, name)
		require.ErrorIs(t, bad.events.Forget(ctx, x.feed.ID), c.is, name)
		now, err := store.Get(ctx, "feed", c.rec.ID)
		require.NoError(t, err)
		require.True(t, now[0].Equal(written), name)
		change(c.rec, c.rec.Value)
		fine := newDirect(t, store, 0)
		require.NoError(t, fine.take(fine.answer(span(3000, 1)...)), name)
		require.Empty(t, fine.items.ids(), name)
		good, err = store.Get(ctx, "feed", x.feed.ID.String()) // it was written by that
		require.NoError(t, err)
	}
}

// In the OS such a state fails the polls of the feed, with the reason, and of no
// other.
func TestD11_AStateThatCantBeReadFailsItsFeed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, b := db.NewMemory(), newBoard("1")
		rec := db.Record{Space: "feed", ID: idOf(t, uriFeed).String(), Version: 1, Value: []byte(`{"format":2}`)}
		_, err := store.Write(context.Background(), db.Write{Record: rec})
		require.NoError(t, err)
		r := read(t, b, firehose.Config{DB: store, Resources: resource.List(uriFeed, uriFeed+"?other")}, firehose.EventsConfig[feeds.Event]{})
		until(5 * time.Minute)
		e := r.explain(uriFeed)
		require.Equal(t, resource.WaitingForServerAlive, e.State)
		require.Contains(t, e.Cause, "format 2, this program knows 1")
		require.Equal(t, []string{"1"}, r.items.ids())
		now, err := store.Get(context.Background(), "feed", rec.ID)
		require.NoError(t, err)
		require.True(t, now[0].Equal(rec))
		r.settled()
	})
}

// A store that fails while a feed is read costs one poll, and no validators where
// the feed is unchanged.
func TestD11_AStoreThatFailsForAWhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, b := &feedDB{DB: db.NewMemory()}, newBoard(span(9, 1)...)
		r := read(t, b, firehose.Config{DB: store}, firehose.EventsConfig[feeds.Event]{})
		until(30 * time.Second)
		require.NoError(t, r.stop())
		store.reads = 1
		r = read(t, b, firehose.Config{DB: store}, firehose.EventsConfig[feeds.Event]{})
		until(150 * time.Second)
		for _, c := range b.all(uriFeed)[1:] {
			require.NotEmpty(t, c.Header.Get("If-None-Match"))
		}
		require.Empty(t, r.items.ids())
		b.add("10")
		until(270 * time.Second)
		require.Equal(t, []string{"10"}, r.items.ids())
		require.NoError(t, r.stop())
		store.reads = 2
		b.add("11")
		r = read(t, b, firehose.Config{DB: store}, firehose.EventsConfig[feeds.Event]{})
		until(10 * time.Minute)
		require.Equal(t, []string{"11"}, r.items.ids())
		require.Empty(t, r.items.gaps())
		r.settled()
	})
}

// An Events that remembers nothing, over an OS whose page one is unchanged since the
// run before: it is asked for once without validators, and then goes on.
func TestD11_ForgottenItemsAreAskedForOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, b := db.NewMemory(), newBoard(span(9, 1)...)
		r := read(t, b, firehose.Config{DB: store}, firehose.EventsConfig[feeds.Event]{DB: db.NewMemory()})
		until(30 * time.Second)
		require.Equal(t, up(1, 9), r.items.ids())
		require.NoError(t, r.stop())
		r = read(t, b, firehose.Config{DB: store}, firehose.EventsConfig[feeds.Event]{DB: db.NewMemory()})
		until(290 * time.Second)
		require.Equal(t, up(1, 9), r.items.ids())
		ones := b.all(uriFeed)
		require.Len(t, ones, 5)
		for n, c := range ones {
			require.Equal(t, n == 0 || n == 2, c.Header.Get("If-None-Match") == "", "request %d", n)
		}
		b.noEarlier(t, uriFeed, time.Minute)
		b.add("10")
		until(6*time.Minute + time.Second)
		require.Equal(t, up(1, 10), r.items.ids())
		require.Empty(t, r.items.gaps())
	})
}

// A feed that is polled no more is forgotten with all its records, and no other.
func TestForgetAFeed(t *testing.T) {
	store := db.NewMemory()
	x, y := newDirect(t, store, 0), newDirect(t, store, 0)
	var err error
	y.feed, err = resource.New(resource.Spec{URI: uriFeed + "?other"}, "")
	require.NoError(t, err)
	require.NoError(t, x.take(x.answer(span(3000, 1)...)))
	require.NoError(t, y.take(y.answer(span(3000, 1)...)))
	require.Len(t, feedRecords(t, store), 6)
	require.NoError(t, x.events.Forget(context.Background(), x.feed.ID))
	require.Equal(t, []string{y.feed.ID.String(), y.feed.ID.String() + "/0", y.feed.ID.String() + "/1"}, feedRecords(t, store))
	require.NoError(t, x.events.Forget(context.Background(), x.feed.ID), "twice is no error")
	require.NoError(t, x.take(x.answer("3000")))
	require.Len(t, x.items.ids(), 3001, "and it begins anew")
	require.Empty(t, x.items.gaps())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, x.events.Forget(ctx, x.feed.ID), context.Canceled)
}
