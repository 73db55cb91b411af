// Package customdb is a complete db.DB in about 300 lines, written to be
// copied: a folder with one file of JSON lines for each space, which people can
// look into and every backup understands. The program in the folder run polls an
// embedded origin with it, twice, and shows that the second run asks for nothing
// too early:
//
//	go run ./examples/customdb/run
//	go test ./examples/customdb
//
// # The contract, point by point, and where to find it
//
//   - Arguments are checked first, by db.CheckKeys and db.CheckWrites, so that
//     every store refuses the same things in the same words (Store.Get,
//     Store.Write, Store.Scan).
//   - Each Write compares and wins or loses on its own, in the order of the
//     call; a call is no transaction. A Write that lost carries the record that
//     it lost to, so that its writer need not read again (next.apply).
//   - Operations on one record are linearizable, and nothing is visible before it
//     is as safe as the store makes it: the file is written and synced first, and
//     only then do readers see it (Store.Write, Store.save).
//   - An error of which the contract doesn't say that nothing was done means
//     that the outcome is unknown. After one, this store takes no more writes
//     until it is opened again, since what its file holds is not certain.
//   - Values are copied in and out (newLine, line.copied).
//   - Scan yields what exists throughout exactly once. The store may be written
//     inside the loop, so no lock is held while the loop runs. A scan that was
//     cut short ends with an error: one without saw everything (Store.Scan).
//   - Close lets calls under way complete. Closing twice is no error.
//   - Durable says that what was acknowledged outlives the process. Without it
//     the library treats a store as one that forgets.
//   - Leases are none of an adapter's business: package db makes them out of Get
//     and Write.
//
// # Limits of this one
//
//   - Everything is in memory too, and a write rewrites the whole file of its
//     space. That is fine for thousands of records; db.OpenFile appends instead,
//     and is made for millions.
//   - Writes go one at a time, each with its own sync of the disk.
//   - A second process is kept out by a lock file, which the first one leaves
//     behind if it is killed; then it has to be removed by hand. db.OpenFile
//     uses a lock of the operating system, which ends with the process.
//   - After a power cut the files are as safe as the file system makes a rename
//     that was synced. On Windows the folder itself can't be synced.
package customdb
