// Package feeds makes items of the pages of event feeds: GitHub events,
// RSS (0.9x, 1.0, 2.0), Atom (1.0 and the older 0.3) and JSON Feed (1.0, 1.1).
//
// Each constructor returns a [firehose.Reader] without state, safe for
// concurrent use. What a Reader returns owns its memory: nothing of it shares
// the body of the response.
//
// Promises:
//
//   - No body makes a Reader panic, or use memory or time out of proportion to
//     its length: depth, entries of a page, bytes of an identity and restarts
//     after damage are bounded, and entities of a DTD are not expanded.
//   - An entry that can't be read is counted in Page.Skipped, and so is one
//     beyond [MaxItems]; none is dropped in silence.
//   - A body that is no page of the feed is an error, never an empty page: an
//     object where GitHub sends an array, a login page, a rejection (rule D-16).
//   - The identity of an entry survives another serialisation of the same feed:
//     white space around it, CDATA instead of escapes, another prefix for a
//     namespace, another order of fields or attributes.
//   - The next page is the one that the feed names, and only within the origin of
//     the response (rules D-24, G-19).
//
// Not promised: that a feed is valid, that identities which it repeats differ,
// and that HTML in it is harmless. Titles, summaries and contents are as the feed
// has them; whoever shows them has to clean them.
//
// XML is read with encoding/xml. The living library for feeds in Go
// (github.com/mmcdole/gofeed, version 1.4.2) was measured and rejected: a body of
// half a megabyte with nested namespaces took all memory there was, texts that
// comments cut into pieces are joined in quadratic time, one broken entry costs the
// whole feed, and the bytes of an entry can't be kept.
package feeds
