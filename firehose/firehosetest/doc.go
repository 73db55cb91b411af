// Package firehosetest provides a fake of GitHub's events API and an oracle
// that judges how politely a client polls it, and whether it loses items.
//
// [New] makes an [Origin]. It is an [net/http.Handler] for a real socket, and
// its [Origin.RoundTripper] answers without sockets or goroutines, so that it
// works inside a bubble of testing/synctest, where simulated days take
// seconds. [Origin.Verdict] tells what the oracle saw. [Watch] judges any
// client against any origin, by the answers that really came.
//
// A [Config] may give several host names, each with a [Dialect] of limits, a
// clock and outages of its own; [Origin.Rotate] replaces tokens. /events shows
// made events or replays arrivals: recorded ones ([ReadArrivals]) or made ones
// of the same statistics ([MadeArrivals]), denser ([Overlay]), late ([Delay]),
// repeated ([Repeat]) or almost none ([Quieten]). [Origin.Items] then judges
// what a client published of them and which gaps it reported, and
// [Origin.Buckets] tells how much of each quota was used and how long
// resources waited.
//
// # What is a resource
//
// A scope is (origin, credential): scheme, host and port, and the value of
// Authorization; none is a credential too, and one that [Origin.Rotate] put in
// the place of another is the same. A resource is (scope, path and
// query without the parameter page). Its pages after the first are children:
// they have validators of their own and no poll interval.
//
// # Guarantees
//
//   - No false alarm on real sockets: an instant is judged from just before
//     the header of an answer is written, which no client can precede; the
//     tolerance is zero. What another connection had been told counts only
//     after [Config.Settle].
//   - Memory is bounded by the number of resources and of requests in flight,
//     not by time; but what is delivered of a replay is remembered.
//   - Events, validators and faults are functions of the seed, the path, the
//     time and the number of the request to its resource; the order in which
//     goroutines run changes none of them.
//   - No token is stored: credentials are kept as keyed hashes, the key is
//     drawn anew by every New and Watch.
//   - The package imports nothing but the standard library, and starts no
//     goroutine.
//
// # Not guaranteed
//
//   - Events older than 30 days are not dropped from a slow timeline.
//   - A Watcher reads GitHub's limits, Retry-After and max-age, and no other
//     dialect.
//   - If-Modified-Since is answered, and not judged.
//   - A client that spends its budget on the wrong one of two due resources
//     is not impolite: fairness is no rule of politeness. [BucketFigures.Waits]
//     finds it out.
package firehosetest
