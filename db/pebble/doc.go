// Package pebble keeps a store of package db in a directory, with the engine
// of CockroachDB ([github.com/cockroachdb/pebble/v2], a log-structured merge
// tree). It is a module of its own, so that whoever imports the core does not
// get the engine.
//
// [Open] takes the place of [db.OpenFile], in one line. The store is for more
// records than shall be held in memory, and for starts that shall not read all
// of them: db.File keeps about 55 bytes of each record in memory and reads its
// whole log when it is opened; this store keeps none, and reads what was
// written last, at most a few [Config.MemTableBytes]. In return each compare
// of a Write may have to look into the tree.
//
// # Guarantees
//
// Those of package db, and:
//
//   - A Write that is answered with OK is on disk. Concurrent writers share
//     one fsync. Nobody reads what is not on disk yet.
//   - One opening at a time has the directory; see [db.Exclusive].
//   - After an I/O error the outcome of the Write under way is unknown, every
//     later one gets [db.ErrFailed], and nothing more reaches the directory
//     until it is opened again; reads go on. The process is never ended: what
//     the engine calls fatal becomes such an error, and its panics in calls of
//     ours do too.
//   - A directory that is not ours, or is newer, is refused and not touched.
//
// # What is not guaranteed
//
//   - A panic in a goroutine of the engine's own can't be caught. Known causes
//     are failing files, which the engine never learns of (see ARCHITECTURE.md).
//   - Damage is found where it is read: Open reads the logs and the list of
//     tables, Get and Scan what they return. What was acknowledged last is not
//     told from a torn tail if exactly that is damaged.
package pebble
