//go:build integration && long

package cassandra_test

// long makes tests of minutes out of those of seconds. The build tag also adds
// those that have no short form: see cluster_integration_test.go.
const long = true
