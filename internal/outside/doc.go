// Package outside tests what a stranger's module sees of this one; it exports
// nothing.
//
// The program under testdata/program is copied into a module of its own, away
// from the checkout and its workspace, and vetted, run and tested there: once
// with a replace directive that points to the checkout, and once through a
// module proxy in the file system, made from the checkout in the format that
// the go command downloads. The second way shows what a release would contain:
// nested modules, files that are missing, and requirements that only the
// workspace satisfied come to light there.
package outside
