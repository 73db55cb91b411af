// Package queuetest is the conformance suite of package queue, for authors of
// adapters: what it checks is what the rest of Canned OS relies on.
//
//	func TestConformance(t *testing.T) {
//		queuetest.Run(t, func(t *testing.T) queue.Queue { return myqueue.New() })
//	}
//
// Each promise of package queue is a named subtest, so that
// go test -run 'TestConformance/never-early' repeats one of them. [Suite] says
// more about an adapter: that it needs the wall clock, that it can be opened
// with little room, that it survives the end of its process. [Bench] measures
// what the suite has checked.
//
// Guarantees:
//
//   - By default each case runs in a bubble of package testing/synctest, where
//     hours pass in microseconds and "nothing comes early" and "nothing comes
//     late" are exact. Everything that an adapter starts must then live in the
//     bubble: no sockets, no goroutine older than the queue.
//   - With [Suite.WallClock] the cases wait for conditions and never fail
//     because something took long, up to [Suite.Patience].
//   - A queue that hangs fails its case; it doesn't hang the suite, as long as
//     its Close lets go of those who wait.
//   - The random workload is the same in each run; a failure names its seed,
//     and [Suite.Seed] sets another.
//
// Not promised: that a queue which passes is fast, or that it survives what its
// store does not. Optional powers (Finder, Taker, Depther, Lister) are checked
// where [queue.As] finds them and skipped, by name, where it does not.
//
// The suite is itself tested: a naive queue passes it, and each of its
// deliberately broken variants is caught by the case that is meant for it.
package queuetest
