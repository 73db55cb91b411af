// Package db is a small versioned key-value store with compare-and-set, and
// leases on top of it. It keeps what has to outlive a process: journals,
// registries, deadlines, seen-sets, and who works on what.
//
// The contract is [DB]. [NewMemory] keeps everything in memory; [OpenFile]
// keeps it in one file with nothing but the standard library. Other engines
// are adapters, which prove themselves with package dbtest; db/pebble, a module
// of its own, is one. Leases ([Claim], [Hold]) are written once, here, on
// nothing but [DB.Get] and [DB.Write]: no adapter implements leasing.
//
// # Guarantees of every store
//
//   - Each [Write] is compared on its own and is applied wholly or not at all,
//     also across a crash. All operations on one record are linearizable.
//   - A [Write] that lost carries the record that it lost to.
//   - What a store that is [Durable] has answered with OK is there after a
//     restart, kill -9 included, and nothing is visible to a reader before it
//     is as safe as that.
//   - Values are copied in and copied out; nothing is shared with the caller.
//   - Sending the same Write again after an error is safe; see [Write.Won].
//
// # What is not guaranteed
//
//   - A call of DB.Write is not a transaction: some of its writes may win and
//     others lose, and a crash may keep some and not others. Wide-column
//     stores can't do better, and nothing here needs more.
//   - [DB.Scan] is no snapshot of an instant.
//   - A deleted record leaves nothing behind: its successor may carry any
//     version, so whoever still holds the old version may win against the
//     wrong record. Records whose version fences something (leases) are
//     therefore never deleted, only emptied.
//   - A lease is only as exclusive as the clocks of its claimants agree, see
//     [LeaseSpec].
package db
