// Package integration holds the tests against real servers and real processes.
// They have the build tag integration:
//
//	go test -tags integration ./internal/integration
//
// The nginx test wants nginx on the PATH (Debian's package will do). The others
// need nothing but Go.
package integration
