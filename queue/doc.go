// Package queue says where each resource is: in exactly one named queue, and
// from when on it may be delivered.
//
// A [Queue] is a set of resources keyed by id. A service opens a [Session] for
// each of its runs, receives messages that are due, and commits where they go
// next. A session that ends with deliveries in hand gives them back, marked
// [Delivery.Redelivered], whatever ended it.
//
// Guarantees of every implementation, checked by package queuetest:
//
//   - At most one message per resource over all names; moves are all or nothing.
//   - Never delivered before its Due, never to two holders at once.
//   - At least once: a delivery that was not committed comes again.
//   - Earliest due first within a name, equal ones in order of arrival.
//   - A move never waits for room. Only an admission may.
//   - What goes in is copied, what comes out is a copy. The one exception is
//     [Message.Response], which is handed on as it is.
//
// Not promised: an order between names, and exactly-once delivery.
//
// [NewMemory] keeps everything in the process and forgets it when the process
// ends. [NewDurable] is the same with a journal in any db.DB.
package queue
