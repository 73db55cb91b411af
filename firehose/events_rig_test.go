package firehose_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/feeds"
	"github.com/cannedos/cannedos/resource"
)

const uriFeed = "https://a.test/events"

// pageOf is the URI of a page of the feed.
func pageOf(n int) string {
	if n == 1 {
		return uriFeed
	}
	return fmt.Sprintf("%s?page=%d", uriFeed, n)
}

// board is the feed of a script: pages of ids, the newest first, each with a tag
// made from what it shows.
type board struct {
	*script

	ids    []string // the newest first
	per    int      // items of a page
	most   int      // pages; zero: as many as the items need
	header map[string]string
	wrong  func(page int, c call) *reply // instead of the page; nil: the page
}

func newBoard(ids ...string) *board {
	b := &board{ids: ids, per: 3}
	b.script = newScript(b.reply)
	return b
}

// span lists the numbers from high to low.
func span(high, low int) (all []string) {
	for n := high; n >= low; n-- {
		all = append(all, strconv.Itoa(n))
	}
	return all
}

// add puts ids in front.
func (b *board) add(ids ...string) {
	b.do(func() { b.ids = append(slices.Clone(ids), b.ids...) })
}

func (b *board) fail(wrong func(page int, c call) *reply) { b.do(func() { b.wrong = wrong }) }

func (b *board) reply(c call) reply {
	page := 1
	if _, n, ok := strings.Cut(c.URL, "page="); ok {
		page, _ = strconv.Atoi(n)
	}
	if b.wrong != nil {
		if r := b.wrong(page, c); r != nil {
			return *r
		}
	}
	return b.page(page, c)
}

// page is what a page shows.
func (b *board) page(page int, c call) reply {
	pages := max(1, (len(b.ids)+b.per-1)/b.per)
	if b.most > 0 {
		pages = min(pages, b.most)
	}
	if page > pages {
		return status(404)
	}
	var texts []string
	for _, id := range b.ids[(page-1)*b.per : min(page*b.per, len(b.ids))] {
		texts = append(texts, fmt.Sprintf(`{"id":%q,"type":"PushEvent"}`, id))
	}
	body := "[" + strings.Join(texts, ",") + "]"
	etag := fmt.Sprintf(`W/"%d-%x"`, page, strings.Join(b.ids[(page-1)*b.per:min(page*b.per, len(b.ids))], "."))
	r := ok(body, etag)
	if c.Header.Get("If-None-Match") == etag {
		r = status(304, "Etag", etag)
	} else {
		r.header["Last-Modified"] = "the time of " + etag
	}
	r.header["Content-Type"] = "application/json"
	if page < pages {
		r.header["Link"] = fmt.Sprintf(`<%s>; rel="next"`, pageOf(page+1))
	}
	maps.Copy(r.header, b.header)
	return r
}

// once answers the n-th request for a page (from 0) with r, and all others as usual.
func once(page, n int, r reply) func(int, call) *reply {
	return func(p int, c call) *reply {
		if p == page && c.n == n {
			return &r
		}
		return nil
	}
}

// collector takes batches.
type collector struct {
	mu      sync.Mutex
	batches []firehose.Batch[feeds.Event]
	offers  int
	refuse  func(n int, b firehose.Batch[feeds.Event]) error // of the n-th offer; nil: take all
}

func (k *collector) Take(_ context.Context, b firehose.Batch[feeds.Event]) error {
	k.mu.Lock()
	n, refuse := k.offers, k.refuse
	k.offers++
	k.mu.Unlock()
	if refuse != nil {
		if err := refuse(n, b); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.batches = append(k.batches, b)
	return nil
}

// ids returns what was taken, in order.
func (k *collector) ids() (all []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, b := range k.batches {
		for _, item := range b.Items {
			all = append(all, item.ID)
		}
	}
	return all
}

func (k *collector) gaps() (all []*firehose.Gap) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, b := range k.batches {
		if b.Gap != nil {
			all = append(all, b.Gap)
		}
	}
	return all
}

// up lists the numbers from low to high: the order in which items are handed on.
func up(low, high int) []string {
	all := span(high, low)
	slices.Reverse(all)
	return all
}

// eventsRig is an OS that reads a board with Events.
type eventsRig struct {
	*rig
	board  *board
	events *firehose.Events[feeds.Event]
	items  *collector
}

// read serves an OS over a board. What the configs leave open is filled in.
func read(t *testing.T, b *board, config firehose.Config, ec firehose.EventsConfig[feeds.Event]) *eventsRig {
	t.Helper()
	r := &eventsRig{board: b, items: &collector{}}
	if ec.Reader == nil {
		ec.Reader = feeds.GitHub()
	}
	if ec.Sink == nil {
		ec.Sink = r.items
	}
	if k, ok := ec.Sink.(*collector); ok {
		r.items = k
	}
	var err error
	r.events, err = firehose.NewEvents(ec)
	require.NoError(t, err)
	if config.Sink == nil {
		config.Sink = r.events
	}
	if config.Resources == nil {
		config.Resources = resource.List(uriFeed)
	}
	r.rig = start(t, b.script, config)
	return r
}

// settled requires that nothing is held, and nothing waits for the sink.
func (r *eventsRig) settled() {
	r.t.Helper()
	s := r.Stats()
	require.Zero(r.t, s.Publishing, "credits")
	require.Zero(r.t, s.Holding, "bytes")
	for _, b := range s.Buckets {
		require.Zero(r.t, b.InFlight, b.Key.String())
	}
}

// noEarlier requires that requests for a URL kept their distance.
func (b *board) noEarlier(t *testing.T, url string, least time.Duration) {
	t.Helper()
	times := b.times(url)
	for i := 1; i < len(times); i++ {
		require.GreaterOrEqual(t, times[i]-times[i-1], least-time.Microsecond, "%s at %v", url, times) // a rate is reckoned in fractions
	}
}

// paced is a profile with a declared pace.
func paced(every time.Duration) map[string]resource.Profile {
	return map[string]resource.Profile{"": {Limit: resource.Limit{Requests: 1, Per: every}}}
}
