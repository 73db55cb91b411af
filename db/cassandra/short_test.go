//go:build integration && !long

package cassandra_test

const long = false
