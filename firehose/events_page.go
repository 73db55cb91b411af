package firehose

import (
	"time"

	"github.com/cannedos/cannedos/resource"
)

// Item is one entry of a feed.
type Item[T any] struct {
	// ID is the identity of the entry within its feed, as the feed tells it:
	// compared byte for byte, never as a number (rule E-4). An entry that is
	// shown again, on another page or in another poll, has the same ID. It is
	// never empty, and bounded by its Reader.
	ID string

	// At is when the feed says that it happened, in UTC. Zero: it doesn't say.
	// It is a hint for people and no measure of what was missed, since entries
	// may come hours late (rule E-2).
	At time.Time

	// Value is what the Reader made of the entry.
	Value T
}

// Page is what a [Reader] makes of one response.
type Page[T any] struct {
	// Items are the entries in the order of the feed, which is newest first by
	// custom and not by promise (rule E-3). The same ID may occur twice: what a
	// feed repeats, the page repeats.
	Items []Item[T]

	// Next is the URI of the page that follows: absolute, of the same origin as
	// the response, and one that a resource may have. Empty: this is the last
	// page, or Refused says why it isn't.
	Next string

	// Refused says why the page that follows is named and must not be read, such
	// as one of another origin (rule D-24): the entries behind it were not
	// shown. Nil: there is none, or Next names it. It is a
	// [*resource.FieldError].
	Refused error

	// Skipped counts entries of this response that could not be read, had nothing
	// to tell them apart by, or lay beyond the bound of a page. They are not in
	// Items, and counted so that they aren't lost in silence.
	Skipped int
}

// Reader makes a [Page] of a response. It is pure: the same response gives the
// same page, and neither clock nor network is asked. It is called from one
// goroutine at a time for a feed, and from several for several feeds.
//
// The Reader must not change the response, and what it returns must not share
// memory with it: an item that somebody keeps would keep the whole body.
//
// An error says that the response as a whole is no page of the feed, such as the
// login page of a proxy or a body that was cut off; nothing of it is used then.
// One broken entry is no error: it is counted in Skipped.
//
// It is an interface and not a function type, as [Sink] is, so that a Reader can
// have optional methods in time without a break; [ReaderFunc] makes one of a
// function.
type Reader[T any] interface {
	// Read makes the page of one response.
	Read(r *resource.Response) (Page[T], error)
}

// ReaderFunc is a [Reader] made of one function.
type ReaderFunc[T any] func(r *resource.Response) (Page[T], error)

// Read calls f.
func (f ReaderFunc[T]) Read(r *resource.Response) (Page[T], error) { return f(r) }
