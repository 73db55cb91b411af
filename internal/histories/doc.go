// Package histories checks what the leases and stores of package db promise:
// under faults, the histories of every store are linearizable. It has tests
// alone, and is a module of its own because it imports the adapters.
//
// Several owners fight for leases by db.Claim, Renew, Release and db.Hold, take
// them over when they have expired, and act under their tokens on a resource
// that refuses old ones; others compare-and-set records. Each operation is
// recorded with its call, its return and its outcome. One whose outcome is
// unknown, because of an error or since the process was killed, may take effect
// at any time after its call, or never. Then it is checked
//
//   - with porcupine, each name by itself: that all that was sent to a record,
//     by the lease code too, is a linearizable history of a register with
//     compare-and-set; that all calls of Claim, Renew and Release are one of a
//     lease, which is free once its end has passed by the claimant's clock; and
//     that all acts under tokens are one of a resource that takes no lower token
//     than before;
//   - that no two owners took a lease for theirs at the same time, from the
//     return of the claim until Skew before the end;
//   - that tokens rise: a claim that began after another had returned has the
//     higher one;
//   - that nobody was refused by the resource while a lease was still his.
//
// Stores and faults: Memory, File and db/pebble behind a wrapper that delays,
// reorders, loses requests and answers, in virtual time; File and db/pebble in
// a process that is killed and follows itself; and, with the build tag
// integration, db/cassandra at a real node whose connections are cut and which
// is killed.
//
// A failure names the seed of its history, and how to make it again; the faults
// are the same then, and the order of goroutines nearly. Hand-made histories and
// stores that break their promise now and then prove the checks.
//
//	go test ./internal/histories                seconds; -args -histories.seed=N
//	go run ./internal/prove histories           the long form, at Cassandra too
package histories
