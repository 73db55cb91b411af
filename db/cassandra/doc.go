// Package cassandra keeps the records of Canned OS in Apache Cassandra, for
// those who outgrow one machine: any number of processes share one store, and
// with three replicas one node may fail.
//
// [CreateSchema] makes the tables, once; [Open] opens the [Store], which is a
// db.DB. Cassandra 4.1 or newer.
//
// # Guarantees
//
//   - Those of package db. Every write is a lightweight transaction (Paxos) and
//     every read of a record is serial, so all operations on a record are
//     linearizable, whichever process and node they go through.
//   - What is acknowledged is on a majority of the replicas. What a power cut
//     leaves of it, if it strikes a majority at once, is decided by commitlog_sync
//     of the nodes.
//   - A write whose answer got lost is looked up: each row has the mark of the
//     Write that wrote it. What can't be found out is told as an error, and no
//     transaction is sent a second time unless it is known to have had no effect.
//   - Nothing has a time to live: a lease ends by the Until of its record, which
//     claimants compare with their own clocks. No clock of a node matters to it.
//   - Passwords are in no error and no log.
//
// # What is not guaranteed
//
//   - A request that got lost on its way may arrive late, as it may with every
//     store behind a network. It does no harm unless the record has meanwhile
//     been deleted and created again with the version that it expects; or, if it
//     creates, deleted.
//   - A deleted record costs space and time until compaction has dropped its
//     tombstone, after gc_grace_seconds.
//   - A space is spread over a number of partitions that never changes, see
//     [Schema]; scans read one after the other.
package cassandra
