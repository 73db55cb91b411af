// Package cannedos is the root of Canned OS, a library that polls
// rate-limited HTTP resources as often as it may and never more often than it
// may, for as long as the process lives and, with a durable store, across
// crashes and restarts.
//
// Nothing is exported here. The parts are:
//
//   - [github.com/cannedos/cannedos/firehose]: the ready-made canned OS, and
//     its services for people who compose their own.
//   - [github.com/cannedos/cannedos/resource]: what is polled, when it may be
//     polled again, and what an answer teaches. Pure: no I/O, no goroutines.
//   - [github.com/cannedos/cannedos/queue]: where a resource is. In memory, or
//     durable over any store.
//   - [github.com/cannedos/cannedos/db]: a small versioned key-value store
//     with compare-and-set; in memory, or in a file with nothing but Go.
//   - [github.com/cannedos/cannedos/scheduler]: an in-process supervisor of
//     services. It knows nothing of HTTP or polling.
//
// Start from the programs under examples.
package cannedos
