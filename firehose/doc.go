// Package firehose is the ready-made canned OS: it polls rate-limited HTTP
// resources as often as they may be polled and hands what changed to a [Sink].
//
// [New] makes an [OS] from a [Config] of plain data; [OS.Serve] runs it until
// its context ends. People who compose their own take its services with
// [OS.Services] and run them in a scheduler of theirs, beside services of
// their own.
//
// The flow; every box is a supervised service, every name on an arrow a queue:
//
//	Initializer ─► analyze ─► Analyzer ──── ready ───► requests ─► Requestor ── 200 ─► publish ─► Publisher ─► Sink
//	                            │    │                    ▲            │                             │ taken
//	                            at   line                 │ admitted   │ 304, errors, limits         │
//	                            ▼    ▼                    │            ▼                             ▼
//	                      TimingSorter  line/<bucket> ─► Gate         parked again by the same decision
//	                            ▼
//	                      frozen-50, -250, -500, -1000 ─► Freezers: due, decide again
//
// Promises:
//
//   - No request leaves before the instant that the origin or the user set, none
//     while its bucket is parked, and never more than the bucket has left: each
//     one is reserved where it is sent, redirects included.
//   - A claim is written before a request leaves, the result after the sink took
//     the response. With a durable store both survive a crash, and so do parks
//     and resets: a restart is not a reason to ask again.
//   - A response is published at least once. Validators are stored only after
//     that, so an answer that got lost is asked for again.
//   - A resource is in exactly one queue at any time; one that can't go on is in
//     an error queue, with its cause, and can be replayed from there.
//   - A slow sink slows polling instead of filling memory.
//   - [Events], a Sink that reads event feeds, has all pages of a feed read in the
//     course of one poll, each request reserved like any other. An item that any
//     page showed is handed on, once if nothing crashes; what may have been shown
//     to nobody is told as a [Gap].
//   - Tokens are resolved when a request is sent. No queue, store, log line,
//     error or statistic holds one.
//
// Many processes share one fleet by [Config.Shard]: each polls the resources of some
// scopes, over a DB that all of them use, and can take over from another.
//
// Memory: a resource that waits takes about 55 bytes beyond those of its URI and
// its validators, in blocks without pointers, so that the collector has nothing to
// do with it, however many wait: ten million with GitHub's validators stand in 2 GiB.
// With GOGC at its default a heap grows to twice what lives in it before it is
// collected. Who polls millions sets GOMEMLIMIT somewhat above what they take, such
// as GOMEMLIMIT=3GiB for ten million, or GOGC=25: a collection is cheap here. Bring
// so many by [Config.ResourceFile], which is streamed, or by [OS.Add], some thousands
// in a call: a list in [Config.Resources] stays in memory beside them. A durable DB
// needs no room for their state in the heap but a File's index, about 50 bytes each;
// db.Memory holds all of it a second time, which makes 241 bytes of the 49, and
// 4 GiB of the 2.
//
// Not promised: exactly-once publishing, an order between resources, and
// anything across a crash without a durable DB.
package firehose
