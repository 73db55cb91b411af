//go:build !unix

package pebble

import "testing"

func asNobody(*testing.T) bool { return false }
