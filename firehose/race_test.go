//go:build race

package firehose_test

// underRace says that the race detector is on, which makes simulations ten times
// as slow: then they are smaller.
const underRace = true
