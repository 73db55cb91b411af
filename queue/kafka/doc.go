// Package kafka keeps queues in a topic of Apache Kafka, and shares them among
// processes: for those who outgrow one machine.
//
//	topic (compacted; key: resource)      one process: a Member of the group
//	  partition 0 ───────────────────────►  function(ctx, Partition 0): an OS
//	  partition 1 ───────────────────────►  function(ctx, Partition 1): an OS
//	  partition 2 ──► another process
//
// Each partition is the journal of one queue.Durable: whoever the group has given
// it reads it to its end, once, keeps the queue in memory, and writes what a journal
// has to hold: two records a poll, the claim before the request and the result after
// it. [CreateTopic] makes the topic, once. A [Member] joins the group and runs a
// function of the user's for each partition that it gets, for instance
// a firehose.OS with Config.Queue and Config.Shard.
//
// # Guarantees
//
//   - What a Commit has acknowledged is in all replicas in sync, and is found by the
//     next owner. A partition that was taken over holds each resource once.
//   - A partition has one owner at a time whose writes count. Each transaction proves
//     the generation of the group that its partitions are held in, after its records
//     are in the log and before it is committed; one who was taken for dead, and
//     lives, is refused. [queue.ErrFenced] says so.
//   - The next owner reads up to a record that it has written itself, so that
//     everything before is decided: a transaction that was left open is waited for.
//   - At a rebalance a partition moves when what is in flight over it has been
//     finished, or Config.StopTimeout is over; the others are written all the while.
//   - Passwords are in no error and no log.
//
// # What is not guaranteed
//
//   - A request that was sent before its process was stopped for longer than the
//     session may be on its way, or leave when the process goes on, while the next
//     owner begins: it waits for as long as the claim says that the request may take.
//   - The number of partitions can't change: see [Topic].
//   - Brokers that lose what they have acknowledged (unclean leader election, one
//     replica) lose it here, too.
//
// # The stages apart
//
// A [Sink] publishes to a topic, and a [Relay] hands on what it finds there to another
// sink, in another process. [Orders] tell the owner of a partition, whichever process
// that is, to add, remove, pause or resume resources, and [Obey] carries them out.
// An [ErrorDrain] moves error queues to a topic.
package kafka
