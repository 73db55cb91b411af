package dbtest

import (
	"cmp"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// certain is a history without what had no effect, and with what had one. Since
// each write has a version of its own, an unknown one whose version was seen
// was carried out, at some time after it was sent; one that was never seen had
// no effect that anybody could see.
func certain(ops []porcupine.Operation) []porcupine.Operation {
	type version struct {
		id string
		n  int64
	}
	seen, replaced := make(map[version]bool), make(map[version]bool)
	for _, op := range ops {
		in, out := op.Input.(recordInput), op.Output.(recordOutput)
		seen[version{in.id, out.current.version}] = true
		if out.ok {
			seen[version{in.id, in.write.If}] = true
		}
	}
	for _, op := range ops {
		in, out := op.Input.(recordInput), op.Output.(recordOutput)
		if out.ok || out.unknown && seen[version{in.id, in.write.Record.Version}] && in.write.Record.Version != 0 {
			replaced[version{in.id, in.write.If}] = true
		}
	}
	var kept []porcupine.Operation
	for _, op := range ops {
		in, out := op.Input.(recordInput), op.Output.(recordOutput)
		if out.unknown {
			op.Return = math.MaxInt64 // it may still be carried out
			switch v := (version{in.id, in.write.Record.Version}); {
			case v.n == 0 && replaced[version{in.id, in.write.If}]:
				continue // what it would have deleted became something else
			case v.n == 0:
			case !seen[v]:
				continue
			default:
				op.Output = recordOutput{ok: true}
			}
		}
		kept = append(kept, op)
	}
	return kept
}

// belief is that a worker took a lease for its own, by its clock, which is the
// same for all.
type belief struct {
	token    int64
	from, to time.Time
}

// requireExclusive fails if two had a lease at the same time, or if a later
// one had no higher token.
func requireExclusive(t testing.TB, beliefs []belief) {
	t.Helper()
	slices.SortFunc(beliefs, func(a, b belief) int { return a.from.Compare(b.from) })
	var last belief
	for i, b := range beliefs {
		if i > 0 {
			require.Equal(t, 1, cmp.Compare(b.token, last.token), "token %d was claimed after %d", b.token, last.token)
			require.False(t, b.from.Before(last.to), "token %d was held from %v on, and %d until %v", b.token, b.from, last.token, last.to)
		}
		last = b
	}
}
