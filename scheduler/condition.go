package scheduler

import (
	"fmt"
	"strconv"
	"time"
)

// Condition is what is known of a service beside its State, which says only
// where it is in its life. See [Bounds].
type Condition uint8

const (
	// Healthy: nothing speaks against the service. It need not be started.
	Healthy Condition = iota
	// Degraded: it is started and works badly: it breaks its Bounds, or all of
	// its operations fail; or some workers of a pool have
	// ended by failure.
	Degraded
	// Zombie: it does not what its state says. A run makes no progress (see
	// Bounds.Stall), or is over though its state says started, or was abandoned
	// and keeps the next from being started. Of a pool one such worker is
	// enough.
	Zombie
	// Dead: it ended by failure, and nothing of it runs. See Spec.Recover.
	Dead
)

func (c Condition) String() string {
	switch c {
	case Healthy:
		return "healthy"
	case Degraded:
		return "degraded"
	case Zombie:
		return "zombie"
	case Dead:
		return "dead"
	}
	return fmt.Sprintf("Condition(%d)", uint8(c))
}

// MarshalText makes conditions readable in JSON.
func (c Condition) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// What follows runs under the manager's lock and calls no foreign code.

// condition returns the condition of the entry and says in words what speaks
// against it.
func (e *entry) condition(now time.Duration) (Condition, string) {
	state := e.state()
	b := e.beat()
	switch {
	case e.keep != nil && e.keep.late > 0:
		return Zombie, e.count(e.keep.late, errExitLate.Error())
	case b != nil && len(b.stalled) > 0:
		return Zombie, e.count(len(b.stalled), b.stall)
	case e.blocked() > 0:
		return Zombie, e.count(e.blocked(), "an abandoned run has still not ended and keeps the next from starting")
	case state == Stopped && (e.end() == Failed || e.end() == GaveUp || e.end() == Abandoned && e.halted):
		return Dead, e.reason(now)
	case b != nil && b.conduct.concern != "":
		return Degraded, b.conduct.concern
	case state != Stopped && e.pool != nil && e.pool.count[Stopped] > 0:
		if n := e.lost(); n > 0 {
			return Degraded, e.count(n, "ended by failure")
		}
	}
	return Healthy, ""
}

// blocked counts the workers that shall run and are kept from it by an
// abandoned run.
func (e *entry) blocked() (n int) {
	if e.down || e.pool != nil && e.pool.count[Stopped] == 0 {
		return 0
	}
	for w := range e.workers() {
		if !w.retired && w.state == Stopped && w.deaf() {
			n++
		}
	}
	return n
}

// lost counts the workers that ended by failure.
func (e *entry) lost() (n int) {
	for w := range e.workers() {
		if !w.retired && w.state == Stopped && w.end >= Failed {
			n++
		}
	}
	return n
}

// hopeless reports whether the entry is a zombie that nobody is about to end.
func (e *entry) hopeless() bool {
	if e.keep != nil && e.keep.late > 0 || e.blocked() > 0 {
		return true
	}
	if b := e.beat(); b != nil {
		for r := range b.stalled {
			if r.stopAsked == 0 {
				return true
			}
		}
	}
	return false
}

// count says for how many workers of a pool something holds.
func (e *entry) count(n int, what string) string {
	if e.pool == nil {
		return what
	}
	return strconv.Itoa(n) + " of " + plural(uint64(e.pool.size), "worker") + ": " + what
}

// beat returns what the cop keeps of the entry, or nil.
func (e *entry) beat() *beat {
	if e.keep == nil {
		return nil
	}
	return e.keep.beat
}
