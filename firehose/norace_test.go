//go:build !race

package firehose_test

const underRace = false
