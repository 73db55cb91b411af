// Package kafka keeps queues in a topic of Apache Kafka, and shares them among
// processes.
package kafka
