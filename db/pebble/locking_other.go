//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package pebble

import "strings"

// heldByOther reports whether an error of locking says that another process
// has the lock.
func heldByOther(err error) bool {
	text := err.Error()
	return strings.Contains(text, "another process") || strings.Contains(text, "being used")
}

func lockHolder(string) string { return "another process" }
