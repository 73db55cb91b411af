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
//   - Tokens are resolved when a request is sent. No queue, store, log line,
//     error or statistic holds one.
//
// Not promised: exactly-once publishing, an order between resources, and
// anything across a crash without a durable DB.
package firehose
