// Package resource is the domain of Canned OS: what is polled, when it may be
// polled again, and what an answer teaches.
//
// Everything here is pure. There is no I/O, no goroutine, no clock and no
// randomness of its own: functions take the instant (and, where a wait is
// spread, the jitter) as an argument, and the same arguments give the same
// answer. The exceptions are [NewID], which asks the system for random bytes,
// and [Env], which reads the environment each time a token is wanted.
//
// The parts, in the order in which a poll meets them:
//
//   - [Spec] is what a user asks for; [Resource] is a Spec plus its life so far.
//   - [Profile] is what many resources share: headers, dialect, limits,
//     the name of a credential.
//   - [Scope] is what is handled in one place at a time; [Bucket] is a quota
//     inside a scope, learnt from answers.
//   - [Decide] says what may happen to a resource now: it is ready, it waits for
//     an instant, it waits in the line of its bucket, or it has ended in an error.
//     [Explain] says the same for people.
//   - [Parser] reads an [Answer]: for the buckets a [Lesson], which
//     [Lesson.Split] deals out and [Bucket.Settle] takes, for the resource new
//     timings and validators, and an [Outcome].
//   - [TokenSource] resolves the name of a credential to a [Token]. No other
//     type of this package ever holds a secret.
//
// Guarantees:
//
//   - Instants keep their monotonic reading while they stay in the process, so a
//     jump of the wall clock neither shortens nor lengthens a wait. The wall
//     clock counts only in an encoding ([Resource.AppendBinary]); a value that
//     was decoded in another process is tied to the new clock by [Resource.Rebase].
//   - Jitter only ever adds to a wait. Numbers from the network saturate; they
//     never wrap around and never panic.
//   - Whatever the order of answers, a bucket hands out no more than what is left
//     of a window that it knows. From every state there is an instant, or an
//     answer in flight, after which it admits a request.
//   - Validators are kept byte for byte, and only of representations that came.
//
// Not promised: a Resource is a plain value without a lock. Whoever holds one
// owns it; copy it to share it. The JSON form is for people: text that is not
// UTF-8, which a validator may be, survives in the binary encoding only. And a
// bucket can't know what nobody told it: what other programs spend between two
// answers, or whether a request counted whose answer was lost with its process.
//
// The rules of politeness behind the decisions are listed, with the test of
// each, in RULES.md beside this file. A [Reason] names the rule by its key.
package resource
