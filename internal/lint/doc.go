// Package lint holds the project's own rules as tests; it exports nothing.
//
// Run them with "go test ./internal/lint". They read the source of every
// module of the workspace with go/parser, and check
//
//   - who may import whom, ours and others', and what go.mod may require;
//   - that package resource stays pure: no clock, no goroutine, no I/O;
//   - that no package keeps mutable state in package-level variables;
//   - that every exported name is documented;
//   - that functions fit a screen or two, and that packages have telling names;
//   - that every fuzz target starts from seeds;
//   - that each test which a document names exists.
//
// The tables at the top of each file are data: a new package needs a line in
// the import table before it builds green. Each check is itself proven, by
// sources made up to break it. Rules that need no syntax are in .ci/checks,
// which is proven here in the same way.
package lint
