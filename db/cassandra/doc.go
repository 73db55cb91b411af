// Package cassandra keeps the records of Canned OS in Apache Cassandra: the
// store for those who outgrow one machine.
//
//	config := cassandra.Config{Hosts: []string{"10.0.0.1"}, Keyspace: "polls"}
//	err := cassandra.CreateSchema(ctx, config, cassandra.Schema{}) // once
//	store, err := cassandra.Open(ctx, config)
//	os, err := firehose.New(firehose.Config{DB: store, ...})
//
// Every write is a lightweight transaction (Paxos), every read of a record is
// serial, and nothing has a time to live: a lease ends by its record's Until,
// which the claimants compare with their clocks. Let the nodes use Paxos
// version 2 (paxos_variant: v2), which needs fewer round trips.
//
// Cassandra 4.1 or newer. The package logs nothing of the records.
package cassandra
