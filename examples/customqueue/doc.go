// Package customqueue is a complete queue.Queue in about 300 lines, written to
// be copied: replace its map and its heaps by your engine, and keep the test.
// The program in the folder run polls an embedded origin with it:
//
//	go run ./examples/customqueue/run
//	go test ./examples/customqueue
//
// # The contract, point by point, and where to find it
//
// A queue is a set of resources, each in exactly one named queue. So the key is
// the id of the resource, over all names; names need no creation ([Queue]).
//
//   - A session belongs to one run of one service. It ends by Close or with the
//     context that it was opened with, and then gives back at once, marked
//     Redelivered, whatever it had received and not committed. Nobody has to
//     call anything for that: a service that panics or is abandoned must not
//     keep resources (Open, session.end).
//   - Receive blocks until something is due and never returns nothing. It
//     delivers nothing before its Due, not by a nanosecond, since an early
//     delivery may become an early request. It returns the cause of its context
//     when that ends first (session.Receive).
//   - Earliest due first, equal ones in order of arrival. A message without a
//     Due is due when it arrives (line.Less).
//   - Commit is all or nothing, so first decide on everything and only then
//     change anything (session.planLocked, session.Commit).
//   - An id in done and next is a move, in done alone a retirement, in next
//     alone an admission. The Version of a message is the one received, 0 for
//     an admission; the queue keeps it raised by one. That is how a repeated
//     Commit is told from a new one: a move whose version has been passed is
//     ignored, since it has happened already.
//   - Errors mean something. *LostError names the deliveries that the session
//     does not hold, *ExistsError the admissions of what is in already, so that
//     the caller can commit the rest. ErrRefused says that repeating can't
//     help. All three leave everything as it was. Any other error means that
//     the outcome is unknown, as when a connection broke, and that the same
//     Commit again is safe.
//   - A move never waits for room, or the flow, which is a cycle, could come to
//     a standstill. An admission may. This queue has no bound and never waits.
//   - What goes in is copied, what comes out is a copy. A resource is a plain
//     value, so an assignment does it. Engines store Resource.AppendBinary.
//     The Response alone is handed on as it is, and never written anywhere.
//   - Errors after the end say whose end: ErrClosed for the queue, ErrSession
//     for the session.
//   - Finder, Taker, Depther, Lister and Stater are optional. Without Finder and
//     Taker there is no Explain, and Pause counts only when a resource's turn
//     comes; without Lister nobody can look into the error queues (powers.go).
//
// # Limits of this one
//
//   - It forgets everything when the process ends. To survive that, write each
//     Commit down before it returns, and hand out again what was delivered and
//     not committed, or journal to a db.DB as queue.NewDurable does.
//   - One mutex guards everything, and each arrival wakes all who wait for its
//     name. Depths, States and List look at every message. That is fine for
//     thousands of resources; queue.NewMemory is made for millions.
package customqueue
