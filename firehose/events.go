package firehose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// Defaults and bounds of an [EventsConfig].
const (
	DefaultMaxPages = 10
	DefaultOverlap  = 300
	DefaultSeen     = 1 << 16

	MaxPages = 100 // of one reading, whoever asks for them
	MaxSeen  = 1 << 22
)

// EventsConfig is what an [Events] is made from. Every zero value is a documented
// default.
type EventsConfig[T any] struct {
	// Reader makes items of pages. Required; package feeds has readers of GitHub
	// events, RSS, Atom and JSON Feed.
	Reader Reader[T]

	// Sink takes the items. Nil: they are taken from [Events.All].
	Sink ItemSink[T]

	// DB keeps what was seen of each feed, and its pages' validators, in the space
	// "feed". Nil: the DB of the Config whose Sink the Events is; if that has none,
	// memory, and the first reading of a new process takes all that the feed shows
	// for new.
	DB db.DB

	// MaxPages bounds the pages that are read in one poll. 1 reads only the first.
	// Zero: DefaultMaxPages. At most MaxPages.
	MaxPages int

	// Overlap is how many items in a row that were all seen before end a reading
	// ahead of the end of the feed. Items that entered late, behind so many known
	// ones, are not looked for. Zero: DefaultOverlap, which is all that GitHub
	// shows.
	Overlap int

	// Seen is how many items of a feed are remembered at least, the last ones; and
	// never fewer than twice what the feed shows. One that is shown again after
	// that is published again. They take 8 bytes each in the DB, and about 50 in
	// memory. Zero: DefaultSeen. At most MaxSeen.
	Seen int
}

// Events is a [Sink] that reads event feeds without silent loss. It has all pages
// of a feed read while the first one is new, takes the items out that were taken
// before, on other pages or in earlier polls, and hands on the rest in order. When
// a reading does not lead to the one before it, it says so in a [Gap].
//
// An item is marked as seen when the ItemSink took it, and the mark is written
// before the poll counts as done: an item that any page showed is published once
// if nothing crashes, and at least once if something does.
//
// What the feed has shown to nobody who may ask no more often can't be published.
// GitHub's public firehose shows 300 events at a time, at 80 to 90 a second and one
// poll a minute: about 6 % of them (rule E-7). Then there is a Gap at nearly every
// poll, and its estimate says how much is missing.
//
// Page one is not read again in the middle of its interval, even if it moved while
// the others were read: that would be one request too early (rule G-1). What came
// in meanwhile is shown by the next poll, or lies in its Gap.
//
// One Events serves any number of feeds, each in turn. Its methods may be called
// from any goroutine.
type Events[T any] struct {
	config EventsConfig[T]
	owner  db.Owner
	offers chan *offer[T] // to those who range over All

	mu      sync.Mutex
	pending map[*resource.Response]*offer[T] // that All has yielded, and that are not taken yet
	store   db.DB
	tell    func(kind EventKind, feed *resource.Resource, cause string) // nil: no OS
	feeds   map[resource.ID]*feedState

	counts eventsCounts
}

// NewEvents makes an Events. It starts nothing. The error is a [*FieldError].
func NewEvents[T any](c EventsConfig[T]) (*Events[T], error) {
	bad := func(err error) (*Events[T], error) { return nil, fmt.Errorf("firehose: events: %w", err) }
	if c.Reader == nil || isNilInside(c.Reader) {
		return bad(&FieldError{Field: "Reader", Value: "nil", Want: "a reader"})
	}
	for _, part := range []struct {
		field string
		value any
	}{{"Sink", c.Sink}, {"DB", c.DB}} {
		if isNilInside(part.value) {
			return bad(&FieldError{Field: part.field, Value: fmt.Sprintf("a nil %T", part.value), Want: "a value, or nil itself for the default"})
		}
	}
	for _, n := range []struct {
		field      string
		value      *int
		least, top int
		normal     int
	}{
		{"MaxPages", &c.MaxPages, 1, MaxPages, DefaultMaxPages},
		{"Overlap", &c.Overlap, 1, 1 << 20, DefaultOverlap},
		{"Seen", &c.Seen, 1, MaxSeen, DefaultSeen},
	} {
		if *n.value == 0 {
			*n.value = n.normal
		}
		if *n.value < n.least || *n.value > n.top {
			return bad(&FieldError{Field: n.field, Value: strconv.Itoa(*n.value), Want: fmt.Sprintf("0 (the default), or %d to %d", n.least, n.top)})
		}
	}
	return &Events[T]{
		config: c, owner: db.NewOwner(), store: c.DB, offers: make(chan *offer[T]), pending: map[*resource.Response]*offer[T]{}, feeds: map[resource.ID]*feedState{},
	}, nil
}

// binder is a sink that wants to know the OS that it belongs to.
type binder interface {
	bind(store db.DB, tell func(kind EventKind, feed *resource.Resource, cause string))
}

func (e *Events[T]) bind(store db.DB, tell func(kind EventKind, feed *resource.Resource, cause string)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tell = tell
	if e.config.DB == nil && e.store != store {
		e.store, e.feeds = store, map[resource.ID]*feedState{}
	}
}

// enter waits for the turn of a feed and loads its state.
func (e *Events[T]) enter(ctx context.Context, id resource.ID) (s *feedState, store db.DB, leave func(), err error) {
	e.mu.Lock()
	store = e.store
	if s = e.feeds[id]; s == nil {
		s = &feedState{id: id, turn: make(chan struct{}, 1)}
		e.feeds[id] = s
	}
	e.mu.Unlock()
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, nil, context.Cause(ctx)
	}
	leave = func() { <-s.turn }
	if err := s.load(ctx, store, e.config.Seen); err != nil {
		leave()
		return nil, nil, nil, err
	}
	return s, store, leave, nil
}

// Follow says which page to read next: the one that the last page names, until
// the feed ends, MaxPages were read, or as many items in a row as Overlap says
// were seen before. Of a feed that is unchanged it reads on only if the last
// reading was cut. It is called by the OS.
func (e *Events[T]) Follow(ctx context.Context, r *resource.Response) (*resource.Resource, error) {
	s, _, leave, err := e.enter(ctx, r.Resource.ID)
	if err != nil {
		if r.Outcome == resource.NotModified && len(r.Pages) == 0 { // nothing is lost; the store may answer the next time
			return nil, nil
		}
		return nil, err
	}
	defer leave()
	if r.Outcome == resource.NotModified && s.whole != nil && s.cuts == 0 && len(r.Pages) == 0 {
		return nil, nil
	}
	pages, err := e.pages(s, r)
	if err != nil {
		return nil, err
	}
	last := pages[len(pages)-1]
	if last.next == "" || last.moved || len(pages) >= e.config.MaxPages || knownRun(s, pages) >= e.config.Overlap || askedFor(r, last.next) {
		return nil, nil
	}
	child, err := r.Resource.Page(last.next)
	if err != nil { // of another scope, since a redirect has led there
		last.next, last.refused = "", err
		return nil, nil
	}
	if p := s.page(last.next); p != nil && p.child.Scope() == child.Scope() && p.child.Profile == child.Profile && p.child.MediaType == child.MediaType {
		child = p.child
	}
	return &child, nil
}

// pages returns what the answers of a poll show, and reads those that were not
// read yet. With an error all ends before the page that it is of.
func (e *Events[T]) pages(s *feedState, r *resource.Response) (all []*shown[T], err error) {
	for i := range len(r.Pages) + 1 {
		answer := r
		if i > 0 {
			answer = r.Pages[i-1]
		}
		p := shownIn[T](answer)
		if p == nil || p.by != s.seen {
			if p, err = e.read(s, answer); err != nil {
				return all, err
			}
			p.moved = i > 0 && movedAway(all, p, answer.Sent.Sub(r.Received) > stillWithin)
			answer.Value = p
		}
		all = append(all, p)
	}
	return all, nil
}

// stillWithin is for how long a feed that has neither numbers nor instants is
// taken to stand still.
const stillWithin = 10 * time.Second

func (e *Events[T]) read(s *feedState, r *resource.Response) (*shown[T], error) {
	if r.Outcome == resource.NotModified {
		known := s.page(r.Resource.URI)
		if known == nil {
			return nil, errors.New("it is unchanged, and what it showed is not known")
		}
		return &shown[T]{by: s.seen, marks: known.marks, next: known.next, skipped: known.skipped}, nil
	}
	page, err := e.config.Reader.Read(r)
	if err != nil {
		return nil, err
	}
	p := &shown[T]{by: s.seen, next: page.Next, refused: page.Refused, skipped: page.Skipped}
	twice := map[mark]bool{}
	for i := range page.Items {
		if m := s.seen.of(page.Items[i].ID); !twice[m] {
			twice[m] = true
			p.items, p.marks = append(p.items, page.Items[i]), append(p.marks, m)
		}
	}
	return p, nil
}

// knownRun counts the items at the end of the pages that were all seen before.
func knownRun[T any](s *feedState, pages []*shown[T]) (n int) {
	for _, p := range slices.Backward(pages) {
		for _, m := range slices.Backward(p.marks) {
			if !s.seen.has(m) {
				return n
			}
			n++
		}
	}
	return n
}

// askedFor reports whether a page was asked for in this poll already: a feed that
// goes in a circle ends there.
func askedFor(r *resource.Response, uri string) bool {
	if uri == r.URL || uri == r.Resource.URI {
		return true
	}
	for _, p := range r.Pages {
		if uri == p.Resource.URI || uri == p.URL {
			return true
		}
	}
	return false
}

// Forget removes what is known of a feed that is polled no more. ctx bounds the
// wait for the store.
func (e *Events[T]) Forget(ctx context.Context, id resource.ID) error {
	s, store, leave, err := e.enter(ctx, id)
	if err != nil {
		return fmt.Errorf("firehose: forget feed %v: %w", id, err)
	}
	defer leave()
	err = s.remove(ctx, store)
	s.loaded = false
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.feeds[id] == s {
		delete(e.feeds, id)
	}
	return err
}
